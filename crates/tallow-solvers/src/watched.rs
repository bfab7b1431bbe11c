//! What the loop puts between a model and a solver: counting, checking, cutting the graph.

use std::cell::{Cell, RefCell};

use candle_core::{DType, Device, Tensor};
use tallow_denoisers::{Denoiser, Estimate, Levels};
use tallow_schedules::NoiseLevel;

use crate::{Error, Result};

/// A model under watch: evaluations are counted, estimates checked to be finite and cut off from the graph.
#[derive(Debug)]
pub(crate) struct Watched<M> {
    model: M,
    evaluations: Cell<usize>,
    failure: RefCell<Option<Error>>,
}

impl<'a> Watched<Box<dyn Denoiser + 'a>> {
    /// A model under watch in a run of its own: what it remembers from estimate to estimate begins here.
    pub(crate) fn begin(model: &'a dyn Denoiser) -> Self {
        Self::new(model.begin().unwrap_or_else(|| Box::new(model)))
    }
}

impl<M: Denoiser> Watched<M> {
    pub(crate) fn new(model: M) -> Self {
        Self {
            model,
            evaluations: Cell::new(0),
            failure: RefCell::new(None),
        }
    }

    /// Network evaluations so far.
    pub(crate) fn evaluations(&self) -> usize {
        self.evaluations.get()
    }

    /// What the model did wrong, if it was that which failed.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.failure.borrow_mut().take()
    }
}

impl<M: Denoiser> Denoiser for Watched<M> {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> tallow_denoisers::Result<Estimate> {
        Ok(self.estimate_with_graph(x, at)?.detach())
    }

    fn cost(&self, at: NoiseLevel) -> usize {
        self.model.cost(at)
    }
}

impl<M: Denoiser> Watched<M> {
    /// The estimate, counted and checked, with the graph that leads back to `x`.
    pub(crate) fn estimate_with_graph(
        &self,
        x: &Tensor,
        at: Levels<'_>,
    ) -> tallow_denoisers::Result<Estimate> {
        let cost = at.iter().map(|level| self.model.cost(level)).max().unwrap_or(0);
        self.evaluations.set(self.evaluations.get() + cost);
        let estimate = self.model.estimate(x, at)?;
        for output in estimate.outputs().chain(estimate.range()) {
            tallow_denoisers::check_like("the model's output", output, x)?;
            if let Some((value, count)) = not_finite(output)? {
                let error = Error::NonFiniteModel { value, count };
                let told = tallow_denoisers::Error::User(error.to_string().into());
                *self.failure.borrow_mut() = Some(error);
                return Err(told);
            }
        }
        Ok(estimate)
    }
}

/// Refuses a state with a value that is not finite.
pub(crate) fn check_finite(what: &'static str, x: &Tensor) -> Result<()> {
    match not_finite(x)? {
        Some((value, count)) => Err(Error::NonFinite { what, value, count }),
        None => Ok(()),
    }
}

/// The first value that is not finite, and how many there are.
fn not_finite(x: &Tensor) -> candle_core::Result<Option<(f64, usize)>> {
    if x.elem_count() == 0 {
        return Ok(None);
    }
    // 0 · x is 0 for every finite x, so the sum is 0 or NaN: one pass, on any device, without a copy.
    if all_finite(x)? {
        return Ok(None);
    }
    let values = x
        .to_device(&Device::Cpu)?
        .to_dtype(DType::F64)?
        .flatten_all()?
        .to_vec1::<f64>()?;
    let mut bad = values.into_iter().filter(|value| !value.is_finite());
    Ok(bad.next().map(|value| (value, 1 + bad.count())))
}

/// Whether a law holds for every value, asked for a piece at a time: without an exit in the inner loop it runs in vectors.
fn all_of<T>(values: &[T], law: impl Fn(&T) -> bool) -> bool {
    values
        .chunks(1 << 12)
        .all(|piece| piece.iter().fold(true, |so_far, value| so_far & law(value)))
}

fn all_finite(x: &Tensor) -> candle_core::Result<bool> {
    if x.device().is_cpu() {
        let x = x.contiguous()?;
        let (storage, layout) = x.storage_and_layout();
        if let (candle_core::Storage::Cpu(storage), Some((start, end))) =
            (&*storage, layout.contiguous_offsets())
        {
            match x.dtype() {
                DType::F32 => {
                    return Ok(all_of(&storage.as_slice::<f32>()?[start..end], |v| v.is_finite()));
                }
                DType::F64 => {
                    return Ok(all_of(&storage.as_slice::<f64>()?[start..end], |v| v.is_finite()));
                }
                _ => {}
            }
        }
    }
    let zero = (x.detach() * 0.0)?
        .to_dtype(DType::F32)?
        .sum_all()?
        .to_scalar::<f32>()?;
    Ok(zero == 0.0)
}
