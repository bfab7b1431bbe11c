//! Three ways to edit with a model that was trained to draw: a start, a solver, a grid that rises.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use tallow::denoisers::{Condition, Denoiser, Network, Noise, PerSample, lincomb};
use tallow::schedules::{RectifiedFlow, Schedule, TimeGrid};
use tallow::solvers::{Ddim, Heun, Inpainted, Sampler, start};
use tallow_examples::Failure;
use tallow_examples::image_model::{Recipe, values};

/// Images on the way from one to another, both included.
pub(crate) const BETWEEN: usize = 7;

/// A model and how it is asked.
pub(crate) struct Editor {
    pub(crate) recipe: Recipe,
    pub(crate) network: Box<dyn Network>,
    pub(crate) steps: usize,
    pub(crate) device: Device,
}

impl Editor {
    /// The model without labels.
    fn unconditional(&self, rows: usize) -> Result<impl Denoiser, Failure> {
        let none = Tensor::full(self.recipe.null(), rows, &self.device)?;
        let parameterization = self.recipe.objective.parameterization()?;
        Ok(parameterization
            .denoiser(&self.network)
            .with_condition(Condition::labels(none)))
    }

    fn noise(&self, rows: usize) -> PerSample {
        PerSample::new(self.recipe.seed, rows)
    }

    /// SDEdit (Meng et al. 2022, arXiv:2108.01073): `x0` with the noise of time `strength`, sampled from there as `labels`.
    pub(crate) fn image_to_image(
        &self,
        x0: &Tensor,
        labels: &[u32],
        strength: f64,
        guidance: f64,
    ) -> Result<Tensor, Failure> {
        let path = RectifiedFlow::default();
        let level = path.level(strength);
        let mut noise = self.noise(labels.len());
        let z = noise.fresh(x0)?;
        let x = lincomb([(level.alpha, x0), (level.sigma, &z)])?;
        let grid = TimeGrid::uniform_between(Arc::new(path), strength, 0.0, self.steps)?;
        let model = self
            .recipe
            .guided(&self.network, labels, guidance, &self.device)?;
        Ok(Heun::default().sample(&model, &grid, &x, &mut noise)?)
    }

    /// What `mask` hides of `x0`, drawn anew without being told the class, with each step taken `rounds` times.
    pub(crate) fn inpaint(&self, x0: &Tensor, mask: &Tensor, rounds: usize) -> Result<Tensor, Failure> {
        let rows = x0.dim(0)?;
        let solver = Inpainted::new(Ddim::default(), x0, mask, rounds)?;
        let grid = TimeGrid::uniform(self.recipe.objective.path(), self.steps)?;
        let mut noise = self.noise(rows);
        let x = start(&grid, x0.shape(), DType::F32, &self.device, &mut noise)?;
        Ok(solver.sample(&self.unconditional(rows)?, &grid, &x, &mut noise)?)
    }

    /// Along the flow without labels: from images to their noises on a grid that rises, back on one that falls.
    fn flow(&self, x: &Tensor, grid: &TimeGrid) -> Result<Tensor, Failure> {
        let rows = x.dim(0)?;
        let model = self.unconditional(rows)?;
        Ok(Heun::default().sample(&model, grid, x, &mut self.noise(rows))?)
    }

    /// The images on the way from each of `from` to the one of `to`: (n · [`BETWEEN`], 1, 8, 8).
    pub(crate) fn between(&self, from: &Tensor, to: &Tensor) -> Result<Tensor, Failure> {
        let down = TimeGrid::uniform(self.recipe.objective.path(), self.steps)?;
        let up = down.clone().reversed();
        let ends = [self.flow(from, &up)?, self.flow(to, &up)?];
        let [from, to] = [values(&ends[0])?, values(&ends[1])?];
        let size = from.len() / ends[0].dim(0)?;
        let mut noises = Vec::new();
        for (from, to) in from.chunks_exact(size).zip(to.chunks_exact(size)) {
            for place in 0..BETWEEN {
                noises.extend(on_sphere(from, to, place as f32 / (BETWEEN - 1) as f32));
            }
        }
        let [_, channels, height, width] = *ends[0].dims() else {
            return Err("the images are none".into());
        };
        let shape = (noises.len() / size, channels, height, width);
        self.flow(&Tensor::from_vec(noises, shape, &self.device)?, &down)
    }
}

/// Between two noises along the great circle, so that what is between is as long as they are (Shoemake 1985).
fn on_sphere(from: &[f32], to: &[f32], share: f32) -> Vec<f32> {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let angle = (dot(from, to) / (dot(from, from) * dot(to, to)).sqrt())
        .clamp(-1.0, 1.0)
        .acos();
    // Noises of one direction: the circle is a line.
    let weight = |share: f32| {
        if angle.sin() < 1e-4 {
            share
        } else {
            (share * angle).sin() / angle.sin()
        }
    };
    let (a, b) = (weight(1.0 - share), weight(share));
    from.iter().zip(to).map(|(from, to)| a * from + b * to).collect()
}
