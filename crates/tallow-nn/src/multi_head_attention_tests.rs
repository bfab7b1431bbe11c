use super::*;
use crate::parameters::Parameters;
use crate::testing::{check_dual, check_gradients, distance, random};
use candle_core::{DType, Device};

fn layer(config: MultiHeadAttentionConfig) -> (Parameters, MultiHeadAttention) {
    let parameters = Parameters::new(3, DType::F64, &Device::Cpu);
    let layer = MultiHeadAttention::new(&parameters.scope().at("block"), config).unwrap();
    (parameters, layer)
}

#[test]
fn names_are_those_of_timm_and_of_diffusers() {
    let names = |config| {
        layer(config)
            .0
            .named()
            .into_iter()
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(MultiHeadAttentionConfig::new(6, 2)),
        [
            "block.proj.bias",
            "block.proj.weight",
            "block.qkv.bias",
            "block.qkv.weight"
        ]
    );
    assert_eq!(
        names(MultiHeadAttentionConfig::cross(6, 2, 5)),
        [
            "block.to_k.weight",
            "block.to_out.0.bias",
            "block.to_out.0.weight",
            "block.to_q.weight",
            "block.to_v.weight"
        ]
    );
}

#[test]
fn fused_and_separate_projections_of_the_same_weights_agree() {
    let (fused_parameters, fused) = layer(MultiHeadAttentionConfig::new(6, 2));
    let config = MultiHeadAttentionConfig {
        projections: Projections::Separate { context_width: 6 },
        ..MultiHeadAttentionConfig::new(6, 2)
    };
    let (parameters, separate) = layer(config);
    let find = |name: &str| {
        let mut named = fused_parameters.named().into_iter();
        let (_, variable) = named.find(|(other, _)| other == name).unwrap();
        variable.as_tensor().clone()
    };
    for (name, variable) in parameters.named() {
        let kind = name.rsplit('.').next().unwrap();
        let part = ["to_q", "to_k", "to_v"]
            .iter()
            .position(|part| name.contains(part));
        let value = match part {
            Some(part) => find(&format!("block.qkv.{kind}")).narrow(0, 6 * part, 6).unwrap(),
            None => find(&format!("block.proj.{kind}")),
        };
        variable.set(&value.copy().unwrap()).unwrap();
    }
    let x = random((3, 5, 6), 1);
    for mask in [AttentionMask::None, AttentionMask::Causal] {
        let (a, b) = (
            fused.forward_masked(&x, &mask).unwrap(),
            separate.forward_masked(&x, &mask).unwrap(),
        );
        assert!(distance(&a, &b) < 1e-14);
        // The fused operation, and the same through views.
        let views = fused.forward_dual(&Dual::constant(x.clone()), &mask).unwrap();
        assert!(distance(&a, views.value()) < 1e-14);
    }
}

#[test]
fn gradients_and_tangents_are_central_differences() {
    let (_keep, fused) = layer(MultiHeadAttentionConfig::new(6, 2));
    let (_keep_too, cross) = layer(MultiHeadAttentionConfig::cross(6, 3, 4));
    let (x, context) = (random((2, 3, 6), 1), random((2, 5, 4), 2));
    check_gradients(std::slice::from_ref(&x), |x| fused.forward(&x[0]));
    check_gradients(&[x.clone(), context.clone()], |x| {
        cross.forward_context(&x[0], &x[1], &AttentionMask::None)
    });
    check_dual(
        &x,
        |x| fused.forward_dual(x, &AttentionMask::Causal),
        |x| fused.forward_masked(x, &AttentionMask::Causal),
    );
    check_dual(
        &context,
        |context| cross.forward_context_dual(&Dual::constant(x.clone()), context, &AttentionMask::None),
        |context| cross.forward_context(&x, context, &AttentionMask::None),
    );
}

#[test]
fn every_parameter_gets_a_gradient_and_batches_of_zero_and_one_work() {
    for config in [
        MultiHeadAttentionConfig::new(4, 2),
        MultiHeadAttentionConfig::cross(4, 1, 4),
    ] {
        let (parameters, layer) = layer(config);
        for batch in [0, 1] {
            let y = layer.forward(&random((batch, 3, 4), 1)).unwrap();
            assert_eq!(y.dims(), [batch, 3, 4]);
            let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            for (name, variable) in parameters.named() {
                assert!(gradients.get(&variable).is_some(), "{name}");
            }
        }
    }
}

#[test]
fn a_view_that_is_not_contiguous_gives_the_same_answer() {
    let (_keep, layer) = layer(MultiHeadAttentionConfig::new(6, 2));
    let x = random((2, 6, 5), 1);
    let view = x.transpose(1, 2).unwrap();
    let y = layer.forward(&view).unwrap();
    assert_eq!(
        distance(&y, &layer.forward(&view.contiguous().unwrap()).unwrap()),
        0.0
    );
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let parameters = Parameters::new(3, DType::F64, &Device::Cpu);
    for heads in [0, 3] {
        let config = MultiHeadAttentionConfig::new(8, heads);
        let text = MultiHeadAttention::new(&parameters.scope(), config)
            .unwrap_err()
            .to_string();
        assert!(
            text.contains(&format!("{heads} heads")) && text.contains('8'),
            "{text}"
        );
    }
    let (_keep, fused) = layer(MultiHeadAttentionConfig::new(6, 2));
    let text = fused.forward(&random((2, 3, 5), 1)).unwrap_err().to_string();
    assert!(
        text.contains("(batch, tokens, 6)") && text.contains("[2, 3, 5]"),
        "{text}"
    );
    let x = random((2, 3, 6), 1);
    let text = fused
        .forward_context(&x, &x, &AttentionMask::None)
        .unwrap_err()
        .to_string();
    assert!(text.contains("Separate"), "{text}");
    let single = x.to_dtype(DType::F32).unwrap();
    let text = fused.forward(&single).unwrap_err().to_string();
    assert!(text.contains("F64") && text.contains("F32"), "{text}");
}
