//! Normalisation of rows, with affine map and modulation: LayerNorm and RMSNorm, forward, backward and along a direction.
//!
//! ```text
//! x̂ = (x − mean) rstd  (LayerNorm),   x̂ = x rstd, rstd = 1/√(⟨x²⟩ + ε)  (RMSNorm)        over the values of a row
//! y = x̂ G + H                                                     G, H for every entry and column, see `affine`
//! backward   dx = rstd (G dy − ⟨G dy⟩ − x̂ ⟨G dy x̂⟩)                 without the first mean for RMSNorm
//! tangent    ẏ = G rstd (ẋ − ⟨ẋ⟩ − x̂ ⟨ẋ x̂⟩) + Ġ x̂ + Ḣ               likewise
//! ```
//!
//! x is (batch, tokens, width), row-major; a modulation has one row for every entry of the batch.
//!
//! Laws: a row of y has the same bytes in every batch; every result has the same bytes on any number of threads (the sums
//! over tokens are those of chunks that depend on the shape alone, added in order).
//!
//! Sources: Ba et al. 2016, arXiv:1607.06450; Zhang & Sennrich 2019, arXiv:1910.07467.

use crate::affine::{Affine, Modulation, NormGradients};
use crate::buffer::written;
use crate::dispatch::{self, Path};
use crate::error::{Error, Result, area, check_length};
use crate::float::Float;
use crate::parallel;
use crate::statistics::{Statistics, check_epsilon};

mod passes;

/// The sizes of a normalisation of rows.
///
/// Sources: Ba et al. 2016, arXiv:1607.06450; Zhang & Sennrich 2019, arXiv:1910.07467.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowNorm {
    /// Entries of the batch.
    pub batch: usize,
    /// Rows of an entry.
    pub tokens: usize,
    /// Values of a row.
    pub width: usize,
    /// What is taken off before the size is normalised.
    pub centre: Centre,
    /// What is added to the variance or mean square.
    pub epsilon: f64,
}

/// What a normalisation takes off before it divides by the size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Centre {
    /// The mean: LayerNorm.
    #[default]
    Mean,
    /// Nothing: RMSNorm.
    Zero,
}

/// Values that a thread takes at once in the forward pass.
const PIECE: usize = 1 << 13;

impl RowNorm {
    /// y, and the statistics that the backward pass needs.
    ///
    /// # Errors
    ///
    /// When a slice does not have the length of its shape, or `epsilon` is not a positive number.
    pub fn forward<T: Float>(&self, x: &[T], affine: Affine<'_, T>) -> Result<(Vec<T>, Statistics)> {
        self.forward_on(Path::best(), x, affine)
    }

    fn forward_on<T: Float>(
        &self,
        path: Path,
        x: &[T],
        affine: Affine<'_, T>,
    ) -> Result<(Vec<T>, Statistics)> {
        let step = self.check(x, affine)?;
        let folded = affine.folded(self.batch, self.width);
        let mut statistics = Statistics::zeros(self.rows());
        // SAFETY: `passes::Forward` writes all values of its rows, and the tasks cover all rows.
        let y = unsafe {
            written(x.len(), |y| {
                let values = x.chunks(step * self.width.max(1));
                let values = values.zip(y.chunks_mut(step * self.width.max(1)));
                let means = statistics.mean.chunks_mut(step);
                let means = means.zip(statistics.rstd.chunks_mut(step));
                let tasks = values.zip(means).enumerate();
                let tasks = tasks.map(|(task, ((x, y), (mean, rstd)))| passes::Forward {
                    norm: self,
                    folded: &folded,
                    first: task * step,
                    x,
                    y,
                    mean,
                    rstd,
                });
                parallel::for_each(8 * x.len(), tasks.collect(), |task| dispatch::run(path, task));
                Ok::<_, Error>(())
            })?
        };
        Ok((y, statistics))
    }

    /// The gradients of a loss from its gradient `dy` with respect to y.
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward), or when `dy` or the statistics do not have the shape of x.
    pub fn backward<T: Float>(
        &self,
        x: &[T],
        statistics: &Statistics,
        affine: Affine<'_, T>,
        dy: &[T],
    ) -> Result<NormGradients<T>> {
        self.backward_on(Path::best(), x, statistics, affine, dy)
    }

    fn backward_on<T: Float>(
        &self,
        path: Path,
        x: &[T],
        statistics: &Statistics,
        affine: Affine<'_, T>,
        dy: &[T],
    ) -> Result<NormGradients<T>> {
        self.check(x, affine)?;
        statistics.check(self.rows())?;
        check_length("dy", dy.len(), x.len())?;
        let folded = affine.folded(self.batch, self.width);
        let chunks = Chunks::new(self.batch, self.tokens, self.width);
        let mut partials = chunks.partials::<T>(2)?;
        // SAFETY: `passes::Backward` writes all values of its rows, and the tasks cover all rows.
        let dx = unsafe {
            written(x.len(), |dx| {
                let tasks = chunks.of(x).zip(chunks.of(dy)).zip(chunks.of_mut(dx));
                let tasks = tasks.zip(partials.chunks_mut((2 * self.width).max(1)));
                let tasks = tasks.zip(chunks.first_rows());
                let tasks = tasks.map(|((((x, dy), dx), sums), first)| passes::Backward {
                    norm: self,
                    statistics,
                    folded: &folded,
                    first,
                    x,
                    dy,
                    dx,
                    sums,
                });
                parallel::for_each(8 * x.len(), tasks.collect(), |task| dispatch::run(path, task));
                Ok::<_, Error>(())
            })?
        };
        let sums = chunks.summed::<T, 2>(&partials);
        Ok(affine.gradients(self.batch, self.width, &sums, dx))
    }

    /// ẏ, the derivative of y when x moves along `x_tangent` and the modulation along `modulation_tangent`; what is
    /// absent stands still.
    ///
    /// # Errors
    ///
    /// Those of [`backward`](Self::backward), or when a tangent does not have the length of its value.
    pub fn tangent<T: Float>(
        &self,
        x: &[T],
        statistics: &Statistics,
        affine: Affine<'_, T>,
        x_tangent: Option<&[T]>,
        modulation_tangent: Option<Modulation<'_, T>>,
    ) -> Result<Vec<T>> {
        let step = self.check(x, affine)?;
        statistics.check(self.rows())?;
        if let Some(tangent) = x_tangent {
            check_length("x_tangent", tangent.len(), x.len())?;
        }
        if let Some(tangent) = modulation_tangent {
            tangent.check(self.batch, self.width)?;
        }
        let folded = affine.folded(self.batch, self.width);
        let moving = affine.folded_tangent(modulation_tangent, self.batch, self.width);
        let size = step * self.width.max(1);
        // SAFETY: `passes::Tangent` writes all values of its rows, and the tasks cover all rows.
        unsafe {
            written(x.len(), |out| {
                let tasks = x.chunks(size).zip(out.chunks_mut(size)).enumerate();
                let tasks = tasks.map(|(task, (x, out))| passes::Tangent {
                    norm: self,
                    statistics,
                    folded: &folded,
                    moving: &moving,
                    first: task * step,
                    x,
                    x_tangent: x_tangent.map(|tangent| &tangent[task * size..][..x.len()]),
                    out,
                });
                let path = Path::best();
                parallel::for_each(8 * x.len(), tasks.collect(), |task| dispatch::run(path, task));
                Ok(())
            })
        }
    }

    fn rows(&self) -> usize {
        self.batch * self.tokens
    }

    /// The rows of a task of the forward pass.
    fn check<T: Float>(&self, x: &[T], affine: Affine<'_, T>) -> Result<usize> {
        check_epsilon(self.epsilon)?;
        let rows = area(self.batch, self.tokens)?;
        check_length("x", x.len(), area(rows, self.width)?)?;
        area(self.batch, self.width)?;
        affine.check(self.batch, self.width)?;
        Ok((PIECE / self.width.max(1)).max(1))
    }
}

/// Tokens whose partial sums are one task: (batch, tokens, width) cut so that no chunk spans two entries.
pub(crate) struct Chunks {
    batch: usize,
    tokens: usize,
    width: usize,
    /// Tokens of a chunk; the last of an entry may have fewer.
    size: usize,
}

impl Chunks {
    /// At most sixteen chunks of an entry unless it is long, of 64 to 512 tokens.
    pub(crate) fn new(batch: usize, tokens: usize, width: usize) -> Self {
        let size = tokens.div_ceil(16).clamp(64, 512);
        Self {
            batch,
            tokens,
            width,
            size,
        }
    }

    /// Zeros for `terms` sums a column of every chunk.
    pub(crate) fn partials<T: Float>(&self, terms: usize) -> Result<Vec<T>> {
        let chunks = area(self.batch, self.tokens.div_ceil(self.size))?;
        Ok(vec![T::default(); area(chunks, area(terms, self.width)?)?])
    }

    pub(crate) fn of<'a, T>(&self, values: &'a [T]) -> impl Iterator<Item = &'a [T]> + use<'a, T> {
        let size = (self.size * self.width).max(1);
        let entries = values.chunks((self.tokens * self.width).max(1));
        entries.flat_map(move |entry| entry.chunks(size))
    }

    pub(crate) fn of_mut<'a, T>(
        &self,
        values: &'a mut [T],
    ) -> impl Iterator<Item = &'a mut [T]> + use<'a, T> {
        let size = (self.size * self.width).max(1);
        let entries = values.chunks_mut((self.tokens * self.width).max(1));
        entries.flat_map(move |entry| entry.chunks_mut(size))
    }

    /// The first row of every chunk.
    pub(crate) fn first_rows(&self) -> impl Iterator<Item = usize> + use<> {
        let (tokens, size) = (self.tokens, self.size);
        (0..self.batch).flat_map(move |b| (0..tokens).step_by(size).map(move |t| b * tokens + t))
    }

    /// The sums of every entry and column: those of its chunks, in order.
    pub(crate) fn summed<T: Float, const N: usize>(&self, partials: &[T]) -> Vec<[f64; N]> {
        let mut sums = vec![[0.0; N]; self.batch * self.width];
        let chunks = self.tokens.div_ceil(self.size);
        let size = (N * self.width).max(1);
        for (index, partial) in partials.chunks_exact(size).enumerate() {
            let sums = &mut sums[index / chunks.max(1) * self.width..][..self.width];
            for (n, partial) in partial.chunks_exact(self.width).enumerate() {
                for (sum, &value) in sums.iter_mut().zip(partial) {
                    sum[n] += value.to_f64();
                }
            }
        }
        sums
    }
}

#[cfg(test)]
#[path = "layer_norm_tests.rs"]
mod tests;
