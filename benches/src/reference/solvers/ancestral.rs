//! DDIM and DDPM.

use candle_core::Tensor;
use tallow::denoisers::Noise;
use tallow::denoisers::{Denoiser, Estimate, Levels};
use tallow::schedules::TimeGrid;
use tallow::solvers::ddpm::DdpmVariance;
use tallow::solvers::{Ddim, Ddpm, Observer, Sampled, Sampler};

use super::Case;

pub(super) fn sampler(name: &str, case: &Case<'_>) -> Option<Result<Box<dyn Sampler>, String>> {
    match name {
        "ddim" => {
            let ddim = Ddim::new(case.number("eta").unwrap_or(0.0)).map_err(|error| error.to_string());
            Some(ddim.map(|ddim| Box::new(ddim) as Box<dyn Sampler>))
        }
        "ddpm" => Some(ddpm(case)),
        _ => None,
    }
}

fn ddpm(case: &Case<'_>) -> Result<Box<dyn Sampler>, String> {
    let variance = match case.word("variance") {
        Some("fixed_small") => DdpmVariance::FixedSmall,
        Some("fixed_large") => DdpmVariance::FixedLarge,
        Some("learned_range") => {
            let range = case.number("range_output").ok_or("range_output is missing")?;
            return Ok(Box::new(WithRange {
                range,
                ddpm: Ddpm {
                    variance: DdpmVariance::LearnedRange,
                },
            }));
        }
        other => return Err(format!("no variance is called {other:?}")),
    };
    Ok(Box::new(Ddpm { variance }))
}

/// DDPM on a model whose range output is one number everywhere.
#[derive(Debug)]
struct WithRange {
    range: f64,
    ddpm: Ddpm,
}

impl Sampler for WithRange {
    fn run(
        &self,
        model: &dyn Denoiser,
        grid: &TimeGrid,
        x: &Tensor,
        noise: &mut dyn Noise,
        observe: Observer<'_>,
    ) -> tallow::solvers::Result<Sampled> {
        let model = Ranged {
            model,
            range: self.range,
        };
        self.ddpm.run(&model, grid, x, noise, observe)
    }
}

struct Ranged<'a> {
    model: &'a dyn Denoiser,
    range: f64,
}

impl Denoiser for Ranged<'_> {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> tallow::denoisers::Result<Estimate> {
        let range = x.affine(0.0, self.range)?;
        Ok(self.model.estimate(x, at)?.with_range(Some(range)))
    }
}
