//! The pair of Dormand and Prince with steps of its own choice, row by row.
//!
//! ```text
//! E = √mean((dt Σ eᵢ kᵢ / (atol + rtol max(|x|, |x_new|)))²)        h ← h clip(0.9 E^(−1/5), 0.2, 5)
//! ```
//!
//! The grid says where a run starts and ends; nodes in between are interpolated for the observer and change nothing. At
//! σ = 0, and where a path's slope is infinite, an exponential step of first order from σ/α = √(atol/10) takes the place of the
//! rest, which is as exact as the tolerance asks.
//!
//! Source: Dormand & Prince 1980; Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I, sections II.4-6.

use std::sync::Arc;

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Estimate, Levels, Noise, Seeded, combine_rows};
use tallow_schedules::{NoiseLevel, Prediction, Schedule, TimeGrid};

use crate::adaptive::{Attempt, Control, Ends, Method, Running, journey, root_mean_squares};
use crate::dopri5::{A, C, D, E};
use crate::watched::Watched;
use crate::{FinalStep, Observer, Result, Sampled, Sampler};

/// The pair of Dormand and Prince with steps of its own choice, row by row.
///
/// Six evaluations an attempted step; the error follows the tolerance; right for any path, prediction and coupling.
///
/// For references, encoding and likelihoods, where the error matters more than the cost.
///
/// Source: Dormand & Prince 1980; Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I, sections
/// II.4-6.
///
/// ```
/// use std::sync::Arc;
/// use candle_core::{DType, Device};
/// use tallow_denoisers::{ExactGaussian, Seeded};
/// use tallow_schedules::RectifiedFlow;
/// use tallow_solvers::Dopri5Adaptive;
///
/// let model = ExactGaussian::new(vec![1.0, -1.0], vec![0.5, 0.2])?;
/// let x = candle_core::Tensor::new(&[[1.3, -0.9]], &Device::Cpu)?;
/// let path = Arc::new(RectifiedFlow::default());
/// let solver = Dopri5Adaptive::new(1e-6, 1e-6)?;
/// let code = solver.transport(&model, path.clone(), (0.01, 1.0), &x)?;
/// let back = solver.transport(&model, path, (1.0, 0.01), &code)?;
/// let off = (back - &x)?.abs()?.max_all()?.to_scalar::<f64>()?;
/// assert!(off < 1e-4);
/// # Ok::<(), tallow_solvers::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dopri5Adaptive {
    /// Tolerances and limits.
    pub control: Control,
    /// How a run ends at σ = 0.
    pub final_step: FinalStep,
}

impl Dopri5Adaptive {
    /// With tolerances of a step; a run ends in x̂_0.
    ///
    /// # Errors
    ///
    /// When one is not positive and finite.
    pub fn new(rtol: f64, atol: f64) -> Result<Self> {
        Ok(Self {
            control: Control::new(rtol, atol)?,
            final_step: FinalStep::Denoise,
        })
    }

    /// The state at the second of two times, of the solution of the probability-flow ODE that is at `x`, (B, …), at the
    /// first: towards the noise it encodes, towards the data it decodes.
    ///
    /// # Errors
    ///
    /// When the model fails, a time is outside of the path, or the tolerance cannot be held.
    pub fn transport(
        &self,
        model: &dyn Denoiser,
        schedule: Arc<dyn Schedule>,
        (from, to): (f64, f64),
        x: &Tensor,
    ) -> Result<Tensor> {
        let grid = TimeGrid::new(schedule, vec![from, to])?;
        // Nothing is drawn from it.
        self.sample(model, &grid, x, &mut Seeded::new(0))
    }
}

/// Tolerances of 1e-5, as score SDE's.
impl Default for Dopri5Adaptive {
    fn default() -> Self {
        Self {
            control: Control {
                rtol: 1e-5,
                atol: 1e-5,
                max_steps: 10_000,
                max_rejections: 30,
                min_step: 1e-12,
            },
            final_step: FinalStep::Denoise,
        }
    }
}

impl Sampler for Dopri5Adaptive {
    fn run(
        &self,
        model: &dyn Denoiser,
        grid: &TimeGrid,
        x: &Tensor,
        _noise: &mut dyn Noise,
        observe: Observer<'_>,
    ) -> Result<Sampled> {
        let model: Running<'_> = Watched::begin(model);
        let schedule = grid.schedule().as_ref();
        let velocity =
            |x: &Tensor, at: &[NoiseLevel]| Ok(model.estimate(x, Levels::PerRow(at))?.velocity()?);
        let method = Embedded::new(&velocity, schedule, self.control, self.final_step);
        journey(method, &model, grid, &self.control, x, observe)
    }
}

/// The right-hand side of an ODE in t: dx/dt at x, (B, …), with the level of each row.
pub(crate) type Slope<'a> = &'a dyn Fn(&Tensor, &[NoiseLevel]) -> Result<Tensor>;

/// The pair on any ODE along a path.
pub(crate) struct Embedded<'a> {
    slope: Slope<'a>,
    schedule: &'a dyn Schedule,
    control: Control,
    final_step: FinalStep,
    start: Option<Tensor>,
    tried: Option<Tried>,
}

/// An attempt, for what comes after it.
struct Tried {
    x: Tensor,
    next: Tensor,
    lengths: Vec<f64>,
    slopes: Vec<Tensor>,
}

impl<'a> Embedded<'a> {
    pub(crate) fn new(
        slope: Slope<'a>,
        schedule: &'a dyn Schedule,
        control: Control,
        final_step: FinalStep,
    ) -> Self {
        Self {
            slope,
            schedule,
            control,
            final_step,
            start: None,
            tried: None,
        }
    }

    fn slope_at(&self, x: &Tensor, times: &[f64]) -> Result<Tensor> {
        let levels: Vec<_> = times.iter().map(|t| self.schedule.level(*t)).collect();
        (self.slope)(x, &levels)
    }
}

impl Method for Embedded<'_> {
    const NAME: &'static str = "Dopri5Adaptive";

    fn exponent(&self) -> f64 {
        5.0
    }

    fn safety(&self) -> f64 {
        0.9
    }

    fn time(&self, position: f64) -> f64 {
        position
    }

    /// The first step by the size of the slope and of its change over a small step (Hairer, Nørsett & Wanner, II.4).
    fn start(&mut self, x: &Tensor, from: f64, to: f64) -> Result<(Vec<f64>, Tensor)> {
        let rows = x.dim(0)?;
        let (way, sign) = ((to - from).abs(), (to - from).signum());
        let slope = self.slope_at(x, &vec![from; rows])?;
        let scale = x.abs()?.affine(self.control.rtol, self.control.atol)?;
        let size = |of: &Tensor| -> Result<Vec<f64>> { root_mean_squares(&(of / &scale)?) };
        let (x_size, slope_size) = (size(x)?, size(&slope)?);
        let small = |row: usize| {
            let (d0, d1) = (x_size[row], slope_size[row]);
            let h = if d0 < 1e-5 || d1 < 1e-5 {
                1e-6 * way
            } else {
                0.01 * d0 / d1
            };
            h.clamp(1e-9 * way, way)
        };
        let small: Vec<f64> = (0..rows).map(small).collect();
        let moved: Vec<f64> = small.iter().map(|h| sign * h).collect();
        let there = combine_rows(&[(&vec![1.0; rows], x), (&moved, &slope)])?;
        let times: Vec<f64> = moved.iter().map(|h| from + h).collect();
        let change = size(&(self.slope_at(&there, &times)? - &slope)?)?;
        let length = |row: usize| {
            let steepest = slope_size[row].max(change[row] / small[row]);
            let h = if steepest <= 1e-15 {
                1e-3 * way
            } else {
                (0.01 / steepest).powf(0.2)
            };
            h.min(100.0 * small[row]).clamp(1e-9 * way, way)
        };
        let lengths = (0..rows).map(length).collect();
        self.start = Some(slope.clone());
        Ok((lengths, slope))
    }

    fn attempt(&mut self, x: &Tensor, from: &[f64], to: &[f64]) -> Result<Attempt> {
        let lengths: Vec<f64> = from.iter().zip(to).map(|(from, to)| to - from).collect();
        let first = match self.start.clone() {
            Some(slope) => slope,
            None => self.slope_at(x, from)?,
        };
        let mut slopes = vec![first];
        let mut next = x.clone();
        for stage in 1..7 {
            let at = moved(x, &lengths, A[stage], &slopes)?;
            let times: Vec<f64> = (0..from.len())
                .map(|row| {
                    if C[stage] == 1.0 {
                        to[row]
                    } else {
                        from[row] + C[stage] * lengths[row]
                    }
                })
                .collect();
            slopes.push(self.slope_at(&at, &times)?);
            next = at;
        }
        let none = x.zeros_like()?;
        let error = moved(&none, &lengths, &E, &slopes)?;
        let errors = self.control.errors(&error, x, &next)?;
        self.tried = Some(Tried {
            x: x.clone(),
            next: next.clone(),
            lengths,
            slopes,
        });
        Ok(Attempt { next, errors })
    }

    fn accept(&mut self, rows: &[bool]) -> Result<()> {
        if let Some(Tried { slopes, .. }) = &self.tried
            && let (Some(first), Some(last)) = (slopes.first(), slopes.last())
        {
            self.start = Some(tallow_denoisers::choose_rows(rows, last, first)?);
        }
        Ok(())
    }

    fn within(&self, shares: &[f64]) -> Result<(Tensor, Tensor)> {
        let Some(Tried {
            x,
            next,
            lengths,
            slopes,
        }) = &self.tried
        else {
            return Err(crate::Error::Missing {
                solver: Self::NAME,
                what: "an attempted step",
                way_out: "interpolate after a step only",
            });
        };
        // y(θ) = x + p₀ (x' − x) + h (p₁ k₁ + p₇ k₇ + p₂ Σ dᵢ kᵢ), and its slope.
        let value = |r: f64| {
            [
                r * r * (3.0 - 2.0 * r),
                r * (1.0 - r).powi(2),
                -r * r * (1.0 - r),
                (r * (1.0 - r)).powi(2),
            ]
        };
        let slope = |r: f64| {
            let s = 1.0 - r;
            [
                6.0 * r * s,
                s * s - 2.0 * r * s,
                r * r - 2.0 * r * s,
                2.0 * r * s * (s - r),
            ]
        };
        let combined = |of: &dyn Fn(f64) -> [f64; 4], of_x: f64, power: i32| -> Result<Tensor> {
            let scale = |row: usize, p: f64, power: i32| {
                if lengths[row] == 0.0 {
                    0.0
                } else {
                    p * lengths[row].powi(power)
                }
            };
            let column = |f: &dyn Fn(usize, [f64; 4]) -> f64| -> Vec<f64> {
                shares
                    .iter()
                    .enumerate()
                    .map(|(row, share)| f(row, of(*share)))
                    .collect()
            };
            let mut terms = vec![
                (column(&|row, p| of_x - scale(row, p[0], power - 1)), x),
                (column(&|row, p| scale(row, p[0], power - 1)), next),
            ];
            for (stage, k) in slopes.iter().enumerate() {
                let ends = [f64::from(stage == 0), f64::from(stage == 6)];
                let weight = |row: usize, p: [f64; 4]| {
                    scale(row, p[1] * ends[0] + p[2] * ends[1] + p[3] * D[stage], power)
                };
                terms.push((column(&weight), k));
            }
            let terms: Vec<(&[f64], &Tensor)> = terms.iter().map(|(c, t)| (c.as_slice(), *t)).collect();
            Ok(combine_rows(&terms)?)
        };
        Ok((combined(&value, 1.0, 1)?, combined(&slope, 0.0, 0)?))
    }
}

impl Ends for Embedded<'_> {
    fn position(&self, at: NoiseLevel) -> f64 {
        at.t
    }

    fn is_singular(&self, at: NoiseLevel) -> bool {
        let steep = !(at.alpha_dot.is_finite() && at.sigma_dot.is_finite());
        steep || (at.sigma == 0.0 && self.final_step == FinalStep::Denoise)
    }

    fn estimate(x: &Tensor, belief: Tensor, at: NoiseLevel) -> Result<Estimate> {
        Ok(Estimate::new(x, belief, Prediction::Velocity, at.into())?)
    }
}

/// x + h Σ wⱼ kⱼ, with the length of each row's step.
fn moved(x: &Tensor, lengths: &[f64], weights: &[f64], slopes: &[Tensor]) -> Result<Tensor> {
    let ones = vec![1.0; lengths.len()];
    let columns: Vec<(Vec<f64>, &Tensor)> = weights
        .iter()
        .zip(slopes)
        .filter(|(weight, _)| **weight != 0.0)
        .map(|(weight, slope)| (lengths.iter().map(|h| h * weight).collect(), slope))
        .collect();
    let mut terms: Vec<(&[f64], &Tensor)> = vec![(&ones, x)];
    terms.extend(columns.iter().map(|(column, slope)| (column.as_slice(), *slope)));
    Ok(combine_rows(&terms)?)
}
