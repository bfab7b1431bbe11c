//! What a network says about itself to be read from a folder of diffusers and written to one.

use std::collections::BTreeMap;
use std::fmt::Debug;

use candle_core::Tensor;
use serde_json::Value;
use tallow_denoisers::Variance;
use tallow_nn::Scope;

use crate::Result;

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// A network that diffusers has under some class: its configuration, and its tensors under diffusers' names.
pub trait Pretrained: Sized {
    /// The network's shape.
    type Config: Clone + Debug;

    /// The classes whose folders are read; the first is written.
    const CLASSES: &'static [&'static str];

    /// The folders of a pipeline in which the network lies.
    const FOLDERS: &'static [&'static str];

    /// The shape that a `config.json` describes.
    ///
    /// # Errors
    ///
    /// When a key or its value is none that is supported.
    fn from_config(config: &Value) -> Result<Self::Config>;

    /// The `config.json` of a shape.
    ///
    /// # Errors
    ///
    /// When diffusers has no such network.
    fn to_config(config: &Self::Config) -> Result<Value>;

    /// Builds the network in a scope.
    ///
    /// # Errors
    ///
    /// When the shape does not fit, or the scope refuses a parameter.
    fn build(scope: &Scope<'_>, config: &Self::Config) -> Result<Self>;

    /// The name of today of a tensor that files of older versions have under another; `None` for all others.
    fn current_name(name: &str) -> Option<String> {
        let _ = name;
        None
    }

    /// Whether half of the output is a variance.
    fn variance(config: &Self::Config) -> Variance {
        let _ = config;
        Variance::Fixed
    }

    /// The file's tensors under the names of the network's parameters, and the shape that they turn out to have.
    ///
    /// # Errors
    ///
    /// When a tensor cannot be converted.
    fn import(config: Self::Config, tensors: Tensors) -> Result<(Self::Config, Tensors)> {
        Ok((config, tensors))
    }

    /// The network's parameters under the names of the file.
    ///
    /// # Errors
    ///
    /// When a tensor cannot be converted.
    fn export(config: &Self::Config, tensors: &Tensors) -> Result<Tensors> {
        let _ = config;
        Ok(tensors.clone())
    }
}
