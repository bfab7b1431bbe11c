//! Sheets of small images: what a model of pixels has drawn.

use std::ops::Range;
use std::path::Path;

use crate::axis::{Axis, Spacing};
use crate::drawing::{Anchor, Area, Drawing, Shape};
use crate::panels::{LABEL, TITLE, fitted};
use crate::style::{Color, Style};
use crate::{Error, Result, font};

/// What a pixel that is not finite looks like.
const BROKEN: Color = Color([255, 0, 255]);
const GAP: f64 = 4.0;
/// A title may widen the page up to this.
const WIDEST_TITLE: f64 = 480.0;
const MARGIN: f64 = 12.0;

/// Shows small images in rows and columns, every pixel a square of whole pixels.
///
/// ```no_run
/// # use tallow_plots::ImageGrid;
/// # let digits = vec![0.0f32; 16 * 28 * 28];
/// ImageGrid::gray(28, 28).title("samples").images(&digits).range(-1.0..1.0).columns(8).save("digits.png")?;
/// # Ok::<(), tallow_plots::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ImageGrid {
    width: usize,
    height: usize,
    channels: usize,
    title: String,
    values: Vec<f32>,
    range: Range<f64>,
    columns: Option<usize>,
    upscale: Option<usize>,
    row_labels: Vec<String>,
    column_labels: Vec<String>,
    style: Style,
}

impl ImageGrid {
    /// A sheet of images of one channel, `width` × `height` pixels each.
    #[must_use]
    pub fn gray(width: usize, height: usize) -> Self {
        Self::of(width, height, 1)
    }

    /// A sheet of images of three channels, `width` × `height` pixels each.
    #[must_use]
    pub fn rgb(width: usize, height: usize) -> Self {
        Self::of(width, height, 3)
    }

    fn of(width: usize, height: usize, channels: usize) -> Self {
        Self {
            width,
            height,
            channels,
            title: String::new(),
            values: Vec::new(),
            range: 0.0..1.0,
            columns: None,
            upscale: None,
            row_labels: Vec::new(),
            column_labels: Vec::new(),
            style: Style::default(),
        }
    }

    /// Sets the title.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Adds images: one batch in the order of a (N, C, H, W) tensor, row by row of the sheet. May be called again.
    #[must_use]
    pub fn images(mut self, values: &[f32]) -> Self {
        self.values.extend_from_slice(values);
        self
    }

    /// Sets which values are black and white, by default 0 and 1; others are clipped. What is not finite is magenta.
    #[must_use]
    pub fn range(mut self, range: Range<f64>) -> Self {
        self.range = range;
        self
    }

    /// Sets the number of columns; by default as many as there are column labels, or a nearly square sheet.
    #[must_use]
    pub fn columns(mut self, columns: usize) -> Self {
        self.columns = Some(columns);
        self
    }

    /// Makes every pixel a square of `factor` × `factor`; by default images are at least 56 pixels wide.
    #[must_use]
    pub fn upscale(mut self, factor: usize) -> Self {
        self.upscale = Some(factor);
        self
    }

    /// Sets the labels at the left, one for each row from the top; rows beyond stay without.
    #[must_use]
    pub fn row_labels<L: AsRef<str>>(mut self, labels: &[L]) -> Self {
        self.row_labels = labels.iter().map(|label| label.as_ref().to_owned()).collect();
        self
    }

    /// Sets the labels above the columns, one for each from the left; columns beyond stay without.
    #[must_use]
    pub fn column_labels<L: AsRef<str>>(mut self, labels: &[L]) -> Self {
        self.column_labels = labels.iter().map(|label| label.as_ref().to_owned()).collect();
        self
    }

    /// Sets theme and pixels per unit.
    #[must_use]
    pub fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    /// The picture in memory.
    ///
    /// # Errors
    ///
    /// When there is no image, the values are no whole number of images, the range is empty, or the sheet too large.
    pub fn drawing(&self) -> Result<Drawing> {
        let each = self
            .width
            .saturating_mul(self.height)
            .saturating_mul(self.channels);
        if self.values.is_empty() || each == 0 {
            return Err(Error::Empty {
                picture: "a sheet of images",
                missing: "image of at least one pixel",
            });
        }
        if !self.values.len().is_multiple_of(each) {
            return Err(Error::Length {
                what: format!(
                    "values of images of {} x {} pixels and {} channels",
                    self.width, self.height, self.channels
                ),
                expected: self.values.len().div_ceil(each) * each,
                got: self.values.len(),
            });
        }
        let range = Axis::given("the range of pixels", &self.range, Spacing::Linear)?;
        let count = self.values.len() / each;
        let columns = self.columns_of(count)?;
        let factor = self.factor()?;
        let tile = ((self.width * factor) as f64, (self.height * factor) as f64);
        let (mut drawing, corner) = self.page(tile, columns, count.div_ceil(columns))?;
        for (index, values) in self.values.chunks_exact(each).enumerate() {
            let (column, row) = ((index % columns) as f64, (index / columns) as f64);
            let area = Area {
                left: corner[0] + column * (tile.0 + GAP),
                top: corner[1] + row * (tile.1 + GAP),
                width: tile.0,
                height: tile.1,
            };
            let pixels = self.pixels(values, range);
            drawing.shapes.push(Shape::Image {
                area,
                columns: self.width,
                pixels,
            });
        }
        Ok(drawing)
    }

    /// Writes the picture as `.png` or `.svg`.
    ///
    /// # Errors
    ///
    /// What [`ImageGrid::drawing`] and [`Drawing::save`] refuse.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.drawing()?.save(path)
    }

    fn columns_of(&self, count: usize) -> Result<usize> {
        match self.columns {
            Some(0) => Err(Error::Parameter {
                name: "columns",
                value: 0.0,
                allowed: "at least 1",
            }),
            Some(columns) => Ok(columns),
            None if !self.column_labels.is_empty() => Ok(self.column_labels.len()),
            None => Ok((count as f64).sqrt().ceil() as usize),
        }
    }

    fn factor(&self) -> Result<usize> {
        let usual = 56usize.div_ceil(self.width).max(1);
        match self.upscale.unwrap_or(usual) {
            factor @ 1..=64 => Ok(factor),
            factor => Err(Error::Parameter {
                name: "upscale",
                value: factor as f64,
                allowed: "from 1 to 64",
            }),
        }
    }

    /// The page with its labels, and where the first image goes.
    fn page(&self, tile: (f64, f64), columns: usize, rows: usize) -> Result<(Drawing, [f64; 2])> {
        let ink = self.style.theme().ink();
        let widest = self
            .row_labels
            .iter()
            .map(|l| font::width(l, LABEL))
            .fold(0.0, f64::max)
            .min(240.0);
        let labelled = MARGIN + if widest > 0.0 { widest.ceil() + 8.0 } else { 0.0 };
        let labels_height = if self.column_labels.iter().all(String::is_empty) {
            0.0
        } else {
            20.0
        };
        let top = MARGIN + if self.title.is_empty() { 0.0 } else { 26.0 } + labels_height;
        let body = (
            columns as f64 * (tile.0 + GAP) - GAP,
            rows as f64 * (tile.1 + GAP) - GAP,
        );
        // A narrow sheet stands in the middle of a page that is as wide as its title, within reason.
        let smallest = font::width(&self.title, TITLE - 3.0).ceil().min(WIDEST_TITLE) + 2.0 * MARGIN;
        let spare = (smallest - (labelled + body.0 + MARGIN)).max(0.0);
        let left = labelled + (spare / 2.0).floor();
        let page = (labelled + body.0 + MARGIN + spare, top + body.1 + MARGIN);
        let mut drawing = Drawing::new(page.0, page.1, &self.title, self.style)?;

        let (title, size) = fitted(&self.title, TITLE, page.0 - 2.0 * MARGIN);
        let over = if font::width(&title, size) <= body.0 {
            left + body.0 / 2.0
        } else {
            page.0 / 2.0
        };
        drawing.text([over, MARGIN + TITLE - 2.0], &title, size, ink, Anchor::Middle);
        for (row, label) in self.row_labels.iter().take(rows).enumerate() {
            let y = top + row as f64 * (tile.1 + GAP) + tile.1 / 2.0 + 4.5;
            drawing.text(
                [left - 8.0, y],
                &font::fit(label, LABEL, 240.0),
                LABEL,
                ink,
                Anchor::End,
            );
        }
        for (column, label) in self.column_labels.iter().take(columns).enumerate() {
            let x = left + column as f64 * (tile.0 + GAP) + tile.0 / 2.0;
            let (label, size) = fitted(label, LABEL, tile.0 + GAP - 2.0);
            drawing.text([x, top - 6.0], &label, size, ink, Anchor::Middle);
        }
        Ok((drawing, [left, top]))
    }

    /// The colours of one image, channel planes merged.
    fn pixels(&self, values: &[f32], range: Axis) -> Vec<Color> {
        let plane = self.width * self.height;
        let byte = |value: f32| (range.fraction(f64::from(value)).clamp(0.0, 1.0) * 255.0 + 0.5) as u8;
        let pixel = |index: usize| {
            let channel = |c: usize| {
                values[if self.channels == 1 {
                    index
                } else {
                    c * plane + index
                }]
            };
            let channels = [channel(0), channel(1), channel(2)];
            if channels.iter().all(|v| v.is_finite()) {
                Color(channels.map(byte))
            } else {
                BROKEN
            }
        };
        (0..plane).map(pixel).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_as_wide_as_its_title() {
        let narrow = |title: &str| {
            ImageGrid::gray(8, 8)
                .images(&[0.0; 64])
                .title(title)
                .drawing()
                .unwrap()
        };
        let title = "a title that is wider than one image";
        let drawing = narrow(title);
        assert!(f64::from(drawing.width()) >= font::width(title, TITLE - 3.0) + 2.0 * MARGIN);
        let written = |shape: &Shape| matches!(shape, Shape::Text { text, .. } if text == title);
        assert!(drawing.shapes.iter().any(written), "the whole title");
        assert_eq!(narrow("a").width(), narrow("").width());
    }

    #[test]
    fn every_pixel_becomes_a_square_of_its_grey() {
        let sheet = ImageGrid::gray(2, 1)
            .images(&[-1.0, 1.0, 0.0, f32::NAN])
            .range(-1.0..1.0)
            .columns(1)
            .upscale(3);
        let rgb = sheet.drawing().unwrap().to_rgb();
        let at = |column: u32, row: u32, inner: u32| {
            rgb.get_pixel(12 + 3 * column + inner, 12 + 7 * row + inner).0
        };
        for inner in 0..3 {
            assert_eq!(at(0, 0, inner), [0; 3]);
            assert_eq!(at(1, 0, inner), [255; 3]);
            assert_eq!(at(0, 1, inner), [128; 3]);
            assert_eq!(at(1, 1, inner), BROKEN.0);
        }
    }

    #[test]
    fn channels_come_in_planes() {
        let sheet = ImageGrid::rgb(1, 1).images(&[1.0, 0.0, 0.5]).upscale(1);
        assert_eq!(
            sheet.drawing().unwrap().to_rgb().get_pixel(12, 12).0,
            [255, 0, 128]
        );
    }

    #[test]
    fn half_an_image_is_refused() {
        let error = ImageGrid::gray(2, 2).images(&[0.0; 6]).drawing().unwrap_err();
        assert!(
            matches!(
                error,
                Error::Length {
                    expected: 8,
                    got: 6,
                    ..
                }
            ),
            "{error}"
        );
        assert!(matches!(
            ImageGrid::gray(0, 2).images(&[0.0; 6]).drawing(),
            Err(Error::Empty { .. })
        ));
    }
}
