//! The network of a pipeline of diffusers, as a model that a solver can ask.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use tallow::denoisers::guidance::Scale;
use tallow::denoisers::{Clamped, Condition, Denoiser, Guided, Network, Variance};
use tallow::models::diffusers::{Pretrained, Scheduler, Weights};
use tallow::models::{Dit, UNet, UNetClasses};
use tallow_examples::{Failure, Outcome};

/// A network as the sampling needs it.
pub(crate) struct Loaded {
    pub(crate) model: Box<dyn Denoiser>,
    /// Channels, height, width of its x.
    pub(crate) shape: [usize; 3],
    /// What a sequence model sees: the number of its tokens, or of its pixels.
    pub(crate) tokens: usize,
}

/// What is asked of the network.
pub(crate) struct Asked<'a> {
    pub(crate) class: Option<u32>,
    pub(crate) guidance: f64,
    pub(crate) samples: usize,
    pub(crate) device: &'a Device,
}

impl Asked<'_> {
    /// The class of each sample among `count`.
    fn labels(&self, count: usize) -> Result<Tensor, Failure> {
        let label = |sample: usize| self.class.unwrap_or((sample % count) as u32);
        if let Some(class) = self.class.filter(|class| *class as usize >= count) {
            return Err(format!(
                "--class {class}: the network has {count} classes, 0 to {}",
                count - 1
            )
            .into());
        }
        let labels: Vec<u32> = (0..self.samples).map(label).collect();
        Ok(Tensor::new(labels, self.device)?)
    }

    fn refuse_guidance(&self, why: &str) -> Outcome {
        if self.guidance == 1.0 {
            return Ok(());
        }
        Err(format!("--guidance {}: {why}; leave it at 1", self.guidance).into())
    }
}

/// The class of the network in a pipeline's folder, and the network under its scheduler.
pub(crate) fn load(
    folder: &Path,
    scheduler: &Scheduler,
    asked: &Asked<'_>,
) -> Result<(String, Loaded), Failure> {
    let class = class_of(folder)?;
    let loaded = match class.as_str() {
        "UNet2DModel" => load_unet(folder, scheduler, asked)?,
        "DiTTransformer2DModel" | "Transformer2DModel" => load_dit(folder, scheduler, asked)?,
        other => {
            return Err(
                format!("the network is a {other}; read are UNet2DModel and DiTTransformer2DModel").into(),
            );
        }
    };
    Ok((class, loaded))
}

fn load_unet(folder: &Path, scheduler: &Scheduler, asked: &Asked<'_>) -> Result<Loaded, Failure> {
    let weights = Weights::<UNet>::read(folder)?;
    let config = weights.config().clone();
    asked.refuse_guidance("a UNet2DModel knows no label of none")?;
    let count = match config.classes {
        UNetClasses::None => None,
        UNetClasses::Table { count } => Some(count),
        UNetClasses::Times | UNetClasses::Given => {
            return Err(
                "this UNet2DModel is told numbers or vectors for classes, which this example has none of"
                    .into(),
            );
        }
    };
    let [height, width] = config
        .size
        .ok_or("this UNet2DModel does not say its `sample_size`")?;
    let mut model = weights.denoiser(scheduler, DType::F32, asked.device)?;
    match count {
        Some(count) => model = model.with_condition(Condition::labels(asked.labels(count)?)),
        None if asked.class.is_some() => {
            return Err("--class: this UNet2DModel has no classes".into());
        }
        None => {}
    }
    say_network(&weights);
    Ok(Loaded {
        model: clamped(model, scheduler)?,
        shape: [config.inputs, height, width],
        tokens: height * width,
    })
}

fn load_dit(folder: &Path, scheduler: &Scheduler, asked: &Asked<'_>) -> Result<Loaded, Failure> {
    let weights = Weights::<Dit>::read(folder)?;
    let config = *weights.config();
    let model = weights.denoiser(scheduler, DType::F32, asked.device)?;
    let condition = Condition::labels(asked.labels(config.classes)?);
    let null = config.null_label().ok_or("this transformer has no labels")?;
    say_network(&weights);
    let model: Box<dyn Denoiser> = if asked.guidance == 1.0 {
        clamped(model.with_condition(condition), scheduler)?
    } else {
        let null = Condition::labels(Tensor::full(null, asked.samples, asked.device)?);
        let guided = Guided::batched(model, condition, &null, Scale::Imagen(asked.guidance))?;
        clamped(guided, scheduler)?
    };
    Ok(Loaded {
        model,
        shape: [config.channels, config.size, config.size],
        tokens: config.tokens(),
    })
}

/// The model within the range that the scheduler clips to, if it does.
fn clamped(model: impl Denoiser + 'static, scheduler: &Scheduler) -> Result<Box<dyn Denoiser>, Failure> {
    Ok(match scheduler.threshold() {
        Some(threshold) => Box::new(Clamped::new(model, threshold)?),
        None => Box::new(model),
    })
}

fn say_network<M: Pretrained + Network>(weights: &Weights<M>) {
    let count: usize = weights.tensors().values().map(Tensor::elem_count).sum();
    let variance = match M::variance(weights.config()) {
        Variance::LearnedRange => ", learns the variance",
        _ => "",
    };
    println!("network: {} of {count} parameters{variance}", M::CLASSES[0]);
}

/// The class that the network's `config.json` names.
fn class_of(folder: &Path) -> Result<String, Failure> {
    let places = ["unet", "transformer", "."].map(|place| folder.join(place).join("config.json"));
    let Some(path) = places.iter().find(|path| path.is_file()) else {
        return Err(format!(
            "{} has neither unet/config.json nor transformer/config.json nor config.json: name the folder of a pipeline",
            folder.display()
        )
        .into());
    };
    let config: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path)?)
        .map_err(|error| format!("{} is no JSON: {error}", path.display()))?;
    let class = config.get("_class_name").and_then(serde_json::Value::as_str);
    Ok(class
        .ok_or_else(|| format!("{} names no `_class_name`", path.display()))?
        .to_owned())
}
