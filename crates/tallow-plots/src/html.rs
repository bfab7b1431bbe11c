//! Elements of a page: escaped text, pictures that the page itself holds.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Result;
use crate::drawing::Drawing;
use crate::style::Style;

/// Longer SVG documents are embedded as PNG, with two pixels per unit.
const LONGEST_SVG: usize = 120_000;

/// A picture as inline SVG, or as PNG where that would be long.
pub(crate) fn picture(
    class: &str,
    caption: &str,
    style: Style,
    draw: &impl Fn(Style) -> Result<Drawing>,
) -> Result<String> {
    let drawing = draw(style)?;
    let svg = drawing.to_svg()?;
    if svg.len() <= LONGEST_SVG {
        let label = escaped(caption);
        let svg = svg.replacen(
            "<svg ",
            &format!("<svg class=\"{class}\" role=\"img\" aria-label=\"{label}\" "),
            1,
        );
        return Ok(svg);
    }
    let sharp = draw(style.scale(2))?;
    Ok(image(
        class,
        caption,
        "png",
        &sharp.to_png()?,
        Some(drawing.width()),
    ))
}

/// Bytes of an image as an element that holds them.
pub(crate) fn image(class: &str, caption: &str, kind: &str, bytes: &[u8], width: Option<u32>) -> String {
    let width = width.map_or(String::new(), |width| format!(" width=\"{width}\""));
    let caption = escaped(caption);
    let data = STANDARD.encode(bytes);
    format!("<img class=\"{class}\" alt=\"{caption}\"{width} src=\"data:image/{kind};base64,{data}\">\n")
}

/// Text that is text wherever it stands, between tags or in an attribute; control characters are blanks.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Whether a cell belongs to a column of numbers.
pub(crate) fn is_number(text: &str) -> bool {
    let text = text.trim().replace('−', "-");
    text.is_empty() || text.trim_end_matches([' ', '%', 's']).parse::<f64>().is_ok()
}
