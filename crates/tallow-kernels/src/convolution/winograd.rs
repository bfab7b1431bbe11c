//! Winograd's minimal filtering along the rows of a flat image: four values of a row of y by six products instead of
//! twelve.
//!
//! ```text
//! y[p + i] = Σ_{t < 3} w[t] x[p + i + t],  i < 4         is         y = Aᵀ ((G w) ⊙ (Bᵀ x[p..p + 6]))
//! ```
//!
//! with the evaluation points 0, ±a, ±b and ∞, a = √½ and b = √2. In flat memory ([`super::layout`]) the tiles of a row follow each
//! other four positions apart, and those of the next row begin at a multiple of four: the transformed x of all tiles is
//! six streams ([`spread`]), and what was a sum over channels and taps is, for each stream, one over channels and rows
//! of the kernel, by the same inner loop. The gradient of the weight is the same identity with the roles of w and y
//! exchanged ([`SpreadGradient`], [`taps`]): three values by six products instead of twelve.
//!
//! Errors are those of a plain sum times 1.4 (root mean square, 40 channels of 3 × 3 uniform values); with the usual points
//! 0, ±1, ±2 and ∞ they would be twice as large.
//!
//! Source: Lavin and Gray 2016, "Fast algorithms for convolutional neural networks", arXiv:1509.09308, section 4; that the
//! points decide about the error: Barabasz et al. 2020, "Error analysis and improving the accuracy of Winograd
//! convolution for deep neural networks", arXiv:1803.10986.

use std::arch::x86_64::{__m256, __m512};
use std::marker::PhantomData;

use super::lanes::Lanes;
use super::layout::Axis;
use super::pack::TURNED;
use crate::dispatch::{self, Isa, Kernel, Path};

/// Values of a row that one tile gives.
pub(super) const TILE: usize = 4;

/// Products of a tile: streams of the transformed image.
pub(super) const STREAMS: usize = 6;

/// Channels below which the transforms cost more than they save.
const FEW: usize = 8;

/// The points a and b: a² = ½, b² = 2.
const A: f32 = std::f32::consts::FRAC_1_SQRT_2;
const B: f32 = std::f32::consts::SQRT_2;

/// Whether the method applies to these axes (vertical, horizontal) and pays: from `channels` to `targets` channels.
pub(super) fn pays(axes: &[Axis; 2], channels: usize, targets: usize) -> bool {
    let plain = |axis: &Axis| axis.phases.len() == 1 && axis.step == 1 && axis.targets.len() == 1;
    let [vertical, horizontal] = axes;
    let three = |axis: &Axis| {
        let shifts = axis.targets[0].taps.iter().map(|tap| tap.shift);
        shifts.clone().count() == 3 && shifts.sum::<usize>() == 3 && axis.reach == 2
    };
    // Half of the products are saved: rows must not grow by as much.
    let period = horizontal.period.next_multiple_of(TILE);
    channels >= FEW
        && targets >= FEW
        && plain(vertical)
        && plain(horizontal)
        && three(horizontal)
        && axes.iter().all(|axis| axis.targets[0].range.start == 0)
        && 3 * vertical.targets[0].taps.len() <= TURNED
        && 3 * period <= 4 * horizontal.period
}

/// The six weights of three neighbouring taps: G w.
#[inline(always)]
pub(super) fn weights([a, b, c]: [f32; 3]) -> [f32; STREAMS] {
    let (outer, inner) = ((a + 0.5 * c) * (2.0 / 3.0), b * (A * 2.0 / 3.0));
    let (even, odd) = ((a + 2.0 * c) * (1.0 / 6.0), b * (B / 6.0));
    [a, -outer - inner, inner - outer, even + odd, even - odd, c]
}

/// The six values of four neighbouring values of dy, for the gradient of the weight.
#[inline(always)]
fn gradients([a, b, c, d]: [f32; TILE]) -> [f32; STREAMS] {
    let (outer, inner) = ((a + 0.5 * c) * (2.0 / 3.0), (b + 0.5 * d) * (A * 2.0 / 3.0));
    let (even, odd) = ((a + 2.0 * c) * (1.0 / 6.0), (b + 2.0 * d) * (B / 6.0));
    [a, -outer - inner, inner - outer, even + odd, even - odd, d]
}

/// dw of three neighbouring taps from the sums of the six streams.
#[inline(always)]
pub(super) fn taps([zero, a, minus_a, b, minus_b, last]: [f32; STREAMS]) -> [f32; 3] {
    let (even_a, even_b) = (a + minus_a, b + minus_b);
    [
        zero + even_a + even_b,
        A * (a - minus_a) + B * (b - minus_b),
        0.5 * even_a + 2.0 * even_b + last,
    ]
}

/// dy of some rows, [position][lane] without gaps, to [stream][tile][lane]; what lies beyond a row is zero.
pub(super) struct SpreadGradient<'a> {
    pub(super) dy: &'a [f32],
    /// Positions of a row.
    pub(super) columns: usize,
    /// A multiple of eight.
    pub(super) lanes: usize,
    pub(super) streams: &'a mut [f32],
}

impl Kernel for SpreadGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        const LANES: usize = 8;
        let (lanes, stream_len) = (self.lanes, self.streams.len() / STREAMS);
        let rows = self.dy.chunks_exact(self.columns * lanes);
        for (tile, values) in rows.flat_map(|row| row.chunks(TILE * lanes)).enumerate() {
            for lane in (0..lanes).step_by(LANES) {
                let mut dy = [[0.0; LANES]; TILE];
                for (dy, position) in dy.iter_mut().zip(values.chunks_exact(lanes)) {
                    dy.copy_from_slice(&position[lane..][..LANES]);
                }
                let mut spread = [[0.0; LANES]; STREAMS];
                for i in 0..LANES {
                    let six = gradients([dy[0][i], dy[1][i], dy[2][i], dy[3][i]]);
                    for (spread, value) in spread.iter_mut().zip(six) {
                        spread[i] = value;
                    }
                }
                for (stream, spread) in spread.iter().enumerate() {
                    self.streams[stream * stream_len + tile * lanes + lane..][..LANES]
                        .copy_from_slice(spread);
                }
            }
        }
    }
}

/// One channel of flat memory to its six streams: Bᵀ x of every tile.
///
/// `streams` holds `STREAMS` × `len` values, `len` a multiple of 16; `flat` at least 4 `len` + 64.
pub(super) fn spread(path: Path, flat: &[f32], streams: &mut [f32]) {
    let len = streams.len() / STREAMS;
    assert!(path.has_avx2() && len.is_multiple_of(16) && streams.len() == STREAMS * len);
    assert!(flat.len() >= TILE * len + TILE * 16);
    if path.has_avx512() {
        dispatch::run(path, Spread::<__m512>(flat, streams, PhantomData));
    } else {
        dispatch::run(path, Spread::<__m256>(flat, streams, PhantomData));
    }
}

struct Spread<'a, V>(&'a [f32], &'a mut [f32], PhantomData<V>);

impl<V: Lanes> Kernel for Spread<'_, V> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let len = self.1.len() / STREAMS;
        // SAFETY: `spread` has checked for the instructions of `V`; tile q < len reads flat values up to 4 (q + 1) + 1,
        // in whole vectors of tiles up to one vector beyond, and every stream has `len` values.
        unsafe {
            let (half, two, middle) = (V::set(-0.5), V::set(-2.0), V::set(-2.5));
            let signs_a = [V::set(A), V::set(-A)];
            let signs_b = [V::set(B), V::set(-B)];
            let deal = |at: usize| {
                let from = self.0.as_ptr().add(TILE * at);
                V::deal([0, 1, 2, 3].map(|i| V::load(from.add(i * V::LANES))))
            };
            let to = self.1.as_mut_ptr();
            let mut next = deal(0);
            for at in (0..len).step_by(V::LANES) {
                let [a, b, c, d] = next;
                next = deal(at + V::LANES);
                let (e, f) = (a.neighbours(next[0]), b.neighbours(next[1]));
                let (even_a, odd_a) = (two.mul_add(c, e), two.mul_add(b, d));
                let (even_b, odd_b) = (half.mul_add(c, e), half.mul_add(b, d));
                let six = [
                    middle.mul_add(c, a.add(e)),
                    signs_a[0].mul_add(odd_a, even_a),
                    signs_a[1].mul_add(odd_a, even_a),
                    signs_b[0].mul_add(odd_b, even_b),
                    signs_b[1].mul_add(odd_b, even_b),
                    middle.mul_add(d, b.add(f)),
                ];
                for (stream, values) in six.into_iter().enumerate() {
                    values.store(to.add(stream * len + at));
                }
            }
        }
    }
}

/// Rows of flat values from the products of their six streams: Aᵀ m of every tile.
///
/// `products` is [stream][row][tile], `rows` is [row][flat] with four values for each tile; tiles by whole vectors of 16.
pub(super) fn combine(path: Path, products: &[f32], rows: &mut [f32], tiles: usize) {
    assert!(path.has_avx2() && tiles.is_multiple_of(16));
    assert!(rows.len().is_multiple_of((TILE * tiles).max(1)));
    assert!(TILE * products.len() == STREAMS * rows.len());
    if path.has_avx512() {
        dispatch::run(path, Combine::<__m512>(products, rows, PhantomData));
    } else {
        dispatch::run(path, Combine::<__m256>(products, rows, PhantomData));
    }
}

struct Combine<'a, V>(&'a [f32], &'a mut [f32], PhantomData<V>);

impl<V: Lanes> Kernel for Combine<'_, V> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        // Rows follow each other without gaps, in the streams and in the result.
        let len = self.0.len() / STREAMS;
        // SAFETY: `combine` has checked for the instructions of `V`; `len` is a multiple of 16, every stream has `len`
        // values and the rows four times as many.
        unsafe {
            let (half, two) = (V::set(0.5), V::set(2.0));
            let (a, b) = (V::set(A), V::set(B));
            let (a_cubed, b_cubed) = (V::set(0.5 * A), V::set(2.0 * B));
            for at in (0..len).step_by(V::LANES) {
                let [zero, plus_a, minus_a, plus_b, minus_b, last] =
                    [0, 1, 2, 3, 4, 5].map(|stream| V::load(self.0.as_ptr().add(stream * len + at)));
                let (even_a, even_b) = (plus_a.add(minus_a), plus_b.add(minus_b));
                let (odd_a, odd_b) = (plus_a.sub(minus_a), plus_b.sub(minus_b));
                let values = V::gather([
                    zero.add(even_a.add(even_b)),
                    b.mul_add(odd_b, a.mul(odd_a)),
                    two.mul_add(even_b, half.mul(even_a)),
                    b_cubed.mul_add(odd_b, a_cubed.mul_add(odd_a, last)),
                ]);
                for (i, values) in values.into_iter().enumerate() {
                    values.store(self.1.as_mut_ptr().add(TILE * at + i * V::LANES));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convolution::cases::values;

    /// Σ w[t] x[p + t] for every p.
    fn filtered(w: [f32; 3], x: &[f32]) -> Vec<f64> {
        let product = |window: &[f32]| {
            window
                .iter()
                .zip(w)
                .map(|(&x, w)| f64::from(x) * f64::from(w))
                .sum()
        };
        x.windows(3).map(product).collect()
    }

    #[test]
    fn the_three_transforms_filter_a_row() {
        for path in Path::available().into_iter().filter(|path| path.has_avx2()) {
            let (flat, w) = (values::<f32>(4 * 48 + 64, 7), [0.3, -1.2, 0.7]);
            let mut streams = vec![0.0; STREAMS * 48];
            spread(path, &flat, &mut streams);
            for (stream, weight) in streams.chunks_mut(48).zip(weights(w)) {
                stream.iter_mut().for_each(|value| *value *= weight);
            }
            let mut row = vec![0.0; 4 * 48];
            combine(path, &streams, &mut row, 48);
            for (p, (got, wanted)) in row.iter().zip(filtered(w, &flat)).enumerate() {
                assert!((f64::from(*got) - wanted).abs() < 3e-6, "{}: {p}", path.name());
            }
        }
    }

    #[test]
    fn the_gradient_of_three_taps_is_six_products_for_each_tile() {
        let (x, dy) = (values::<f32>(4 * 16 + 64, 3), values::<f32>(16, 4));
        let path = Path::available().into_iter().find(|path| path.has_avx2());
        let Some(path) = path else { return };
        let mut streams = vec![0.0; STREAMS * 16];
        spread(path, &x, &mut streams);
        let mut sums = [0.0; STREAMS];
        for (tile, dy) in dy.chunks(TILE).enumerate() {
            for (stream, value) in gradients([dy[0], dy[1], dy[2], dy[3]]).into_iter().enumerate() {
                sums[stream] += value * streams[stream * 16 + tile];
            }
        }
        for (t, got) in taps(sums).into_iter().enumerate() {
            let wanted: f64 = (0..16).map(|p| f64::from(dy[p]) * f64::from(x[p + t])).sum();
            assert!((f64::from(got) - wanted).abs() < 1e-5, "{t}: {got} for {wanted}");
        }
    }
}
