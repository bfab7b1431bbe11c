//! Inception-v3 with random weights against pytorch-fid's network: `scripts/fixtures/inception.py` has the same formula for
//! the weights, and computes in double precision.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use tallow_metrics::{Error, Extractor, ImageRange, InceptionTap, InceptionV3};

const FIXTURE: &[u8] = include_bytes!("data/inception.safetensors");
const TAPS: [(InceptionTap, &str); 5] = [
    (InceptionTap::FirstPool, "features_64"),
    (InceptionTap::SecondPool, "features_192"),
    (InceptionTap::BeforeClassifier, "features_768"),
    (InceptionTap::Pool, "features_2048"),
    (InceptionTap::Logits, "logits"),
];

/// Numbers in [−1, 1) that follow from a name.
fn units(name: &str, count: usize) -> Vec<f64> {
    let start = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    });
    let number = |index: usize| {
        let mut z = start.wrapping_add((index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    (0..count).map(number).collect()
}

fn weight(name: &str, shape: &[usize]) -> Tensor {
    let inputs: usize = shape[1..].iter().product();
    let values = units(name, shape.iter().product()).into_iter().map(|unit| {
        if name.ends_with("bn.weight") || name.ends_with("bn.running_var") {
            1.0 + 0.25 * unit
        } else if name.ends_with("weight") {
            unit * (6.0 / inputs as f64).sqrt()
        } else {
            0.25 * unit
        }
    });
    let values: Vec<f32> = values.map(|value| value as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Writes the weights of the formula; the names are those of pytorch-fid's state.
fn written(file: &str, wanted: fn(&str) -> bool) -> PathBuf {
    let (_, header) = SafeTensors::read_metadata(FIXTURE).unwrap();
    let shapes: BTreeMap<String, Vec<usize>> =
        serde_json::from_str(&header.metadata().as_ref().unwrap()["shapes"]).unwrap();
    let shapes = shapes.iter().filter(|(name, _)| wanted(name));
    let tensors: HashMap<&str, Tensor> = shapes
        .map(|(name, shape)| (name.as_str(), weight(name, shape)))
        .collect();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    candle_core::safetensors::save(&tensors, &path).unwrap();
    path
}

fn images() -> Tensor {
    let pixels: Vec<f32> = units("images", 2 * 3 * 40 * 56)
        .into_iter()
        .map(|unit| unit as f32 / 2.0 + 0.5)
        .collect();
    Tensor::from_vec(pixels, (2, 3, 40, 56), &Device::Cpu).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn random_weights_give_the_features_of_pytorch_fid() {
    let path = written("inception.safetensors", |_| true);
    let expected = candle_core::safetensors::load_buffer(FIXTURE, &Device::Cpu).unwrap();
    for (tap, name) in TAPS {
        let network = InceptionV3::read(&path, tap, &Device::Cpu).unwrap();
        assert_eq!(network.protocol().file_sha256.len(), 64);
        let found = network.features(&images(), ImageRange::ZeroToOne).unwrap();
        assert_eq!(found.dims(), [2, tap.dimension()]);
        let exact = numbers(&expected[name]);
        let largest = exact.iter().fold(0_f32, |a, b| a.max(b.abs()));
        let off = numbers(&found)
            .iter()
            .zip(&exact)
            .fold(0_f32, |off, (a, b)| off.max((a - b).abs()));
        println!("{name}: {:e} of the largest", off / largest);
        assert!(off < 2e-5 * largest, "{name}: off by {off} of {largest}");
        if tap == InceptionTap::FirstPool {
            // The same image alone, and with the values of another range.
            let shifted = images().affine(2.0, -1.0).unwrap().narrow(0, 1, 1).unwrap();
            let alone = network
                .features(&images().narrow(0, 1, 1).unwrap(), ImageRange::ZeroToOne)
                .unwrap();
            assert_eq!(numbers(&alone), numbers(&found)[64..]);
            let again = network.features(&shifted, ImageRange::MinusOneToOne).unwrap();
            let off = numbers(&again)
                .iter()
                .zip(&numbers(&alone))
                .fold(0_f32, |off, (a, b)| off.max((a - b).abs()));
            assert!(off < 1e-6, "{off}");
        }
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_file_that_is_missing_or_of_something_else_says_where_the_right_one_is() {
    let read = |path: &Path, tap| InceptionV3::read(path, tap, &Device::Cpu).unwrap_err();
    let missing = read(Path::new("no/such/inception.safetensors"), InceptionTap::Pool).to_string();
    for part in [
        "no/such/inception.safetensors",
        "fid_weights",
        "scripts/convert_inception.py",
    ] {
        assert!(missing.contains(part), "{missing}");
    }
    let stem = written("inception_stem.safetensors", |name| {
        name.starts_with("Conv2d_1") || name.starts_with("Conv2d_2")
    });
    assert!(InceptionV3::read(&stem, InceptionTap::FirstPool, &Device::Cpu).is_ok());
    let short = read(&stem, InceptionTap::Pool);
    assert!(matches!(short, Error::Weights { .. }));
    assert!(
        short.to_string().contains("`Conv2d_3b_1x1.conv.weight`"),
        "{short}"
    );
    for (value, words) in [(f32::NAN, "not finite"), (1.0, "shape [1]")] {
        let mut tensors = candle_core::safetensors::load(&stem, &Device::Cpu).unwrap();
        let bad = Tensor::new(&[value], &Device::Cpu).unwrap();
        let bad = if value.is_nan() {
            bad.broadcast_as(32).unwrap().contiguous().unwrap()
        } else {
            bad
        };
        tensors.insert(
            "Conv2d_1a_3x3.bn.weight".to_owned(),
            bad.to_dtype(DType::F32).unwrap(),
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inception_bad.safetensors");
        candle_core::safetensors::save(&tensors, &path).unwrap();
        let error = read(&path, InceptionTap::FirstPool).to_string();
        assert!(error.contains(words), "{error}");
        std::fs::write(&path, b"no tensors").unwrap();
        assert!(
            read(&path, InceptionTap::FirstPool)
                .to_string()
                .contains("no file of safetensors")
        );
        std::fs::remove_file(&path).unwrap();
    }
    std::fs::remove_file(stem).unwrap();
}
