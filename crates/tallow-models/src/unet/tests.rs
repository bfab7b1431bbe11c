//! The laws of the U-Net.

use candle_core::{DType, Device};
use tallow_denoisers::{Condition, Seeded, normal_like};
use tallow_nn::{AdamW, AdamWConfig, GradientState, Parameters, Plan, WaveOrder, gradient_audit};

use super::*;
use crate::DownsamplePadding;

#[path = "refusals_tests.rs"]
mod refusals;

/// Two levels of four and six channels on images of 4 × 4.
fn tiny() -> UNetConfig {
    UNetConfig {
        blocks: 1,
        groups: 2,
        embedding: Some(6),
        ..UNetConfig::new(2, &[4, 6])
    }
}

/// One network of every kind.
fn kinds() -> Vec<UNetConfig> {
    let mut attending = tiny();
    attending.attend(1);
    let mut adm = UNetConfig {
        injection: Injection::ScaleShift,
        head_width: Some(2),
        classes: UNetClasses::Table { count: 3 },
        outputs: 4,
        middle: Some(UNetMiddle {
            groups: Some(2),
            ..UNetMiddle::default()
        }),
        ..attending.clone()
    };
    adm.attend(0);
    adm.resample(UNetResampling::ResidualBlock);
    vec![
        tiny(),
        attending,
        adm,
        UNetConfig {
            time: UNetTime::Fourier,
            classes: UNetClasses::Given,
            range: UNetRange::Centred,
            padding: DownsamplePadding::After,
            ..tiny()
        },
        UNetConfig {
            time: UNetTime::Sinusoidal {
                order: WaveOrder::SinesFirst,
                frequency_shift: 1.0,
            },
            classes: UNetClasses::Times,
            injection: Injection::ScaleShift,
            middle: Some(UNetMiddle {
                attention: false,
                groups: None,
                scale: 2.0,
            }),
            ..tiny()
        },
        UNetConfig {
            middle: None,
            dropout: 0.3,
            ..tiny()
        },
    ]
}

fn x(config: &UNetConfig, rows: usize, side: usize, dtype: DType) -> Tensor {
    let like = Tensor::zeros((rows, config.inputs, side, side), dtype, &Device::Cpu).unwrap();
    normal_like(&like, &mut Seeded::new(5)).unwrap()
}

fn times(rows: usize) -> Vec<f64> {
    (0..rows).map(|row| 1.0 + 37.5 * row as f64).collect()
}

fn condition(config: &UNetConfig, rows: usize) -> Condition {
    match config.classes {
        UNetClasses::None => Condition::none(),
        UNetClasses::Table { count } => {
            let labels: Vec<u32> = (0..rows).map(|row| (row % count) as u32).collect();
            Condition::labels(Tensor::new(labels, &Device::Cpu).unwrap())
        }
        UNetClasses::Times => Condition::labels(Tensor::new(times(rows), &Device::Cpu).unwrap()),
        UNetClasses::Given => {
            let like = Tensor::zeros((rows, config.embedding_width()), DType::F64, &Device::Cpu).unwrap();
            Condition::labels(normal_like(&like, &mut Seeded::new(6)).unwrap())
        }
    }
}

fn answer(network: &dyn Network, config: &UNetConfig, x: &Tensor) -> Tensor {
    let rows = x.dims()[0];
    let (times, condition) = (times(rows), condition(config, rows));
    network
        .forward(&Call::new(x, &times, &condition).unwrap())
        .unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
    flat.to_vec1().unwrap()
}

fn build(config: &UNetConfig, dtype: DType) -> (Parameters, UNet) {
    let parameters = Parameters::new(1, dtype, &Device::Cpu);
    let network = UNet::new(&parameters.scope(), config.clone()).unwrap();
    (parameters, network)
}

#[test]
fn every_parameter_that_is_not_fixed_gets_a_gradient() {
    for config in kinds() {
        let (parameters, network) = build(&config, DType::F32);
        let y = answer(&network, &config, &x(&config, 3, 4, DType::F32));
        let loss = y.sqr().unwrap().sum_all().unwrap();
        for (name, state) in gradient_audit(&loss, &parameters).unwrap() {
            let wanted = if network.fixed().contains(&name) {
                GradientState::Absent
            } else {
                GradientState::Flows
            };
            // A bias of keys moves all scores of a query alike, which a softmax does not see.
            let blind = name.ends_with("to_k.bias") && state != GradientState::Absent;
            assert!(state == wanted || blind, "{name}: {state:?} in {config:?}");
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    for config in kinds() {
        let (parameters, network) = build(&config, DType::F64);
        let x = x(&config, 2, 4, DType::F64);
        let loss = || {
            let y = answer(&network, &config, &x);
            let n = y.elem_count();
            let waves = Tensor::arange(0.0, n as f64, &Device::Cpu)
                .unwrap()
                .cos()
                .unwrap();
            (y * waves.reshape((2, config.outputs, 4, 4)).unwrap())
                .unwrap()
                .sum_all()
                .unwrap()
        };
        let gradients = loss().backward().unwrap();
        for (name, variable) in parameters.named() {
            let Some(gradient) = gradients.get(&variable) else {
                continue;
            };
            let (gradient, values) = (numbers(gradient), numbers(&variable));
            let at = |k: usize, step: f64| {
                let mut moved = values.clone();
                moved[k] += step;
                variable
                    .set(&Tensor::from_vec(moved, variable.shape(), &Device::Cpu).unwrap())
                    .unwrap();
                loss().to_scalar::<f64>().unwrap()
            };
            // The first, the last and one between: every parameter of every layer would take minutes.
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
        let (_, network) = build(&config, DType::F32);
        let all = x(&config, 17, 8, DType::F32);
        let (times, condition) = (times(17), condition(&config, 17));
        let rows = |from: usize, count: usize| {
            let rows: Vec<u32> = (from..from + count).map(|row| row as u32).collect();
            let condition = condition
                .select(&Tensor::new(rows, &Device::Cpu).unwrap())
                .unwrap();
            let x = all.narrow(0, from, count).unwrap().contiguous().unwrap();
            let call = Call::new(&x, &times[from..from + count], &condition).unwrap();
            numbers(&network.forward(&call).unwrap())
        };
        let whole = rows(0, 17);
        let one = whole.len() / 17;
        for (from, count) in [(0, 1), (16, 1), (3, 7), (10, 7), (0, 16)] {
            assert_eq!(
                rows(from, count),
                whole[from * one..(from + count) * one],
                "{config:?}"
            );
        }
    }
}

#[test]
fn both_precisions_and_the_view_without_a_graph_agree() {
    for config in kinds() {
        let (parameters, network) = build(&config, DType::F32);
        let x = x(&config, 3, 4, DType::F32);
        let single = numbers(&answer(&network, &config, &x));
        let viewed = UNet::new(&parameters.detached().scope(), config.clone()).unwrap();
        assert_eq!(numbers(&answer(&viewed, &config, &x)), single);
        let view = parameters.cast(DType::F64).unwrap();
        let double = UNet::new(&view.scope(), config.clone()).unwrap();
        let double = numbers(&answer(&double, &config, &x.to_dtype(DType::F64).unwrap()));
        let largest = double.iter().fold(0f64, |a, b| a.max(b.abs()));
        for (a, b) in single.iter().zip(&double) {
            assert!((a - b).abs() < 2e-5 * largest, "{a} {b}");
        }
    }
}

#[test]
fn half_precision_takes_the_layers_one_by_one() {
    for config in kinds() {
        let (parameters, network) = build(&config, DType::F32);
        let x = x(&config, 2, 4, DType::F32);
        let single = numbers(&answer(&network, &config, &x));
        let view = parameters.cast(DType::F16).unwrap();
        let half = UNet::new(&view.scope(), config.clone()).unwrap();
        let half = numbers(&answer(&half, &config, &x.to_dtype(DType::F16).unwrap()));
        let largest = single.iter().fold(0f64, |a, b| a.max(b.abs()));
        for (a, b) in single.iter().zip(&half) {
            // Eleven bits of mantissa, through some ten layers.
            assert!((a - b).abs() < 0.02 * largest, "{a} {b} in {config:?}");
        }
    }
}

#[test]
fn dropout_is_drawn_in_training_only() {
    let config = kinds().pop().unwrap();
    let (_, network) = build(&config, DType::F32);
    let x = x(&config, 2, 4, DType::F32);
    let plain = numbers(&answer(&network, &config, &x));
    let drawn = |seed| {
        let mut rng = Seeded::new(seed);
        numbers(&answer(&network.training(&mut rng), &config, &x))
    };
    assert_eq!(plain, numbers(&answer(&network, &config, &x)));
    assert_ne!(plain, drawn(1));
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
    let none = UNetConfig {
        dropout: 0.0,
        ..config.clone()
    };
    let (_, network) = build(&none, DType::F32);
    let mut rng = Seeded::new(1);
    let plain = numbers(&answer(&network, &none, &x));
    assert_eq!(plain, numbers(&answer(&network.training(&mut rng), &none, &x)));
}

#[test]
fn a_network_whose_last_layers_are_zeros_answers_zero_and_learns() {
    let config = UNetConfig {
        start: UNetStart::ZeroLast,
        ..kinds().swap_remove(2)
    };
    let (parameters, network) = build(&config, DType::F32);
    let y = answer(&network, &config, &x(&config, 2, 4, DType::F32));
    assert!(numbers(&y).iter().all(|&y| y == 0.0));
    let states = gradient_audit(&(y + 1.0).unwrap().sqr().unwrap().sum_all().unwrap(), &parameters).unwrap();
    assert_eq!(states["conv_out.weight"], GradientState::Flows);
    assert!(states.values().all(|state| *state != GradientState::Absent));
}

#[test]
fn the_papers_networks_have_the_papers_numbers_of_parameters() {
    let count = |config: UNetConfig| {
        let plan = Plan::new(DType::F32, usize::MAX);
        UNet::new(&plan.scope(), config).unwrap();
        plan.count()
    };
    assert_eq!(count(UNetConfig::ddpm_cifar10()), 35_746_307);
    assert_eq!(count(UNetConfig::ddpm_256()), 113_673_219);
    assert_eq!(count(UNetConfig::adm_imagenet64()), 295_904_454);
    assert_eq!(count(UNetConfig::adm_imagenet256()), 553_838_086);
}

#[test]
fn the_papers_networks_go_to_diffusers_and_come_back() {
    for config in [
        UNetConfig::ddpm_cifar10(),
        UNetConfig::ddpm_256(),
        UNetConfig::adm_imagenet64(),
        UNetConfig::adm_imagenet256(),
    ] {
        config.check().unwrap();
        let written = config.to_diffusers().unwrap();
        let read = UNetConfig::from_diffusers(&written).unwrap();
        // A start is nothing that diffusers keeps.
        assert_eq!(
            read,
            UNetConfig {
                start: UNetStart::Drawn,
                ..config
            }
        );
    }
}

#[test]
fn the_small_network_is_small() {
    let (parameters, network) = build(&UNetConfig::small(1, 28, 11), DType::F32);
    assert!((400_000..1_200_000).contains(&parameters.count()));
    assert_eq!(network.config().divisor(), 4);
}

#[test]
fn the_file_of_ddpm_for_cifar10_has_the_papers_shape() {
    let file = serde_json::json!({
        "_class_name": "UNet2DModel",
        "_diffusers_version": "0.1.1",
        "act_fn": "silu",
        "attention_head_dim": null,
        "block_out_channels": [128, 256, 256, 256],
        "center_input_sample": false,
        "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
        "downsample_padding": 0,
        "flip_sin_to_cos": false,
        "freq_shift": 1,
        "in_channels": 3,
        "layers_per_block": 2,
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-06,
        "norm_num_groups": 32,
        "out_channels": 3,
        "sample_size": 32,
        "time_embedding_type": "positional",
        "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"]
    });
    let paper = UNetConfig {
        start: UNetStart::Drawn,
        dropout: 0.0,
        ..UNetConfig::ddpm_cifar10()
    };
    assert_eq!(UNetConfig::from_diffusers(&file).unwrap(), paper);
}

#[test]
fn training_on_one_batch_learns_it() {
    for start in [UNetStart::Drawn, UNetStart::ZeroLast] {
        let config = UNetConfig {
            start,
            ..kinds().swap_remove(1)
        };
        let (parameters, network) = build(&config, DType::F32);
        let x = x(&config, 4, 4, DType::F32);
        let settings = AdamWConfig {
            learning_rate: 1e-2,
            ..AdamWConfig::default()
        };
        let mut optimizer = AdamW::new(&parameters, settings).unwrap();
        let mut losses = Vec::new();
        for _ in 0..100 {
            let error = (answer(&network, &config, &x) - &x).unwrap();
            let loss = error.sqr().unwrap().mean_all().unwrap();
            optimizer.step(&loss.backward().unwrap()).unwrap();
            losses.push(loss.to_scalar::<f32>().unwrap());
        }
        assert!(losses[99] < 0.2 * losses[0], "{} {}", losses[0], losses[99]);
    }
}

#[cfg(feature = "serde")]
#[test]
fn a_configuration_is_the_same_after_a_file() {
    for config in kinds() {
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<UNetConfig>(&written).unwrap(),
            config,
            "{written}"
        );
    }
}
