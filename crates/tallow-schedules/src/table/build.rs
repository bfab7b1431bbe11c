//! The published tables of β.
//!
//! ```text
//! linear           β linear in n                          scaled linear    √β linear in n
//! cosine           β_n = min(1 − f((n+1)/T)/f(n/T), cap)   f(t) = cos²(((t + s)/(1 + s)) π/2)
//! sigmoid ᾱ        the same rule for the logistic ᾱ of `VpSigmoid`
//! sigmoid β        β = S(x) scaled to [β_start, β_end], x from −6 to 6
//! ```

use super::{Table, check_length};
use crate::error::{check, check_order};
use crate::{Result, Schedule, VpCosine, VpSigmoid};

impl Table {
    /// DDPM's table: β linear from `beta_start` to `beta_end`; 1e-4 and 0.02 for 1000 steps.
    ///
    /// For another number of steps with the same path, see [`linear_beta_scaled_to`](Self::linear_beta_scaled_to).
    ///
    /// Source: Ho et al. 2020, arXiv:2006.11239, section 4.
    ///
    /// # Errors
    ///
    /// When there are no steps or more than 10⁷, a β is outside [1e-30, 1) or too small to change anything, or `beta_start` is
    /// above `beta_end`.
    pub fn linear_beta(steps: usize, beta_start: f64, beta_end: f64) -> Result<Self> {
        check_range("Table::linear_beta", steps, beta_start, beta_end)?;
        Self::from_betas(linspace(beta_start, beta_end, steps))
    }

    /// DDPM's linear table for any number of steps: β from 0.1/T to 20/T, so that ᾱ_T stays near 4e-5.
    ///
    /// Source: Nichol & Dhariwal 2021, arXiv:2102.09672 (its code's scale 1000/T).
    ///
    /// # Errors
    ///
    /// When there are fewer than 21 steps (β would reach 1) or too many.
    pub fn linear_beta_scaled_to(steps: usize) -> Result<Self> {
        const OWNER: &str = "Table::linear_beta_scaled_to";
        check(
            OWNER,
            "steps",
            steps as f64,
            "of at least 21: with fewer, 20/steps is no beta",
            steps >= 21,
        )?;
        let scale = 1000.0 / steps as f64;
        Self::linear_beta(steps, scale * 1e-4, scale * 0.02)
    }

    /// Latent diffusion's table: √β linear; 0.00085 and 0.012 for Stable Diffusion's 1000 steps.
    ///
    /// Source: Rombach et al. 2022, arXiv:2112.10752, and its published training configuration.
    ///
    /// # Errors
    ///
    /// As [`linear_beta`](Self::linear_beta).
    pub fn scaled_linear_beta(steps: usize, beta_start: f64, beta_end: f64) -> Result<Self> {
        check_range("Table::scaled_linear_beta", steps, beta_start, beta_end)?;
        let roots = linspace(beta_start.sqrt(), beta_end.sqrt(), steps);
        Self::from_betas(roots.into_iter().map(|root| root * root).collect())
    }

    /// Improved DDPM's cosine table with offset `s` (0.008) and β capped at `max_beta` (0.999).
    ///
    /// Source: Nichol & Dhariwal 2021, arXiv:2102.09672, Eq. 17.
    ///
    /// # Errors
    ///
    /// When there are no or too many steps, `s` is negative or `max_beta` outside (0, 1].
    pub fn cosine(steps: usize, s: f64, max_beta: f64) -> Result<Self> {
        let path = VpCosine::new(s)?;
        Self::of_path(&path, steps, max_beta)
    }

    /// The logistic ᾱ of [`VpSigmoid`] as a table, with β capped at `max_beta` (0.999). Not the logistic β.
    ///
    /// Source: Jabri, Fleet & Chen 2022, arXiv:2212.11972.
    ///
    /// # Errors
    ///
    /// When there are no or too many steps, `max_beta` is outside (0, 1], or as [`VpSigmoid::new`].
    pub fn sigmoid_alpha_bar(steps: usize, start: f64, end: f64, tau: f64, max_beta: f64) -> Result<Self> {
        let path = VpSigmoid::new(start, end, tau)?;
        Self::of_path(&path, steps, max_beta)
    }

    /// GeoDiff's table: β itself follows a logistic curve from −6 to 6. Not the logistic ᾱ.
    ///
    /// Source: Xu et al. 2022, arXiv:2203.02923, and its published code.
    ///
    /// # Errors
    ///
    /// As [`linear_beta`](Self::linear_beta).
    pub fn geodiff_sigmoid_beta(steps: usize, beta_start: f64, beta_end: f64) -> Result<Self> {
        check_range("Table::geodiff_sigmoid_beta", steps, beta_start, beta_end)?;
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        let betas = linspace(-6.0, 6.0, steps)
            .into_iter()
            .map(|x| beta_start + logistic(x) * (beta_end - beta_start));
        Self::from_betas(betas.collect())
    }

    /// The entries of a continuous variance-preserving path, β capped.
    ///
    /// β = 1 − ᾱ(t')/ᾱ(t) is taken as (σ'² − σ²)/α² near the data and from α near the noise: neither loses digits there.
    fn of_path(path: &dyn Schedule, steps: usize, max_beta: f64) -> Result<Self> {
        check_length(steps)?;
        check(
            "Table",
            "max_beta",
            max_beta,
            "in (0, 1]",
            max_beta > 0.0 && max_beta <= 1.0,
        )?;
        let time = |n: usize| n as f64 / steps as f64;
        let betas = (0..steps).map(|n| {
            let (from, to) = (time(n), time(n + 1));
            let (from_alpha, to_alpha) = (path.alpha(from), path.alpha(to));
            let lost = if from_alpha > 0.5 {
                (path.sigma(to) - path.sigma(from)) * (path.sigma(to) + path.sigma(from))
            } else {
                (from_alpha - to_alpha) * (from_alpha + to_alpha)
            };
            (lost / (from_alpha * from_alpha)).min(max_beta)
        });
        Self::from_betas(betas.collect())
    }
}

fn check_range(owner: &'static str, steps: usize, beta_start: f64, beta_end: f64) -> Result<()> {
    check_length(steps)?;
    for (name, value) in [("beta_start", beta_start), ("beta_end", beta_end)] {
        check(owner, name, value, "in (0, 1)", value > 0.0 && value < 1.0)?;
    }
    check_order(owner, ("beta_start", beta_start), ("beta_end", beta_end))
}

/// `count` equally spaced numbers, both ends included; the first alone if one is asked for.
fn linspace(from: f64, to: f64, count: usize) -> Vec<f64> {
    let step = if count > 1 {
        (to - from) / (count - 1) as f64
    } else {
        0.0
    };
    (0..count)
        .map(|i| {
            if i > 0 && i + 1 == count {
                to
            } else {
                from + i as f64 * step
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws;

    fn published() -> Vec<(Table, [f64; 3], [f64; 2])> {
        let table = |result: Result<Table>| result.unwrap();
        vec![
            (
                table(Table::linear_beta(1000, 1e-4, 0.02)),
                [0.9999, 0.078_587_24, 4.035_830e-5],
                [4.60512, -5.05884],
            ),
            (
                table(Table::scaled_linear_beta(1000, 0.00085, 0.012)),
                [0.99915, 0.277_669_65, 4.660_099e-3],
                [3.53471, -2.68202],
            ),
            (
                table(Table::cosine(1000, 0.008, 0.999)),
                [0.999_958_72, 0.493_843_59, 2.428_767e-9],
                [5.04749, -9.91794],
            ),
            (
                table(Table::sigmoid_alpha_bar(1000, -3.0, 3.0, 1.0, 0.999)),
                [0.999_699_72, 0.5, 3.002_792e-7],
                [4.05525, -7.50928],
            ),
            (
                table(Table::geodiff_sigmoid_beta(1000, 1e-4, 0.02)),
                [0.999_850_79, 0.301_931_06, 3.968_182e-5],
                [4.40502, -5.06729],
            ),
        ]
    }

    #[test]
    fn published_tables_have_their_published_numbers() {
        // ᾱ at steps 1, 500 and 1000 to seven digits; λ at the ends to six.
        for (table, alpha_bars, lambdas) in published() {
            for (n, want) in [0, 499, 999].into_iter().zip(alpha_bars) {
                let got = table.alpha_bars()[n];
                assert!((got / want - 1.0).abs() < 2e-7, "ᾱ[{n}] = {got}, not {want}");
            }
            for (t, want) in [0.001, 1.0].into_iter().zip(lambdas) {
                assert!(
                    (table.lambda(t) - want).abs() < 6e-6,
                    "λ({t}) = {}",
                    table.lambda(t)
                );
            }
        }
    }

    #[test]
    fn published_tables_keep_the_laws_of_a_path() {
        for (table, ..) in published() {
            laws::of_path(&table);
            laws::variance_is_preserved(&table);
            laws::starts_clean(&table);
        }
    }

    #[test]
    fn scaling_keeps_the_terminal_noise_for_any_number_of_steps() {
        let thousand = Table::linear_beta(1000, 1e-4, 0.02).unwrap();
        for steps in [50, 100, 4000] {
            let lambda = Table::linear_beta_scaled_to(steps).unwrap().lambda(1.0);
            assert!(
                (lambda - thousand.lambda(1.0)).abs() < 1.2,
                "{steps} steps end at λ = {lambda}"
            );
        }
        assert_eq!(Table::linear_beta_scaled_to(1000).unwrap().len(), 1000);
        assert!(Table::linear_beta_scaled_to(20).is_err());
    }

    #[test]
    fn absurd_sizes_and_values_are_refused_before_anything_is_allocated() {
        for steps in [0, usize::MAX] {
            assert!(Table::linear_beta(steps, 1e-4, 0.02).is_err());
            assert!(Table::cosine(steps, 0.008, 0.999).is_err());
            assert!(Table::sigmoid_alpha_bar(steps, -3.0, 3.0, 1.0, 0.999).is_err());
        }
        assert!(Table::linear_beta(10, f64::NAN, 0.02).is_err());
        assert!(Table::cosine(10, 0.008, 1.5).is_err());
        assert!(Table::geodiff_sigmoid_beta(10, 0.1, 0.05).is_err());
        assert_eq!(Table::linear_beta(1, 0.1, 0.2).unwrap().betas(), [0.1]);
    }
}
