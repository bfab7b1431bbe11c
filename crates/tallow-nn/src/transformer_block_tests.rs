use super::*;
use crate::parameters::Parameters;
use crate::testing::{check_dual, check_gradients, distance, random};
use candle_core::{DType, Device};

fn block() -> (Parameters, TransformerBlock) {
    let parameters = Parameters::new(3, DType::F64, &Device::Cpu);
    let config = TransformerBlockConfig {
        hidden: 5,
        ..TransformerBlockConfig::new(6, 2)
    };
    let block = TransformerBlock::new(&parameters.scope().at("blocks.0"), config).unwrap();
    // The biases, too, shall matter.
    for (seed, (_, variable)) in parameters.named().into_iter().enumerate() {
        variable.set(&random(variable.shape(), 40 + seed as u64)).unwrap();
    }
    (parameters, block)
}

#[test]
fn one_operation_gives_what_the_layers_give_with_all_gradients() {
    let (parameters, block) = block();
    for batch in [0, 1, 3] {
        let x = candle_core::Var::from_tensor(&random((batch, 4, 6), 1)).unwrap();
        let modulation = candle_core::Var::from_tensor(&random((batch, 36), 2)).unwrap();
        let constant = |x: &Tensor| Dual::constant(x.clone());
        let fused = block.forward(&x, &modulation).unwrap();
        let composed = block.composed(&constant(&x), &constant(&modulation)).unwrap();
        assert!(distance(&fused, composed.value()) < 1e-12);
        let dy = random(fused.shape(), 3);
        let gradients = |y: &Tensor| (y * &dy).unwrap().sum_all().unwrap().backward().unwrap();
        let (ours, theirs) = (gradients(&fused), gradients(composed.value()));
        let named = parameters.named();
        for variable in named
            .iter()
            .map(|(_, variable)| variable)
            .chain([&x, &modulation])
        {
            // candle's operations leave out the gradients of an empty batch.
            let zeros = variable.zeros_like().unwrap();
            let wanted = if batch == 0 {
                &zeros
            } else {
                theirs.get(variable).unwrap()
            };
            let error = distance(ours.get(variable).unwrap(), wanted);
            assert!(error < 1e-11, "{error}");
        }
    }
}

#[test]
fn gradients_and_tangents_are_central_differences() {
    let (_parameters, block) = block();
    let (x, modulation) = (random((2, 3, 6), 1), random((2, 36), 2));
    check_gradients(&[x.clone(), modulation.clone()], |x| block.forward(&x[0], &x[1]));
    check_dual(
        &x,
        |x| block.forward_dual(x, &Dual::constant(modulation.clone())),
        |x| block.forward(x, &modulation),
    );
    check_dual(
        &modulation,
        |modulation| block.forward_dual(&Dual::constant(x.clone()), modulation),
        |modulation| block.forward(&x, modulation),
    );
}

#[test]
fn a_block_that_is_called_twice_adds_up_its_gradients() {
    let (parameters, block) = block();
    let (x, modulation) = (random((1, 3, 6), 1), random((1, 36), 2));
    let twice = |one: &dyn Fn(&Tensor) -> Tensor| one(&one(&x));
    let ours = twice(&|x| block.forward(x, &modulation).unwrap());
    let theirs = twice(&|x| {
        let (x, modulation) = (Dual::constant(x.clone()), Dual::constant(modulation.clone()));
        block.composed(&x, &modulation).unwrap().value().clone()
    });
    let (ours, theirs) = (
        ours.sum_all().unwrap().backward().unwrap(),
        theirs.sum_all().unwrap().backward().unwrap(),
    );
    for (name, variable) in parameters.named() {
        let wanted = theirs.get(&variable).unwrap();
        let size = crate::testing::numbers(wanted)
            .iter()
            .fold(0.0, |a: f64, b| a.max(b.abs()));
        assert!(
            distance(ours.get(&variable).unwrap(), wanted) <= 1e-11 * size,
            "{name}"
        );
    }
}

#[test]
fn half_precision_is_composed() {
    let (parameters, block) = block();
    let names = parameters.named().into_iter();
    let tensors = names
        .map(|(name, variable)| (name, variable.to_dtype(DType::F16).unwrap()))
        .collect();
    let view = crate::View::new(&tensors, DType::F16, &Device::Cpu);
    let half = TransformerBlock::new(&view.scope().at("blocks.0"), *block.config()).unwrap();
    let (x, modulation) = (random((2, 3, 6), 1), random((2, 36), 2));
    let to_half = |x: &Tensor| x.to_dtype(DType::F16).unwrap();
    let y = half.forward(&to_half(&x), &to_half(&modulation)).unwrap();
    assert_eq!(y.dtype(), DType::F16);
    assert!(distance(&y, &block.forward(&x, &modulation).unwrap()) < 0.2);
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let parameters = Parameters::new(3, DType::F64, &Device::Cpu);
    let config = TransformerBlockConfig::new(8, 3);
    let text = TransformerBlock::new(&parameters.scope(), config)
        .unwrap_err()
        .to_string();
    assert!(text.contains("3 heads") && text.contains('8'), "{text}");
    let flat = TransformerBlockConfig {
        epsilon: [1e-6, 0.0],
        ..TransformerBlockConfig::new(8, 2)
    };
    assert!(TransformerBlock::new(&parameters.scope(), flat).is_err());
    let (_parameters, block) = block();
    let message = |x: &Tensor, modulation: &Tensor| block.forward(x, modulation).unwrap_err().to_string();
    let (x, modulation) = (random((2, 3, 6), 1), random((2, 36), 2));
    let text = message(&random((2, 3, 5), 1), &modulation);
    assert!(
        text.contains("(batch, tokens, 6)") && text.contains("[2, 3, 5]"),
        "{text}"
    );
    let text = message(&x, &random((3, 36), 1));
    assert!(text.contains("(2, 36)") && text.contains("[3, 36]"), "{text}");
    let text = message(&x, &modulation.to_dtype(DType::F32).unwrap());
    assert!(text.contains("F64") && text.contains("F32"), "{text}");
}
