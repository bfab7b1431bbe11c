use super::*;
use crate::testing::{check_dual, check_gradients, distance, random};
use candle_core::{Device, Var};

fn keep(shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    // Every third key is hidden, and the second row sees nothing.
    let keys = shape[shape.len() - 1].max(1);
    let values: Vec<u8> = (0..n)
        .map(|i| u8::from(i % 3 != 2 && (i / keys) % 4 != 1))
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn masks(batch: usize, heads: usize, queries: usize, keys: usize) -> Vec<AttentionMask> {
    vec![
        AttentionMask::None,
        AttentionMask::Causal,
        AttentionMask::Keep(keep(&[queries, keys])),
        AttentionMask::Keep(keep(&[batch, 1, 1, keys])),
        AttentionMask::Bias(random((batch, heads, queries, keys), 7)),
        AttentionMask::Bias(random((queries, 1), 8)),
    ]
}

/// Softmax written out, without a thought for masks that hide everything but the answer 0.
fn composed(q: &Tensor, k: &Tensor, v: &Tensor, mask: &AttentionMask, scale: Option<f64>) -> Tensor {
    let sizes = sizes(q, k, v, scale).unwrap();
    let mask = Checked::new(mask, q, &sizes).unwrap();
    let p = weights(q, k, &mask, sizes.scale).unwrap();
    p.matmul(&v.contiguous().unwrap()).unwrap()
}

#[test]
fn both_ways_of_computing_agree_on_values_and_gradients() {
    for (batch, heads, queries, keys) in [(2, 3, 5, 4), (1, 1, 1, 1), (0, 2, 3, 3), (2, 2, 0, 3)] {
        for mask in masks(batch, heads, queries, keys) {
            let inputs = [
                random((batch, heads, queries, 3), 1),
                random((batch, heads, keys, 3), 2),
                random((batch, heads, keys, 2), 3),
            ];
            let variables = inputs.map(|x| Var::from_tensor(&x).unwrap());
            let [q, k, v] = &variables;
            let ours = attention(q, k, v, &mask, Some(0.8)).unwrap();
            let theirs = composed(q, k, v, &mask, Some(0.8));
            assert!(distance(&ours, &theirs) < 1e-14, "{mask:?}");
            let dy = random(ours.shape(), 4);
            let gradients = |y: &Tensor| (y * &dy).unwrap().sum_all().unwrap().backward().unwrap();
            let (ours, theirs) = (gradients(&ours), gradients(&theirs));
            for variable in &variables {
                let error = distance(ours.get(variable).unwrap(), theirs.get(variable).unwrap());
                assert!(error < 1e-13, "{mask:?} {error}");
            }
        }
    }
}

#[test]
fn gradients_are_central_differences_and_tangents_too() {
    let [q, k, v] = [
        random((2, 2, 3, 4), 1),
        random((2, 2, 5, 4), 2),
        random((2, 2, 5, 3), 3),
    ];
    for mask in masks(2, 2, 3, 5) {
        let f = |x: &[Tensor]| attention(&x[0], &x[1], &x[2], &mask, None);
        check_gradients(&[q.clone(), k.clone(), v.clone()], f);
        let [fixed_q, fixed_k, fixed_v] = [&q, &k, &v].map(|x| Dual::constant(x.clone()));
        check_dual(
            &q,
            |x| attention_dual(x, &fixed_k, &fixed_v, &mask, None),
            |x| f(&[x.clone(), k.clone(), v.clone()]),
        );
        check_dual(
            &k,
            |x| attention_dual(&fixed_q, x, &fixed_v, &mask, None),
            |x| f(&[q.clone(), x.clone(), v.clone()]),
        );
        // The same tensor in all three places.
        check_dual(
            &k,
            |x| attention_dual(x, &x.scale(2.0)?, x, &AttentionMask::Causal, Some(0.4)),
            |x| attention(x, &(x * 2.0)?, x, &AttentionMask::Causal, Some(0.4)),
        );
    }
}

#[test]
fn a_trained_mask_gets_its_gradient() {
    let [q, k, v] = [1, 2, 3].map(|seed| random((2, 2, 4, 3), seed));
    check_gradients(&[random((1, 2, 4, 4), 5), q], |x| {
        attention(&x[1], &k, &v, &AttentionMask::Bias(x[0].clone()), None)
    });
}

#[test]
fn views_are_read_where_they_are_and_broadcasts_get_their_sum() {
    // (B, N, 3, H, D) as one linear layer writes it, taken apart without a copy.
    check_gradients(&[random((2, 5, 3, 2, 4), 1)], |x| {
        let x = x[0].permute((2, 0, 3, 1, 4))?;
        let part = |i| x.get(i);
        attention(&part(0)?, &part(1)?, &part(2)?, &AttentionMask::None, None)
    });
    // Rows that are not contiguous, and keys that all images share.
    check_gradients(&[random((2, 2, 3, 5), 2), random((1, 2, 5, 3), 3)], |x| {
        let q = x[0].transpose(2, 3)?;
        let k = x[1].broadcast_as((2, 2, 5, 3))?;
        attention(&q, &k, &k, &AttentionMask::Causal, None)
    });
}

#[test]
fn a_query_that_sees_nothing_answers_zero_either_way() {
    let [q, k, v] = [1, 2, 3].map(|seed| random((1, 1, 4, 3), seed));
    let nothing = AttentionMask::Keep(Tensor::zeros((4, 4), DType::U8, &Device::Cpu).unwrap());
    let zeros = q.zeros_like().unwrap();
    assert_eq!(
        distance(&attention(&q, &k, &v, &nothing, None).unwrap(), &zeros),
        0.0
    );
    assert_eq!(distance(&composed(&q, &k, &v, &nothing, None), &zeros), 0.0);
}

#[test]
fn half_precision_is_composed() {
    let [q, k, v] = [1, 2, 3].map(|seed| random((2, 2, 4, 3), seed));
    let half = |x: &Tensor| x.to_dtype(DType::F16).unwrap();
    let y = attention(&half(&q), &half(&k), &half(&v), &AttentionMask::Causal, None).unwrap();
    assert_eq!(y.dtype(), DType::F16);
    let exact = attention(&q, &k, &v, &AttentionMask::Causal, None).unwrap();
    assert!(distance(&y, &exact) < 0.01);
}

#[test]
fn what_does_not_fit_is_named_on_both_sides() {
    let [q, k, v] = [1, 2, 3].map(|seed| random((2, 3, 4, 5), seed));
    let none = AttentionMask::None;
    let message = |q: &Tensor, k: &Tensor, v: &Tensor, mask: &AttentionMask| {
        attention(q, k, v, mask, None).unwrap_err().to_string()
    };
    let short = k.narrow(3, 0, 4).unwrap();
    let text = message(&q, &short, &v, &none);
    assert!(
        text.contains("[2, 3, 4, 5]") && text.contains("[2, 3, 4, 4]"),
        "{text}"
    );
    let text = message(&q, &k, &v.narrow(2, 0, 3).unwrap(), &none);
    assert!(
        text.contains("[2, 3, 4, 5]") && text.contains("[2, 3, 3, 5]"),
        "{text}"
    );
    let text = message(&q.flatten(0, 1).unwrap(), &k, &v, &none);
    assert!(text.contains("[6, 4, 5]"), "{text}");
    let text = message(&q, &k.to_dtype(DType::F32).unwrap(), &v, &none);
    assert!(text.contains("F64") && text.contains("F32"), "{text}");
    let text = message(&q, &k, &v, &AttentionMask::Keep(keep(&[3, 4])));
    assert!(text.contains("[2, 3, 4, 4]") && text.contains("[3, 4]"), "{text}");
    let text = message(&q, &k, &v, &AttentionMask::Keep(random((4, 4), 1)));
    assert!(text.contains("U8") && text.contains("F64"), "{text}");
    assert!(attention(&q, &k, &v, &none, Some(f64::NAN)).is_err());
}
