use super::*;
use crate::parallel::on_threads;

fn block(batch: usize, tokens: usize) -> TransformerBlock {
    TransformerBlock {
        batch,
        tokens,
        width: 4,
        heads: 2,
        hidden: 5,
        activation: Activation::Gelu,
        epsilon: [1e-6, 0.3],
    }
}

/// x, modulation, and the weights and biases of the four layers.
type Inputs<T> = [Vec<T>; 10];

fn inputs<T: Float>(block: &TransformerBlock) -> Inputs<T> {
    let (rows, w, h) = (block.batch * block.tokens, block.width, block.hidden);
    let sizes = [
        rows * w,
        block.batch * 6 * w,
        3 * w * w,
        3 * w,
        w * w,
        w,
        w * h,
        h,
        w * h,
        w,
    ];
    let mut part = 0.0_f64;
    sizes.map(|n| {
        part += 1.0;
        (0..n)
            .map(|i| T::from_f64((0.37 * part + 1.3 * (i as f64) * (part + 2.0).sqrt()).sin()))
            .collect()
    })
}

fn weights<T>(inputs: &Inputs<T>) -> TransformerWeights<'_, T> {
    let [_, _, qkv, qkv_bias, proj, proj_bias, fc1, fc1_bias, fc2, fc2_bias] = inputs;
    let layer = |weight, bias| LayerWeights { weight, bias };
    TransformerWeights {
        qkv: layer(qkv, qkv_bias),
        proj: layer(proj, proj_bias),
        fc1: layer(fc1, fc1_bias),
        fc2: layer(fc2, fc2_bias),
    }
}

fn forward<T: Float>(block: &TransformerBlock, inputs: &Inputs<T>) -> Vec<T> {
    block
        .forward(&inputs[0], &inputs[1], weights(inputs), Wanted::No)
        .unwrap()
        .0
}

fn backward<T: Float>(block: &TransformerBlock, inputs: &Inputs<T>, dy: &[T]) -> TransformerGradients<T> {
    let weights = weights(inputs);
    let (y, saved) = block
        .forward(&inputs[0], &inputs[1], weights, Wanted::Yes)
        .unwrap();
    assert_eq!(y, forward(block, inputs));
    let saved = saved.unwrap();
    block
        .backward(&inputs[0], &inputs[1], weights, &saved, dy, Wanted::Yes)
        .unwrap()
}

#[test]
fn gradients_are_the_central_differences_of_the_forward_pass() {
    for (batch, tokens) in [(1, 1), (2, 3), (3, 5)] {
        let block = block(batch, tokens);
        let mut inputs = inputs::<f64>(&block);
        let dy: Vec<_> = (0..inputs[0].len()).map(|i| (1.7 * i as f64).cos()).collect();
        let gradients = backward(&block, &inputs, &dy);
        let layers = gradients.layers.into_iter().flatten();
        let layers = layers.flat_map(|(weight, bias)| [weight, bias]);
        let all: Vec<_> = [gradients.x, gradients.modulation]
            .into_iter()
            .chain(layers)
            .collect();
        assert_eq!(all.len(), inputs.len());
        for (part, gradient) in all.into_iter().enumerate() {
            assert_eq!(gradient.len(), inputs[part].len());
            for (at, gradient) in gradient.into_iter().enumerate() {
                let mut loss = |step: f64| {
                    inputs[part][at] += step;
                    let y = forward(&block, &inputs);
                    inputs[part][at] -= step;
                    y.iter().zip(&dy).map(|(y, dy)| y * dy).sum::<f64>()
                };
                let difference = (loss(1e-5) - loss(-1e-5)) / 2e-5;
                assert!(
                    (difference - gradient).abs() < 1e-6 * (1.0 + gradient.abs()),
                    "input {part} at {at}: {gradient} {difference}"
                );
            }
        }
    }
}

#[test]
fn an_entry_has_the_same_bytes_in_every_batch_and_on_any_number_of_threads() {
    let sizes = |batch| TransformerBlock {
        width: 32,
        hidden: 64,
        ..block(batch, 49)
    };
    let all = inputs::<f32>(&sizes(64));
    let y = on_threads(1, || forward(&sizes(64), &all));
    for (batch, threads) in [(1, 2), (2, 5), (7, 2), (64, 5)] {
        let block = sizes(batch);
        let mut part = all.clone();
        part[0].truncate(batch * 49 * 32);
        part[1].truncate(batch * 6 * 32);
        assert!(on_threads(threads, || forward(&block, &part)) == y[..part[0].len()]);
        let dy = part[0].clone();
        let one = on_threads(1, || backward(&block, &part, &dy));
        assert!(on_threads(threads, || backward(&block, &part, &dy)) == one);
    }
}

#[test]
fn empty_batches_give_nothing_and_misfits_are_named() {
    let nothing = block(0, 3);
    let empty = inputs::<f64>(&nothing);
    assert!(forward(&nothing, &empty).is_empty());
    let gradients = backward(&nothing, &empty, &[]);
    assert!(gradients.x.is_empty() && gradients.layers[0].as_ref().unwrap().0.iter().all(|&g| g == 0.0));
    let block = block(2, 3);
    let inputs = inputs::<f64>(&block);
    let error = block
        .forward(&inputs[0], &inputs[1][1..], weights(&inputs), Wanted::No)
        .unwrap_err();
    assert!(error.to_string().contains("`modulation`"), "{error}");
    let odd = TransformerBlock { heads: 3, ..block };
    assert!(
        odd.forward(&inputs[0], &inputs[1], weights(&inputs), Wanted::No)
            .is_err()
    );
}
