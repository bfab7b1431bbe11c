//! `tallow sample`: noise in, points or images out.

use std::ops::ControlFlow;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use serde_json::json;
use tallow::denoisers::PerSample;
use tallow::solvers::catalogue::{self, Needs};
use tallow::solvers::{Claim, Sampler, start};
use tallow::train::Progress;

use crate::arguments::Sample;
use crate::artwork::{Format, Frames, Sheet};
use crate::checkpoint_path::Place;
use crate::error::{Blame, Error, Result};
use crate::model::{Source, Trained, WeightChoice};
use crate::objective::check_steps;
use crate::output::{say, say_json};
use crate::pipeline::Pipeline;

/// Solver steps where none are asked for.
const STEPS: u64 = 20;

pub(crate) fn run(arguments: &Sample) -> Result<()> {
    let place = Place::find(&arguments.model)?;
    let device = arguments.device.open()?;
    let source: Box<dyn Source> = match place {
        Place::Checkpoint(path) => {
            let choice = WeightChoice::of_flag(arguments.raw_weights);
            Box::new(Trained::read(path, choice, &device)?)
        }
        Place::Diffusers(_) if arguments.raw_weights => {
            return Err(Error::input(
                "--raw-weights: a folder of diffusers holds one set of weights, leave it away",
            ));
        }
        Place::Diffusers(folder) => Box::new(Pipeline::read(&folder, &device)?),
    };
    let shape = source.shape();
    let format = Format::of(&arguments.output, shape.len() == 3)?;
    let class = arguments
        .class
        .as_deref()
        .map(|class| source.class(class))
        .transpose()?;
    let plan = Plan::new(
        source.as_ref(),
        arguments.solver.as_deref(),
        arguments.steps,
        STEPS,
    )?;
    let count = arguments.count as usize;
    let request = Request {
        labels: labels(source.classes(), class, count),
        count,
        guidance: arguments.guidance,
        seed: arguments.seed,
        batch: arguments.batch.map(|batch| batch as usize),
    };
    let columns = match class {
        None if (1..=20).contains(&source.classes()) => Some(source.classes().min(count)),
        _ => None,
    };
    let title = format!("{}, {}", source.told()?, plan.told());
    let sheet = Sheet { title, columns };
    // What cannot be written is refused before hours are spent on it.
    format.check(&arguments.output, count, &shape)?;
    sheet.check(format, count, &shape)?;
    let began = Instant::now();
    let mut frames = Frames::of(format, plan.steps);
    let drawn = plan.draw(source.as_ref(), &request, &device, &mut frames)?;
    sheet.save(&arguments.output, format, &drawn.samples, frames)?;
    let seconds = began.elapsed().as_secs_f64();
    if arguments.json {
        return say_json(&json!({
            "output": arguments.output.display().to_string(), "model": source.told()?, "count": count, "shape": drawn.samples.dims(),
            "solver": plan.name, "steps": drawn.steps, "evaluations": drawn.evaluations, "guidance": request.guidance,
            "class": class, "seed": request.seed, "seconds": seconds,
        }));
    }
    say(&format!(
        "{count} samples of {}: {} in {} evaluations, {seconds:.1} s: {}",
        source.told()?,
        plan.told(),
        drawn.evaluations,
        arguments.output.display()
    ))
}

/// The label of each sample: one for all, or one after the other; none where the model has no classes.
fn labels(classes: usize, class: Option<u32>, count: usize) -> Vec<u32> {
    match classes {
        0 => Vec::new(),
        _ => (0..count)
            .map(|sample| class.unwrap_or((sample % classes) as u32))
            .collect(),
    }
}

/// Samples at once: 4096 points, 64 images of 64 x 64 or fewer of larger ones.
fn usual_batch(item: &[usize]) -> usize {
    match item {
        [_, height, width] => (64 * 64 * 64 / (height * width).max(1)).clamp(1, 64),
        _ => 4096,
    }
}

/// How samples are drawn.
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    solver: Box<dyn Sampler>,
    pub(crate) steps: usize,
    adaptive: bool,
}

/// What is drawn.
pub(crate) struct Request {
    pub(crate) labels: Vec<u32>,
    pub(crate) count: usize,
    pub(crate) guidance: f64,
    pub(crate) seed: u64,
    /// Samples at once; `None` for as many as [`usual_batch`] says.
    pub(crate) batch: Option<usize>,
}

/// What came of it.
pub(crate) struct Drawn {
    pub(crate) samples: Tensor,
    pub(crate) steps: usize,
    /// Network evaluations of the first rows; of the others there are as many where steps are fixed.
    pub(crate) evaluations: usize,
}

impl Plan {
    /// A solver by name, in `steps` steps or in `usual` ones.
    pub(crate) fn new(
        source: &dyn Source,
        solver: Option<&str>,
        steps: Option<u64>,
        usual: u64,
    ) -> Result<Self> {
        let entry = catalogue::find(solver.unwrap_or(source.usual_solver())).input()?;
        if entry.needs == Needs::IndependentNoise {
            source.check_noise(entry.name)?;
        }
        let adaptive = entry.claim == Claim::Tolerance;
        if adaptive && let Some(steps) = steps {
            return Err(Error::input(format!(
                "--steps {steps}: {} takes as many steps as its tolerance asks for, leave --steps away",
                entry.name
            )));
        }
        Ok(Self {
            name: entry.name,
            solver: entry.sampler(),
            steps: check_steps(steps.unwrap_or(usual))?,
            adaptive,
        })
    }

    pub(crate) fn told(&self) -> String {
        match self.adaptive {
            true => self.name.to_owned(),
            false => format!("{} in {} steps", self.name, self.steps),
        }
    }

    /// Draws, some rows after the other: sample i has a noise of its own, whatever is drawn beside it.
    pub(crate) fn draw(
        &self,
        source: &dyn Source,
        request: &Request,
        device: &Device,
        frames: &mut Frames,
    ) -> Result<Drawn> {
        let item = source.shape();
        let grid = source.grid(self.steps)?;
        // Bounds the memory, and changes no result.
        let rows = request.batch.unwrap_or_else(|| usual_batch(&item));
        let pieces = request.count.div_ceil(rows);
        let progress = Progress::new("sample", (pieces * grid.step_count()) as u64);
        let mut drawn = Vec::with_capacity(pieces);
        let mut counts = (0, 0);
        for first in (0..request.count).step_by(rows) {
            let count = rows.min(request.count - first);
            let labels = request.labels.get(first..first + count).unwrap_or_default();
            let model = source.denoiser(labels, request.guidance)?;
            let mut noise = PerSample::starting_at(request.seed, first as u64, count);
            let shape: Vec<usize> = std::iter::once(count).chain(item.iter().copied()).collect();
            let x = start(&grid, shape, DType::F32, device, &mut noise).run()?;
            let mut trouble = None;
            if first == 0 {
                frames.push(grid.first().t, || source.finish(x.clone()))?;
            }
            let sampled = self
                .solver
                .run(&model, &grid, &x, &mut noise, &mut |seen| {
                    progress.tick();
                    let at_end = seen.step.to.sigma == 0.0;
                    if first == 0 && (at_end || frames.due()) {
                        trouble = frames
                            .push(seen.step.to.t, || source.finish(seen.point.x.clone()))
                            .err();
                    }
                    match trouble {
                        Some(_) => ControlFlow::Break(()),
                        None => ControlFlow::Continue(()),
                    }
                })
                .run()?;
            if let Some(trouble) = trouble {
                return Err(trouble);
            }
            if first == 0 {
                counts = (sampled.steps, sampled.evaluations);
            }
            drawn.push(source.finish(sampled.x)?);
        }
        progress.finish();
        Ok(Drawn {
            samples: Tensor::cat(&drawn, 0).run()?,
            steps: counts.0,
            evaluations: counts.1,
        })
    }
}
