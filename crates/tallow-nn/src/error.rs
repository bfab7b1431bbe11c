//! What can go wrong when layers are built, called, trained or read from files.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;

use candle_core::{DType, Device, Shape};
use thiserror::Error;

/// Why a layer, an optimiser or a file was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// Two layers asked for the same parameter.
    #[error("the parameter `{name}` exists already: give each layer its own scope")]
    Duplicate {
        /// The full name.
        name: String,
    },
    /// A name that is not in the set.
    #[error("there is no parameter `{name}`; nearest in the alphabet: {near}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// Its neighbours.
        near: String,
    },
    /// A name that files or scopes could not tell from others.
    #[error(
        "`{name}` is no name for a parameter: names and scopes are not empty and do not start or end with a dot"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A parameter has another shape than its layer expects.
    #[error(
        "the parameter `{name}` has shape {got:?} where the layer needs {wanted:?}: build it with the same sizes"
    )]
    ParameterShape {
        /// The full name.
        name: String,
        /// The shape that the layer needs.
        wanted: Shape,
        /// The shape found.
        got: Shape,
    },
    /// A set of tensors does not fit the set that it should replace.
    #[error("{what} does not fit, nothing was changed:\n{}", differences.join("\n"))]
    Differences {
        /// What was being read.
        what: String,
        /// One sentence for each difference.
        differences: Vec<String>,
    },
    /// A model larger than its plan allows.
    #[error(
        "with the parameter `{name}` {shape:?} the model is larger than {limit} numbers or {names} parameters, which is what was allowed: check the sizes of its configuration"
    )]
    Limit {
        /// The first parameter beyond the limit.
        name: String,
        /// Its shape.
        shape: Shape,
        /// How many numbers are allowed.
        limit: usize,
        /// How many parameters are allowed.
        names: usize,
    },
    /// Parameters that the loss does not reach.
    #[error(
        "no gradient reached {}: freeze them, set `missing` to `Skip`, or look for an operation that cuts the graph",
        names.join(", ")
    )]
    MissingGradients {
        /// Their names.
        names: Vec<String>,
    },
    /// Some gradient is infinite or not a number.
    #[error(
        "the gradient of {} is not finite (norm {norm}): lower the learning rate, clip, or audit the gradients of the first step",
        if names.is_empty() { "the sum".to_string() } else { names.join(", ") }
    )]
    NonFiniteGradients {
        /// The parameters at fault; none if only the sum over all of them overflows.
        names: Vec<String>,
        /// The norm found.
        norm: f64,
    },
    /// Parameters that have left the numbers.
    #[error(
        "{} is not finite: go back to the last checkpoint and lower the learning rate or clip the gradients",
        names.join(", ")
    )]
    NonFiniteParameters {
        /// Their names.
        names: Vec<String>,
    },
    /// A setting outside its range.
    #[error("{name} = {value}, allowed is {allowed}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// The values that it may have.
        allowed: &'static str,
    },
    /// An input of the wrong shape.
    #[error("{layer} takes {wanted}, got {got:?}")]
    Input {
        /// The layer.
        layer: String,
        /// The shape it takes.
        wanted: String,
        /// The shape it got.
        got: Shape,
    },
    /// An input of another type than the parameters.
    #[error("{layer} has parameters of type {wanted:?}, the input has {got:?}: convert it with `to_dtype`")]
    Type {
        /// The layer.
        layer: String,
        /// The type of its parameters.
        wanted: DType,
        /// The type of the input.
        got: DType,
    },
    /// An input on another device than the parameters.
    #[error("{layer} has parameters on {wanted:?}, the input is on {got:?}: move it with `to_device`")]
    Place {
        /// The layer.
        layer: String,
        /// The device of its parameters.
        wanted: Device,
        /// The device of the input.
        got: Device,
    },
    /// A transposed convolution whose padding cuts off all of its output.
    #[error("padding {padding:?} leaves nothing of the output for an image of {image:?}: pad less")]
    NothingLeft {
        /// Height and width of the image.
        image: [usize; 2],
        /// What is cut off from each side.
        padding: [usize; 2],
    },
    /// Heads that cannot share a width evenly.
    #[error("{heads} heads do not divide a width of {width}: choose a divisor of the width")]
    Heads {
        /// The number of heads.
        heads: usize,
        /// Values of a token.
        width: usize,
    },
    /// A context for a layer that reads one input only.
    #[error(
        "{layer} projects queries, keys and values from one input: build it with `Projections::Separate`"
    )]
    FusedContext {
        /// The layer.
        layer: String,
    },
    /// A label that the table does not have.
    #[error("{layer} has {count} rows, there is no row {label}: labels are below {count}")]
    Label {
        /// The layer.
        layer: String,
        /// The label.
        label: u32,
        /// Rows of the table.
        count: usize,
    },
    /// Labels of another type.
    #[error("{layer} takes labels of type U32, got {got:?}: convert them with `to_dtype`")]
    LabelType {
        /// The layer.
        layer: String,
        /// The type of the labels.
        got: DType,
    },
    /// A `VarMap` whose variables cannot be one set of parameters.
    #[cfg(feature = "candle-nn")]
    #[error("the VarMap {why}")]
    VarMap {
        /// What is wrong, and the way out.
        why: String,
    },
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A file whose content is not safetensors.
    #[error("{} is not a safetensors file: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: safetensors::SafeTensorError,
    },
    /// A file of tensors that is no snapshot of a power-function average.
    #[error("{} does not say its gamma and updates: pass files that `PostHocEma::save` wrote", path.display())]
    NotASnapshot {
        /// The file.
        path: PathBuf,
    },
    /// A kernel refused its arguments.
    #[error(transparent)]
    Kernel(#[from] tallow_kernels::Error),
    /// An operation on tensors failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// The result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// `name` is not in the map; its neighbours in the alphabet are.
    pub(crate) fn unknown<V>(name: &str, known: &BTreeMap<String, V>) -> Self {
        let before = known.range::<str, _>((Bound::Unbounded, Bound::Excluded(name)));
        let after = known.range::<str, _>((Bound::Excluded(name), Bound::Unbounded));
        let near = before.rev().take(1).chain(after.take(1));
        let near: Vec<_> = near.map(|(name, _)| name.as_str()).collect();
        Self::Unknown {
            name: name.to_string(),
            near: if near.is_empty() {
                "none, there are no parameters".to_string()
            } else {
                near.join(", ")
            },
        }
    }
}

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(error) => error,
            error => Self::wrap(error),
        }
    }
}
