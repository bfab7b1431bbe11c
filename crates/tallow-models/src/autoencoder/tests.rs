//! The laws of the autoencoder.

use candle_core::{DType, Device, Var};
use serde_json::json;
use tallow_denoisers::{Seeded, normal_like};
use tallow_nn::{GradientState, Plan, gradient_audit};

use super::*;

fn kinds() -> Vec<AutoencoderKlConfig> {
    let tiny = AutoencoderKlConfig {
        groups: 2,
        ..AutoencoderKlConfig::new(2, 3, &[4, 6])
    };
    let bare = AutoencoderKlConfig {
        outputs: 1,
        attention: false,
        mix_moments: false,
        mix_latents: false,
        scale: 0.5,
        shift: 0.25,
        ..tiny.clone()
    };
    vec![tiny, bare]
}

fn random(shape: &[usize], dtype: DType) -> Tensor {
    let like = Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
    normal_like(&like, &mut Seeded::new(5)).unwrap()
}

fn build(config: &AutoencoderKlConfig, dtype: DType) -> (Parameters, AutoencoderKl) {
    let parameters = Parameters::new(1, dtype, &Device::Cpu);
    let model = AutoencoderKl::new(&parameters.scope(), config.clone()).unwrap();
    (parameters, model)
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
    flat.to_vec1().unwrap()
}

/// What training minimises, under noise that is the same at each call.
fn loss(model: &AutoencoderKl, x: &Tensor) -> Tensor {
    let posterior = model.encode(x).unwrap();
    let z = posterior.sample(&mut Seeded::new(9)).unwrap();
    let y = model.decode(&z).unwrap();
    let square = (y + 0.3).unwrap().sqr().unwrap().sum_all().unwrap();
    (square + posterior.kl().unwrap().sum_all().unwrap()).unwrap()
}

#[test]
fn every_parameter_gets_a_gradient() {
    for config in kinds() {
        let (parameters, model) = build(&config, DType::F32);
        let loss = loss(&model, &random(&[3, 2, 4, 6], DType::F32));
        for (name, state) in gradient_audit(&loss, &parameters).unwrap() {
            // A bias of keys moves all scores of a query alike, which a softmax does not see.
            let blind = name.ends_with("to_k.bias") && state != GradientState::Absent;
            assert!(state == GradientState::Flows || blind, "{name}: {state:?}");
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    for config in kinds() {
        let (parameters, model) = build(&config, DType::F64);
        let x = random(&[2, 2, 4, 4], DType::F64);
        let gradients = loss(&model, &x).backward().unwrap();
        for (name, variable) in parameters.named() {
            let (gradient, values) = (numbers(gradients.get(&variable).unwrap()), numbers(&variable));
            let at = |k: usize, step: f64| {
                let mut moved = values.clone();
                moved[k] += step;
                let moved = Tensor::from_vec(moved, variable.shape(), &Device::Cpu).unwrap();
                variable.set(&moved).unwrap();
                loss(&model, &x).to_scalar::<f64>().unwrap()
            };
            for k in [0, values.len() / 2, values.len() - 1] {
                let slope = (at(k, 1e-5) - at(k, -1e-5)) / 2e-5;
                at(k, 0.0);
                let off = (slope - gradient[k]).abs();
                assert!(
                    off < 1e-6 * (1.0 + slope.abs()),
                    "{name}[{k}]: {slope} {}",
                    gradient[k]
                );
            }
        }
    }
}

#[test]
fn an_image_has_the_same_bytes_in_every_batch() {
    for config in kinds() {
        let (_, model) = build(&config, DType::F32);
        let all = random(&[17, 2, 8, 8], DType::F32);
        let rows = |from, count| {
            let x = all.narrow(0, from, count).unwrap().contiguous().unwrap();
            let posterior = model.encode(&x).unwrap();
            let image = numbers(&model.decode(posterior.mode()).unwrap());
            (image, numbers(&posterior.kl().unwrap()))
        };
        let (images, divergences) = rows(0, 17);
        let one = images.len() / 17;
        for (from, count) in [(0, 1), (16, 1), (3, 7), (0, 16)] {
            let (image, divergence) = rows(from, count);
            assert_eq!(image, images[from * one..(from + count) * one]);
            assert_eq!(divergence, divergences[from..from + count]);
        }
    }
}

#[test]
fn both_precisions_and_the_view_without_a_graph_agree() {
    for config in kinds() {
        let (parameters, model) = build(&config, DType::F32);
        let x = random(&[2, 2, 4, 4], DType::F32);
        let answer = |model: &AutoencoderKl, x: &Tensor| {
            let posterior = model.encode(x).unwrap();
            numbers(&model.decode(posterior.mode()).unwrap())
        };
        let single = answer(&model, &x);
        let viewed = AutoencoderKl::new(&parameters.detached().scope(), config.clone()).unwrap();
        assert_eq!(answer(&viewed, &x), single);
        for (dtype, tolerance) in [(DType::F64, 2e-5), (DType::F16, 2e-2)] {
            let view = parameters.cast(dtype).unwrap();
            let other = AutoencoderKl::new(&view.scope(), config.clone()).unwrap();
            let other = answer(&other, &x.to_dtype(dtype).unwrap());
            let largest = single.iter().fold(0f64, |a, b| a.max(b.abs()));
            for (a, b) in single.iter().zip(&other) {
                assert!((a - b).abs() < tolerance * largest, "{dtype:?}: {a} {b}");
            }
        }
    }
}

#[test]
fn the_divergence_is_the_mean_of_the_log_ratio() {
    // KL = E[ln q(z) − ln p(z)], which 20 000 draws tell to about 1 in 100.
    let moments = random(&[1, 4, 2, 1], DType::F64);
    let one = Posterior::from_moments(&moments).unwrap();
    let repeat = |t: &Tensor| t.repeat((20_000, 1, 1, 1)).unwrap();
    let many = Posterior {
        mean: repeat(&one.mean),
        log_variance: repeat(&one.log_variance),
    };
    let z = many.sample(&mut Seeded::new(3)).unwrap();
    let prior = Posterior::from_moments(&repeat(&moments.zeros_like().unwrap())).unwrap();
    let ratio =
        (prior.negative_log_likelihood(&z).unwrap() - many.negative_log_likelihood(&z).unwrap()).unwrap();
    let mean = ratio.mean_all().unwrap().to_scalar::<f64>().unwrap();
    let exact = numbers(&one.kl().unwrap())[0];
    assert!((mean - exact).abs() < 0.03 * exact, "{mean} {exact}");
    assert_eq!(numbers(&prior.kl().unwrap())[0], 0.0);
}

#[test]
fn variances_stay_finite_and_their_gradient_ends_where_they_do() {
    let moments = Var::from_vec(vec![0.0f32, 0.0, 0.0, -1e4, 3.0, 1e4], (1, 6, 1, 1), &Device::Cpu).unwrap();
    let posterior = Posterior::from_moments(&moments).unwrap();
    assert_eq!(numbers(&posterior.log_variance), [-30.0, 3.0, 20.0]);
    let gradients = posterior.kl().unwrap().sum_all().unwrap().backward().unwrap();
    let gradient = numbers(gradients.get(&moments).unwrap());
    assert_eq!([gradient[3], gradient[5]], [0.0, 0.0]);
    // ½ (e³ − 1)
    assert!((gradient[4] - 0.5 * (3f64.exp() - 1.0)).abs() < 1e-5);
    assert!(Posterior::from_moments(&random(&[1, 3, 2, 2], DType::F32)).is_err());
}

#[test]
fn scaled_latents_come_back() {
    for config in kinds() {
        let (_, model) = build(&config, DType::F64);
        let z = random(&[2, 3, 2, 2], DType::F64);
        let scaled = model.scaled(&z).unwrap();
        for ((back, z), scaled) in numbers(&model.unscaled(&scaled).unwrap())
            .into_iter()
            .zip(numbers(&z))
            .zip(numbers(&scaled))
        {
            assert!((back - z).abs() < 1e-14);
            assert!((scaled - (z - config.shift) * config.scale).abs() < 1e-14);
        }
    }
}

#[test]
fn named_autoencoders_have_their_numbers_of_parameters_and_sizes() {
    let plan = Plan::new(DType::F32, usize::MAX);
    let stable = AutoencoderKlConfig::stable_diffusion();
    AutoencoderKl::new(&plan.scope(), stable.clone()).unwrap();
    assert_eq!(plan.count(), 83_653_863);
    assert_eq!(stable.divisor(), 8);
    let (parameters, model) = build(&AutoencoderKlConfig::small(1, 28), DType::F32);
    assert!(parameters.count() < 500_000, "{}", parameters.count());
    let posterior = model.encode(&random(&[2, 1, 28, 28], DType::F32)).unwrap();
    assert_eq!(posterior.mean.dims(), [2, 4, 7, 7]);
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let (_, model) = build(&kinds()[0], DType::F32);
    let encoded = |shape: &[usize]| {
        let x = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        model.encode(&x).unwrap_err().to_string()
    };
    assert!(encoded(&[1, 2, 1, 5]).contains("at least 2"));
    assert!(encoded(&[1, 2, 0, 5]).contains("at least 2"));
    assert!(encoded(&[1, 3, 4, 4]).contains("(batch, 2, height, width)"));
    assert!(encoded(&[2, 4, 4]).contains("[2, 4, 4]"));
    let z = random(&[1, 2, 2, 2], DType::F32);
    assert!(model.decode(&z).unwrap_err().to_string().contains("(batch, 3,"));
    let x = random(&[1, 2, 4, 4], DType::F64);
    assert!(model.encode(&x).unwrap_err().to_string().contains("F64"));
    let none = Tensor::zeros((0, 2, 4, 4), DType::F32, &Device::Cpu).unwrap();
    let posterior = model.encode(&none).unwrap();
    assert_eq!(posterior.kl().unwrap().dims(), [0]);
    assert_eq!(model.decode(posterior.mode()).unwrap().dims(), [0, 2, 4, 4]);
}

#[test]
fn configurations_that_cannot_be_are_refused_by_name() {
    let tiny = || kinds().swap_remove(0);
    let cases = [
        (
            AutoencoderKlConfig {
                channels: vec![],
                ..tiny()
            },
            "channels",
        ),
        (
            AutoencoderKlConfig { groups: 4, ..tiny() },
            "multiples of the groups",
        ),
        (AutoencoderKlConfig { latents: 0, ..tiny() }, "latents"),
        (AutoencoderKlConfig { scale: 0.0, ..tiny() }, "scale"),
        (
            AutoencoderKlConfig {
                shift: f64::NAN,
                ..tiny()
            },
            "shift",
        ),
    ];
    for (config, word) in cases {
        let plan = Plan::new(DType::F32, usize::MAX);
        let message = AutoencoderKl::new(&plan.scope(), config).unwrap_err().to_string();
        assert!(message.contains(word), "{word}: {message}");
    }
    let cases = [
        (json!({"act_fn": "relu"}), "`act_fn` = \"relu\""),
        (
            json!({"down_block_types": ["AttnDownEncoderBlock2D"]}),
            "DownEncoderBlock2D",
        ),
        (json!({"block_out_channels": [32, 64]}), "each of the 2"),
        (json!({"latents_mean": [0.0, 1.0]}), "null"),
        (json!({"tile": 3}), "`tile`"),
    ];
    for (value, word) in cases {
        let message = AutoencoderKlConfig::from_diffusers(&value)
            .unwrap_err()
            .to_string();
        assert!(message.contains(word), "{word}: {message}");
    }
}

#[cfg(feature = "serde")]
#[test]
fn a_configuration_is_the_same_after_a_file() {
    for config in kinds() {
        let written = serde_json::to_string(&config).unwrap();
        let read = serde_json::from_str::<AutoencoderKlConfig>(&written).unwrap();
        assert_eq!(read, config, "{written}");
    }
}
