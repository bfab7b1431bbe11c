use candle_core::{DType, Device};

use super::*;
use crate::parameters::Parameters;
use crate::testing::{check_dual, check_gradients, distance, random};

fn config(inputs: usize, outputs: usize, injection: Injection) -> ResidualBlockConfig {
    ResidualBlockConfig {
        groups: 2,
        injection,
        ..ResidualBlockConfig::new(inputs, outputs, 5)
    }
}

const SHAPES: [(usize, usize, Injection); 4] = [
    (4, 4, Injection::Shift),
    (6, 4, Injection::Shift),
    (4, 4, Injection::ScaleShift),
    (2, 6, Injection::ScaleShift),
];

fn block(inputs: usize, outputs: usize, injection: Injection) -> (Parameters, ResidualBlock) {
    let parameters = Parameters::new(3, DType::F64, &Device::Cpu);
    let block = ResidualBlock::new(
        &parameters.scope().at("block"),
        config(inputs, outputs, injection),
    )
    .unwrap();
    (parameters, block)
}

#[test]
fn one_operation_is_the_composition_of_its_layers() {
    for (inputs, outputs, injection) in SHAPES {
        let (_, block) = block(inputs, outputs, injection);
        let (x, e) = (random(&[3, inputs, 5, 4], 1), random(&[3, 5], 2));
        let told = block
            .time
            .as_ref()
            .unwrap()
            .forward(&activate(&e, Activation::Silu).unwrap())
            .unwrap();
        let (one, many) = (
            block.forward(&x, &e).unwrap(),
            block.composed(&x, &told, None).unwrap(),
        );
        assert!(distance(&one, &many) < 1e-12, "{inputs} {outputs} {injection:?}");
    }
}

/// Every third element of every parameter against central differences.
fn check_parameters(parameters: &Parameters, f: &dyn Fn() -> Result<Tensor>) {
    let weights = random(f().unwrap().dims(), 9);
    let loss = || f().unwrap().mul(&weights).unwrap().sum_all().unwrap();
    let gradients = loss().backward().unwrap();
    for (name, variable) in parameters.named() {
        let gradient = gradients
            .get(&variable)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<f64>()
            .unwrap();
        let values = variable.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let at = |values: Vec<f64>| {
            variable
                .set(&Tensor::from_vec(values, variable.shape(), &Device::Cpu).unwrap())
                .unwrap();
            loss().to_scalar::<f64>().unwrap()
        };
        for k in (0..values.len()).step_by(3) {
            let moved = |step: f64| {
                let mut values = values.clone();
                values[k] += step;
                at(values)
            };
            let exact = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!(
                (gradient[k] - exact).abs() < 1e-6 * (1.0 + exact.abs()),
                "{name}[{k}]: {} {exact}",
                gradient[k]
            );
        }
        at(values);
    }
}

#[test]
fn gradients_and_tangents_are_those_of_central_differences() {
    for (inputs, outputs, injection) in SHAPES {
        let (parameters, block) = block(inputs, outputs, injection);
        let (x, e) = (random(&[2, inputs, 3, 4], 1), random(&[2, 5], 2));
        check_gradients(&[x.clone(), e.clone()], |t| block.forward(&t[0], &t[1]));
        check_parameters(&parameters, &|| block.forward(&x, &e));
        let (fixed_x, fixed_e) = (Dual::constant(x.clone()), Dual::constant(e.clone()));
        check_dual(&x, |x| block.forward_dual(x, &fixed_e), |x| block.forward(x, &e));
        check_dual(&e, |e| block.forward_dual(&fixed_x, e), |e| block.forward(&x, e));
    }
}

#[test]
fn an_empty_batch_and_an_input_that_is_not_contiguous_go_through() {
    let (_, block) = block(4, 4, Injection::Shift);
    assert_eq!(
        block
            .forward(&random(&[0, 4, 3, 3], 1), &random(&[0, 5], 2))
            .unwrap()
            .dims(),
        [0, 4, 3, 3]
    );
    let x = random(&[2, 3, 4, 4], 1).transpose(1, 2).unwrap();
    let e = random(&[2, 5], 2);
    let straight = block.forward(&x.contiguous().unwrap(), &e).unwrap();
    assert!(distance(&block.forward(&x, &e).unwrap(), &straight) == 0.0);
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let (_, block) = block(4, 4, Injection::Shift);
    let refused = |x: &Tensor, e: &Tensor| block.forward(x, e).unwrap_err().to_string();
    let (x, e) = (random(&[2, 4, 3, 3], 1), random(&[2, 5], 2));
    assert!(refused(&random(&[2, 3, 3, 3], 1), &e).contains("(batch, 4, height, width)"));
    assert!(refused(&x, &random(&[3, 5], 2)).contains("(2, 5)"));
    assert!(refused(&x.to_dtype(DType::F32).unwrap(), &e).contains("F64"));
    let parameters = Parameters::new(3, DType::F64, &Device::Cpu);
    let odd = ResidualBlockConfig {
        groups: 3,
        ..config(4, 4, Injection::Shift)
    };
    assert!(ResidualBlock::new(&parameters.scope().at("b"), odd).is_err());
}

/// A block of every kind that the operation does not do whole, or that is told nothing.
fn variants() -> Vec<ResidualBlockConfig> {
    let mut all = Vec::new();
    for (inputs, outputs, injection) in SHAPES {
        for resampling in [Resampling::Down, Resampling::Up] {
            all.push(ResidualBlockConfig {
                resampling,
                ..config(inputs, outputs, injection)
            });
        }
    }
    for resampling in [Resampling::None, Resampling::Down] {
        all.push(ResidualBlockConfig {
            resampling,
            embedding: 0,
            ..config(6, 4, Injection::Shift)
        });
    }
    all
}

#[test]
fn blocks_that_resample_or_are_told_nothing_have_the_gradients_of_central_differences() {
    for config in variants() {
        let parameters = Parameters::new(3, DType::F64, &Device::Cpu);
        let block = ResidualBlock::new(&parameters.scope().at("block"), config).unwrap();
        let (x, e) = (random(&[2, config.inputs, 4, 6], 1), random(&[2, 5], 2));
        let told = (config.embedding > 0).then_some(&e);
        let [height, width] = match config.resampling {
            Resampling::None => [4, 6],
            Resampling::Down => [2, 3],
            Resampling::Up => [8, 12],
        };
        let y = block.forward_with(&x, told, None).unwrap();
        assert_eq!(y.dims(), [2, config.outputs, height, width]);
        check_gradients(std::slice::from_ref(&x), |t| {
            block.forward_with(&t[0], told, None)
        });
        check_parameters(&parameters, &|| block.forward_with(&x, told, None));
        if told.is_some() {
            let fixed = Dual::constant(e.clone());
            check_dual(&x, |x| block.forward_dual(x, &fixed), |x| block.forward(x, &e));
        }
    }
}

#[test]
fn resampling_by_two_undoes_itself_around_a_block_that_starts_as_nothing() {
    let parameters = Parameters::new(3, DType::F64, &Device::Cpu);
    let block = |name: &str, resampling| {
        let config = ResidualBlockConfig {
            resampling,
            last: LastLayer::Zeros,
            ..config(4, 4, Injection::Shift)
        };
        ResidualBlock::new(&parameters.scope().at(name), config).unwrap()
    };
    let (x, e) = (random(&[2, 4, 3, 5], 1), random(&[2, 5], 2));
    let up = block("up", Resampling::Up).forward(&x, &e).unwrap();
    let back = block("down", Resampling::Down).forward(&up, &e).unwrap();
    assert!(distance(&back, &x) < 1e-15);
}

#[test]
fn dropout_is_drawn_from_the_generator_and_averages_to_the_block_without_it() {
    use rand::SeedableRng;
    let parameters = Parameters::new(3, DType::F64, &Device::Cpu);
    let config = ResidualBlockConfig {
        dropout: 0.25,
        ..config(4, 4, Injection::Shift)
    };
    let block = ResidualBlock::new(&parameters.scope().at("block"), config).unwrap();
    let (x, e) = (random(&[2, 4, 3, 4], 1), random(&[2, 5], 2));
    let plain = block.forward(&x, &e).unwrap();
    let drawn = |rng: &mut rand_chacha::ChaCha8Rng| block.forward_with(&x, Some(&e), Some(rng)).unwrap();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let first = drawn(&mut rng);
    assert!(distance(&first, &plain) > 1e-3);
    assert_eq!(
        distance(&first, &drawn(&mut rand_chacha::ChaCha8Rng::seed_from_u64(7))),
        0.0
    );
    // conv₂ is linear in what is left out, so the mean over masks is the block without dropout.
    let mut sum = plain.zeros_like().unwrap();
    for _ in 0..4000 {
        sum = (sum + drawn(&mut rng)).unwrap();
    }
    let mean = (sum / 4000.0).unwrap();
    let spread = distance(&first, &plain);
    assert!(
        distance(&mean, &plain) < 0.1 * spread,
        "{}",
        distance(&mean, &plain)
    );
}

#[test]
fn what_a_block_is_told_must_be_what_it_was_built_for() {
    let parameters = Parameters::new(3, DType::F64, &Device::Cpu);
    let untold = ResidualBlockConfig {
        embedding: 0,
        ..config(4, 4, Injection::Shift)
    };
    let deaf = ResidualBlock::new(&parameters.scope().at("deaf"), untold).unwrap();
    let (x, e) = (random(&[2, 4, 3, 3], 1), random(&[2, 5], 2));
    assert!(
        deaf.forward(&x, &e)
            .unwrap_err()
            .to_string()
            .contains("no embedding")
    );
    let (_, block) = block(4, 4, Injection::Shift);
    let error = block.forward_with(&x, None, None).unwrap_err().to_string();
    assert!(error.contains("an embedding (2, 5)"), "{error}");
    let scaled = ResidualBlockConfig {
        injection: Injection::ScaleShift,
        ..untold
    };
    assert!(ResidualBlock::new(&parameters.scope().at("b"), scaled).is_err());
    let dropped = ResidualBlockConfig {
        dropout: 1.0,
        ..untold
    };
    assert!(ResidualBlock::new(&parameters.scope().at("c"), dropped).is_err());
}
