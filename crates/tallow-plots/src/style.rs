//! Colours that colour-blind readers can tell apart, light and dark themes, and the size of a picture.
//!
//! Categories: the eight colours of Okabe & Ito 2008, "Color Universal Design". Values: viridis, by S. van der Walt and
//! N. Smith (2015, dedicated to the public domain under CC0), linear between 17 of its colours.

use crate::drawing::{MAX_PIXELS, MAX_SIDE};
use crate::{Error, Result};

/// An opaque colour: red, green and blue, 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Color(pub [u8; 3]);

impl Color {
    /// The colour a fraction `part` of the way to `other`; `part` is clipped to `[0, 1]`, NaN counts as 0.
    #[must_use]
    pub fn towards(self, other: Self, part: f32) -> Self {
        let part = if part > 0.0 { part.min(1.0) } else { 0.0 };
        let mix = |from: u8, to: u8| {
            let (from, to) = (f32::from(from), f32::from(to));
            (from + (to - from) * part + 0.5) as u8
        };
        let (Self(from), Self(to)) = (self, other);
        Self([mix(from[0], to[0]), mix(from[1], to[1]), mix(from[2], to[2])])
    }
}

/// Okabe and Ito's palette, strongest contrast on white first: blue, vermilion, green, purple, orange, sky blue,
/// yellow, black.
pub const OKABE_ITO: [Color; 8] = [
    Color([0, 114, 178]),
    Color([213, 94, 0]),
    Color([0, 158, 115]),
    Color([204, 121, 167]),
    Color([230, 159, 0]),
    Color([86, 180, 233]),
    Color([240, 228, 66]),
    Color([0, 0, 0]),
];

const VIRIDIS: [Color; 17] = [
    Color([68, 1, 84]),
    Color([72, 24, 106]),
    Color([71, 45, 123]),
    Color([66, 64, 134]),
    Color([59, 82, 139]),
    Color([51, 99, 141]),
    Color([44, 114, 142]),
    Color([38, 130, 142]),
    Color([33, 145, 140]),
    Color([31, 160, 136]),
    Color([40, 174, 128]),
    Color([63, 188, 115]),
    Color([94, 201, 98]),
    Color([132, 212, 75]),
    Color([173, 220, 48]),
    Color([216, 226, 25]),
    Color([253, 231, 37]),
];

/// The colour of a value in `[0, 1]`, dark to bright; values outside are clipped, NaN counts as 0.
#[must_use]
pub fn viridis(value: f64) -> Color {
    let last = VIRIDIS.len() - 1;
    let position = if value > 0.0 { value.min(1.0) } else { 0.0 } * last as f64;
    let below = (position as usize).min(last - 1);
    VIRIDIS[below].towards(VIRIDIS[below + 1], (position - below as f64) as f32)
}

/// Which background a picture is made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// Black on white: paper, most web pages.
    #[default]
    Light,
    /// Light on near-black.
    Dark,
}

impl Theme {
    /// The colour behind everything.
    #[must_use]
    pub fn background(self) -> Color {
        match self {
            Self::Light => Color([255, 255, 255]),
            Self::Dark => Color([22, 24, 29]),
        }
    }

    /// The colour of words and frames.
    #[must_use]
    pub fn ink(self) -> Color {
        match self {
            Self::Light => Color([38, 38, 38]),
            Self::Dark => Color([224, 224, 224]),
        }
    }

    /// The colour of grid lines.
    #[must_use]
    pub fn grid(self) -> Color {
        self.background().towards(self.ink(), 0.11)
    }

    /// The colour of category `index`, counted around the palette. Black and blue give way to lighter colours on dark.
    #[must_use]
    pub fn category(self, index: usize) -> Color {
        match (self, index % OKABE_ITO.len()) {
            (Self::Dark, 0) => OKABE_ITO[5],
            (Self::Dark, 5) => OKABE_ITO[0],
            (Self::Dark, 7) => self.ink(),
            (_, index) => OKABE_ITO[index],
        }
    }
}

/// How a picture looks: theme, size of a panel, panels in a row, size of dots, pixels per unit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Style {
    theme: Theme,
    panel: Option<(u32, u32)>,
    columns: Option<usize>,
    dots: Option<(f64, f64)>,
    scale: Option<u32>,
}

impl Style {
    /// Black on white, the default.
    #[must_use]
    pub fn light() -> Self {
        Self::default()
    }

    /// Light on near-black.
    #[must_use]
    pub fn dark() -> Self {
        Self {
            theme: Theme::Dark,
            ..Self::default()
        }
    }

    /// Sets the width and height of one panel, frame to frame, without titles and labels.
    #[must_use]
    pub fn panel_size(self, width: u32, height: u32) -> Self {
        Self {
            panel: Some((width, height)),
            ..self
        }
    }

    /// Sets how many panels stand in one row; by default rows are balanced and hold at most four.
    #[must_use]
    pub fn columns(self, columns: usize) -> Self {
        Self {
            columns: Some(columns),
            ..self
        }
    }

    /// Sets the radius in units and the opacity in (0, 1] of points; by default both shrink as points become many.
    #[must_use]
    pub fn dots(self, radius: f64, opacity: f64) -> Self {
        Self {
            dots: Some((radius, opacity)),
            ..self
        }
    }

    /// Draws with `scale` × `scale` pixels where there was one: 2 for sharp screens and print. At most 8.
    #[must_use]
    pub fn scale(self, scale: u32) -> Self {
        Self {
            scale: Some(scale),
            ..self
        }
    }

    /// The theme.
    #[must_use]
    pub fn theme(self) -> Theme {
        self.theme
    }

    /// Width and height of a panel, where `usual` is the picture's own choice.
    pub(crate) fn panel_or(self, usual: (u32, u32)) -> Result<(f64, f64)> {
        let (width, height) = self.panel.unwrap_or(usual);
        let drawable = |side: u32| (1..=MAX_SIDE).contains(&u64::from(side));
        if !drawable(width) || !drawable(height) {
            let (width, height) = (u64::from(width), u64::from(height));
            return Err(Error::Size {
                width,
                height,
                max_side: MAX_SIDE,
                max_pixels: MAX_PIXELS,
            });
        }
        Ok((f64::from(width), f64::from(height)))
    }

    /// How many of `panels` stand in one row, where at most `usual` do by default.
    pub(crate) fn columns_of(self, panels: usize, usual: usize) -> Result<usize> {
        match self.columns {
            None => {
                let rows = panels.div_ceil(usual).max(1);
                Ok(panels.div_ceil(rows).max(1))
            }
            Some(0) => Err(Error::Parameter {
                name: "columns",
                value: 0.0,
                allowed: "at least 1",
            }),
            Some(columns) => Ok(columns.min(panels.max(1))),
        }
    }

    /// Pixels per unit.
    pub(crate) fn pixels(self) -> Result<u32> {
        match self.scale.unwrap_or(1) {
            scale @ 1..=8 => Ok(scale),
            scale => Err(Error::Parameter {
                name: "scale",
                value: f64::from(scale),
                allowed: "from 1 to 8",
            }),
        }
    }

    /// Radius and opacity for the points of a panel that holds `count`.
    pub(crate) fn dots_for(self, count: usize) -> Result<(f64, f32)> {
        let (radius, opacity) = self.dots.unwrap_or_else(|| {
            let radius = match count {
                0..500 => 2.4,
                500..5_000 => 1.7,
                5_000..50_000 => 1.2,
                _ => 0.9,
            };
            (radius, (35.0 / (count.max(1) as f64).sqrt()).clamp(0.04, 0.8))
        });
        if !(radius > 0.0 && radius <= 50.0) {
            return Err(Error::Parameter {
                name: "the radius of dots",
                value: radius,
                allowed: "in (0, 50]",
            });
        }
        if !(opacity > 0.0 && opacity <= 1.0) {
            return Err(Error::Parameter {
                name: "the opacity of dots",
                value: opacity,
                allowed: "in (0, 1]",
            });
        }
        Ok((radius, opacity as f32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luminance(Color([r, g, b]): Color) -> f64 {
        let linear = |v: u8| (f64::from(v) / 255.0).powf(2.2);
        0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
    }

    #[test]
    fn viridis_grows_brighter_all_the_way() {
        for i in 0..255 {
            let (low, high) = (f64::from(i) / 255.0, f64::from(i + 1) / 255.0);
            assert!(
                luminance(viridis(low)) <= luminance(viridis(high)) + 1e-3,
                "at {low}"
            );
        }
        assert!(luminance(viridis(1.0)) > 10.0 * luminance(viridis(0.0)));
    }

    #[test]
    fn values_outside_of_the_map_are_clipped() {
        assert_eq!(viridis(-3.0), viridis(0.0));
        assert_eq!(viridis(7.0), viridis(1.0));
        assert_eq!(viridis(f64::NAN), viridis(0.0));
    }

    #[test]
    fn words_contrast_with_their_background() {
        for theme in [Theme::Light, Theme::Dark] {
            let (a, b) = (
                luminance(theme.ink()) + 0.05,
                luminance(theme.background()) + 0.05,
            );
            assert!((a / b).max(b / a) > 7.0, "{theme:?}: WCAG AAA asks for 7");
        }
    }

    #[test]
    fn rows_of_panels_are_balanced() {
        let columns = |n| Style::light().columns_of(n, 4).unwrap();
        assert_eq!(
            [columns(1), columns(4), columns(5), columns(6), columns(9)],
            [1, 4, 3, 3, 3]
        );
    }
}
