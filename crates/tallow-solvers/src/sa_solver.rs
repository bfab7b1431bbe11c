//! SA-Solver: a stochastic Adams predictor and corrector on the reverse SDE in λ.
//!
//! ```text
//! H = (1 + τ²) h        u = (λ − λ_t)/h        w_j = ∫₀¹ H e^{−H(1−u)} l_j(u) du
//! x_s = (σ_s/σ_t) e^{−τ²h} x_t + α_s Σ_j w_j m_j + σ_s √(1 − e^{−2τ²h}) z
//! ```
//!
//! l_j are the Lagrange polynomials of the nodes: for the p-step predictor the starts of this step and of p − 1 before it;
//! the c-step corrector adds the step's end, where it asks the model at the prediction, and takes the starts of c steps. Both
//! share one z. The model's answer at the prediction serves the next step, too, so that a step costs one evaluation.
//!
//! τ(t) is constant within a step, as its value where the step starts: every τ has the marginals of the data, so this costs
//! no order. τ = 1 is the reverse SDE, τ = 0 the probability-flow ODE. A step into σ = 0 ends in m.
//!
//! Source: Xue et al. 2023, arXiv:2309.05019, Proposition 4.2, Eq. 14-18 and Algorithm 1 (data prediction).

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Estimate, Noise, combine};
use tallow_schedules::{NoiseLevel, Step};

use crate::ancestral::towards_data;
use crate::clean::exponential;
use crate::error::check;
use crate::moments::adams_weights;
use crate::{Point, Result, Solver, estimate};

/// SA-Solver: a stochastic Adams predictor and corrector on the reverse SDE in λ.
///
/// One evaluation a step, one more in the first and none in the last if that goes into σ = 0; weak order 2 from two
/// estimates on. Needs Gaussian noise that is independent of the data, unless τ = 0.
///
/// On Gaussian data a two-step predictor with a one-step corrector is the most accurate below 15 steps, the default above.
///
/// Source: Xue et al. 2023, arXiv:2309.05019, Proposition 4.2, Eq. 14-18 and Algorithm 1 (data prediction).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SaSolver {
    predictor: usize,
    corrector: usize,
    tau: Tau,
}

/// How much noise a step takes away and puts back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tau {
    /// The same τ everywhere.
    Constant(f64),
    /// τ where σ/α is between two levels, and 0 elsewhere: the paper's choice for pixels, with 0.05 and 1 as levels.
    Between {
        /// τ inside.
        tau: f64,
        /// The lowest σ/α.
        lowest: f64,
        /// The highest σ/α.
        highest: f64,
    },
}

impl Tau {
    fn at(self, level: NoiseLevel) -> f64 {
        match self {
            Self::Constant(tau) => tau,
            Self::Between { tau, lowest, highest } => {
                let inside = (lowest..=highest).contains(&level.noise_to_signal());
                if inside { tau } else { 0.0 }
            }
        }
    }

    fn size(self) -> f64 {
        match self {
            Self::Constant(tau) | Self::Between { tau, .. } => tau,
        }
    }
}

impl Default for SaSolver {
    /// A three-step predictor, a three-step corrector, τ = 1.
    fn default() -> Self {
        Self {
            predictor: 3,
            corrector: 3,
            tau: Tau::Constant(1.0),
        }
    }
}

impl SaSolver {
    /// A `predictor`-step predictor and a `corrector`-step corrector, 0 for none.
    ///
    /// # Errors
    ///
    /// When `predictor` is outside 1 to 4, `corrector` outside 0 to 4, or τ negative or not finite.
    pub fn new(predictor: usize, corrector: usize, tau: Tau) -> Result<Self> {
        let (p, c, size) = (predictor as f64, corrector as f64, tau.size());
        check(
            "SaSolver",
            "predictor",
            p,
            "in 1 to 4",
            (1..=4).contains(&predictor),
        )?;
        check("SaSolver", "corrector", c, "in 0 to 4", corrector <= 4)?;
        let fits = size >= 0.0 && size.is_finite();
        check("SaSolver", "tau", size, "finite and not negative", fits)?;
        Ok(Self {
            predictor,
            corrector,
            tau,
        })
    }

    fn depth(self) -> usize {
        self.predictor.max(self.corrector)
    }
}

/// The estimates of earlier steps and, from a corrector, that of the step to come.
#[derive(Clone, Debug, Default)]
pub struct AdamsHistory {
    /// λ and x̂_0 where steps started, the newest first.
    past: Vec<(f64, Tensor)>,
    /// What the model said at the prediction for the end of the last step.
    ahead: Option<Estimate>,
}

/// What predictor and corrector have in common: (factor, tensor) of x and of z, and the step's length.
struct Transport<'a> {
    terms: Vec<(f64, Tensor)>,
    rate: f64,
    step: &'a Step<'a>,
}

impl Transport<'_> {
    /// The end of the step under the polynomial through these estimates.
    fn under(&self, nodes: &[&(f64, Tensor)]) -> Result<Tensor> {
        let (h, start) = (self.step.h(), self.step.from.lambda());
        let places: Vec<f64> = nodes.iter().map(|(lambda, _)| (lambda - start) / h).collect();
        let weights = adams_weights(&places, (1.0 + self.rate) * h);
        let estimates = nodes.iter().zip(weights);
        let estimates = estimates.map(|((_, m), weight)| (self.step.to.alpha * weight, m));
        let kept = self.terms.iter().map(|(factor, tensor)| (*factor, tensor));
        Ok(combine(&kept.chain(estimates).collect::<Vec<_>>())?)
    }
}

impl Solver for SaSolver {
    type History = AdamsHistory;

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        history: &mut AdamsHistory,
        noise: &mut dyn Noise,
    ) -> Result<Point> {
        let (from, to, h) = (step.from, step.to, step.h());
        let rate = self.tau.at(from).powi(2);
        if rate > 0.0 {
            towards_data("SaSolver", step)?;
        }
        let estimate = match history.ahead.take() {
            Some(estimate) => estimate,
            None => estimate(model, x, from)?,
        };
        if to.sigma == 0.0 || (rate == 0.0 && h.is_infinite()) {
            history.past.clear();
            let x = exponential(&estimate, step)?;
            return Ok(Point { x, estimate });
        }
        let mut transport = Transport {
            terms: vec![(to.sigma / from.sigma, x.clone())],
            rate,
            step,
        };
        if rate > 0.0 {
            let z = noise.increment(x, from.lambda(), to.lambda())?;
            transport.terms[0].0 *= (-rate * h).exp();
            transport
                .terms
                .push((to.sigma * (-(-2.0 * rate * h).exp_m1()).sqrt(), z));
        }
        if h.is_infinite() {
            // Out of α = 0 nothing of x is left, and λ has no polynomials.
            let m = estimate.x0()?;
            let kept = transport.terms.iter().map(|(factor, tensor)| (*factor, tensor));
            let x = combine(&kept.chain([(to.alpha, &m)]).collect::<Vec<_>>())?;
            return Ok(Point { x, estimate });
        }
        history.past.insert(0, (from.lambda(), estimate.x0()?));
        history.past.truncate(self.depth());
        let nodes: Vec<_> = history.past.iter().take(self.predictor).collect();
        let mut x = transport.under(&nodes)?;
        if self.corrector > 0 {
            let ahead = model.estimate(&x, to.into())?;
            let end = (to.lambda(), ahead.x0()?);
            let nodes: Vec<_> = std::iter::once(&end)
                .chain(history.past.iter().take(self.corrector))
                .collect();
            x = transport.under(&nodes)?;
            history.ahead = Some(ahead);
        }
        Ok(Point { x, estimate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sde_dpmpp::{SdeDpmpp, SdeOrder};
    use crate::weak::{self, Rate, sde};

    fn solver(predictor: usize, corrector: usize, tau: f64) -> SaSolver {
        SaSolver::new(predictor, corrector, Tau::Constant(tau)).unwrap()
    }

    #[test]
    fn weak_order_is_two_with_two_estimates_or_more() {
        weak::assert_order(&solver(1, 0, 1.0), &sde(Rate(2.0)), 1.0);
        weak::assert_order(&solver(1, 1, 1.0), &sde(Rate(2.0)), 2.0);
        weak::assert_order(&solver(2, 0, 1.0), &sde(Rate(2.0)), 2.0);
        weak::assert_order(&solver(3, 0, 1.0), &sde(Rate(2.0)), 2.0);
        weak::assert_order(&SaSolver::default(), &sde(Rate(2.0)), 2.0);
        weak::assert_order(&solver(3, 3, 0.6), &sde(Rate(1.36)), 2.0);
    }

    #[test]
    fn without_noise_a_corrector_adds_an_order() {
        weak::assert_ode_order(&solver(1, 0, 0.0), 1.0);
        weak::assert_ode_order(&solver(1, 1, 0.0), 2.0);
        weak::assert_ode_order(&solver(2, 0, 0.0), 2.0);
    }

    #[test]
    fn the_predictor_alone_is_sde_dpm_solver_with_eta_the_square_of_tau() {
        let pairs = [
            (1, SdeOrder::First),
            (2, SdeOrder::SecondTaylor),
            (3, SdeOrder::Third),
        ];
        for (predictor, order) in pairs {
            let other = SdeDpmpp::new(order).with_eta(0.49).unwrap();
            weak::assert_same(&solver(predictor, 0, 0.7), &other);
        }
    }

    #[test]
    fn data_points_are_sampled_exactly_in_any_number_of_steps() {
        weak::assert_exact_for_a_point(&SaSolver::default(), 1);
        weak::assert_exact_for_a_point(&solver(3, 3, 0.4), 1);
        let tau = Tau::Between {
            tau: 1.0,
            lowest: 0.05,
            highest: 1.0,
        };
        weak::assert_exact_in_law_for_a_point(&SaSolver::new(2, 2, tau).unwrap());
    }

    #[test]
    fn a_step_costs_one_evaluation() {
        assert_eq!(weak::evaluations(&SaSolver::default(), 10), 10);
        assert_eq!(weak::evaluations(&solver(3, 0, 1.0), 10), 10);
    }

    #[test]
    fn parameters_that_make_no_sense_are_refused() {
        let tau = Tau::Constant(1.0);
        assert!(SaSolver::new(0, 1, tau).is_err() && SaSolver::new(2, 5, tau).is_err());
        assert!(SaSolver::new(2, 1, Tau::Constant(f64::NAN)).is_err());
    }

    #[test]
    fn finer_grids_follow_one_brownian_path() {
        weak::assert_converges_on_one_path(&SaSolver::default());
    }
}
