//! How much of an average an update keeps.
//!
//! ```text
//! constant       d                                       half-life      2^(−1/k)
//! warm-up        min(d, (1 + n)/(10 + n))                ramped         2^(−1/min(k, ρ n))
//! rising         (1 + q)/(10 + q) or 1 − (1 + q/Γ)^(−κ), within [d_min, d_max], q = n − delay;  0 while q ≤ 0
//! power          (1 − 1/(n + 1))^(γ + 1)
//! ```
//!
//! n counts the earlier updates. Sources: the warm-up is TensorFlow's and ADM's; rising, diffusers' `EMAModel`; the ramped
//! half-life, Karras et al. 2022, arXiv:2206.00364, appendix F; the power function, Karras et al. 2024, arXiv:2312.02696,
//! Eq. 4.

use crate::error::{Error, Result};

/// How much of the average an update keeps.
///
/// Sources: the warm-up is TensorFlow's and ADM's; rising, diffusers' `EMAModel`; the ramped half-life, Karras et al.
/// 2022, arXiv:2206.00364, appendix F; the power function, Karras et al. 2024, arXiv:2312.02696, Eq. 4.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum EmaDecay {
    /// The same d in every update.
    Constant(f64),
    /// min(d, (1 + n)/(10 + n)) after n updates: a young average follows the parameters closely.
    WarmUp(f64),
    /// d = 2^(−1/k): a value has lost half of its weight after k updates.
    HalfLife {
        /// k, in updates.
        updates: f64,
    },
    /// A half-life that is never more than a part of the updates so far (EDM: 0.05).
    RampedHalfLife {
        /// k, in updates; for one in images, divide by the batch.
        updates: f64,
        /// ρ, the part.
        ratio: f64,
    },
    /// A decay that rises from 0 between bounds, after a delay: diffusers' rule.
    Rising(Rising),
    /// (1 − 1/(n + 1))^(γ + 1): the average's width stays a constant part of the training so far, whatever its length
    /// (EDM2). [`crate::gamma_of_sigma_rel`] gives γ for a width.
    Power {
        /// γ, 0 or more; larger is shorter.
        gamma: f64,
    },
}

/// A decay that rises from 0 between bounds, after a delay: diffusers' `EMAModel`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rising {
    /// How it rises.
    pub rise: Rise,
    /// The least decay once it rises.
    pub min_decay: f64,
    /// The largest decay.
    pub max_decay: f64,
    /// Updates before it rises, in which the average is the parameters.
    pub delay: u64,
}

/// How a [`Rising`] decay rises with the updates q since its delay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rise {
    /// (1 + q)/(10 + q).
    Ratio,
    /// 1 − (1 + q/Γ)^(−κ).
    Power {
        /// Γ, diffusers' `inv_gamma`.
        inv_gamma: f64,
        /// κ: 2/3 for runs of a million steps, 3/4 for shorter ones.
        power: f64,
    },
}

impl Default for Rising {
    /// diffusers' defaults with `use_ema_warmup`: Γ = 1, κ = 2/3, from 0 to 0.9999 without a delay.
    fn default() -> Self {
        Self {
            rise: Rise::Power {
                inv_gamma: 1.0,
                power: 2.0 / 3.0,
            },
            min_decay: 0.0,
            max_decay: 0.9999,
            delay: 0,
        }
    }
}

impl EmaDecay {
    /// d of the update that follows `updates` earlier ones.
    #[must_use]
    pub fn at(self, updates: u64) -> f64 {
        self.after(updates as f64)
    }

    /// d after a number of updates that need not be whole: images seen over the batch, for those who count images.
    #[must_use]
    pub fn after(self, updates: f64) -> f64 {
        let n = updates.max(0.0);
        match self {
            Self::Constant(decay) => decay,
            Self::WarmUp(decay) => decay.min((1.0 + n) / (10.0 + n)),
            Self::HalfLife { updates } => halving(updates),
            Self::RampedHalfLife { updates, ratio } => halving(updates.min(ratio * n)),
            Self::Rising(rising) => rising.after(n),
            // t^p by logarithms: exact where 1/t is tiny, and 0 at t = 1.
            Self::Power { gamma } => ((gamma + 1.0) * (-1.0 / (n + 1.0)).ln_1p()).exp(),
        }
    }

    pub(crate) fn check(self) -> Result<()> {
        match self {
            Self::Constant(decay) | Self::WarmUp(decay) => part("the decay of an average", decay),
            Self::HalfLife { updates } => positive("the half-life of an average", updates),
            Self::RampedHalfLife { updates, ratio } => {
                positive("the half-life of an average", updates)?;
                positive("the ratio of a ramped half-life", ratio)
            }
            Self::Rising(rising) => rising.check(),
            Self::Power { gamma } if !(gamma.is_finite() && gamma >= 0.0) => Err(Error::Setting {
                name: "gamma of a power-function average",
                value: gamma,
                allowed: "a finite number, 0 or more",
            }),
            Self::Power { .. } => Ok(()),
        }
    }
}

impl Rising {
    fn after(self, updates: f64) -> f64 {
        let q = updates - self.delay as f64;
        if q <= 0.0 {
            return 0.0;
        }
        let risen = match self.rise {
            Rise::Ratio => (1.0 + q) / (10.0 + q),
            Rise::Power { inv_gamma, power } => 1.0 - (1.0 + q / inv_gamma).powf(-power),
        };
        risen.min(self.max_decay).max(self.min_decay)
    }

    fn check(self) -> Result<()> {
        part("the least decay of an average", self.min_decay)?;
        part("the largest decay of an average", self.max_decay)?;
        if self.min_decay > self.max_decay {
            return Err(Error::Setting {
                name: "the least decay of an average",
                value: self.min_decay,
                allowed: "at most the largest",
            });
        }
        if let Rise::Power { inv_gamma, power } = self.rise {
            positive("inv_gamma of an average", inv_gamma)?;
            positive("power of an average", power)?;
        }
        Ok(())
    }
}

/// 2^(−1/k), 0 for k = 0.
fn halving(updates: f64) -> f64 {
    if updates > 0.0 {
        (-std::f64::consts::LN_2 / updates).exp()
    } else {
        0.0
    }
}

fn part(name: &'static str, value: f64) -> Result<()> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::Setting {
        name,
        value,
        allowed: "0 to 1",
    })
}

fn positive(name: &'static str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(Error::Setting {
        name,
        value,
        allowed: "a positive number",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warm_up_starts_at_a_tenth_and_ends_at_the_decay() {
        let decay = EmaDecay::WarmUp(0.999);
        assert_eq!(decay.at(0), 0.1);
        assert!((0..20_000).all(|n| decay.at(n) <= decay.at(n + 1)));
        assert_eq!(decay.at(1_000_000), 0.999);
    }

    #[test]
    fn a_power_function_weighs_updates_by_the_integral_of_its_profile() {
        // Π_{j>i} β_j (1 − β_i) = (i/n)^(γ+1) − ((i − 1)/n)^(γ+1): the profile (γ+1) τ^γ/t^(γ+1) over (i − 1, i].
        for gamma in [0.0, 3.5, 16.97] {
            let (decay, n) = (EmaDecay::Power { gamma }, 40u64);
            assert_eq!(decay.at(0), 0.0);
            let mut later = 1.0;
            for i in (1..=n).rev() {
                let weight = later * (1.0 - decay.at(i - 1));
                let to = |i: u64| (i as f64 / n as f64).powf(gamma + 1.0);
                assert!((weight - (to(i) - to(i - 1))).abs() < 1e-14, "{gamma} {i}");
                later *= decay.at(i - 1);
            }
        }
    }

    #[test]
    fn a_ramped_half_life_grows_to_the_half_life() {
        let ramped = EmaDecay::RampedHalfLife {
            updates: 100.0,
            ratio: 0.05,
        };
        assert_eq!(ramped.at(0), 0.0);
        assert!((ramped.at(20) - 0.5).abs() < 1e-15);
        let full = EmaDecay::HalfLife { updates: 100.0 };
        assert_eq!(ramped.at(2000), full.at(0));
        assert_eq!(ramped.at(1_000_000), full.at(0));
    }

    #[test]
    fn a_rising_decay_waits_rises_and_stays_within_its_bounds() {
        let rising = Rising {
            rise: Rise::Ratio,
            min_decay: 0.3,
            max_decay: 0.6,
            delay: 5,
        };
        let decay = EmaDecay::Rising(rising);
        assert!((0..=5).all(|n| decay.at(n) == 0.0));
        assert_eq!(decay.at(6), 0.3);
        assert_eq!(decay.at(11), 7.0 / 16.0);
        assert_eq!(decay.at(1000), 0.6);
        // 1 − (1 + 7)^(−2/3) = 3/4.
        assert!((EmaDecay::Rising(Rising::default()).at(7) - 0.75).abs() < 1e-15);
    }

    #[test]
    fn settings_outside_their_range_are_refused() {
        let rising = Rising::default();
        for decay in [
            EmaDecay::Constant(1.1),
            EmaDecay::WarmUp(f64::NAN),
            EmaDecay::HalfLife { updates: 0.0 },
            EmaDecay::RampedHalfLife {
                updates: 1.0,
                ratio: 0.0,
            },
            EmaDecay::Power { gamma: -0.5 },
            EmaDecay::Rising(Rising {
                min_decay: 1.0,
                ..rising
            }),
            EmaDecay::Rising(Rising {
                rise: Rise::Power {
                    inv_gamma: 0.0,
                    power: 1.0,
                },
                ..rising
            }),
        ] {
            assert!(decay.check().is_err(), "{decay:?}");
        }
    }
}
