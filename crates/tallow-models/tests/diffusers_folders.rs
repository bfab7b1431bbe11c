//! Folders of diffusers: what is read computes the same (scripts/fixtures/dit.py), what is written is read, and what does not
//! fit is refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, Var};
use serde_json::{Value, json};
use tallow_denoisers::{Call, Condition, Network, Variance};
use tallow_models::diffusers::{ModelIndex, Scheduler, Weights};
use tallow_models::dit::{Embedders, TimeWaves};
use tallow_models::{Dit, DitConfig, UNet, UNetConfig};
use tallow_nn::{Parameters, read_tensors, write_pytorch_tensors};
use tallow_schedules::Prediction;

const DIT: [&str; 2] = ["dit_shared", "dit_per_block"];

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
    flat.to_vec1().unwrap()
}

/// The largest difference, in units of the largest value that is wanted; of 0.1 where all are smaller, as in the gradient of a
/// bias of keys, which is 0 but for the rounding of terms above 1.
fn error(got: &Tensor, wanted: &Tensor) -> f64 {
    assert_eq!(got.dims(), wanted.dims());
    let wanted = numbers(wanted);
    let largest = wanted.iter().fold(0.1f64, |a, b| a.max(b.abs()));
    let pairs = numbers(got).into_iter().zip(wanted);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / largest
}

/// Every difference between the bits of two sets.
fn same(a: &BTreeMap<String, Tensor>, b: &BTreeMap<String, Tensor>) -> bool {
    a.keys().eq(b.keys())
        && a.iter().all(|(name, tensor)| {
            let other = &b[name];
            tensor.dtype() == other.dtype()
                && tensor.dims() == other.dims()
                && numbers(tensor) == numbers(other)
        })
}

#[test]
fn outputs_and_gradients_are_those_of_diffusers() {
    for name in DIT {
        let (io, _) = read_tensors(data(name).join("io.safetensors")).unwrap();
        let weights = Weights::<Dit>::read(data(name)).unwrap();
        // diffusers' waves of time are of single precision even where the rest is not.
        for (dtype, tolerance) in [(DType::F64, 1e-5), (DType::F32, 1e-4)] {
            let (dit, parameters) = weights.trainable(dtype, &Device::Cpu).unwrap();
            let x = Var::from_tensor(&io["x"].to_dtype(dtype).unwrap()).unwrap();
            let times = numbers(&io["steps"]);
            let condition = Condition::labels(io["labels"].clone());
            let y = dit.forward(&Call::new(&x, &times, &condition).unwrap()).unwrap();
            let off = error(&y, &io["y"]);
            assert!(off < tolerance, "{name} {dtype:?}: {off}");
            let dy = io["dy"].to_dtype(dtype).unwrap();
            let gradients = (y * dy).unwrap().sum_all().unwrap().backward().unwrap();
            let off = error(gradients.get(&x).unwrap(), &io["dx"]);
            assert!(off < tolerance, "{name} {dtype:?}: dx {off}");
            let ours = parameters.named().into_iter();
            let ours = ours.map(|(name, variable)| (name, gradients.get(&variable).unwrap().clone()));
            check_gradients(&weights, &ours.collect(), &io, tolerance);
        }
    }
}

/// Our gradients, written as diffusers' tensors are, beside the fixture's; those of a shared embedder are sums.
fn check_gradients(
    weights: &Weights<Dit>,
    ours: &BTreeMap<String, Tensor>,
    io: &BTreeMap<String, Tensor>,
    tolerance: f64,
) {
    let folder = tempfile::tempdir().unwrap();
    Weights::<Dit>::new(*weights.config(), ours)
        .unwrap()
        .write(folder.path())
        .unwrap();
    let (written, _) = read_tensors(folder.path().join("diffusion_pytorch_model.safetensors")).unwrap();
    let shared = weights.config().embedders == Embedders::Shared;
    for (name, got) in written {
        let mut wanted = io[&format!("grad.{name}")].clone();
        if shared && let Some((_, part)) = name.split_once("norm1.emb.") {
            let all = (0..weights.config().depth)
                .map(|block| &io[&format!("grad.transformer_blocks.{block}.norm1.emb.{part}")]);
            wanted = all.fold(wanted.zeros_like().unwrap(), |sum, one| (sum + one).unwrap());
        }
        let off = error(&got, &wanted);
        assert!(off < tolerance, "{name}: {off}");
    }
}

#[test]
fn equal_embedders_are_read_as_one_and_written_as_many() {
    let kinds = DIT.map(|name| Weights::<Dit>::read(data(name)).unwrap().config().embedders);
    assert_eq!(kinds, [Embedders::Shared, Embedders::PerBlock]);
    for name in DIT {
        let folder = tempfile::tempdir().unwrap();
        Weights::<Dit>::read(data(name))
            .unwrap()
            .write(folder.path())
            .unwrap();
        let file = "diffusion_pytorch_model.safetensors";
        let [(a, _), (b, _)] =
            [data(name).join(file), folder.path().join(file)].map(|path| read_tensors(path).unwrap());
        assert!(same(&a, &b), "{name}");
        let config = |path: PathBuf| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
        let mut wanted = config(data(name).join("config.json"));
        if wanted["out_channels"].is_null() {
            wanted["out_channels"] = wanted["in_channels"].clone();
        }
        assert_eq!(config(folder.path().join("config.json")), wanted);
    }
}

fn small() -> DitConfig {
    DitConfig {
        width: 8,
        heads: 2,
        depth: 2,
        time: TimeWaves::diffusers(),
        ..DitConfig::small(8, 3)
    }
    .with_learned_variance()
}

/// A network of ours in a folder.
fn written(folder: &Path, dtype: DType) -> Weights<Dit> {
    let parameters = Parameters::new(3, dtype, &Device::Cpu);
    Dit::new(&parameters.scope(), small()).unwrap();
    let weights = Weights::<Dit>::new(small(), parameters.detached().tensors()).unwrap();
    weights.write(folder).unwrap();
    weights
}

#[test]
fn ours_to_a_folder_and_back_is_the_same_bit_for_bit() {
    for dtype in [DType::F32, DType::BF16, DType::F64] {
        let folder = tempfile::tempdir().unwrap();
        let ours = written(folder.path(), dtype);
        let read = Weights::<Dit>::read(folder.path()).unwrap();
        assert_eq!(read.config(), ours.config());
        assert!(same(read.tensors(), ours.tensors()), "{dtype:?}");
    }
    let config = UNetConfig::small(1, 8, 3);
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    UNet::new(&parameters.scope(), config.clone()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ours = Weights::<UNet>::new(config, parameters.detached().tensors()).unwrap();
    ours.write(folder.path().join("unet")).unwrap();
    let read = Weights::<UNet>::read(folder.path()).unwrap();
    assert!(same(read.tensors(), ours.tensors()));
    let message = Weights::<Dit>::read(folder.path().join("unet"))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("UNet2DModel") && message.contains("DiTTransformer2DModel"),
        "{message}"
    );
}

#[test]
fn a_pipeline_gives_all_that_sampling_takes() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    written(&dir.join("transformer"), DType::F32);
    let table = tallow_schedules::Table::linear_beta(1000, 1e-4, 0.02).unwrap();
    let scheduler = Scheduler::ddim(&table, Prediction::Noise).unwrap();
    scheduler.write(dir.join("scheduler")).unwrap();
    let index = ModelIndex::new("DiTPipeline")
        .with("transformer", "DiTTransformer2DModel")
        .with("scheduler", "DDIMScheduler");
    index.write(dir).unwrap();
    assert_eq!(ModelIndex::read(dir).unwrap(), index);
    let scheduler = Scheduler::read(dir).unwrap();
    let weights = Weights::<Dit>::read(dir).unwrap();
    let model = weights.denoiser(&scheduler, DType::F32, &Device::Cpu).unwrap();
    assert_eq!(model.parameterization().variance, Variance::LearnedRange);
    let model = model.with_condition(Condition::labels(Tensor::new(&[1u32, 3], &Device::Cpu).unwrap()));
    let grid = scheduler.grid(5).unwrap();
    let x = Tensor::ones((2, 1, 8, 8), DType::F32, &Device::Cpu).unwrap();
    let estimate = tallow_denoisers::Denoiser::estimate(&model, &x, grid.first().into()).unwrap();
    assert_eq!(estimate.x0().unwrap().dims(), [2, 1, 8, 8]);
}

#[test]
fn tensors_in_several_files_and_under_other_names_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let ours = written(dir, DType::F32);
    let single = dir.join("diffusion_pytorch_model.safetensors");
    let (tensors, _) = read_tensors(&single).unwrap();
    fs::remove_file(&single).unwrap();
    let (mut shards, mut map) = ([BTreeMap::new(), BTreeMap::new()], serde_json::Map::new());
    for (place, (name, tensor)) in tensors.iter().enumerate() {
        shards[place % 2].insert(name.clone(), tensor.clone());
        map.insert(name.clone(), format!("part-{}.safetensors", place % 2).into());
    }
    for (place, shard) in shards.iter().enumerate() {
        write_pytorch_tensors(dir.join(format!("part-{place}.safetensors")), shard).unwrap();
    }
    let index = dir.join("diffusion_pytorch_model.safetensors.index.json");
    let write = |map: &serde_json::Map<String, Value>| {
        fs::write(
            &index,
            json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string(),
        )
        .unwrap();
        Weights::<Dit>::read(dir)
    };
    assert!(same(write(&map).unwrap().tensors(), ours.tensors()));
    let mut elsewhere = map.clone();
    elsewhere.insert("proj_out_1.bias".to_owned(), "../part-0.safetensors".into());
    assert!(write(&elsewhere).unwrap_err().to_string().contains("../part-0"));
    let mut less = map.clone();
    less.remove("proj_out_1.bias");
    assert!(write(&less).unwrap_err().to_string().contains("proj_out_1.bias"));
    let mut more = map.clone();
    more.insert("more".to_owned(), "part-0.safetensors".into());
    assert!(write(&more).unwrap_err().to_string().contains("`more`"));
    fs::remove_file(&index).unwrap();
    write_pytorch_tensors(dir.join("diffusion_pytorch_model.fp16.safetensors"), &tensors).unwrap();
    assert!(
        Weights::<Dit>::read(dir)
            .unwrap_err()
            .to_string()
            .contains("variant")
    );
    assert!(same(
        Weights::<Dit>::read_variant(dir, "fp16").unwrap().tensors(),
        ours.tensors()
    ));
    write_pytorch_tensors(dir.join("model.safetensors"), &tensors).unwrap();
    assert!(same(Weights::<Dit>::read(dir).unwrap().tensors(), ours.tensors()));
}

#[test]
fn every_tensor_that_does_not_fit_is_named_before_one_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    written(dir, DType::F32);
    let file = dir.join("diffusion_pytorch_model.safetensors");
    let (mut tensors, _) = read_tensors(&file).unwrap();
    let moved = tensors.remove("proj_out_1.bias").unwrap();
    tensors.insert("proj_out_9.bias".to_owned(), moved);
    let turned = tensors["proj_out_2.weight"].t().unwrap().contiguous().unwrap();
    tensors.insert("proj_out_2.weight".to_owned(), turned);
    write_pytorch_tensors(&file, &tensors).unwrap();
    let message = Weights::<Dit>::read(dir).unwrap_err().to_string();
    for part in [
        "`proj_out_1.bias` [16] is missing",
        "`proj_out_9.bias` [16] is not expected",
        "`proj_out_2.weight` has shape [8, 32]",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn lies_about_sizes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    written(dir, DType::F32);
    let config: Value = serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap();
    for (key, value) in [
        ("num_layers", 1u64 << 40),
        ("attention_head_dim", 1 << 40),
        ("num_embeds_ada_norm", 1 << 31),
        ("sample_size", 1 << 50),
    ] {
        let mut config = config.clone();
        config[key] = value.into();
        fs::write(dir.join("config.json"), config.to_string()).unwrap();
        assert!(Weights::<Dit>::read(dir).is_err(), "{key}");
    }
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let file = dir.join("diffusion_pytorch_model.safetensors");
    let bytes = fs::read(&file).unwrap();
    for length in [0, 7, 8, 100, bytes.len() - 1] {
        fs::write(&file, &bytes[..length]).unwrap();
        assert!(Weights::<Dit>::read(dir).is_err(), "{length} bytes");
    }
    fs::remove_file(&file).unwrap();
    fs::write(dir.join("diffusion_pytorch_model.bin"), "a pickle").unwrap();
    let message = Weights::<Dit>::read(dir).unwrap_err().to_string();
    assert!(message.contains("save_pretrained"), "{message}");
    let nothing = tempfile::tempdir().unwrap();
    let message = Weights::<Dit>::read(nothing.path()).unwrap_err().to_string();
    assert!(message.contains("transformer/config.json"), "{message}");
}

#[test]
fn shapes_that_diffusers_lacks_are_refused_with_a_way_out() {
    for (config, words) in [
        (
            DitConfig {
                classes: 0,
                ..small()
            },
            "no labels",
        ),
        (
            DitConfig {
                time: TimeWaves::default(),
                ..small()
            },
            "TimeWaves::diffusers",
        ),
        (
            DitConfig {
                mlp_ratio: 2,
                ..small()
            },
            "mlp_ratio",
        ),
        (
            DitConfig {
                epsilon: [1e-5; 2],
                ..small()
            },
            "ε",
        ),
        (
            DitConfig {
                activation: tallow_nn::Activation::Silu,
                ..small()
            },
            "GELU",
        ),
    ] {
        let message = config.to_diffusers().unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
    let config = small().to_diffusers().unwrap();
    for (key, value) in [
        ("norm_type", json!("ada_norm")),
        ("attention_bias", json!(false)),
        ("norm_elementwise_affine", json!(true)),
        ("dropout", json!(0.1)),
        ("activation_fn", json!("geglu")),
        ("num_embeds_ada_norm", json!(null)),
        ("patch_size", json!(3)),
        ("patches", json!(3)),
    ] {
        let mut config = config.clone();
        config[key] = value;
        let message = DitConfig::from_diffusers(&config).unwrap_err().to_string();
        assert!(message.contains(key.trim_end_matches("_size")), "{message}");
    }
}

#[test]
fn the_older_class_of_published_models_is_read() {
    let older = json!({
        "_class_name": "Transformer2DModel", "_diffusers_version": "0.12.0.dev0", "activation_fn": "gelu-approximate",
        "attention_bias": true, "attention_head_dim": 72, "cross_attention_dim": null, "dropout": 0.0, "in_channels": 4,
        "norm_elementwise_affine": false, "norm_num_groups": 32, "norm_type": "ada_norm_zero", "num_attention_heads": 16,
        "num_embeds_ada_norm": 1000, "num_layers": 28, "num_vector_embeds": null, "only_cross_attention": false,
        "out_channels": 8, "patch_size": 2, "sample_size": 32, "upcast_attention": false, "use_linear_projection": false,
    });
    let config = DitConfig::from_diffusers(&older).unwrap();
    let paper = DitConfig::xl(2).with_learned_variance();
    let wanted = DitConfig {
        embedders: Embedders::PerBlock,
        time: TimeWaves::diffusers(),
        epsilon: [1e-6, 1e-5],
        ..paper
    };
    assert_eq!(config, wanted);
    let mut other = older.clone();
    other["cross_attention_dim"] = json!(768);
    assert!(
        DitConfig::from_diffusers(&other)
            .unwrap_err()
            .to_string()
            .contains("cross_attention_dim")
    );
}
