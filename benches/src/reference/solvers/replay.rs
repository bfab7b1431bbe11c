//! Noise that a case brings along.

use std::cell::Cell;
use std::rc::Rc;

use candle_core::Tensor;
use tallow::denoisers::Noise;

/// Noise that was drawn beforehand: `noise[step][draw]`, whoever asks for it.
#[derive(Debug)]
pub struct Replay {
    pub(super) draws: Vec<Vec<Tensor>>,
    pub(super) step: Rc<Cell<usize>>,
    pub(super) last: Option<usize>,
    pub(super) used: usize,
}

impl Noise for Replay {
    fn increment(&mut self, like: &Tensor, _from: f64, _to: f64) -> tallow::denoisers::Result<Tensor> {
        self.fresh(like)
    }

    fn fresh(&mut self, _like: &Tensor) -> tallow::denoisers::Result<Tensor> {
        let step = self.step.get();
        if self.last != Some(step) {
            (self.last, self.used) = (Some(step), 0);
        }
        self.used += 1;
        let drawn = self.draws.get(step).and_then(|draws| draws.get(self.used - 1));
        drawn.cloned().ok_or_else(|| {
            let why = format!("the case has no draw {} for step {step}", self.used);
            tallow::denoisers::Error::User(why.into())
        })
    }
}
