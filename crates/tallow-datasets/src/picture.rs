//! One PNG or JPEG file as bytes of a given size.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::{DynamicImage, ImageDecoder, ImageFormat};

use crate::resampled::{Axis, resampled};
use crate::{Error, Limits, Result};

/// What becomes of the colours of a picture; transparency is dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// One channel of brightness.
    Grey,
    /// Red, green and blue.
    #[default]
    Rgb,
}

/// How a picture is brought to a height and width of another ratio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fit {
    /// As large a part of its middle as has the right ratio.
    #[default]
    CentreCrop,
    /// All of it, stretched.
    Stretch,
}

/// How every picture of a folder is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) size: [usize; 2],
    pub(crate) colour: Colour,
    pub(crate) fit: Fit,
}

impl Colour {
    pub(crate) fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

impl Wanted {
    /// The planes of a file.
    pub(crate) fn open(&self, path: &Path, limits: Limits) -> Result<Vec<u8>> {
        let failed = |source| Error::file(path, source);
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let length = limits.check(path, u128::from(length))?;
        let mut bytes = Vec::with_capacity(length);
        file.take(length as u64).read_to_end(&mut bytes).map_err(failed)?;
        self.read(path, &bytes, limits)
    }

    /// The planes of a file's bytes.
    pub(crate) fn read(&self, path: &Path, bytes: &[u8], limits: Limits) -> Result<Vec<u8>> {
        let picture = decoded(path, bytes, limits)?;
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let pixels = match self.colour {
            Colour::Grey => picture.into_luma8().into_raw(),
            Colour::Rgb => picture.into_rgb8().into_raw(),
        };
        let (lines, columns) = (height as f64, width as f64);
        let part = match self.fit {
            Fit::Stretch => [lines, columns],
            Fit::CentreCrop => {
                let [h, w] = self.size.map(|side| side as f64);
                let scale = (lines / h).min(columns / w);
                [h * scale, w * scale]
            }
        };
        let axis = |source: usize, part: f64, result| Axis {
            source,
            part: ((source as f64 - part) / 2.0, part),
            result,
        };
        let vertical = axis(height, part[0], self.size[0]);
        let horizontal = axis(width, part[1], self.size[1]);
        Ok(resampled(&pixels, self.colour.channels(), vertical, horizontal))
    }
}

/// Bytes that a decoder may need for a picture: eight for a pixel, of whole blocks of 32 × 32.
fn work(width: u32, height: u32) -> u128 {
    let side = |pixels: u32| u128::from(pixels).next_multiple_of(32);
    8 * side(width) * side(height)
}

/// The picture, if its declared size is within the limit and all of it is there.
fn decoded(path: &Path, bytes: &[u8], limits: Limits) -> Result<DynamicImage> {
    let broken = |error: image::ImageError| Error::Picture {
        path: path.to_owned(),
        problem: error.to_string(),
    };
    let malformed = |what, value: &str, allowed: &str| Error::Malformed {
        path: path.to_owned(),
        what,
        value: value.to_owned(),
        allowed: allowed.to_owned(),
        way_out: "convert or remove the file, or skip it with Broken::Skip",
    };
    match image::guess_format(bytes) {
        Ok(ImageFormat::Png) => {
            // Signature, length and name of the first chunk, then width and height: known before the decoder is asked.
            let side = |at: usize| {
                let bytes: Option<[u8; 4]> = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
                bytes.map(u32::from_be_bytes)
            };
            let (Some(width), Some(height)) = (side(16), side(20)) else {
                return Err(malformed(
                    "the file",
                    "shorter than a PNG header",
                    "a PNG or JPEG file",
                ));
            };
            let mut allowed = image::Limits::default();
            let work = limits.check(path, work(width, height))? as u64;
            allowed.max_alloc = Some(work);
            let decoder = PngDecoder::with_limits(Cursor::new(bytes), allowed).map_err(broken)?;
            DynamicImage::from_decoder(decoder).map_err(broken)
        }
        Ok(ImageFormat::Jpeg) => {
            // The decoder fills what is cut off with grey, and reports nothing.
            let last = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| pair == marker);
            if last([0xff, 0xd9]) < last([0xff, 0xda]) {
                return Err(malformed("the file", "a JPEG without its end", "a whole file"));
            }
            let decoder = JpegDecoder::new(Cursor::new(bytes)).map_err(broken)?;
            let (width, height) = decoder.dimensions();
            limits.check(path, work(width, height))?;
            DynamicImage::from_decoder(decoder).map_err(broken)
        }
        _ => Err(malformed("the content", "something else", "a PNG or JPEG file")),
    }
}
