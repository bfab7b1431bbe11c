//! `tallow train`: a run as a configuration says, which may be stopped at any step and goes on bit for bit.

use std::io::{BufRead, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use candle_core::DType;
use serde_json::json;
use tallow::denoisers::{Dataset, Network};
use tallow::nn::{
    Adam, AdamConfig, AdamW, AdamWConfig, Ema, EmaDecay, Optimizer, Parameters, Plan, RAdam, RAdamConfig,
    Sgd, SgdConfig,
};
use tallow::objectives::coupling::{
    Coupling, ImmiscibleNoise, OptimalTransport, Regularization, SinkhornCoupling,
};
use tallow::train::{Checkpoints, LearningRate, Outcome, Report, Resumed, Trainer, Validation};

use crate::arguments::Train;
use crate::checkpoint_path::{FOLDER, steps};
use crate::data::Data;
use crate::error::{Blame, Error, Result};
use crate::files::unwritten;
use crate::interrupt::Interrupt;
use crate::network;
use crate::output::{say, say_json};
use crate::recipe::{Average, CouplingName, OptimizerRule, RateName, Recipe};
use crate::settings::Settings;

pub(crate) fn run(arguments: &Train) -> Result<()> {
    let settings = Settings::read(&arguments.config)?;
    refuse_to_start_over(&settings.output, arguments).map_err(|error| settings.placed(error))?;
    start(&settings, arguments).map_err(|error| settings.placed(error))
}

fn start(settings: &Settings, arguments: &Train) -> Result<()> {
    let device = settings.device.open().map_err(|error| error.about("device"))?;
    let name = &settings.recipe.data.name;
    let data = Data::load(name, &settings.place, settings.recipe.data.held_out_every)?;
    let recipe = settings.recipe_of(data.shape(), data.classes()?)?;
    check_size(&recipe)?;
    let parameters = Parameters::new(recipe.seed, DType::F32, &device);
    let network = network::build(&recipe, &parameters.scope())?;
    let announced = Announced {
        json: arguments.json,
        every: arguments.every,
    };
    let run = Run {
        settings,
        recipe: &recipe,
        parameters: &parameters,
        network: network.as_ref(),
    };
    run.train(data, arguments, &announced)
}

/// Refuses a network that no machine could train before its memory is asked for.
fn check_size(recipe: &Recipe) -> Result<()> {
    let plan = Plan::new(DType::F32, usize::MAX);
    network::build(recipe, &plan.scope())?;
    match plan.count() {
        count if count <= MOST_PARAMETERS => Ok(()),
        count => Err(Error::input(format!(
            "[model] has {count} parameters, allowed are {MOST_PARAMETERS}: take a smaller width, depth or number of channels"
        ))),
    }
}

/// A folder with checkpoints is gone on with, or left alone.
fn refuse_to_start_over(output: &Path, arguments: &Train) -> Result<()> {
    let Some((step, _)) = steps(&output.join(FOLDER)).pop() else {
        return keep_losses_of_others(output);
    };
    if arguments.resume {
        return Ok(());
    }
    Err(Error::input(format!(
        "{} holds a run that has made {step} steps, which this would replace: go on with `tallow train {} --resume`, or give `output` another folder",
        output.display(),
        arguments.config.display()
    )))
}

/// A file of losses without a checkpoint beside it is replaced only where a run began it.
fn keep_losses_of_others(output: &Path) -> Result<()> {
    let path = output.join("loss.csv");
    let Ok(file) = std::fs::File::open(&path) else {
        return Ok(());
    };
    let mut first = Vec::new();
    let read = std::io::BufReader::new(file.take(256)).read_until(b'\n', &mut first);
    match read {
        Ok(_) if first.is_empty() || first.starts_with(b"step,loss,") => Ok(()),
        _ => Err(Error::input(format!(
            "`output`: {} is no file of losses that a run began, and this one would replace it: give `output` another folder",
            path.display()
        ))),
    }
}

struct Run<'a> {
    settings: &'a Settings,
    recipe: &'a Recipe,
    parameters: &'a Parameters,
    network: &'a dyn Network,
}

impl Run<'_> {
    fn train(&self, data: Data, arguments: &Train, announced: &Announced) -> Result<()> {
        let (recipe, output) = (self.recipe, &self.settings.output);
        let (rows, objective) = (data.rows(), recipe.objective.objective(recipe)?);
        let feed = data.feed(recipe)?;
        let average = self.average()?;
        let averaged = match &average {
            Some(average) => Some(network::build(recipe, &average.detached().scope())?),
            None => None,
        };
        let validation = self.validation(feed.held_out, averaged.as_deref())?;
        // Nothing is written before all of it is found right.
        std::fs::create_dir_all(output).map_err(|error| unwritten(output, &error).about("output"))?;

        announced.start(self, rows)?;
        let interrupt = Interrupt::listen()?;
        let mut trouble = None;
        let mut trainer = Trainer::new(
            self.parameters,
            self.network,
            objective.as_ref(),
            feed.batches,
            self.optimizer()?,
        )
        .with_learning_rate(self.learning_rate()?)
        .with_micro_batches(recipe.optimizer.micro_batches)?
        .with_loss_file(output.join("loss.csv"))
        .with_configuration(recipe.configuration()?)
        .with_checkpoints(
            Checkpoints::open(output.join(FOLDER))?.keep(self.settings.keep)?,
            self.settings.checkpoint_every,
        )?
        .with_callback(|report| {
            trouble = announced.step(report).err();
            match interrupt.asked() || trouble.is_some() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        if let Some(average) = average {
            trainer = trainer.with_average(average);
        }
        if let Some(norm) = recipe.optimizer.clip {
            trainer = trainer.with_clipping(norm)?;
        }
        if let Some(coupling) = coupling(recipe.coupling)? {
            trainer = trainer.with_coupling(coupling);
        }
        if let Some(validation) = validation {
            trainer = trainer.with_validation(validation);
        }
        let resumed = if arguments.resume { trainer.resume()? } else { None };
        announced.resumed(resumed.as_ref(), arguments.resume)?;
        let began = Instant::now();
        let outcome = trainer.run(recipe.steps);
        drop(trainer);
        if let Some(trouble) = trouble {
            return Err(trouble);
        }
        self.end(outcome?, began, arguments, announced)
    }

    fn end(&self, outcome: Outcome, began: Instant, arguments: &Train, announced: &Announced) -> Result<()> {
        let output = &self.settings.output;
        let newest = steps(&output.join(FOLDER)).pop().map(|(_, path)| path);
        let newest = newest.map_or_else(String::new, |path| path.display().to_string());
        announced.end(&outcome, &newest, began.elapsed().as_secs_f64())?;
        if outcome.stopped && outcome.step < self.recipe.steps {
            return Err(Error::Interrupted(format!(
                "after step {} of {}, which is safe: go on with `tallow train {} --resume`",
                outcome.step,
                self.recipe.steps,
                arguments.config.display()
            )));
        }
        Ok(())
    }

    /// The loss of the averaged weights on data that training does not see.
    fn validation<'n>(
        &self,
        held_out: Option<Box<dyn Dataset>>,
        averaged: Option<&'n dyn Network>,
    ) -> Result<Option<Validation<'n>>> {
        let every = self.recipe.validate_every;
        if every == 0 {
            return Ok(None);
        }
        let data = held_out.ok_or_else(|| {
            Error::input(
                "`validate_every` needs images that training does not see: give `held_out_every` of [data] 2 or more, or take 0",
            )
        })?;
        let validation = Validation::new(data, VALIDATION_ROWS, every).input()?;
        Ok(Some(match averaged {
            Some(averaged) => validation.of(averaged),
            None => validation,
        }))
    }

    fn average(&self) -> Result<Option<Ema>> {
        let decay = match self.recipe.average {
            Average::WarmUp { decay } => EmaDecay::WarmUp(decay),
            Average::Constant { decay } => EmaDecay::Constant(decay),
            Average::Power { gamma } => EmaDecay::Power { gamma },
            Average::None => return Ok(None),
        };
        Ok(Some(Ema::new(self.parameters, decay).input()?))
    }

    fn optimizer(&self) -> Result<Box<dyn Optimizer>> {
        let recipe = &self.recipe.optimizer;
        let weight_decay = recipe.weight_decay;
        Ok(match recipe.rule {
            OptimizerRule::Adamw { beta1, beta2 } => {
                let config = AdamWConfig {
                    beta1,
                    beta2,
                    weight_decay,
                    ..AdamWConfig::default()
                };
                Box::new(AdamW::new(self.parameters, config).input()?)
            }
            OptimizerRule::Adam { beta1, beta2 } => {
                let config = AdamConfig {
                    beta1,
                    beta2,
                    weight_decay,
                    ..AdamConfig::default()
                };
                Box::new(Adam::new(self.parameters, config).input()?)
            }
            OptimizerRule::Radam { beta1, beta2 } => {
                let config = RAdamConfig {
                    beta1,
                    beta2,
                    weight_decay,
                    ..RAdamConfig::default()
                };
                Box::new(RAdam::new(self.parameters, config).input()?)
            }
            OptimizerRule::Sgd { momentum } => {
                let config = SgdConfig {
                    momentum,
                    weight_decay,
                    ..SgdConfig::default()
                };
                Box::new(Sgd::new(self.parameters, config).input()?)
            }
        })
    }

    fn learning_rate(&self) -> Result<LearningRate> {
        let rate = self.recipe.learning_rate;
        let steps = self.recipe.steps;
        let annealed = match rate.name {
            RateName::Constant => LearningRate::constant(rate.peak),
            RateName::Cosine => LearningRate::cosine(rate.peak, steps),
            RateName::Linear => LearningRate::linear(rate.peak, steps),
            RateName::InverseSquareRoot => LearningRate::inverse_square_root(rate.peak, rate.warm_up.max(1)),
        };
        Ok(annealed?.with_warm_up(rate.warm_up).with_floor(rate.floor)?)
    }
}

/// The largest network, in parameters: 16 GB, and as much again for each gradient, moment and average.
const MOST_PARAMETERS: usize = 4_000_000_000;
/// Rows that a validation looks at.
const VALIDATION_ROWS: usize = 256;

fn coupling(name: CouplingName) -> Result<Option<Box<dyn Coupling>>> {
    Ok(match name {
        CouplingName::Independent => None,
        CouplingName::OptimalTransport => Some(Box::new(OptimalTransport::new())),
        CouplingName::Sinkhorn { regularization } => {
            let regularization = Regularization::OfMeanCost(regularization);
            Some(Box::new(SinkhornCoupling::new(regularization).input()?))
        }
        CouplingName::ImmiscibleNoise => Some(Box::new(ImmiscibleNoise::assignment())),
    })
}

fn warn(warning: &str) {
    // Where nobody reads it, there is nothing to be done about it.
    let _ = writeln!(std::io::stderr(), "warning: {warning}");
}

/// What is printed of a run.
struct Announced {
    json: bool,
    every: u64,
}

impl Announced {
    fn start(&self, run: &Run<'_>, rows: Option<usize>) -> Result<()> {
        let (recipe, parameters, settings) = (run.recipe, run.parameters, run.settings);
        let warm_up = recipe.learning_rate.warm_up;
        if warm_up >= recipe.steps {
            warn(&format!(
                "`warm_up` of [learning_rate] is {warm_up}, and the run has {} steps: its rate never reaches the peak",
                recipe.steps
            ));
        }
        if self.json {
            return say_json(&json!({
                "event": "start", "steps": recipe.steps, "parameters": parameters.count(), "rows": rows,
                "output": settings.output.display().to_string(), "recipe": recipe,
            }));
        }
        let data = match rows {
            Some(rows) => format!("{rows} images of {}", recipe.data.name),
            None => format!("points of {}", recipe.data.name),
        };
        say(&format!(
            "training {} parameters on {data}: {}, {} steps of {}, into {}",
            parameters.count(),
            recipe.objective.told()?,
            recipe.steps,
            recipe.batch,
            settings.output.display()
        ))
    }

    fn resumed(&self, resumed: Option<&Resumed>, asked: bool) -> Result<()> {
        for warning in resumed.iter().flat_map(|resumed| &resumed.warnings) {
            warn(warning);
        }
        match (resumed, self.json) {
            (Some(resumed), true) => say_json(&json!({ "event": "resumed", "step": resumed.step })),
            (Some(resumed), false) => say(&format!("going on after step {}", resumed.step)),
            (None, false) if asked => say("no checkpoint yet: starting at the first step"),
            (None, _) => Ok(()),
        }
    }

    fn step(&self, report: &Report) -> Result<()> {
        let due = report.step.is_multiple_of(self.every) || report.step == report.steps;
        if self.json && (due || report.saved || report.validation.is_some()) {
            return say_json(&json!({
                "event": "step", "step": report.step, "loss": report.loss, "gradient_norm": report.gradient_norm,
                "learning_rate": report.learning_rate, "validation": report.validation, "saved": report.saved,
            }));
        }
        // On a terminal there is a bar.
        if self.json
            || std::io::IsTerminal::is_terminal(&std::io::stderr())
            || !(due || report.validation.is_some())
        {
            return Ok(());
        }
        let validation = report.validation.map(|loss| format!(", validation {loss:.5}"));
        say(&format!(
            "step {} of {}, loss {:.5}{}",
            report.step,
            report.steps,
            report.loss,
            validation.unwrap_or_default()
        ))
    }

    fn end(&self, outcome: &Outcome, newest: &str, seconds: f64) -> Result<()> {
        if self.json {
            return say_json(&json!({
                "event": "end", "step": outcome.step, "stopped": outcome.stopped, "loss": outcome.loss,
                "checkpoint": newest, "seconds": seconds,
            }));
        }
        match outcome.loss {
            Some(loss) => say(&format!(
                "step {}, loss {loss:.5}, {seconds:.1} s: {newest}",
                outcome.step
            )),
            None => say(&format!("all {} steps had been made: {newest}", outcome.step)),
        }
    }
}
