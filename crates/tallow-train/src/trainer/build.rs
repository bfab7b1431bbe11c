//! The parts of a run, put together.

use std::ops::ControlFlow;
use std::path::PathBuf;

use candle_core::DType;
use tallow_denoisers::{Batches, Network, Seeded};
use tallow_nn::{Optimizer, Parameters, Scope};
use tallow_objectives::{Coupling, Objective};

use super::{NonFinite, Trainer};
use crate::audit::Audit;
use crate::loss_file::LossFile;
use crate::mixed_precision::MixedPrecision;
use crate::{Average, Checkpoints, Configuration, Error, LearningRate, Report, Result, Validation};

/// The stream of the parameters' seed that times and noise are drawn from, unless another generator is given.
const NOISE: u64 = 1;

impl<'a> Trainer<'a> {
    /// A run at its start. Times and noise come from stream 1 of the parameters' seed.
    ///
    /// `network` is one built from [`Parameters::scope`] of `parameters`, and `optimizer` moves these.
    #[must_use]
    pub fn new(
        parameters: &'a Parameters,
        network: &'a dyn Network,
        objective: &'a dyn Objective,
        data: impl Batches + 'a,
        optimizer: impl Optimizer + 'a,
    ) -> Self {
        Self {
            parameters,
            network,
            objective,
            data: Box::new(data),
            optimizer: Box::new(optimizer),
            noise: Seeded::stream(parameters.seed(), NOISE),
            coupling: None,
            averages: Vec::new(),
            learning_rate: None,
            clipping: None,
            micro_batches: 1,
            non_finite: NonFinite::Stop,
            precision: None,
            audit: Audit::default(),
            validation: None,
            callbacks: Vec::new(),
            losses: None,
            checkpoints: None,
            configuration: Configuration::default(),
            step: 0,
            skipped: 0,
            saved: None,
            broken: false,
        }
    }

    /// The same with times and noise from a generator of one's own.
    #[must_use]
    pub fn with_noise(mut self, noise: Seeded) -> Self {
        self.noise = noise;
        self
    }

    /// The same with a source paired to the data before the objective sees them.
    #[must_use]
    pub fn with_coupling(mut self, coupling: impl Coupling + 'a) -> Self {
        self.coupling = Some(Box::new(coupling));
        self
    }

    /// The same with an average of the weights, or one more. A view taken of it before follows it.
    #[must_use]
    pub fn with_average(mut self, average: impl Average + 'a) -> Self {
        self.averages.push(Box::new(average));
        self
    }

    /// The same with a learning rate for each step, in place of the optimiser's own.
    #[must_use]
    pub fn with_learning_rate(mut self, learning_rate: LearningRate) -> Self {
        self.learning_rate = Some(learning_rate);
        self
    }

    /// The same with gradients scaled down to a norm of `max_norm` where theirs is larger.
    ///
    /// # Errors
    ///
    /// When `max_norm` is not positive and finite.
    pub fn with_clipping(mut self, max_norm: f64) -> Result<Self> {
        if !(max_norm > 0.0 && max_norm.is_finite()) {
            return Err(parameter("max_norm", max_norm, "positive and finite"));
        }
        self.clipping = Some(max_norm);
        Ok(self)
    }

    /// The same with the mean gradient over `count` batches in each step, every row counted alike.
    ///
    /// # Errors
    ///
    /// When `count` is 0.
    pub fn with_micro_batches(mut self, count: usize) -> Result<Self> {
        if count == 0 {
            return Err(parameter("count", 0.0, "at least 1"));
        }
        self.micro_batches = count;
        Ok(self)
    }

    /// The same with another answer to a loss or gradient that is not finite than to stop.
    #[must_use]
    pub fn on_non_finite(mut self, policy: NonFinite) -> Self {
        self.non_finite = policy;
        self
    }

    /// The same with the network computing in half precision, weights and optimiser in F32. `build` makes the network from a
    /// scope, as it was made from the parameters': `|scope| Mlp::new(scope, config)`.
    ///
    /// # Errors
    ///
    /// When `dtype` is neither F16 nor BF16, the parameters are not F32, or the device cannot: candle has no products of BF16
    /// on the CPU.
    pub fn with_mixed_precision<N, E>(
        mut self,
        dtype: DType,
        build: impl Fn(&Scope<'_>) -> std::result::Result<N, E> + 'a,
    ) -> Result<Self>
    where
        N: Network + 'static,
        candle_core::Error: From<E>,
    {
        let build = move |scope: &Scope<'_>| Ok(Box::new(build(scope)?) as Box<dyn Network>);
        self.precision = Some(MixedPrecision::new(self.parameters, dtype, Box::new(build))?);
        Ok(self)
    }

    /// The same with parameters that may stay without a gradient. All others must see one that is not zero in the first ten
    /// steps, or the run ends with their names.
    #[must_use]
    pub fn excusing<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.audit.excused.extend(names.into_iter().map(Into::into));
        self
    }

    /// The same with the loss on held-out data at an interval.
    #[must_use]
    pub fn with_validation(mut self, validation: Validation<'a>) -> Self {
        self.validation = Some(validation);
        self
    }

    /// The same with a call after every step, which ends the run by [`ControlFlow::Break`].
    #[must_use]
    pub fn with_callback(mut self, callback: impl FnMut(&Report) -> ControlFlow<()> + 'a) -> Self {
        self.callbacks.push(Box::new(callback));
        self
    }

    /// The same with a CSV file of one row a step. A run that starts replaces the file; one that is resumed cuts it back to
    /// the step of its checkpoint and goes on.
    #[must_use]
    pub fn with_loss_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.losses = Some(LossFile::new(path.into()));
        self
    }

    /// The same with a checkpoint after every `every` steps, and after the last.
    ///
    /// # Errors
    ///
    /// When `every` is 0.
    pub fn with_checkpoints(mut self, checkpoints: Checkpoints, every: u64) -> Result<Self> {
        if every == 0 {
            return Err(parameter("every", 0.0, "at least 1"));
        }
        self.checkpoints = Some((checkpoints, every));
        Ok(self)
    }

    /// The same with a configuration that its checkpoints keep: a run goes on under the one it was started with, or not.
    #[must_use]
    pub fn with_configuration(mut self, configuration: Configuration) -> Self {
        self.configuration = configuration;
        self
    }
}

fn parameter(name: &'static str, value: f64, allowed: &'static str) -> Error {
    Error::Parameter {
        owner: "Trainer",
        name,
        value,
        allowed,
    }
}
