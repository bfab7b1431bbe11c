//! Inpainting: what is known of a sample is put back, at the level of the moment, after every step.
//!
//! ```text
//! x_s ← m (α_s x_0 + σ_s z) + (1 − m) solver(x_t → s)        m = 1 where x_0 is known
//! U − 1 times:  x_t = (α_t/α_s) x_s + √(σ_t² − (α_t/α_s)² σ_s²) z', and the step again
//! ```
//!
//! Once a step (U = 1) is replacement (Song et al. 2021, arXiv:2011.13456, appendix I.2): what is generated hardly sees what
//! is known. Going back up and stepping again (U around 10) is RePaint, which lets the two agree.
//!
//! Source: Lugmayr et al. 2022, arXiv:2201.09865, Algorithm 1.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise, check_like, lincomb};
use tallow_schedules::Step;

use crate::ancestral::towards_data;
use crate::error::check;
use crate::forward::noised;
use crate::{Point, Result, Solver};

/// Makes a solver keep a part of its samples. No order is claimed; needs Gaussian noise that is independent of the data, and
/// that the model was trained on whole samples only. After a return the memory of a multistep solver begins afresh.
///
/// Source: Lugmayr et al. 2022, arXiv:2201.09865, Algorithm 1.
///
/// ```
/// use std::sync::Arc;
/// use candle_core::{DType, Device, Tensor};
/// use tallow_denoisers::{ExactMixture, Seeded};
/// use tallow_schedules::{RectifiedFlow, TimeGrid};
/// use tallow_solvers::{Ddim, Inpainted, Sampler, start};
///
/// // Points near (−1, −1) and (1, 1), of which the first coordinate is known.
/// let model = ExactMixture::new(&[0.5, 0.5], vec![vec![-1.0; 2], vec![1.0; 2]], vec![0.1, 0.1])?;
/// let known = Tensor::new(&[[1.0, 0.0]], &Device::Cpu)?;
/// let solver = Inpainted::new(Ddim::default(), &known, &Tensor::new(&[[1.0, 0.0]], &Device::Cpu)?, 5)?;
/// let grid = TimeGrid::uniform(Arc::new(RectifiedFlow::default()), 20)?;
/// let mut noise = Seeded::new(0);
/// let x = start(&grid, (1, 2), DType::F64, &Device::Cpu, &mut noise)?;
/// let sample = solver.sample(&model, &grid, &x, &mut noise)?.to_vec2::<f64>()?;
/// assert_eq!(sample[0][0], 1.0);
/// assert!((sample[0][1] - 1.0).abs() < 0.5);
/// # Ok::<(), tallow_solvers::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Inpainted<S> {
    solver: S,
    known: Tensor,
    mask: Tensor,
    rounds: usize,
}

impl<S> Inpainted<S> {
    /// `solver`, keeping the clean samples `known`, (B, …), where `mask` is 1 and filling in where it is 0; between the two it
    /// mixes. The mask is shaped like `known`, or has ones for dimensions that it is the same along. Each step is taken
    /// `rounds` times: 1 for replacement.
    ///
    /// # Errors
    ///
    /// When there are no rounds, the mask does not fit `known`, or a value of it is outside of [0, 1].
    pub fn new(solver: S, known: &Tensor, mask: &Tensor, rounds: usize) -> Result<Self> {
        check("Inpainted", "rounds", rounds as f64, "at least 1", rounds > 0)?;
        let mask = mask.to_dtype(known.dtype())?.to_device(known.device())?;
        let mask = mask.broadcast_as(known.shape())?.contiguous()?;
        let values = mask.flatten_all()?.to_dtype(candle_core::DType::F64)?;
        for value in values.to_vec1::<f64>()? {
            let allowed = "with values in [0, 1], 1 where the sample is known";
            check(
                "Inpainted",
                "a mask",
                value,
                allowed,
                (0.0..=1.0).contains(&value),
            )?;
        }
        Ok(Self {
            solver,
            known: known.detach(),
            mask,
            rounds,
        })
    }

    /// `x` at the end of a step, with what is known put back.
    fn restored(&self, x: &Tensor, step: &Step<'_>, noise: &mut dyn Noise) -> Result<Tensor> {
        let (alpha, sigma) = (step.to.alpha, step.to.sigma);
        let known = if sigma > 0.0 {
            lincomb([(alpha, &self.known), (sigma, &noise.fresh(x)?)])?
        } else {
            lincomb([(alpha, &self.known)])?
        };
        let filled = (x - (x * &self.mask)?)?;
        Ok(((known * &self.mask)? + filled)?)
    }
}

impl<S: Solver> Solver for Inpainted<S> {
    type History = S::History;

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        history: &mut Self::History,
        noise: &mut dyn Noise,
    ) -> Result<Point> {
        towards_data("Inpainted", step)?;
        check_like("the state of an inpainting", x, &self.known)?;
        let mut point = self.solver.step(model, x, step, history, noise)?;
        point.x = self.restored(&point.x, step, noise)?;
        for _ in 1..self.rounds {
            let up = noised(&point.x, step.to, step.from, 1.0, noise)?;
            *history = S::History::default();
            point = self.solver.step(model, &up, step, history, noise)?;
            point.x = self.restored(&point.x, step, noise)?;
        }
        Ok(point)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::{DType, Device};
    use tallow_denoisers::{ExactMixture, Seeded};
    use tallow_schedules::{RectifiedFlow, Schedule, TimeGrid, Ve, VpCosine};

    use super::*;
    use crate::{Ddim, Dpmpp2m, Sampler, start};

    const ROWS: usize = 400;
    const KNOWN: f64 = 0.9;

    /// Points near (−1, −1) and (1, 1).
    fn diagonal() -> ExactMixture {
        ExactMixture::new(&[0.5, 0.5], vec![vec![-1.0; 2], vec![1.0; 2]], vec![0.2; 2]).unwrap()
    }

    fn run<S: Solver>(solver: &S, grid: &TimeGrid) -> Vec<Vec<f64>> {
        let mut noise = Seeded::new(3);
        let x = start(grid, (ROWS, 2), DType::F64, &Device::Cpu, &mut noise).unwrap();
        let end = solver.sample(&diagonal(), grid, &x, &mut noise).unwrap();
        end.to_vec2().unwrap()
    }

    fn grids() -> [TimeGrid; 3] {
        let uniform = |path: Arc<dyn Schedule>| TimeGrid::uniform(path, 20).unwrap();
        [
            uniform(Arc::new(RectifiedFlow::default())),
            uniform(Arc::new(VpCosine::default())),
            TimeGrid::karras(Arc::new(Ve::default()), 0.02, 80.0, 7.0, 20).unwrap(),
        ]
    }

    fn inpainted<S>(solver: S, mask: [f64; 2], rounds: usize) -> Inpainted<S> {
        let known = Tensor::full(KNOWN, (ROWS, 2), &Device::Cpu).unwrap();
        let mask = Tensor::new(&[mask], &Device::Cpu).unwrap();
        Inpainted::new(solver, &known, &mask, rounds).unwrap()
    }

    /// The share of rows whose unknown coordinate is on the side of the known one.
    fn agreeing(rows: &[Vec<f64>]) -> f64 {
        rows.iter().filter(|row| row[1] > 0.0).count() as f64 / rows.len() as f64
    }

    #[test]
    fn what_is_known_comes_out_as_it_went_in() {
        for grid in grids() {
            for rounds in [1, 4] {
                let rows = run(&inpainted(Dpmpp2m::default(), [1.0, 0.0], rounds), &grid);
                assert!(rows.iter().all(|row| row[0] == KNOWN), "{grid}");
            }
        }
    }

    #[test]
    fn where_nothing_is_known_it_is_the_solver_itself() {
        for grid in grids() {
            let plain = run(&Dpmpp2m::default(), &grid);
            assert_eq!(run(&inpainted(Dpmpp2m::default(), [0.0, 0.0], 1), &grid), plain);
        }
    }

    /// Given a coordinate of 0.9 ± 0, the other one is on the side of 1 with probability 1 − 10⁻¹⁹ or so.
    #[test]
    fn what_is_filled_in_agrees_with_what_is_known_the_more_rounds_the_better() {
        for grid in grids() {
            let [none, one, ten] = [(0.0, 1), (1.0, 1), (1.0, 10)].map(|(known, rounds)| {
                agreeing(&run(&inpainted(Ddim::default(), [known, 0.0], rounds), &grid))
            });
            println!("{grid}: agreeing {none} {one} {ten}");
            assert!((none - 0.5).abs() < 0.1, "{grid}: {none}");
            assert!(
                one > none + 0.2 && ten >= one && ten > 0.97,
                "{grid}: {one} {ten}"
            );
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let known = Tensor::zeros((2, 3), DType::F64, &Device::Cpu).unwrap();
        let of = |mask: Tensor, rounds| Inpainted::new(Ddim::default(), &known, &mask, rounds);
        let ones = |columns: usize| Tensor::ones((1, columns), DType::U8, &Device::Cpu).unwrap();
        assert!(of(ones(3), 1).is_ok());
        assert!(of(ones(3), 0).is_err());
        assert!(of(ones(2), 1).is_err());
        for value in [-0.1, 1.1, f64::NAN] {
            let mask = Tensor::full(value, (2, 3), &Device::Cpu).unwrap();
            let error = of(mask, 1).unwrap_err().to_string();
            assert!(error.contains("[0, 1]"), "{error}");
        }
        let grid = TimeGrid::uniform(Arc::new(RectifiedFlow::default()), 3).unwrap();
        let x = Tensor::zeros((4, 2), DType::F64, &Device::Cpu).unwrap();
        let run = |grid: &TimeGrid, x: &Tensor| {
            of(ones(3), 1)
                .unwrap()
                .sample(&diagonal(), grid, x, &mut Seeded::new(0))
                .map_err(|error| error.to_string())
        };
        assert!(run(&grid, &x).unwrap_err().contains("inpainting"));
        assert!(run(&grid.reversed(), &known).unwrap_err().contains("fresh noise"));
    }
}
