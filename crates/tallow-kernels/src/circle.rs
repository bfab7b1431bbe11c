//! Sine and cosine, made of `+ − ×` alone: the same bits on every processor.

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Result, check_length};

/// Writes sine and cosine of every angle, in radians.
///
/// The absolute error is some 1e-16 up to 1.6e6 radians, and beyond that the angle's own rounding.
///
/// # Errors
///
/// When the lengths differ.
pub fn sin_cos(angles: &[f64], sines: &mut [f64], cosines: &mut [f64]) -> Result<()> {
    sin_cos_on(Path::best(), angles, sines, cosines)
}

fn sin_cos_on(path: Path, angles: &[f64], sines: &mut [f64], cosines: &mut [f64]) -> Result<()> {
    check_length("sines", sines.len(), angles.len())?;
    check_length("cosines", cosines.len(), angles.len())?;
    dispatch::run(
        path,
        SinCos {
            angles,
            sines,
            cosines,
        },
    );
    Ok(())
}

struct SinCos<'a> {
    angles: &'a [f64],
    sines: &'a mut [f64],
    cosines: &'a mut [f64],
}

impl Kernel for SinCos<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for ((&angle, sine), cosine) in self.angles.iter().zip(self.sines).zip(self.cosines) {
            (*sine, *cosine) = circle(angle);
        }
    }
}

/// Sine and cosine of an angle: the nearest multiple of π/2 is taken off in three parts, the first two exactly.
#[inline(always)]
pub(crate) fn circle(angle: f64) -> (f64, f64) {
    // 1.5·2⁵²: adding it rounds to an integer, whose lowest bits are then the lowest bits of the sum.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    // π/2 in 33 bits, the 20 bits below, and 6.123e-17, what an f64 leaves out.
    const FIRST: f64 = f64::from_bits(FRAC_PI_2.to_bits() & !0xf_ffff);
    const SECOND: f64 = FRAC_PI_2 - FIRST;
    const THIRD: f64 = 6.123_233_995_736_766e-17;
    let shifted = angle * FRAC_2_PI + ROUND;
    let turns = shifted - ROUND;
    let rest = ((angle - turns * FIRST) - turns * SECOND) - turns * THIRD;
    rotated(rest, shifted.to_bits())
}

/// Sine and cosine of `angle`, at most π/4 on either side of 0, turned by `quarter` quarters (modulo 4).
#[inline(always)]
pub(crate) fn rotated(angle: f64, quarter: u64) -> (f64, f64) {
    let z = angle * angle;
    // Taylor's series to the first term below 5e-17 of the result.
    let mut odd = 1.0 / 355_687_428_096_000.0;
    odd = odd * z - 1.0 / 1_307_674_368_000.0;
    odd = odd * z + 1.0 / 6_227_020_800.0;
    odd = odd * z - 1.0 / 39_916_800.0;
    odd = odd * z + 1.0 / 362_880.0;
    odd = odd * z - 1.0 / 5_040.0;
    odd = odd * z + 1.0 / 120.0;
    odd = odd * z - 1.0 / 6.0;
    let sine = angle + angle * (z * odd);
    let mut even = 1.0 / 20_922_789_888_000.0;
    even = even * z - 1.0 / 87_178_291_200.0;
    even = even * z + 1.0 / 479_001_600.0;
    even = even * z - 1.0 / 3_628_800.0;
    even = even * z + 1.0 / 40_320.0;
    even = even * z - 1.0 / 720.0;
    even = even * z + 1.0 / 24.0;
    let cosine = 1.0 - (z * 0.5 - z * z * even);
    // Quarters 1 and 3 swap the two; the sine is negative in 2 and 3, the cosine in 1 and 2.
    let swap = 0u64.wrapping_sub(quarter & 1);
    let (s, c) = (sine.to_bits(), cosine.to_bits());
    let sine = ((s & !swap) | (c & swap)) ^ ((quarter & 2) << 62);
    let cosine = ((c & !swap) | (s & swap)) ^ (((quarter + 1) & 2) << 62);
    (f64::from_bits(sine), f64::from_bits(cosine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_circle_is_that_of_the_library_and_of_every_path() {
        let near = (-40_000..=40_000).map(|i| f64::from(i) * 0.0137 + 1e-5);
        let far = (0..2000).map(|i| f64::from(i) * 777.77 - 7e5);
        let angles: Vec<f64> = near.chain(far).chain([0.0, -0.0]).collect();
        let mut reference = vec![];
        for path in Path::available() {
            let (mut sines, mut cosines) = (vec![9.0; angles.len()], vec![9.0; angles.len()]);
            sin_cos_on(path, &angles, &mut sines, &mut cosines).unwrap();
            for ((&angle, s), c) in angles.iter().zip(&sines).zip(&cosines) {
                let (sine, cosine) = angle.sin_cos();
                assert!(
                    (s - sine).abs() < 3e-16 && (c - cosine).abs() < 3e-16,
                    "{angle}: {s} {c}"
                );
            }
            sines.append(&mut cosines);
            if reference.is_empty() {
                reference = sines;
            } else {
                assert_eq!(sines, reference, "{}", path.name());
            }
        }
    }

    #[test]
    fn angles_that_are_no_numbers_have_no_sine() {
        let (mut sines, mut cosines) = ([0.0; 3], [0.0; 3]);
        sin_cos(
            &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY],
            &mut sines,
            &mut cosines,
        )
        .unwrap();
        assert!(sines.iter().chain(&cosines).all(|x| x.is_nan()));
        assert!(sin_cos(&[0.0], &mut [], &mut [0.0]).is_err());
    }
}
