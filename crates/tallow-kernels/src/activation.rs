//! Activations and their slopes, in one pass over a slice.
//!
//! ```text
//! Relu  max(z, 0)        Tanh  tanh z        Sigmoid  s(z) = 1/(1 + e⁻ᶻ)        Silu  z s(z)
//! Gelu  z s(2u), u = √(2/π)(z + 0.044715 z³), that is ½ z (1 + tanh u)        GeluErf  z Φ(z) = ½ z (1 + erf(z/√2))
//! Selu  λ z for z > 0, λ α (eᶻ − 1) else
//! ```
//!
//! The forward pass can keep the slope dy/dz instead of z: it is cheap while the exponential is at hand, and the
//! backward pass is then one product.
//!
//! Sources: Hendrycks & Gimpel 2016, arXiv:1606.08415 (GELU, both forms; SiLU); Klambauer et al. 2017, arXiv:1706.02515 (SELU).

use std::mem::MaybeUninit;

use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Result, check_length};
use crate::float::{Float, exp, exp_m1_of_negative, reciprocal_of_one_to_two};
use crate::gaussian::distribution;

/// The function between two layers.
///
/// Sources: Hendrycks & Gimpel 2016, arXiv:1606.08415 (GELU, both forms; SiLU); Klambauer et al. 2017,
/// arXiv:1706.02515 (SELU).
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
    /// The Gaussian error linear unit z Φ(z) with the normal distribution itself (PyTorch's default).
    GeluErf,
    /// The self-normalising exponential linear unit.
    Selu,
    /// y = 1/(1 + e⁻ᶻ).
    Sigmoid,
    /// y = tanh z.
    Tanh,
}

impl Activation {
    /// Every activation, for tests and catalogues.
    pub const ALL: [Self; 8] = [
        Self::Identity,
        Self::Relu,
        Self::Silu,
        Self::Gelu,
        Self::GeluErf,
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

/// The body of a kernel with an activation inside its loop.
pub(crate) trait Body<T, I> {
    type Output;
    /// `f(z)` is (y, dy/dz); the one that is not used costs nothing. Must be `#[inline(always)]`.
    fn run(self, f: impl Fn(T) -> (T, T)) -> Self::Output;
}

impl Activation {
    /// Runs `body` as compiled for this activation, so that its loop does not branch.
    #[inline(always)]
    pub(crate) fn inside<T: Float, I: Isa, B: Body<T, I>>(self, body: B) -> B::Output {
        let (zero, one) = (T::from_f64(0.0), T::from_f64(1.0));
        match self {
            Self::Identity => body.run(|z| (z, one)),
            // NaN passes.
            Self::Relu => body.run(|z| if z <= zero { (zero, zero) } else { (z, one) }),
            Self::Silu => body.run(|z| {
                let (s, rest) = sigmoid::<T, I>(z);
                let y = z * s;
                (y, I::mul_add(y, rest, s))
            }),
            Self::Gelu => body.run(gelu::<T, I>),
            Self::GeluErf => body.run(|z| {
                let (below, density) = distribution::<T, I>(z);
                (z * below, I::mul_add(z, density, below))
            }),
            Self::Selu => body.run(selu::<T, I>),
            Self::Sigmoid => body.run(|z| {
                let (s, rest) = sigmoid::<T, I>(z);
                (s, s * rest)
            }),
            Self::Tanh => body.run(tanh::<T, I>),
        }
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
        self.activation.inside::<T, I, _>(self);
    }
}

impl<T: Float, I: Isa> Body<T, I> for Epilogue<'_, T> {
    type Output = ();

    /// One loop for each of the four cases, so that none of them branches inside.
    #[inline(always)]
    fn run(self, f: impl Fn(T) -> (T, T)) {
        let columns = self.columns.max(1);
        match (self.bias, self.slope) {
            // `for`, not `for_each`: its body is compiled for the instruction set of this function.
            (None, None) => {
                for y in self.values {
                    *y = f(*y).0;
                }
            }
            (Some(bias), None) => {
                for row in self.values.chunks_mut(columns) {
                    for (y, &b) in row.iter_mut().zip(bias) {
                        *y = f(*y + b).0;
                    }
                }
            }
            (None, Some(slope)) => {
                for (row, slope) in self.values.chunks_mut(columns).zip(slope.chunks_mut(columns)) {
                    for (y, slope) in row.iter_mut().zip(slope) {
                        let (value, dy) = f(*y);
                        *y = value;
                        slope.write(dy);
                    }
                }
            }
            (Some(bias), Some(slope)) => {
                for (row, slope) in self.values.chunks_mut(columns).zip(slope.chunks_mut(columns)) {
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
    let e = (-z.magnitude()).exp_of_negative::<I>();
    let large = reciprocal_of_one_to_two::<T, I>(e + T::from_f64(1.0));
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
#[path = "activation_tests.rs"]
mod tests;
