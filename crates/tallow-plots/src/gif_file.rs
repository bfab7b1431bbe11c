//! GIF files: sizes, delays and repeats within what the format holds, frames one after another.

use std::path::Path;
use std::time::Duration;

use gif::{Encoder, Frame, Repeat};

use crate::{Error, Result, file};

/// Whether an animation starts again when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Looping {
    /// Again and again.
    #[default]
    Forever,
    /// It stops at its last frame.
    Once,
}

/// A GIF file that grows in memory.
pub(crate) struct GifWriter {
    encoder: Encoder<Vec<u8>>,
}

impl GifWriter {
    /// A file of `(width, height)`; an empty palette is for frames that bring their own.
    pub(crate) fn new((width, height): (u16, u16), palette: &[u8], looping: Looping) -> Result<Self> {
        let mut encoder =
            Encoder::new(Vec::new(), width, height, palette).map_err(|error| refused(&error))?;
        if looping == Looping::Forever {
            encoder
                .set_repeat(Repeat::Infinite)
                .map_err(|error| refused(&error))?;
        }
        Ok(Self { encoder })
    }

    pub(crate) fn write(&mut self, frame: &Frame<'_>) -> Result<()> {
        self.encoder.write_frame(frame).map_err(|error| refused(&error))
    }

    /// The bytes of the file.
    pub(crate) fn finish(self) -> Result<Vec<u8>> {
        self.encoder.into_inner().map_err(|error| refused(&error))
    }
}

fn refused(error: &dyn std::fmt::Display) -> Error {
    Error::Encode {
        format: "GIF",
        reason: error.to_string(),
    }
}

/// Writes what `bytes` makes to a path that ends in `.gif`; makes nothing for another ending.
pub(crate) fn save(path: &Path, bytes: impl FnOnce() -> Result<Vec<u8>>) -> Result<()> {
    if file::ending(path) != "gif" {
        return Err(Error::Extension {
            path: path.to_owned(),
            allowed: ".gif",
        });
    }
    file::replace(path, &bytes()?)
}

pub(crate) fn centiseconds(name: &'static str, duration: Duration) -> Result<u16> {
    match duration.as_millis() {
        millis @ 10..=60_000 => Ok((millis / 10) as u16),
        _ => Err(Error::Parameter {
            name,
            value: duration.as_secs_f64(),
            allowed: "from 0.01 to 60 seconds",
        }),
    }
}

pub(crate) fn side(pixels: u32) -> Result<u16> {
    u16::try_from(pixels).map_err(|e| Error::Encode {
        format: "GIF",
        reason: e.to_string(),
    })
}
