//! For tests: models and sources of noise that fail, under every solver of the catalogue.

use std::cell::Cell;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use tallow_denoisers::{Denoiser, Estimate, Levels, Noise};
use tallow_schedules::{RectifiedFlow, TimeGrid};

use crate::catalogue::SOLVERS;
use crate::{Entry, Needs};

/// Noise of zeros, or estimates of 0, that fail after a number of calls: the source with an error, the model with NaN.
#[derive(Debug)]
struct Failing {
    left: Cell<usize>,
}

impl Failing {
    fn after(calls: usize) -> Self {
        Self {
            left: Cell::new(calls),
        }
    }

    /// Whether this call is to fail.
    fn fails(&self) -> bool {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.unwrap_or(0));
        left.is_none()
    }
}

impl Noise for Failing {
    fn increment(&mut self, like: &Tensor, _from: f64, _to: f64) -> tallow_denoisers::Result<Tensor> {
        self.fresh(like)
    }

    fn fresh(&mut self, like: &Tensor) -> tallow_denoisers::Result<Tensor> {
        if self.fails() {
            return Err(tallow_denoisers::Error::User("the source ran dry".into()));
        }
        Ok(like.zeros_like()?)
    }
}

impl Denoiser for Failing {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> tallow_denoisers::Result<Estimate> {
        let scale = if self.fails() { f64::NAN } else { 0.0 };
        Estimate::from_x0(x, (x * scale)?, at)
    }
}

#[test]
fn a_model_or_a_source_of_noise_that_fails_is_told_with_its_step() {
    const NEVER: usize = usize::MAX;
    let grid = TimeGrid::uniform(Arc::new(RectifiedFlow::default()), 4).unwrap();
    let x = Tensor::zeros((2, 1), DType::F64, &Device::Cpu).unwrap();
    let run = |entry: &Entry, model: usize, noise: usize| {
        let (model, mut noise) = (Failing::after(model), Failing::after(noise));
        let result = entry.sampler().sample(&model, &grid, &x, &mut noise);
        result.map_err(|error| error.to_string())
    };
    for entry in SOLVERS {
        for calls in 0..3 {
            let words = run(entry, calls, NEVER).unwrap_err();
            let told = words.starts_with("step ") && words.contains("not finite (NaN first)");
            assert!(told, "{}: {words}", entry.name);
        }
        let draws = entry.needs == Needs::IndependentNoise;
        for calls in 0..2 {
            match run(entry, NEVER, calls) {
                Ok(_) => assert!(!draws, "{}: a failure was swallowed", entry.name),
                Err(words) => {
                    let told = words.starts_with("step ") && words.ends_with("the source ran dry");
                    assert!(draws && told, "{}: {words}", entry.name);
                }
            }
        }
    }
}
