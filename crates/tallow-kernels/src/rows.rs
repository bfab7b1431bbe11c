//! Rows of values, as the channels of images are: shifted, summed, joined and split, one pass each.
//!
//! Every result has the same bytes on any number of threads: an element is written by one task, and a row's sum is taken
//! in lanes whose order depends on its length alone.

use crate::buffer::written;
use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Error, Result, check_length};
use crate::float::Float;
use crate::parallel;

/// Values that a thread takes at once, in whole rows.
const PIECE: usize = 1 << 14;

/// `x` in as many rows as there are `shifts`, each with its shift added.
///
/// # Errors
///
/// When the length of `x` is not a multiple of that of `shifts`.
pub fn shift_rows<T: Float>(x: &[T], shifts: &[T]) -> Result<Vec<T>> {
    let width = width("x", x.len(), shifts.len())?;
    let rows = rows_at_once(width);
    // SAFETY: the pieces cover y, and each writes as many values as it reads of x.
    unsafe {
        written(x.len(), |y| {
            let pieces = y
                .chunks_mut((rows * width).max(1))
                .zip(x.chunks((rows * width).max(1)));
            let tasks: Vec<_> = pieces.zip(shifts.chunks(rows)).collect();
            parallel::for_each(x.len(), tasks, |((y, x), shifts)| {
                let pairs = y.chunks_exact_mut(width.max(1)).zip(x.chunks_exact(width.max(1)));
                for ((y, x), &shift) in pairs.zip(shifts) {
                    for (y, &x) in y.iter_mut().zip(x) {
                        y.write(x + shift);
                    }
                }
            });
            Ok::<(), Error>(())
        })
    }
}

/// `x` in rows of the length of `shift`, which is added to each.
///
/// # Errors
///
/// When the length of `x` is not a multiple of that of `shift`.
pub fn shift_each<T: Float>(x: &[T], shift: &[T]) -> Result<Vec<T>> {
    let at_once = rows_at_once(shift.len()) * shift.len().max(1);
    whole_rows("x", x.len(), shift.len())?;
    // SAFETY: the pieces cover y, and each writes as many values as it reads of x.
    unsafe {
        written(x.len(), |y| {
            let tasks: Vec<_> = y.chunks_mut(at_once).zip(x.chunks(at_once)).collect();
            parallel::for_each(x.len(), tasks, |(y, x)| {
                let rows = y.chunks_exact_mut(shift.len()).zip(x.chunks_exact(shift.len()));
                for (y, x) in rows {
                    for ((y, &x), &shift) in y.iter_mut().zip(x).zip(shift) {
                        y.write(x + shift);
                    }
                }
            });
            Ok::<(), Error>(())
        })
    }
}

/// The sum of the rows of `x`, each of `width` values.
///
/// # Errors
///
/// When the length of `x` is not a multiple of `width`.
pub fn sum_of_rows<T: Float>(x: &[T], width: usize) -> Result<Vec<T>> {
    whole_rows("x", x.len(), width)?;
    let mut sums = vec![T::default(); width];
    let tasks: Vec<_> = sums.chunks_mut(PIECE / 8).enumerate().collect();
    parallel::for_each(x.len(), tasks, |(index, sums)| {
        for row in x.chunks_exact(width) {
            let row = &row[index * (PIECE / 8)..][..sums.len()];
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum = *sum + value;
            }
        }
    });
    Ok(sums)
}

fn whole_rows(name: &'static str, len: usize, width: usize) -> Result<()> {
    let rows = len.checked_div(width).unwrap_or(0);
    check_length(name, len, rows * width)
}

/// The sum of each of `rows` rows of `x`.
///
/// # Errors
///
/// When the length of `x` is not a multiple of `rows`.
pub fn channel_sums<T: Float>(x: &[T], rows: usize) -> Result<Vec<T>> {
    let width = width("x", x.len(), rows)?;
    let mut sums = vec![T::default(); rows];
    if width == 0 {
        return Ok(sums);
    }
    let at_once = rows_at_once(width);
    let tasks: Vec<_> = sums.chunks_mut(at_once).zip(x.chunks(at_once * width)).collect();
    parallel::for_each(x.len(), tasks, |(sums, x)| {
        dispatch::run(Path::best(), RowSums { x, width, sums });
    });
    Ok(sums)
}

struct RowSums<'a, T> {
    x: &'a [T],
    width: usize,
    sums: &'a mut [T],
}

impl<T: Float> Kernel for RowSums<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        const LANES: usize = 32;
        for (sum, row) in self.sums.iter_mut().zip(self.x.chunks_exact(self.width)) {
            let mut lanes = [T::default(); LANES];
            let mut chunks = row.chunks_exact(LANES);
            for chunk in chunks.by_ref() {
                for (lane, &value) in lanes.iter_mut().zip(chunk) {
                    *lane = *lane + value;
                }
            }
            for (lane, &value) in lanes.iter_mut().zip(chunks.remainder()) {
                *lane = *lane + value;
            }
            *sum = lanes.iter().fold(T::default(), |sum, &lane| sum + lane);
        }
    }
}

/// Each of `rows` rows of `a`, followed by the same row of `b`.
///
/// # Errors
///
/// When a length is not a multiple of `rows`.
pub fn join_rows<T: Float>(rows: usize, a: &[T], b: &[T]) -> Result<Vec<T>> {
    let (first, second) = (width("a", a.len(), rows)?, width("b", b.len(), rows)?);
    let both = first + second;
    // SAFETY: each row of y is written by its two parts.
    unsafe {
        written(a.len() + b.len(), |y| {
            let tasks: Vec<_> = y.chunks_mut(both.max(1)).enumerate().collect();
            parallel::for_each(a.len() + b.len(), tasks, |(row, y)| {
                let (left, right) = y.split_at_mut(first);
                for (part, values) in [
                    (left, &a[row * first..][..first]),
                    (right, &b[row * second..][..second]),
                ] {
                    for (y, &value) in part.iter_mut().zip(values) {
                        y.write(value);
                    }
                }
            });
            Ok::<(), Error>(())
        })
    }
}

/// Undoes [`join_rows`]: the first `width` values of each of `rows` rows, and the rest of each.
///
/// # Errors
///
/// When the length of `joined` is not a multiple of `rows`, or a row is shorter than `width`.
pub fn split_rows<T: Float>(rows: usize, width: usize, joined: &[T]) -> Result<(Vec<T>, Vec<T>)> {
    let both = self::width("joined", joined.len(), rows)?;
    let Some(rest) = both.checked_sub(width) else {
        return Err(Error::Length {
            name: "joined",
            got: joined.len(),
            wanted: rows.saturating_mul(width),
        });
    };
    let mut second = Vec::new();
    // SAFETY: each row of both results is written by its part of a row of `joined`.
    let first = unsafe {
        written(rows * width, |a| {
            second = written(rows * rest, |b| {
                let parts = a
                    .chunks_mut(width.max(1))
                    .map(Some)
                    .chain(std::iter::repeat_with(|| None));
                let others = b
                    .chunks_mut(rest.max(1))
                    .map(Some)
                    .chain(std::iter::repeat_with(|| None));
                let tasks: Vec<_> = joined.chunks_exact(both.max(1)).zip(parts.zip(others)).collect();
                parallel::for_each(joined.len(), tasks, |(row, (a, b))| {
                    let (left, right) = row.split_at(width);
                    for (part, values) in [(a, left), (b, right)] {
                        for (y, &value) in part.into_iter().flatten().zip(values) {
                            y.write(value);
                        }
                    }
                });
                Ok::<(), Error>(())
            })?;
            Ok::<(), Error>(())
        })?
    };
    Ok((first, second))
}

fn width(name: &'static str, len: usize, rows: usize) -> Result<usize> {
    let width = len.checked_div(rows).unwrap_or(0);
    check_length(name, len, width * rows)?;
    Ok(width)
}

fn rows_at_once(width: usize) -> usize {
    (PIECE / width.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 37) % 101) as f32 / 8.0 - 5.0).collect()
    }

    #[test]
    fn rows_are_shifted_and_summed_as_a_loop_does() {
        for (rows, width) in [(1, 1), (3, 5), (40, 784), (2000, 49), (3, 0), (0, 0)] {
            let (x, shifts) = (ramp(rows * width), ramp(rows));
            let shifted = shift_rows(&x, &shifts).unwrap();
            let sums = channel_sums(&x, rows).unwrap();
            for row in 0..rows {
                let values = &x[row * width..][..width];
                for (k, value) in values.iter().enumerate() {
                    assert_eq!(shifted[row * width + k], value + shifts[row]);
                }
                let exact: f64 = values.iter().map(|v| f64::from(*v)).sum();
                assert!((f64::from(sums[row]) - exact).abs() < 1e-3);
            }
        }
    }

    #[test]
    fn splitting_undoes_joining() {
        for (rows, a, b) in [
            (1, 1, 1),
            (3, 5, 2),
            (32, 3000, 1000),
            (4, 0, 3),
            (4, 3, 0),
            (0, 0, 0),
        ] {
            let (first, second) = (ramp(rows * a), ramp(rows * b + 7)[7..].to_vec());
            let joined = join_rows(rows, &first, &second).unwrap();
            for row in 0..rows {
                assert_eq!(joined[row * (a + b)..][..a], first[row * a..][..a]);
                assert_eq!(joined[row * (a + b) + a..][..b], second[row * b..][..b]);
            }
            assert_eq!(split_rows(rows, a, &joined).unwrap(), (first, second));
        }
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        assert!(shift_rows(&[0f32; 5], &[0.0; 2]).is_err());
        assert!(channel_sums(&[0f32; 5], 0).is_err());
        assert!(join_rows(2, &[0f32; 3], &[0.0; 2]).is_err());
        assert!(split_rows(2, 3, &[0f32; 4]).is_err());
    }

    #[test]
    fn results_have_the_same_bytes_on_any_number_of_threads() {
        let x = ramp(4096 * 512);
        let run = |threads| parallel::on_threads(threads, || channel_sums(&x, 512).unwrap());
        assert_eq!(run(1), run(3));
    }
}
