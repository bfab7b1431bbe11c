//! A picture before it is a file: a list of shapes, which becomes pixels or SVG.

use std::path::Path;

use image::RgbImage;

use crate::style::{Color, Style};
use crate::{Error, Result, file, raster, svg};

/// The longest side of a picture, in pixels.
pub(crate) const MAX_SIDE: u64 = 16_384;
/// The largest area of a picture, in pixels: 256 MiB while it is painted, 192 MiB of RGB after.
pub(crate) const MAX_PIXELS: u64 = 1 << 26;

/// A finished picture in memory, ready to be written, embedded or compared.
///
/// Every picture of this crate has `drawing()`, which makes one, and `save()`, which writes it at once.
#[derive(Clone, Debug)]
pub struct Drawing {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) scale: u32,
    pub(crate) title: String,
    pub(crate) background: Color,
    pub(crate) shapes: Vec<Shape>,
}

/// A rectangle of the page, in units; y runs downward.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Area {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

impl Area {
    pub(crate) fn right(self) -> f64 {
        self.left + self.width
    }

    pub(crate) fn bottom(self) -> f64 {
        self.top + self.height
    }

    pub(crate) fn middle(self) -> [f64; 2] {
        [self.left + self.width / 2.0, self.top + self.height / 2.0]
    }
}

/// Where a text is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// Which way a text runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Across,
    Upward,
}

/// Many equal semi-transparent discs; where they overlap, what shines through is multiplied.
#[derive(Clone, Debug)]
pub(crate) struct Dots {
    pub(crate) centers: Vec<[f32; 2]>,
    pub(crate) radius: f64,
    pub(crate) color: Color,
    pub(crate) opacity: f32,
    pub(crate) clip: Area,
}

/// One thing on the page, in units.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Path {
        points: Vec<[f64; 2]>,
        width: f64,
        color: Color,
        opacity: f32,
    },
    Dots(Dots),
    Image {
        area: Area,
        columns: usize,
        pixels: Vec<Color>,
    },
    Text {
        at: [f64; 2],
        text: String,
        size: f64,
        color: Color,
        anchor: Anchor,
        direction: Direction,
    },
}

impl Drawing {
    /// An empty page of `width` × `height` units.
    pub(crate) fn new(width: f64, height: f64, title: &str, style: Style) -> Result<Self> {
        let scale = style.pixels()?;
        let pixels = |side: f64| (side.ceil() as u64).saturating_mul(u64::from(scale));
        let (wide, high) = (pixels(width), pixels(height));
        let fits = |side| (1..=MAX_SIDE).contains(&side);
        if !fits(wide) || !fits(high) || wide * high > MAX_PIXELS {
            return Err(Error::Size {
                width: wide,
                height: high,
                max_side: MAX_SIDE,
                max_pixels: MAX_PIXELS,
            });
        }
        Ok(Self {
            width: width.ceil() as u32,
            height: height.ceil() as u32,
            scale,
            title: title.to_owned(),
            background: style.theme().background(),
            shapes: Vec::new(),
        })
    }

    /// Width in pixels.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width * self.scale
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height * self.scale
    }

    /// The picture as pixels: the same bits on every run and any number of threads.
    #[must_use]
    pub fn to_rgb(&self) -> RgbImage {
        raster::paint(self)
    }

    /// The picture as the bytes of a PNG file.
    ///
    /// # Errors
    ///
    /// When the encoder refuses the pixels.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        file::png(
            self.to_rgb().as_raw(),
            self.width(),
            self.height(),
            image::ExtendedColorType::Rgb8,
        )
    }

    /// The picture as an SVG document.
    ///
    /// Texts are pinned to the widths of the font that the crate ships, whatever font the viewer has.
    ///
    /// # Errors
    ///
    /// When an image inside of it cannot be encoded.
    pub fn to_svg(&self) -> Result<String> {
        svg::write(self)
    }

    /// Writes the picture; the path's ending, `.png` or `.svg`, chooses the format.
    ///
    /// The file is written aside and renamed, so that a failure leaves nothing half-written.
    ///
    /// # Errors
    ///
    /// When the ending is another, or the folder cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let bytes = match file::ending(path).as_str() {
            "png" => self.to_png()?,
            "svg" => self.to_svg()?.into_bytes(),
            _ => {
                return Err(Error::Extension {
                    path: path.to_owned(),
                    allowed: ".png or .svg",
                });
            }
        };
        file::replace(path, &bytes)
    }

    /// Adds a line through `points`.
    pub(crate) fn path(&mut self, points: Vec<[f64; 2]>, width: f64, color: Color, opacity: f32) {
        self.shapes.push(Shape::Path {
            points,
            width,
            color,
            opacity,
        });
    }

    /// Adds a text that runs from left to right.
    pub(crate) fn text(&mut self, at: [f64; 2], text: &str, size: f64, color: Color, anchor: Anchor) {
        self.write(at, text, size, color, (anchor, Direction::Across));
    }

    /// Adds a text that runs upward, as the label of a y axis does.
    pub(crate) fn upward(&mut self, at: [f64; 2], text: &str, size: f64, color: Color) {
        self.write(at, text, size, color, (Anchor::Middle, Direction::Upward));
    }

    fn write(&mut self, at: [f64; 2], text: &str, size: f64, color: Color, how: (Anchor, Direction)) {
        let (anchor, direction) = how;
        if !text.is_empty() {
            self.shapes.push(Shape::Text {
                at,
                text: text.to_owned(),
                size,
                color,
                anchor,
                direction,
            });
        }
    }
}
