//! One palette for all frames of an animation, from the colours that its drawings are mixed of.

use std::collections::HashMap;

use image::RgbImage;

use crate::style::Color;

/// Steps from the background to the ink: grid, frame and letters.
const GREYS: usize = 16;
/// Steps from the background to a cloud, and from one cloud to the other. Few steps compress well.
const MIXES: usize = 8;

/// At most 128 colours.
#[derive(Debug)]
pub(crate) struct Palette {
    colors: Vec<Color>,
}

impl Palette {
    /// Mixes of background and ink, and of background and two clouds.
    pub(crate) fn new(background: Color, ink: Color, [front, behind]: [Color; 2]) -> Self {
        let part = |i: usize, of: usize| i as f32 / of as f32;
        let mut colors: Vec<Color> = (0..GREYS)
            .map(|i| background.towards(ink, part(i, GREYS - 1)))
            .collect();
        for under in 0..MIXES {
            let under = background.towards(behind, 0.35 * part(under, MIXES - 1));
            colors.extend((1..=MIXES).map(|over| under.towards(front, part(over, MIXES))));
            colors.push(under);
        }
        colors.sort_unstable();
        colors.dedup();
        Self { colors }
    }

    /// Red, green and blue of every colour, one after another.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.colors.iter().flat_map(|color| color.0).collect()
    }

    /// The number of the nearest colour for every pixel.
    pub(crate) fn indices(&self, image: &RgbImage) -> Vec<u8> {
        let mut known: HashMap<[u8; 3], u8> = HashMap::new();
        image
            .pixels()
            .map(|pixel| *known.entry(pixel.0).or_insert_with(|| self.nearest(pixel.0)))
            .collect()
    }

    fn nearest(&self, rgb: [u8; 3]) -> u8 {
        let distance = |color: &Color| -> i32 {
            color
                .0
                .iter()
                .zip(rgb)
                .map(|(a, b)| (i32::from(*a) - i32::from(b)).pow(2))
                .sum()
        };
        let best = self
            .colors
            .iter()
            .enumerate()
            .min_by_key(|(_, color)| distance(color));
        best.map_or(0, |(index, _)| index as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::style::Theme;

    #[test]
    fn the_colours_of_a_theme_are_in_its_palette() {
        for theme in [Theme::Light, Theme::Dark] {
            let front = theme.category(0);
            let palette = Palette::new(theme.background(), theme.ink(), [front, theme.category(7)]);
            assert!(palette.colors.len() <= 128, "{}", palette.colors.len());
            for color in [theme.background(), theme.ink(), front] {
                let index = palette.nearest(color.0);
                assert_eq!(palette.colors[usize::from(index)], color);
            }
        }
    }
}
