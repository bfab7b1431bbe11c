//! Shapes become pixels: lines, discs and the outlines of letters are paths, which tiny-skia fills.

use image::RgbImage;
use tiny_skia::{
    ColorU8, FillRule, FilterQuality, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, PixmapPaint,
    Stroke, Transform,
};

use crate::dots::Veil;
use crate::drawing::{Anchor, Area, Direction, Dots, Drawing, Shape};
use crate::font;
use crate::style::Color;

pub(crate) fn paint(drawing: &Drawing) -> RgbImage {
    let (width, height) = (drawing.width(), drawing.height());
    // No drawing is so small or large that there would be no page.
    let Some(mut pixels) = Pixmap::new(width, height) else {
        return RgbImage::new(width, height);
    };
    pixels.fill(tinted(drawing.background, 1.0));
    let scale = f64::from(drawing.scale);
    let mut page = Page { pixels, scale };
    for shape in &drawing.shapes {
        page.draw(shape);
    }
    page.rgb()
}

fn tinted(Color([r, g, b]): Color, opacity: f32) -> tiny_skia::Color {
    let mut color = tiny_skia::Color::from_rgba8(r, g, b, 255);
    color.set_alpha(opacity);
    color
}

struct Page {
    /// Opaque everywhere, so that what is premultiplied is plain.
    pixels: Pixmap,
    /// Pixels per unit.
    scale: f64,
}

impl Page {
    fn draw(&mut self, shape: &Shape) {
        match shape {
            Shape::Path {
                points,
                width,
                color,
                opacity,
            } => self.line(points, *width, *color, *opacity),
            Shape::Dots(dots) => self.dots(dots),
            Shape::Image {
                area,
                columns,
                pixels,
            } => self.image(*area, *columns, pixels),
            Shape::Text {
                at,
                text,
                size,
                color,
                anchor,
                direction,
            } => self.text(*at, text, *size, *color, (*anchor, *direction)),
        }
    }

    fn fill(&mut self, path: &Path, color: tiny_skia::Color, place: Transform) {
        let mut paint = Paint::default();
        paint.set_color(color);
        self.pixels
            .fill_path(path, &paint, FillRule::Winding, place, None);
    }

    /// Fills the outline of the stroke, whatever its width: a hairline would be blended anew at every crossing.
    fn line(&mut self, points: &[[f64; 2]], width: f64, color: Color, opacity: f32) {
        let stroke = Stroke {
            width: (width * self.scale) as f32,
            line_cap: LineCap::Round,
            line_join: LineJoin::Round,
            ..Stroke::default()
        };
        let outline = polyline(points, self.scale).and_then(|line| line.stroke(&stroke, 1.0));
        if let Some(outline) = outline {
            self.fill(&outline, tinted(color, opacity), Transform::identity());
        }
    }

    fn dots(&mut self, dots: &Dots) {
        let veil = Veil::new(dots, self.scale);
        let Some(mut layer) = Pixmap::new(veil.width, veil.height) else {
            return;
        };
        let Color([r, g, b]) = dots.color;
        for (pixel, alpha) in layer.pixels_mut().iter_mut().zip(veil.alphas()) {
            *pixel = ColorU8::from_rgba(r, g, b, alpha).premultiply();
        }
        let (paint, place) = (PixmapPaint::default(), Transform::identity());
        self.pixels
            .draw_pixmap(veil.left, veil.top, layer.as_ref(), &paint, place, None);
    }

    /// Every pixel of the image becomes a rectangle with sharp edges.
    fn image(&mut self, area: Area, columns: usize, pixels: &[Color]) {
        let rows = pixels.len() / columns.max(1);
        let Some(mut layer) = Pixmap::new(columns as u32, rows as u32) else {
            return;
        };
        for (to, Color([r, g, b])) in layer.pixels_mut().iter_mut().zip(pixels) {
            *to = ColorU8::from_rgba(*r, *g, *b, 255).premultiply();
        }
        let edge = |v: f64| (v * self.scale).round();
        let (left, top) = (edge(area.left), edge(area.top));
        let wide = (edge(area.right()) - left) / columns as f64;
        let high = (edge(area.bottom()) - top) / rows as f64;
        let place = Transform::from_row(wide as f32, 0.0, 0.0, high as f32, left as f32, top as f32);
        let paint = PixmapPaint {
            quality: FilterQuality::Nearest,
            ..PixmapPaint::default()
        };
        self.pixels.draw_pixmap(0, 0, layer.as_ref(), &paint, place, None);
    }

    fn text(&mut self, at: [f64; 2], text: &str, size: f64, color: Color, how: (Anchor, Direction)) {
        let size = size * self.scale;
        let [x, y] = at.map(|c| c * self.scale);
        let back = match how.0 {
            Anchor::Start => 0.0,
            Anchor::Middle => font::width(text, size) / 2.0,
            Anchor::End => font::width(text, size),
        };
        // A baseline on whole pixels keeps equal labels equally sharp.
        let place = match how.1 {
            Direction::Across => Transform::from_translate((x - back) as f32, y.round() as f32),
            Direction::Upward => {
                Transform::from_row(0.0, -1.0, 1.0, 0.0, x.round() as f32, (y + back).round() as f32)
            }
        };
        if let Some(outline) = font::outline(text, size) {
            self.fill(&outline, tinted(color, 1.0), place);
        }
    }

    fn rgb(self) -> RgbImage {
        let (width, height) = (self.pixels.width(), self.pixels.height());
        let pixels = self.pixels.pixels().iter();
        let rgb = pixels.flat_map(|p| [p.red(), p.green(), p.blue()]).collect();
        RgbImage::from_raw(width, height, rgb).unwrap_or_else(|| RgbImage::new(width, height))
    }
}

/// The line through `points`, in pixels.
fn polyline(points: &[[f64; 2]], scale: f64) -> Option<Path> {
    let mut pen = PathBuilder::with_capacity(points.len(), points.len());
    for (index, point) in points.iter().enumerate() {
        let [x, y] = point.map(|c| (c * scale) as f32);
        if index == 0 {
            pen.move_to(x, y);
        } else {
            pen.line_to(x, y);
        }
    }
    pen.finish()
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
            drawing.shapes.push(Shape::Dots(Dots {
                centers: vec![center],
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
        // Widths of a pixel and less are those that a rasteriser may draw segment by segment.
        for width in [1.0, 4.0] {
            let mut drawing = page();
            let cross = vec![[2.0, 10.5], [18.0, 10.5], [10.5, 10.5], [10.5, 2.0], [10.5, 18.0]];
            drawing.path(cross, width, Color([0; 3]), 0.5);
            let darkest = drawing.to_rgb().pixels().map(|p| p.0[0]).min().unwrap();
            assert!((126..=128).contains(&darkest), "{darkest}: 255 half way to 0");
        }
    }

    #[test]
    fn a_point_is_a_round_dot() {
        let mut drawing = page();
        drawing.path(vec![[10.0, 10.0], [10.0, 10.0]], 6.0, Color([0; 3]), 1.0);
        assert!((ink(&drawing) - 9.0 * std::f64::consts::PI).abs() < 1.0);
    }

    #[test]
    fn text_that_runs_upward_is_text_turned_by_a_quarter() {
        let (mut across, mut upward) = (page(), page());
        across.text([10.0, 12.0], "gR", 9.0, Color([0; 3]), Anchor::Middle);
        upward.upward([12.0, 10.0], "gR", 9.0, Color([0; 3]));
        assert!(ink(&across) > 10.0);
        assert!((ink(&across) - ink(&upward)).abs() < 0.1 * ink(&across));
    }
}
