//! Models that go wrong at a call of choice.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Error, Estimate, Levels, Result};
use tallow_schedules::NoiseLevel;

/// What a [`Hostile`] model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One value is NaN.
    Nan,
    /// One value is infinite.
    Infinite,
    /// The estimate is of one row more than was asked about.
    WrongShape,
    /// An error instead of an estimate.
    Failure,
    /// Values of 1e300, from the call on: finite, but their squares are not.
    Huge,
}

/// A model that does well until a call, counted from 1, and then not.
#[derive(Debug)]
pub struct Hostile<M> {
    model: M,
    fault: Fault,
    at: usize,
    calls: AtomicUsize,
}

impl<M: Denoiser> Hostile<M> {
    /// Plants a fault in the call of a number, counted from 1.
    #[must_use]
    pub fn new(model: M, fault: Fault, call: usize) -> Self {
        Self {
            model,
            fault,
            at: call,
            calls: AtomicUsize::new(0),
        }
    }

    /// The calls so far.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl<M: Denoiser> Denoiser for Hostile<M> {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        let call = 1 + self.calls.fetch_add(1, Ordering::Relaxed);
        let good = self.model.estimate(x, at)?;
        if call != self.at && !(self.fault == Fault::Huge && call > self.at) {
            return Ok(good);
        }
        let spoilt = match self.fault {
            Fault::Nan => add_to_first(&good.x0()?, f64::NAN)?,
            Fault::Infinite => add_to_first(&good.x0()?, f64::INFINITY)?,
            Fault::Huge => good.x0()?.affine(0.0, 1e300)?,
            Fault::WrongShape => {
                let longer = Tensor::cat(&[x, &x.narrow(0, 0, 1)?], 0)?;
                return Estimate::from_x0(&longer, longer.clone(), at);
            }
            Fault::Failure => return Err(Error::User(format!("call {call} fails as planned").into())),
        };
        Estimate::from_x0(x, spoilt, at)
    }

    fn cost(&self, at: NoiseLevel) -> usize {
        self.model.cost(at)
    }
}

fn add_to_first(x: &Tensor, value: f64) -> Result<Tensor> {
    let mut added = vec![0.0; x.elem_count()];
    if let Some(first) = added.first_mut() {
        *first = value;
    }
    let added = Tensor::from_vec(added, x.shape(), x.device())?.to_dtype(x.dtype())?;
    Ok((x + added)?)
}

/// A model that refuses σ = 0, where there is nothing left to estimate.
#[derive(Clone, Copy, Debug)]
pub struct AboveZero<M>(pub M);

impl<M: Denoiser> Denoiser for AboveZero<M> {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        if at.iter().any(|level| level.sigma == 0.0) {
            return Err(Error::User("the model was evaluated at sigma = 0".into()));
        }
        self.0.estimate(x, at)
    }

    fn cost(&self, at: NoiseLevel) -> usize {
        self.0.cost(at)
    }
}
