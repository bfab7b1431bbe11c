//! A residual step with a gate for every entry of the batch: y = x + gate h.
//!
//! ```text
//! y[b, t, j] = x[b, t, j] + gate[b, j] h[b, t, j]
//! backward   dx = dy,   dh = gate dy,   dgate[b, j] = Σ_t dy h
//! ```
//!
//! Source: Peebles & Xie 2023, arXiv:2212.09748 (adaLN-Zero).

use std::mem::MaybeUninit;

use crate::buffer::written;
use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Error, Result, area, check_length};
use crate::float::Float;
use crate::layer_norm::Chunks;
use crate::parallel;

/// The sizes of a gated residual step: x and h are (batch, tokens, width), the gate is (batch, width).
///
/// Source: Peebles & Xie 2023, arXiv:2212.09748 (adaLN-Zero).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatedResidual {
    /// Entries of the batch.
    pub batch: usize,
    /// Rows of an entry.
    pub tokens: usize,
    /// Values of a row.
    pub width: usize,
    /// From one row of the gate to the next: `width`, or more where the gate is part of a wider matrix.
    pub stride: usize,
}

impl GatedResidual {
    /// y.
    ///
    /// # Errors
    ///
    /// When a slice does not have the length of its shape; the gate's last row may end its slice.
    pub fn forward<T: Float>(&self, x: &[T], gate: &[T], h: &[T]) -> Result<Vec<T>> {
        self.forward_on(Path::best(), x, gate, h)
    }

    fn forward_on<T: Float>(&self, path: Path, x: &[T], gate: &[T], h: &[T]) -> Result<Vec<T>> {
        self.check(gate, h)?;
        check_length("x", x.len(), h.len())?;
        let chunks = Chunks::new(self.batch, self.tokens, self.width);
        // SAFETY: `Forward` writes all values of its rows, and the tasks cover all rows.
        unsafe {
            written(x.len(), |y| {
                let tasks = chunks.of(x).zip(chunks.of(h)).zip(chunks.of_mut(y));
                let tasks = tasks.zip(chunks.first_rows());
                let tasks = tasks.map(|(((x, h), y), first)| Forward {
                    x,
                    h,
                    y,
                    gate: self.gate(gate, first),
                });
                parallel::for_each(2 * x.len(), tasks.collect(), |task| dispatch::run(path, task));
                Ok(())
            })
        }
    }

    /// dh and dgate, (batch, width); dx is `dy` itself.
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward).
    pub fn backward<T: Float>(&self, gate: &[T], h: &[T], dy: &[T]) -> Result<(Vec<T>, Vec<T>)> {
        self.backward_on(Path::best(), gate, h, dy)
    }

    fn backward_on<T: Float>(&self, path: Path, gate: &[T], h: &[T], dy: &[T]) -> Result<(Vec<T>, Vec<T>)> {
        self.check(gate, h)?;
        check_length("dy", dy.len(), h.len())?;
        let chunks = Chunks::new(self.batch, self.tokens, self.width);
        let mut partials = chunks.partials::<T>(1)?;
        // SAFETY: `Backward` writes all values of its rows, and the tasks cover all rows.
        let dh = unsafe {
            written(h.len(), |dh| {
                let tasks = chunks.of(h).zip(chunks.of(dy)).zip(chunks.of_mut(dh));
                let tasks = tasks.zip(partials.chunks_mut(self.width.max(1)));
                let tasks = tasks.zip(chunks.first_rows());
                let tasks = tasks.map(|((((h, dy), dh), sums), first)| Backward {
                    h,
                    dy,
                    dh,
                    sums,
                    gate: self.gate(gate, first),
                });
                parallel::for_each(2 * h.len(), tasks.collect(), |task| dispatch::run(path, task));
                Ok::<_, Error>(())
            })?
        };
        let sums = chunks.summed::<T, 1>(&partials);
        Ok((dh, sums.into_iter().map(|[sum]| T::from_f64(sum)).collect()))
    }

    fn gate<'a, T>(&self, gate: &'a [T], row: usize) -> &'a [T] {
        &gate[row / self.tokens * self.stride..][..self.width]
    }

    fn check<T: Float>(&self, gate: &[T], h: &[T]) -> Result<()> {
        let rows = area(self.batch, self.tokens)?;
        check_length("h", h.len(), area(rows, self.width)?)?;
        let Some(last) = self.batch.checked_sub(1) else {
            return Ok(());
        };
        let end = area(last, self.stride)?.checked_add(self.width);
        let wanted = end.ok_or(Error::TooLarge {
            rows: self.batch,
            columns: self.stride,
        })?;
        if gate.len() < wanted {
            let (name, got) = ("gate", gate.len());
            return Err(Error::Length { name, got, wanted });
        }
        Ok(())
    }
}

/// y of some rows of one entry.
struct Forward<'a, T> {
    x: &'a [T],
    h: &'a [T],
    y: &'a mut [MaybeUninit<T>],
    gate: &'a [T],
}

impl<T: Float> Kernel for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let width = self.gate.len();
        let rows = self.x.chunks_exact(width).zip(self.h.chunks_exact(width));
        for ((x, h), y) in rows.zip(self.y.chunks_exact_mut(width)) {
            for (((y, &x), &h), &gate) in y.iter_mut().zip(x).zip(h).zip(self.gate) {
                y.write(I::mul_add(gate, h, x));
            }
        }
    }
}

/// dh of some rows of one entry and their part of dgate, which starts as zeros.
struct Backward<'a, T> {
    h: &'a [T],
    dy: &'a [T],
    dh: &'a mut [MaybeUninit<T>],
    sums: &'a mut [T],
    gate: &'a [T],
}

impl<T: Float> Kernel for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let width = self.gate.len();
        let rows = self.h.chunks_exact(width).zip(self.dy.chunks_exact(width));
        for ((h, dy), dh) in rows.zip(self.dh.chunks_exact_mut(width)) {
            let factors = self.gate.iter().zip(self.sums.iter_mut());
            for (((dh, &h), &dy), (&gate, sum)) in dh.iter_mut().zip(h).zip(dy).zip(factors) {
                dh.write(gate * dy);
                *sum = I::mul_add(dy, h, *sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::on_threads;

    const SIZES: GatedResidual = GatedResidual {
        batch: 3,
        tokens: 130,
        width: 37,
        stride: 40,
    };

    fn wave(n: usize, speed: f64) -> Vec<f64> {
        (0..n).map(|i| (i as f64 * speed).sin()).collect()
    }

    #[test]
    fn outputs_and_gradients_are_those_of_the_definition_on_every_path() {
        let n = 3 * 130 * 37;
        let (x, h, dy, gate) = (wave(n, 0.7), wave(n, 0.9), wave(n, 1.1), wave(117, 1.3));
        for path in Path::available() {
            let y = SIZES.forward_on(path, &x, &gate, &h).unwrap();
            let (dh, dgate) = SIZES.backward_on(path, &gate, &h, &dy).unwrap();
            let mut wanted = vec![0.0; 3 * 37];
            for i in 0..n {
                let (entry, column) = (i / (130 * 37), i % 37);
                let gate = gate[entry * 40 + column];
                assert!((y[i] - (x[i] + gate * h[i])).abs() < 1e-15);
                assert!((dh[i] - gate * dy[i]).abs() < 1e-15);
                wanted[entry * 37 + column] += dy[i] * h[i];
            }
            assert!(dgate.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-12));
        }
    }

    #[test]
    fn an_entry_has_the_same_bytes_in_every_batch_and_on_any_number_of_threads() {
        let sizes = GatedResidual {
            batch: 64,
            tokens: 200,
            width: 96,
            stride: 96,
        };
        let narrow = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect::<Vec<_>>();
        let n = 64 * 200 * 96;
        let (x, h, gate) = (
            narrow(wave(n, 0.7)),
            narrow(wave(n, 0.9)),
            narrow(wave(64 * 96, 1.3)),
        );
        let run = |threads| {
            on_threads(threads, || {
                (
                    sizes.forward(&x, &gate, &h).unwrap(),
                    sizes.backward(&gate, &h, &x).unwrap(),
                )
            })
        };
        let one = run(1);
        assert!(one == run(2));
        for batch in [1, 2, 7] {
            let part = GatedResidual { batch, ..sizes };
            let n = batch * 200 * 96;
            let y = part.forward(&x[..n], &gate[..batch * 96], &h[..n]).unwrap();
            assert_eq!(y, one.0[..n]);
            let (dh, dgate) = part.backward(&gate[..batch * 96], &h[..n], &x[..n]).unwrap();
            assert!(dh == one.1.0[..n] && dgate == one.1.1[..batch * 96]);
        }
    }

    #[test]
    fn empty_batches_give_nothing_and_misfits_are_named() {
        let empty = GatedResidual { batch: 0, ..SIZES };
        assert!(empty.forward::<f32>(&[], &[], &[]).unwrap().is_empty());
        let empty = GatedResidual { tokens: 0, ..SIZES };
        let (_, dgate) = empty.backward::<f32>(&[0.0; 117], &[], &[]).unwrap();
        assert_eq!(dgate, [0.0; 111]);
        let x = wave(3 * 130 * 37, 1.0);
        let message = SIZES.forward(&x, &x[..116], &x).unwrap_err().to_string();
        assert!(
            message.contains("gate") && message.contains("116") && message.contains("117"),
            "{message}"
        );
        assert!(SIZES.forward(&x[1..], &x, &x).is_err());
        assert!(SIZES.backward(&x, &x, &x[1..]).is_err());
    }
}
