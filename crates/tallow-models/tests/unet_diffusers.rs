//! U-Nets against outputs and gradients of diffusers' `UNet2DModel` (scripts/fixtures/unet.py).
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use tallow_denoisers::{Call, Condition, Network};
use tallow_models::{UNet, UNetConfig};
use tallow_nn::{Parameters, read_tensors};

type Tensors = BTreeMap<String, Tensor>;

/// What a file says: a network, what goes in, and what must come out.
struct Case {
    config: Value,
    tensors: Tensors,
}

impl Case {
    fn read(name: &str) -> Self {
        let file = format!("tests/data/unet_{name}.safetensors");
        let (tensors, config) = read_tensors(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        Self {
            config: serde_json::from_str(&config).unwrap(),
            tensors,
        }
    }

    /// The tensors whose names start so, without that.
    fn part(&self, prefix: &str) -> Tensors {
        let part = self.tensors.iter();
        part.filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor.clone())))
            .collect()
    }

    /// The network with the file's parameters, all of which must be there, and no others.
    fn network(&self, dtype: DType) -> (Parameters, UNet) {
        let parameters = Parameters::new(0, dtype, &Device::Cpu);
        let config = UNetConfig::from_diffusers(&self.config).unwrap();
        let network = UNet::new(&parameters.scope(), config).unwrap();
        parameters.restore(&self.part("model.")).unwrap();
        (parameters, network)
    }

    fn answer(&self, network: &UNet, dtype: DType) -> Tensor {
        let x = self.tensors["input.sample"].to_dtype(dtype).unwrap();
        let times = numbers(&self.tensors["input.times"]);
        let condition = match self.tensors.get("input.labels") {
            Some(labels) => Condition::labels(labels.clone()),
            None => Condition::none(),
        };
        let call = Call::new(&x, &times, &condition).unwrap();
        network.forward(&call).unwrap()
    }
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

const CASES: [&str; 4] = ["adm", "fourier", "numbers", "hollow"];
/// Files hold single precision, whose rounding is 6e-8 of a value; in single precision sums are good to some 1e-5.
const PRECISIONS: [(DType, f64); 2] = [(DType::F64, 1e-6), (DType::F32, 1e-4)];

#[test]
fn outputs_and_gradients_are_those_of_diffusers() {
    for name in CASES {
        let case = Case::read(name);
        for (dtype, tolerance) in PRECISIONS {
            let (parameters, network) = case.network(dtype);
            let y = case.answer(&network, dtype);
            let off = error(&y, &case.tensors["output"]);
            assert!(off < tolerance, "{name} {dtype:?}: {off}");
            let dy = case.tensors["dy"].to_dtype(dtype).unwrap();
            let gradients = (y * dy).unwrap().sum_all().unwrap().backward().unwrap();
            let mut wanted = case.part("grad.");
            for (parameter, variable) in parameters.named() {
                let Some(gradient) = gradients.get(&variable) else {
                    assert!(network.fixed().contains(&parameter), "{name}: {parameter}");
                    continue;
                };
                let off = error(gradient, &wanted.remove(&parameter).unwrap());
                assert!(off < 10.0 * tolerance, "{name} {dtype:?} {parameter}: {off}");
            }
            assert!(wanted.is_empty(), "{name}: {:?}", wanted.keys());
        }
    }
}

#[test]
fn a_configuration_goes_to_diffusers_and_comes_back() {
    for name in CASES {
        let written = Case::read(name).config;
        let config = UNetConfig::from_diffusers(&written).unwrap();
        let ours = config.to_diffusers().unwrap();
        assert_eq!(UNetConfig::from_diffusers(&ours).unwrap(), config, "{name}");
        for (key, value) in written.as_object().unwrap() {
            // Arguments without an effect have another value where they are not ours to keep.
            let idle = match key.as_str() {
                "freq_shift" | "flip_sin_to_cos" => written["time_embedding_type"] == "fourier",
                "attn_norm_num_groups" | "add_attention" => written["mid_block_type"].is_null(),
                _ => false,
            };
            let same = ours[key] == *value || ours[key].as_f64().is_some_and(|x| Some(x) == value.as_f64());
            assert!(idle || same, "{name}, {key}: {} {value}", ours[key]);
        }
    }
}

/// The data of the reference format beside the checkout, where they are.
fn reference() -> Option<PathBuf> {
    let nets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/nets");
    nets.is_dir().then_some(nets)
}

#[test]
fn the_reference_networks_are_reproduced() {
    let Some(nets) = reference() else { return };
    for name in ["unet_ddpm_cifar_style", "unet_flip_sin_class", "unet_scale_shift"] {
        let folder = nets.join(name);
        let config = std::fs::read_to_string(folder.join("config.json")).unwrap();
        let config = UNetConfig::from_diffusers(&serde_json::from_str(&config).unwrap()).unwrap();
        let parameters = Parameters::new(0, DType::F32, &Device::Cpu);
        let network = UNet::new(&parameters.scope(), config).unwrap();
        parameters.load(folder.join("model.safetensors")).unwrap();
        let (io, _) = read_tensors(folder.join("io.safetensors")).unwrap();
        let condition = match io.get("input.class_labels") {
            Some(labels) => Condition::labels(labels.clone()),
            None => Condition::none(),
        };
        let x = &io["input.sample"];
        let times = numbers(&io["input.timestep"]);
        let y = network
            .forward(&Call::new(x, &times, &condition).unwrap())
            .unwrap();
        let off = error(&y, &io["output.sample"]);
        assert!(off < 2e-5, "{name}: {off}");
        let n = y.elem_count() as f64;
        let weighted = (&y * &io["loss_weight"]).unwrap().sum_all().unwrap();
        let loss = ((weighted / n).unwrap() + (y.sqr().unwrap().mean_all().unwrap() * 0.5).unwrap()).unwrap();
        assert!(error(&loss, &io["loss"].reshape(()).unwrap()) < 1e-5);
        let gradients = loss.backward().unwrap();
        for (key, wanted) in &io {
            let Some(name) = key.strip_prefix("grad.") else {
                continue;
            };
            let gradient = gradients.get(&parameters.variable(name).unwrap()).unwrap();
            let off = error(gradient, wanted);
            assert!(off < 2e-4, "{name}: {off}");
        }
    }
}
