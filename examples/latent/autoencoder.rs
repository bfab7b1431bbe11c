//! The first half of latent diffusion: an autoencoder whose latents are small, smooth and of deviation 1.

use std::path::Path;

use candle_core::{D, DType, Device, Tensor};
use rand::RngCore;
use serde::Serialize;
use tallow::datasets::{Images, LastBatch, Prefetch, Shuffled};
use tallow::denoisers::{Batch, Call, Network, normal_like};
use tallow::models::diffusers::Weights;
use tallow::models::{AutoencoderKl, AutoencoderKlConfig};
use tallow::nn::{AdamW, AdamWConfig, Parameters};
use tallow::objectives::{Loss, Objective};
use tallow::train::{Checkpoints, Configuration, LearningRate, Trainer};
use tallow_examples::Failure;

/// Images that are encoded or decoded at once.
const ROWS: usize = 100;

/// An autoencoder as the network of a training: it draws an image again, from the means of its latents.
struct Reconstructing<'a>(&'a AutoencoderKl);

impl Network for Reconstructing<'_> {
    fn forward(&self, call: &Call<'_>) -> candle_core::Result<Tensor> {
        Ok(self.0.decode(self.0.encode(call.x)?.mode())?)
    }
}

/// The squared error of an image drawn from its latents, and what keeps these near N(0, 1):
/// mean (x − x̂)² + `kl_weight` · KL(q(z | x) ‖ N(0, I)) for each number of the latents.
struct Autoencoding<'a> {
    model: &'a AutoencoderKl,
    kl_weight: f64,
}

impl std::fmt::Debug for Autoencoding<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Autoencoding {{ kl_weight: {} }}", self.kl_weight)
    }
}

impl Objective for Autoencoding<'_> {
    /// Asks the autoencoder's halves, which no call of a network shows, instead of `_network`, which is the same one.
    fn loss(
        &self,
        _network: &dyn Network,
        batch: &Batch,
        rng: &mut dyn RngCore,
    ) -> tallow::objectives::Result<Loss> {
        let told = |error: tallow::models::Error| candle_core::Error::from(error);
        let posterior = self.model.encode(&batch.x0).map_err(told)?;
        let spread = posterior.standard_deviation().map_err(told)?;
        let noise = normal_like(&posterior.mean, rng)?;
        let z = (&posterior.mean + (spread * noise)?)?;
        let drawn = self.model.decode(&z).map_err(told)?;
        let error = (drawn - &batch.x0)?.sqr()?.flatten_from(1)?.mean(D::Minus1)?;
        let numbers = z.elem_count() / z.dim(0)?;
        let kl = (posterior.kl().map_err(told)? * (self.kl_weight / numbers as f64))?;
        let per_row = (error + kl)?;
        Ok(Loss {
            mean: per_row.mean_all()?,
            per_row: per_row.detach(),
            // Nothing is asked at a level.
            levels: Vec::new(),
        })
    }
}

/// How an autoencoder is trained: what its checkpoints are compared with.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Training {
    pub(crate) steps: u64,
    pub(crate) batch: usize,
    pub(crate) kl_weight: f64,
    pub(crate) seed: u64,
    pub(crate) checkpoint_every: u64,
}

/// A trained autoencoder, the scaled latents of what it was trained on, and their deviation before they are scaled.
pub(crate) struct Trained {
    pub(crate) model: AutoencoderKl,
    pub(crate) latents: Tensor,
    pub(crate) std: f64,
}

impl Training {
    /// Trains an autoencoder of `images` from the newest checkpoint in `folder` if there is one, measures its latents, and
    /// writes it to `folder/vae` as diffusers would, the scale in its `config.json`.
    pub(crate) fn run(self, images: &Images, folder: &Path, device: &Device) -> Result<Trained, Failure> {
        let parameters = Parameters::new(self.seed, DType::F32, device);
        let [channels, height, _] = images.shape();
        let mut config = AutoencoderKlConfig::small(channels, height);
        let model = AutoencoderKl::new(&parameters.scope(), config.clone())?;
        println!("autoencoder: {} parameters", parameters.count());
        self.train(&parameters, &model, images, folder)?;
        let view = parameters.detached();
        let model = AutoencoderKl::new(&view.scope(), config.clone())?;
        // As they are: the scale of a fresh configuration is 1.
        let latents = encoded(&model, images, device)?;
        let std = deviation(&latents)?;
        config.scale = 1.0 / std;
        Weights::<AutoencoderKl>::new(config.clone(), view.tensors())?.write(folder.join("vae"))?;
        let model = AutoencoderKl::new(&view.scope(), config)?;
        let latents = model.scaled(&latents)?;
        Ok(Trained { model, latents, std })
    }

    fn train(
        self,
        parameters: &Parameters,
        model: &AutoencoderKl,
        images: &Images,
        folder: &Path,
    ) -> Result<(), Failure> {
        let objective = Autoencoding {
            model,
            kl_weight: self.kl_weight,
        };
        let batch = self.batch.min(images.rows());
        let batches = Shuffled::new(images.clone(), batch, self.seed)?.with_last_batch(LastBatch::Dropped)?;
        let network = Reconstructing(model);
        let optimizer = AdamW::new(
            parameters,
            AdamWConfig {
                weight_decay: 0.0,
                ..AdamWConfig::default()
            },
        )?;
        let rate = LearningRate::cosine(2e-3, self.steps)?.with_warm_up(50.min(self.steps / 2));
        let mut trainer = Trainer::new(
            parameters,
            &network,
            &objective,
            Prefetch::new(batches)?,
            optimizer,
        )
        .with_learning_rate(rate)
        .with_clipping(1.0)?
        .with_loss_file(folder.join("loss.csv"))
        .with_configuration(Configuration::of(&self)?)
        .with_checkpoints(
            Checkpoints::open(folder.join("checkpoints"))?,
            self.checkpoint_every,
        )?;
        if let Some(resumed) = trainer.resume()? {
            println!("the autoencoder goes on after step {}", resumed.step);
        }
        trainer.run(self.steps)?;
        Ok(())
    }
}

/// The scaled latents of all images, (n, channels, h, w): the means of their distributions.
pub(crate) fn encoded(model: &AutoencoderKl, images: &Images, device: &Device) -> Result<Tensor, Failure> {
    let all: Vec<u32> = (0..images.rows() as u32).collect();
    let mut latents = Vec::new();
    for rows in all.chunks(ROWS) {
        let x0 = images.select(rows)?.x0.to_device(device)?;
        latents.push(model.scaled(model.encode(&x0)?.mode())?.detach());
    }
    Ok(Tensor::cat(&latents, 0)?)
}

/// The images of scaled latents.
pub(crate) fn decoded(model: &AutoencoderKl, latents: &Tensor) -> Result<Tensor, Failure> {
    let rows = latents.dim(0)?;
    let mut images = Vec::new();
    for start in (0..rows).step_by(ROWS) {
        let piece = latents.narrow(0, start, ROWS.min(rows - start))?;
        images.push(model.decode(&model.unscaled(&piece)?)?.detach());
    }
    Ok(Tensor::cat(&images, 0)?)
}

/// The standard deviation of all numbers.
pub(crate) fn deviation(x: &Tensor) -> Result<f64, Failure> {
    let x = x.to_dtype(DType::F64)?;
    let mean = x.mean_all()?.to_scalar::<f64>()?;
    Ok((x - mean)?.sqr()?.mean_all()?.to_scalar::<f64>()?.sqrt())
}
