//! Variance-preserving path whose ᾱ falls like a logistic curve.
//!
//! ```text
//! ᾱ(t) = (S(e) − S(u)) / (S(e) − S(s))     u = s + (e − s) t     s = start/τ     e = end/τ     S(x) = 1/(1 + e^{−x})
//!
//! with D = (e − s)/2:    e^{2λ} = ᾱ/(1 − ᾱ) = sinh((1−t) D) cosh(s/2) / (sinh(t D) cosh(e/2))
//! t(λ): R = e^{2λ} cosh(e/2)/cosh(s/2),    t D = ½ ln(1 + 2 sinh D/(R + e^{−D}))
//! ```
//!
//! The differences of logistic functions are taken as products of hyperbolic ones: nothing cancels.

use crate::error::{check, check_order};
use crate::{Result, Schedule};

/// The sigmoid path of `start`, `end` and temperature `tau`; defaults −3, 3 and 1.
///
/// ᾱ runs from 1 to 0 exactly, so λ runs from +∞ to −∞. Both α̇(1) and σ̇(0) are infinite. Not the sigmoid of β that
/// goes by the same name: that is [`Table::geodiff_sigmoid_beta`](crate::Table::geodiff_sigmoid_beta).
///
/// Source: Jabri, Fleet & Chen 2022, arXiv:2212.11972, and Chen 2023, arXiv:2301.10972, without their clip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VpSigmoid {
    start: f64,
    end: f64,
    tau: f64,
}

impl Default for VpSigmoid {
    fn default() -> Self {
        Self {
            start: -3.0,
            end: 3.0,
            tau: 1.0,
        }
    }
}

impl VpSigmoid {
    /// The part of the logistic curve between `start/tau` and `end/tau`.
    ///
    /// # Errors
    ///
    /// When `tau` is not positive, `start/tau` or `end/tau` is outside `[-100, 100]`, or they are closer than 1e-6.
    pub fn new(start: f64, end: f64, tau: f64) -> Result<Self> {
        const OWNER: &str = "VpSigmoid";
        check(
            OWNER,
            "tau",
            tau,
            "positive and finite",
            tau > 0.0 && tau.is_finite(),
        )?;
        for (name, value) in [("start/tau", start / tau), ("end/tau", end / tau)] {
            check(OWNER, name, value, "in [-100, 100]", value.abs() <= 100.0)?;
        }
        check_order(OWNER, ("start", start), ("end", end))?;
        let width = (end - start) / tau;
        check(
            OWNER,
            "(end - start)/tau",
            width,
            "finite and of at least 1e-6",
            width >= 1e-6 && width.is_finite(),
        )?;
        Ok(Self { start, end, tau })
    }

    /// Where on the logistic curve the data is, before division by the temperature.
    #[must_use]
    pub fn start(&self) -> f64 {
        self.start
    }

    /// Where the noise is.
    #[must_use]
    pub fn end(&self) -> f64 {
        self.end
    }

    /// The temperature.
    #[must_use]
    pub fn tau(&self) -> f64 {
        self.tau
    }

    /// D, half the width of the part.
    fn half_width(&self) -> f64 {
        0.5 * (self.end - self.start) / self.tau
    }

    /// (cosh(s/2), cosh(e/2)).
    fn ends(&self) -> (f64, f64) {
        (
            (0.5 * self.start / self.tau).cosh(),
            (0.5 * self.end / self.tau).cosh(),
        )
    }

    /// cosh(u/2) at a time.
    fn middle(&self, t: f64) -> f64 {
        (0.5 * self.start / self.tau + t * self.half_width()).cosh()
    }

    /// dᾱ/dt, never positive.
    fn alpha_bar_dot(&self, t: f64) -> f64 {
        let (d, (first, last), middle) = (self.half_width(), self.ends(), self.middle(t));
        -d * (first / middle) * (last / middle) / d.sinh()
    }
}

impl Schedule for VpSigmoid {
    fn alpha(&self, t: f64) -> f64 {
        let d = self.half_width();
        (((1.0 - t) * d).sinh() / d.sinh() * (self.ends().0 / self.middle(t))).sqrt()
    }

    fn sigma(&self, t: f64) -> f64 {
        let d = self.half_width();
        ((t * d).sinh() / d.sinh() * (self.ends().1 / self.middle(t))).sqrt()
    }

    fn alpha_dot(&self, t: f64) -> f64 {
        0.5 * self.alpha_bar_dot(t) / self.alpha(t)
    }

    fn sigma_dot(&self, t: f64) -> f64 {
        -0.5 * self.alpha_bar_dot(t) / self.sigma(t)
    }

    fn inverse_lambda(&self, lambda: f64) -> f64 {
        let (d, (first, last)) = (self.half_width(), self.ends());
        let ratio = (2.0 * lambda).exp() * (last / first);
        let turned = 0.5 * (2.0 * d.sinh() / (ratio + (-d).exp())).ln_1p();
        (turned / d).clamp(0.0, 1.0)
    }

    fn lambda(&self, t: f64) -> f64 {
        let (d, (first, last)) = (self.half_width(), self.ends());
        0.5 * (((1.0 - t) * d).sinh().ln() - (t * d).sinh().ln() + first.ln() - last.ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws;

    #[test]
    fn keeps_the_laws_of_a_variance_preserving_path() {
        for (start, end, tau) in [
            (-3.0, 3.0, 1.0),
            (0.0, 3.0, 0.3),
            (-3.0, 3.0, 1.1),
            (-8.0, 1.0, 2.0),
        ] {
            let path = VpSigmoid::new(start, end, tau).unwrap();
            laws::of_path(&path);
            laws::variance_is_preserved(&path);
            laws::starts_clean(&path);
            laws::ends_in_noise(&path);
        }
    }

    #[test]
    fn a_span_that_overflows_is_refused() {
        let error = VpSigmoid::new(-f64::MAX, f64::MAX, f64::MAX)
            .unwrap_err()
            .to_string();
        assert!(error.contains("finite"), "{error}");
    }

    #[test]
    fn alpha_bar_is_the_published_difference_of_logistic_functions() {
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        let (start, end, tau) = (-3.0, 3.0, 0.9);
        let path = VpSigmoid::new(start, end, tau).unwrap();
        for t in [0.05, 0.3, 0.5, 0.8, 0.99] {
            let published = (logistic(end / tau) - logistic((t * (end - start) + start) / tau))
                / (logistic(end / tau) - logistic(start / tau));
            assert!((path.alpha(t).powi(2) - published).abs() < 1e-14, "t {t}");
        }
    }

    #[test]
    fn slopes_are_infinite_at_the_ends_and_never_nan() {
        let path = VpSigmoid::default();
        assert_eq!(path.alpha_dot(1.0), f64::NEG_INFINITY);
        assert_eq!(path.sigma_dot(0.0), f64::INFINITY);
        assert!(path.alpha_dot(0.0).is_finite() && path.sigma_dot(1.0).is_finite());
    }

    #[test]
    fn refuses_what_is_no_part_of_a_logistic_curve() {
        for (start, end, tau) in [
            (3.0, -3.0, 1.0),
            (0.0, 0.0, 1.0),
            (-3.0, 3.0, 0.0),
            (-3.0, 3.0, f64::NAN),
            (-300.0, 3.0, 1.0),
        ] {
            assert!(VpSigmoid::new(start, end, tau).is_err(), "{start} {end} {tau}");
        }
    }
}
