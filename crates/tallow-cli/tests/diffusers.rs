//! A folder of diffusers is inspected and sampled as a checkpoint is; a damaged one is refused by name.
#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

#[allow(dead_code, reason = "each test file uses a part")]
mod command;

use std::path::Path;

use candle_core::{DType, Device};
use command::{refused, well};
use serde_json::Value;
use tallow::models::diffusers::{ModelIndex, Scheduler, Weights};
use tallow::models::dit::{DitStart, TimeWaves};
use tallow::models::{Dit, DitConfig};
use tallow::nn::Parameters;
use tallow::schedules::{Prediction, Table};

/// A tiny pipeline of random weights on images of 3 x 8 x 8 with ten classes.
fn write(folder: &Path) {
    let config = DitConfig {
        patch: 2,
        channels: 3,
        outputs: 3,
        width: 32,
        heads: 2,
        depth: 1,
        time: TimeWaves::diffusers(),
        start: DitStart::Random,
        ..DitConfig::small(8, 10)
    };
    let parameters = Parameters::new(5, DType::F32, &Device::Cpu);
    Dit::new(&parameters.scope(), config).unwrap();
    let weights = Weights::<Dit>::new(config, parameters.detached().tensors()).unwrap();
    weights.write(folder.join("transformer")).unwrap();
    let table = Table::linear_beta(1000, 1e-4, 0.02).unwrap();
    let scheduler = Scheduler::ddim(&table, Prediction::V).unwrap();
    scheduler.write(folder.join("scheduler")).unwrap();
    let index = ModelIndex::new("DiTPipeline")
        .with("transformer", "DiTTransformer2DModel")
        .with("scheduler", "DDIMScheduler");
    index.write(folder).unwrap();
}

#[test]
fn a_folder_of_diffusers_is_told_drawn_from_and_refused_where_it_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(&folder.join("tiny"));
    let told: Value = serde_json::from_str(&well(folder, &["inspect", "tiny", "--json"])).unwrap();
    assert_eq!(
        (&told["kind"], &told["classes"]),
        (&"diffusers".into(), &10.into())
    );
    assert_eq!(
        (&told["prediction"], &told["trained_steps"]),
        (&"v".into(), &1000.into())
    );
    assert!(well(folder, &["inspect", "tiny"]).contains("DDIMScheduler, 1000 trained steps"));
    let draw = [
        "sample",
        "tiny",
        "-n",
        "4",
        "--steps",
        "3",
        "--class",
        "9",
        "--guidance",
        "2",
        "-o",
        "a.png",
    ];
    assert!(well(folder, &draw).contains("4 samples of DiTTransformer2DModel under DDIMScheduler"));

    for (arguments, said) in [
        (["sample", "tiny", "--class", "10", "-o", "a.png"], "from 0 to 9"),
        (["sample", "tiny", "--class", "cat", "-o", "a.png"], "from 0 to 9"),
        (
            ["sample", "tiny", "--raw-weights", "--json", "-o", "a.png"],
            "one set of weights",
        ),
    ] {
        let error = refused(folder, &arguments);
        assert!(error.contains(said), "{error}");
    }
    assert!(refused(folder, &["evaluate", "tiny"]).contains("draw from it with `tallow sample`"));

    let weights = folder.join("tiny/transformer/diffusion_pytorch_model.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    assert!(refused(folder, &["inspect", "tiny"]).contains("diffusion_pytorch_model.safetensors"));
    std::fs::write(&weights, &whole).unwrap();
    std::fs::write(folder.join("tiny/transformer/config.json"), "{").unwrap();
    assert!(refused(folder, &["sample", "tiny", "-o", "a.png"]).contains("config.json"));
}
