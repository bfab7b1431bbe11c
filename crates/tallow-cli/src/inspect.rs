//! `tallow inspect`: what a file or a folder is.

use std::fmt::Write;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use tallow::nn::Plan;
use tallow::schedules::{Prediction, Schedule};
use tallow::train::Checkpoint;

use crate::arguments::Inspect;
use crate::checkpoint_path::{Place, read};
use crate::error::{Blame, Result};
use crate::model::Source;
use crate::network;
use crate::objective::parameters;
use crate::output::{say, say_json, table, write};
use crate::pipeline::Pipeline;
use crate::recipe::Recipe;

pub(crate) fn run(arguments: &Inspect) -> Result<()> {
    match Place::find(&arguments.model)? {
        Place::Checkpoint(path) => checkpoint(&path, arguments),
        Place::Diffusers(folder) => pipeline(&folder, arguments),
    }
}

fn checkpoint(path: &Path, arguments: &Inspect) -> Result<()> {
    let checkpoint = read(path)?;
    let recipe = Recipe::of(&checkpoint, path);
    let bytes = std::fs::metadata(path).input_of(path.display())?.len();
    if arguments.json {
        return say_json(&json!({
            "kind": "checkpoint", "path": path.display().to_string(), "bytes": bytes, "step": checkpoint.step(), "format_version": 1,
            "recipe": recipe.as_ref().ok(), "configuration": configuration(&checkpoint)?,
            "parameters": weights(&checkpoint), "parts": parts_json(&checkpoint)?,
        }));
    }
    let mut text = String::new();
    line(
        &mut text,
        "checkpoint",
        &format!("{}, {bytes} bytes, whole", path.display()),
    );
    match &recipe {
        Ok(recipe) => told(&mut text, recipe, &checkpoint)?,
        Err(_) => {
            line(
                &mut text,
                "run",
                &format!("step {}, not of `tallow train`", checkpoint.step()),
            );
            line(
                &mut text,
                "configuration",
                &checkpoint.configuration().to_string(),
            );
        }
    }
    write(&text)?;
    let rows = parts(&checkpoint)?;
    write(&format!(
        "\n{}",
        table(&["part", "tensors", "numbers", "counters"], &rows)
    ))?;
    match (&recipe, arguments.parameters) {
        (Ok(recipe), true) => {
            let plan = Plan::new(DType::F32, usize::MAX);
            network::build(recipe, &plan.scope())?;
            say(&format!("\n{}", plan.summary()))
        }
        _ => Ok(()),
    }
}

/// The run of a checkpoint, line by line.
fn told(text: &mut String, recipe: &Recipe, checkpoint: &Checkpoint) -> Result<()> {
    let state = if checkpoint.step() < recipe.steps {
        "unfinished"
    } else {
        "finished"
    };
    line(
        text,
        "run",
        &format!(
            "step {} of {} ({state}), batches of {}, seed {}",
            checkpoint.step(),
            recipe.steps,
            recipe.batch,
            recipe.seed
        ),
    );
    let shape: Vec<String> = recipe.data.shape.iter().map(ToString::to_string).collect();
    let classes = match recipe.data.classes.len() {
        0 => "no labels".to_owned(),
        count => format!("{count} classes"),
    };
    line(
        text,
        "data",
        &format!("{}, {}, {classes}", recipe.data.name, shape.join("x")),
    );
    let model = serde_json::to_value(&recipe.model).run()?;
    line(
        text,
        "model",
        &format!("{}, {} parameters", parameters(&model), weights(checkpoint)),
    );
    let path = recipe.objective.path()?;
    line(
        text,
        "schedule",
        &schedule(
            path.as_ref(),
            &serde_json::to_value(&recipe.objective.schedule).run()?,
        ),
    );
    line(
        text,
        "prediction",
        &format!(
            "{}, objective {}",
            word(recipe.objective.prediction()),
            recipe.objective.told()?
        ),
    );
    line(
        text,
        "guidance",
        &match (recipe.conditional(), recipe.objective.label_dropout) {
            (false, _) => "none: no labels".to_owned(),
            (true, 0.0) => "none: labels were never dropped".to_owned(),
            (true, dropout) => format!("yes: {dropout} of the labels were dropped"),
        },
    );
    for (name, value) in [
        ("coupling", serde_json::to_value(recipe.coupling)),
        ("optimizer", serde_json::to_value(recipe.optimizer.rule)),
        ("average", serde_json::to_value(recipe.average)),
    ] {
        line(text, name, &parameters(&value.run()?));
    }
    let rate = recipe.learning_rate;
    line(
        text,
        "learning rate",
        &format!(
            "{}, peak {}, warm-up {}",
            parameters(&serde_json::to_value(rate.name).run()?).trim_matches('"'),
            rate.peak,
            rate.warm_up
        ),
    );
    line(
        text,
        "samples",
        &format!("`tallow sample` draws with {}", recipe.objective.usual_solver()),
    );
    Ok(())
}

fn pipeline(folder: &Path, arguments: &Inspect) -> Result<()> {
    let pipeline = Pipeline::read(folder, &Device::Cpu)?;
    let scheduler = &pipeline.scheduler;
    let shape = pipeline.shape();
    if arguments.json {
        return say_json(&json!({
            "kind": "diffusers", "path": folder.display().to_string(), "class": pipeline.class, "parameters": pipeline.parameters(),
            "shape": shape, "classes": pipeline.classes(), "scheduler": scheduler.class().name(),
            "prediction": word(scheduler.prediction()), "trained_steps": scheduler.trained_steps(),
            "scheduler_config": scheduler.config(), "autoencoder": pipeline.decoder.is_some(),
        }));
    }
    let mut text = String::new();
    line(&mut text, "diffusers", &folder.display().to_string());
    line(
        &mut text,
        "network",
        &format!("{}, {} parameters", pipeline.class, pipeline.parameters()),
    );
    let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
    line(
        &mut text,
        "state",
        &format!("{}, {} classes", shape.join("x"), pipeline.classes()),
    );
    line(
        &mut text,
        "scheduler",
        &format!(
            "{}, {} trained steps",
            scheduler.class().name(),
            scheduler.trained_steps()
        ),
    );
    let path = scheduler.schedule();
    line(
        &mut text,
        "schedule",
        &schedule(path.as_ref(), &Value::String("of the scheduler".to_owned())),
    );
    line(&mut text, "prediction", &word(scheduler.prediction()));
    let threshold = scheduler.threshold();
    let threshold = threshold.map_or_else(|| "none".to_owned(), |threshold| format!("{threshold:?}"));
    line(&mut text, "threshold", &threshold);
    let decoder = match &pipeline.decoder {
        Some(_) => "yes: samples are decoded",
        None => "no: the network draws images",
    };
    line(&mut text, "autoencoder", decoder);
    write(&text)
}

/// What the network is asked for, in a word.
fn word(prediction: Prediction) -> String {
    match prediction {
        Prediction::Edm { sigma_data } => format!("edm(sigma_data = {sigma_data})"),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn schedule(path: &dyn Schedule, name: &Value) -> String {
    let end = path.level(path.t_max());
    let name = name.as_str().map_or_else(|| parameters(name), str::to_owned);
    format!(
        "{name}, t from 0 to {}, α {:.4} and σ {:.4} at its end",
        path.t_max(),
        end.alpha,
        end.sigma
    )
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{name:<14}{value}");
}

/// How many numbers the weights are.
fn weights(checkpoint: &Checkpoint) -> usize {
    checkpoint
        .part("weights")
        .map_or(0, |part| part.tensors.values().map(Tensor::elem_count).sum())
}

fn configuration(checkpoint: &Checkpoint) -> Result<Value> {
    serde_json::from_str(&checkpoint.configuration().to_string()).run()
}

fn parts(checkpoint: &Checkpoint) -> Result<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    for name in checkpoint.names() {
        let part = checkpoint.part(name)?;
        let numbers: usize = part.tensors.values().map(Tensor::elem_count).sum();
        let counts: Vec<String> = part
            .counts
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        rows.push(vec![
            name.to_owned(),
            part.tensors.len().to_string(),
            numbers.to_string(),
            counts.join(", "),
        ]);
    }
    Ok(rows)
}

fn parts_json(checkpoint: &Checkpoint) -> Result<Value> {
    let mut parts = serde_json::Map::new();
    for name in checkpoint.names() {
        let part = checkpoint.part(name)?;
        let counts: Vec<_> = part
            .counts
            .iter()
            // As text: counters have up to 128 bits.
            .map(|(name, count)| (name.clone(), Value::String(count.to_string())))
            .collect();
        let numbers: usize = part.tensors.values().map(Tensor::elem_count).sum();
        parts.insert(
            name.to_owned(),
            json!({ "tensors": part.tensors.len(), "numbers": numbers, "counters": serde_json::Map::from_iter(counts) }),
        );
    }
    Ok(parts.into())
}
