//! Sines and cosines of linear functions of a row: sinusoidal embeddings and Fourier features.
//!
//! ```text
//! φ_j = Σ_d x_d Ω_dj,    y = (sin φ, cos φ) in one of three orders
//! ∂x_d = Σ_j Ω_dj (∂sin φ_j · cos φ_j − ∂cos φ_j · sin φ_j)
//! φ̇_j = Σ_d ẋ_d Ω_dj,    ẏ = (cos φ · φ̇, −sin φ · φ̇)
//! ```
//!
//! Angles are computed in f64 whatever the type of x, without fused multiply-add: the same bits on every processor.

use crate::buffer::written;
use crate::circle::circle;
use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Result, area, check_length};
use crate::float::Float;
use crate::parallel;
use std::mem::MaybeUninit;

/// Where sines and cosines are in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum WaveOrder {
    /// All cosines, then all sines: ADM and DiT.
    #[default]
    CosinesFirst,
    /// All sines, then all cosines: DDPM.
    SinesFirst,
    /// Sine and cosine of each frequency side by side: the transformer's positions.
    Interleaved,
}

/// Sines and cosines of linear functions of a row.
#[derive(Clone, Copy, Debug)]
pub struct Waves<'a> {
    /// Ω, (inputs, waves) row-major, in radians per unit of x.
    pub frequencies: &'a [f64],
    /// Values of a row of x.
    pub inputs: usize,
    /// Angles of a row; a row of y has twice as many values.
    pub waves: usize,
    /// Where they are.
    pub order: WaveOrder,
}

/// Rows that one task takes.
const ROWS: usize = 128;

impl Waves<'_> {
    /// y, (rows, 2 waves), of x, (rows, inputs).
    ///
    /// # Errors
    ///
    /// When a slice does not have the length of its shape.
    pub fn forward<T: Float>(&self, x: &[T], rows: usize) -> Result<Vec<T>> {
        self.check(x.len(), rows)?;
        let width = 2 * self.waves;
        let n = area(rows, width)?;
        // SAFETY: the tasks cover all rows, and `forward_rows` writes every value of its rows.
        unsafe {
            written(n, |y| {
                let tasks: Vec<_> = y.chunks_mut((ROWS * width).max(1)).enumerate().collect();
                parallel::for_each(32 * n, tasks, |(index, y)| {
                    let x = &x[index * ROWS * self.inputs..];
                    dispatch::run(Path::best(), Forward { waves: self, x, y });
                });
                Ok(())
            })
        }
    }

    /// dx, (rows, inputs), from y as [`forward`](Self::forward) returned it and the gradient with respect to it.
    ///
    /// # Errors
    ///
    /// When a slice does not have the length of its shape.
    pub fn backward<T: Float>(&self, y: &[T], dy: &[T], rows: usize) -> Result<Vec<T>> {
        let width = 2 * self.waves;
        let mut dx = vec![T::default(); area(rows, self.inputs)?];
        self.check(dx.len(), rows)?;
        check_length("y", y.len(), area(rows, width)?)?;
        check_length("dy", dy.len(), y.len())?;
        let rows = y.chunks_exact(width.max(1)).zip(dy.chunks_exact(width.max(1)));
        for (dx, (y, dy)) in dx.chunks_exact_mut(self.inputs.max(1)).zip(rows) {
            for (dx, frequencies) in dx
                .iter_mut()
                .zip(self.frequencies.chunks_exact(self.waves.max(1)))
            {
                let mut sum = 0.0;
                for (j, frequency) in frequencies.iter().enumerate() {
                    let (sine, cosine) = self.places(j);
                    let slope =
                        dy[sine].to_f64() * y[cosine].to_f64() - dy[cosine].to_f64() * y[sine].to_f64();
                    sum += frequency * slope;
                }
                *dx = T::from_f64(sum);
            }
        }
        Ok(dx)
    }

    /// ẏ, (rows, 2 waves), from y as [`forward`](Self::forward) returned it and the direction ẋ, (rows, inputs).
    ///
    /// # Errors
    ///
    /// When a slice does not have the length of its shape.
    pub fn tangent<T: Float>(&self, y: &[T], x_tangent: &[T], rows: usize) -> Result<Vec<T>> {
        self.check(x_tangent.len(), rows)?;
        let width = (2 * self.waves).max(1);
        check_length("y", y.len(), area(rows, 2 * self.waves)?)?;
        let mut tangent = vec![T::default(); y.len()];
        let tasks: Vec<_> = tangent.chunks_mut(ROWS * width).enumerate().collect();
        let cost = y.len().saturating_mul(self.inputs.max(1));
        parallel::for_each(cost, tasks, |(index, tangent)| {
            let rows = y[index * ROWS * width..].chunks_exact(width);
            let directions = x_tangent[index * ROWS * self.inputs..].chunks_exact(self.inputs.max(1));
            for ((tangent, y), direction) in tangent.chunks_exact_mut(width).zip(rows).zip(directions) {
                for j in 0..self.waves {
                    let frequencies = self.frequencies.iter().skip(j).step_by(self.waves);
                    let angle: f64 = direction
                        .iter()
                        .zip(frequencies)
                        .map(|(x, f)| x.to_f64() * f)
                        .sum();
                    let (sine, cosine) = self.places(j);
                    tangent[sine] = T::from_f64(angle * y[cosine].to_f64());
                    tangent[cosine] = T::from_f64(-angle * y[sine].to_f64());
                }
            }
        });
        Ok(tangent)
    }

    fn check(&self, x: usize, rows: usize) -> Result<()> {
        check_length(
            "frequencies",
            self.frequencies.len(),
            area(self.inputs, self.waves)?,
        )?;
        check_length("x", x, area(rows, self.inputs)?)
    }

    /// Where sine and cosine of wave `j` are in a row.
    #[inline(always)]
    fn places(&self, j: usize) -> (usize, usize) {
        match self.order {
            WaveOrder::SinesFirst => (j, self.waves + j),
            WaveOrder::CosinesFirst => (self.waves + j, j),
            WaveOrder::Interleaved => (2 * j, 2 * j + 1),
        }
    }
}

struct Forward<'a, T> {
    waves: &'a Waves<'a>,
    x: &'a [T],
    y: &'a mut [MaybeUninit<T>],
}

impl<T: Float> Kernel for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        /// Angles that are worked on together.
        const BLOCK: usize = 16;
        let waves = self.waves;
        for (row, y) in self.y.chunks_exact_mut((2 * waves.waves).max(1)).enumerate() {
            let x = &self.x[row * waves.inputs..][..waves.inputs];
            let mut start = 0;
            while start < waves.waves {
                let n = BLOCK.min(waves.waves - start);
                let mut angles = [0.0; BLOCK];
                for (x, frequencies) in x.iter().zip(waves.frequencies.chunks_exact(waves.waves)) {
                    for (angle, frequency) in angles.iter_mut().zip(&frequencies[start..start + n]) {
                        *angle += x.to_f64() * frequency;
                    }
                }
                let (mut sines, mut cosines) = ([0.0; BLOCK], [0.0; BLOCK]);
                for i in 0..BLOCK {
                    (sines[i], cosines[i]) = circle(angles[i]);
                }
                for i in 0..n {
                    let (sine, cosine) = waves.places(start + i);
                    y[sine].write(T::from_f64(sines[i]));
                    y[cosine].write(T::from_f64(cosines[i]));
                }
                start += n;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREQUENCIES: [f64; 6] = [1.0, 2.0, 3.5, -0.5, 0.0, 10.0];

    fn waves(order: WaveOrder) -> Waves<'static> {
        Waves {
            frequencies: &FREQUENCIES,
            inputs: 2,
            waves: 3,
            order,
        }
    }

    #[test]
    fn values_are_the_sines_and_cosines_in_their_order() {
        let x = [0.3, -1.1, 2.0, 0.7];
        for order in [
            WaveOrder::CosinesFirst,
            WaveOrder::SinesFirst,
            WaveOrder::Interleaved,
        ] {
            let y = waves(order).forward::<f64>(&x, 2).unwrap();
            for row in 0..2 {
                for j in 0..3 {
                    let angle: f64 = x[2 * row] * FREQUENCIES[j] + x[2 * row + 1] * FREQUENCIES[3 + j];
                    let (sine, cosine) = match order {
                        WaveOrder::CosinesFirst => (3 + j, j),
                        WaveOrder::SinesFirst => (j, 3 + j),
                        WaveOrder::Interleaved => (2 * j, 2 * j + 1),
                    };
                    assert!((y[6 * row + sine] - angle.sin()).abs() < 1e-15, "{order:?}");
                    assert!((y[6 * row + cosine] - angle.cos()).abs() < 1e-15, "{order:?}");
                }
            }
        }
    }

    #[test]
    fn the_gradient_is_the_central_difference() {
        let dy: Vec<f64> = (0..12).map(|i| f64::from(i).cos()).collect();
        for order in [
            WaveOrder::CosinesFirst,
            WaveOrder::SinesFirst,
            WaveOrder::Interleaved,
        ] {
            let waves = waves(order);
            let mut x = [0.3, -1.1, 2.0, 0.7];
            let dx = waves.backward(&waves.forward(&x, 2).unwrap(), &dy, 2).unwrap();
            let loss = |x: &[f64]| -> f64 {
                waves
                    .forward(x, 2)
                    .unwrap()
                    .iter()
                    .zip(&dy)
                    .map(|(y, dy)| y * dy)
                    .sum()
            };
            for i in 0..4 {
                x[i] += 1e-6;
                let above = loss(&x);
                x[i] -= 2e-6;
                let difference = (above - loss(&x)) / 2e-6;
                x[i] += 1e-6;
                assert!(
                    (difference - dx[i]).abs() < 1e-7,
                    "{order:?}: {} against {difference}",
                    dx[i]
                );
            }
        }
    }

    #[test]
    fn many_rows_are_many_single_rows_and_none_is_empty() {
        let x: Vec<f32> = (0..1000).map(|i| i as f32 * 0.01).collect();
        let y = waves(WaveOrder::SinesFirst).forward(&x, 500).unwrap();
        for row in [0, 127, 128, 499] {
            let single = waves(WaveOrder::SinesFirst)
                .forward(&x[2 * row..2 * row + 2], 1)
                .unwrap();
            assert_eq!(y[6 * row..6 * row + 6], single);
        }
        assert_eq!(waves(WaveOrder::SinesFirst).forward::<f32>(&[], 0).unwrap(), []);
        assert!(waves(WaveOrder::SinesFirst).forward::<f32>(&[1.0], 1).is_err());
    }
}
