//! The updates of Adam, AdamW and RAdam, in place and in one pass over parameters, gradients and moments.
//!
//! ```text
//! m ← β₁ m + (1 − β₁) g          v ← β₂ v + (1 − β₂) g²
//! p ← p (1 − η λ) − η m̂/(√v̂ + ε),   m̂ = m/(1 − β₁ⁿ),  v̂ = v/(1 − β₂ⁿ)       decoupled decay (AdamW)
//! g ← g + λ p before all of it                                               decay as L2 (Adam)
//!
//! p ← p − η r m̂ √(1 − β₂ⁿ)/(√v + ε)   where ρ > 5, else  p ← p − η m̂          rectified (RAdam)
//! r = √[(ρ − 4)(ρ − 2) ρ∞/((ρ∞ − 4)(ρ∞ − 2) ρ)],   ρ = ρ∞ − 2n β₂ⁿ/(1 − β₂ⁿ),   ρ∞ = 2/(1 − β₂) − 1
//! ```
//!
//! Sources: Kingma & Ba 2015, arXiv:1412.6980, algorithm 1; Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2; Liu et
//! al. 2020, arXiv:1908.03265, algorithm 2 (with PyTorch's ε and its threshold of 5).

use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Error, Result, check_length};
use crate::float::Float;
use crate::parallel;

/// Where weight decay enters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decay {
    /// Shrinks the parameter itself (AdamW).
    #[default]
    Decoupled,
    /// Is added to the gradient (Adam with L2).
    L2,
}

/// How the early second moment, a mean of few squares, is trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Variance {
    /// As it is, corrected for its start at 0 (Adam).
    #[default]
    Corrected,
    /// Not at all while few squares count (ρ ≤ 5), later in proportion to its own variance (RAdam).
    Rectified,
}

/// One step's constants.
///
/// Sources: Kingma & Ba 2015, arXiv:1412.6980, algorithm 1; Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2;
/// Liu et al. 2020, arXiv:1908.03265, algorithm 2 (with PyTorch's ε and its threshold of 5).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// η.
    pub learning_rate: f64,
    /// β₁, in [0, 1).
    pub beta1: f64,
    /// β₂, in [0, 1).
    pub beta2: f64,
    /// ε, the floor of the denominator.
    pub epsilon: f64,
    /// λ.
    pub weight_decay: f64,
    /// Where λ enters.
    pub decay: Decay,
    /// How the second moment is trusted.
    pub variance: Variance,
    /// n: 1 for the first step.
    pub step: u64,
    /// Every gradient is multiplied by this first: 1, or what clipping to a norm asks for.
    pub gradient_scale: f64,
}

impl AdamStep {
    /// Updates parameters `p` and moments `m`, `v` from the gradients `g`.
    ///
    /// # Errors
    ///
    /// When lengths differ, `step` is 0 or a β is outside [0, 1).
    pub fn apply<T: Float>(&self, p: &mut [T], g: &[T], m: &mut [T], v: &mut [T]) -> Result<()> {
        check_length("gradient", g.len(), p.len())?;
        check_length("first moment", m.len(), p.len())?;
        check_length("second moment", v.len(), p.len())?;
        let factors = self.factors::<T>()?;
        const PIECE: usize = 1 << 14;
        let chunks = p
            .chunks_mut(PIECE)
            .zip(g.chunks(PIECE))
            .zip(m.chunks_mut(PIECE).zip(v.chunks_mut(PIECE)));
        let tasks: Vec<_> = chunks.collect();
        let cost = 8 * g.len();
        parallel::for_each(cost, tasks, |((p, g), (m, v))| {
            dispatch::run(Path::best(), Update { factors, p, g, m, v });
        });
        Ok(())
    }

    fn factors<T: Float>(&self) -> Result<Factors<T>> {
        for (name, value) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::Setting {
                    name,
                    value,
                    allowed: "at least 0 and less than 1",
                });
            }
        }
        if self.step == 0 {
            return Err(Error::Setting {
                name: "step",
                value: 0.0,
                allowed: "1 for the first step",
            });
        }
        let (shrink, l2) = match self.decay {
            Decay::Decoupled => (1.0 - self.learning_rate * self.weight_decay, 0.0),
            Decay::L2 => (1.0, self.weight_decay),
        };
        let divisor = self.divisor();
        Ok(Factors {
            beta1: T::from_f64(self.beta1),
            rest1: T::from_f64(1.0 - self.beta1),
            beta2: T::from_f64(self.beta2),
            rest2: T::from_f64(1.0 - self.beta2),
            rate: T::from_f64(self.learning_rate / missing(self.beta1, self.step)),
            root: T::from_f64(divisor.of_root),
            epsilon: T::from_f64(divisor.plus),
            shrink: T::from_f64(shrink),
            l2: T::from_f64(l2),
            scale: T::from_f64(self.gradient_scale),
        })
    }

    /// What m̂ is divided by: `of_root` √v + `plus`.
    #[must_use]
    pub fn divisor(&self) -> Divisor {
        let missing = missing(self.beta2, self.step);
        let root = missing.sqrt();
        match self.variance {
            Variance::Corrected => Divisor {
                of_root: 1.0 / root,
                plus: self.epsilon,
            },
            Variance::Rectified => {
                let limit = 2.0 / (1.0 - self.beta2) - 1.0;
                let rho = limit - 2.0 * self.step as f64 * (1.0 - missing) / missing;
                if rho <= 5.0 {
                    return Divisor {
                        of_root: 0.0,
                        plus: 1.0,
                    };
                }
                let trust =
                    ((rho - 4.0) * (rho - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * rho)).sqrt();
                Divisor {
                    of_root: 1.0 / (root * trust),
                    plus: self.epsilon / (root * trust),
                }
            }
        }
    }
}

/// 1 − βⁿ, exact also where βⁿ is near 1, and for any n that a u64 can hold.
fn missing(beta: f64, step: u64) -> f64 {
    -(step as f64 * beta.ln()).exp_m1()
}

/// What a step of Adam's family divides the corrected first moment by: `of_root` √v + `plus`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Divisor {
    /// The factor on √v; 0 where the second moment is not trusted.
    pub of_root: f64,
    /// The summand: ε, in the units of the corrected root.
    pub plus: f64,
}

#[derive(Clone, Copy)]
struct Factors<T> {
    beta1: T,
    rest1: T,
    beta2: T,
    rest2: T,
    rate: T,
    root: T,
    epsilon: T,
    shrink: T,
    l2: T,
    scale: T,
}

struct Update<'a, T> {
    factors: Factors<T>,
    p: &'a mut [T],
    g: &'a [T],
    m: &'a mut [T],
    v: &'a mut [T],
}

impl<T: Float> Kernel for Update<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let f = self.factors;
        for (((p, &g), m), v) in self.p.iter_mut().zip(self.g).zip(self.m).zip(self.v) {
            let g = g * f.scale + f.l2 * *p;
            *m = f.beta1 * *m + f.rest1 * g;
            *v = f.beta2 * *v + f.rest2 * (g * g);
            *p = *p * f.shrink - f.rate * *m / (v.root() * f.root + f.epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(n: u64, decay: Decay) -> AdamStep {
        AdamStep {
            learning_rate: 0.1,
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
            weight_decay: 0.05,
            decay,
            variance: Variance::Corrected,
            step: n,
            gradient_scale: 1.0,
        }
    }

    #[test]
    fn the_first_step_moves_by_the_learning_rate_against_the_sign() {
        // m̂ = g, v̂ = g²: the step is η g/(|g| + ε), after the decay.
        let (mut p, g) = ([1.0f64, -2.0, 3.0], [1e-3, -7.0, 0.0]);
        step(1, Decay::Decoupled)
            .apply(&mut p, &g, &mut [0.0; 3], &mut [0.0; 3])
            .unwrap();
        for (p, wanted) in p.iter().zip([0.995 - 0.1 / (1.0 + 1e-5), -1.99 + 0.1, 2.985]) {
            assert!((p - wanted).abs() < 1e-8, "{p} against {wanted}");
        }
    }

    #[test]
    fn moments_under_a_constant_gradient_are_the_geometric_sums() {
        let (g, n) = (0.3, 50u64);
        let (mut p, mut m, mut v) = ([0.0f64], [0.0], [0.0]);
        for i in 1..=n {
            let adam = AdamStep {
                weight_decay: 0.0,
                epsilon: 0.0,
                ..step(i, Decay::Decoupled)
            };
            adam.apply(&mut p, &[g], &mut m, &mut v).unwrap();
        }
        assert!((m[0] - g * (1.0 - 0.9f64.powi(50))).abs() < 1e-14);
        assert!((v[0] - g * g * (1.0 - 0.99f64.powi(50))).abs() < 1e-14);
        // Every corrected step is then exactly η.
        assert!((p[0] + 0.1 * n as f64).abs() < 1e-12);
    }

    #[test]
    fn l2_is_a_gradient_and_decoupled_decay_is_not() {
        let (mut l2, mut decoupled) = ([2.0f64], [2.0f64]);
        step(1, Decay::L2)
            .apply(&mut l2, &[0.0], &mut [0.0], &mut [0.0])
            .unwrap();
        step(1, Decay::Decoupled)
            .apply(&mut decoupled, &[0.0], &mut [0.0], &mut [0.0])
            .unwrap();
        assert!((l2[0] - 1.9).abs() < 1e-7, "a whole step of η: {}", l2[0]);
        assert!((decoupled[0] - 2.0 * (1.0 - 0.1 * 0.05)).abs() < 1e-15);
    }

    #[test]
    fn the_gradient_scale_scales_the_gradient() {
        let run = |g: f64, gradient_scale: f64| {
            let (mut p, mut m, mut v) = ([1.0f64], [0.1], [0.2]);
            AdamStep {
                gradient_scale,
                ..step(3, Decay::L2)
            }
            .apply(&mut p, &[g], &mut m, &mut v)
            .unwrap();
            (p, m, v)
        };
        assert_eq!(run(3.0, 0.5), run(1.5, 1.0));
    }

    #[test]
    fn late_steps_are_finite_and_large_slices_agree_with_small_ones() {
        let n = 200_003;
        let g: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
        let late = step(1 << 40, Decay::Decoupled);
        let (mut p, mut m, mut v) = (vec![1.0f32; n], vec![0.1; n], vec![0.2; n]);
        late.apply(&mut p, &g, &mut m, &mut v).unwrap();
        for i in [0, 1, 16_383, 16_384, 200_002] {
            let (mut p1, mut m1, mut v1) = ([1.0], [0.1], [0.2]);
            late.apply(&mut p1, &g[i..=i], &mut m1, &mut v1).unwrap();
            assert_eq!((p[i].to_bits(), m[i], v[i]), (p1[0].to_bits(), m1[0], v1[0]));
            assert!(p[i].is_finite());
        }
    }

    #[test]
    fn a_rectified_step_is_momentum_at_first_and_adam_in_the_end() {
        let rectified = |n| AdamStep {
            variance: Variance::Rectified,
            epsilon: 0.0,
            weight_decay: 0.0,
            ..step(n, Decay::L2)
        };
        // ρ(5) = 4.97 and ρ(6) = 5.96 with β₂ = 0.99: the steps 1 to 5 do not look at v.
        for n in 1..=5 {
            let (mut p, mut m, mut v) = ([0.0f64], [0.0], [7.0]);
            rectified(n).apply(&mut p, &[3.0], &mut m, &mut v).unwrap();
            assert!(
                (p[0] + 0.1 * 0.3 / (1.0 - 0.9f64.powi(n as i32))).abs() < 1e-15,
                "{n}"
            );
        }
        assert!(rectified(6).divisor().of_root > 0.0);
        let (late, adam) = (rectified(100_000).divisor(), step(100_000, Decay::L2).divisor());
        assert!((late.of_root - adam.of_root).abs() < 1e-9);
        // √v + ε as a whole is corrected and trusted.
        let with = AdamStep {
            epsilon: 0.5,
            ..rectified(20)
        };
        assert!((with.divisor().plus / with.divisor().of_root - 0.5).abs() < 1e-15);
    }

    #[test]
    fn wrong_settings_and_lengths_are_refused() {
        let mut one = [0.0f64];
        assert!(
            step(0, Decay::L2)
                .apply(&mut one, &[0.0], &mut [0.0], &mut [0.0])
                .is_err()
        );
        assert!(
            step(1, Decay::L2)
                .apply(&mut one, &[0.0; 2], &mut [0.0], &mut [0.0])
                .is_err()
        );
        let adam = AdamStep {
            beta2: 1.0,
            ..step(1, Decay::L2)
        };
        assert!(adam.apply(&mut one, &[0.0], &mut [0.0], &mut [0.0]).is_err());
    }
}
