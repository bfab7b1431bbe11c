//! Clouds of dots: one disc per place within a pixel, filled once, stamped as often as there are points.
//!
//! Ten million points are out of reach of a path each, and faint ones of eight bits: opacities of 0.04 stall far from 1
//! when every sum is rounded to a byte. So transmittances are multiplied in single precision.

use tiny_skia::{FillRule, Mask, PathBuilder, Transform};

use crate::drawing::Dots;

/// Positions within a pixel that a dot's centre is rounded to, per side.
const SUBPIXELS: usize = 4;

/// What shines through a panel's dots: a rectangle of transmittances, 1 where no dot is.
pub(crate) struct Veil {
    pub(crate) left: i32,
    pub(crate) top: i32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    through: Vec<f32>,
}

impl Veil {
    /// Multiplies the transmittances of all dots, at `scale` pixels per unit.
    pub(crate) fn new(dots: &Dots, scale: f64) -> Self {
        let left = (dots.clip.left * scale).floor() as i32;
        let top = (dots.clip.top * scale).floor() as i32;
        let width = (dots.clip.right() * scale).ceil() as u32 - left as u32;
        let height = (dots.clip.bottom() * scale).ceil() as u32 - top as u32;
        let mut veil = Self {
            left,
            top,
            width,
            height,
            through: vec![1.0; width as usize * height as usize],
        };
        let stamps: Vec<Stamp> = (0..SUBPIXELS * SUBPIXELS)
            .map(|place| stamp(dots.radius * scale, dots.opacity, place))
            .collect();
        for center in &dots.centers {
            veil.stamp(&stamps, center.map(|c| f64::from(c) * scale));
        }
        veil
    }

    /// How much of each pixel the dots cover, row by row.
    pub(crate) fn alphas(&self) -> impl Iterator<Item = u8> + '_ {
        self.through.iter().map(|t| ((1.0 - t) * 255.0 + 0.5) as u8)
    }

    fn stamp(&mut self, stamps: &[Stamp], center: [f64; 2]) {
        let cells = center.map(|c| (c * SUBPIXELS as f64).floor() as i32);
        let sub = cells.map(|c| c.rem_euclid(SUBPIXELS as i32) as usize);
        let [x, y] = cells.map(|c| c.div_euclid(SUBPIXELS as i32));
        for &(dx, dy, through) in &stamps[sub[1] * SUBPIXELS + sub[0]] {
            let (x, y) = (x + dx - self.left, y + dy - self.top);
            if (0..self.width as i32).contains(&x) && (0..self.height as i32).contains(&y) {
                let pixel = &mut self.through[y as usize * self.width as usize + x as usize];
                // Below one step of a byte nothing more can be seen; subnormal products would be slow.
                if *pixel > 1e-4 {
                    *pixel *= through;
                }
            }
        }
    }
}

/// A disc as (dx, dy, transmittance) around the pixel that holds its centre.
type Stamp = Vec<(i32, i32, f32)>;

/// The disc whose centre has the `place`th position within its pixel.
fn stamp(radius: f64, opacity: f32, place: usize) -> Stamp {
    let reach = radius.ceil() as u32 + 1;
    let side = 2 * reach + 1;
    let at = |i: usize| reach as f32 + (i as f32 + 0.5) / SUBPIXELS as f32;
    let (x, y) = (at(place % SUBPIXELS), at(place / SUBPIXELS));
    let disc = PathBuilder::from_circle(x, y, radius as f32);
    let (Some(disc), Some(mut mask)) = (disc, Mask::new(side, side)) else {
        return Stamp::new();
    };
    mask.fill_path(&disc, FillRule::Winding, true, Transform::identity());
    let cells = (0..side as i32).flat_map(|y| (0..side as i32).map(move |x| (x, y)));
    let reach = reach as i32;
    cells
        .zip(mask.data())
        .filter(|(_, covered)| **covered > 0)
        .map(|((x, y), covered)| (x - reach, y - reach, 1.0 - opacity * f32::from(*covered) / 255.0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drawing::Area;
    use crate::style::Color;

    #[test]
    fn a_stamp_has_the_area_and_the_middle_of_its_disc() {
        for radius in [0.9, 1.2, 1.7, 2.4, 19.2] {
            for place in 0..SUBPIXELS * SUBPIXELS {
                let stamp = stamp(radius, 1.0, place);
                let sum = |of: fn(f32, f32) -> f32| -> f64 {
                    let parts = stamp.iter().map(|(x, y, t)| of(*x as f32, *y as f32) * (1.0 - t));
                    parts.map(f64::from).sum()
                };
                let area = std::f64::consts::PI * radius * radius;
                let (mass, x, y) = (sum(|_, _| 1.0), sum(|x, _| x), sum(|_, y| y));
                assert!(
                    (mass / area - 1.0).abs() < 0.1,
                    "{mass} for {area}, place {place}"
                );
                let middle = [place % SUBPIXELS, place / SUBPIXELS];
                for (got, place) in [x / mass, y / mass].into_iter().zip(middle) {
                    let truth = (place as f64 + 0.5) / SUBPIXELS as f64 - 0.5;
                    assert!((got - truth).abs() < 0.1, "{got} for {truth}, radius {radius}");
                }
            }
        }
    }

    #[test]
    fn faint_dots_add_up_to_full_cover() {
        let clip = Area {
            left: 0.0,
            top: 0.0,
            width: 8.0,
            height: 8.0,
        };
        let dots = Dots {
            centers: vec![[4.0, 4.0]; 1_000],
            radius: 2.0,
            color: Color([0; 3]),
            opacity: 0.04,
            clip,
        };
        assert_eq!(Veil::new(&dots, 1.0).alphas().max(), Some(255));
    }
}
