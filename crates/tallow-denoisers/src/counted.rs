//! Counts evaluations, of a network or of a denoiser.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::Tensor;
use tallow_schedules::NoiseLevel;

use crate::{Call, Denoiser, Estimate, Levels, Network, Result};

/// Counts how often what it wraps is called.
///
/// Around a network it counts forward passes (guidance makes two for one estimate), around a denoiser estimates.
///
/// ```
/// use tallow_denoisers::{Counted, Parameterization, network};
///
/// let counted = Counted::new(network(|call| Ok(call.x.clone())));
/// let model = Parameterization::flow_matching().denoiser(&counted);
/// # let _ = model;
/// assert_eq!(counted.count(), 0);
/// ```
#[derive(Debug, Default)]
pub struct Counted<T> {
    inner: T,
    count: AtomicUsize,
}

impl<T> Counted<T> {
    /// Counts from zero.
    pub fn new(inner: T) -> Self {
        Self {
            inner,
            count: AtomicUsize::new(0),
        }
    }

    /// The calls so far.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Counts from zero again.
    pub fn reset(&self) {
        self.count.store(0, Ordering::Relaxed);
    }

    /// What is wrapped.
    pub fn inner(&self) -> &T {
        &self.inner
    }
}

/// What is wrapped, for one run; counted on the same counter.
struct CountedRun<'s> {
    inner: Box<dyn Denoiser + 's>,
    count: &'s AtomicUsize,
}

impl Denoiser for CountedRun<'_> {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.inner.estimate(x, at)
    }

    fn cost(&self, at: NoiseLevel) -> usize {
        self.inner.cost(at)
    }
}

impl<N: Network> Network for Counted<N> {
    fn forward(&self, call: &Call<'_>) -> candle_core::Result<Tensor> {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.inner.forward(call)
    }
}

impl<D: Denoiser> Denoiser for Counted<D> {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.inner.estimate(x, at)
    }

    fn cost(&self, at: NoiseLevel) -> usize {
        self.inner.cost(at)
    }

    fn begin<'s>(&'s self) -> Option<Box<dyn Denoiser + 's>> {
        let inner = self.inner.begin()?;
        Some(Box::new(CountedRun {
            inner,
            count: &self.count,
        }))
    }
}
