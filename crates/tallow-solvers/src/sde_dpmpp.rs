//! SDE-DPM-Solver++: the reverse SDE in λ with the data estimate extrapolated from earlier steps.
//!
//! ```text
//! H = (1 + η) h        ψ_k = ∫₀¹ H e^{−H(1−u)} u^k du        r₀ = h₋₁/h        r₁ = h₋₂/h
//! x_s = (σ_s/σ_t) e^{−ηh} x_t + α_s (ψ₀ m + ψ₁ D₁ + ½ ψ₂ D₂) + k σ_s √(1 − e^{−2ηh}) z
//! D⁰ = (m − m₋₁)/r₀        D¹ = (m₋₁ − m₋₂)/r₁        D₁ = D⁰ + r₀/(r₀+r₁) (D⁰ − D¹)        D₂ = 2 (D⁰ − D¹)/(r₀+r₁)
//! ```
//!
//! m is x̂₀ where the step starts, m₋₁ and m₋₂ where the two before it did. Order 2 takes D₁ = D⁰ and no D₂; its midpoint
//! form has ½ ψ₀ in place of ψ₁. k is [`SdeDpmpp::with_noise_scale`], 1 unless set. The first steps have lower order, and a step into σ = 0 ends in m.
//!
//! The common form of the third order has half of D₂, which costs one order of the drift but damps long steps; both are
//! here. A sign that is wrong in one of the programs in use (ψ₂ with −½ where +½ belongs) is not.
//!
//! Source: Lu et al. 2022, arXiv:2211.01095, section 5 and Eq. 18; η is k-diffusion's.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise, combine};
use tallow_schedules::Step;

use crate::ancestral::{noise_scale, towards_data};
use crate::clean::exponential;
use crate::error::check;
use crate::moments::moment;
use crate::{Point, Result, Solver, estimate};

/// SDE-DPM-Solver++: the reverse SDE in λ with the data estimate extrapolated from earlier steps.
///
/// One evaluation a step; weak order 1 (first order) or 2 (all others: the noise of a step is not seen within it). Needs
/// Gaussian noise that is independent of the data. The midpoint form of the second order is a good first choice among
/// stochastic solvers: the third is more accurate from about 20 steps on, and worse below.
///
/// Source: Lu et al. 2022, arXiv:2211.01095, section 5 and Eq. 18; η is k-diffusion's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SdeDpmpp {
    order: SdeOrder,
    eta: f64,
    noise_scale: f64,
}

/// How the data estimate is extrapolated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SdeOrder {
    /// Not at all: the posterior's step, DDIM with η = 1.
    First,
    /// Along a line, taken at the middle of the step (2M).
    #[default]
    SecondMidpoint,
    /// Along a line, integrated exactly (2M, called Heun by k-diffusion and Taylor by Lu et al.).
    SecondTaylor,
    /// Along a parabola (3M).
    Third,
    /// As [`Third`](Self::Third) with half of the curvature: what other programs call 3M. Calmer in long steps.
    ThirdHalved,
}

impl Default for SdeDpmpp {
    /// 2M in its midpoint form, η = 1.
    fn default() -> Self {
        Self::new(SdeOrder::default())
    }
}

impl SdeDpmpp {
    /// The method of an order with η = 1.
    #[must_use]
    pub fn new(order: SdeOrder) -> Self {
        Self {
            order,
            eta: 1.0,
            noise_scale: 1.0,
        }
    }

    /// The same with `eta` times the noise of the reverse SDE in variance; 0 is the deterministic DPM-Solver++.
    ///
    /// # Errors
    ///
    /// When `eta` is negative or not finite.
    pub fn with_eta(self, eta: f64) -> Result<Self> {
        let fits = eta >= 0.0 && eta.is_finite();
        check("SdeDpmpp", "eta", eta, "finite and not negative", fits)?;
        Ok(Self { eta, ..self })
    }

    /// The same with all noise times `scale`; biased unless 1.
    ///
    /// # Errors
    ///
    /// When `scale` is negative or not finite.
    pub fn with_noise_scale(self, scale: f64) -> Result<Self> {
        Ok(Self {
            noise_scale: noise_scale("SdeDpmpp", scale)?,
            ..self
        })
    }

    /// The step's factors of m, m₋₁ and m₋₂ in units of α_s, when the steps before it had the lengths `past` times its own.
    fn weights(self, past: &[f64], h: f64) -> Vec<f64> {
        let [m, line, parabola] = [0, 1, 2].map(|k| moment(k, h));
        match (self.order, past) {
            (SdeOrder::First, _) | (_, []) => vec![m],
            (SdeOrder::SecondMidpoint, [r0, ..]) => vec![m * (1.0 + 0.5 / r0), -0.5 * m / r0],
            (SdeOrder::SecondTaylor, [r0, ..]) | (_, [r0]) => vec![m + line / r0, -line / r0],
            (order, [r0, r1, ..]) => {
                let share = if order == SdeOrder::ThirdHalved { 0.5 } else { 1.0 };
                // Factors of D⁰ and D¹.
                let bend = (r0 * line + share * parabola) / (r0 + r1);
                vec![m + (line + bend) / r0, -(line + bend) / r0 - bend / r1, bend / r1]
            }
        }
    }

    /// How many earlier estimates the method looks at.
    fn depth(self) -> usize {
        match self.order {
            SdeOrder::First => 0,
            SdeOrder::SecondMidpoint | SdeOrder::SecondTaylor => 1,
            SdeOrder::Third | SdeOrder::ThirdHalved => 2,
        }
    }
}

/// The estimates of earlier steps, the newest first, each with the length of its step in λ.
#[derive(Clone, Debug, Default)]
pub struct PastEstimates {
    steps: Vec<(f64, Tensor)>,
}

impl Solver for SdeDpmpp {
    type History = PastEstimates;

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        history: &mut PastEstimates,
        noise: &mut dyn Noise,
    ) -> Result<Point> {
        let (from, to, h) = (step.from, step.to, step.h());
        if self.eta > 0.0 {
            towards_data("SdeDpmpp", step)?;
        }
        let estimate = estimate(model, x, from)?;
        let noisy = self.eta > 0.0 && to.sigma > 0.0;
        if self.eta == 0.0 && h.is_infinite() || to.sigma == 0.0 {
            history.steps.clear();
            let x = exponential(&estimate, step)?;
            return Ok(Point { x, estimate });
        }
        let m = estimate.x0()?;
        let past: Vec<f64> = history.steps.iter().map(|(length, _)| length / h).collect();
        let weights = self.weights(&past, (1.0 + self.eta) * h);
        let forget = if noisy { (-self.eta * h).exp() } else { 1.0 };
        let mut terms = vec![(to.sigma / from.sigma * forget, x), (to.alpha * weights[0], &m)];
        let earlier = weights[1..].iter().zip(&history.steps);
        terms.extend(earlier.map(|(weight, (_, m))| (to.alpha * weight, m)));
        let z;
        if noisy {
            z = noise.increment(x, from.lambda(), to.lambda())?;
            let fresh = to.sigma * (-(-2.0 * self.eta * h).exp_m1()).sqrt();
            terms.push((self.noise_scale * fresh, &z));
        }
        let x = combine(&terms)?;
        if h.is_finite() {
            history.steps.insert(0, (h, m));
            history.steps.truncate(self.depth());
        }
        Ok(Point { x, estimate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ddim;
    use crate::weak::{self, Rate, sde};

    fn with_eta(order: SdeOrder, eta: f64) -> SdeDpmpp {
        SdeDpmpp::new(order).with_eta(eta).unwrap()
    }

    #[test]
    fn weak_orders_are_one_and_two() {
        weak::assert_order(&SdeDpmpp::new(SdeOrder::First), &sde(Rate(2.0)), 1.0);
        for order in [
            SdeOrder::SecondMidpoint,
            SdeOrder::SecondTaylor,
            SdeOrder::Third,
            SdeOrder::ThirdHalved,
        ] {
            weak::assert_order(&SdeDpmpp::new(order), &sde(Rate(2.0)), 2.0);
            weak::assert_order(&with_eta(order, 0.5), &sde(Rate(1.5)), 2.0);
        }
    }

    #[test]
    fn without_noise_the_orders_are_those_of_the_drift() {
        weak::assert_ode_order(&with_eta(SdeOrder::First, 0.0), 1.0);
        weak::assert_ode_order(&with_eta(SdeOrder::SecondMidpoint, 0.0), 2.0);
        weak::assert_ode_order(&with_eta(SdeOrder::SecondTaylor, 0.0), 2.0);
        weak::assert_ode_order(&with_eta(SdeOrder::ThirdHalved, 0.0), 2.0);
    }

    /// Lines and parabolas through estimates at 0, −r₀ and −r₀ − r₁, against their exact integrals ψ₁ and ψ₂.
    #[test]
    fn a_line_and_a_parabola_are_integrated_exactly_and_half_a_curvature_is_half_of_it() {
        let (past, h) = ([0.8, 1.7], 0.6);
        let nodes: [f64; 3] = [0.0, -0.8, -2.5];
        let integral = |order, power| -> f64 {
            let weights = SdeDpmpp::new(order).weights(&past, h);
            weights.iter().zip(nodes).map(|(w, u)| w * u.powi(power)).sum()
        };
        let near = |got: f64, exact: f64| assert!((got - exact).abs() < 1e-14, "{got}, not {exact}");
        for order in [SdeOrder::SecondTaylor, SdeOrder::Third] {
            near(integral(order, 0), moment(0, h));
            near(integral(order, 1), moment(1, h));
        }
        near(integral(SdeOrder::Third, 2), moment(2, h));
        near(integral(SdeOrder::ThirdHalved, 2), 0.5 * moment(2, h));
    }

    #[test]
    fn the_first_order_is_ddim_with_the_posterior_s_noise() {
        weak::assert_same(&SdeDpmpp::new(SdeOrder::First), &Ddim::new(1.0).unwrap());
    }

    #[test]
    fn data_points_are_sampled_exactly_in_any_number_of_steps() {
        for order in [SdeOrder::First, SdeOrder::SecondMidpoint, SdeOrder::Third] {
            weak::assert_exact_for_a_point(&SdeDpmpp::new(order), 1);
            weak::assert_exact_for_a_point(&with_eta(order, 0.3), 1);
            weak::assert_exact_for_a_point(&with_eta(order, 0.0), 0);
        }
    }

    #[test]
    fn without_noise_it_goes_up_the_path_and_back() {
        weak::assert_there_and_back(&with_eta(SdeOrder::SecondMidpoint, 0.0), 1e-3);
    }

    #[test]
    fn parameters_that_make_no_sense_are_refused() {
        assert!(SdeDpmpp::default().with_eta(-0.1).is_err());
        assert!(SdeDpmpp::default().with_eta(f64::INFINITY).is_err());
        assert!(SdeDpmpp::default().with_noise_scale(f64::NAN).is_err());
    }

    #[test]
    fn finer_grids_follow_one_brownian_path() {
        weak::assert_converges_on_one_path(&SdeDpmpp::default());
    }
}
