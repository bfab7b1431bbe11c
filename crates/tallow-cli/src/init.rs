//! `tallow init`: a configuration to start from.

use crate::arguments::Init;
use crate::error::{Error, Result, advice};
use crate::output::say;
use crate::{data, files, template};

pub(crate) fn run(arguments: &Init) -> Result<()> {
    let model = match &arguments.model {
        Some(model) => model.as_str(),
        None if data::is_images(&arguments.data) => "unet",
        None => "mlp",
    };
    for (option, name, known) in [
        ("--data", arguments.data.as_str(), data::names()),
        ("--model", model, template::MODELS.to_vec()),
        (
            "--objective",
            arguments.objective.as_str(),
            template::OBJECTIVES.to_vec(),
        ),
    ] {
        if !known.contains(&name) {
            return Err(Error::input(format!("{option} {name}: {}", advice(name, &known))));
        }
    }
    if model != "mlp" && !data::is_images(&arguments.data) {
        return Err(Error::input(format!(
            "--model {model} is a network of images, and {} are points: leave --model away",
            arguments.data
        )));
    }
    let file = &arguments.file;
    if file.exists() && !arguments.force {
        return Err(Error::input(format!(
            "{} is there already: name another file, or replace it with --force",
            file.display()
        )));
    }
    let text = template::configuration(&arguments.data, model, &arguments.objective);
    files::write(file, &text)?;
    say(&format!(
        "wrote {}: `tallow train {}` starts the run",
        file.display(),
        file.display()
    ))
}
