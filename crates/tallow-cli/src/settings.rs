//! A configuration file as it is read: what a checkpoint keeps, and where data come from and files go.

use std::path::{Path, PathBuf};

use crate::data::{self, DataPlace};
use crate::device::{self, DeviceName};
use crate::error::{Error, Result};
use crate::objective;
use crate::recipe::{
    Average, CouplingName, DataRecipe, FORMAT, Model, OptimizerRecipe, OptimizerRule, Rate, RateName, Recipe,
};
use crate::toml_file::{Section, TomlFile};

/// A training that can be started.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The recipe, but for the shape and classes of the data, which the data tell.
    pub(crate) recipe: Recipe,
    pub(crate) place: DataPlace,
    /// Whether the model is to be told labels; `None` where the data decide.
    pub(crate) labels: Option<bool>,
    pub(crate) output: PathBuf,
    pub(crate) checkpoint_every: u64,
    pub(crate) keep: usize,
    pub(crate) device: DeviceName,
    file: TomlFile,
}

const TOP: &[&str] = &[
    "steps",
    "batch",
    "seed",
    "device",
    "output",
    "checkpoint_every",
    "keep",
    "validate_every",
    "data",
    "model",
    "objective",
    "coupling",
    "optimizer",
    "learning_rate",
    "average",
];

impl Settings {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        if !path.is_file() {
            return Err(Error::input(format!(
                "there is no configuration {}: `tallow init {}` writes one",
                path.display(),
                path.display()
            )));
        }
        Self::of(&TomlFile::read(path)?)
    }

    pub(crate) fn of(file: &TomlFile) -> Result<Self> {
        file.top(|top| {
            top.allow(TOP);
            top.check()?;
            let data = data::settings(&top.section("data")?)?;
            let recipe = Recipe {
                format: FORMAT.to_owned(),
                steps: top.whole("steps", 1..=1_000_000_000, None)?,
                batch: top.count("batch", 1..=1_000_000, None)?,
                seed: top.whole("seed", 0..=i64::MAX as u64, Some(0))?,
                data: DataRecipe {
                    name: data.name.clone(),
                    held_out_every: data.held_out_every,
                    shape: Vec::new(),
                    classes: Vec::new(),
                },
                model: model(&top.section("model")?)?,
                objective: objective::settings(&top.section("objective")?, data.labels)?,
                coupling: coupling(&top.section("coupling")?)?,
                optimizer: optimizer(&top.section("optimizer")?)?,
                learning_rate: rate(&top.section("learning_rate")?)?,
                average: average(&top.section("average")?)?,
                validate_every: top.whole("validate_every", 0..=1_000_000_000, Some(0))?,
            };
            check_coupling(top, &recipe)?;
            let device = top.choice("device", &device::NAMES, Some(0))?;
            let output = top.path("output")?.ok_or_else(|| {
                top.refuse(
                    "output",
                    "is missing: give it the folder for checkpoints and losses, such as \"runs/first\"",
                )
            })?;
            Ok(Self {
                file: file.clone(),
                recipe,
                place: data.place,
                labels: data.labels,
                output,
                checkpoint_every: top.whole("checkpoint_every", 1..=1_000_000_000, Some(250))?,
                keep: top.count("keep", 1..=1000, Some(3))?,
                device: DeviceName::of_name(device::NAMES[device]).unwrap_or_default(),
            })
        })
    }

    /// An error about a key, at its place in the file.
    pub(crate) fn placed(&self, error: Error) -> Error {
        self.file.placed(error)
    }

    /// The recipe with the shape and the classes that the data turned out to have.
    pub(crate) fn recipe_of(&self, shape: Vec<usize>, classes: Vec<String>) -> Result<Recipe> {
        let mut recipe = self.recipe.clone();
        let dropout = recipe.objective.label_dropout;
        recipe.data.shape = shape;
        recipe.data.classes = match self.labels {
            Some(false) => Vec::new(),
            Some(true) if classes.is_empty() => {
                return Err(Error::input(format!(
                    "`labels` of [data] is true, but the data {:?} have none: leave it away, or take labelled data",
                    recipe.data.name
                )));
            }
            _ => classes,
        };
        if dropout > 0.0 && !recipe.conditional() {
            return Err(Error::input(format!(
                "`label_dropout` of [objective] is {dropout}, but the data {:?} have no labels to drop: leave it away",
                recipe.data.name
            )));
        }
        Ok(recipe)
    }
}

const LARGE: usize = 65_536;
/// The largest batch that is paired by a matrix of costs: 512 MB of f64.
const LARGEST_MATCHED: usize = 8192;

/// Refuses what one section alone cannot tell.
fn check_coupling(top: &Section<'_>, recipe: &Recipe) -> Result<()> {
    if recipe.coupling != CouplingName::Independent && recipe.batch > LARGEST_MATCHED {
        let message = format!(
            "{} is too large for this `coupling`, which compares all pairs of a batch: take {LARGEST_MATCHED} at most",
            recipe.batch
        );
        return Err(top.refuse("batch", message));
    }
    Ok(())
}

fn model(section: &Section<'_>) -> Result<Model> {
    section.allow(&["name"]);
    let names = ["mlp", "unet", "dit"];
    let choice = section.choice("name", &names, None)?;
    Ok(match choice {
        0 => mlp(section)?,
        1 => unet(section)?,
        _ => dit(section)?,
    })
}

fn mlp(section: &Section<'_>) -> Result<Model> {
    section.allow(&["width", "depth", "waves"]);
    section.check()?;
    Ok(Model::Mlp {
        width: section.count("width", 1..=LARGE, Some(256))?,
        depth: section.count("depth", 1..=256, Some(4))?,
        waves: match section.has("waves") {
            true => Some(section.number("waves", 1e-3..=1e6, None)?),
            false => None,
        },
    })
}

fn unet(section: &Section<'_>) -> Result<Model> {
    section.allow(&["channels", "blocks", "attention", "groups"]);
    section.check()?;
    let channels = section.counts("channels", 1..=LARGE as u64, &[16, 32, 64])?;
    if channels.is_empty() {
        return Err(section.refuse("channels", "needs at least one level, such as [16, 32]"));
    }
    let groups = section.count("groups", 1..=LARGE, Some(8))?;
    if let Some(level) = channels.iter().find(|level| !level.is_multiple_of(groups)) {
        let message = format!(
            "the level of {level} channels cannot be cut into `groups` = {groups}: take multiples of {groups}, or other groups"
        );
        return Err(section.refuse("channels", message));
    }
    let last = channels.len() - 1;
    Ok(Model::Unet {
        blocks: section.count("blocks", 1..=64, Some(1))?,
        attention: section.counts("attention", 0..=last as u64, &[last])?,
        groups,
        channels,
    })
}

fn dit(section: &Section<'_>) -> Result<Model> {
    section.allow(&["width", "depth", "heads", "patch"]);
    section.check()?;
    let (width, heads) = (
        section.count("width", 4..=LARGE, Some(128))?,
        section.count("heads", 1..=LARGE, Some(4))?,
    );
    if !width.is_multiple_of(4) || !width.is_multiple_of(heads) {
        let message = format!("{width} is no multiple of 4 and of `heads` = {heads}: take one that is");
        return Err(section.refuse("width", message));
    }
    Ok(Model::Dit {
        width,
        heads,
        depth: section.count("depth", 1..=256, Some(6))?,
        patch: section.count("patch", 1..=1024, Some(4))?,
    })
}

fn coupling(section: &Section<'_>) -> Result<CouplingName> {
    section.allow(&["name"]);
    let names = ["independent", "optimal_transport", "sinkhorn", "immiscible_noise"];
    let choice = section.choice("name", &names, Some(0))?;
    if choice == 2 {
        section.allow(&["regularization"]);
    }
    section.check()?;
    Ok(match choice {
        0 => CouplingName::Independent,
        1 => CouplingName::OptimalTransport,
        2 => CouplingName::Sinkhorn {
            regularization: section.number("regularization", 1e-6..=1e3, Some(0.05))?,
        },
        _ => CouplingName::ImmiscibleNoise,
    })
}

fn optimizer(section: &Section<'_>) -> Result<OptimizerRecipe> {
    section.allow(&["name", "weight_decay", "clip", "micro_batches"]);
    let names = ["adamw", "adam", "radam", "sgd"];
    let choice = section.choice("name", &names, Some(0))?;
    section.allow(if choice == 3 {
        &["momentum"]
    } else {
        &["beta1", "beta2"]
    });
    section.check()?;
    let betas = || -> Result<(f64, f64)> {
        let most = 1.0 - f64::EPSILON;
        Ok((
            section.number("beta1", 0.0..=most, Some(0.9))?,
            section.number("beta2", 0.0..=most, Some(0.999))?,
        ))
    };
    let rule = match choice {
        3 => OptimizerRule::Sgd {
            momentum: section.number("momentum", 0.0..=1.0 - f64::EPSILON, Some(0.9))?,
        },
        _ => {
            let (beta1, beta2) = betas()?;
            match choice {
                0 => OptimizerRule::Adamw { beta1, beta2 },
                1 => OptimizerRule::Adam { beta1, beta2 },
                _ => OptimizerRule::Radam { beta1, beta2 },
            }
        }
    };
    Ok(OptimizerRecipe {
        rule,
        weight_decay: section.number("weight_decay", 0.0..=1e3, Some(0.0))?,
        clip: match section.has("clip") {
            true => Some(section.number("clip", 1e-9..=1e9, None)?),
            false => None,
        },
        micro_batches: section.count("micro_batches", 1..=65_536, Some(1))?,
    })
}

fn rate(section: &Section<'_>) -> Result<Rate> {
    section.allow(&["name", "peak", "warm_up", "floor"]);
    section.check()?;
    let names = ["constant", "cosine", "linear", "inverse_square_root"];
    let name = match section.choice("name", &names, Some(1))? {
        0 => RateName::Constant,
        1 => RateName::Cosine,
        2 => RateName::Linear,
        _ => RateName::InverseSquareRoot,
    };
    let peak = section.number("peak", 1e-12..=1e3, Some(1e-3))?;
    Ok(Rate {
        name,
        peak,
        warm_up: section.whole("warm_up", 0..=1_000_000_000, Some(0))?,
        floor: section.number("floor", 0.0..=peak, Some(0.0))?,
    })
}

fn average(section: &Section<'_>) -> Result<Average> {
    section.allow(&["name"]);
    let names = ["warm_up", "constant", "power", "none"];
    let choice = section.choice("name", &names, Some(0))?;
    section.allow(match choice {
        0 | 1 => &["decay"],
        2 => &["gamma"],
        _ => &[],
    });
    section.check()?;
    let decay = || section.number("decay", 0.0..=1.0, Some(0.999));
    Ok(match choice {
        0 => Average::WarmUp { decay: decay()? },
        1 => Average::Constant { decay: decay()? },
        2 => Average::Power {
            gamma: section.number("gamma", 0.0..=1e6, Some(6.94))?,
        },
        _ => Average::None,
    })
}
