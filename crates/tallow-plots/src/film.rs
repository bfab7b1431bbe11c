//! Pictures one after the other, as an animated GIF.

use std::path::Path;
use std::time::Duration;

use gif::Frame;

use crate::gif_file::{self, GifWriter, Looping, centiseconds, side};
use crate::{Drawing, Error, Result};

/// How hard the encoder looks for the best 256 colours of a frame: 1 is the slowest, 30 the fastest.
const SPEED: i32 = 10;

/// Shows finished pictures of one size in turn: image grids while they are sampled, curves while they grow.
///
/// ```no_run
/// # use tallow_plots::{Film, ImageGrid};
/// # let steps: Vec<Vec<f32>> = Vec::new();
/// let mut film = Film::new();
/// for (step, images) in steps.iter().enumerate() {
///     film = film.frame(ImageGrid::gray(28, 28).title(format!("step {step}")).images(images).drawing()?);
/// }
/// film.save("digits.gif")?;
/// # Ok::<(), tallow_plots::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Film {
    frames: Vec<Drawing>,
    delay: Duration,
    hold: Duration,
}

impl Default for Film {
    fn default() -> Self {
        Self::new()
    }
}

impl Film {
    /// A film without a frame, ten frames a second, the last one held for two seconds, then again from the start.
    #[must_use]
    pub fn new() -> Self {
        Self {
            frames: Vec::new(),
            delay: Duration::from_millis(100),
            hold: Duration::from_secs(2),
        }
    }

    /// Adds a picture.
    #[must_use]
    pub fn frame(mut self, drawing: Drawing) -> Self {
        self.frames.push(drawing);
        self
    }

    /// Sets how long a frame is shown, to the hundredth of a second.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sets how long the last frame is shown.
    #[must_use]
    pub fn hold_last(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// The bytes of the GIF file.
    ///
    /// # Errors
    ///
    /// When there is no frame, frames differ in size, or a size or delay is beyond what the format holds.
    pub fn to_gif(&self) -> Result<Vec<u8>> {
        let Some(first) = self.frames.first() else {
            return Err(Error::Empty {
                picture: "a film",
                missing: "frame",
            });
        };
        let delays = [
            centiseconds("the delay", self.delay)?,
            centiseconds("the hold", self.hold)?,
        ];
        let size @ (width, height) = (side(first.width())?, side(first.height())?);
        let encoded =
            |drawing: &Drawing| Frame::from_rgb_speed(width, height, drawing.to_rgb().as_raw(), SPEED);
        // The first frame's colours stand in the head of the file: some viewers read an empty table there as all black.
        let mut frame = encoded(first);
        let palette = frame.palette.take().unwrap_or_default();
        let mut writer = GifWriter::new(size, &palette, Looping::Forever)?;
        for (index, drawing) in self.frames.iter().enumerate() {
            let (w, h) = (drawing.width(), drawing.height());
            if (w, h) != (first.width(), first.height()) {
                return Err(Error::Encode {
                    format: "GIF",
                    reason: format!(
                        "frame {index} has {w} × {h} pixels and the first one {width} × {height}; give all one size"
                    ),
                });
            }
            if index > 0 {
                frame = encoded(drawing);
            }
            frame.delay = delays[usize::from(index + 1 == self.frames.len())];
            writer.write(&frame)?;
        }
        writer.finish()
    }

    /// Writes the film as `.gif`.
    ///
    /// # Errors
    ///
    /// When the path ends otherwise, the folder cannot be written, or [`Film::to_gif`] refuses.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        gif_file::save(path.as_ref(), || self.to_gif())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageGrid;

    fn drawing(size: usize, value: f32) -> Drawing {
        let image = vec![value; size * size];
        ImageGrid::gray(size, size).images(&image).drawing().unwrap()
    }

    #[test]
    fn every_frame_is_read_back_with_its_delay_and_its_gray() {
        let film = Film::new()
            .frame(drawing(8, 0.0))
            .frame(drawing(8, 0.5))
            .frame(drawing(8, 1.0))
            .delay(Duration::from_millis(200));
        let bytes = film.to_gif().unwrap();
        assert_eq!(bytes, film.to_gif().unwrap());
        let mut options = gif::DecodeOptions::new();
        options.set_color_output(gif::ColorOutput::RGBA);
        let mut decoder = options.read_info(bytes.as_slice()).unwrap();
        let head = decoder.global_palette().unwrap_or_default();
        assert!(
            head.iter().any(|value| *value > 0),
            "no colour in the head of the file"
        );
        let mut seen = Vec::new();
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            let (width, height) = (usize::from(frame.width), usize::from(frame.height));
            seen.push((frame.delay, frame.buffer[4 * (height / 2 * width + width / 2)]));
        }
        assert_eq!(
            seen.iter().map(|frame| frame.0).collect::<Vec<_>>(),
            [20, 20, 200]
        );
        for ((_, gray), wanted) in seen.iter().zip([0.0, 127.5, 255.0]) {
            assert!((f64::from(*gray) - wanted).abs() < 4.0, "{gray} is not {wanted}");
        }
    }

    #[test]
    fn no_frame_frames_of_two_sizes_and_other_endings_are_refused() {
        assert!(matches!(Film::new().to_gif(), Err(Error::Empty { .. })));
        let film = Film::new().frame(drawing(8, 0.0)).frame(drawing(40, 0.0));
        assert!(film.to_gif().unwrap_err().to_string().contains("frame 1"));
        assert!(matches!(film.save("film.png"), Err(Error::Extension { .. })));
    }
}
