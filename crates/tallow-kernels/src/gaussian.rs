//! The normal distribution Φ and its density φ, both to the precision of the type, also far out.
//!
//! ```text
//! Φ(−t) = φ(t) R(t),   t ≥ 0,   R(t) = √(π/2) erfc(t/√2) e^(t²/2)   (Mills's ratio),   R ≈ P(t)/Q(t)
//! ```
//!
//! All coefficients are positive, so nothing cancels. They are a weighted least-squares fit of the relative error on
//! [0, 15] (f32, 7e-9) and [0, 39] (f64, 6e-17), where φ ends (scripts/fit_mills_ratio.py).

use crate::dispatch::Isa;
use crate::float::{Float, exp};

/// P and Q for f32.
pub(crate) const MILLS_F32: [&[f32]; 2] = [
    &[1.253_314_1, 1.101_181_5, 0.461_188_6, 0.102_489_66, 0.010_412_993],
    &[
        1.0,
        1.676_500_7,
        1.205_624_3,
        0.471_457_55,
        0.102_495_77,
        0.010_412_882,
    ],
];

/// P and Q for f64.
pub(crate) const MILLS_F64: [&[f64]; 2] = [
    &[
        1.253_314_137_315_500_2,
        1.942_373_232_835_810_8,
        1.489_128_564_520_121_8,
        0.725_302_894_122_466_7,
        0.244_919_810_313_427_37,
        0.059_219_861_389_711_56,
        0.010_251_904_146_432_42,
        0.001_229_509_474_117_493,
        9.340_143_023_118_715e-5,
        3.474_257_141_806_824_4e-6,
    ],
    &[
        1.0,
        2.347_674_174_599_298,
        2.561_325_668_389_848_4,
        1.714_474_620_086_27,
        0.782_098_722_939_831_4,
        0.254_984_899_897_996_84,
        0.060_442_422_774_326_94,
        0.010_345_305_565_495_754,
        0.001_232_983_731_458_204_4,
        9.340_143_022_905_691e-5,
        3.474_257_141_817_111_4e-6,
    ],
];

/// Φ(z) and φ(z).
#[inline(always)]
pub(crate) fn distribution<T: Float, I: Isa>(z: T) -> (T, T) {
    let one = T::from_f64(1.0);
    // Beyond 39 the density is 0 in either type, and powers of t might overflow. NaN stays NaN.
    let far = T::from_f64(39.0);
    let t = z.magnitude();
    let t = if t > far { far } else { t };
    let [p, q] = T::MILLS;
    let ratio = polynomial::<T, I>(p, t) / polynomial::<T, I>(q, t);
    // t² with what its rounding left out (0 where the processor does not fuse), which e^(−t²/2) would magnify.
    let half = T::from_f64(-0.5);
    let square = t * t;
    let rest = I::mul_add(t, t, -square);
    let bell = exp::<T, I>(square * half) * T::from_f64(0.398_942_280_401_432_7);
    let density = I::mul_add(bell, rest * half, bell);
    let tail = density * ratio;
    let below = if z < T::from_f64(0.0) { tail } else { one - tail };
    (below, density)
}

#[inline(always)]
fn polynomial<T: Float, I: Isa>(coefficients: &[T], t: T) -> T {
    let zero = T::from_f64(0.0);
    coefficients
        .iter()
        .rev()
        .fold(zero, |sum, &c| I::mul_add(sum, t, c))
}

/// Φ by Marsaglia's series of positive terms near 0 and by the continued fraction of the tail further out.
#[cfg(test)]
pub(crate) fn exact(z: f64) -> f64 {
    let t = z.abs();
    let density = (-0.5 * t * t).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let tail = if t < 1.0 {
        let (mut sum, mut term) = (0.0, t);
        for odd in (3..200).step_by(2) {
            sum += term;
            term *= t * t / f64::from(odd);
        }
        0.5 - density * sum
    } else {
        let mut fraction = 0.0;
        for k in (1..2000).rev() {
            fraction = f64::from(k) / (t + fraction);
        }
        density / (t + fraction)
    };
    if z < 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::{Kernel, Path, run};

    struct Both<T>(Vec<T>);

    impl<T: Float> Kernel for Both<T> {
        type Output = Vec<(T, T)>;

        #[inline(always)]
        fn run<I: Isa>(self) -> Self::Output {
            self.0.iter().map(|&z| distribution::<T, I>(z)).collect()
        }
    }

    #[test]
    fn the_distribution_is_that_of_the_series_and_the_continued_fraction_on_every_path() {
        let wanted = |z: f64| {
            (
                exact(z),
                (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt(),
            )
        };
        // Spot values of Φ by 40 digits: 1, 2, 5 standard deviations.
        for (z, phi) in [
            (-1.0, 0.158_655_253_931_457_05),
            (-2.0, 0.022_750_131_948_179_21),
            (-5.0, 2.866_515_718_791_939e-7),
        ] {
            assert!((exact(z) / phi - 1.0).abs() < 1e-15, "{z}");
        }
        for path in Path::available() {
            let zs: Vec<f64> = (-3700..=3700).map(|i| f64::from(i) * 1e-2 + 3e-4).collect();
            for (&z, (below, density)) in zs.iter().zip(run(path, Both(zs.clone()))) {
                let (phi, bell) = wanted(z);
                // The reference itself rounds z²/2.
                let bound = 1e-15 + 2.3e-16 * z * z;
                assert!(
                    (below / phi - 1.0).abs() < bound,
                    "{} Φ({z}) = {below}",
                    path.name()
                );
                assert!((density / bell - 1.0).abs() < bound, "{} φ({z})", path.name());
            }
            let zs: Vec<f32> = (-1200..=1200).map(|i| i as f32 * 1e-2 + 3e-4).collect();
            for (&z, (below, density)) in zs.iter().zip(run(path, Both(zs.clone()))) {
                let (phi, bell) = wanted(f64::from(z));
                let bound = 5e-7
                    + if path.name() == "baseline" {
                        3e-8 * f64::from(z * z)
                    } else {
                        0.0
                    };
                assert!(
                    (f64::from(below) / phi - 1.0).abs() < bound,
                    "{} Φ({z}) = {below}",
                    path.name()
                );
                assert!(
                    (f64::from(density) / bell - 1.0).abs() < bound,
                    "{} φ({z})",
                    path.name()
                );
            }
        }
    }
}
