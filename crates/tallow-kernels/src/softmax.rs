//! The softmax of rows, forward and backward.
//!
//! ```text
//! y_j = e^(x_j − max x)/Σ_k e^(x_k − max x)        backward   dx = y (dy − Σ_k y_k dy_k)
//! ```
//!
//! The Jacobian is symmetric, so the derivative of y along a direction is the backward pass of that direction. A value of
//! −∞ gets 0; a row of −∞ alone has no softmax and gives NaN.
//!
//! Laws: a row has the same bytes in every batch and on any number of threads.

use std::mem::MaybeUninit;

use crate::buffer::{assume_written, written};
use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Result, area, check_length};
use crate::float::Float;
use crate::lanes::{largest, sum, sums};
use crate::parallel;

/// The sizes of a softmax over the last dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Softmax {
    /// Rows.
    pub rows: usize,
    /// Values of a row.
    pub width: usize,
}

/// Values that a thread takes at once.
const PIECE: usize = 1 << 13;

impl Softmax {
    /// y, of the shape of x.
    ///
    /// # Errors
    ///
    /// When `x` does not have the length of its shape.
    pub fn forward<T: Float>(&self, x: &[T]) -> Result<Vec<T>> {
        self.forward_on(Path::best(), x)
    }

    fn forward_on<T: Float>(&self, path: Path, x: &[T]) -> Result<Vec<T>> {
        check_length("x", x.len(), area(self.rows, self.width)?)?;
        let size = self.piece();
        // SAFETY: `Forward` writes all values of its rows, and the tasks cover all rows.
        unsafe {
            written(x.len(), |y| {
                let tasks = x.chunks(size).zip(y.chunks_mut(size));
                let width = self.width;
                let tasks = tasks.map(|(x, y)| Forward { width, x, y }).collect();
                parallel::for_each(8 * x.len(), tasks, |task| dispatch::run(path, task));
                Ok(())
            })
        }
    }

    /// dx from y and dy; also ẏ from y and ẋ.
    ///
    /// # Errors
    ///
    /// When a slice does not have the length of its shape.
    pub fn backward<T: Float>(&self, y: &[T], dy: &[T]) -> Result<Vec<T>> {
        self.backward_on(Path::best(), y, dy)
    }

    fn backward_on<T: Float>(&self, path: Path, y: &[T], dy: &[T]) -> Result<Vec<T>> {
        check_length("y", y.len(), area(self.rows, self.width)?)?;
        check_length("dy", dy.len(), y.len())?;
        let size = self.piece();
        // SAFETY: `Backward` writes all values of its rows, and the tasks cover all rows.
        unsafe {
            written(y.len(), |dx| {
                let tasks = y.chunks(size).zip(dy.chunks(size)).zip(dx.chunks_mut(size));
                let width = self.width;
                let tasks = tasks.map(|((y, dy), dx)| Backward { width, y, dy, dx }).collect();
                parallel::for_each(4 * y.len(), tasks, |task| dispatch::run(path, task));
                Ok(())
            })
        }
    }

    /// Values of a task, whole rows.
    fn piece(&self) -> usize {
        let width = self.width.max(1);
        (PIECE / width).max(1) * width
    }
}

struct Forward<'a, T> {
    width: usize,
    x: &'a [T],
    y: &'a mut [MaybeUninit<T>],
}

impl<T: Float> Kernel for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for (x, y) in self
            .x
            .chunks_exact(self.width)
            .zip(self.y.chunks_exact_mut(self.width))
        {
            let top = largest(x);
            for (y, &x) in y.iter_mut().zip(x) {
                y.write((x - top).exp_of_negative::<I>());
            }
            // SAFETY: written by the loop above, since both have the length of a row.
            let y = unsafe { assume_written(y) };
            let share = T::from_f64(1.0 / sum(y, |y| y));
            y.iter_mut().for_each(|y| *y = *y * share);
        }
    }
}

struct Backward<'a, T> {
    width: usize,
    y: &'a [T],
    dy: &'a [T],
    dx: &'a mut [MaybeUninit<T>],
}

impl<T: Float> Kernel for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let rows = self
            .y
            .chunks_exact(self.width)
            .zip(self.dy.chunks_exact(self.width));
        for ((y, dy), dx) in rows.zip(self.dx.chunks_exact_mut(self.width)) {
            let [mean] = sums(y, dy, |y, dy| [y * dy]);
            let mean = T::from_f64(mean);
            for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
                dx.write(y * (dy - mean));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::on_threads;

    fn wave(n: usize, speed: f64) -> Vec<f64> {
        (0..n).map(|i| 5.0 * (i as f64 * speed).sin()).collect()
    }

    fn exact(x: &[f64]) -> Vec<f64> {
        let top = x.iter().fold(f64::NEG_INFINITY, |top: f64, &x| top.max(x));
        let total: f64 = x.iter().map(|x| (x - top).exp()).sum();
        x.iter().map(|x| (x - top).exp() / total).collect()
    }

    #[test]
    fn rows_are_those_of_the_definition_on_every_path() {
        for path in Path::available() {
            for width in [1, 2, 7, 31, 49, 100, 333] {
                let softmax = Softmax { rows: 3, width };
                // Far from 0, where e^x alone would overflow.
                let x: Vec<f64> = wave(3 * width, 0.7).iter().map(|x| x + 1000.0).collect();
                let y = softmax.forward_on(path, &x).unwrap();
                let narrow: Vec<f32> = x.iter().map(|&x| x as f32).collect();
                let single = softmax.forward_on(path, &narrow).unwrap();
                for row in 0..3 {
                    let range = row * width..(row + 1) * width;
                    for (y, wanted) in y[range.clone()].iter().zip(exact(&x[range.clone()])) {
                        assert!((y / wanted - 1.0).abs() < 1e-13, "{width} {}", path.name());
                    }
                    let wide: Vec<f64> = narrow[range.clone()].iter().map(|&x| f64::from(x)).collect();
                    for (y, wanted) in single[range].iter().zip(exact(&wide)) {
                        assert!(
                            (f64::from(*y) / wanted - 1.0).abs() < 1e-6,
                            "{width} {}",
                            path.name()
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn gradients_are_the_central_differences_of_the_definition_on_every_path() {
        let softmax = Softmax { rows: 1, width: 37 };
        let (mut x, dy) = (wave(37, 0.7), wave(37, 1.1));
        for path in Path::available() {
            let dx = softmax.backward_on(path, &exact(&x), &dy).unwrap();
            for i in 0..37 {
                let start = x[i];
                let mut at = |h: f64| -> f64 {
                    x[i] = start + h;
                    exact(&x).iter().zip(&dy).map(|(y, dy)| y * dy).sum()
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                x[i] = start;
                assert!((difference - dx[i]).abs() < 1e-8, "{}: {difference}", dx[i]);
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bytes_in_every_batch_and_on_any_number_of_threads() {
        let softmax = Softmax {
            rows: 6400,
            width: 49,
        };
        let x: Vec<f32> = wave(6400 * 49, 0.7).iter().map(|&x| x as f32).collect();
        let run = |threads| {
            on_threads(threads, || {
                let y = softmax.forward(&x).unwrap();
                let dx = softmax.backward(&y, &x).unwrap();
                (y, dx)
            })
        };
        let one = run(1);
        assert!(one == run(2));
        for rows in [1, 2, 7, 64] {
            let y = Softmax { rows, width: 49 }.forward(&x[..rows * 49]).unwrap();
            assert_eq!(y, one.0[..rows * 49]);
        }
    }

    #[test]
    fn masked_values_get_nothing_and_nan_spreads_over_its_row_only() {
        let infinite = f32::NEG_INFINITY;
        let x = [
            0.0,
            infinite,
            0.0,
            f32::NAN,
            1.0,
            2.0,
            infinite,
            infinite,
            infinite,
        ];
        let y = Softmax { rows: 3, width: 3 }.forward(&x).unwrap();
        assert_eq!(y[..3], [0.5, 0.0, 0.5]);
        assert!(y[3..].iter().all(|y| y.is_nan()));
    }

    #[test]
    fn empty_rows_give_nothing_and_misfits_are_named() {
        assert!(
            Softmax { rows: 0, width: 3 }
                .forward::<f32>(&[])
                .unwrap()
                .is_empty()
        );
        assert!(
            Softmax { rows: 3, width: 0 }
                .forward::<f64>(&[])
                .unwrap()
                .is_empty()
        );
        let message = Softmax { rows: 2, width: 3 }
            .forward(&[0.0f32; 5])
            .unwrap_err()
            .to_string();
        assert!(message.contains('5') && message.contains('6'), "{message}");
        assert!(
            Softmax { rows: 1, width: 3 }
                .backward(&[0.0f32; 3], &[0.0; 2])
                .is_err()
        );
    }
}
