//! The font that travels with the crate, so that no picture depends on what a machine has installed.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, OutlineCurve};
use tiny_skia::{Path, PathBuilder};

/// A subset of DejaVu Sans: Latin, Greek, signs of mathematics. Its licence, that of Bitstream Vera, lies beside it.
static DEJAVU: LazyLock<Option<FontRef<'static>>> =
    LazyLock::new(|| FontRef::try_from_slice(include_bytes!("../fonts/DejaVuSans.ttf")).ok());

/// Pixels per unit of the font, when an em measures `size` pixels.
fn unit(font: &FontRef<'_>, size: f64) -> f64 {
    size / f64::from(font.units_per_em().unwrap_or(2048.0))
}

/// Width in pixels of `text` set at `size` pixels per em.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    let Some(font) = DEJAVU.as_ref() else { return 0.0 };
    let advance = |c| f64::from(font.h_advance_unscaled(font.glyph_id(c)));
    text.chars().map(advance).sum::<f64>() * unit(font, size)
}

/// The outline of `text` in pixels, its baseline running rightward from the origin; `None` if there is no ink.
pub(crate) fn outline(text: &str, size: f64) -> Option<Path> {
    let font = DEJAVU.as_ref()?;
    let unit = unit(font, size);
    let mut path = PathBuilder::new();
    let mut start = 0.0;
    for c in text.chars() {
        let id = font.glyph_id(c);
        if let Some(glyph) = font.outline(id) {
            trace(&mut path, &glyph.curves, |p| {
                // The font's y runs upward, the page's downward.
                let (x, y) = (f64::from(p.x) + start, -f64::from(p.y));
                ((x * unit) as f32, (y * unit) as f32)
            });
        }
        start += f64::from(font.h_advance_unscaled(id));
    }
    path.finish()
}

/// Adds the contours of a glyph; one ends where the next curve starts elsewhere.
fn trace(path: &mut PathBuilder, curves: &[OutlineCurve], place: impl Fn(ab_glyph::Point) -> (f32, f32)) {
    let mut pen = None;
    for curve in curves {
        let (OutlineCurve::Line(from, to)
        | OutlineCurve::Quad(from, _, to)
        | OutlineCurve::Cubic(from, _, _, to)) = curve;
        if pen != Some(*from) {
            path.close();
            let (x, y) = place(*from);
            path.move_to(x, y);
        }
        pen = Some(*to);
        let (x, y) = place(*to);
        match curve {
            OutlineCurve::Line(..) => path.line_to(x, y),
            OutlineCurve::Quad(_, bend, _) => {
                let bend = place(*bend);
                path.quad_to(bend.0, bend.1, x, y);
            }
            OutlineCurve::Cubic(_, first, second, _) => {
                let (first, second) = (place(*first), place(*second));
                path.cubic_to(first.0, first.1, second.0, second.1, x, y);
            }
        }
    }
    path.close();
}

/// `text` on one line, free of characters that neither the font nor XML has, cut with "…" to fit `room` pixels.
pub(crate) fn fit(text: &str, size: f64, room: f64) -> String {
    let clean: String = text
        .chars()
        .map(|c| match c {
            c if c.is_control() => ' ',
            '\u{FFFE}' | '\u{FFFF}' => '\u{FFFD}',
            c => c,
        })
        .collect();
    if width(&clean, size) <= room {
        return clean;
    }
    let mut kept: Vec<char> = Vec::new();
    let mut used = width("…", size);
    for c in clean.chars() {
        used += width(c.encode_utf8(&mut [0; 4]), size);
        if used > room {
            break;
        }
        kept.push(c);
    }
    let kept: String = kept.into_iter().collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_travels_with_its_licence() {
        let licence = include_str!("../fonts/LICENSE-DejaVu.txt");
        assert!(
            licence.contains("Bitstream Vera Fonts Copyright") && licence.contains("Arev Fonts Copyright")
        );
    }

    #[test]
    fn every_sign_that_plots_need_has_a_glyph() {
        let font = DEJAVU.as_ref().expect("the font parses");
        for c in "Az09~éßαωΩ̂₀₉ₜₙ⁰⁹⁻−·×≤≥∞√∂∇ℓ→←↔≈∈∑∫±…ŷ".chars()
        {
            assert_ne!(font.glyph_id(c).0, 0, "{c} (U+{:04X})", c as u32);
        }
    }

    #[test]
    fn widths_add_up_and_grow_with_the_size() {
        let (a, b) = (width("NFE", 12.0), width("loss", 12.0));
        assert!((width("NFEloss", 12.0) - a - b).abs() < 1e-4);
        assert!((width("NFE", 24.0) - 2.0 * a).abs() < 1e-3);
    }

    #[test]
    fn letters_stand_on_the_baseline_within_their_width() {
        let bounds = outline("HE", 100.0).unwrap().bounds();
        assert!(
            (bounds.bottom()).abs() < 0.1 && (bounds.height() - 72.9).abs() < 0.1,
            "{bounds:?}"
        );
        assert!(bounds.left() > 0.0 && f64::from(bounds.right()) < width("HE", 100.0));
        assert!(outline(" ", 100.0).is_none());
    }

    #[test]
    fn a_hat_takes_no_room() {
        assert_eq!(width("x\u{302}", 12.0), width("x", 12.0));
    }

    #[test]
    fn a_title_that_is_too_long_is_cut_with_an_ellipsis() {
        let cut = fit(
            "a title that goes on for much longer than its panel is wide",
            14.0,
            120.0,
        );
        assert!(cut.ends_with('…') && width(&cut, 14.0) <= 120.0, "{cut}");
        assert_eq!(fit("two\nlines", 14.0, 500.0), "two lines");
    }
}
