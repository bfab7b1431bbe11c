//! Every stride, padding, dilation and group: one matrix product for each image and group.
//!
//! ```text
//! y = w columns(x)        dx = columnsᵀ(wᵀ dy)        dw = Σ_images dy columns(x)ᵀ
//! ```

use std::mem::MaybeUninit;

use super::columns::{Gather, Scatter, is_image};
use super::fused::Epilogue;
use super::shape::Shape;
use crate::buffer::{as_place, assume_written, written};
use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Result, area};
use crate::float::Float;
use crate::linear::sum_in_order;
use crate::parallel;
use crate::product::{Matrix, add_product, multiply};
use crate::scratch::with_scratch;

/// Writes all of y.
pub(super) fn forward<T: Float>(
    path: Path,
    shape: &Shape,
    x: &[T],
    weight: &[T],
    epilogue: &Epilogue<'_, T>,
    y: &mut [MaybeUninit<T>],
) -> Result<()> {
    parallel::try_for_each(shape.cost(), images(shape, y, shape.image_out), |(image, y)| {
        with_columns(shape, |columns| {
            for group in 0..shape.sizes.groups {
                let columns = gathered(path, shape, group_of(shape, x, image, group), columns);
                let y = &mut y[group * group_out(shape)..][..group_out(shape)];
                multiply(weight_of(shape, weight, group)?, matrix(shape, columns)?, y)?;
            }
            // SAFETY: the products of all groups have written the image.
            add(epilogue, shape, image, unsafe { assume_written(y) });
            Ok(())
        })
    })
}

/// Writes all of dx.
pub(super) fn input_gradient<T: Float>(
    path: Path,
    shape: &Shape,
    dy: &[T],
    weight: &[T],
    dx: &mut [MaybeUninit<T>],
) -> Result<()> {
    let group_in = shape.image_in / shape.sizes.groups;
    parallel::try_for_each(shape.cost(), images(shape, dx, shape.image_in), |(image, dx)| {
        with_columns(shape, |columns| {
            for group in 0..shape.sizes.groups {
                let dy = dy_of(shape, dy, image, group)?;
                let weight = weight_of(shape, weight, group)?.transposed();
                let dx = &mut dx[group * group_in..][..group_in];
                if is_image(shape) {
                    multiply(weight, dy, dx)?;
                    continue;
                }
                multiply(weight, dy, as_place(columns))?;
                dx.fill(MaybeUninit::new(T::default()));
                // SAFETY: written by the line above.
                let x = unsafe { assume_written(dx) };
                dispatch::run(path, Scatter { shape, columns, x });
            }
            Ok(())
        })
    })
}

/// dw, summed in chunks of images.
pub(super) fn weight_gradient<T: Float>(path: Path, shape: &Shape, x: &[T], dy: &[T]) -> Result<Vec<T>> {
    sum_over_images(shape, shape.weight_len, |image, add, sums| {
        with_columns(shape, |columns| {
            let group_len = shape.weight_len / shape.sizes.groups;
            for group in 0..shape.sizes.groups {
                let columns = gathered(path, shape, group_of(shape, x, image, group), columns);
                let columns = matrix(shape, columns)?.transposed();
                let dy = dy_of(shape, dy, image, group)?;
                let sums = &mut sums[group * group_len..][..group_len];
                if add {
                    // SAFETY: the chunk's first image has written the sums.
                    add_product(dy, columns, unsafe { assume_written(sums) })?;
                } else {
                    multiply(dy, columns, sums)?;
                }
            }
            Ok(())
        })
    })
}

/// The sum of each channel of dy, summed in chunks of images.
pub(super) fn bias_gradient<T: Float>(path: Path, shape: &Shape, dy: &[T]) -> Result<Vec<T>> {
    sum_over_images(shape, shape.sizes.outputs, |image, add, sums| {
        if !add {
            sums.fill(MaybeUninit::new(T::default()));
        }
        dispatch::run(
            path,
            ChannelSums {
                values: &dy[image * shape.image_out..][..shape.image_out],
                // SAFETY: filled above for the chunk's first image.
                sums: unsafe { assume_written(sums) },
            },
        );
        Ok(())
    })
}

/// Sums of `len` values: `sum(image, add, sums)` writes all of `sums`, or adds to them.
fn sum_over_images<T: Float>(
    shape: &Shape,
    len: usize,
    sum: impl Fn(usize, bool, &mut [MaybeUninit<T>]) -> Result<()> + Sync,
) -> Result<Vec<T>> {
    let (batch, chunk) = (shape.sizes.batch, shape.images_a_sum());
    if batch == 0 || len == 0 {
        return Ok(vec![T::default(); len]);
    }
    // SAFETY: every chunk has a first image, which writes its sums in full, or there is an error.
    let partials = unsafe {
        written(area(batch.div_ceil(chunk), len)?, |partials| {
            let tasks = partials.chunks_mut(len).enumerate().collect();
            parallel::try_for_each(shape.cost(), tasks, |(index, sums)| {
                let first = index * chunk;
                (first..batch.min(first + chunk)).try_for_each(|image| sum(image, image > first, sums))
            })
        })?
    };
    Ok(sum_in_order(partials, len))
}

/// The images of `values`, `size` values each, with their numbers; each task of `for_each` gets one.
fn images<'a, T>(
    shape: &Shape,
    values: &'a mut [MaybeUninit<T>],
    size: usize,
) -> Vec<(usize, &'a mut [MaybeUninit<T>])> {
    debug_assert_eq!(values.len(), shape.sizes.batch * size);
    values.chunks_mut(size.max(1)).enumerate().collect()
}

fn with_columns<T: Float, R>(shape: &Shape, work: impl FnOnce(&mut [T]) -> R) -> R {
    let len = if is_image(shape) {
        0
    } else {
        shape.depth * shape.positions()
    };
    with_scratch([len], |[columns]| work(columns))
}

/// The matrix of the channels `x` of one group: x itself, or gathered into `columns`.
fn gathered<'a, T: Float>(path: Path, shape: &'a Shape, x: &'a [T], columns: &'a mut [T]) -> &'a [T] {
    if is_image(shape) {
        return x;
    }
    dispatch::run(
        path,
        Gather {
            shape,
            x,
            columns: &mut *columns,
        },
    );
    columns
}

fn matrix<'a, T>(shape: &Shape, columns: &'a [T]) -> Result<Matrix<'a, T>> {
    Matrix::new(columns, shape.depth, shape.positions())
}

fn group_of<'a, T>(shape: &Shape, x: &'a [T], image: usize, group: usize) -> &'a [T] {
    let len = shape.image_in / shape.sizes.groups;
    &x[image * shape.image_in + group * len..][..len]
}

fn group_out(shape: &Shape) -> usize {
    shape.image_out / shape.sizes.groups
}

fn dy_of<'a, T>(shape: &Shape, dy: &'a [T], image: usize, group: usize) -> Result<Matrix<'a, T>> {
    let len = group_out(shape);
    let dy = &dy[image * shape.image_out + group * len..][..len];
    Matrix::new(dy, shape.sizes.outputs / shape.sizes.groups, shape.positions())
}

fn weight_of<'a, T>(shape: &Shape, weight: &'a [T], group: usize) -> Result<Matrix<'a, T>> {
    let len = shape.weight_len / shape.sizes.groups;
    let rows = shape.sizes.outputs / shape.sizes.groups;
    Matrix::new(&weight[group * len..][..len], rows, shape.depth)
}

fn add<T: Float>(epilogue: &Epilogue<'_, T>, shape: &Shape, image: usize, y: &mut [T]) {
    let positions = shape.positions();
    if epilogue.bias.is_some() || epilogue.shift.is_some() {
        for (channel, y) in y.chunks_mut(positions).enumerate() {
            let constant = epilogue.constant(image * shape.sizes.outputs + channel, channel);
            y.iter_mut().for_each(|y| *y = *y + constant);
        }
    }
    if let Some(residual) = epilogue.residual {
        let residual = &residual[image * shape.image_out..];
        y.iter_mut().zip(residual).for_each(|(y, &r)| *y = *y + r);
    }
}

/// Adds the sum of each channel of one image, in lanes.
struct ChannelSums<'a, T> {
    values: &'a [T],
    sums: &'a mut [T],
}

impl<T: Float> Kernel for ChannelSums<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        const LANES: usize = 16;
        let positions = self.values.len() / self.sums.len();
        for (channel, sum) in self.values.chunks_exact(positions.max(1)).zip(self.sums) {
            let mut lanes = [T::default(); LANES];
            let mut pieces = channel.chunks_exact(LANES);
            for piece in pieces.by_ref() {
                for (lane, &value) in lanes.iter_mut().zip(piece) {
                    *lane = *lane + value;
                }
            }
            for (lane, &value) in lanes.iter_mut().zip(pieces.remainder()) {
                *lane = *lane + value;
            }
            *sum = lanes.iter().fold(*sum, |sum, &lane| sum + lane);
        }
    }
}
