//! Guidance: one model's estimate pushed away from another's, as a wrapper that is itself a denoiser.
//!
//! ```text
//! c, u         the estimates of a conditional and an unconditional model (or of a good and a bad one)
//! Ĝ(c, u)      a rule: Scale, Rescaled, Projected, ZeroStar, PlusPlus, or your own
//! ```
//!
//! | Rule | Formula | Acts on |
//! |---|---|---|
//! | [`Scale`] | u + s (c − u) | any form: it is affine |
//! | [`Rescaled`] | the same, with the spread of c put back | x̂_0, or the network's output |
//! | [`Projected`] | c + (s − 1)(the part of c − u across c), with momentum | x̂_0 |
//! | [`ZeroStar`] | u* + s (c − u*), u* = u ⟨c, u⟩/‖u‖² | velocity |
//! | [`PlusPlus`] | x̂_0 of u + λ (c − u), ε̂ of u | both |
//!
//! Two estimates come from two denoisers ([`Guided::new`]: autoguidance is this with a bad version of the model) or from one
//! network in one doubled batch ([`Guided::batched`]). Channels of a learned variance are never guided.

mod classifier;
mod interval;
mod pair;
mod plus_plus;
mod projected;
mod rescaled;
mod rows;
mod scale;
mod zero_star;

use std::cell::RefCell;

use candle_core::Tensor;
use tallow_schedules::NoiseLevel;

pub use classifier::{ClassifierGuided, guided_mean};
pub use interval::Interval;
pub use pair::{Batched, Pair, Separate};
pub use plus_plus::PlusPlus;
pub use projected::Projected;
pub use rescaled::{Rescaled, Space};
pub use scale::Scale;
pub use zero_star::ZeroStar;

use crate::{Condition, Denoiser, Estimate, Levels, Network, Parameterized, Result};

/// How two estimates at one (x, t) become one. The type is configuration only; what a run remembers is its `Memory`.
pub trait Rule: std::fmt::Debug {
    /// What an estimate leaves for the next one of the same run: `()` unless the rule has momentum. Made afresh for each run.
    type Memory: Default;

    /// The guided estimate of `main`, pushed away from `other`; with the variance range of `main`.
    ///
    /// # Errors
    ///
    /// When a tensor operation fails.
    fn guide(&self, main: &Estimate, other: &Estimate, memory: &mut Self::Memory) -> Result<Estimate>;

    /// Whether `other` matters: where not, it is not evaluated.
    fn needs_other(&self) -> bool {
        true
    }

    /// Refuses parameters that make no guidance.
    ///
    /// # Errors
    ///
    /// When one is outside of its range.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// A guided model: a denoiser like any other.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use tallow_denoisers::guidance::{Interval, Scale};
/// use tallow_denoisers::{Condition, Denoiser, Guided, Parameterization, network};
/// use tallow_schedules::{RectifiedFlow, Schedule};
///
/// let network = network(|call| {
///     let labels = call.condition.tensor("labels")?.to_dtype(DType::F64)?.reshape(((), 1))?;
///     call.x.broadcast_sub(&labels)
/// });
/// let labels = |label: u32| Tensor::full(label, 4, &Device::Cpu).map(Condition::labels);
/// let model = Parameterization::flow_matching().denoiser(network);
/// let guided = Guided::batched(model, labels(3)?, &labels(10)?, Scale::Imagen(2.0))?.within(Interval::new(0.3, 5.0)?);
///
/// let (noisy, inside) = (RectifiedFlow::default().level(0.9), RectifiedFlow::default().level(0.5));
/// assert_eq!((guided.cost(noisy), guided.cost(inside)), (1, 2));
/// # let x = Tensor::zeros((4, 2), DType::F64, &Device::Cpu)?;
/// # let velocity = guided.estimate(&x, inside.into())?.velocity()?;
/// # assert_eq!(velocity.to_vec2::<f64>()?[0][0], 4.0);
/// # Ok::<(), tallow_denoisers::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Guided<P, R> {
    pair: P,
    rule: R,
    interval: Interval,
}

impl<D: Denoiser, E: Denoiser, R: Rule> Guided<Separate<D, E>, R> {
    /// Pushes `main` away from `other`: two denoisers, evaluated one after the other.
    ///
    /// Classifier-free guidance has the conditional model first, the unconditional one second; autoguidance the model
    /// itself and a bad version of it (Karras et al. 2024, arXiv:2406.02507).
    ///
    /// # Errors
    ///
    /// When a parameter of the rule is outside of its range.
    pub fn new(main: D, other: E, rule: R) -> Result<Self> {
        rule.check()?;
        Ok(Self {
            pair: Separate::new(main, other),
            rule,
            interval: Interval::everywhere(),
        })
    }
}

impl<N: Network, R: Rule> Guided<Batched<N>, R> {
    /// Pushes a model under `condition` away from itself under `null`: one network call on a doubled batch.
    ///
    /// Both conditions have one row for each row that will be asked about.
    ///
    /// # Errors
    ///
    /// When a parameter of the rule is outside of its range, or `null` lacks a name of `condition`.
    pub fn batched(model: Parameterized<N>, condition: Condition, null: &Condition, rule: R) -> Result<Self> {
        rule.check()?;
        Ok(Self {
            pair: Batched::new(model, condition, null)?,
            rule,
            interval: Interval::everywhere(),
        })
    }
}

impl<P: Pair, R: Rule> Guided<P, R> {
    /// The same, guided only at the noise levels of an interval: outside, `main` alone is evaluated (Kynkäänniemi et al.
    /// 2024, arXiv:2404.07724).
    #[must_use]
    pub fn within(mut self, interval: Interval) -> Self {
        self.interval = interval;
        self
    }

    fn guides(&self, at: NoiseLevel) -> bool {
        self.rule.needs_other() && self.interval.contains(at)
    }
}

impl<P: Pair, R: Rule> Denoiser for Guided<P, R> {
    /// The guided estimate. Outside of a run there is no memory: a rule with momentum answers as at a run's first estimate.
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        guide(self, &self.pair, x, at, &mut R::Memory::default())
    }

    fn cost(&self, at: NoiseLevel) -> usize {
        if self.guides(at) {
            self.pair.cost(at)
        } else {
            self.pair.cost_of_main(at)
        }
    }

    fn begin<'s>(&'s self) -> Option<Box<dyn Denoiser + 's>> {
        let pair = self.pair.begin().unwrap_or_else(|| Box::new(&self.pair));
        Some(Box::new(Running {
            guided: self,
            pair,
            memory: RefCell::default(),
        }))
    }
}

/// A guided model in one run, with what the run remembers.
struct Running<'s, P, R: Rule> {
    guided: &'s Guided<P, R>,
    pair: Box<dyn Pair + 's>,
    memory: RefCell<R::Memory>,
}

impl<P: Pair, R: Rule> Denoiser for Running<'_, P, R> {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        guide(
            self.guided,
            self.pair.as_ref(),
            x,
            at,
            &mut self.memory.borrow_mut(),
        )
    }

    fn cost(&self, at: NoiseLevel) -> usize {
        self.guided.cost(at)
    }
}

/// The estimate of a pair under a rule: guided where the interval says so, row by row.
fn guide<P: Pair, R: Rule>(
    guided: &Guided<P, R>,
    pair: &dyn Pair,
    x: &Tensor,
    at: Levels<'_>,
    memory: &mut R::Memory,
) -> Result<Estimate> {
    let rows: Vec<bool> = at.iter().map(|level| guided.guides(level)).collect();
    if !rows.contains(&true) {
        return pair.main(x, at);
    }
    let (main, other) = pair.both(x, at)?;
    let estimate = guided.rule.guide(&main, &other, memory)?;
    if rows.contains(&false) {
        estimate.choose(&rows, &main)
    } else {
        Ok(estimate)
    }
}

#[cfg(test)]
mod tests;
