//! Activations and their slopes, in one pass over a slice.
//!
//! ```text
//! Relu  max(z, 0)        Tanh  tanh z        Sigmoid  s(z) = 1/(1 + e⁻ᶻ)        Silu  z s(z)
//! Gelu  z s(2u), u = √(2/π)(z + 0.044715 z³), that is ½ z (1 + tanh u)
//! Selu  λ z for z > 0, λ α (eᶻ − 1) else
//! ```
//!
//! The forward pass can keep the slope dy/dz instead of z: it is cheap while the exponential is at hand, and the
//! backward pass is then one product.
//!
//! Sources: Hendrycks & Gimpel 2016, arXiv:1606.08415 (GELU by tanh; SiLU); Klambauer et al. 2017, arXiv:1706.02515 (SELU).

use std::mem::MaybeUninit;

use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Result, check_length};
use crate::float::{Float, exp, exp_m1_of_negative};

/// The function between two layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Activation {
    /// y = z.
    #[default]
    Identity,
    /// y = max(z, 0); its slope at 0 is 0.
    Relu,
    /// y = z/(1 + e⁻ᶻ), also called swish.
    Silu,
    /// The Gaussian error linear unit in its tanh form (PyTorch's `approximate="tanh"`).
    Gelu,
    /// The self-normalising exponential linear unit.
    Selu,
    /// y = 1/(1 + e⁻ᶻ).
    Sigmoid,
    /// y = tanh z.
    Tanh,
}

impl Activation {
    /// Every activation, for tests and catalogues.
    pub const ALL: [Self; 7] = [
        Self::Identity,
        Self::Relu,
        Self::Silu,
        Self::Gelu,
        Self::Selu,
        Self::Sigmoid,
        Self::Tanh,
    ];

    /// Writes y(z) and, if asked for, dy/dz: `slope` has the length of `z`, `values` too.
    ///
    /// # Errors
    ///
    /// When the lengths differ.
    pub fn apply<T: Float>(self, z: &[T], values: &mut [T], slope: Option<&mut [T]>) -> Result<()> {
        self.apply_on(Path::best(), z, values, slope)
    }

    /// [`Activation::apply`] on a chosen instruction set: for tests and benchmarks.
    ///
    /// # Errors
    ///
    /// When the lengths differ.
    pub fn apply_on<T: Float>(
        self,
        path: Path,
        z: &[T],
        values: &mut [T],
        slope: Option<&mut [T]>,
    ) -> Result<()> {
        check_length("values", values.len(), z.len())?;
        if let Some(slope) = &slope {
            check_length("slope", slope.len(), z.len())?;
        }
        values.copy_from_slice(z);
        let slope = slope.map(|slope| {
            // SAFETY: `MaybeUninit<T>` has the layout of `T`, and the epilogue writes only initialised values.
            unsafe { &mut *(std::ptr::from_mut(slope) as *mut [MaybeUninit<T>]) }
        });
        dispatch::run(
            path,
            Epilogue {
                activation: self,
                bias: None,
                columns: z.len(),
                values,
                slope,
            },
        );
        Ok(())
    }
}

/// Adds the bias to each row of `values` and applies the activation in place; writes the slope, if asked for, in full.
pub(crate) struct Epilogue<'a, T> {
    pub(crate) activation: Activation,
    /// `columns` values.
    pub(crate) bias: Option<&'a [T]>,
    pub(crate) columns: usize,
    pub(crate) values: &'a mut [T],
    pub(crate) slope: Option<&'a mut [MaybeUninit<T>]>,
}

impl<T: Float> Kernel for Epilogue<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let one = T::from_f64(1.0);
        match self.activation {
            Activation::Identity => self.map(|z| (z, one)),
            Activation::Relu => self.map(|z| {
                let zero = T::from_f64(0.0);
                // NaN passes.
                if z <= zero { (zero, zero) } else { (z, one) }
            }),
            Activation::Silu => self.map(|z| {
                let (s, rest) = sigmoid::<T, I>(z);
                let y = z * s;
                (y, I::mul_add(y, rest, s))
            }),
            Activation::Gelu => self.map(gelu::<T, I>),
            Activation::Selu => self.map(selu::<T, I>),
            Activation::Sigmoid => self.map(|z| {
                let (s, rest) = sigmoid::<T, I>(z);
                (s, s * rest)
            }),
            Activation::Tanh => self.map(tanh::<T, I>),
        }
    }
}

impl<T: Float> Epilogue<'_, T> {
    /// One loop for each of the four cases, so that none of them branches inside.
    #[inline(always)]
    fn map(self, f: impl Fn(T) -> (T, T)) {
        let columns = self.columns.max(1);
        let rows = self.values.chunks_mut(columns);
        match (self.bias, self.slope) {
            (None, None) => rows.for_each(|row| row.iter_mut().for_each(|y| *y = f(*y).0)),
            (Some(bias), None) => {
                for row in rows {
                    for (y, &b) in row.iter_mut().zip(bias) {
                        *y = f(*y + b).0;
                    }
                }
            }
            (None, Some(slope)) => {
                for (row, slope) in rows.zip(slope.chunks_mut(columns)) {
                    for (y, slope) in row.iter_mut().zip(slope) {
                        let (value, dy) = f(*y);
                        *y = value;
                        slope.write(dy);
                    }
                }
            }
            (Some(bias), Some(slope)) => {
                for (row, slope) in rows.zip(slope.chunks_mut(columns)) {
                    for ((y, slope), &b) in row.iter_mut().zip(slope).zip(bias) {
                        let (value, dy) = f(*y + b);
                        *y = value;
                        slope.write(dy);
                    }
                }
            }
        }
    }
}

/// s(z) and 1 − s(z), both without cancellation: the exponential is taken of −|z|.
#[inline(always)]
fn sigmoid<T: Float, I: Isa>(z: T) -> (T, T) {
    let e = exp::<T, I>(-z.magnitude());
    let large = T::from_f64(1.0) / (e + T::from_f64(1.0));
    let small = e * large;
    if z < T::from_f64(0.0) {
        (small, large)
    } else {
        (large, small)
    }
}

#[inline(always)]
fn gelu<T: Float, I: Isa>(z: T) -> (T, T) {
    // 2u = z (a + b z²), and d(2u)/dz = a + 3 b z².
    let a = T::from_f64(1.595_769_121_605_730_7);
    let b = T::from_f64(1.595_769_121_605_730_7 * 0.044_715);
    let b3 = T::from_f64(3.0 * 1.595_769_121_605_730_7 * 0.044_715);
    let square = z * z;
    let (s, rest) = sigmoid::<T, I>(z * I::mul_add(b, square, a));
    let y = z * s;
    // Where s or 1 − s is 0 the slope's second term is 0, even if z² overflowed.
    let product = y * rest;
    let second = if product == T::from_f64(0.0) {
        product
    } else {
        product * I::mul_add(b3, square, a)
    };
    (y, s + second)
}

#[inline(always)]
fn selu<T: Float, I: Isa>(z: T) -> (T, T) {
    let scale = T::from_f64(1.050_700_987_355_480_5);
    let saturation = T::from_f64(1.050_700_987_355_480_5 * 1.673_263_242_354_377_2);
    let zero = T::from_f64(0.0);
    let negative = if z > zero { zero } else { z };
    let below = saturation * exp_m1_of_negative::<T, I>(negative);
    let slope = saturation * exp::<T, I>(negative);
    if z > zero {
        (scale * z, scale)
    } else {
        (below, slope)
    }
}

#[inline(always)]
fn tanh<T: Float, I: Isa>(z: T) -> (T, T) {
    // tanh |z| = −m/(2 + m) with m = e^(−2|z|) − 1; the slope is 4e/(1 + e)², which does not cancel.
    let one = T::from_f64(1.0);
    let twice = -(z.magnitude() + z.magnitude());
    let m = exp_m1_of_negative::<T, I>(twice);
    let e = exp::<T, I>(twice);
    let inverse = one / (e + one);
    let value = (-m / (m + one + one)).with_sign(z);
    (value, T::from_f64(4.0) * e * inverse * inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// y and dy/dz by the library's functions, written as the definitions.
    fn exact(activation: Activation, z: f64) -> (f64, f64) {
        let s = |z: f64| {
            if z < 0.0 {
                z.exp() / (1.0 + z.exp())
            } else {
                1.0 / (1.0 + (-z).exp())
            }
        };
        match activation {
            Activation::Identity => (z, 1.0),
            Activation::Relu => (z.max(0.0), if z > 0.0 { 1.0 } else { 0.0 }),
            Activation::Silu => (z * s(z), s(z) * (1.0 + z * s(-z))),
            Activation::Gelu => {
                let c = (2.0 / std::f64::consts::PI).sqrt();
                let (u, du) = (c * (z + 0.044715 * z.powi(3)), c * (1.0 + 3.0 * 0.044715 * z * z));
                (
                    z * s(2.0 * u),
                    s(2.0 * u) + z * s(2.0 * u) * s(-2.0 * u) * 2.0 * du,
                )
            }
            Activation::Selu => {
                let (scale, alpha) = (1.050_700_987_355_480_5, 1.673_263_242_354_377_2);
                if z > 0.0 {
                    (scale * z, scale)
                } else {
                    (scale * alpha * z.exp_m1(), scale * alpha * z.exp())
                }
            }
            Activation::Sigmoid => (s(z), s(z) * s(-z)),
            Activation::Tanh => (z.tanh(), 1.0 / z.cosh().powi(2)),
        }
    }

    fn largest_error<T: Float>(activation: Activation, path: Path, zs: &[T]) -> (f64, f64) {
        let mut values = zs.to_vec();
        let mut slopes = zs.to_vec();
        activation
            .apply_on(path, zs, &mut values, Some(&mut slopes))
            .unwrap();
        let (mut value_error, mut slope_error) = (0.0f64, 0.0f64);
        for ((z, y), slope) in zs.iter().zip(values).zip(slopes) {
            let (wanted, wanted_slope) = exact(activation, z.to_f64());
            // Where SiLU and GELU turn, their slope crosses 0: relative to at least 1/20 there.
            let scale = wanted_slope
                .abs()
                .max(if wanted_slope > -0.2 && z.to_f64() > -4.0 {
                    0.05
                } else {
                    0.0
                });
            value_error = value_error.max((y.to_f64() - wanted).abs() / wanted.abs().max(1e-30));
            slope_error = slope_error.max((slope.to_f64() - wanted_slope).abs() / scale.max(1e-30));
        }
        (value_error, slope_error)
    }

    #[test]
    fn values_and_slopes_are_those_of_the_definition_on_every_path() {
        let f32s: Vec<f32> = (-4000..=4000).map(|i| i as f32 * 1e-3 + 1.3e-4).collect();
        let f64s: Vec<f64> = (-4000..=4000).map(|i| i as f64 * 1e-3 + 1.3e-4).collect();
        for activation in Activation::ALL {
            for path in Path::available() {
                // The exponent 2u of GELU carries its own rounding, up to 9 half ulps of it at |z| = 4.
                let loose = if activation == Activation::Gelu { 8.0 } else { 1.0 };
                let (value, slope) = largest_error(activation, path, &f32s);
                assert!(
                    value <= 5e-7 * loose,
                    "{activation:?} f32 {}: {value:e}",
                    path.name()
                );
                assert!(
                    slope <= 1e-6 * loose,
                    "{activation:?} f32 slope {}: {slope:e}",
                    path.name()
                );
                let (value, slope) = largest_error(activation, path, &f64s);
                assert!(value <= 1e-14, "{activation:?} f64 {}: {value:e}", path.name());
                assert!(
                    slope <= 1e-14,
                    "{activation:?} f64 slope {}: {slope:e}",
                    path.name()
                );
            }
        }
    }

    #[test]
    fn far_arguments_saturate_and_nan_stays() {
        for activation in Activation::ALL {
            for path in Path::available() {
                let zs = [-1e30f32, -200.0, 200.0, 1e30, f32::NAN];
                let (mut values, mut slopes) = ([0.0; 5], [0.0; 5]);
                activation
                    .apply_on(path, &zs, &mut values, Some(&mut slopes))
                    .unwrap();
                for i in 0..4 {
                    let (y, slope) = exact(activation, f64::from(zs[i].clamp(-600.0, 600.0)));
                    let y = if zs[i].abs() > 600.0 && y.abs() > 500.0 {
                        y / 600.0 * 1e30
                    } else {
                        y
                    };
                    let close = |a: f32, b: f64| (f64::from(a) - b).abs() <= 1e-6 * b.abs() + 1e-30;
                    assert!(close(values[i], y), "{activation:?}({}) = {}", zs[i], values[i]);
                    assert!(
                        close(slopes[i], slope),
                        "{activation:?}'({}) = {}",
                        zs[i],
                        slopes[i]
                    );
                }
                assert!(values[4].is_nan(), "{activation:?} of NaN is {}", values[4]);
            }
        }
    }

    #[test]
    fn an_element_does_not_depend_on_its_place() {
        let zs: Vec<f32> = (0..97).map(|i| i as f32 * 0.11 - 5.0).collect();
        for activation in Activation::ALL {
            let mut all = vec![0.0; 97];
            activation.apply(&zs, &mut all, None).unwrap();
            for i in 0..97 {
                let mut one = [0.0];
                activation.apply(&zs[i..=i], &mut one, None).unwrap();
                assert_eq!(one[0].to_bits(), all[i].to_bits());
            }
        }
    }

    #[test]
    fn slices_of_other_lengths_are_refused() {
        assert!(Activation::Silu.apply(&[0.0f32; 3], &mut [0.0; 2], None).is_err());
        assert!(
            Activation::Silu
                .apply(&[0.0f32; 3], &mut [0.0; 3], Some(&mut [0.0; 4]))
                .is_err()
        );
    }
}
