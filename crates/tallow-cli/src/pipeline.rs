//! A folder of diffusers as a model: its scheduler says the path, the prediction and the steps.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use tallow::denoisers::guidance::Scale;
use tallow::denoisers::{Clamped, Condition, Denoiser, Guided};
use tallow::models::diffusers::{ModelIndex, Scheduler, Weights};
use tallow::models::{AutoencoderKl, Dit, UNet, UNetClasses};
use tallow::schedules::TimeGrid;

use crate::error::{Blame, Error, Result};
use crate::model::Source;

/// A pipeline that draws images.
pub(crate) struct Pipeline {
    pub(crate) scheduler: Scheduler,
    pub(crate) network: Pretrained,
    pub(crate) decoder: Option<AutoencoderKl>,
    /// The network's class in diffusers.
    pub(crate) class: String,
    device: Device,
}

/// A network of diffusers.
pub(crate) enum Pretrained {
    UNet(Box<Weights<UNet>>),
    Dit(Box<Weights<Dit>>),
}

impl Pipeline {
    pub(crate) fn read(folder: &Path, device: &Device) -> Result<Self> {
        let class = class_of(folder)?;
        let network = match class.as_str() {
            "UNet2DModel" => Pretrained::UNet(Box::new(Weights::read(folder).input()?)),
            "DiTTransformer2DModel" | "Transformer2DModel" => {
                Pretrained::Dit(Box::new(Weights::read(folder).input()?))
            }
            other => {
                return Err(Error::input(format!(
                    "{}: the network is a {other:?}; read are UNet2DModel and DiTTransformer2DModel",
                    folder.display()
                )));
            }
        };
        let scheduler = Scheduler::read(folder).input()?;
        let decoder = decoder(folder, device)?;
        Ok(Self {
            scheduler,
            network,
            decoder,
            class,
            device: device.clone(),
        })
    }

    pub(crate) fn parameters(&self) -> usize {
        let tensors = match &self.network {
            Pretrained::UNet(weights) => weights.tensors(),
            Pretrained::Dit(weights) => weights.tensors(),
        };
        tensors.values().map(Tensor::elem_count).sum()
    }

    /// The model within the range that the scheduler clips to, if it does.
    fn clamped<'a>(&self, model: impl Denoiser + 'a) -> Result<Box<dyn Denoiser + 'a>> {
        Ok(match self.scheduler.threshold() {
            Some(threshold) => Box::new(Clamped::new(model, threshold).input()?),
            None => Box::new(model),
        })
    }

    fn labels(&self, labels: &[u32]) -> Result<Condition> {
        Ok(Condition::labels(Tensor::new(labels, &self.device).run()?))
    }
}

impl Source for Pipeline {
    fn shape(&self) -> Vec<usize> {
        match &self.network {
            Pretrained::UNet(weights) => {
                let config = weights.config();
                let [height, width] = config.size.unwrap_or([32, 32]);
                vec![config.inputs, height, width]
            }
            Pretrained::Dit(weights) => {
                let config = weights.config();
                vec![config.channels, config.size, config.size]
            }
        }
    }

    fn classes(&self) -> usize {
        match &self.network {
            Pretrained::UNet(weights) => match weights.config().classes {
                UNetClasses::Table { count } => count,
                _ => 0,
            },
            Pretrained::Dit(weights) => weights.config().classes,
        }
    }

    fn class(&self, wanted: &str) -> Result<u32> {
        let classes = self.classes();
        if classes == 0 {
            return Err(Error::input(format!(
                "--class {wanted}: this {} has no classes",
                self.class
            )));
        }
        let number = wanted
            .parse::<u32>()
            .ok()
            .filter(|class| (*class as usize) < classes);
        number.ok_or_else(|| {
            Error::input(format!(
                "--class {wanted}: allowed are numbers from 0 to {}",
                classes - 1
            ))
        })
    }

    fn denoiser(&self, labels: &[u32], guidance: f64) -> Result<Box<dyn Denoiser + '_>> {
        match &self.network {
            Pretrained::UNet(weights) => {
                if guidance != 1.0 {
                    return Err(Error::input(format!(
                        "--guidance {guidance}: a UNet2DModel knows no label of none, leave --guidance away"
                    )));
                }
                let config = weights.config();
                if config.size.is_none() || matches!(config.classes, UNetClasses::Times | UNetClasses::Given)
                {
                    return Err(Error::input(
                        "this UNet2DModel does not say its `sample_size`, or is told vectors for classes: it cannot be drawn from here",
                    ));
                }
                let model = weights
                    .denoiser(&self.scheduler, DType::F32, &self.device)
                    .input()?;
                match labels.is_empty() {
                    true => self.clamped(model),
                    false => self.clamped(model.with_condition(self.labels(labels)?)),
                }
            }
            Pretrained::Dit(weights) => {
                let model = weights
                    .denoiser(&self.scheduler, DType::F32, &self.device)
                    .input()?;
                let null = weights.config().null_label();
                match (guidance == 1.0, null) {
                    (true, None) => self.clamped(model),
                    (true, Some(_)) => self.clamped(model.with_condition(self.labels(labels)?)),
                    (false, None) => Err(Error::input(format!(
                        "--guidance {guidance}: this transformer has no labels, leave --guidance away"
                    ))),
                    (false, Some(null)) => {
                        let null = self.labels(&vec![null; labels.len()])?;
                        let scale = Scale::Imagen(guidance);
                        self.clamped(Guided::batched(model, self.labels(labels)?, &null, scale).input()?)
                    }
                }
            }
        }
    }

    fn grid(&self, steps: usize) -> Result<TimeGrid> {
        let tokens = match &self.network {
            Pretrained::UNet(_) => self.shape().iter().skip(1).product(),
            Pretrained::Dit(weights) => weights.config().tokens(),
        };
        self.scheduler.grid_of_sequence(steps, tokens).input()
    }

    fn usual_solver(&self) -> &'static str {
        "dpmpp_2m"
    }

    fn check_noise(&self, _solver: &str) -> Result<()> {
        Ok(())
    }

    fn finish(&self, x: Tensor) -> Result<Tensor> {
        match &self.decoder {
            None => Ok(x),
            Some(decoder) => decoder.decode(&decoder.unscaled(&x).run()?).run(),
        }
    }

    fn told(&self) -> Result<String> {
        Ok(format!("{} under {}", self.class, self.scheduler.class().name()))
    }
}

/// The class that the network's `config.json` names.
pub(crate) fn class_of(folder: &Path) -> Result<String> {
    let places = ["unet", "transformer", "."].map(|place| folder.join(place).join("config.json"));
    let Some(path) = places.iter().find(|path| path.is_file()) else {
        return Err(Error::input(format!(
            "{} has neither unet/config.json nor transformer/config.json nor config.json: name the folder of a pipeline",
            folder.display()
        )));
    };
    let text = std::fs::read_to_string(path).input_of(path.display())?;
    let config: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| Error::input(format!("{} is no JSON: {error}", path.display())))?;
    let class = config.get("_class_name").and_then(serde_json::Value::as_str);
    class.map(str::to_owned).ok_or_else(|| {
        Error::input(format!(
            "{} names no `_class_name`: is it of diffusers?",
            path.display()
        ))
    })
}

/// The autoencoder whose latents the network draws, if the pipeline has one.
fn decoder(folder: &Path, device: &Device) -> Result<Option<AutoencoderKl>> {
    let listed = folder.join("model_index.json").is_file()
        && ModelIndex::read(folder)
            .input()?
            .parts
            .get("vae")
            .is_some_and(Option::is_some);
    if !listed && !folder.join("vae").is_dir() {
        return Ok(None);
    }
    let weights = Weights::<AutoencoderKl>::read(folder.join("vae")).input()?;
    Ok(Some(weights.network(DType::F32, device).input()?))
}
