//! Writes networks and schedulers of ours, with inputs and outputs, for `scripts/check_diffusers.py`:
//!
//! ```text
//! TALLOW_FOLDER=target/diffusers cargo test -p tallow-models --test write_for_diffusers -- --ignored
//! python scripts/check_diffusers.py target/diffusers
//! ```
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, Var};
use serde_json::json;
use tallow_denoisers::{Call, Condition, Network};
use tallow_models::diffusers::{ModelIndex, Pretrained, Scheduler, Weights};
use tallow_models::dit::{DitStart, TimeWaves};
use tallow_models::{AutoencoderKl, AutoencoderKlConfig, Dit, DitConfig, UNet, UNetClasses, UNetConfig};
use tallow_nn::{Parameters, write_tensors};
use tallow_schedules::{Prediction, Table};

/// Numbers without a pattern.
fn waves(shape: &[usize], phase: f64) -> Tensor {
    let n: usize = shape.iter().product();
    let wave = |i: usize| (phase + 1.7 * (i as f64) * (i as f64 + 3.0).sqrt()).sin() as f32;
    Tensor::from_vec((0..n).map(wave).collect::<Vec<f32>>(), shape, &Device::Cpu).unwrap()
}

/// A network whose parameters all count: those that start at zero do not stay there.
fn drawn<M: Pretrained>(config: &M::Config, folder: &Path) -> M {
    let parameters = Parameters::new(5, DType::F32, &Device::Cpu);
    M::build(&parameters.scope(), config).unwrap();
    for (place, (_, variable)) in parameters.named().into_iter().enumerate() {
        let shift: &Var = &variable;
        let moved =
            (shift.as_tensor() + waves(shift.dims(), place as f64).affine(0.1, 0.0).unwrap()).unwrap();
        variable.set(&moved).unwrap();
    }
    let weights = Weights::<M>::new(config.clone(), parameters.detached().tensors()).unwrap();
    weights.write(folder).unwrap();
    weights.network(DType::F32, &Device::Cpu).unwrap()
}

fn network<M: Pretrained + Network>(config: &M::Config, folder: &Path, x: &Tensor, labels: Option<&Tensor>) {
    let network: M = drawn(config, folder);
    let times = [3.0, 750.0];
    let condition = labels.map_or_else(Condition::none, |labels| Condition::labels(labels.clone()));
    let y = network
        .forward(&Call::new(x, &times, &condition).unwrap())
        .unwrap();
    let mut io = BTreeMap::from([("x".to_owned(), x.clone()), ("y".to_owned(), y)]);
    io.insert("times".to_owned(), Tensor::new(&times, &Device::Cpu).unwrap());
    if let Some(labels) = labels {
        io.insert("labels".to_owned(), labels.to_dtype(DType::I64).unwrap());
    }
    write_tensors(folder.join("io.safetensors"), &io, "").unwrap();
}

fn scheduler(scheduler: &Scheduler, folder: &Path) {
    scheduler.write(folder).unwrap();
    let told = scheduler.parameterization().time;
    let steps = |count: usize| {
        let grid = scheduler.grid(count).unwrap();
        let levels = grid.steps().map(|step| told.of(step.from));
        json!({"count": count, "timesteps": levels.collect::<Vec<_>>()})
    };
    let runs = json!([steps(1), steps(10), steps(25)]);
    std::fs::write(folder.join("steps.json"), runs.to_string()).unwrap();
}

#[test]
#[ignore = "writes a folder for scripts/check_diffusers.py"]
fn write_a_folder() {
    let root = PathBuf::from(std::env::var("TALLOW_FOLDER").unwrap());
    let labels = Tensor::new(&[1u32, 3], &Device::Cpu).unwrap();
    let dit = DitConfig {
        width: 16,
        heads: 2,
        depth: 3,
        channels: 2,
        time: TimeWaves::diffusers(),
        start: DitStart::Random,
        ..DitConfig::small(8, 3)
    };
    let x = waves(&[2, 2, 8, 8], 0.3);
    network::<Dit>(&dit.with_learned_variance(), &root.join("dit"), &x, Some(&labels));
    let unet = UNetConfig {
        groups: 4,
        size: Some([16, 16]),
        classes: UNetClasses::Table { count: 4 },
        ..UNetConfig::new(3, &[8, 16])
    };
    let x = waves(&[2, 3, 16, 16], 0.7);
    network::<UNet>(&unet, &root.join("pipeline/unet"), &x, Some(&labels));
    let table = Table::cosine(1000, 0.008, 0.999).unwrap();
    let ddim = Scheduler::ddim(&table, Prediction::V).unwrap();
    scheduler(&ddim, &root.join("pipeline/scheduler"));
    let index = ModelIndex::new("DDIMPipeline").with("unet", "UNet2DModel");
    index
        .with("scheduler", "DDIMScheduler")
        .write(root.join("pipeline"))
        .unwrap();
    scheduler(&Scheduler::flow(3.0).unwrap(), &root.join("flow"));
    let config = AutoencoderKlConfig {
        groups: 4,
        size: Some([16, 16]),
        ..AutoencoderKlConfig::new(3, 2, &[8, 16])
    };
    let folder = root.join("autoencoder");
    let autoencoder: AutoencoderKl = drawn(&config, &folder);
    let mean = autoencoder.encode(&x).unwrap().mode().clone();
    let y = autoencoder.decode(&mean).unwrap();
    let io = BTreeMap::from([
        ("x".to_owned(), x),
        ("mean".to_owned(), mean),
        ("y".to_owned(), y),
    ]);
    write_tensors(folder.join("io.safetensors"), &io, "").unwrap();
}
