//! Shapes become pixels: analytic coverage, no sampling, only IEEE additions, products and roots.

use image::RgbImage;

use crate::drawing::{Anchor, Area, Direction, Dots, Drawing, Shape};
use crate::font;
use crate::style::Color;

/// Positions within a pixel that a dot's centre is rounded to, per side.
const SUBPIXELS: usize = 4;
/// Longest piece of a line that is drawn at once, so that slanted lines visit few pixels in vain.
const PIECE: f64 = 16.0;

pub(crate) fn paint(drawing: &Drawing) -> RgbImage {
    let mut page = Page::new(drawing);
    for shape in &drawing.shapes {
        match shape {
            Shape::Path {
                points,
                width,
                color,
                opacity,
            } => page.path(points, *width, *color, *opacity),
            Shape::Dots(dots) => page.dots(dots),
            Shape::Image {
                area,
                columns,
                pixels,
            } => page.image(*area, *columns, pixels),
            Shape::Text {
                at,
                text,
                size,
                color,
                anchor,
                direction,
            } => {
                page.text(*at, text, *size, *color, (*anchor, *direction));
            }
        }
    }
    page.pixels
}

/// What shines through a panel's dots: a rectangle of transmittances, 1 where no dot is.
pub(crate) struct Veil {
    pub(crate) left: i64,
    pub(crate) top: i64,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) through: Vec<f32>,
}

impl Veil {
    /// Multiplies the transmittances of all dots, at `scale` pixels per unit.
    pub(crate) fn new(dots: &Dots, scale: f64) -> Self {
        let left = (dots.clip.left * scale).floor() as i64;
        let top = (dots.clip.top * scale).floor() as i64;
        let width = (dots.clip.right() * scale).ceil() as i64 - left;
        let height = (dots.clip.bottom() * scale).ceil() as i64 - top;
        let (width, height) = (width.max(0) as usize, height.max(0) as usize);
        let mut veil = Self {
            left,
            top,
            width,
            height,
            through: vec![1.0; width * height],
        };
        let stamps = stamps(dots.radius * scale, dots.opacity);
        for center in &dots.centers {
            veil.stamp(&stamps, center.map(|c| f64::from(c) * scale));
        }
        veil
    }

    fn stamp(&mut self, stamps: &[Stamp], center: [f64; 2]) {
        let cells = center.map(|c| (c * SUBPIXELS as f64).floor() as i64);
        let sub = cells.map(|c| c.rem_euclid(SUBPIXELS as i64) as usize);
        let [x, y] = cells.map(|c| c.div_euclid(SUBPIXELS as i64));
        for &(dx, dy, through) in &stamps[sub[1] * SUBPIXELS + sub[0]] {
            let (x, y) = (x + dx - self.left, y + dy - self.top);
            if (0..self.width as i64).contains(&x) && (0..self.height as i64).contains(&y) {
                let pixel = &mut self.through[y as usize * self.width + x as usize];
                // Below one step of a byte nothing more can be seen; subnormal products would be slow.
                if *pixel > 1e-4 {
                    *pixel *= through;
                }
            }
        }
    }
}

/// A disc as (dx, dy, transmittance), for one position of its centre within the pixel.
type Stamp = Vec<(i64, i64, f32)>;

fn stamps(radius: f64, opacity: f32) -> Vec<Stamp> {
    let reach = radius.ceil() as i64 + 1;
    let stamp = |index: usize| {
        let offset = |i: usize| (i as f64 + 0.5) / SUBPIXELS as f64;
        let (cx, cy) = (offset(index % SUBPIXELS), offset(index / SUBPIXELS));
        let mut stamp = Stamp::new();
        for dy in -reach..=reach {
            for dx in -reach..=reach {
                let (x, y) = (dx as f64 + 0.5 - cx, dy as f64 + 0.5 - cy);
                let covered = (radius + 0.5 - (x * x + y * y).sqrt()).clamp(0.0, 1.0) as f32;
                if covered > 0.0 {
                    stamp.push((dx, dy, 1.0 - opacity * covered));
                }
            }
        }
        stamp
    };
    (0..SUBPIXELS * SUBPIXELS).map(stamp).collect()
}

struct Page {
    pixels: RgbImage,
    scale: f64,
}

impl Page {
    fn new(drawing: &Drawing) -> Self {
        let background = image::Rgb(drawing.background.0);
        Self {
            pixels: RgbImage::from_pixel(drawing.width(), drawing.height(), background),
            scale: f64::from(drawing.scale),
        }
    }

    fn blend(&mut self, x: i64, y: i64, color: Color, opacity: f32) {
        let inside = x >= 0 && y >= 0 && x < self.pixels.width().into() && y < self.pixels.height().into();
        if inside && opacity > 0.0 {
            let pixel = self.pixels.get_pixel_mut(x as u32, y as u32);
            pixel.0 = Color(pixel.0).towards(color, opacity).0;
        }
    }

    fn dots(&mut self, dots: &Dots) {
        let veil = Veil::new(dots, self.scale);
        for (index, through) in veil.through.iter().enumerate() {
            let (x, y) = (index % veil.width, index / veil.width);
            self.blend(
                veil.left + x as i64,
                veil.top + y as i64,
                dots.color,
                1.0 - through,
            );
        }
    }

    /// The union of round-capped segments, blended once, so that a crossing is no darker than the rest.
    fn path(&mut self, points: &[[f64; 2]], width: f64, color: Color, opacity: f32) {
        let points: Vec<[f64; 2]> = points.iter().map(|p| p.map(|c| c * self.scale)).collect();
        let Some(mut mask) = Mask::around(&points, width * self.scale / 2.0) else {
            return;
        };
        for pair in points.windows(2) {
            mask.segment(pair[0], pair[1]);
        }
        for (index, covered) in mask.covered.iter().enumerate() {
            let (x, y) = (index % mask.width, index / mask.width);
            self.blend(
                mask.left + x as i64,
                mask.top + y as i64,
                color,
                covered * opacity,
            );
        }
    }

    fn image(&mut self, area: Area, columns: usize, pixels: &[Color]) {
        let rows = pixels.len() / columns.max(1);
        if rows == 0 {
            return;
        }
        let edge = |v: f64| (v * self.scale).round() as i64;
        let (left, top) = (edge(area.left), edge(area.top));
        let (width, height) = (edge(area.right()) - left, edge(area.bottom()) - top);
        for y in 0..height {
            let row = (y as usize * rows) / height as usize;
            for x in 0..width {
                let column = (x as usize * columns) / width as usize;
                self.blend(left + x, top + y, pixels[row * columns + column], 1.0);
            }
        }
    }

    fn text(&mut self, at: [f64; 2], text: &str, size: f64, color: Color, how: (Anchor, Direction)) {
        let size = size * self.scale;
        let [x, y] = at.map(|c| c * self.scale);
        let back = match how.0 {
            Anchor::Start => 0.0,
            Anchor::Middle => font::width(text, size) / 2.0,
            Anchor::End => font::width(text, size),
        };
        match how.1 {
            Direction::Across => {
                // Whole pixels keep the stems of equal labels equally sharp.
                font::rasterize(text, size, [x - back, y.round()], |x, y, covered| {
                    self.blend(x, y, color, covered);
                });
            }
            Direction::Upward => {
                let (column, foot) = (x.round() as i64, (y + back).round() as i64);
                font::rasterize(text, size, [0.0, 0.0], |along, down, covered| {
                    self.blend(column + down, foot - 1 - along, color, covered);
                });
            }
        }
    }
}

/// Coverage of one path.
struct Mask {
    left: i64,
    top: i64,
    width: usize,
    half: f64,
    covered: Vec<f32>,
}

impl Mask {
    fn around(points: &[[f64; 2]], half: f64) -> Option<Self> {
        let first = *points.first()?;
        let (low, high) = points.iter().fold((first, first), |(low, high), p| {
            (
                [low[0].min(p[0]), low[1].min(p[1])],
                [high[0].max(p[0]), high[1].max(p[1])],
            )
        });
        let [left, top] = low.map(|c| (c - half - 1.0).floor() as i64);
        let [right, bottom] = high.map(|c| (c + half + 1.0).ceil() as i64);
        let (width, height) = ((right - left) as usize, (bottom - top) as usize);
        Some(Self {
            left,
            top,
            width,
            half,
            covered: vec![0.0; width * height],
        })
    }

    fn segment(&mut self, from: [f64; 2], to: [f64; 2]) {
        let along = [to[0] - from[0], to[1] - from[1]];
        let length = (along[0] * along[0] + along[1] * along[1]).sqrt();
        let pieces = (length / PIECE).ceil().max(1.0);
        let at = |i: f64| [from[0] + along[0] * i / pieces, from[1] + along[1] * i / pieces];
        for i in 0..pieces as u64 {
            self.piece(at(i as f64), at(i as f64 + 1.0));
        }
    }

    fn piece(&mut self, from: [f64; 2], to: [f64; 2]) {
        let along = [to[0] - from[0], to[1] - from[1]];
        let square = along[0] * along[0] + along[1] * along[1];
        let reach = self.half + 1.0;
        let rows = (from[1].min(to[1]) - reach).floor() as i64..(from[1].max(to[1]) + reach).ceil() as i64;
        let columns = (from[0].min(to[0]) - reach).floor() as i64..(from[0].max(to[0]) + reach).ceil() as i64;
        for y in rows {
            for x in columns.clone() {
                let off = [x as f64 + 0.5 - from[0], y as f64 + 0.5 - from[1]];
                let part = if square > 0.0 {
                    (off[0] * along[0] + off[1] * along[1]) / square
                } else {
                    0.0
                };
                let part = part.clamp(0.0, 1.0);
                let off = [off[0] - part * along[0], off[1] - part * along[1]];
                let distance = (off[0] * off[0] + off[1] * off[1]).sqrt();
                let covered = (self.half + 0.5 - distance).clamp(0.0, 1.0) as f32;
                let (column, row) = (x - self.left, y - self.top);
                let inside = covered > 0.0 && row >= 0 && (0..self.width as i64).contains(&column);
                let index = row.max(0) as usize * self.width + column.max(0) as usize;
                if let Some(pixel) = self.covered.get_mut(index).filter(|_| inside) {
                    *pixel = pixel.max(covered);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::style::Style;

    fn page() -> Drawing {
        Drawing::new(20.0, 20.0, "", Style::light()).unwrap()
    }

    fn ink(drawing: &Drawing) -> f64 {
        let white = 255.0 * 3.0;
        drawing
            .to_rgb()
            .pixels()
            .map(|p| 1.0 - p.0.iter().map(|&c| f64::from(c)).sum::<f64>() / white)
            .sum()
    }

    #[test]
    fn the_ink_of_a_line_is_its_area() {
        let mut drawing = page();
        drawing.path(vec![[3.0, 4.0], [15.0, 12.0]], 2.0, Color([0; 3]), 1.0);
        let area = 2.0 * (144.0f64 + 64.0).sqrt() + std::f64::consts::PI;
        assert!(
            (ink(&drawing) - area).abs() < 0.03 * area,
            "{} for {area}",
            ink(&drawing)
        );
    }

    #[test]
    fn the_ink_of_a_dot_is_its_area() {
        for center in [[10.0, 10.0], [10.3, 9.6]] {
            let mut drawing = page();
            let clip = Area {
                left: 0.0,
                top: 0.0,
                width: 20.0,
                height: 20.0,
            };
            let centers = vec![center];
            drawing.shapes.push(Shape::Dots(Dots {
                centers,
                radius: 3.0,
                color: Color([0; 3]),
                opacity: 1.0,
                clip,
            }));
            let area = 9.0 * std::f64::consts::PI;
            assert!(
                (ink(&drawing) - area).abs() < 0.03 * area,
                "{} for {area}",
                ink(&drawing)
            );
        }
    }

    #[test]
    fn a_line_that_crosses_itself_is_blended_once() {
        let mut drawing = page();
        let cross = vec![[2.0, 10.0], [18.0, 10.0], [10.0, 10.0], [10.0, 2.0], [10.0, 18.0]];
        drawing.path(cross, 4.0, Color([0; 3]), 0.5);
        let darkest = drawing.to_rgb().pixels().map(|p| p.0[0]).min();
        assert_eq!(darkest, Some(128), "255 half way to 0");
    }

    #[test]
    fn a_point_is_a_round_dot() {
        let mut drawing = page();
        drawing.path(vec![[10.0, 10.0], [10.0, 10.0]], 6.0, Color([0; 3]), 1.0);
        assert!((ink(&drawing) - 9.0 * std::f64::consts::PI).abs() < 1.0);
    }
}
