//! `tallow evaluate`: points by distances between samples and data, images by the loss on those that training did not see.

mod frechet;

use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use serde_json::json;
use tallow::datasets::{self, Colour, Images, Layout};
use tallow::denoisers::{Condition, Dataset, LABELS, Seeded};
use tallow::metrics::{Points, Statistic, energy_distance, wasserstein2};
use tallow::objectives::Objective;

use crate::arguments::Evaluate;
use crate::artwork::Frames;
use crate::checkpoint_path::Place;
use crate::data::{self, Data, DataPlace};
use crate::error::{Blame, Error, Result, advice, listed};
use crate::model::{Source, Trained, WeightChoice};
use crate::output::{say, say_json};
use crate::sample::{Plan, Request};

/// Samples and points that are compared.
const POINTS: u64 = 2048;
const MOST_POINTS: usize = 8192;
/// Solver steps of the samples.
const STEPS: u64 = 50;
/// Images whose loss is taken at once.
const ROWS: usize = 128;
/// The stream of a seed that the data come from, and that of a second set of them.
const STREAMS: [u64; 2] = [1 << 33, (1 << 33) + 1];
/// The stream of times and noise.
const NOISE: u64 = (1 << 33) + 2;

pub(crate) fn run(arguments: &Evaluate) -> Result<()> {
    let path = match Place::find(&arguments.model)? {
        Place::Checkpoint(path) => path,
        Place::Diffusers(folder) => {
            return Err(Error::input(format!(
                "{} is a folder of diffusers, which does not tell its data: draw from it with `tallow sample`",
                folder.display()
            )));
        }
    };
    let device = arguments.device.open()?;
    let choice = WeightChoice::of_flag(arguments.raw_weights);
    let trained = Trained::read(path, choice, &device)?;
    match trained.recipe.draws_images() {
        true => images(arguments, &trained, &device),
        false => points(arguments, &trained, &device),
    }
}

fn points(arguments: &Evaluate, trained: &Trained, device: &Device) -> Result<()> {
    if let Some(weights) = &arguments.inception {
        return Err(Error::input(format!(
            "--inception {}: this model draws points, not images, leave it away",
            weights.display()
        )));
    }
    let began = Instant::now();
    let name = arguments.data.as_deref().unwrap_or(&trained.recipe.data.name);
    if !datasets::NAMES.contains(&name) {
        return Err(Error::input(format!(
            "--data {name}: {}",
            advice(name, &datasets::NAMES)
        )));
    }
    let data = datasets::by_name(name).input()?;
    if data.item_shape() != trained.recipe.data.shape {
        return Err(Error::input(format!(
            "--data {name}: its points are of another dimension than the model's"
        )));
    }
    let count = arguments.count.unwrap_or(POINTS) as usize;
    if count > MOST_POINTS {
        return Err(Error::input(format!(
            "--count {count}: Wasserstein-2 pairs all points exactly, for which {MOST_POINTS} are the most"
        )));
    }
    let plan = Plan::new(trained, arguments.solver.as_deref(), arguments.steps, STEPS)?;
    let [first, second] = STREAMS.map(|stream| data.draw(count, &mut Seeded::stream(arguments.seed, stream)));
    let (first, second) = (first.run()?, second.run()?);
    // Samples of the labels that the data have, so that the classes count alike.
    let labels = match trained.recipe.conditional() {
        true => labels(&first.condition, name, trained.recipe.data.classes.len())?,
        false => Vec::new(),
    };
    let request = Request {
        labels,
        count,
        guidance: arguments.guidance.unwrap_or(1.0),
        seed: arguments.seed,
        batch: None,
    };
    let drawn = plan.draw(trained, &request, device, &mut Frames::none())?;
    let of_model = distances(&drawn.samples, &second.x0)?;
    let of_data = distances(&first.x0, &second.x0)?;
    let seconds = began.elapsed().as_secs_f64();
    if arguments.json {
        return say_json(&json!({
            "data": name, "count": count, "solver": plan.name, "evaluations": drawn.evaluations, "seed": arguments.seed,
            "wasserstein2": of_model[0], "energy_distance": of_model[1],
            "data_wasserstein2": of_data[0], "data_energy_distance": of_data[1],
            "step": trained.step, "checkpoint": trained.path.display().to_string(), "seconds": seconds,
        }));
    }
    say(&format!(
        "{count} samples of {} against as many points of {name}, {}, {seconds:.1} s\n\
         wasserstein2     {:.4}   (data against data {:.4})\n\
         energy_distance  {:.5}  (data against data {:.5})",
        trained.told()?,
        plan.told(),
        of_model[0],
        of_data[0],
        of_model[1],
        of_data[1]
    ))
}

/// The labels of data for a model that is told them.
fn labels(condition: &Condition, name: &str, classes: usize) -> Result<Vec<u32>> {
    let Ok(labels) = condition.tensor(LABELS) else {
        return Err(Error::input(format!(
            "--data {name}: these points have no labels, and the model was trained with {classes} classes: name labelled data"
        )));
    };
    let labels = labels.to_vec1::<u32>().run()?;
    match labels.iter().max() {
        Some(largest) if *largest as usize >= classes => Err(Error::input(format!(
            "--data {name}: these points have more than the {classes} classes that the model was trained with"
        ))),
        _ => Ok(labels),
    }
}

/// Wasserstein-2 and energy distance.
fn distances(x: &Tensor, y: &Tensor) -> Result<[f64; 2]> {
    let of = |tensor: &Tensor| Points::from_tensor(&tensor.to_device(&Device::Cpu).run()?).run();
    let (x, y) = (of(x)?, of(y)?);
    Ok([
        wasserstein2(&x, &y).run()?.distance,
        energy_distance(&x, &y, Statistic::V).run()?,
    ])
}

fn images(arguments: &Evaluate, trained: &Trained, device: &Device) -> Result<()> {
    if let Some(weights) = &arguments.inception {
        let held_out = counted(arguments, held_out(arguments, trained)?)?;
        return frechet::images(arguments, trained, &held_out, weights, device);
    }
    for (given, name) in [
        (arguments.solver.is_some(), "--solver"),
        (arguments.steps.is_some(), "--steps"),
        (arguments.guidance.is_some(), "--guidance"),
    ] {
        if given {
            return Err(Error::input(format!(
                "{name}: the loss of images takes no samples: leave it away, or compare samples with --inception FILE"
            )));
        }
    }
    let began = Instant::now();
    let held_out = counted(arguments, held_out(arguments, trained)?)?;
    let count = held_out.rows();
    let recipe = &trained.recipe;
    let objective = recipe.objective.regression(recipe)?;
    let mut rng = Seeded::stream(arguments.seed, NOISE);
    let rows: Vec<u32> = (0..count as u32).collect();
    let mut sum = 0.0;
    for rows in rows.chunks(ROWS) {
        let batch = held_out.select(rows).run()?.to(device, DType::F32).run()?;
        let batch = match recipe.conditional() {
            true => batch,
            false => batch.with_condition(Condition::none()).run()?,
        };
        let loss = objective.loss(&trained.network, &batch, &mut rng).run()?.mean;
        sum += loss.to_dtype(DType::F64).run()?.to_scalar::<f64>().run()? * rows.len() as f64;
    }
    let (loss, seconds) = (sum / count as f64, began.elapsed().as_secs_f64());
    if arguments.json {
        return say_json(&json!({
            "data": recipe.data.name, "count": count, "validation_loss": loss, "seed": arguments.seed,
            "step": trained.step, "checkpoint": trained.path.display().to_string(), "seconds": seconds,
        }));
    }
    say(&format!(
        "{count} images of {} that training did not see, {seconds:.1} s\nvalidation_loss  {loss:.5}  ({})",
        recipe.data.name,
        recipe.objective.told()?
    ))
}

/// A sample of some images, as many as were asked for.
fn counted(arguments: &Evaluate, images: Images) -> Result<Images> {
    let all = images.rows();
    let Some(count) = arguments.count else {
        return Ok(images);
    };
    if count > all as u64 {
        return Err(Error::input(format!(
            "--count {count}: there are {all} images that training did not see"
        )));
    }
    images.sample(count as usize, arguments.seed).run()
}

/// The images of a checkpoint's data that its training did not see.
fn held_out(arguments: &Evaluate, trained: &Trained) -> Result<Images> {
    let recipe = &trained.recipe.data;
    if recipe.name == "digits"
        && let Some(data) = &arguments.data
        && data != "digits"
    {
        return Err(Error::input(format!(
            "--data {data}: this model was trained on the digits that the program carries, leave --data away"
        )));
    }
    if data::is_cut(&recipe.name) && recipe.held_out_every == 0 {
        return Err(Error::input(
            "this model was trained on all of its images (held_out_every = 0), so there is none to evaluate it on: train with `held_out_every = 10` in [data]",
        ));
    }
    let place = place(
        arguments.data.as_deref().map(Path::new),
        &recipe.shape,
        &recipe.classes,
    );
    let data = Data::load(&recipe.name, &place, recipe.held_out_every)?;
    if data.shape() != recipe.shape {
        return Err(Error::input(format!(
            "the images are {:?} (channels, height, width), the model's {:?}: name the data that it was trained on",
            data.shape(),
            recipe.shape
        )));
    }
    let classes = data.classes()?;
    if trained.recipe.conditional() && classes != recipe.classes {
        return Err(Error::input(format!(
            "the images have the classes {}, the model was trained with {}: name the data that it was trained on",
            told(&classes),
            told(&recipe.classes)
        )));
    }
    match data {
        Data::Images {
            held_out: Some(images),
            ..
        } => Ok(images),
        _ => Err(Error::input(format!(
            "the data {:?} have no held-out images",
            recipe.name
        ))),
    }
}

/// Some names, or that there are none.
fn told(classes: &[String]) -> String {
    match classes.len() {
        0 => "none".to_owned(),
        count @ 1..=12 => format!("{} ({count})", listed(classes)),
        count => format!("{}, … ({count})", listed(&classes[..12])),
    }
}

/// Where the images lie, read as those of the training: a model without labels may have seen a folder with or without classes,
/// which differ in whether pictures lie beside its folders.
fn place(folder: Option<&Path>, shape: &[usize], classes: &[String]) -> DataPlace {
    let holds = |folder: &Path, what: fn(&Path) -> bool| {
        let mut entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.any(|entry| what(&entry.path()))
    };
    let of_classes =
        |folder: &Path| !classes.is_empty() || (holds(folder, Path::is_dir) && !holds(folder, Path::is_file));
    DataPlace {
        path: folder.map(PathBuf::from),
        side: shape.last().copied().unwrap_or(1),
        colour: match shape.first() {
            Some(1) => Colour::Grey,
            _ => Colour::Rgb,
        },
        layout: match folder.is_some_and(of_classes) {
            true => Layout::Classes,
            false => Layout::Flat,
        },
    }
}
