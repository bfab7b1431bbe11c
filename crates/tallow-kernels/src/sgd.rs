//! The update of gradient descent with momentum, in place and in one pass over parameters, gradients and momenta.
//!
//! ```text
//! b ← g at the first step, later μ b + (1 − τ) g
//! p ← p (1 − η λ) − η b                        classic
//! p ← p (1 − η λ) − η (g + μ b)                Nesterov
//! g ← g + λ p before all of it, in place of (1 − η λ), with decay as L2
//! ```
//!
//! Sources: Polyak 1964, doi:10.1016/0041-5553(64)90137-5; Sutskever et al. 2013, ICML (Nesterov's form, as PyTorch
//! arranges it).

use crate::adamw::Decay;
use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Error, Result, check_length};
use crate::float::Float;
use crate::parallel;

/// Whether the momentum is plain or Nesterov's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Momentum {
    /// Along the momentum.
    #[default]
    Classic,
    /// Along the gradient and the momentum to come.
    Nesterov,
}

/// One step's constants.
///
/// Sources: Polyak 1964, doi:10.1016/0041-5553(64)90137-5; Sutskever et al. 2013, ICML (Nesterov's form, as PyTorch
/// arranges it).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep {
    /// η.
    pub learning_rate: f64,
    /// μ, in [0, 1); 0 is plain gradient descent, without a buffer.
    pub momentum: f64,
    /// τ: how much of a gradient the momentum does not take up; not at the first step.
    pub dampening: f64,
    /// Where the momentum leads.
    pub kind: Momentum,
    /// λ.
    pub weight_decay: f64,
    /// Where λ enters.
    pub decay: Decay,
    /// 1 for the first step, which starts the momentum.
    pub step: u64,
    /// Every gradient is multiplied by this first.
    pub gradient_scale: f64,
}

/// A step as sums of products: b ← `keep` b + `take` g, p ← `shrink` p − `of_gradient` g − `of_momentum` b, with
/// g ← `scale` g + `l2` p before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdFactors<T> {
    /// Of the momentum in the momentum.
    pub keep: T,
    /// Of the gradient in the momentum.
    pub take: T,
    /// Of the gradient in the step.
    pub of_gradient: T,
    /// Of the momentum in the step.
    pub of_momentum: T,
    /// Of the parameter.
    pub shrink: T,
    /// Of the parameter in the gradient.
    pub l2: T,
    /// Of the gradient given.
    pub scale: T,
}

impl SgdStep {
    /// Updates parameters `p` and the momentum `b` from the gradients `g`; `b` is not looked at where μ = 0.
    ///
    /// # Errors
    ///
    /// When lengths differ, `step` is 0 or μ is outside [0, 1).
    pub fn apply<T: Float>(&self, p: &mut [T], g: &[T], b: &mut [T]) -> Result<()> {
        check_length("gradient", g.len(), p.len())?;
        let factors = self.factors::<T>()?;
        const PIECE: usize = 1 << 14;
        if self.momentum == 0.0 {
            let tasks: Vec<_> = p.chunks_mut(PIECE).zip(g.chunks(PIECE)).collect();
            parallel::for_each(2 * g.len(), tasks, |(p, g)| {
                dispatch::run(Path::best(), Plain { factors, p, g });
            });
            return Ok(());
        }
        check_length("momentum", b.len(), p.len())?;
        let chunks = p.chunks_mut(PIECE).zip(g.chunks(PIECE)).zip(b.chunks_mut(PIECE));
        parallel::for_each(4 * g.len(), chunks.collect(), |((p, g), b)| {
            dispatch::run(Path::best(), Moving { factors, p, g, b });
        });
        Ok(())
    }

    /// The step as sums of products.
    ///
    /// # Errors
    ///
    /// When `step` is 0 or μ is outside [0, 1).
    pub fn factors<T: Float>(&self) -> Result<SgdFactors<T>> {
        if !(0.0..1.0).contains(&self.momentum) {
            return Err(Error::Setting {
                name: "momentum",
                value: self.momentum,
                allowed: "at least 0 and less than 1",
            });
        }
        if self.step == 0 {
            return Err(Error::Setting {
                name: "step",
                value: 0.0,
                allowed: "1 for the first step",
            });
        }
        let (keep, take) = if self.step == 1 {
            (0.0, 1.0)
        } else {
            (self.momentum, 1.0 - self.dampening)
        };
        let rate = self.learning_rate;
        let (of_gradient, of_momentum) = match self.kind {
            _ if self.momentum == 0.0 => (rate, 0.0),
            Momentum::Classic => (0.0, rate),
            Momentum::Nesterov => (rate, rate * self.momentum),
        };
        let (shrink, l2) = match self.decay {
            Decay::Decoupled => (1.0 - rate * self.weight_decay, 0.0),
            Decay::L2 => (1.0, self.weight_decay),
        };
        Ok(SgdFactors {
            keep: T::from_f64(keep),
            take: T::from_f64(take),
            of_gradient: T::from_f64(of_gradient),
            of_momentum: T::from_f64(of_momentum),
            shrink: T::from_f64(shrink),
            l2: T::from_f64(l2),
            scale: T::from_f64(self.gradient_scale),
        })
    }
}

struct Plain<'a, T> {
    factors: SgdFactors<T>,
    p: &'a mut [T],
    g: &'a [T],
}

impl<T: Float> Kernel for Plain<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let f = self.factors;
        for (p, &g) in self.p.iter_mut().zip(self.g) {
            let g = g * f.scale + f.l2 * *p;
            *p = *p * f.shrink - f.of_gradient * g;
        }
    }
}

struct Moving<'a, T> {
    factors: SgdFactors<T>,
    p: &'a mut [T],
    g: &'a [T],
    b: &'a mut [T],
}

impl<T: Float> Kernel for Moving<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let f = self.factors;
        for ((p, &g), b) in self.p.iter_mut().zip(self.g).zip(self.b) {
            let g = g * f.scale + f.l2 * *p;
            *b = f.keep * *b + f.take * g;
            *p = *p * f.shrink - (f.of_gradient * g + f.of_momentum * *b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::on_threads;

    fn step(n: u64) -> SgdStep {
        SgdStep {
            learning_rate: 0.1,
            momentum: 0.9,
            dampening: 0.0,
            kind: Momentum::Classic,
            weight_decay: 0.0,
            decay: Decay::L2,
            step: n,
            gradient_scale: 1.0,
        }
    }

    #[test]
    fn under_a_constant_gradient_the_momentum_is_a_geometric_sum() {
        for (kind, dampening) in [
            (Momentum::Classic, 0.0),
            (Momentum::Classic, 0.5),
            (Momentum::Nesterov, 0.0),
        ] {
            let (g, mut p, mut b, mut path) = (0.3, [0.0f64], [0.0], 0.0);
            for n in 1..=30u64 {
                let sgd = SgdStep {
                    kind,
                    dampening,
                    ..step(n)
                };
                sgd.apply(&mut p, &[g], &mut b).unwrap();
                let power = 0.9f64.powi(n as i32 - 1);
                let sum = g * (power + (1.0 - dampening) * (1.0 - power) / 0.1);
                assert!((b[0] - sum).abs() < 1e-14, "{kind:?} {n}");
                path += match kind {
                    Momentum::Classic => sum,
                    Momentum::Nesterov => g + 0.9 * sum,
                };
                assert!((p[0] + 0.1 * path).abs() < 1e-13, "{kind:?} {n}");
            }
        }
    }

    #[test]
    fn without_momentum_it_is_gradient_descent_with_either_decay() {
        for (decay, wanted) in [
            (Decay::L2, 2.0 - 0.1 * (0.5 * 3.0 + 0.2 * 2.0)),
            (Decay::Decoupled, 2.0 * (1.0 - 0.1 * 0.2) - 0.1 * 0.5 * 3.0),
        ] {
            let mut p = [2.0f64];
            let sgd = SgdStep {
                momentum: 0.0,
                weight_decay: 0.2,
                gradient_scale: 0.5,
                decay,
                ..step(4)
            };
            sgd.apply(&mut p, &[3.0], &mut []).unwrap();
            assert!((p[0] - wanted).abs() < 1e-15, "{decay:?}: {}", p[0]);
        }
    }

    #[test]
    fn the_bytes_do_not_depend_on_the_threads() {
        let n = 600_001;
        let g: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
        let run = |threads| {
            let (mut p, mut b) = (vec![1.0f32; n], vec![0.1; n]);
            on_threads(threads, || step(3).apply(&mut p, &g, &mut b)).unwrap();
            (p, b)
        };
        assert_eq!(run(1), run(2));
    }

    #[test]
    fn wrong_settings_and_lengths_are_refused() {
        let mut one = [0.0f64];
        assert!(step(0).apply(&mut one, &[0.0], &mut [0.0]).is_err());
        assert!(step(1).apply(&mut one, &[0.0; 2], &mut [0.0]).is_err());
        assert!(step(1).apply(&mut one, &[0.0], &mut []).is_err());
        let runaway = SgdStep {
            momentum: 1.0,
            ..step(1)
        };
        assert!(runaway.apply(&mut one, &[0.0], &mut [0.0]).is_err());
        step(1).apply::<f32>(&mut [], &[], &mut []).unwrap();
    }
}
