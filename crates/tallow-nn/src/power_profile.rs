//! Which moments of a training a power-function average weighs, and how some such averages make up another.
//!
//! ```text
//! profile        p(τ) = (γ + 1) τ^γ/t^(γ + 1)          0 ≤ τ ≤ t
//! width          σ_rel = √(γ + 1)/((γ + 2) √(γ + 3))   standard deviation of τ/t under p
//! inner product  ⟨a, b⟩ = (γ_a + 1)(γ_b + 1) (t_a/t_b)^(γ_b if t_a < t_b, else −γ_a)/((γ_a + γ_b + 1) max(t_a, t_b))
//! fit            min ‖p − Σ wᵢ pᵢ‖²,   that is   A w = b,   Aᵢⱼ = ⟨pᵢ, pⱼ⟩,   bᵢ = ⟨pᵢ, p⟩
//! ```
//!
//! Source: Karras et al. 2024, arXiv:2312.02696, section 3 and appendix C.

use crate::error::{Error, Result};

/// The weights of a power-function average over the updates up to a time.
///
/// Source: Karras et al. 2024, arXiv:2312.02696, section 3 and appendix C.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PowerProfile {
    gamma: f64,
    time: f64,
}

impl PowerProfile {
    /// The profile with exponent `gamma` at `time`, in updates (or any unit that all profiles share).
    ///
    /// # Errors
    ///
    /// When `gamma` is negative, `time` is not positive, or one is not finite.
    pub fn new(gamma: f64, time: f64) -> Result<Self> {
        let setting = |name, value, allowed| Err(Error::Setting { name, value, allowed });
        if !(gamma.is_finite() && gamma >= 0.0) {
            return setting("gamma of a profile", gamma, "a finite number, 0 or more");
        }
        if !(time.is_finite() && time > 0.0) {
            return setting("the time of a profile", time, "a positive number");
        }
        Ok(Self { gamma, time })
    }

    /// The profile of relative width `sigma_rel` at `time`.
    ///
    /// # Errors
    ///
    /// When `sigma_rel` is outside (0, 1/√12] or `time` is not positive.
    pub fn of_width(sigma_rel: f64, time: f64) -> Result<Self> {
        Self::new(gamma_of_sigma_rel(sigma_rel)?, time)
    }

    /// The exponent γ.
    #[must_use]
    pub fn gamma(self) -> f64 {
        self.gamma
    }

    /// The time of the newest update in the average.
    #[must_use]
    pub fn time(self) -> f64 {
        self.time
    }

    /// The inner product ∫ p(τ) q(τ) dτ of this profile p and another, q.
    #[must_use]
    pub fn inner(self, other: Self) -> f64 {
        let (a, b) = if self.time < other.time {
            (self, other)
        } else {
            (other, self)
        };
        // a is the older one: (t_a/t_b)^γ_b is at most 1.
        let ratio = (b.gamma * (a.time / b.time).ln()).exp();
        (a.gamma + 1.0) * (b.gamma + 1.0) * ratio / ((a.gamma + b.gamma + 1.0) * b.time)
    }
}

/// The relative width of a power-function average: the standard deviation of its profile, as a part of the training so far.
///
/// Source: Karras et al. 2024, arXiv:2312.02696, section 3 and appendix C.
///
/// # Errors
///
/// When `gamma` is negative or not finite.
pub fn sigma_rel_of_gamma(gamma: f64) -> Result<f64> {
    let gamma = PowerProfile::new(gamma, 1.0)?.gamma;
    Ok(width(gamma))
}

/// The exponent γ of the average with relative width `sigma_rel`: 16.97 for 0.05 and 6.94 for 0.10, EDM2's two.
///
/// Source: Karras et al. 2024, arXiv:2312.02696, section 3 and appendix C.
///
/// # Errors
///
/// When `sigma_rel` is below 1e-9, above 1/√12, which is what exponents of 0 and more reach, or NaN.
pub fn gamma_of_sigma_rel(sigma_rel: f64) -> Result<f64> {
    if !(sigma_rel >= 1e-9 && sigma_rel <= width(0.0)) {
        return Err(Error::Setting {
            name: "sigma_rel",
            value: sigma_rel,
            allowed: "1e-9 to 1/√12 = 0.2887",
        });
    }
    // The width falls with γ and is below 1/γ: halve [0, 1/σ_rel] until no number is left between its ends.
    let (mut low, mut high) = (0.0, 1.0 / sigma_rel);
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return Ok(middle);
        }
        if width(middle) >= sigma_rel {
            low = middle;
        } else {
            high = middle;
        }
    }
}

fn width(gamma: f64) -> f64 {
    (gamma + 1.0).sqrt() / ((gamma + 2.0) * (gamma + 3.0).sqrt())
}

/// How some profiles make up another.
#[derive(Clone, Debug, PartialEq)]
pub struct ProfileFit {
    /// The factor on each, as the least squares give them: their sum is near 1.
    pub weights: Vec<f64>,
    /// ‖p − Σ wᵢ pᵢ‖/‖p‖: how much of the wanted profile they miss.
    pub residual: f64,
}

impl ProfileFit {
    /// The combination of the profiles `have` that is nearest to `want`.
    ///
    /// # Errors
    ///
    /// When there are no profiles, `want` is later than all of them, or two are too much alike to be told apart.
    pub fn new(have: &[PowerProfile], want: PowerProfile) -> Result<Self> {
        let last = have.iter().fold(0.0, |last: f64, profile| last.max(profile.time));
        if want.time > last {
            return Err(Error::Setting {
                name: "the time of the wanted average",
                value: want.time,
                allowed: "at most that of the last snapshot",
            });
        }
        let gram: Vec<Vec<f64>> = have
            .iter()
            .map(|a| have.iter().map(|b| a.inner(*b)).collect())
            .collect();
        let right: Vec<f64> = have.iter().map(|profile| profile.inner(want)).collect();
        let weights = solve(&gram, &right)?;
        let hit: f64 = weights.iter().zip(&right).map(|(w, b)| w * b).sum();
        let residual = (1.0 - hit / want.inner(want)).max(0.0).sqrt();
        Ok(Self { weights, residual })
    }
}

/// A⁻¹ b of a positive definite A, by Cholesky's factors of the matrix scaled to a diagonal of 1.
fn solve(matrix: &[Vec<f64>], right: &[f64]) -> Result<Vec<f64>> {
    let n = right.len();
    let scale: Vec<f64> = (0..n).map(|i| 1.0 / matrix[i][i].sqrt()).collect();
    let mut factor = vec![vec![0.0; n]; n];
    for i in 0..n {
        for j in 0..=i {
            let known: f64 = (0..j).map(|k| factor[i][k] * factor[j][k]).sum();
            let rest = matrix[i][j] * scale[i] * scale[j] - known;
            factor[i][j] = if j < i { rest / factor[j][j] } else { rest.sqrt() };
        }
        // Below this, what is left of a profile beside the others is rounding.
        if !(factor[i][i] > 1e-7) {
            return Err(Error::Setting {
                name: "the distance of a snapshot's profile from the others",
                value: factor[i][i],
                allowed: "more than 1e-7: leave out snapshots of nearly the same time and gamma",
            });
        }
    }
    let mut x: Vec<f64> = right.iter().zip(&scale).map(|(b, s)| b * s).collect();
    for i in 0..n {
        let known: f64 = (0..i).map(|k| factor[i][k] * x[k]).sum();
        x[i] = (x[i] - known) / factor[i][i];
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|k| factor[k][i] * x[k]).sum();
        x[i] = (x[i] - known) / factor[i][i];
    }
    Ok(x.iter().zip(&scale).map(|(x, s)| x * s).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(gamma: f64, time: f64) -> PowerProfile {
        PowerProfile::new(gamma, time).unwrap()
    }

    /// EDM2's two widths at `n` times.
    fn two(n: usize) -> Vec<PowerProfile> {
        [16.97, 6.94]
            .iter()
            .flat_map(|&gamma| (1..=n).map(move |k| profile(gamma, 4.0 * k as f64)))
            .collect()
    }

    #[test]
    fn width_and_exponent_are_each_others_inverse() {
        // The values that the paper gives for its widths.
        for (sigma_rel, gamma) in [(0.05, 16.97), (0.10, 6.94)] {
            assert!((gamma_of_sigma_rel(sigma_rel).unwrap() - gamma).abs() < 0.005);
        }
        for gamma in [0.0, 0.3, 1.0, 40.0, 1e4] {
            let back = gamma_of_sigma_rel(sigma_rel_of_gamma(gamma).unwrap()).unwrap();
            assert!((back - gamma).abs() < 1e-11 * (1.0 + gamma), "{back} for {gamma}");
        }
        assert!(gamma_of_sigma_rel(0.3).is_err() && gamma_of_sigma_rel(0.0).is_err());
    }

    #[test]
    fn inner_products_and_widths_are_the_integrals() {
        // Midpoints of 200 000 intervals.
        let value = |p: PowerProfile, tau: f64| {
            if tau > p.time {
                0.0
            } else {
                (p.gamma + 1.0) / p.time * (tau / p.time).powf(p.gamma)
            }
        };
        let integral = |f: &dyn Fn(f64) -> f64| {
            let (n, end) = (200_000, 10.0);
            let step = end / f64::from(n);
            (0..n).map(|i| f((f64::from(i) + 0.5) * step) * step).sum::<f64>()
        };
        let (a, b, c) = (profile(2.0, 10.0), profile(6.94, 4.0), profile(0.5, 4.0));
        for (p, q) in [(a, b), (b, a), (b, c), (a, a), (c, c)] {
            let by_sum = integral(&|tau| value(p, tau) * value(q, tau));
            assert!(
                (p.inner(q) - by_sum).abs() < 1e-6,
                "{p:?} {q:?}: {} {by_sum}",
                p.inner(q)
            );
        }
        let mean = integral(&|tau| value(a, tau) * tau / 10.0);
        let spread = integral(&|tau| value(a, tau) * (tau / 10.0 - mean).powi(2)).sqrt();
        assert!((spread - sigma_rel_of_gamma(2.0).unwrap()).abs() < 1e-8);
    }

    #[test]
    fn a_profile_among_those_given_is_found_exactly() {
        let have = two(6);
        let fit = ProfileFit::new(&have, have[8]).unwrap();
        for (i, weight) in fit.weights.iter().enumerate() {
            assert!(
                (weight - if i == 8 { 1.0 } else { 0.0 }).abs() < 1e-12,
                "{i}: {weight}"
            );
        }
        assert!(fit.residual < 1e-6);
    }

    #[test]
    fn the_residual_is_orthogonal_to_every_profile_and_falls_with_more_of_them() {
        let want = profile(9.0, 24.0);
        let mut before = f64::INFINITY;
        for n in [6, 12, 48] {
            let have: Vec<_> = two(n)
                .into_iter()
                .map(|p| profile(p.gamma, p.time * 6.0 / n as f64))
                .collect();
            let fit = ProfileFit::new(&have, want).unwrap();
            for p in &have {
                let made: f64 = have.iter().zip(&fit.weights).map(|(q, w)| w * q.inner(*p)).sum();
                assert!((made - want.inner(*p)).abs() < 1e-12);
            }
            assert!(fit.residual < before, "{} after {before}", fit.residual);
            before = fit.residual;
        }
        assert!(before < 1e-3, "{before}");
    }

    #[test]
    fn what_has_no_answer_is_refused() {
        assert!(PowerProfile::new(-1.0, 1.0).is_err() && PowerProfile::new(1.0, 0.0).is_err());
        assert!(ProfileFit::new(&[], profile(1.0, 1.0)).is_err());
        assert!(ProfileFit::new(&two(6), profile(1.0, 25.0)).is_err());
        let twice = [profile(1.0, 2.0), profile(1.0, 2.0)];
        assert!(ProfileFit::new(&twice, profile(1.0, 1.0)).is_err());
    }
}
