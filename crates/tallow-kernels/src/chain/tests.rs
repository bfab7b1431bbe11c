//! The laws of a chain.

use super::*;
use crate::Layer;
use crate::linear::{Saved, Wanted};
use crate::parallel::on_threads;

fn chain(widths: &[usize], activation: Activation) -> Chain {
    let last = widths.len() - 2;
    let link = |(index, pair): (usize, &[usize])| Link {
        inputs: pair[0],
        outputs: pair[1],
        activation: if index == last {
            Activation::Identity
        } else {
            activation
        },
    };
    Chain::new(widths.windows(2).enumerate().map(link).collect()).unwrap()
}

fn wave<T: Float>(n: usize, phase: f64, scale: f64) -> Vec<T> {
    (0..n)
        .map(|i| T::from_f64(scale * (i as f64 * 0.731 + phase).sin()))
        .collect()
}

fn weights<T: Float>(chain: &Chain) -> Vec<[Vec<T>; 2]> {
    let one = |(index, link): (usize, &Link)| {
        let scale = 1.0 / (link.inputs as f64).sqrt();
        [
            wave(link.inputs * link.outputs, index as f64, scale),
            wave(link.outputs, 0.3 + index as f64, scale),
        ]
    };
    chain.links().iter().enumerate().map(one).collect()
}

fn parameters<T>(weights: &[[Vec<T>; 2]]) -> Vec<LinkParameters<'_, T>> {
    weights
        .iter()
        .map(|[weight, bias]| LinkParameters { weight, bias })
        .collect()
}

const WIDTHS: [&[usize]; 5] = [
    &[3, 40, 33, 2],
    &[1, 8, 1],
    &[50, 64, 64, 7],
    &[32, 16, 32],
    &[5, 4],
];

/// Output and gradients layer by layer, by the other implementation.
fn layer_by_layer(
    chain: &Chain,
    weights: &[[Vec<f64>; 2]],
    x: &[f64],
    rows: usize,
    dy: &[f64],
) -> (Vec<f64>, ChainGradients<f64>) {
    let layer = |link: &Link| Layer {
        rows,
        inputs: link.inputs,
        outputs: link.outputs,
        activation: link.activation,
    };
    let (mut inputs, mut slopes) = (vec![x.to_vec()], Vec::new());
    for (link, [weight, bias]) in chain.links().iter().zip(weights) {
        let (y, slope) = layer(link)
            .forward(&inputs[inputs.len() - 1], weight, Some(bias), Wanted::Yes)
            .unwrap();
        inputs.push(y);
        slopes.push(slope);
    }
    let (mut gradient, mut links) = (dy.to_vec(), Vec::new());
    for (index, link) in chain.links().iter().enumerate().rev() {
        let saved = Saved {
            x: &inputs[index],
            weight: &weights[index][0],
            slope: &slopes[index],
        };
        let back = layer(link)
            .backward(saved, &gradient, Wanted::Yes, Wanted::Yes)
            .unwrap();
        links.insert(0, [back.weight.unwrap(), back.bias.unwrap()]);
        gradient = back.x.unwrap();
    }
    let x = Some(gradient);
    (inputs.pop().unwrap(), ChainGradients { x, links })
}

fn close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= 1e-12 * (1.0 + b.abs()), "{a} against {b}");
    }
}

#[test]
fn output_and_gradients_are_those_of_the_layers_one_by_one() {
    for widths in WIDTHS {
        for activation in [Activation::Silu, Activation::Relu] {
            for rows in [1, 7, 40, 129, 700] {
                let chain = chain(widths, activation);
                let weights = weights::<f64>(&chain);
                let x = wave(rows * chain.inputs(), 0.1, 1.0);
                let dy = wave(rows * chain.outputs(), 0.7, 1.0);
                let (y, trace) = chain
                    .forward(&x, rows, &parameters(&weights), Wanted::Yes)
                    .unwrap();
                let ours = chain
                    .backward(&trace.unwrap(), &dy, Wanted::Yes, Wanted::Yes)
                    .unwrap();
                let (wanted, theirs) = layer_by_layer(&chain, &weights, &x, rows, &dy);
                close(&y, &wanted);
                close(&ours.x.unwrap(), &theirs.x.unwrap());
                for (ours, theirs) in ours.links.iter().flatten().zip(theirs.links.iter().flatten()) {
                    close(ours, theirs);
                }
            }
        }
    }
}

/// Truth from differences, so that a fault that both implementations share is seen.
#[test]
fn gradients_are_the_difference_quotients() {
    let (chain, rows) = (chain(&[3, 20, 18, 2], Activation::Tanh), 9);
    let mut weights = weights::<f64>(&chain);
    let mut x: Vec<f64> = wave(rows * 3, 0.1, 1.0);
    let dy: Vec<f64> = wave(rows * 2, 0.7, 1.0);
    let loss = |x: &[f64], weights: &[[Vec<f64>; 2]]| -> f64 {
        let (y, _) = chain.forward(x, rows, &parameters(weights), Wanted::No).unwrap();
        y.iter().zip(&dy).map(|(y, dy)| y * dy).sum()
    };
    let (_, trace) = chain
        .forward(&x, rows, &parameters(&weights), Wanted::Yes)
        .unwrap();
    let ours = chain
        .backward(&trace.unwrap(), &dy, Wanted::Yes, Wanted::Yes)
        .unwrap();
    let h = 1e-5;
    for (index, gradient) in ours.x.unwrap().into_iter().enumerate() {
        let at = x[index];
        let mut side = |step: f64| {
            x[index] = at + step;
            loss(&x, &weights)
        };
        let slope = (side(h) - side(-h)) / (2.0 * h);
        x[index] = at;
        assert!(
            (slope - gradient).abs() < 1e-8,
            "x {index}: {gradient} against {slope}"
        );
    }
    for (layer, parts) in ours.links.iter().enumerate() {
        for (part, gradients) in parts.iter().enumerate() {
            for (index, gradient) in gradients.iter().enumerate() {
                let at = weights[layer][part][index];
                let mut side = |step: f64| {
                    weights[layer][part][index] = at + step;
                    loss(&x, &weights)
                };
                let slope = (side(h) - side(-h)) / (2.0 * h);
                weights[layer][part][index] = at;
                assert!(
                    (slope - gradient).abs() < 1e-8,
                    "layer {layer}: {gradient} against {slope}"
                );
            }
        }
    }
}

#[test]
fn a_row_has_the_same_bytes_in_every_batch_and_with_or_without_a_trace() {
    let chain = chain(&[3, 40, 70, 2], Activation::Silu);
    let weights = weights::<f32>(&chain);
    let x: Vec<f32> = wave(700 * 3, 0.2, 1.0);
    let forward = |x: &[f32], keep| {
        chain
            .forward(x, x.len() / 3, &parameters(&weights), keep)
            .unwrap()
            .0
    };
    let all = forward(&x, Wanted::Yes);
    assert!(all == forward(&x, Wanted::No));
    for (start, rows) in [(0, 1), (5, 2), (13, 31), (100, 300), (699, 1)] {
        let part = forward(&x[start * 3..(start + rows) * 3], Wanted::No);
        assert!(part == all[start * 2..(start + rows) * 2], "rows {start} on");
    }
}

#[test]
fn bytes_do_not_depend_on_the_number_of_threads() {
    let chain = chain(&[3, 96, 96, 2], Activation::Silu);
    let weights = weights::<f32>(&chain);
    for rows in [130, 3000] {
        let (x, dy): (Vec<f32>, Vec<f32>) = (wave(rows * 3, 0.2, 1.0), wave(rows * 2, 0.9, 1.0));
        let step = || {
            let (y, trace) = chain
                .forward(&x, rows, &parameters(&weights), Wanted::Yes)
                .unwrap();
            let back = chain
                .backward(&trace.unwrap(), &dy, Wanted::Yes, Wanted::Yes)
                .unwrap();
            (y, back)
        };
        let one = on_threads(1, step);
        assert!(on_threads(2, step) == one && on_threads(5, step) == one);
    }
}

#[test]
fn what_is_not_wanted_is_not_there_and_an_empty_batch_is_no_fault() {
    let chain = chain(&[3, 8, 2], Activation::Silu);
    let weights = weights::<f32>(&chain);
    for rows in [0, 5] {
        let x = wave(rows * 3, 0.0, 1.0);
        let (y, trace) = chain
            .forward(&x, rows, &parameters(&weights), Wanted::Yes)
            .unwrap();
        assert_eq!(y.len(), rows * 2);
        let trace = trace.unwrap();
        let back = chain.backward(&trace, &y, Wanted::No, Wanted::Yes).unwrap();
        assert!(back.x.is_none() && back.links.len() == 2);
        assert!(rows > 0 || back.links.iter().flatten().flatten().all(|&g| g == 0.0));
        let back = chain.backward(&trace, &y, Wanted::Yes, Wanted::No).unwrap();
        assert!(back.x.unwrap().len() == rows * 3 && back.links.is_empty());
        assert!(
            chain
                .backward(&trace, &[0.0; 3], Wanted::Yes, Wanted::No)
                .is_err()
        );
    }
    assert!(
        chain
            .forward(&[0.0f32; 4], 2, &parameters(&weights), Wanted::No)
            .is_err()
    );
    assert!(Chain::new(Vec::new()).is_err());
    let link = |inputs, outputs| Link {
        inputs,
        outputs,
        activation: Activation::Relu,
    };
    assert!(Chain::new(vec![link(2, 3), link(4, 1)]).is_err());
    assert!(Chain::new(vec![link(2, 0)]).is_err());
}
