//! Where a layer finds its parameters: made new and trainable, or looked up in a view without a graph.
//!
//! A model's constructor takes a [`Scope`] and is written once. Built from [`crate::Parameters::scope`] it creates its
//! parameters; built from [`View::scope`] it reads those that exist, so the same code gives the model that samples; built
//! from [`Plan::scope`] it names the parameters that it would have.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Shape, Tensor};

use crate::error::{Error, Result};
use crate::init::Init;
use crate::parameters::Parameters;
use crate::plan::Plan;

/// A place in the tree of names: `net.0` in `net.0.weight`.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    source: Source<'a>,
    prefix: String,
}

#[derive(Clone, Copy, Debug)]
enum Source<'a> {
    Create(&'a Parameters),
    Read(&'a View),
    Plan(&'a Plan),
}

impl<'a> Scope<'a> {
    pub(crate) fn creating(parameters: &'a Parameters) -> Self {
        Self {
            source: Source::Create(parameters),
            prefix: String::new(),
        }
    }

    pub(crate) fn planning(plan: &'a Plan) -> Self {
        Self {
            source: Source::Plan(plan),
            prefix: String::new(),
        }
    }

    /// The scope `name` below this one.
    #[must_use]
    pub fn at(&self, name: impl std::fmt::Display) -> Self {
        Self {
            source: self.source,
            prefix: self.full_name(&name.to_string()),
        }
    }

    /// The parameter `name` of this scope: drawn from `init` when creating, looked up in a view.
    ///
    /// # Errors
    ///
    /// When creating, if the name is taken or `init` is not a distribution; in a view, if there is no such parameter or
    /// it has another shape; in a [plan](crate::Plan), if its limit is passed.
    pub fn parameter(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Tensor> {
        let name = self.full_name(name);
        match self.source {
            Source::Create(parameters) => parameters.create(name, &shape.into(), init),
            Source::Read(view) => view.find(&name, &shape.into()),
            Source::Plan(plan) => plan.note(name, shape.into()),
        }
    }

    /// The type of the parameters.
    #[must_use]
    pub fn dtype(&self) -> DType {
        match self.source {
            Source::Create(parameters) => parameters.dtype(),
            Source::Read(view) => view.dtype,
            Source::Plan(plan) => plan.dtype(),
        }
    }

    /// The device of the parameters.
    #[must_use]
    pub fn device(&self) -> &'a Device {
        match self.source {
            Source::Create(parameters) => parameters.device(),
            Source::Read(view) => &view.device,
            Source::Plan(_) => &Device::Cpu,
        }
    }

    /// The dotted name of this scope, empty at the root.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.prefix
    }

    fn full_name(&self, name: &str) -> String {
        if self.prefix.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.prefix)
        }
    }
}

/// Named tensors without a graph: the weights that a sampling model holds.
///
/// A view made by [`Parameters::detached`] or [`crate::Ema::detached`] shares the storage of its parameters, so it
/// follows the training that changes them in place.
#[derive(Clone, Debug)]
pub struct View {
    tensors: BTreeMap<String, Tensor>,
    pub(crate) dtype: DType,
    pub(crate) device: Device,
}

impl View {
    /// A view of the given tensors, cut from their graphs; a layer finds them by name.
    #[must_use]
    pub fn new(tensors: &BTreeMap<String, Tensor>, dtype: DType, device: &Device) -> Self {
        let tensors = tensors
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.detach()))
            .collect();
        Self {
            tensors,
            dtype,
            device: device.clone(),
        }
    }

    /// A view whose tensors keep their graphs.
    pub(crate) fn connected(tensors: BTreeMap<String, Tensor>, dtype: DType, device: &Device) -> Self {
        Self {
            tensors,
            dtype,
            device: device.clone(),
        }
    }

    /// The root scope, for the constructor of a model.
    #[must_use]
    pub fn scope(&self) -> Scope<'_> {
        Scope {
            source: Source::Read(self),
            prefix: String::new(),
        }
    }

    /// The tensors by name.
    #[must_use]
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    pub(crate) fn find(&self, name: &str, wanted: &Shape) -> Result<Tensor> {
        let Some(tensor) = self.tensors.get(name) else {
            return Err(Error::unknown(name, &self.tensors));
        };
        if tensor.shape() != wanted {
            let got = tensor.shape().clone();
            return Err(Error::ParameterShape {
                name: name.to_string(),
                wanted: wanted.clone(),
                got,
            });
        }
        Ok(tensor.clone())
    }
}
