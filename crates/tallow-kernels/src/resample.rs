//! Images of another size: nearest and bilinear resampling, average pooling.
//!
//! ```text
//! y = A x Bᵀ for each plane,    dx = Aᵀ dy B
//! ```
//!
//! A, (output rows, rows), and B, (output columns, columns), have a few values in each row: which values of the input an
//! output reads, and their weights. An [`Axis`] is one such matrix; its transpose serves the gradient.
//!
//! Law: a plane of the result has the same bytes among any other planes and on any number of threads.

use crate::error::{Error, Result, area, check_length};
use crate::float::Float;
use crate::parallel;

/// Which values along one axis an output reads, with their weights: a sparse matrix (outputs, inputs).
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    inputs: usize,
    /// Where the taps of each output start; one more than outputs.
    starts: Vec<usize>,
    /// Inputs and their weights.
    taps: Vec<(usize, f64)>,
}

impl Axis {
    /// Each output takes the value at ⌊output · inputs/outputs⌋.
    ///
    /// A multiple of the inputs repeats each of them; other positions are rounded in single precision, as PyTorch's are.
    ///
    /// # Errors
    ///
    /// When a size is 0.
    pub fn nearest(inputs: usize, outputs: usize) -> Result<Self> {
        check_sizes(inputs, outputs)?;
        let scale = inputs as f32 / outputs as f32;
        Ok(Self::of(inputs, outputs, |output| {
            let input = if outputs.is_multiple_of(inputs) {
                output / (outputs / inputs)
            } else {
                (output as f32 * scale) as usize
            };
            vec![(input.min(inputs - 1), 1.0)]
        }))
    }

    /// Each output lies between two inputs; the axes' ends are the outer edges of the first and last value, and positions
    /// beyond the centres of these take their values (PyTorch's `align_corners=False`).
    ///
    /// # Errors
    ///
    /// When a size is 0.
    pub fn linear(inputs: usize, outputs: usize) -> Result<Self> {
        check_sizes(inputs, outputs)?;
        let scale = inputs as f64 / outputs as f64;
        Ok(Self::between(inputs, outputs, |output| {
            ((output as f64 + 0.5) * scale - 0.5).max(0.0)
        }))
    }

    /// Each output lies between two inputs; the first and last output are the first and last input (PyTorch's
    /// `align_corners=True`).
    ///
    /// # Errors
    ///
    /// When a size is 0.
    pub fn linear_aligned(inputs: usize, outputs: usize) -> Result<Self> {
        check_sizes(inputs, outputs)?;
        let intervals = (outputs - 1).max(1) as f64;
        Ok(Self::between(inputs, outputs, |output| {
            output as f64 * (inputs - 1) as f64 / intervals
        }))
    }

    /// Each output is the mean of `kernel` inputs, `stride` after those of the one before; what remains at the end is left.
    ///
    /// # Errors
    ///
    /// When kernel or stride is 0, or the kernel is longer than the axis.
    pub fn average(inputs: usize, kernel: usize, stride: usize) -> Result<Self> {
        if kernel == 0 || kernel > inputs {
            return Err(Error::Setting {
                name: "kernel of the average",
                value: kernel as f64,
                allowed: "from 1 to the size of the image",
            });
        }
        if stride == 0 {
            return Err(Error::Setting {
                name: "stride of the average",
                value: 0.0,
                allowed: "at least 1",
            });
        }
        let outputs = (inputs - kernel) / stride + 1;
        let weight = 1.0 / kernel as f64;
        Ok(Self::of(inputs, outputs, |output| {
            (0..kernel).map(|tap| (output * stride + tap, weight)).collect()
        }))
    }

    /// The transposed matrix: what the gradient goes through on its way back.
    #[must_use]
    pub fn transposed(&self) -> Self {
        let mut rows = vec![Vec::new(); self.inputs];
        for output in 0..self.outputs() {
            for &(input, weight) in self.taps(output) {
                rows[input].push((output, weight));
            }
        }
        Self::of(self.outputs(), self.inputs, |row| std::mem::take(&mut rows[row]))
    }

    /// Length of the axis before.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Length of the axis after.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.starts.len() - 1
    }

    /// The inputs that `output` reads, with their weights; none beyond the last output.
    #[must_use]
    pub fn taps(&self, output: usize) -> &[(usize, f64)] {
        match (self.starts.get(output), self.starts.get(output + 1)) {
            (Some(&start), Some(&end)) => &self.taps[start..end],
            _ => &[],
        }
    }

    fn of(inputs: usize, outputs: usize, mut taps: impl FnMut(usize) -> Vec<(usize, f64)>) -> Self {
        let mut axis = Self {
            inputs,
            starts: vec![0],
            taps: Vec::with_capacity(outputs),
        };
        for output in 0..outputs {
            axis.taps.extend(taps(output));
            axis.starts.push(axis.taps.len());
        }
        axis
    }

    /// Each output at a position between two inputs; a neighbour of weight 0 is not read.
    fn between(inputs: usize, outputs: usize, position: impl Fn(usize) -> f64) -> Self {
        Self::of(inputs, outputs, |output| {
            let position = position(output);
            let first = (position as usize).min(inputs - 1);
            let second = position - first as f64;
            if second <= 0.0 || first + 1 == inputs {
                vec![(first, 1.0)]
            } else {
                vec![(first, 1.0 - second), (first + 1, second)]
            }
        })
    }
}

fn check_sizes(inputs: usize, outputs: usize) -> Result<()> {
    if inputs == 0 || outputs == 0 {
        return Err(Error::Setting {
            name: "size of the image",
            value: 0.0,
            allowed: "at least 1",
        });
    }
    Ok(())
}

/// y = A x Bᵀ: `planes` images (rows of `height`, columns of `width`) one after the other, to the sizes of the axes.
///
/// # Errors
///
/// When `x` does not hold `planes` images of the axes' input sizes.
pub fn resample<T: Float>(height: &Axis, width: &Axis, planes: usize, x: &[T]) -> Result<Vec<T>> {
    let input = area(height.inputs(), width.inputs())?;
    let output = area(height.outputs(), width.outputs())?;
    check_length("x", x.len(), area(planes, input)?)?;
    let mut y = vec![T::default(); area(planes, output)?];
    if y.is_empty() {
        return Ok(y);
    }
    let (height, width) = (Taps::<T>::new(height), Taps::<T>::new(width));
    let together = (TASK / output.max(input).max(1)).max(1);
    let tasks: Vec<_> = y.chunks_mut(together * output).enumerate().collect();
    let cost = (x.len() + planes * output).saturating_mul(4);
    parallel::for_each(cost, tasks, |(index, y)| {
        let mut between = Vec::new();
        for (plane, y) in y.chunks_exact_mut(output).enumerate() {
            let x = &x[(index * together + plane) * input..][..input];
            plane_of(&height, &width, x, &mut between, y);
        }
    });
    Ok(y)
}

/// Values that one task writes or reads, about.
const TASK: usize = 1 << 15;

/// An axis with its weights in the type of the data.
struct Taps<'a, T> {
    axis: &'a Axis,
    taps: Vec<(usize, T)>,
    pattern: Pattern,
}

/// What is simpler than a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern {
    /// Each input is so many outputs, one after the other.
    Repeats(usize),
    /// Each output is so many inputs, one after the other, all of the same weight.
    Blocks(usize),
    Table,
}

impl Pattern {
    fn of(axis: &Axis) -> Self {
        let (inputs, outputs) = (axis.inputs(), axis.outputs());
        let repeats = outputs / inputs.max(1);
        let repeated = |output: usize| axis.taps(output) == [(output / repeats.max(1), 1.0)];
        if outputs == repeats * inputs && (0..outputs).all(repeated) {
            return Self::Repeats(repeats);
        }
        let block = inputs / outputs.max(1);
        let weight = axis.taps.first().map_or(0.0, |tap| tap.1);
        let in_order = |(place, tap): (usize, &(usize, f64))| *tap == (place, weight);
        let even = (0..outputs).all(|output| axis.taps(output).len() == block);
        if inputs == block * outputs && even && axis.taps.iter().enumerate().all(in_order) {
            return Self::Blocks(block);
        }
        Self::Table
    }
}

impl<'a, T: Float> Taps<'a, T> {
    fn new(axis: &'a Axis) -> Self {
        let taps = axis.taps.iter();
        Self {
            axis,
            taps: taps
                .map(|&(input, weight)| (input, T::from_f64(weight)))
                .collect(),
            pattern: Pattern::of(axis),
        }
    }

    fn of(&self, output: usize) -> &[(usize, T)] {
        &self.taps[self.axis.starts[output]..self.axis.starts[output + 1]]
    }

    /// x Bᵀ for every row.
    fn along_rows(&self, x: &[T], y: &mut [T]) {
        match self.pattern {
            // Rows follow each other, so they are one long row.
            Pattern::Repeats(2) => repeat::<T, 2>(x, y),
            Pattern::Repeats(times) => {
                for (y, &x) in y.chunks_exact_mut(times).zip(x) {
                    y.fill(x);
                }
            }
            Pattern::Blocks(2) => sum_blocks::<T, 2>(self.taps[0].1, x, y),
            Pattern::Blocks(length) => {
                let weight = self.taps[0].1;
                for (y, x) in y.iter_mut().zip(x.chunks_exact(length)) {
                    *y = x.iter().fold(T::default(), |sum, &x| sum + weight * x);
                }
            }
            Pattern::Table => {
                let rows = x.chunks_exact(self.axis.inputs());
                for (x, y) in rows.zip(y.chunks_exact_mut(self.axis.outputs())) {
                    for (y, output) in y.iter_mut().zip(0..) {
                        let taps = self.of(output).iter();
                        *y = taps.fold(T::default(), |sum, &(input, weight)| sum + weight * x[input]);
                    }
                }
            }
        }
    }

    /// A x, for rows of `columns` values.
    fn along_columns(&self, columns: usize, x: &[T], y: &mut [T]) {
        for (y, output) in y.chunks_exact_mut(columns).zip(0..) {
            let row = |input: usize| &x[input * columns..][..columns];
            if let Pattern::Repeats(times) = self.pattern {
                y.copy_from_slice(row(output / times));
                continue;
            }
            let Some((&(first, weight), rest)) = self.of(output).split_first() else {
                y.fill(T::default());
                continue;
            };
            for (y, &x) in y.iter_mut().zip(row(first)) {
                *y = weight * x;
            }
            for &(input, weight) in rest {
                for (y, &x) in y.iter_mut().zip(row(input)) {
                    *y = *y + weight * x;
                }
            }
        }
    }
}

fn repeat<T: Float, const N: usize>(x: &[T], y: &mut [T]) {
    for (y, &x) in y.as_chunks_mut::<N>().0.iter_mut().zip(x) {
        *y = [x; N];
    }
}

fn sum_blocks<T: Float, const N: usize>(weight: T, x: &[T], y: &mut [T]) {
    for (y, x) in y.iter_mut().zip(x.as_chunks::<N>().0) {
        *y = x.iter().fold(T::default(), |sum, &x| sum + weight * x);
    }
}

/// One image: first along the axis that leaves fewer values for the second.
fn plane_of<T: Float>(height: &Taps<T>, width: &Taps<T>, x: &[T], between: &mut Vec<T>, y: &mut [T]) {
    let rows_first = height.axis.inputs() * width.axis.outputs();
    let columns_first = height.axis.outputs() * width.axis.inputs();
    between.resize(rows_first.min(columns_first), T::default());
    if rows_first <= columns_first {
        width.along_rows(x, between);
        height.along_columns(width.axis.outputs(), between, y);
    } else {
        height.along_columns(width.axis.inputs(), x, between);
        width.along_rows(between, y);
    }
}

#[cfg(test)]
#[path = "resample_tests.rs"]
mod tests;
