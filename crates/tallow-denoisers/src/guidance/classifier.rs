//! Classifier guidance: the gradient of a log-probability is added to the score.
//!
//! ```text
//! score of p(x|y) ∝ p(x) p(y|x)^s        ε̂' = ε̂ − s σ ∇_x log p(y|x_t)        (the classifier sees noisy x, and t)
//! ```
//!
//! Source: Dhariwal & Nichol 2021, arXiv:2105.05233, Algorithm 2 (and 1 for [`guided_mean`]).

use candle_core::{Tensor, Var};
use tallow_schedules::NoiseLevel;

use super::Interval;
use crate::{Denoiser, Error, Estimate, Levels, Result, lincomb};

/// A model with the gradient of a log-probability added to its score.
///
/// Source: Dhariwal & Nichol 2021, arXiv:2105.05233, Algorithm 2 (and 1 for [`guided_mean`]).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use tallow_denoisers::guidance::ClassifierGuided;
/// use tallow_denoisers::{Denoiser, ExactGaussian, Levels};
/// use tallow_schedules::{RectifiedFlow, Schedule};
///
/// let model = ExactGaussian::new(vec![0.0, 0.0], vec![1.0, 1.0])?;
/// // log p(y | x), (B,): near (2, 0), whatever the time.
/// let log_p = |x: &Tensor, _at: Levels<'_>| {
///     let target = Tensor::new(&[[2.0, 0.0]], &Device::Cpu)?;
///     x.broadcast_sub(&target)?.sqr()?.sum(1)? * -0.5
/// };
/// let guided = ClassifierGuided::new(model, 1.0, log_p)?;
/// let x = Tensor::new(&[[0.5, 0.5]], &Device::Cpu)?;
/// let score = guided.estimate(&x, RectifiedFlow::default().level(0.5).into())?.score()?;
/// # assert_eq!(score.to_vec2::<f64>()?, [[0.5, -1.5]]);
/// # Ok::<(), tallow_denoisers::Error>(())
/// ```
#[derive(Clone)]
pub struct ClassifierGuided<D, F> {
    model: D,
    scale: f64,
    log_p: F,
    interval: Interval,
}

impl<D: std::fmt::Debug, F> std::fmt::Debug for ClassifierGuided<D, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClassifierGuided")
            .field("model", &self.model)
            .field("scale", &self.scale)
            .finish_non_exhaustive()
    }
}

impl<D, F> ClassifierGuided<D, F>
where
    D: Denoiser,
    F: Fn(&Tensor, Levels<'_>) -> candle_core::Result<Tensor>,
{
    /// Adds `scale` times the gradient of `log_p`, which maps x, (B, …), and its levels to (B,) log-probabilities.
    ///
    /// # Errors
    ///
    /// When `scale` is not finite.
    pub fn new(model: D, scale: f64, log_p: F) -> Result<Self> {
        if !scale.is_finite() {
            return Err(Error::Parameter {
                owner: "ClassifierGuided",
                name: "scale",
                value: scale,
                allowed: "finite",
            });
        }
        Ok(Self {
            model,
            scale,
            log_p,
            interval: Interval::everywhere(),
        })
    }

    /// The same, guided only at the noise levels of an interval. A path that starts without any signal (α = 0) needs one
    /// that ends below there.
    #[must_use]
    pub fn within(mut self, interval: Interval) -> Self {
        self.interval = interval;
        self
    }
}

impl<D, F> Denoiser for ClassifierGuided<D, F>
where
    D: Denoiser,
    F: Fn(&Tensor, Levels<'_>) -> candle_core::Result<Tensor>,
{
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        let estimate = self.model.estimate(x, at)?;
        let rows: Vec<bool> = at.iter().map(|level| self.interval.contains(level)).collect();
        if self.scale == 0.0 || !rows.contains(&true) {
            return Ok(estimate);
        }
        let shifted = estimate.with_score_shifted(&gradient(&self.log_p, x, at)?, self.scale)?;
        if rows.contains(&false) {
            shifted.choose(&rows, &estimate)
        } else {
            Ok(shifted)
        }
    }

    fn cost(&self, at: NoiseLevel) -> usize {
        self.model.cost(at)
    }

    fn begin<'s>(&'s self) -> Option<Box<dyn Denoiser + 's>> {
        let model = self.model.begin()?;
        Some(Box::new(ClassifierGuided {
            model,
            scale: self.scale,
            log_p: &self.log_p,
            interval: self.interval,
        }))
    }
}

/// The mean of an ancestral step, (B, …), moved by a classifier: μ + s Σ ∇ log p, with the step's variance Σ.
///
/// # Errors
///
/// When the shapes differ.
///
/// Source: Dhariwal & Nichol 2021, arXiv:2105.05233, Algorithm 1.
pub fn guided_mean(mean: &Tensor, variance: f64, scale: f64, gradient: &Tensor) -> Result<Tensor> {
    lincomb([(1.0, mean), (scale * variance, gradient)])
}

/// ∇_x of the sum of the rows' log-probabilities, each of which depends on its own row.
fn gradient<F>(log_p: &F, x: &Tensor, at: Levels<'_>) -> Result<Tensor>
where
    F: Fn(&Tensor, Levels<'_>) -> candle_core::Result<Tensor>,
{
    if x.track_op() {
        return Err(Error::NoDerivative {
            what: "an estimate under classifier guidance",
            way_out: "candle keeps no graph of a gradient; ask for the likelihood of the model without the classifier",
        });
    }
    let var = Var::from_tensor(x)?;
    let total = log_p(var.as_tensor(), at)?.sum_all()?;
    let gradient = total.backward()?.get(&var).map(Tensor::detach);
    gradient.ok_or(Error::NoDerivative {
        what: "the log-probability",
        way_out: "it must be computed from the x that it is given, by operations with a backward",
    })
}
