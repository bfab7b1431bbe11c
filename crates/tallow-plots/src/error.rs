//! What can keep a picture from being drawn or written.

use std::path::PathBuf;

/// What this crate's fallible functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// A picture that cannot be drawn, or a file that cannot be written; names the value, what is allowed and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file's name does not end in a format that the picture can be written in.
    #[error("cannot write {path:?}: the name must end in {allowed}", path = .path.display())]
    Extension {
        /// The path asked for.
        path: PathBuf,
        /// The endings that would do.
        allowed: &'static str,
    },
    /// Nothing was added before the picture was asked for.
    #[error("{picture} has nothing to show: add at least one {missing}")]
    Empty {
        /// The kind of picture.
        picture: &'static str,
        /// What it lacks.
        missing: &'static str,
    },
    /// A picture without area, or one too large to hold in memory.
    #[error(
        "a picture of {width} x {height} pixels cannot be drawn: sides go from 1 to {max_side} and the area to \
         {max_pixels} pixels; choose another panel size, scale or number of panels"
    )]
    Size {
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
        /// The largest side.
        max_side: u64,
        /// The largest area.
        max_pixels: u64,
    },
    /// Bounds that enclose nothing.
    #[error(
        "{axis} runs from {from} to {to}: bounds must be finite, within 1e100 of zero, and rise by 1e-40 or more; a \
         logarithmic axis starts at 1e-100 or more"
    )]
    Bounds {
        /// Which axis or range.
        axis: &'static str,
        /// Its start.
        from: f64,
        /// Its end.
        to: f64,
    },
    /// A number outside of its range.
    #[error("{name} must be {allowed}, got {value}")]
    Parameter {
        /// The parameter's name.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What would be allowed.
        allowed: &'static str,
    },
    /// Two inputs that should be of one length are not.
    #[error("{what}: expected {expected}, got {got}")]
    Length {
        /// What was counted, and of which panel or image.
        what: String,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// A logarithmic axis without a single positive value.
    #[error(
        "the logarithmic {axis} axis has no positive finite value to show: use a linear axis for these data"
    )]
    NothingPositive {
        /// "x" or "y".
        axis: &'static str,
    },
    /// The file could not be written; nothing half-written is left.
    #[error("cannot write {path:?}: {source}", path = .path.display())]
    Io {
        /// The path asked for.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The encoder of a file format refused the pixels.
    #[error("cannot encode {format}: {reason}")]
    Encode {
        /// "PNG" or "GIF".
        format: &'static str,
        /// What the encoder says.
        reason: String,
    },
}
