//! The font that travels with the crate, so that no picture depends on what a machine has installed.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};

/// A subset of DejaVu Sans: Latin, Greek, signs of mathematics. Its licence lies beside it.
static DEJAVU: LazyLock<Option<FontRef<'static>>> =
    LazyLock::new(|| FontRef::try_from_slice(include_bytes!("../fonts/DejaVuSans.ttf")).ok());

/// The scale at which an em measures `size` pixels; ab_glyph counts in line heights.
fn px_scale(font: &FontRef<'_>, size: f64) -> PxScale {
    let em = font.units_per_em().unwrap_or(2048.0);
    PxScale::from(size as f32 * font.height_unscaled() / em)
}

/// Width in pixels of `text` set at `size` pixels per em.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    let Some(font) = DEJAVU.as_ref() else { return 0.0 };
    let scaled = font.as_scaled(px_scale(font, size));
    text.chars()
        .map(|c| f64::from(scaled.h_advance(font.glyph_id(c))))
        .sum()
}

/// Calls `pixel(x, y, coverage)` for every pixel that `text` touches when its baseline starts at `start`.
pub(crate) fn rasterize(text: &str, size: f64, start: [f64; 2], mut pixel: impl FnMut(i64, i64, f32)) {
    let Some(font) = DEJAVU.as_ref() else { return };
    let scale = px_scale(font, size);
    let scaled = font.as_scaled(scale);
    let mut pen = start[0] as f32;
    for c in text.chars() {
        let id = font.glyph_id(c);
        let glyph = id.with_scale_and_position(scale, point(pen, start[1] as f32));
        pen += scaled.h_advance(id);
        if let Some(outline) = font.outline_glyph(glyph) {
            let corner = outline.px_bounds().min;
            outline.draw(|x, y, coverage| {
                pixel(
                    i64::from(x) + corner.x as i64,
                    i64::from(y) + corner.y as i64,
                    coverage,
                );
            });
        }
    }
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
