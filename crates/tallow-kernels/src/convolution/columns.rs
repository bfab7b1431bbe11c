//! One image as a matrix: row (c, k, l) holds, for every position of y, the value of x that w[·, c, k, l] multiplies.
//!
//! A convolution is then one matrix product, its gradient another and the transposed gathering.

use std::ops::Range;

use super::shape::Shape;
use crate::dispatch::{Isa, Kernel};
use crate::float::Float;

/// Whether the matrix is the image itself: a kernel of one value on every position.
pub(super) fn is_image(shape: &Shape) -> bool {
    let sizes = shape.sizes;
    sizes.kernel == [1, 1] && sizes.stride == [1, 1] && sizes.padding == [0, 0]
}

/// One row of the matrix: where its values are in the image.
struct Row {
    /// The channel within its group.
    channel: usize,
    /// Offsets of the kernel's value from the first value under the kernel, padding subtracted.
    shift: [isize; 2],
    /// The values of y, along each axis, that see the image and not its padding.
    seen: [Range<usize>; 2],
}

fn rows(shape: &Shape) -> impl Iterator<Item = Row> {
    let sizes = shape.sizes;
    let [height, width] = sizes.kernel;
    let output = shape.output;
    (0..shape.depth).map(move |row| {
        let tap = [row / width % height, row % width];
        let shift =
            [0, 1].map(|axis| (tap[axis] * sizes.dilation[axis]) as isize - sizes.padding[axis] as isize);
        let seen = [(0, sizes.height), (1, sizes.width)].map(|(axis, size)| {
            let stride = sizes.stride[axis];
            let start = shift[axis].min(0).unsigned_abs().div_ceil(stride);
            let end = (size as isize - shift[axis]).max(0) as usize;
            let end = end.div_ceil(stride).min(output[axis]);
            start.min(end)..end
        });
        Row {
            channel: row / (height * width),
            shift,
            seen,
        }
    })
}

impl Row {
    /// For each row of y that sees the image: its number, and the place in the channel of the first value that it sees.
    fn lines(&self, shape: &Shape) -> impl Iterator<Item = (usize, usize)> {
        let sizes = shape.sizes;
        let start = (self.seen[1].start * sizes.stride[1]) as isize + self.shift[1];
        let shift = self.shift[0];
        // An axis that sees nothing has no first value.
        let rows = if self.seen[1].is_empty() {
            0..0
        } else {
            self.seen[0].clone()
        };
        rows.map(move |y| {
            let row = (y * sizes.stride[0]) as isize + shift;
            (y, row as usize * sizes.width + start as usize)
        })
    }
}

/// Writes the matrix (depth, positions) of the channels `x` of one group.
pub(super) struct Gather<'a, T> {
    pub(super) shape: &'a Shape,
    pub(super) x: &'a [T],
    pub(super) columns: &'a mut [T],
}

impl<T: Float> Kernel for Gather<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let sizes = self.shape.sizes;
        let [_, width] = self.shape.output;
        let channel = sizes.height * sizes.width;
        let target = self.columns.chunks_exact_mut(self.shape.positions().max(1));
        for (row, target) in rows(self.shape).zip(target) {
            let x = &self.x[row.channel * channel..][..channel];
            target[..row.seen[0].start * width].fill(T::default());
            target[row.seen[0].end * width..].fill(T::default());
            if row.seen[1].is_empty() {
                target.fill(T::default());
            }
            for (line, start) in row.lines(self.shape) {
                let target = &mut target[line * width..][..width];
                target[..row.seen[1].start].fill(T::default());
                target[row.seen[1].end..].fill(T::default());
                let target = &mut target[row.seen[1].clone()];
                if sizes.stride[1] == 1 {
                    target.copy_from_slice(&x[start..][..target.len()]);
                } else {
                    for (value, &x) in target.iter_mut().zip(x[start..].iter().step_by(sizes.stride[1])) {
                        *value = x;
                    }
                }
            }
        }
    }
}

/// Adds the matrix (depth, positions) onto the channels `x` of one group, each value where [`Gather`] reads it.
pub(super) struct Scatter<'a, T> {
    pub(super) shape: &'a Shape,
    pub(super) columns: &'a [T],
    pub(super) x: &'a mut [T],
}

impl<T: Float> Kernel for Scatter<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let sizes = self.shape.sizes;
        let [_, width] = self.shape.output;
        let channel = sizes.height * sizes.width;
        let source = self.columns.chunks_exact(self.shape.positions().max(1));
        for (row, source) in rows(self.shape).zip(source) {
            let x = &mut self.x[row.channel * channel..][..channel];
            for (line, start) in row.lines(self.shape) {
                let source = &source[line * width..][row.seen[1].clone()];
                if sizes.stride[1] == 1 {
                    for (x, &value) in x[start..].iter_mut().zip(source) {
                        *x = *x + value;
                    }
                } else {
                    for (x, &value) in x[start..].iter_mut().step_by(sizes.stride[1]).zip(source) {
                        *x = *x + value;
                    }
                }
            }
        }
    }
}
