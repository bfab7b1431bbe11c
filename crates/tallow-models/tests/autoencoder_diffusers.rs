//! Autoencoders against outputs and gradients of diffusers' `AutoencoderKL` (scripts/fixtures/autoencoder.py).
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use tallow_denoisers::{Noise, Result};
use tallow_models::{AutoencoderKl, AutoencoderKlConfig};
use tallow_nn::{Parameters, read_tensors};

type Tensors = BTreeMap<String, Tensor>;

const CASES: [&str; 2] = ["attending", "plain"];
/// Files hold single precision, whose rounding is 6e-8 of a value; in single precision sums are good to some 1e-5.
const PRECISIONS: [(DType, f64); 2] = [(DType::F64, 1e-6), (DType::F32, 1e-4)];

fn read(name: &str) -> (Tensors, Value) {
    let file = format!("tests/data/autoencoder_{name}.safetensors");
    let (tensors, config) = read_tensors(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    (tensors, serde_json::from_str(&config).unwrap())
}

/// The tensors whose names start so, without that.
fn part(tensors: &Tensors, prefix: &str) -> Tensors {
    let part = tensors.iter();
    part.filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor.clone())))
        .collect()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
    flat.to_vec1().unwrap()
}

/// The largest difference, in units of the largest value that is wanted; of 1e-3 where all are smaller, as the gradient of a
/// bias of keys is, which is 0 but for rounding.
fn error(got: &Tensor, wanted: &Tensor) -> f64 {
    assert_eq!(got.dims(), wanted.dims());
    let wanted = numbers(wanted);
    let largest = wanted.iter().fold(1e-3f64, |a, b| a.max(b.abs()));
    let pairs = numbers(got).into_iter().zip(wanted);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / largest
}

/// Noise that is known.
struct Given(Tensor);

impl Noise for Given {
    fn increment(&mut self, like: &Tensor, _: f64, _: f64) -> Result<Tensor> {
        self.fresh(like)
    }

    fn fresh(&mut self, like: &Tensor) -> Result<Tensor> {
        Ok(self.0.to_dtype(like.dtype())?)
    }
}

#[test]
fn moments_images_and_gradients_are_those_of_diffusers() {
    for name in CASES {
        let (tensors, config) = read(name);
        for (dtype, tolerance) in PRECISIONS {
            let parameters = Parameters::new(0, dtype, &Device::Cpu);
            let config = AutoencoderKlConfig::from_diffusers(&config).unwrap();
            let model = AutoencoderKl::new(&parameters.scope(), config).unwrap();
            parameters.restore(&part(&tensors, "model.")).unwrap();
            let near = |what: &str, got: &Tensor, factor: f64| {
                let off = error(got, &tensors[what]);
                assert!(off < factor * tolerance, "{name} {dtype:?} {what}: {off}");
            };
            let posterior = model
                .encode(&tensors["input.sample"].to_dtype(dtype).unwrap())
                .unwrap();
            near("mean", posterior.mode(), 1.0);
            near("log_variance", &posterior.log_variance, 1.0);
            let z = posterior
                .sample(&mut Given(tensors["input.noise"].clone()))
                .unwrap();
            near("z", &z, 1.0);
            near("kl", &posterior.kl().unwrap(), 1.0);
            near("nll", &posterior.negative_log_likelihood(&z).unwrap(), 1.0);
            let y = model.decode(&z).unwrap();
            near("output", &y, 1.0);
            let dy = tensors["dy"].to_dtype(dtype).unwrap();
            let loss = (y * dy).unwrap().sum_all().unwrap() + posterior.kl().unwrap().sum_all().unwrap();
            let gradients = loss.unwrap().backward().unwrap();
            for (parameter, variable) in parameters.named() {
                let gradient = gradients.get(&variable).unwrap();
                near(&format!("grad.{parameter}"), gradient, 10.0);
            }
            assert_eq!(part(&tensors, "grad.").len(), parameters.names().len());
        }
    }
}

#[test]
fn a_configuration_goes_to_diffusers_and_comes_back() {
    for name in CASES {
        let (_, written) = read(name);
        let config = AutoencoderKlConfig::from_diffusers(&written).unwrap();
        let ours = config.to_diffusers();
        assert_eq!(AutoencoderKlConfig::from_diffusers(&ours).unwrap(), config);
        for (key, value) in written.as_object().unwrap() {
            let same = ours[key] == *value || ours[key].as_f64().is_some_and(|x| Some(x) == value.as_f64());
            assert!(same, "{name}, {key}: {} {value}", ours[key]);
        }
    }
}

#[test]
fn a_file_is_read_with_its_configuration_under_old_and_new_names() {
    let (tensors, config) = read("attending");
    let folder = tempfile::tempdir().unwrap();
    let old = |name: &str| {
        let parts = [
            ("to_q", "query"),
            ("to_k", "key"),
            ("to_v", "value"),
            ("to_out.0", "proj_attn"),
        ];
        let rename = |name: String, (now, then): (&str, &str)| name.replace(now, then);
        parts.into_iter().fold(name.to_owned(), rename)
    };
    let new = part(&tensors, "model.");
    let old: Tensors = new
        .iter()
        .map(|(name, tensor)| (old(name), tensor.clone()))
        .collect();
    assert!(old.contains_key("encoder.mid_block.attentions.0.query.weight"));
    for (name, tensors) in [("new", new), ("old", old)] {
        let file = folder.path().join(name);
        tallow_nn::write_tensors(&file, &tensors, "").unwrap();
        let (parameters, model) =
            AutoencoderKl::from_diffusers(&config, &file, DType::F32, &Device::Cpu).unwrap();
        assert_eq!(parameters.names().len(), tensors.len());
        let x = &read("attending").0["input.sample"];
        let mean = model.encode(x).unwrap().mean;
        assert!(error(&mean, &read("attending").0["mean"]) < 1e-4);
    }
}

#[test]
fn the_reference_autoencoder_is_reproduced() {
    // The data of the reference format beside the checkout, where they are.
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/nets/autoencoder_kl_tiny");
    if !folder.is_dir() {
        return;
    }
    let config = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let config = serde_json::from_str(&config).unwrap();
    let file = folder.join("model.safetensors");
    let (parameters, model) = AutoencoderKl::from_diffusers(&config, file, DType::F32, &Device::Cpu).unwrap();
    let (io, _) = read_tensors(folder.join("io.safetensors")).unwrap();
    let near = |got: &Tensor, wanted: &Tensor, tolerance| {
        let off = error(got, wanted);
        assert!(off < tolerance, "{off}");
    };
    let posterior = model.encode(&io["input.sample"]).unwrap();
    near(&posterior.mean, &io["output.mean"], 2e-5);
    near(&posterior.log_variance, &io["output.logvar"], 2e-5);
    near(&posterior.kl().unwrap(), &io["output.kl"], 2e-5);
    let z = posterior
        .sample(&mut Given(io["input.latent_noise"].clone()))
        .unwrap();
    near(&z, &io["output.z"], 2e-5);
    let y = model.decode(&z).unwrap();
    near(&y, &io["output.sample"], 2e-5);
    let weighted = (&y * &io["loss_weight"]).unwrap().sum_all().unwrap();
    let weighted = (weighted / y.elem_count() as f64).unwrap();
    let loss = (weighted + (y.sqr().unwrap().mean_all().unwrap() * 0.5).unwrap()).unwrap();
    near(&loss, &io["loss"].reshape(()).unwrap(), 1e-5);
    let gradients = loss.backward().unwrap();
    for (name, wanted) in part(&io, "grad.") {
        near(
            gradients.get(&parameters.variable(&name).unwrap()).unwrap(),
            &wanted,
            2e-4,
        );
    }
}
