//! `UNet2DModel`, whose names are ours.

use serde_json::Value;
use tallow_denoisers::Variance;
use tallow_nn::Scope;

use super::pretrained::Pretrained;
use crate::Result;
use crate::blocks::current_name;
use crate::unet::{UNet, UNetConfig};

impl Pretrained for UNet {
    type Config = UNetConfig;

    const CLASSES: &'static [&'static str] = &["UNet2DModel"];
    const FOLDERS: &'static [&'static str] = &["unet"];

    fn from_config(config: &Value) -> Result<UNetConfig> {
        UNetConfig::from_diffusers(config)
    }

    fn to_config(config: &UNetConfig) -> Result<Value> {
        config.to_diffusers()
    }

    fn build(scope: &Scope<'_>, config: &UNetConfig) -> Result<Self> {
        Self::new(scope, config.clone())
    }

    fn current_name(name: &str) -> Option<String> {
        current_name(name)
    }

    /// Twice the channels of the input are read as ADM's: prediction and range.
    fn variance(config: &UNetConfig) -> Variance {
        if config.inputs.checked_mul(2) == Some(config.outputs) {
            Variance::LearnedRange
        } else {
            Variance::Fixed
        }
    }
}
