//! What surrounds a convolution in a residual block, done while its images are in the cache.
//!
//! ```text
//! y = conv(f(x)) + bias[o] + shift[b, o] + residual[b, o, i, j],     f(x) = act(z),   z = scale[b, c] x + shift[b, c]
//! ```
//!
//! Once its statistics are known, a group norm with modulation and activation is such an f: scale and shift hold, for
//! each image and channel, γ/σ and β − γ μ/σ. The way back gives dz = (∂y/∂f)ᵀ dy ⊙ act′(z), from which the gradients of
//! x, γ, β and the statistics follow by sums over an image; f(x) is computed again rather than kept.

use std::mem::MaybeUninit;

use super::shape::Shape;
use crate::activation::{self, Activation};
use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Result, area, check_length};
use crate::float::Float;
use crate::parallel;

/// f(x) = act(scale x + shift), applied to x before it is convolved; zeros of the padding stay zeros.
#[derive(Clone, Copy, Debug)]
pub struct Prologue<'a, T> {
    /// (batch, inputs).
    pub scale: &'a [T],
    /// (batch, inputs).
    pub shift: &'a [T],
    /// The function applied last.
    pub activation: Activation,
}

/// What is added to a convolution; `Epilogue::default()` adds nothing.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a, T> {
    /// One value for each channel of y.
    pub bias: Option<&'a [T]>,
    /// One value for each image and channel of y, (batch, outputs): an embedding of time.
    pub shift: Option<&'a [T]>,
    /// Values of the shape of y: the input of the block.
    pub residual: Option<&'a [T]>,
}

impl<T> Default for Epilogue<'_, T> {
    fn default() -> Self {
        Self {
            bias: None,
            shift: None,
            residual: None,
        }
    }
}

impl<T: Float> Prologue<'_, T> {
    pub(super) fn check(&self, shape: &Shape) -> Result<()> {
        let wanted = area(shape.sizes.batch, shape.sizes.inputs)?;
        check_length("prologue scale", self.scale.len(), wanted)?;
        check_length("prologue shift", self.shift.len(), wanted)
    }

    /// f(x), and act′(z) if `slope` is not empty, of the plane of one image and channel.
    #[inline(always)]
    pub(super) fn apply<I: Isa>(
        &self,
        plane: usize,
        x: &[T],
        values: &mut [T],
        slope: Option<&mut [MaybeUninit<T>]>,
    ) {
        let (scale, shift) = (self.scale[plane], self.shift[plane]);
        for (value, &x) in values.iter_mut().zip(x) {
            *value = I::mul_add(scale, x, shift);
        }
        activation::Epilogue {
            activation: self.activation,
            bias: None,
            columns: values.len(),
            values,
            slope,
        }
        .run::<I>();
    }
}

impl<T: Float> Epilogue<'_, T> {
    pub(super) fn check(&self, shape: &Shape) -> Result<()> {
        let sizes = &shape.sizes;
        let check = |name, values: Option<&[T]>, wanted| {
            values.map_or(Ok(()), |values| check_length(name, values.len(), wanted))
        };
        check("bias", self.bias, sizes.outputs)?;
        check("epilogue shift", self.shift, area(sizes.batch, sizes.outputs)?)?;
        check("residual", self.residual, shape.y_len)
    }

    /// What is added to every value of one image and channel, `plane` = image · outputs + channel.
    #[inline(always)]
    pub(super) fn constant(&self, plane: usize, channel: usize) -> T {
        let zero = T::default();
        self.bias.map_or(zero, |bias| bias[channel]) + self.shift.map_or(zero, |shift| shift[plane])
    }
}

/// All of f(x): for the method that has no cache to keep it in.
pub(super) fn applied<T: Float>(path: Path, shape: &Shape, prologue: &Prologue<'_, T>, x: &[T]) -> Vec<T> {
    let mut values = x.to_vec();
    planes(path, shape, prologue, x, &mut values, Way::Value);
    values
}

/// dz = df ⊙ act′(z) in place.
pub(super) fn times_slope<T: Float>(
    path: Path,
    shape: &Shape,
    prologue: &Prologue<'_, T>,
    x: &[T],
    df: &mut [T],
) {
    planes(path, shape, prologue, x, df, Way::Slope);
}

#[derive(Clone, Copy)]
enum Way {
    Value,
    Slope,
}

fn planes<T: Float>(
    path: Path,
    shape: &Shape,
    prologue: &Prologue<'_, T>,
    x: &[T],
    values: &mut [T],
    way: Way,
) {
    let len = shape.sizes.height * shape.sizes.width;
    let image = shape.image_in.max(1);
    let tasks: Vec<_> = values
        .chunks_mut(image)
        .zip(x.chunks(image))
        .enumerate()
        .collect();
    parallel::for_each(x.len().saturating_mul(8), tasks, |(image, (values, x))| {
        let planes = values.chunks_mut(len).zip(x.chunks(len)).enumerate();
        for (channel, (values, x)) in planes {
            let plane = image * shape.sizes.inputs + channel;
            dispatch::run(
                path,
                Plane {
                    prologue,
                    plane,
                    x,
                    values,
                    way,
                },
            );
        }
    });
}

struct Plane<'a, T> {
    prologue: &'a Prologue<'a, T>,
    plane: usize,
    x: &'a [T],
    values: &'a mut [T],
    way: Way,
}

impl<T: Float> Kernel for Plane<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        match self.way {
            Way::Value => self.prologue.apply::<I>(self.plane, self.x, self.values, None),
            Way::Slope => slope_times::<T, I>(self.prologue, self.plane, self.x, self.values),
        }
    }
}

/// values = values ⊙ act′(z), by pieces that stay in the cache; what is left at the end is filled up to whole vectors.
#[inline(always)]
pub(super) fn slope_times<T: Float, I: Isa>(
    prologue: &Prologue<'_, T>,
    plane: usize,
    x: &[T],
    values: &mut [T],
) {
    const PIECE: usize = 256;
    let (mut z, mut slope) = ([T::default(); PIECE], [MaybeUninit::new(T::default()); PIECE]);
    let mut padded = [T::default(); 16];
    let whole = x.len() / 16 * 16;
    let (values, last) = values.split_at_mut(whole.min(values.len()));
    let pieces = values.chunks_mut(PIECE).zip(x[..whole].chunks(PIECE));
    padded[..last.len()].copy_from_slice(&x[whole..]);
    let filled = if last.is_empty() { 0 } else { padded.len() };
    for (values, x) in pieces.chain([(last, &padded[..filled])]) {
        let len = x.len();
        prologue.apply::<I>(plane, x, &mut z[..len], Some(&mut slope[..len]));
        for (value, slope) in values.iter_mut().zip(&slope) {
            // SAFETY: initialised above.
            *value = *value * unsafe { slope.assume_init() };
        }
    }
}

#[cfg(test)]
#[path = "fused_tests.rs"]
mod tests;
