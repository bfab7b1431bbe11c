//! `AutoencoderKL`, whose names are ours.

use serde_json::Value;
use tallow_nn::Scope;

use super::pretrained::Pretrained;
use crate::autoencoder::{AutoencoderKl, AutoencoderKlConfig};
use crate::blocks::current_name;
use crate::{Error, Result};

impl Pretrained for AutoencoderKl {
    type Config = AutoencoderKlConfig;

    const CLASSES: &'static [&'static str] = &["AutoencoderKL"];
    const FOLDERS: &'static [&'static str] = &["vae"];

    fn from_config(config: &Value) -> Result<AutoencoderKlConfig> {
        AutoencoderKlConfig::from_diffusers(config)
    }

    fn to_config(config: &AutoencoderKlConfig) -> Result<Value> {
        // The class computes with it when it is built.
        if config.size.is_none() {
            return Err(Error::NotInDiffusers {
                class: "AutoencoderKL",
                what: "no size of images",
                way_out: "set `size` to the one that is trained on",
            });
        }
        Ok(config.to_diffusers())
    }

    fn build(scope: &Scope<'_>, config: &AutoencoderKlConfig) -> Result<Self> {
        Self::new(scope, config.clone())
    }

    fn current_name(name: &str) -> Option<String> {
        current_name(name)
    }
}
