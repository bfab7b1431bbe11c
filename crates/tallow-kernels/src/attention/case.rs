//! Attentions of every kind for the tests, and the formulas written out.

use super::*;

fn values<T: Float>(n: usize, seed: u64) -> Vec<T> {
    let mut state = seed;
    (0..n)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            T::from_f64((state >> 33) as f64 / f64::from(1u32 << 30) - 1.0)
        })
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    None,
    Causal,
    /// Repeated over images and heads.
    Keep,
    /// Its own for every image, the same for its heads.
    Bias,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::None, Kind::Causal, Kind::Keep, Kind::Bias];

/// Queries, keys and values as one linear layer writes them if `fused`, else heads first.
pub(crate) struct Case<T> {
    pub(crate) shape: Attention,
    pub(crate) kind: Kind,
    pub(crate) fused: bool,
    pub(crate) data: [Vec<T>; 3],
    pub(crate) keep: Vec<u8>,
    pub(crate) bias: Vec<T>,
    pub(crate) dy: Vec<T>,
}

pub(crate) fn case<T: Float>(shape: Attention, kind: Kind, fused: bool, amplitude: f64) -> Case<T> {
    let Attention {
        batch,
        heads,
        queries,
        keys,
        width,
        value_width,
        ..
    } = shape;
    let scaled = |n, seed| {
        let values: Vec<f64> = values(n, seed);
        values.into_iter().map(|x| T::from_f64(x * amplitude)).collect()
    };
    let data = if fused {
        [scaled(batch * queries * 3 * heads * width, 1), vec![], vec![]]
    } else {
        [
            scaled(batch * heads * queries * width, 1),
            scaled(batch * heads * keys * width, 2),
            scaled(batch * heads * keys * value_width, 3),
        ]
    };
    // Query 1 sees nothing.
    let keep = values::<f64>(queries * keys, 4)
        .into_iter()
        .enumerate()
        .map(|(i, x)| u8::from(x > -0.3 && i / keys.max(1) != 1) * 7)
        .collect();
    let mut bias: Vec<T> = values(batch * queries * keys, 5);
    for (i, bias) in bias.iter_mut().enumerate() {
        if i % 5 == 0 || (i / keys.max(1)) % queries.max(1) == 2 {
            *bias = T::from_f64(f64::NEG_INFINITY);
        }
    }
    Case {
        shape,
        kind,
        fused,
        data,
        keep,
        bias,
        dy: values(batch * queries * heads * value_width, 6),
    }
}

pub(crate) fn shape(batch: usize, heads: usize, tokens: [usize; 2], widths: [usize; 2]) -> Attention {
    Attention {
        batch,
        heads,
        queries: tokens[0],
        keys: tokens[1],
        width: widths[0],
        value_width: widths[1],
        scale: 0.7,
    }
}

impl<T: Float> Case<T> {
    pub(crate) fn heads(&self) -> [Heads<'_, T>; 3] {
        let s = &self.shape;
        if self.fused {
            let strides = HeadStrides::fused(s.queries, s.heads, s.width);
            [0, 1, 2].map(|part| {
                let start = (part * s.heads * s.width).min(self.data[0].len());
                Heads {
                    values: &self.data[0][start..],
                    strides,
                }
            })
        } else {
            let strides = [
                HeadStrides::heads_first(s.queries, s.heads, s.width),
                HeadStrides::heads_first(s.keys, s.heads, s.width),
                HeadStrides::heads_first(s.keys, s.heads, s.value_width),
            ];
            [0, 1, 2].map(|part| Heads {
                values: &self.data[part],
                strides: strides[part],
            })
        }
    }

    pub(crate) fn mask(&self) -> Mask<'_, T> {
        let (queries, keys) = (self.shape.queries, self.shape.keys);
        let strides = |batch| HeadStrides {
            batch,
            head: 0,
            token: keys,
        };
        match self.kind {
            Kind::None => Mask::None,
            Kind::Causal => Mask::Causal,
            Kind::Keep => Mask::Keep(Heads {
                values: &self.keep,
                strides: strides(0),
            }),
            Kind::Bias => Mask::Bias(Heads {
                values: &self.bias,
                strides: strides(queries * keys),
            }),
        }
    }

    pub(crate) fn forward(&self, path: Path) -> (Vec<T>, Vec<T>) {
        let [q, k, v] = self.heads();
        self.shape.forward_on(path, q, k, v, self.mask()).unwrap()
    }

    pub(crate) fn backward(&self, path: Path) -> AttentionGradients<T> {
        let [q, k, v] = self.heads();
        let (y, statistics) = self.forward(path);
        let saved = AttentionSaved {
            q,
            k,
            v,
            mask: self.mask(),
            y: &y,
            statistics: &statistics,
        };
        self.shape.backward_on(path, saved, &self.dy).unwrap()
    }

    /// The formulas as they stand, in f64.
    pub(crate) fn naive(&self) -> (Vec<f64>, [Vec<f64>; 3]) {
        let s = &self.shape;
        let [q, k, v] = self.heads();
        let wide = |values: &[T], n: usize| values[..n].iter().map(|x| x.to_f64()).collect::<Vec<f64>>();
        let mut y = vec![0.0; s.answers().unwrap()];
        let mut dq = vec![0.0; s.batch * s.queries * s.heads * s.width];
        let mut dk = vec![0.0; s.batch * s.keys * s.heads * s.width];
        let mut dv = vec![0.0; s.batch * s.keys * s.heads * s.value_width];
        for (b, h, i) in grid([s.batch, s.heads, s.queries]) {
            let query = wide(q.token((b, h), i), s.width);
            let key = |j| wide(k.token((b, h), j), s.width);
            let value = |j| wide(v.token((b, h), j), s.value_width);
            let scores: Vec<f64> = (0..s.keys)
                .map(|j| {
                    let score = s.scale * query.iter().zip(key(j)).map(|(a, b)| a * b).sum::<f64>();
                    let seen = match self.kind {
                        Kind::None => true,
                        Kind::Causal => j <= i,
                        Kind::Keep => self.keep[i * s.keys + j] != 0,
                        Kind::Bias => return score + self.bias[(b * s.queries + i) * s.keys + j].to_f64(),
                    };
                    if seen { score } else { f64::NEG_INFINITY }
                })
                .collect();
            let m = scores.iter().copied().fold(f64::MIN, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - m).exp()).collect();
            let l: f64 = weights.iter().sum();
            let weight = |j: usize| if l == 0.0 { 0.0 } else { weights[j] / l };
            let at = ((b * s.queries + i) * s.heads + h) * s.value_width;
            let dy = wide(&self.dy[at..], s.value_width);
            let slopes: Vec<f64> = (0..s.keys)
                .map(|j| dy.iter().zip(value(j)).map(|(a, b)| a * b).sum())
                .collect();
            let share: f64 = (0..s.keys).map(|j| weight(j) * slopes[j]).sum();
            for (j, slope) in slopes.iter().enumerate() {
                let ds = weight(j) * (slope - share) * s.scale;
                let token = (b * s.keys + j) * s.heads + h;
                for c in 0..s.value_width {
                    y[at + c] += weight(j) * value(j)[c];
                    dv[token * s.value_width + c] += weight(j) * dy[c];
                }
                for c in 0..s.width {
                    dq[((b * s.queries + i) * s.heads + h) * s.width + c] += ds * key(j)[c];
                    dk[token * s.width + c] += ds * query[c];
                }
            }
        }
        (y, [dq, dk, dv])
    }
}

pub(crate) fn grid(n: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..n[0]).flat_map(move |a| (0..n[1]).flat_map(move |b| (0..n[2]).map(move |c| (a, b, c))))
}
