//! Attention against PyTorch: outputs and gradients of `scripts/fixtures/attention.py`, to 1e-5 of the largest value in
//! single and 1e-10 in double precision.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use tallow_nn::{
    AttentionMask, MultiHeadAttention, MultiHeadAttentionConfig, Result, View, attention, read_tensors,
};

const PRECISIONS: [(DType, &str, f64); 2] = [(DType::F32, "f32", 1e-5), (DType::F64, "f64", 1e-10)];

struct Fixtures(BTreeMap<String, Tensor>);

impl Fixtures {
    fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/attention.safetensors");
        Self(read_tensors(path).unwrap().0)
    }

    fn of(&self, case: &str, key: &str, dtype: DType) -> Tensor {
        self.0[&format!("{case}.{key}")].to_dtype(dtype).unwrap()
    }

    /// Compares output and gradients of `function` of the inputs, in both precisions.
    fn compare(&self, case: &str, inputs: &[&str], function: impl Fn(&[Tensor]) -> Result<Tensor>) {
        for (dtype, suffix, tolerance) in PRECISIONS {
            let variables: Vec<_> = inputs
                .iter()
                .map(|key| Var::from_tensor(&self.of(case, key, dtype)).unwrap())
                .collect();
            let tensors: Vec<_> = variables.iter().map(|x| x.as_tensor().clone()).collect();
            let y = function(&tensors).unwrap();
            let loss = (&y * self.of(case, "dy", dtype)).unwrap().sum_all().unwrap();
            let gradients = loss.backward().unwrap();
            let what = format!("{case} {suffix}");
            assert_close(
                &y,
                &self.of(case, &format!("y.{suffix}"), dtype),
                tolerance,
                &what,
            );
            for (key, variable) in inputs.iter().zip(&variables) {
                let exact = self.of(case, &format!("d{key}.{suffix}"), dtype);
                let what = format!("{what}: gradient of {key}");
                assert_close(gradients.get(variable).unwrap(), &exact, tolerance, &what);
            }
        }
    }
}

fn assert_close(ours: &Tensor, theirs: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(ours.dims(), theirs.dims(), "{what}");
    let numbers = |x: &Tensor| {
        let x = x.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
        x.to_vec1::<f64>().unwrap()
    };
    let (ours, theirs) = (numbers(ours), numbers(theirs));
    let largest = theirs.iter().fold(0.0, |max: f64, v| max.max(v.abs()));
    assert!(largest > 0.0, "{what}: nothing to compare");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let error = (ours - theirs).abs();
        assert!(error <= tolerance * largest, "{what}: {ours} against {theirs}");
    }
}

#[test]
fn attention_is_pytorchs_under_every_mask() {
    let fixtures = Fixtures::read();
    for case in ["plain", "scaled", "causal", "keep", "bias", "long"] {
        let scale = (case == "scaled").then_some(0.21);
        fixtures.compare(case, &["q", "k", "v"], |x| {
            let mask = match case {
                "causal" => AttentionMask::Causal,
                "keep" => AttentionMask::Keep(fixtures.of(case, "mask", DType::U8)),
                "bias" => AttentionMask::Bias(fixtures.of(case, "mask", x[0].dtype())),
                _ => AttentionMask::None,
            };
            attention(&x[0], &x[1], &x[2], &mask, scale)
        });
    }
}

#[test]
fn the_layer_is_pytorchs_with_the_same_weights() {
    let fixtures = Fixtures::read();
    let names = ["qkv.weight", "qkv.bias", "proj.weight", "proj.bias"];
    // The layer reads a view, which has no graph: its output is compared, and the gradient of its input.
    for (dtype, suffix, tolerance) in PRECISIONS {
        let weights = names.map(|name| {
            (
                name.to_string(),
                fixtures.of("layer", &name.replace('.', "_"), dtype),
            )
        });
        let view = View::new(&BTreeMap::from(weights), dtype, &Device::Cpu);
        let layer = MultiHeadAttention::new(&view.scope(), MultiHeadAttentionConfig::new(9, 3)).unwrap();
        let x = Var::from_tensor(&fixtures.of("layer", "x", dtype)).unwrap();
        let y = layer.forward(&x).unwrap();
        assert_close(
            &y,
            &fixtures.of("layer", &format!("y.{suffix}"), dtype),
            tolerance,
            "the layer",
        );
        let loss = (&y * fixtures.of("layer", "dy", dtype))
            .unwrap()
            .sum_all()
            .unwrap();
        let dx = loss.backward().unwrap().remove(&x).unwrap();
        assert_close(
            &dx,
            &fixtures.of("layer", &format!("dx.{suffix}"), dtype),
            tolerance,
            "its gradient",
        );
    }
}

#[test]
fn gradients_of_the_layers_weights_are_pytorchs() {
    let fixtures = Fixtures::read();
    let inputs = ["x", "qkv_weight", "qkv_bias", "proj_weight", "proj_bias"];
    fixtures.compare("layer", &inputs, |x| {
        let qkv = tallow_nn::Linear::from_tensors(&x[1], Some(&x[2]))?.forward(&x[0])?;
        let heads = qkv.reshape((2, 5, 3, 3, 3))?.permute((2, 0, 3, 1, 4))?;
        let part = |i| heads.get(i);
        let y = attention(&part(0)?, &part(1)?, &part(2)?, &AttentionMask::None, None)?;
        let y = y.transpose(1, 2)?.reshape((2, 5, 9))?;
        tallow_nn::Linear::from_tensors(&x[3], Some(&x[4]))?.forward(&y)
    });
}
