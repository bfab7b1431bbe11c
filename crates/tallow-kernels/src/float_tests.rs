//! The laws of the exponential.

use super::*;
use crate::dispatch::{Kernel, Path, run};

struct Exp<T>(Vec<T>);

struct Reciprocal<T>(Vec<T>);

impl<T: Float> Kernel for Reciprocal<T> {
    type Output = Vec<T>;

    #[inline(always)]
    fn run<I: Isa>(self) -> Vec<T> {
        let reciprocals = self.0.iter().map(|&d| reciprocal_of_one_to_two::<T, I>(d));
        reciprocals.collect()
    }
}

#[test]
fn reciprocals_are_those_of_a_division_up_to_two_last_bits_on_every_path() {
    for path in Path::available() {
        let ds: Vec<f64> = (0..=100_000).map(|i| 1.0 + f64::from(i) * 1e-5).collect();
        for (d, r) in ds.iter().zip(run(path, Reciprocal(ds.clone()))) {
            assert!(
                (r * d - 1.0).abs() <= 2.0 * f64::EPSILON,
                "{} 1/{d}: {r}",
                path.name()
            );
        }
        let ds: Vec<f32> = ds.into_iter().map(|d| d as f32).collect();
        for (&d, r) in ds.iter().zip(run(path, Reciprocal(ds.clone()))) {
            let error = (f64::from(r) * f64::from(d) - 1.0).abs();
            assert!(
                error <= 2.0 * f64::from(f32::EPSILON),
                "{} 1/{d}: {r}",
                path.name()
            );
        }
    }
}

impl<T: Float> Kernel for Exp<T> {
    type Output = (Vec<T>, Vec<T>);

    #[inline(always)]
    fn run<I: Isa>(self) -> Self::Output {
        let exps = self.0.iter().map(|&x| exp::<T, I>(x)).collect();
        (
            exps,
            self.0
                .iter()
                .map(|&x| exp_m1_of_negative::<T, I>(-x.magnitude()))
                .collect(),
        )
    }
}

#[test]
fn the_exponential_is_that_of_the_library_on_every_path() {
    for path in Path::available() {
        let xs: Vec<f32> = (-87_000..=88_000).map(|i| i as f32 * 1e-3 + 3e-5).collect();
        let (exps, expm1s) = run(path, Exp(xs.clone()));
        for ((&x, e), m) in xs.iter().zip(exps).zip(expm1s) {
            let exact = f64::from(x).exp();
            assert!(
                (f64::from(e) - exact).abs() <= 2.5e-7 * exact,
                "{} e^{x}: {e}",
                path.name()
            );
            let exact = (-f64::from(x).abs()).exp_m1();
            assert!(
                (f64::from(m) - exact).abs() <= 2.5e-7 * exact.abs(),
                "{} expm1 {x}: {m}",
                path.name()
            );
        }
        let xs: Vec<f64> = (-70_000..=70_000).map(|i| i as f64 * 1e-2 + 3e-4).collect();
        let (exps, expm1s) = run(path, Exp(xs.clone()));
        for ((&x, e), m) in xs.iter().zip(exps).zip(expm1s) {
            assert!(
                (e - x.exp()).abs() <= 1e-15 * x.exp(),
                "{} e^{x}: {e}",
                path.name()
            );
            let exact = (-x.abs()).exp_m1();
            assert!(
                (m - exact).abs() <= 1e-15 * exact.abs(),
                "{} expm1 {x}: {m}",
                path.name()
            );
        }
    }
}

#[test]
fn beyond_the_range_the_exponential_is_zero_or_infinite_and_nan_stays() {
    for path in Path::available() {
        let (e, _) = run(
            path,
            Exp(vec![
                -1e30_f32,
                f32::NEG_INFINITY,
                100.0,
                f32::INFINITY,
                f32::NAN,
                0.0,
            ]),
        );
        assert_eq!(e[..4], [0.0, 0.0, f32::INFINITY, f32::INFINITY]);
        assert!(e[4].is_nan() && e[5] == 1.0);
        let (e, _) = run(
            path,
            Exp(vec![
                -1e300_f64,
                f64::NEG_INFINITY,
                800.0,
                f64::INFINITY,
                f64::NAN,
                0.0,
            ]),
        );
        assert_eq!(e[..4], [0.0, 0.0, f64::INFINITY, f64::INFINITY]);
        assert!(e[4].is_nan() && e[5] == 1.0);
    }
}
