//! Group normalisation with affine map, modulation and activation: forward, backward and along a direction.
//!
//! ```text
//! x̂ = (x − mean) rstd   over the channels and positions of a group
//! y = act(z),   z = x̂ G + H                                   G, H for every image and channel, see `affine`
//! backward   dz = dy act′(z),   dx = rstd (G dz − ⟨G dz⟩ − x̂ ⟨G dz x̂⟩)      ⟨·⟩: mean over the group
//! tangent    ẏ = act′(z) (G rstd (ẋ − ⟨ẋ⟩ − x̂ ⟨ẋ x̂⟩) + Ġ x̂ + Ḣ)
//! ```
//!
//! x is (batch, channels, spatial), row-major. A group is worked on from its statistics to its output while it is in the
//! cache. Neither x̂ nor z is kept for the way back.
//!
//! Laws: an image's y has the same bytes in every batch; every result has the same bytes on any number of threads.
//!
//! Source: Wu & He 2018, arXiv:1803.08494.

use crate::activation::Activation;
use crate::affine::{Affine, Modulation, NormGradients};
use crate::buffer::written;
use crate::dispatch::{self, Path};
use crate::error::{Error, Result, area, check_length};
use crate::float::Float;
use crate::parallel;
use crate::statistics::Statistics;

mod passes;

/// The sizes of a group normalisation and the activation after it.
///
/// Source: Wu & He 2018, arXiv:1803.08494.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNorm {
    /// Images.
    pub batch: usize,
    /// Channels of an image.
    pub channels: usize,
    /// Positions of a channel: height times width.
    pub spatial: usize,
    /// Groups that the channels are split into.
    pub groups: usize,
    /// What is added to the variance.
    pub epsilon: f64,
    /// The function applied at the end.
    pub activation: Activation,
}

/// Values that a thread takes at once, unless a group is larger.
const PIECE: usize = 1 << 13;

impl GroupNorm {
    /// y, and the statistics that the backward pass needs.
    ///
    /// # Errors
    ///
    /// When a slice does not have the length of its shape, the groups do not split the channels, or `epsilon` is not a
    /// positive number.
    pub fn forward<T: Float>(&self, x: &[T], affine: Affine<'_, T>) -> Result<(Vec<T>, Statistics)> {
        self.forward_on(Path::best(), x, affine)
    }

    fn forward_on<T: Float>(
        &self,
        path: Path,
        x: &[T],
        affine: Affine<'_, T>,
    ) -> Result<(Vec<T>, Statistics)> {
        let sizes = self.sizes(x, affine)?;
        let folded = affine.folded(self.batch, self.channels);
        let mut statistics = Statistics::zeros(sizes.groups);
        // SAFETY: `passes::Forward` writes all values of its groups, and the tasks cover all groups.
        let y = unsafe {
            written(x.len(), |y| {
                let mut tasks = Vec::with_capacity(sizes.tasks());
                let means = statistics.mean.chunks_mut(sizes.step);
                let rstds = statistics.rstd.chunks_mut(sizes.step);
                let values = sizes.values(x).zip(sizes.values_mut(y));
                for (task, ((x, y), (mean, rstd))) in values.zip(means.zip(rstds)).enumerate() {
                    let (norm, folded, first) = (self, &folded, task * sizes.step);
                    tasks.push(passes::Forward {
                        norm,
                        folded,
                        first,
                        x,
                        y,
                        mean,
                        rstd,
                    });
                }
                parallel::for_each(8 * x.len(), tasks, |task| dispatch::run(path, task));
                Ok::<_, Error>(())
            })?
        };
        Ok((y, statistics))
    }

    /// The statistics alone, for a kernel that normalises while it reads its input.
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward).
    pub fn statistics<T: Float>(&self, x: &[T]) -> Result<Statistics> {
        let sizes = self.sizes(x, Affine::default())?;
        let mut statistics = Statistics::zeros(sizes.groups);
        let means = statistics.mean.chunks_mut(sizes.step);
        let rstds = statistics.rstd.chunks_mut(sizes.step);
        let tasks = sizes.values(x).zip(means.zip(rstds));
        let tasks: Vec<_> = tasks
            .map(|(x, (mean, rstd))| passes::Measure {
                norm: self,
                x,
                mean,
                rstd,
            })
            .collect();
        parallel::for_each(2 * x.len(), tasks, |task| dispatch::run(Path::best(), task));
        Ok(statistics)
    }

    /// a and b, (batch, channels) each, with y = act(a x + b).
    ///
    /// Where the mean is much larger than the spread, b is large and y loses the digits that [`forward`](Self::forward)
    /// keeps: as many as |mean|/σ has.
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward), and when the statistics are not those of this shape.
    pub fn coefficients<T: Float>(
        &self,
        statistics: &Statistics,
        affine: Affine<'_, T>,
    ) -> Result<(Vec<T>, Vec<T>)> {
        self.check(affine)?;
        self.check_statistics(statistics)?;
        let folded = affine.folded(self.batch, self.channels);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for image in 0..self.batch {
            let (gains, offsets) = folded.row(image);
            for c in 0..self.channels {
                let group = image * self.groups + c / (self.channels / self.groups);
                let gain = gains[c].to_f64() * statistics.rstd[group];
                a.push(T::from_f64(gain));
                b.push(T::from_f64(offsets[c].to_f64() - gain * statistics.mean[group]));
            }
        }
        Ok((a, b))
    }

    /// The gradients of a loss from its gradient `dy` with respect to y.
    ///
    /// # Errors
    ///
    /// Those of [`coefficients`](Self::coefficients), or when `dy` does not have the length of x.
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
        let sizes = self.sizes(x, affine)?;
        self.check_statistics(statistics)?;
        check_length("dy", dy.len(), x.len())?;
        let folded = affine.folded(self.batch, self.channels);
        let mut sums = vec![[0.0; 2]; area(self.batch, self.channels)?];
        let step = sizes.step * (self.channels / self.groups);
        // SAFETY: `passes::Backward` writes all values of its groups, and the tasks cover all groups.
        let dx = unsafe {
            written(x.len(), |dx| {
                let mut tasks = Vec::with_capacity(sizes.tasks());
                let values = sizes.values(x).zip(sizes.values(dy)).zip(sizes.values_mut(dx));
                for (task, (((x, dy), dx), sums)) in values.zip(sums.chunks_mut(step)).enumerate() {
                    let (norm, folded, first) = (self, &folded, task * sizes.step);
                    tasks.push(passes::Backward {
                        norm,
                        statistics,
                        folded,
                        first,
                        x,
                        dy,
                        dx,
                        sums,
                    });
                }
                parallel::for_each(8 * x.len(), tasks, |task| dispatch::run(path, task));
                Ok::<_, Error>(())
            })?
        };
        Ok(affine.gradients(self.batch, self.channels, &sums, dx))
    }

    /// ẏ, the derivative of y when x moves along `x_tangent` and the modulation along `modulation_tangent`; what is
    /// absent stands still.
    ///
    /// # Errors
    ///
    /// Those of [`coefficients`](Self::coefficients), or when a tangent does not have the length of its value.
    pub fn tangent<T: Float>(
        &self,
        x: &[T],
        statistics: &Statistics,
        affine: Affine<'_, T>,
        x_tangent: Option<&[T]>,
        modulation_tangent: Option<Modulation<'_, T>>,
    ) -> Result<Vec<T>> {
        let sizes = self.sizes(x, affine)?;
        self.check_statistics(statistics)?;
        if let Some(tangent) = x_tangent {
            check_length("x_tangent", tangent.len(), x.len())?;
        }
        if let Some(tangent) = modulation_tangent {
            tangent.check(self.batch, self.channels)?;
        }
        let folded = affine.folded(self.batch, self.channels);
        let moving = affine.folded_tangent(modulation_tangent, self.batch, self.channels);
        // SAFETY: `passes::Tangent` writes all values of its groups, and the tasks cover all groups.
        unsafe {
            written(x.len(), |out| {
                let mut tasks = Vec::with_capacity(sizes.tasks());
                let mut tangents = x_tangent.map(|tangent| sizes.values(tangent));
                for (task, (x, out)) in sizes.values(x).zip(sizes.values_mut(out)).enumerate() {
                    let (norm, folded, moving, first) = (self, &folded, &moving, task * sizes.step);
                    let x_tangent = tangents.as_mut().and_then(Iterator::next);
                    tasks.push(passes::Tangent {
                        norm,
                        statistics,
                        folded,
                        moving,
                        first,
                        x,
                        x_tangent,
                        out,
                    });
                }
                parallel::for_each(8 * x.len(), tasks, |task| dispatch::run(Path::best(), task));
                Ok(())
            })
        }
    }

    fn check<T: Float>(&self, affine: Affine<'_, T>) -> Result<()> {
        if self.groups == 0 || self.channels == 0 || !self.channels.is_multiple_of(self.groups) {
            return Err(Error::Groups {
                groups: self.groups,
                inputs: self.channels,
                outputs: self.channels,
            });
        }
        crate::statistics::check_epsilon(self.epsilon)?;
        area(self.batch, self.channels)?;
        affine.check(self.batch, self.channels)
    }

    fn check_statistics(&self, statistics: &Statistics) -> Result<()> {
        statistics.check(self.batch * self.groups)
    }

    fn sizes<T: Float>(&self, x: &[T], affine: Affine<'_, T>) -> Result<Sizes> {
        self.check(affine)?;
        let image = area(self.channels, self.spatial)?;
        check_length("x", x.len(), area(self.batch, image)?)?;
        let values = image / self.groups;
        let step = (PIECE / values.max(1)).max(1);
        Ok(Sizes {
            groups: self.batch * self.groups,
            values,
            step,
        })
    }
}

/// How the groups are handed to tasks.
struct Sizes {
    /// Groups of the batch.
    groups: usize,
    /// Values of a group.
    values: usize,
    /// Groups of a task.
    step: usize,
}

impl Sizes {
    fn tasks(&self) -> usize {
        self.groups.div_ceil(self.step)
    }

    /// The values of every task; nothing at all where groups are empty.
    fn values<'a, T>(&self, values: &'a [T]) -> impl Iterator<Item = &'a [T]> + use<'a, T> {
        values.chunks((self.values * self.step).max(1))
    }

    fn values_mut<'a, T>(&self, values: &'a mut [T]) -> impl Iterator<Item = &'a mut [T]> + use<'a, T> {
        values.chunks_mut((self.values * self.step).max(1))
    }
}

#[cfg(test)]
#[path = "group_norm_tests.rs"]
mod tests;
