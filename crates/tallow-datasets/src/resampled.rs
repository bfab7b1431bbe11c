//! Another size for an image, smoothed where it shrinks and interpolated where it grows.
//!
//! ```text
//! y_i = Σ_j w_ij x_j / Σ_j w_ij      w_ij = max(0, 1 − |j + ½ − c_i|/r)      c_i = start + (i + ½) s,  r = max(s, 1)
//! ```
//!
//! s pixels of the source stand for one of the result; the same for lines, then for columns.

/// A part of one axis of the source, and the pixels that are made of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    /// Pixels of the source.
    pub(crate) source: usize,
    /// Where the part begins, and how long it is, in pixels of the source.
    pub(crate) part: (f64, f64),
    /// Pixels of the result.
    pub(crate) result: usize,
}

/// First source pixel and normalised weights of a pixel of the result.
type Taps = (usize, Vec<f32>);

impl Axis {
    fn taps(&self, index: usize) -> Taps {
        let (start, length) = self.part;
        let scale = length / self.result as f64;
        let reach = scale.max(1.0);
        let centre = start + (index as f64 + 0.5) * scale;
        let last = self.source - 1;
        let first = ((centre - reach).floor().max(0.0) as usize).min(last);
        let end = ((centre + reach).ceil().max(1.0) as usize).clamp(first + 1, self.source);
        let weight = |j: usize| (1.0 - ((j as f64 + 0.5 - centre) / reach).abs()).max(0.0);
        let sum: f64 = (first..end).map(weight).sum();
        (first, (first..end).map(|j| (weight(j) / sum) as f32).collect())
    }
}

/// Part of an image whose pixels have their channels side by side, as planes of another size, one for each channel.
pub(crate) fn resampled(pixels: &[u8], channels: usize, vertical: Axis, horizontal: Axis) -> Vec<u8> {
    let (height, width) = (vertical.result, horizontal.result);
    let line = horizontal.source * channels;
    let columns: Vec<Taps> = (0..width).map(|column| horizontal.taps(column)).collect();
    let mut planes = vec![0; channels * height * width];
    for row in 0..height {
        let (first, weights) = vertical.taps(row);
        let mut mixed = vec![0.0_f32; line];
        for (source, weight) in pixels[first * line..].chunks_exact(line).zip(&weights) {
            for (sum, value) in mixed.iter_mut().zip(source) {
                *sum += weight * f32::from(*value);
            }
        }
        for (column, (first, weights)) in columns.iter().enumerate() {
            for channel in 0..channels {
                let values = mixed[first * channels + channel..].iter().step_by(channels);
                let value: f32 = values.zip(weights).map(|(value, weight)| value * weight).sum();
                planes[(channel * height + row) * width + column] = value.round() as u8;
            }
        }
    }
    planes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(source: usize, result: usize) -> Axis {
        let part = (0.0, source as f64);
        Axis { source, part, result }
    }

    #[test]
    fn the_same_size_changes_nothing_but_the_order_of_channels() {
        let pixels: Vec<u8> = (0..5 * 7 * 3).map(|index| (index * 37) as u8).collect();
        let planes = resampled(&pixels, 3, whole(5, 5), whole(7, 7));
        for (index, value) in pixels.iter().enumerate() {
            assert_eq!(planes[index % 3 * 35 + index / 3], *value);
        }
    }

    #[test]
    fn one_colour_stays_it_in_any_size() {
        for (height, width) in [(1, 1), (3, 50), (17, 4)] {
            let planes = resampled(&[200; 9 * 11], 1, whole(9, height), whole(11, width));
            assert_eq!(planes, vec![200; height * width]);
        }
    }

    #[test]
    fn a_ramp_stays_a_ramp_where_no_edge_is_near() {
        let ramp: Vec<u8> = (0..64).map(|column| 3 * column).collect();
        for result in [16, 32, 128] {
            let scaled = resampled(&ramp, 1, whole(1, 1), whole(64, result));
            let scale = 64.0 / result as f64;
            let margin = 16 * result / 64;
            for (index, value) in scaled.iter().enumerate().skip(margin).take(result - 2 * margin) {
                let exact = 3.0 * ((index as f64 + 0.5) * scale - 0.5);
                assert!((f64::from(*value) - exact).abs() <= 0.51, "{value} for {exact}");
            }
        }
    }

    #[test]
    fn a_shrunk_checkerboard_is_grey() {
        let board: Vec<u8> = (0..64 * 64)
            .map(|index| {
                if (index / 64 + index % 64) % 2 == 0 {
                    0
                } else {
                    255
                }
            })
            .collect();
        let grey = resampled(&board, 1, whole(64, 8), whole(64, 8));
        assert!(grey.iter().all(|value| value.abs_diff(127) <= 1), "{grey:?}");
    }

    #[test]
    fn the_numbers_are_those_of_pillow() {
        // Image.fromarray(x).resize((3, 2), Image.BILINEAR) of x[i][j] = (i·29 + j·53) mod 256, 4 × 5; it rounds between the
        // axes, hence within 1.
        let x: Vec<u8> = (0..20)
            .map(|index| ((index / 5 * 29 + index % 5 * 53) % 256) as u8)
            .collect();
        let ours = resampled(&x, 1, whole(4, 2), whole(5, 3));
        assert_eq!(ours.len(), PILLOW.len());
        assert!(
            ours.iter().zip(PILLOW).all(|(a, b)| a.abs_diff(b) <= 1),
            "{ours:?}"
        );
    }

    const PILLOW: [u8; 6] = [44, 127, 189, 89, 172, 130];
}
