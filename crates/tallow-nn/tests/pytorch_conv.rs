//! Image layers against PyTorch: outputs and gradients of `scripts/fixtures/conv.py`, to 1e-5 of the largest value in
//! single and 1e-10 in double precision.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use tallow_nn::{
    AveragePool, Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig, Embedding, Interpolation,
    Resize, Result, read_tensors,
};

struct Fixtures(BTreeMap<String, Tensor>);

impl Fixtures {
    fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/conv.safetensors");
        Self(read_tensors(path).unwrap().0)
    }

    fn settings(&self, case: &str) -> Option<Vec<usize>> {
        let settings = self.0.get(&format!("{case}.settings"))?.to_vec1::<i64>().unwrap();
        Some(settings.into_iter().map(|setting| setting as usize).collect())
    }

    /// Compares output and gradients of `layer` for every case `kind.0`, `kind.1`, …; how many there were.
    fn compare(
        &self,
        kind: &str,
        inputs: &[&str],
        layer: impl Fn(&[usize], &[Var]) -> Result<Tensor>,
    ) -> usize {
        for count in 0.. {
            let case = format!("{kind}.{count}");
            let Some(settings) = self.settings(&case) else {
                return count;
            };
            for (dtype, suffix, tolerance) in [(DType::F32, "f32", 1e-5), (DType::F64, "f64", 1e-10)] {
                let of = |key: &str| self.0[&format!("{case}.{key}")].to_dtype(dtype).unwrap();
                let variables: Vec<_> = inputs
                    .iter()
                    .map(|key| Var::from_tensor(&of(key)).unwrap())
                    .collect();
                let y = layer(&settings, &variables).unwrap();
                let gradients = (&y * of("dy")).unwrap().sum_all().unwrap().backward().unwrap();
                assert_close(
                    &y,
                    &of(&format!("y.{suffix}")),
                    tolerance,
                    &format!("{case} {suffix}"),
                );
                for (key, variable) in inputs.iter().zip(&variables) {
                    let exact = of(&format!("d{key}.{suffix}"));
                    let what = format!("{case} {suffix}: gradient of {key}");
                    assert_close(gradients.get(variable).unwrap(), &exact, tolerance, &what);
                }
            }
        }
        0
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
fn convolutions_are_pytorchs() {
    let cases = Fixtures::read().compare("conv", &["x", "weight", "bias"], |s, p| {
        let config = Conv2dConfig {
            stride: [s[0], s[1]],
            padding: [s[2], s[3]],
            dilation: [s[4], s[5]],
            groups: s[6],
        };
        Conv2d::from_tensors(&p[1], Some(&p[2]), config)?.forward(&p[0])
    });
    assert_eq!(cases, 6);
}

#[test]
fn transposed_convolutions_are_pytorchs() {
    let cases = Fixtures::read().compare("transposed", &["x", "weight", "bias"], |s, p| {
        let config = ConvTranspose2dConfig {
            stride: [s[0], s[1]],
            padding: [s[2], s[3]],
            output_padding: [s[4], s[5]],
            dilation: [s[6], s[7]],
            groups: s[8],
        };
        ConvTranspose2d::from_tensors(&p[1], Some(&p[2]), config)?.forward(&p[0])
    });
    assert_eq!(cases, 4);
}

#[test]
fn interpolations_are_pytorchs() {
    for (kind, interpolation, count) in [
        ("nearest", Interpolation::Nearest, 6),
        ("bilinear", Interpolation::Bilinear, 5),
        ("aligned", Interpolation::BilinearAligned, 5),
    ] {
        let cases = Fixtures::read().compare(kind, &["x"], |s, p| {
            Resize::to([s[0], s[1]], interpolation).forward(&p[0])
        });
        assert_eq!(cases, count, "{kind}");
    }
}

#[test]
fn average_pools_are_pytorchs() {
    let cases = Fixtures::read().compare("pool", &["x"], |s, p| {
        AveragePool::new([s[0], s[1]], [s[2], s[3]]).forward(&p[0])
    });
    assert_eq!(cases, 3);
}

#[test]
fn embeddings_are_pytorchs() {
    let cases = Fixtures::read().compare("embedding", &["weight"], |s, p| {
        let labels: Vec<_> = s.iter().map(|&label| label as u32).collect();
        let labels = Tensor::from_vec(labels, (2, 3), &Device::Cpu)?;
        Embedding::from_tensor(&p[0])?.forward(&labels)
    });
    assert_eq!(cases, 1);
}
