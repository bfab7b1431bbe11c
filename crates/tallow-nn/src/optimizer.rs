//! What a training loop asks of an optimiser, whichever it is.

use std::collections::BTreeMap;
use std::fmt::Debug;

use candle_core::Tensor;
use candle_core::backprop::GradStore;

use crate::error::Result;
use crate::gradients::Gradients;

/// An optimiser as a training loop sees it: gradients in, parameters moved, a state that can be saved.
///
/// A step of one batch is [`step`](Self::step) or [`step_clipped`](Self::step_clipped). One step over several batches adds
/// their gradients up first:
///
/// ```
/// # use candle_core::{DType, Device, Tensor};
/// # use tallow_nn::{AdamW, AdamWConfig, Gradients, Linear, Optimizer, Parameters};
/// # let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
/// # let linear = Linear::new(&parameters.scope(), 2, 1)?;
/// # let batches = [Tensor::ones((4, 2), DType::F32, &Device::Cpu)?, Tensor::zeros((4, 2), DType::F32, &Device::Cpu)?];
/// let mut optimizer: Box<dyn Optimizer> = Box::new(AdamW::new(&parameters, AdamWConfig::default())?);
/// let mut sum = Gradients::default();
/// for batch in &batches {
///     let loss = linear.forward(batch)?.sqr()?.mean_all()?;
///     sum.accumulate(optimizer.collect(&loss.backward()?)?)?;
/// }
/// sum.scale(1.0 / batches.len() as f64)?;
/// let norm = sum.clip_norm(1.0)?;
/// optimizer.apply(&sum)?;
/// # assert!(norm > 0.0);
/// # Ok::<(), tallow_nn::Error>(())
/// ```
pub trait Optimizer: Debug + Send {
    /// The gradients of the parameters that are trained, by name, from a backward pass; absent ones are left out.
    ///
    /// # Errors
    ///
    /// When a gradient has another shape than its parameter.
    fn collect(&self, gradients: &GradStore) -> Result<Gradients>;

    /// One step along `gradients`.
    ///
    /// # Errors
    ///
    /// When a gradient is absent or not finite: the error names its parameter, and nothing is changed.
    fn apply(&mut self, gradients: &Gradients) -> Result<()>;

    /// The learning rate of the next step.
    fn learning_rate(&self) -> f64;

    /// Sets the learning rate of the steps to come: what a schedule calls.
    ///
    /// # Errors
    ///
    /// When it is negative or not finite.
    fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()>;

    /// A deep copy, on the host, of all that the optimiser remembers, by name. Settings and learning rate are no part of
    /// it: whoever builds and schedules the optimiser gives them anew.
    ///
    /// # Errors
    ///
    /// When a tensor cannot be made.
    fn state(&self) -> Result<BTreeMap<String, Tensor>>;

    /// Goes on from a [`state`](Self::state), bit for bit: all of it, or nothing is changed.
    ///
    /// # Errors
    ///
    /// When names or shapes differ; the error lists every difference.
    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()>;

    /// One step along the gradients of a backward pass.
    ///
    /// # Errors
    ///
    /// Those of [`collect`](Self::collect) and [`apply`](Self::apply).
    fn step(&mut self, gradients: &GradStore) -> Result<()> {
        self.apply(&self.collect(gradients)?)
    }

    /// One step along the gradients, scaled down to `max_norm` where their norm is larger; returns the norm before.
    ///
    /// # Errors
    ///
    /// Those of [`step`](Self::step), and when `max_norm` is not positive.
    fn step_clipped(&mut self, gradients: &GradStore, max_norm: f64) -> Result<f64> {
        let mut gradients = self.collect(gradients)?;
        let norm = gradients.clip_norm(max_norm)?;
        self.apply(&gradients)?;
        Ok(norm)
    }

    /// The backward pass of `loss` and one step.
    ///
    /// # Errors
    ///
    /// When the backward pass fails, and those of [`step`](Self::step).
    fn backward_step(&mut self, loss: &Tensor) -> Result<()> {
        self.step(&loss.backward()?)
    }
}

impl<O: Optimizer + ?Sized> Optimizer for Box<O> {
    fn collect(&self, gradients: &GradStore) -> Result<Gradients> {
        (**self).collect(gradients)
    }

    fn apply(&mut self, gradients: &Gradients) -> Result<()> {
        (**self).apply(gradients)
    }

    fn learning_rate(&self) -> f64 {
        (**self).learning_rate()
    }

    fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        (**self).set_learning_rate(learning_rate)
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        (**self).state()
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        (**self).restore(state)
    }
}
