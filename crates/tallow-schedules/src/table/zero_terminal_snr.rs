//! Tables that end in pure noise.
//!
//! ```text
//! √ᾱ_n ← (√ᾱ_n − √ᾱ_T) √ᾱ_1 / (√ᾱ_1 − √ᾱ_T)
//! ```

use super::Table;
use crate::error::check;
use crate::{Result, variance_preserving as vp};

impl Table {
    /// The table shifted and scaled so that its last entry has no signal at all and its first is unchanged.
    ///
    /// Needs velocity, v or data prediction and trailing steps: at α = 0 noise prediction cannot see the data.
    ///
    /// Source: Lin et al. 2023, arXiv:2305.08891, Algorithm 1.
    ///
    /// # Errors
    ///
    /// When the table has a single entry, or entries fall together by rounding.
    pub fn zero_terminal_snr(&self) -> Result<Self> {
        const ALLOWED: &str = "of at least 2 entries, since the first is kept and the last set to zero";
        check(
            "Table::zero_terminal_snr",
            "a table",
            self.len() as f64,
            ALLOWED,
            self.len() >= 2,
        )?;
        let end = self.integrals[self.len() - 1];
        if end.is_infinite() {
            return Ok(self.clone());
        }
        // √ᾱ_n − √ᾱ_T as √ᾱ_n (1 − e^{(B_n − B_T)/2}).
        let above_last = |integral: f64| vp::alpha(integral) * -(0.5 * (integral - end)).exp_m1();
        let scale = vp::alpha(self.integrals[0]) / above_last(self.integrals[0]);

        let mut betas = vec![self.betas[0]];
        let mut integrals = vec![self.integrals[0]];
        for pair in self.integrals.windows(2) {
            let (from, to) = (above_last(pair[0]), above_last(pair[1]));
            let fall = vp::alpha(pair[0]) * -(0.5 * (pair[0] - pair[1])).exp_m1();
            // 1 − (to/from)² with from − to = fall.
            betas.push(if to == 0.0 {
                1.0
            } else {
                fall / from * (1.0 + to / from)
            });
            integrals.push(-2.0 * (scale * to).ln());
        }
        Self::checked(betas, integrals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Schedule, laws};

    #[test]
    fn keeps_the_first_entry_and_ends_in_pure_noise() {
        let table = Table::scaled_linear_beta(1000, 0.00085, 0.012).unwrap();
        let rescaled = table.zero_terminal_snr().unwrap();
        assert_eq!((rescaled.betas()[0], rescaled.betas()[999]), (0.00085, 1.0));
        assert!(
            (rescaled.betas()[499] - 0.005_515_78).abs() < 5e-9,
            "{}",
            rescaled.betas()[499]
        );
        laws::of_path(&rescaled);
        laws::variance_is_preserved(&rescaled);
        laws::starts_clean(&rescaled);
        laws::ends_in_noise(&rescaled);
    }

    #[test]
    fn root_alpha_bar_is_an_affine_image_of_what_it_was() {
        let table = Table::linear_beta(50, 1e-3, 0.1).unwrap();
        let rescaled = table.zero_terminal_snr().unwrap();
        let slope = |from: f64, to: f64| {
            (rescaled.alpha(to) - rescaled.alpha(from)) / (table.alpha(to) - table.alpha(from))
        };
        assert!((slope(0.02, 0.5) / slope(0.5, 0.9) - 1.0).abs() < 1e-12);
        // Products of the new β are the new ᾱ.
        let product: f64 = rescaled.betas()[..40].iter().map(|beta| 1.0 - beta).product();
        assert!((product - rescaled.alpha_bars()[39]).abs() < 1e-14);
    }

    #[test]
    fn done_twice_it_is_done_once() {
        let once = Table::linear_beta(20, 1e-3, 0.3)
            .unwrap()
            .zero_terminal_snr()
            .unwrap();
        let twice = once.zero_terminal_snr().unwrap();
        for (a, b) in once.betas().iter().zip(twice.betas()) {
            assert!((a - b).abs() < 1e-14);
        }
        assert!(Table::from_betas(vec![0.5]).unwrap().zero_terminal_snr().is_err());
    }
}
