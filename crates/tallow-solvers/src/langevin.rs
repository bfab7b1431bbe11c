//! Langevin corrector: steps at one noise level, after each step of a predictor.
//!
//! ```text
//! ε = 2 (r ‖z‖/‖score‖)²          x ← x + ε score + √(2ε) z
//! ```
//!
//! Source: Song et al. 2021, arXiv:2011.13456, Algorithms 2 to 5, with norms for each sample: a mean over the batch makes a
//! sample depend on the others beside it.

use candle_core::{DType, Device, Tensor};
use tallow_denoisers::{Denoiser, Noise, combine_rows};
use tallow_schedules::{NoiseLevel, Step};

use crate::error::check;
use crate::{Point, Result, Solver};

/// Corrects each step of a predictor at the level where it ends, except at σ = 0. No order is claimed: a step of fixed
/// signal-to-noise ratio does not shrink with the grid. Needs Gaussian noise that is independent of the data.
///
/// Source: Song et al. 2021, arXiv:2011.13456, Algorithms 2 to 5, with norms for each sample: a mean over the batch
/// makes a sample depend on the others beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Corrected<S> {
    /// What takes the steps.
    pub predictor: S,
    /// What follows each of them.
    pub corrector: Langevin,
}

impl<S> Corrected<S> {
    /// `predictor` with a corrector after each step.
    pub const fn new(predictor: S, corrector: Langevin) -> Self {
        Self { predictor, corrector }
    }
}

impl<S: Solver> Solver for Corrected<S> {
    type History = S::History;

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        history: &mut S::History,
        noise: &mut dyn Noise,
    ) -> Result<Point> {
        let mut point = self.predictor.step(model, x, step, history, noise)?;
        if step.to.sigma > 0.0 {
            point.x = self.corrector.correct(model, &point.x, step.to, noise)?;
        }
        Ok(point)
    }
}

/// Langevin steps whose length is set by a signal-to-noise ratio r.
///
/// Source: Song et al. 2021, arXiv:2011.13456, Algorithms 2 to 5, with norms for each sample: a mean over the batch
/// makes a sample depend on the others beside it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Langevin {
    snr: f64,
    steps: usize,
    norms: Norms,
}

/// Which norms the length of a Langevin step is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Norms {
    /// Those of each sample. For data of many dimensions: in one or two a score near 0 makes a huge step.
    #[default]
    PerSample,
    /// Their means over the batch, as score SDE's program has it: samples depend on the batch.
    BatchMean,
    /// Those of pure noise: ‖z‖/‖score‖ = σ. For data of few dimensions.
    PureNoise,
}

impl Default for Langevin {
    /// One step with r = 0.16, the paper's for VE on CIFAR-10.
    fn default() -> Self {
        Self {
            snr: 0.16,
            steps: 1,
            norms: Norms::PerSample,
        }
    }
}

impl Langevin {
    /// One step of the ratio `snr`, the paper's r.
    ///
    /// # Errors
    ///
    /// When `snr` is not positive or not finite.
    pub fn new(snr: f64) -> Result<Self> {
        check(
            "Langevin",
            "snr",
            snr,
            "positive and finite",
            snr > 0.0 && snr.is_finite(),
        )?;
        Ok(Self {
            snr,
            ..Self::default()
        })
    }

    /// The same with so many steps at each level.
    ///
    /// # Errors
    ///
    /// When `steps` is 0.
    pub fn with_steps(self, steps: usize) -> Result<Self> {
        check("Langevin", "steps", steps as f64, "at least 1", steps > 0)?;
        Ok(Self { steps, ..self })
    }

    /// The same with other norms.
    #[must_use]
    pub fn with_norms(self, norms: Norms) -> Self {
        Self { norms, ..self }
    }

    /// Moves `x`, (B, …), towards the law of its level, whose σ is not 0, one evaluation a step.
    ///
    /// # Errors
    ///
    /// When the model, the noise or a tensor operation fails.
    pub fn correct(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        at: NoiseLevel,
        noise: &mut dyn Noise,
    ) -> Result<Tensor> {
        let mut x = x.clone();
        for _ in 0..self.steps {
            let score = model.estimate(&x, at.into())?.score()?;
            let z = noise.fresh(&x)?;
            let lengths = self.lengths(&score, &z, at)?;
            let spreads: Vec<f64> = lengths.iter().map(|length| (2.0 * length).sqrt()).collect();
            let ones = vec![1.0; lengths.len()];
            x = combine_rows(&[(&ones, &x), (&lengths, &score), (&spreads, &z)])?.detach();
        }
        Ok(x)
    }

    /// ε of each row. Where the score vanishes its norm is taken to be that of noise.
    fn lengths(&self, score: &Tensor, z: &Tensor, at: NoiseLevel) -> Result<Vec<f64>> {
        let rows = score.dims().first().copied().unwrap_or(0);
        let typical = at.sigma;
        let ratio = |of_z: f64, of_score: f64| if of_score > 0.0 { of_z / of_score } else { typical };
        let ratios = match self.norms {
            Norms::PureNoise => vec![typical; rows],
            Norms::PerSample => {
                let (z, score) = (norms(z)?, norms(score)?);
                z.into_iter()
                    .zip(score)
                    .map(|(z, score)| ratio(z, score))
                    .collect()
            }
            Norms::BatchMean => {
                let (z, score) = (norms(z)?, norms(score)?);
                vec![ratio(z.iter().sum(), score.iter().sum()); rows]
            }
        };
        Ok(ratios
            .into_iter()
            .map(|ratio| 2.0 * (self.snr * ratio).powi(2))
            .collect())
    }
}

/// The Euclidean norm of each row.
fn norms(x: &Tensor) -> Result<Vec<f64>> {
    let rows = x.dims().first().copied().unwrap_or(0);
    let wide = match x.dtype() {
        DType::F64 => x.clone(),
        _ => x.to_dtype(DType::F32)?,
    };
    let squares = wide.reshape((rows, ()))?.sqr()?.sum(1)?;
    let squares = squares.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    Ok(squares.to_vec1::<f64>()?.into_iter().map(f64::sqrt).collect())
}

#[cfg(test)]
mod tests {
    use tallow_denoisers::{ExactGaussian, PerSample, Seeded};
    use tallow_schedules::{RectifiedFlow, Schedule};

    use super::*;
    use crate::weak;
    use crate::{Ddim, EulerMaruyama};

    fn model(dim: usize) -> ExactGaussian {
        ExactGaussian::new(vec![0.7; dim], vec![0.5; dim]).unwrap()
    }

    #[test]
    fn samples_do_not_depend_on_the_batch_unless_norms_are_batch_means() {
        let level = RectifiedFlow::default().level(0.6);
        let x = PerSample::new(5, 4)
            .fresh(&Tensor::zeros((4, 3), DType::F64, &Device::Cpu).unwrap())
            .unwrap();
        let differ = |norms: Norms| {
            let langevin = Langevin::default().with_norms(norms);
            let all = langevin
                .correct(&model(3), &x, level, &mut PerSample::new(1, 4))
                .unwrap();
            let alone = x.narrow(0, 2, 1).unwrap();
            let mut noise = PerSample::starting_at(1, 2, 1);
            let alone = langevin.correct(&model(3), &alone, level, &mut noise).unwrap();
            all.get(2).unwrap().to_vec1::<f64>().unwrap() != alone.get(0).unwrap().to_vec1::<f64>().unwrap()
        };
        assert!(!differ(Norms::PerSample) && !differ(Norms::PureNoise));
        assert!(differ(Norms::BatchMean));
    }

    /// With ε = 2(rσ)² the law that a step keeps has variance S²/(1 − ε/2S²): 6.1 standard errors of 40 000 draws.
    #[test]
    fn the_law_of_the_level_stays_as_far_as_euler_s_bias_allows() {
        let level = RectifiedFlow::default().level(0.6);
        let langevin = Langevin::new(0.16).unwrap().with_norms(Norms::PureNoise);
        let langevin = langevin.with_steps(3).unwrap();
        let square = (0.5 * level.alpha).hypot(level.sigma).powi(2);
        let bias = 1.0 - (0.16 * level.sigma).powi(2) / square;
        let (mean, variance, n) = (0.7 * level.alpha, square / bias, 40_000);
        let mut noise = Seeded::new(3);
        let like = Tensor::zeros((n, 1), DType::F64, &Device::Cpu).unwrap();
        let x = noise.fresh(&like).unwrap().affine(variance.sqrt(), mean).unwrap();
        let x = langevin.correct(&model(1), &x, level, &mut noise).unwrap();
        let x = x.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let got = x.iter().sum::<f64>() / n as f64;
        let got_square = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
        let bound = 6.1 / (n as f64).sqrt();
        assert!(
            (got - mean).abs() < bound * variance.sqrt(),
            "mean {got}, not {mean}"
        );
        let ratio = got_square / variance;
        assert!(
            (ratio - 1.0).abs() < bound * 2f64.sqrt(),
            "variance off by {ratio}"
        );
    }

    #[test]
    fn a_vanishing_score_is_no_division_by_zero() {
        let level = RectifiedFlow::default().level(0.6);
        let x = Tensor::full(0.7 * level.alpha, (2, 3), &Device::Cpu).unwrap();
        for norms in [Norms::PerSample, Norms::BatchMean, Norms::PureNoise] {
            let langevin = Langevin::default().with_norms(norms);
            let moved = langevin
                .correct(&model(3), &x, level, &mut Seeded::new(0))
                .unwrap();
            let size = moved
                .sqr()
                .unwrap()
                .sum_all()
                .unwrap()
                .to_scalar::<f64>()
                .unwrap();
            assert!(size.is_finite() && size > 0.0);
        }
    }

    #[test]
    fn a_run_to_the_end_lands_on_the_datum() {
        let pure = Langevin::default().with_norms(Norms::PureNoise);
        weak::assert_lands_on_the_datum(&Corrected::new(Ddim::default(), pure));
        weak::assert_lands_on_the_datum(&Corrected::new(EulerMaruyama, pure));
    }

    #[test]
    fn parameters_that_make_no_sense_are_refused() {
        assert!(Langevin::new(0.0).is_err() && Langevin::new(f64::NAN).is_err());
        assert!(Langevin::default().with_steps(0).is_err());
    }
}
