//! Shapes become an SVG document, whose layout rests on the font we ship and not on the viewer's.
//!
//! Written as text: a tree of nodes would hold a map of strings for each of thousands of dots, and say no less.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::ExtendedColorType;

use crate::dots::Veil;
use crate::drawing::{Anchor, Area, Direction, Dots, Drawing, Shape};
use crate::style::Color;
use crate::{Result, file, font};

/// More dots than this are embedded as one image: the file stays small and a viewer fast.
const MOST_CIRCLES: usize = 20_000;
/// Pixels per unit of that image.
const SHARPNESS: f64 = 2.0;

pub(crate) fn write(drawing: &Drawing) -> Result<String> {
    let (width, height) = (drawing.width, drawing.height);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"'DejaVu Sans', Verdana, sans-serif\">\n",
        drawing.width(),
        drawing.height(),
    );
    if !drawing.title.is_empty() {
        let title = font::fit(&drawing.title, 1.0, f64::INFINITY);
        let _ = writeln!(out, "<title>{}</title>", escaped(&title));
    }
    let _ = writeln!(
        out,
        "<rect width=\"{width}\" height=\"{height}\" fill=\"{}\"/>",
        hex(drawing.background)
    );
    for shape in &drawing.shapes {
        match shape {
            Shape::Path {
                points,
                width,
                color,
                opacity,
            } => path(&mut out, points, *width, *color, *opacity),
            Shape::Dots(dots) if dots.centers.len() > MOST_CIRCLES => veil(&mut out, dots)?,
            Shape::Dots(dots) => circles(&mut out, dots),
            Shape::Image {
                area,
                columns,
                pixels,
            } => image(&mut out, *area, *columns, pixels)?,
            Shape::Text {
                at,
                text,
                size,
                color,
                anchor,
                direction,
            } => {
                words(&mut out, *at, text, *size, *color, (*anchor, *direction));
            }
        }
    }
    out.push_str("</svg>\n");
    Ok(out)
}

/// A coordinate to a hundredth of a unit, as short as it goes.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

fn hex(Color([r, g, b]): Color) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn path(out: &mut String, points: &[[f64; 2]], width: f64, color: Color, opacity: f32) {
    out.push_str("<polyline points=\"");
    for (index, [x, y]) in points.iter().enumerate() {
        let gap = if index == 0 { "" } else { " " };
        let _ = write!(out, "{gap}{},{}", short(*x), short(*y));
    }
    let _ = write!(
        out,
        "\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" stroke-linecap=\"round\" stroke-linejoin=\"round\"",
        hex(color),
        short(width)
    );
    if opacity < 1.0 {
        let _ = write!(out, " stroke-opacity=\"{}\"", short(f64::from(opacity)));
    }
    out.push_str("/>\n");
}

fn circles(out: &mut String, dots: &Dots) {
    if dots.centers.is_empty() {
        return;
    }
    let opacity = short(f64::from(dots.opacity));
    let _ = writeln!(out, "<g fill=\"{}\" fill-opacity=\"{opacity}\">", hex(dots.color));
    let radius = short(dots.radius);
    for [x, y] in &dots.centers {
        let (x, y) = (short(f64::from(*x)), short(f64::from(*y)));
        let _ = writeln!(out, "<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"/>");
    }
    out.push_str("</g>\n");
}

fn veil(out: &mut String, dots: &Dots) -> Result<()> {
    let veil = Veil::new(dots, SHARPNESS);
    let Color([r, g, b]) = dots.color;
    let rgba: Vec<u8> = veil.alphas().flat_map(|alpha| [r, g, b, alpha]).collect();
    let png = file::png(&rgba, veil.width, veil.height, ExtendedColorType::Rgba8)?;
    let area = Area {
        left: f64::from(veil.left) / SHARPNESS,
        top: f64::from(veil.top) / SHARPNESS,
        width: f64::from(veil.width) / SHARPNESS,
        height: f64::from(veil.height) / SHARPNESS,
    };
    embed(out, area, &png, "");
    Ok(())
}

fn image(out: &mut String, area: Area, columns: usize, pixels: &[Color]) -> Result<()> {
    let rows = pixels.len() / columns.max(1);
    if rows == 0 {
        return Ok(());
    }
    // Not every viewer keeps enlarged pixels square: they come enlarged.
    let enlarged = |side: f64, count: usize| ((side / count as f64).round() as usize).clamp(1, 64);
    let (wide, high) = (enlarged(area.width, columns), enlarged(area.height, rows));
    let row = |y: usize| (0..columns * wide).flat_map(move |x| pixels[y / high * columns + x / wide].0);
    let rgb: Vec<u8> = (0..rows * high).flat_map(row).collect();
    let png = file::png(
        &rgb,
        (columns * wide) as u32,
        (rows * high) as u32,
        ExtendedColorType::Rgb8,
    )?;
    embed(out, area, &png, " style=\"image-rendering:pixelated\"");
    Ok(())
}

fn embed(out: &mut String, area: Area, png: &[u8], style: &str) {
    let _ = write!(
        out,
        "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\"{style} \
         href=\"data:image/png;base64,",
        short(area.left),
        short(area.top),
        short(area.width),
        short(area.height)
    );
    STANDARD.encode_string(png, out);
    out.push_str("\"/>\n");
}

fn words(out: &mut String, [x, y]: [f64; 2], text: &str, size: f64, color: Color, how: (Anchor, Direction)) {
    let anchor = match how.0 {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    let (x, y) = (short(x), short(y));
    let _ = write!(
        out,
        "<text x=\"{x}\" y=\"{y}\" font-size=\"{}\" fill=\"{}\"",
        short(size),
        hex(color)
    );
    if how.0 != Anchor::Start {
        let _ = write!(out, " text-anchor=\"{anchor}\"");
    }
    if how.1 == Direction::Upward {
        let _ = write!(out, " transform=\"rotate(-90 {x} {y})\"");
    }
    let length = short(font::width(text, size));
    let _ = writeln!(
        out,
        " textLength=\"{length}\" lengthAdjust=\"spacingAndGlyphs\">{}</text>",
        escaped(text)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_as_short_as_they_go() {
        assert_eq!(
            [short(1.0), short(0.256), short(-0.001), short(100.0)],
            ["1", "0.26", "0", "100"]
        );
    }
}
