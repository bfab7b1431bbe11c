use super::*;
use crate::attention::case::{Case, KINDS, Kind, case, grid, shape};
use crate::parallel::on_threads;

fn distance<T: Float>(got: &[T], wanted: &[f64]) -> f64 {
    assert_eq!(got.len(), wanted.len());
    got.iter()
        .zip(wanted)
        .map(|(a, b)| (a.to_f64() - b).abs())
        // NaN is as far as can be.
        .fold(0.0, |far, d| if d <= far { far } else { d })
}

fn agrees<T: Float>(case: &Case<T>, tolerance: f64) {
    let (y, [dq, dk, dv]) = case.naive();
    for path in Path::available() {
        let about = format!("{:?} {:?} {}", case.shape, case.kind, path.name());
        let error = distance(&case.forward(path).0, &y);
        assert!(error <= tolerance, "y {error:e} {about}");
        let gradients = case.backward(path);
        for (name, got, wanted) in [
            ("dq", &gradients.q, &dq),
            ("dk", &gradients.k, &dk),
            ("dv", &gradients.v, &dv),
        ] {
            let error = distance(got, wanted);
            assert!(error <= 10.0 * tolerance, "{name} {error:e} {about}");
        }
    }
}

#[test]
fn answers_and_gradients_are_the_formulas_written_out() {
    for queries in [0, 1, 3, 49, 65, 130] {
        for keys in [0, 1, 3, 49, 65, 130] {
            for (index, widths) in [[1, 8], [8, 1], [31, 32], [32, 31], [64, 80], [80, 64]]
                .into_iter()
                .enumerate()
            {
                // Every kind of mask with every size, over the widths.
                let kind = KINDS[(index + queries + keys) % 4];
                let shape = shape(2, 1 + index % 2, [queries, keys], widths);
                agrees(&case::<f64>(shape, kind, false, 1.0), 1e-13);
                agrees(&case::<f32>(shape, kind, false, 1.0), 1e-5);
            }
        }
    }
}

#[test]
fn sizes_of_zero_and_one_are_answered() {
    for kind in KINDS {
        for (batch, heads, widths) in [(0, 2, [4, 4]), (2, 0, [4, 4]), (1, 1, [0, 3]), (1, 2, [3, 0])] {
            agrees(
                &case::<f64>(shape(batch, heads, [3, 5], widths), kind, false, 1.0),
                1e-13,
            );
        }
    }
}

#[test]
fn many_blocks_and_chunks_give_the_same_answer() {
    for kind in KINDS {
        agrees(
            &case::<f64>(shape(1, 1, [100, 1100], [5, 7]), kind, false, 1.0),
            1e-13,
        );
        agrees(
            &case::<f64>(shape(1, 2, [700, 300], [16, 3]), kind, false, 1.0),
            1e-13,
        );
    }
}

#[test]
fn tokens_of_one_linear_layer_are_read_and_written_where_they_are() {
    for tokens in [1, 5, 49] {
        let case = case::<f64>(shape(3, 2, [tokens; 2], [8, 8]), Kind::Causal, true, 1.0);
        agrees(&case, 1e-13);
        let [q, k, v] = case.heads();
        let (y, statistics) = case.forward(Path::best());
        let saved = AttentionSaved {
            q,
            k,
            v,
            mask: case.mask(),
            y: &y,
            statistics: &statistics,
        };
        let fused = case.shape.backward_fused(saved, &case.dy).unwrap();
        let parts = case.backward(Path::best());
        for (token, row) in fused.chunks(48).enumerate() {
            let part = |values: &[f64]| values[token * 16..][..16].to_vec();
            assert_eq!(row, [part(&parts.q), part(&parts.k), part(&parts.v)].concat());
        }
    }
}

#[test]
fn gradients_are_the_central_differences_of_the_answer() {
    for kind in KINDS {
        let mut case = case::<f64>(shape(2, 2, [5, 4], [3, 2]), kind, false, 1.0);
        let AttentionGradients { q, k, v } = case.backward(Path::best());
        let wanted = [q, k, v];
        let s = case.shape;
        let counts = [(s.queries, s.width), (s.keys, s.width), (s.keys, s.value_width)];
        for (part, (tokens, width)) in counts.into_iter().enumerate() {
            for (index, (b, h, n)) in grid([s.batch, s.heads, tokens]).enumerate() {
                for c in 0..width {
                    let at = index * width + c;
                    let mut loss = |step: f64| {
                        case.data[part][at] += step;
                        let (y, _) = case.forward(Path::best());
                        case.data[part][at] -= step;
                        y.iter().zip(&case.dy).map(|(y, dy)| y * dy).sum::<f64>()
                    };
                    let difference = (loss(1e-5) - loss(-1e-5)) / 2e-5;
                    let got = wanted[part][((b * tokens + n) * s.heads + h) * width + c];
                    assert!(
                        (difference - got).abs() < 1e-8,
                        "{kind:?} {part} {at}: {got} {difference}"
                    );
                }
            }
        }
    }
}

#[test]
fn large_scores_do_not_overflow() {
    for kind in KINDS {
        let shape = shape(1, 2, [65, 300], [32, 8]);
        let case = case::<f32>(shape, kind, false, 200.0);
        // Scores of some 1e5 in f32 are off by some 1e-2, so the answer is only bounded by the values.
        for path in Path::available() {
            let (y, _) = case.forward(path);
            assert!(y.iter().all(|y| y.abs() <= 200.0001));
            let gradients = case.backward(path);
            assert!(
                gradients
                    .q
                    .iter()
                    .chain(&gradients.k)
                    .chain(&gradients.v)
                    .all(|g| g.is_finite())
            );
        }
    }
    // One key wins by far: the answer is its value.
    let mut one = case::<f64>(shape(1, 1, [1, 3], [1, 1]), Kind::None, false, 1.0);
    one.data = [vec![1e200], vec![-1.0, 1.0, 0.5], vec![3.0, 5.0, 7.0]];
    assert_eq!(one.forward(Path::best()).0, [5.0]);
}

#[test]
fn a_query_that_sees_no_key_answers_zero_and_passes_no_gradient() {
    for kind in [Kind::Keep, Kind::Bias] {
        let case = case::<f32>(shape(2, 1, [4, 6], [3, 2]), kind, false, 1.0);
        let blind = if kind == Kind::Keep { 1 } else { 2 };
        let (y, _) = case.forward(Path::best());
        assert_eq!(y[blind * 2..][..2], [0.0, 0.0]);
        assert_eq!(case.backward(Path::best()).q[blind * 3..][..3], [0.0; 3]);
    }
}

#[test]
fn every_result_has_the_same_bytes_on_any_number_of_threads() {
    for (tokens, widths) in [([49, 49], [32, 32]), ([300, 2500], [16, 24])] {
        for kind in KINDS {
            let case = case::<f32>(shape(3, 4, tokens, widths), kind, false, 1.0);
            let results = || (case.forward(Path::best()), case.backward(Path::best()));
            let one = on_threads(1, results);
            for threads in [2, 5] {
                assert!(
                    on_threads(threads, results) == one,
                    "{kind:?} on {threads} threads"
                );
            }
        }
    }
}

#[test]
fn an_image_has_the_same_bytes_in_every_batch() {
    for (tokens, widths) in [(49, 32), (130, 8)] {
        let all = case::<f32>(shape(64, 2, [tokens; 2], [widths; 2]), Kind::Causal, true, 1.0);
        let ((y, _), gradients) = (all.forward(Path::best()), all.backward(Path::best()));
        for batch in [1, 2, 7] {
            // The last images of the large batch.
            let mut part = case::<f32>(shape(batch, 2, [tokens; 2], [widths; 2]), Kind::Causal, true, 1.0);
            let tail = |values: &[f32]| values[values.len() / 64 * (64 - batch)..].to_vec();
            part.data[0] = tail(&all.data[0]);
            part.dy = tail(&all.dy);
            assert!(part.forward(Path::best()).0 == tail(&y));
            let got = part.backward(Path::best());
            assert!(
                got.q == tail(&gradients.q) && got.k == tail(&gradients.k) && got.v == tail(&gradients.v)
            );
        }
    }
}

#[test]
fn slices_that_are_too_short_are_refused_by_name() {
    let case = case::<f64>(shape(1, 2, [3, 4], [5, 6]), Kind::Keep, false, 1.0);
    let [q, k, v] = case.heads();
    let short = Heads {
        values: &k.values[..k.values.len() - 1],
        ..k
    };
    let error = case.shape.forward(q, short, v, case.mask()).unwrap_err();
    assert!(error.to_string().contains("`k`"), "{error}");
    let mask = Mask::Keep(Heads {
        values: &case.keep[1..],
        strides: HeadStrides {
            batch: 0,
            head: 0,
            token: 4,
        },
    });
    let error = case.shape.forward(q, k, v, mask).unwrap_err();
    assert!(error.to_string().contains("keep mask"), "{error}");
    let saved = AttentionSaved {
        q,
        k,
        v,
        mask: case.mask(),
        y: &[],
        statistics: &[],
    };
    assert!(case.shape.backward(saved, &case.dy).is_err());
    assert!(case.shape.backward_fused(saved, &case.dy).is_err());
}
