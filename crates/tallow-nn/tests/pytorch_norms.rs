//! Norms, softmax, gated residuals and GELU against PyTorch's outputs and gradients (scripts/fixtures/norms.py).
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use tallow_nn::{
    Activation, GroupNorm, LayerNorm, Parameters, Result, RmsNorm, Scope, activate, gated_residual, softmax,
};

/// Largest error in f32 and f64, relative to the largest value.
const TOLERANCES: [(DType, f64); 2] = [(DType::F32, 1e-5), (DType::F64, 1e-10)];

struct Case {
    tensors: HashMap<String, Tensor>,
    name: &'static str,
}

impl Case {
    fn read(name: &'static str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/norms.safetensors");
        let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
        Self { tensors, name }
    }

    fn get(&self, part: &str, dtype: DType) -> Tensor {
        let name = format!("{}.{part}", self.name);
        let tensor = self.tensors.get(&name);
        tensor.unwrap().to_dtype(dtype).unwrap()
    }

    /// Compares y and the gradients of all inputs and of the layer's parameters in both types.
    fn check<L>(
        &self,
        inputs: &[&str],
        build: impl Fn(&Scope<'_>) -> Result<L>,
        run: impl Fn(&L, &[Tensor]) -> Result<Tensor>,
    ) {
        for (dtype, tolerance) in TOLERANCES {
            let parameters = Parameters::new(1, dtype, &Device::Cpu);
            let layer = build(&parameters.scope()).unwrap();
            for (name, variable) in parameters.named() {
                variable.set(&self.get(&name, dtype)).unwrap();
            }
            let variable = |part: &&str| Var::from_tensor(&self.get(part, dtype)).unwrap();
            let inputs: Vec<_> = inputs
                .iter()
                .map(|part| (part.to_string(), variable(part)))
                .collect();
            let tensors: Vec<_> = inputs.iter().map(|(_, v)| v.as_tensor().clone()).collect();
            let y = run(&layer, &tensors).unwrap();
            self.close("y", &y, tolerance);
            let loss = (y * self.get("dy", dtype)).unwrap().sum_all().unwrap();
            let gradients = loss.backward().unwrap();
            for (part, variable) in inputs.into_iter().chain(parameters.named()) {
                self.close(&format!("d{part}"), gradients.get(&variable).unwrap(), tolerance);
            }
        }
    }

    fn close(&self, part: &str, got: &Tensor, tolerance: f64) {
        let numbers = |t: &Tensor| {
            let t = t.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
            t.to_vec1::<f64>().unwrap()
        };
        let (got, wanted) = (numbers(got), numbers(&self.get(part, DType::F64)));
        assert_eq!(got.len(), wanted.len());
        let scale = wanted.iter().fold(1.0, |max: f64, v| max.max(v.abs()));
        for (a, b) in got.iter().zip(&wanted) {
            assert!(
                (a - b).abs() <= tolerance * scale,
                "{}.{part}: {a} against {b}",
                self.name
            );
        }
    }
}

fn group(scope: &Scope<'_>) -> Result<GroupNorm> {
    Ok(GroupNorm::new(scope, 3, 6)?.activated(Activation::Silu))
}

#[test]
fn group_norm_with_silu_is_that_of_pytorch() {
    Case::read("group").check(&["x"], group, |norm, t| norm.forward(&t[0]));
}

#[test]
fn modulated_group_norm_is_that_of_pytorch() {
    let case = Case::read("group_modulated");
    case.check(&["x", "scale", "shift"], group, |norm, t| {
        norm.forward_modulated(&t[0], &t[1], &t[2])
    });
}

#[test]
fn group_norm_at_a_large_mean_is_that_of_pytorch_in_double_precision() {
    Case::read("group_large_mean").check(&["x"], group, |norm, t| norm.forward(&t[0]));
}

#[test]
fn layer_norm_is_that_of_pytorch() {
    Case::read("layer").check(
        &["x"],
        |scope| LayerNorm::new(scope, 17),
        |norm, t| norm.forward(&t[0]),
    );
}

#[test]
fn modulated_layer_norm_is_that_of_pytorch() {
    Case::read("layer_modulated").check(
        &["x", "scale", "shift"],
        |scope| LayerNorm::without_affine(scope, 17),
        |norm, t| norm.forward_modulated(&t[0], &t[1], &t[2]),
    );
}

#[test]
fn rms_norm_is_that_of_pytorch() {
    Case::read("rms").check(
        &["x"],
        |scope| RmsNorm::new(scope, 17),
        |norm, t| norm.forward(&t[0]),
    );
}

#[test]
fn gated_residual_softmax_and_gelu_are_those_of_pytorch() {
    let none = |_: &Scope<'_>| Ok(());
    let gated = Case::read("gated");
    gated.check(&["x", "gate", "h"], none, |(), t| {
        gated_residual(&t[0], &t[1], &t[2])
    });
    Case::read("softmax").check(&["x"], none, |(), t| softmax(&t[0]));
    Case::read("gelu_erf").check(&["x"], none, |(), t| activate(&t[0], Activation::GeluErf));
}
