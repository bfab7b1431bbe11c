//! The laws of the diffusion transformer.

use candle_core::{Device, Var};
use tallow_denoisers::Condition;
use tallow_nn::{AdamW, AdamWConfig, Parameters, Plan};

use super::*;

fn config() -> DitConfig {
    DitConfig {
        width: 16,
        depth: 2,
        heads: 2,
        channels: 2,
        start: DitStart::Random,
        ..DitConfig::small(8, 3)
    }
    .with_learned_variance()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
    flat.to_vec1().unwrap()
}

/// Numbers without a pattern, (B, channels, size, size).
fn images(batch: usize, dtype: DType) -> Tensor {
    let n = batch * 2 * 64;
    let values: Vec<f64> = (0..n)
        .map(|i| (1.7 * (i as f64) * (i as f64 + 3.0).sqrt()).sin())
        .collect();
    let x = Tensor::from_vec(values, (batch, 2, 8, 8), &Device::Cpu).unwrap();
    x.to_dtype(dtype).unwrap()
}

fn labels(labels: &[u32]) -> Condition {
    Condition::labels(Tensor::new(labels, &Device::Cpu).unwrap())
}

fn run(dit: &Dit, x: &Tensor, times: &[f64], condition: &Condition) -> candle_core::Result<Tensor> {
    dit.forward(&Call::new(x, times, condition).unwrap())
}

#[test]
fn the_named_sizes_have_the_papers_numbers_of_parameters() {
    // In millions, Peebles & Xie 2023, Table 4 (S, B, L, XL with patches of 2).
    let named = [
        (DitConfig::s(2), 33.0),
        (DitConfig::b(2), 130.0),
        (DitConfig::l(2), 458.0),
        (DitConfig::xl(2), 675.0),
    ];
    let count = |config: DitConfig| {
        let plan = Plan::new(DType::F32, usize::MAX);
        Dit::new(&plan.scope(), config).unwrap();
        plan.count()
    };
    for (config, millions) in named {
        let config = config.with_learned_variance();
        let (w, depth) = (config.width, config.depth);
        // Blocks, patches, times, labels with the null row, output.
        let parts = [
            depth * (18 * w * w + 15 * w),
            17 * w,
            w * w + 258 * w,
            1001 * w,
            2 * w * w + 34 * w + 32,
        ];
        assert_eq!(count(config), parts.into_iter().sum::<usize>(), "{config:?}");
        assert!(
            (count(config) as f64 / 1e6 - millions).abs() < 0.6,
            "{}",
            count(config)
        );
    }
    assert_eq!(count(DitConfig::small(28, 10)), 1_852_688);
}

#[test]
fn it_starts_at_zero_unless_asked_not_to_and_its_gradient_reaches_every_parameter() {
    let zero = DitConfig {
        start: DitStart::Zero,
        ..config()
    };
    let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
    let dit = Dit::new(&parameters.scope(), zero).unwrap();
    let y = run(&dit, &images(2, DType::F32), &[0.2, 0.9], &labels(&[0, 3])).unwrap();
    assert_eq!(y.dims(), [2, 4, 8, 8]);
    assert!(numbers(&y).iter().all(|&y| y == 0.0));
    let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
    for embedders in [Embedders::Shared, Embedders::PerBlock] {
        let parameters = Parameters::new(parameters.seed(), DType::F32, &Device::Cpu);
        let dit = Dit::new(
            &parameters.scope(),
            DitConfig {
                embedders,
                ..config()
            },
        )
        .unwrap();
        let y = run(&dit, &images(2, DType::F32), &[0.2, 0.9], &labels(&[0, 3])).unwrap();
        let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        for (name, variable) in parameters.named() {
            let gradient = gradients
                .get(&variable)
                .unwrap_or_else(|| panic!("no gradient of {name}"));
            assert!(numbers(gradient).iter().any(|&g| g != 0.0), "{name}");
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    let parameters = Parameters::new(2, DType::F64, &Device::Cpu);
    let dit = Dit::new(&parameters.scope(), config()).unwrap();
    let x = Var::from_tensor(&images(2, DType::F64)).unwrap();
    let condition = labels(&[1, 2]);
    let loss = || {
        let y = run(&dit, &x, &[0.3, 0.8], &condition).unwrap();
        let weights = Tensor::arange(0f64, y.elem_count() as f64, &Device::Cpu)
            .unwrap()
            .cos()
            .unwrap();
        (y.flatten_all().unwrap() * weights).unwrap().sum_all().unwrap()
    };
    let gradients = loss().backward().unwrap();
    let mut variables = parameters.named();
    variables.push(("x".to_string(), x.clone()));
    for (name, variable) in variables {
        let (start, n) = (variable.copy().unwrap(), variable.elem_count());
        let place = n / 3;
        let step = Tensor::from_vec(
            (0..n)
                .map(|i| if i == place { 1e-5 } else { 0.0 })
                .collect::<Vec<f64>>(),
            start.shape(),
            &Device::Cpu,
        )
        .unwrap();
        variable.set(&(&start + &step).unwrap()).unwrap();
        let above = loss().to_scalar::<f64>().unwrap();
        variable.set(&(&start - &step).unwrap()).unwrap();
        let below = loss().to_scalar::<f64>().unwrap();
        variable.set(&start).unwrap();
        let want = (above - below) / 2e-5;
        let got = numbers(gradients.get(&variable).unwrap())[place];
        assert!(
            (got - want).abs() < 1e-6 * (1.0 + want.abs()),
            "{name}: {got} {want}"
        );
    }
}

#[test]
fn an_image_has_the_same_bytes_in_every_batch_and_a_view_answers_as_the_trained_network() {
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    let dit = Dit::new(&parameters.scope(), config()).unwrap();
    let view = Dit::new(&parameters.detached().scope(), config()).unwrap();
    let x = images(5, DType::F32);
    let (times, all) = ([0.1, 0.4, 0.5, 0.6, 1.0], [0, 1, 2, 3, 1]);
    let y = run(&dit, &x, &times, &labels(&all)).unwrap();
    let viewed = run(&view, &x, &times, &labels(&all)).unwrap();
    assert!(!viewed.track_op() && numbers(&y) == numbers(&viewed));
    for row in 0..5 {
        let one = run(
            &view,
            &x.narrow(0, row, 1).unwrap(),
            &times[row..=row],
            &labels(&all[row..=row]),
        )
        .unwrap();
        assert_eq!(numbers(&one), numbers(&y.get(row).unwrap()));
    }
    let none = run(&view, &x.narrow(0, 0, 0).unwrap(), &[], &labels(&[])).unwrap();
    assert_eq!(none.dims(), [0, 4, 8, 8]);
}

#[test]
fn equal_embedders_of_blocks_are_shared_ones() {
    let parameters = Parameters::new(4, DType::F64, &Device::Cpu);
    let shared = Dit::new(&parameters.scope(), config()).unwrap();
    let mut tensors = parameters.snapshot().unwrap();
    for (name, tensor) in tensors.clone() {
        if name.starts_with("t_embedder") || name.starts_with("y_embedder") {
            tensors.insert(format!("blocks.0.{name}"), tensor.clone());
            tensors.insert(format!("blocks.1.{name}"), tensor);
        }
    }
    let view = tallow_nn::View::new(&tensors, DType::F64, &Device::Cpu);
    let own = DitConfig {
        embedders: Embedders::PerBlock,
        ..config()
    };
    let own = Dit::new(&view.scope(), own).unwrap();
    let (x, condition) = (images(2, DType::F64), labels(&[1, 3]));
    let of = |dit: &Dit| numbers(&run(dit, &x, &[0.3, 0.8], &condition).unwrap());
    assert_eq!(of(&shared), of(&own));
}

#[test]
fn training_on_one_batch_learns_it() {
    for start in [DitStart::Zero, DitStart::Random] {
        let config = DitConfig {
            start,
            outputs: 2,
            ..config()
        };
        let parameters = Parameters::new(7, DType::F32, &Device::Cpu);
        let dit = Dit::new(&parameters.scope(), config).unwrap();
        let settings = AdamWConfig {
            learning_rate: 1e-2,
            ..AdamWConfig::default()
        };
        let mut optimizer = AdamW::new(&parameters, settings).unwrap();
        let x = images(2, DType::F32);
        let mut losses = Vec::new();
        for _ in 0..100 {
            let y = run(&dit, &x, &[0.2, 0.9], &labels(&[0, 3])).unwrap();
            let loss = (y - &x).unwrap().sqr().unwrap().mean_all().unwrap();
            optimizer.step(&loss.backward().unwrap()).unwrap();
            losses.push(loss.to_scalar::<f32>().unwrap());
        }
        assert!(losses[99] < 0.2 * losses[0], "{} {}", losses[0], losses[99]);
    }
}

#[cfg(feature = "serde")]
#[test]
fn a_configuration_is_the_same_after_a_file() {
    for config in [config(), DitConfig::xl(2), DitConfig::small(28, 0)] {
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<DitConfig>(&written).unwrap(),
            config,
            "{written}"
        );
    }
}

#[test]
fn half_precision_and_large_steps_keep_their_times_apart() {
    let config = DitConfig {
        time: TimeWaves {
            count: 8,
            ..TimeWaves::default()
        },
        ..config()
    };
    let parameters = Parameters::new(5, DType::F32, &Device::Cpu);
    Dit::new(&parameters.scope(), config).unwrap();
    let half = parameters.cast(DType::F16).unwrap();
    let half = Dit::new(&half.scope(), config).unwrap();
    let full = Dit::new(&parameters.detached().scope(), config).unwrap();
    let x = images(2, DType::F32);
    // 4001 is no half.
    let times = [4000.0, 4001.0];
    let of = |dit: &Dit, x: &Tensor| numbers(&run(dit, x, &times, &labels(&[1, 1])).unwrap());
    let (a, b) = (of(&full, &x), of(&half, &x.to_dtype(DType::F16).unwrap()));
    let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < 0.05, "{worst}");
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let broken = [
        (DitConfig { patch: 3, ..config() }, "multiple of the patch"),
        (DitConfig { heads: 3, ..config() }, "3 heads"),
        (
            DitConfig {
                width: 18,
                ..config()
            },
            "multiple of 4",
        ),
        (DitConfig { depth: 0, ..config() }, "depth"),
        (
            DitConfig {
                outputs: 3,
                ..config()
            },
            "twice as many",
        ),
        (
            DitConfig {
                size: 1 << 40,
                ..config()
            },
            "2²⁴",
        ),
        (
            DitConfig {
                width: 1 << 62,
                patch: 8,
                ..config()
            },
            "width",
        ),
        (
            DitConfig {
                mlp_ratio: usize::MAX,
                ..config()
            },
            "mlp_ratio",
        ),
        (
            DitConfig {
                epsilon: [0.0, 1e-6],
                ..config()
            },
            "epsilon",
        ),
    ];
    for (config, words) in broken {
        let plan = Plan::new(DType::F32, usize::MAX);
        let message = Dit::new(&plan.scope(), config).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
    let parameters = Parameters::new(6, DType::F32, &Device::Cpu);
    let dit = Dit::new(&parameters.scope(), config()).unwrap();
    let x = images(2, DType::F32);
    let message =
        |x: &Tensor, condition: &Condition| run(&dit, x, &[0.1, 0.2], condition).unwrap_err().to_string();
    assert!(message(&x.narrow(3, 0, 4).unwrap(), &labels(&[0, 0])).contains("[2, 2, 8, 8]"));
    assert!(message(&x, &labels(&[0, 4])).contains("no row 4"));
    assert!(message(&x, &Condition::none()).contains("labels"));
    assert!(message(&x.to_dtype(DType::F64).unwrap(), &labels(&[0, 0])).contains("F64"));
}
