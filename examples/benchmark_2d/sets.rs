//! The data sets: each shifted and scaled to mean 0 and standard deviation 1, so that distances can be compared.

use candle_core::Tensor;
use tallow::datasets::{Checkerboard, Gaussians, Moons, Standardized, SwissRoll};
use tallow::denoisers::{Batch, Dataset, Result, Seeded};
use tallow_examples::Failure;

/// A data set under its name.
#[derive(Debug)]
pub(crate) struct Set {
    /// In tables and pictures.
    pub(crate) title: &'static str,
    data: Standardized,
}

/// Draws from which mean and deviation are measured.
const DRAWS: usize = 100_000;

/// The first `count` of the sets.
///
/// # Errors
///
/// When one cannot be drawn from.
pub(crate) fn sets(seed: u64, count: usize) -> std::result::Result<Vec<Set>, Failure> {
    let all: [(&str, Box<dyn Dataset>); 4] = [
        ("checkerboard", Box::new(Checkerboard::new())),
        ("8 gaussians", Box::new(Gaussians::eight())),
        ("swiss roll", Box::new(SwissRoll::new())),
        ("moons", Box::new(Moons::new())),
    ];
    let mut draws = Seeded::stream(seed, 4);
    let measured = all.into_iter().take(count).map(|(title, data)| {
        Ok(Set {
            title,
            data: Standardized::measure(data, DRAWS, &mut draws)?,
        })
    });
    measured.collect()
}

impl Set {
    /// A batch of points.
    pub(crate) fn batch(&self, count: usize, rng: &mut dyn rand::RngCore) -> Result<Batch> {
        self.data.draw(count, rng)
    }

    /// Points, (count, 2).
    pub(crate) fn draw(&self, count: usize, rng: &mut dyn rand::RngCore) -> Result<Tensor> {
        Ok(self.batch(count, rng)?.x0)
    }
}
