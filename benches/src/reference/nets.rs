//! The family "nets": small networks with random weights, from folders beside the file; and embeddings of times.
//!
//! Outputs, the loss and its gradients are compared, those relative to the largest entry of each tensor, in single precision.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use tallow::denoisers::{Call, Condition, Network, Noise};
use tallow::models::diffusers::{Pretrained, Weights};
use tallow::models::{AutoencoderKl, Dit, UNet};
use tallow::nn::{Parameters, SinusoidalConfig, SinusoidalEmbedding, WaveOrder, read_tensors};

use super::rule::{flag, only, refused};
use super::{Comparison, Fields, File, Obstacle};

type Tensors = BTreeMap<String, Tensor>;

/// Checks a case by the class of its network.
pub(super) fn check(case: &Fields<'_>, file: &File) -> Result<Comparison, Obstacle> {
    let class = case.text("class")?;
    if class == "function" {
        return timestep_embedding(case);
    }
    let folder = file
        .path
        .parent()
        .unwrap_or(Path::new("."))
        .join(case.text("folder")?);
    let (io, _) = read_tensors(folder.join("io.safetensors")).map_err(refused)?;
    let mut compared = Compared {
        comparison: Comparison::of(case)?,
        io,
    };
    match class {
        "UNet2DModel" => compared.network::<UNet>(&folder, "sample")?,
        "DiTTransformer2DModel" => compared.network::<Dit>(&folder, "hidden_states")?,
        "AutoencoderKL" => compared.autoencoder(&folder)?,
        other => {
            let why = format!("networks of the class {other:?} are not known");
            return Err(Obstacle::Unsupported(why));
        }
    }
    Ok(compared.comparison)
}

/// What was computed beside what is expected of a folder.
struct Compared {
    comparison: Comparison,
    io: Tensors,
}

impl Compared {
    /// A network of x, times and perhaps labels.
    fn network<M: Pretrained + Network>(&mut self, folder: &Path, x: &str) -> Result<(), Obstacle> {
        let weights = Weights::<M>::read(folder).map_err(refused)?;
        let (network, parameters) = weights.trainable(DType::F32, &Device::Cpu).map_err(refused)?;
        let condition = match self.io.get("input.class_labels") {
            Some(labels) => Condition::labels(labels.to_dtype(DType::U32).map_err(refused)?),
            None => Condition::none(),
        };
        let times = numbers(self.of("input.timestep")?)?;
        let x = self.of(&format!("input.{x}"))?;
        let call = Call::new(x, &times, &condition).map_err(refused)?;
        let y = network.forward(&call).map_err(refused)?;
        self.output("sample", &y)?;
        self.gradients(&weights, &parameters, &y)
    }

    fn autoencoder(&mut self, folder: &Path) -> Result<(), Obstacle> {
        let weights = Weights::<AutoencoderKl>::read(folder).map_err(refused)?;
        let (model, parameters) = weights.trainable(DType::F32, &Device::Cpu).map_err(refused)?;
        let posterior = model.encode(self.of("input.sample")?).map_err(refused)?;
        let mut noise = Given(self.of("input.latent_noise")?.clone());
        let z = posterior.sample(&mut noise).map_err(refused)?;
        let y = model.decode(&z).map_err(refused)?;
        self.output("mean", posterior.mode())?;
        self.output("logvar", &posterior.log_variance)?;
        self.output("kl", &posterior.kl().map_err(refused)?)?;
        self.output("z", &z)?;
        self.output("sample", &y)?;
        self.gradients(&weights, &parameters, &y)
    }

    fn output(&mut self, name: &str, got: &Tensor) -> Result<(), Obstacle> {
        let wanted = numbers(self.of(&format!("output.{name}"))?)?;
        self.comparison.numbers(name, &numbers(got)?, &wanted)
    }

    /// The loss of an output, and its gradients under the file's names.
    fn gradients<M: Pretrained>(
        &mut self,
        weights: &Weights<M>,
        parameters: &Parameters,
        y: &Tensor,
    ) -> Result<(), Obstacle> {
        let scale = 1.0 / y.elem_count() as f64;
        let loss = || {
            let linear = (y * self.of("loss_weight").map_err(|_| missing())?)?
                .sum_all()?
                .affine(scale, 0.0)?;
            linear + y.sqr()?.sum_all()?.affine(0.5 * scale, 0.0)?
        };
        let loss = loss().map_err(refused)?;
        let gradients = loss.backward().map_err(refused)?;
        let ours = parameters.named().into_iter().filter_map(|(name, variable)| {
            let gradient = gradients.get(&variable)?.clone();
            Some((name, gradient))
        });
        let ours: Tensors = ours.collect();
        let squares = ours
            .values()
            .map(|gradient| Ok(numbers(gradient)?.iter().map(|g| g * g).sum::<f64>()));
        let norm = squares.sum::<Result<f64, Obstacle>>()?.sqrt();
        let theirs = M::export(weights.config(), &ours).map_err(refused)?;
        self.scaled("loss", &numbers(&loss)?)?;
        self.scaled("grad_norm_all", &[norm])?;
        let names: Vec<String> = self
            .io
            .keys()
            .filter(|name| name.starts_with("grad."))
            .cloned()
            .collect();
        for name in names {
            let got = theirs.get(name.trim_start_matches("grad."));
            let got = got.ok_or_else(|| Obstacle::Wrong(format!("there is no {name}")))?;
            self.scaled(&name, &numbers(got)?)?;
        }
        Ok(())
    }

    /// Numbers in units of the largest that is expected.
    fn scaled(&mut self, name: &str, got: &[f64]) -> Result<(), Obstacle> {
        let wanted = numbers(self.of(name)?)?;
        let largest = wanted.iter().fold(0.0_f64, |a, b| a.max(b.abs()));
        let unit = if largest > 0.0 { largest } else { 1.0 };
        let units = |values: &[f64]| values.iter().map(|value| value / unit).collect::<Vec<_>>();
        self.comparison.numbers(name, &units(got), &units(&wanted))
    }

    fn of(&self, name: &str) -> Result<&Tensor, Obstacle> {
        let tensor = self.io.get(name);
        tensor.ok_or_else(|| Obstacle::Wrong(format!("io.safetensors has no tensor {name:?}")))
    }
}

fn missing() -> candle_core::Error {
    candle_core::Error::Msg("io.safetensors has no tensor \"loss_weight\"".to_owned())
}

fn numbers(tensor: &Tensor) -> Result<Vec<f64>, Obstacle> {
    let values = || tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
    values().map_err(refused)
}

/// Noise that a file holds.
struct Given(Tensor);

impl Noise for Given {
    fn increment(&mut self, like: &Tensor, _: f64, _: f64) -> tallow::denoisers::Result<Tensor> {
        self.fresh(like)
    }

    fn fresh(&mut self, like: &Tensor) -> tallow::denoisers::Result<Tensor> {
        Ok(self.0.to_dtype(like.dtype())?)
    }
}

/// Embeddings of times; an odd number of values is an even one and a zero.
fn timestep_embedding(case: &Fields<'_>) -> Result<Comparison, Obstacle> {
    let mut comparison = Comparison::of(case)?;
    for row in case.objects("rows")? {
        let known = [
            "dim",
            "flip_sin_to_cos",
            "downscale_freq_shift",
            "max_period",
            "t",
            "embedding",
            "max_abs_diff_to_peer",
        ];
        only(&row, &known)?;
        let order = match flag(&row, "flip_sin_to_cos", false)? {
            true => WaveOrder::CosinesFirst,
            false => WaveOrder::SinesFirst,
        };
        let config = SinusoidalConfig {
            order,
            max_period: row.number("max_period")?,
            frequency_shift: row.number("downscale_freq_shift")?,
            scale: 1.0,
        };
        let dim = row.count("dim")?;
        let times = row.numbers("t")?;
        let embed = || {
            let times = Tensor::new(times.as_slice(), &Device::Cpu)?;
            let even = SinusoidalEmbedding::new(dim - dim % 2, config)?.forward(&times)?;
            Ok::<_, tallow::nn::Error>(even.pad_with_zeros(1, 0, dim % 2)?)
        };
        comparison.field(&row, "embedding", &numbers(&embed().map_err(refused)?)?)?;
    }
    Ok(comparison)
}
