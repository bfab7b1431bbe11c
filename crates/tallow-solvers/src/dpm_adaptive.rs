//! DPM-Solver-12 and -23 with steps of their own choice in λ, row by row; data form.
//!
//! ```text
//! h = λ_s − λ_t    mᵢ = x̂_0 at λ_t + rᵢ h    φ₂(h) = expm1(−h)/h + 1
//! y(h)     = (σ_s/σ_t) x − α_s expm1(−h) m                                     order 1
//! y₂(h, r) = y(h) + α_s (φ₂(h)/r) (m_r − m)                                    order 2
//! 12: y against y₂ with r = ½      23: y₂ with r = ⅓ against y₂ with r = ⅔, whose m_r is at what the former says there (order 3)
//! E = √mean((difference / max(atol, rtol max(|lower|, |x|)))²)      h ← h clip(0.9 E^(−1/q), 0.2, 5), q the higher order
//! ```
//!
//! The grid says where a run starts and ends; nodes in between are interpolated for the observer and change nothing. At α = 0
//! and σ = 0, where λ is infinite, a first-order step to or from λ = ±½ ln(10/atol) takes the place of the rest.
//!
//! Source: Lu et al. 2022, arXiv:2206.00927, appendix C; in data form as arXiv:2211.01095.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Estimate, Levels, Noise, choose_rows, combine_rows};
use tallow_schedules::{NoiseLevel, Schedule, TimeGrid};

use crate::adaptive::{Attempt, Control, Ends, Method, Running, journey, root_mean_squares};
use crate::watched::Watched;
use crate::{Error, Observer, Result, Sampled, Sampler};

/// DPM-Solver-12 and -23 with steps of their own choice in λ, row by row; data form.
///
/// Two or three evaluations an attempted step; the error follows the tolerance; right for any path, prediction and coupling.
///
/// For few evaluations at a loose tolerance; [`Dopri5Adaptive`](crate::Dopri5Adaptive) is for tight ones.
///
/// Source: Lu et al. 2022, arXiv:2206.00927, appendix C; in data form as arXiv:2211.01095.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpmAdaptive {
    /// Which pair of methods.
    pub pair: DpmPair,
    /// Tolerances and limits.
    pub control: Control,
}

/// A pair of DPM-Solvers of which one tells the other's error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DpmPair {
    /// Orders 1 and 2: two evaluations an attempt.
    OneTwo,
    /// Orders 2 and 3: three evaluations an attempt.
    #[default]
    TwoThree,
}

impl DpmAdaptive {
    /// A pair with tolerances of a step.
    ///
    /// # Errors
    ///
    /// When one is not positive and finite.
    pub fn new(pair: DpmPair, rtol: f64, atol: f64) -> Result<Self> {
        let control = Control::new(rtol, atol)?;
        Ok(Self { pair, control })
    }
}

/// DPM-Solver-23 with the paper's tolerances: 0.05, and 1/128 for data in [−1, 1].
impl Default for DpmAdaptive {
    fn default() -> Self {
        Self {
            pair: DpmPair::TwoThree,
            control: Control {
                rtol: 0.05,
                atol: 1.0 / 128.0,
                max_steps: 10_000,
                max_rejections: 30,
                min_step: 1e-12,
            },
        }
    }
}

impl Sampler for DpmAdaptive {
    fn run(
        &self,
        model: &dyn Denoiser,
        grid: &TimeGrid,
        x: &Tensor,
        _noise: &mut dyn Noise,
        observe: Observer<'_>,
    ) -> Result<Sampled> {
        let model: Running<'_> = Watched::begin(model);
        let method = Singlestep {
            model: &model,
            schedule: grid.schedule().as_ref(),
            pair: self.pair,
            control: self.control,
            start: None,
            went_on: Vec::new(),
            tried: None,
        };
        journey(method, &model, grid, &self.control, x, observe)
    }
}

/// The pair under way.
struct Singlestep<'a, 'm> {
    model: &'a Running<'m>,
    schedule: &'a dyn Schedule,
    pair: DpmPair,
    control: Control,
    /// x̂_0 where each row stood at the last attempt.
    start: Option<Tensor>,
    /// Which rows have moved since.
    went_on: Vec<bool>,
    tried: Option<Tried>,
}

/// An attempt: where it started, x̂_0 there, and x̂_0 at the share `r` of the step.
struct Tried {
    x: Tensor,
    from: Vec<NoiseLevel>,
    lengths: Vec<f64>,
    m: Tensor,
    inner: Tensor,
    r: f64,
}

impl Tried {
    /// y₂ at the share `share` of the step, of each row; without `inner`, y.
    fn at(&self, shares: &[f64], to: &[NoiseLevel], inner: Option<(&Tensor, f64)>) -> Result<Tensor> {
        let rows = 0..self.from.len();
        let tau = |row: usize| shares[row] * self.lengths[row];
        let kept: Vec<f64> = rows
            .clone()
            .map(|row| to[row].sigma / self.from[row].sigma)
            .collect();
        let data: Vec<f64> = rows
            .clone()
            .map(|row| -to[row].alpha * (-tau(row)).exp_m1())
            .collect();
        let Some((inner, r)) = inner else {
            return Ok(combine_rows(&[(&kept, &self.x), (&data, &self.m)])?);
        };
        // τ φ₂(τ)/(r h), the integral of the line through the two estimates.
        let bend: Vec<f64> = rows
            .map(|row| to[row].alpha * shares[row] * phi_2(tau(row)) / r)
            .collect();
        let less: Vec<f64> = data.iter().zip(&bend).map(|(data, bend)| data - bend).collect();
        Ok(combine_rows(&[
            (&kept, &self.x),
            (&less, &self.m),
            (&bend, inner),
        ])?)
    }
}

impl Singlestep<'_, '_> {
    fn levels(&self, positions: impl Iterator<Item = f64>) -> Vec<NoiseLevel> {
        positions
            .map(|lambda| self.schedule.level(self.schedule.inverse_lambda(lambda)))
            .collect()
    }

    fn x0(&self, x: &Tensor, at: &[NoiseLevel]) -> Result<Tensor> {
        Ok(self.model.estimate(x, Levels::PerRow(at))?.x0()?)
    }

    fn errors(&self, lower: &Tensor, higher: &Tensor, x: &Tensor) -> Result<Vec<f64>> {
        let size = (lower.abs()?.maximum(&x.abs()?)? * self.control.rtol)?;
        let scale = size.maximum(self.control.atol)?;
        root_mean_squares(&((higher - lower)? / scale)?)
    }
}

impl Method for Singlestep<'_, '_> {
    const NAME: &'static str = "DpmAdaptive";

    fn exponent(&self) -> f64 {
        match self.pair {
            DpmPair::OneTwo => 2.0,
            DpmPair::TwoThree => 3.0,
        }
    }

    fn safety(&self) -> f64 {
        0.9
    }

    fn time(&self, position: f64) -> f64 {
        self.schedule.inverse_lambda(position)
    }

    fn start(&mut self, x: &Tensor, from: f64, to: f64) -> Result<(Vec<f64>, Tensor)> {
        let rows = x.dim(0)?;
        let levels = self.levels(std::iter::repeat_n(from, rows));
        let m = self.x0(x, &levels)?;
        self.start = Some(m.clone());
        self.went_on = vec![false; rows];
        Ok((vec![0.05f64.min((to - from).abs()); rows], m))
    }

    fn attempt(&mut self, x: &Tensor, from: &[f64], to: &[f64]) -> Result<Attempt> {
        let rows = from.len();
        let lengths: Vec<f64> = from.iter().zip(to).map(|(from, to)| to - from).collect();
        let levels = self.levels(from.iter().copied());
        let m = match self.start.take() {
            Some(m) if !self.went_on.contains(&true) => m,
            Some(m) => choose_rows(&self.went_on, &self.x0(x, &levels)?, &m)?,
            None => self.x0(x, &levels)?,
        };
        self.start = Some(m.clone());
        let ends = self.levels(to.iter().copied());
        let at_share = |r: f64| self.levels(from.iter().zip(&lengths).map(move |(from, h)| from + r * h));
        let mut tried = Tried {
            x: x.clone(),
            from: levels,
            lengths: lengths.clone(),
            inner: m.clone(),
            m,
            r: 1.0,
        };
        let first = match self.pair {
            DpmPair::OneTwo => 0.5,
            DpmPair::TwoThree => 1.0 / 3.0,
        };
        let inner_levels = at_share(first);
        let inner = self.x0(&tried.at(&vec![first; rows], &inner_levels, None)?, &inner_levels)?;
        let whole = vec![1.0; rows];
        let lower = match self.pair {
            DpmPair::OneTwo => {
                (tried.inner, tried.r) = (inner, first);
                tried.at(&whole, &ends, None)?
            }
            DpmPair::TwoThree => {
                let (second, lower) = (2.0 / 3.0, tried.at(&whole, &ends, Some((&inner, first)))?);
                let levels = at_share(second);
                let there = tried.at(&vec![second; rows], &levels, Some((&inner, first)))?;
                (tried.inner, tried.r) = (self.x0(&there, &levels)?, second);
                lower
            }
        };
        let next = tried.at(&whole, &ends, Some((&tried.inner, tried.r)))?;
        let errors = self.errors(&lower, &next, x)?;
        self.tried = Some(tried);
        Ok(Attempt { next, errors })
    }

    fn accept(&mut self, rows: &[bool]) -> Result<()> {
        self.went_on = rows.to_vec();
        Ok(())
    }

    fn within(&self, shares: &[f64]) -> Result<(Tensor, Tensor)> {
        let Some(tried) = &self.tried else {
            return Err(Error::Missing {
                solver: Self::NAME,
                what: "an attempted step",
                way_out: "interpolate after a step only",
            });
        };
        let position = |row: usize| tried.from[row].lambda() + shares[row] * tried.lengths[row];
        let levels = self.levels((0..shares.len()).map(position));
        let x = tried.at(shares, &levels, Some((&tried.inner, tried.r)))?;
        let weight: Vec<f64> = shares.iter().map(|share| share / tried.r).collect();
        let rest: Vec<f64> = weight.iter().map(|weight| 1.0 - weight).collect();
        Ok((x, combine_rows(&[(&rest, &tried.m), (&weight, &tried.inner)])?))
    }
}

impl Ends for Singlestep<'_, '_> {
    fn position(&self, at: NoiseLevel) -> f64 {
        at.lambda()
    }

    fn is_singular(&self, at: NoiseLevel) -> bool {
        !at.lambda().is_finite()
    }

    fn estimate(x: &Tensor, belief: Tensor, at: NoiseLevel) -> Result<Estimate> {
        Ok(Estimate::from_x0(x, belief, at.into())?)
    }
}

/// φ₂(h) = expm1(−h)/h + 1; h/2 near 0, where the quotient cancels.
fn phi_2(h: f64) -> f64 {
    if h.abs() < 1e-4 {
        h / 2.0 - h * h / 6.0 + h * h * h / 24.0
    } else {
        (-h).exp_m1() / h + 1.0
    }
}
