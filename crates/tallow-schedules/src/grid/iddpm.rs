//! The noise levels of improved DDPM in EDM's units.
//!
//! ```text
//! ᾱ_j = sin²(π j / (2 M (C₂ + 1)))      u_M = 0      u_{j−1} = √((u_j² + 1)/max(ᾱ_{j−1}/ᾱ_j, C₁) − 1)
//! ```

use std::f64::consts::FRAC_PI_2;

use super::check_steps;
use crate::Result;
use crate::error::check;

/// The M + 1 levels σ/α that networks of improved DDPM were trained at, from noise (index 0) to clean (index M, 0).
///
/// Published values: `steps` M = 1000, `c1` = 0.001, `c2` = 0.008.
///
/// Source: Karras et al. 2022, arXiv:2206.00364, Table 1 (column iDDPM) and appendix C.3.
///
/// # Errors
///
/// When there are no or too many steps, `c1` is outside (0, 1) or `c2` outside [0, 1e3].
pub fn iddpm_u_table(steps: usize, c1: f64, c2: f64) -> Result<Vec<f64>> {
    const OWNER: &str = "iddpm_u_table";
    check_steps(steps)?;
    check(OWNER, "c1", c1, "in (0, 1)", c1 > 0.0 && c1 < 1.0)?;
    check(OWNER, "c2", c2, "in [0, 1e3]", (0.0..=1e3).contains(&c2))?;
    let alpha_bar = |j: usize| (FRAC_PI_2 * j as f64 / (steps as f64 * (c2 + 1.0))).sin().powi(2);
    let mut levels = vec![0.0; steps + 1];
    for j in (1..=steps).rev() {
        let ratio = (alpha_bar(j - 1) / alpha_bar(j)).max(c1);
        // (u² + 1)/r − 1 as (u² + 1 − r)/r.
        levels[j - 1] = ((levels[j] * levels[j] + (1.0 - ratio)) / ratio).sqrt();
    }
    Ok(levels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_published_ends() {
        let levels = iddpm_u_table(1000, 0.001, 0.008).unwrap();
        assert_eq!((levels.len(), levels[1000]), (1001, 0.0));
        // The same last level as the cosine table with β capped at 0.999.
        assert!(
            (levels[0] / 20_291.169_610_02 - 1.0).abs() < 1e-9,
            "{}",
            levels[0]
        );
        assert!(levels.windows(2).all(|pair| pair[0] > pair[1]));
    }

    #[test]
    fn refuses_constants_that_make_no_table() {
        assert!(iddpm_u_table(0, 0.001, 0.008).is_err());
        assert!(iddpm_u_table(10, 0.0, 0.008).is_err());
        assert!(iddpm_u_table(10, 0.001, f64::NAN).is_err());
    }
}
