//! Samples as files: a sheet of images, a plot of points, a film of the way there, or numbers.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use tallow::plots::{Animation, Film, ImageGrid, Scatter};

use crate::error::{Blame, Error, Result, listed};
use crate::files::{make_folder_of, replace, unwritten, write};

/// What a file's ending asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A picture in pixels or, of points, in curves.
    Picture,
    /// The way from noise to samples.
    Film,
    /// NumPy's.
    Npy,
    /// A line for each point.
    Csv,
}

impl Format {
    /// The format of a path for images or points.
    pub(crate) fn of(path: &Path, images: bool) -> Result<Self> {
        let ending = path.extension().and_then(std::ffi::OsStr::to_str);
        let ending = ending.map(str::to_ascii_lowercase).unwrap_or_default();
        let allowed = match images {
            true => [".png", ".gif", ".npy"].as_slice(),
            false => [".png", ".svg", ".gif", ".npy", ".csv"].as_slice(),
        };
        match (ending.as_str(), images) {
            ("png", _) | ("svg", false) => Ok(Self::Picture),
            ("gif", _) => Ok(Self::Film),
            ("npy", _) => Ok(Self::Npy),
            ("csv", false) => Ok(Self::Csv),
            _ => Err(Error::input(format!(
                "--output {}: for {} the ending must be one of {}",
                path.display(),
                if images { "images" } else { "points" },
                listed(allowed)
            ))),
        }
    }

    /// Refuses, before anything is drawn, what the file could not show.
    pub(crate) fn check(self, path: &Path, count: usize, shape: &[usize]) -> Result<()> {
        if path.is_dir() {
            return Err(Error::input(format!(
                "--output {}: this is a folder, name a file in it",
                path.display()
            )));
        }
        let room = match shape.len() {
            3 => FRAME_IMAGES,
            _ => FRAME_POINTS,
        };
        if self == Self::Film && count > room {
            return Err(Error::input(format!(
                "-n {count}: a film has room for {room} of these: draw fewer, or write a .png or .npy"
            )));
        }
        if self != Self::Npy && shape.len() == 1 && shape != [2] {
            return Err(Error::input(format!(
                "points of {} coordinates cannot be drawn: write them as .npy",
                shape[0]
            )));
        }
        Ok(())
    }
}

/// States on the way, for a film: at most [`FRAMES`] of the first rows.
#[derive(Debug)]
pub(crate) struct Frames {
    wanted: bool,
    every: usize,
    seen: usize,
    states: Vec<(f64, Tensor)>,
}

/// Frames of a film, and points or images in one.
const FRAMES: usize = 60;
const FRAME_IMAGES: usize = 64;
const FRAME_POINTS: usize = 4096;
/// The largest side and area of a picture that `tallow-plots` makes, in pixels.
const SHEET_SIDE: u64 = 16_384;
const SHEET_AREA: u64 = 1 << 26;

impl Frames {
    /// The frames that a format asks for in a run of so many steps.
    pub(crate) fn of(format: Format, steps: usize) -> Self {
        Self {
            wanted: format == Format::Film,
            every: steps.div_ceil(FRAMES).max(1),
            seen: 0,
            states: Vec::new(),
        }
    }

    /// No frames.
    pub(crate) fn none() -> Self {
        Self::of(Format::Npy, 1)
    }

    /// Whether this step is one to keep.
    pub(crate) fn due(&mut self) -> bool {
        self.seen += 1;
        self.wanted && self.seen.is_multiple_of(self.every)
    }

    pub(crate) fn push(&mut self, t: f64, state: impl FnOnce() -> Result<Tensor>) -> Result<()> {
        if self.wanted {
            self.states.push((t, state()?));
        }
        Ok(())
    }
}

/// How samples are shown.
#[derive(Debug)]
pub(crate) struct Sheet {
    pub(crate) title: String,
    pub(crate) columns: Option<usize>,
}

impl Sheet {
    /// Refuses, before anything is drawn, so many images that their sheet could not be made: sheets of one and two black ones
    /// tell what each row and column takes.
    pub(crate) fn check(&self, format: Format, count: usize, shape: &[usize]) -> Result<()> {
        let (Format::Picture, &[channels, height, width]) = (format, shape) else {
            return Ok(());
        };
        let size = |count: usize, columns: usize| -> Result<[u64; 2]> {
            let sheet = Self {
                // Short, so that it does not widen the sheet.
                title: ".".to_owned(),
                columns: Some(columns),
            };
            let black = Tensor::zeros((count, channels, height, width), DType::F32, &Device::Cpu);
            let drawing = sheet.images(&black.run()?)?.drawing().input()?;
            Ok([drawing.width(), drawing.height()].map(u64::from))
        };
        let ([w1, h1], [w2, _], [_, h2]) = (size(1, 1)?, size(2, 2)?, size(2, 1)?);
        let columns = self
            .columns
            .unwrap_or_else(|| (count as f64).sqrt().ceil() as usize)
            .max(1);
        let wide = w1 + (w2 - w1) * (columns as u64 - 1);
        let high = h1 + (h2 - h1) * (count.div_ceil(columns) as u64 - 1);
        match wide.max(high) <= SHEET_SIDE && wide * high <= SHEET_AREA {
            true => Ok(()),
            false => Err(Error::input(format!(
                "-n {count}: their sheet would have {wide} x {high} pixels, more than a picture may: draw fewer, or write them as .npy"
            ))),
        }
    }

    /// Writes samples to a file.
    pub(crate) fn save(&self, path: &Path, format: Format, samples: &Tensor, frames: Frames) -> Result<()> {
        make_folder_of(path)?;
        let samples = samples
            .to_device(&Device::Cpu)
            .run()?
            .to_dtype(DType::F32)
            .run()?;
        match (format, samples.dims().len()) {
            (Format::Npy, _) => replace(path, |place| samples.write_npy(place)),
            (Format::Csv, _) => csv(path, &points(&samples)?),
            (Format::Picture, 4) => self
                .images(&samples)?
                .save(path)
                .map_err(|error| unwritten(path, &error)),
            (Format::Picture, _) => Scatter::new(&self.title)
                .panel("", &points(&samples)?)
                .save(path)
                .map_err(|error| unwritten(path, &error)),
            (Format::Film, 4) => self.film(path, frames),
            (Format::Film, _) => animation(path, frames),
        }
    }

    fn images(&self, images: &Tensor) -> Result<ImageGrid> {
        let (_, channels, height, width) = images.dims4().run()?;
        // Latents without a decoder, or a channel of opacity: the first is shown, as grey.
        let (sheet, shown) = match channels {
            3 => (ImageGrid::rgb(width, height), 3),
            _ => (ImageGrid::gray(width, height), 1),
        };
        let images = images.narrow(1, 0, shown).run()?;
        let values: Vec<f32> = images.flatten_all().run()?.to_vec1().run()?;
        let sheet = sheet.title(&self.title).images(&values).range(-1.0..1.0);
        Ok(match self.columns {
            Some(columns) => sheet.columns(columns),
            None => sheet,
        })
    }

    fn film(&self, path: &Path, frames: Frames) -> Result<()> {
        let mut film = Film::new();
        for (t, state) in frames.states {
            let rows = state.dim(0).run()?.min(FRAME_IMAGES);
            let state = state.narrow(0, 0, rows).run()?.to_device(&Device::Cpu).run()?;
            let sheet = Self {
                title: format!("t = {t:.3}"),
                columns: self.columns.map(|columns| columns.min(rows)),
            };
            film = film.frame(sheet.images(&state)?.drawing().run()?);
        }
        film.save(path).map_err(|error| unwritten(path, &error))
    }
}

fn animation(path: &Path, frames: Frames) -> Result<()> {
    let mut film = Animation::new();
    for (t, state) in frames.states {
        let rows = state.dim(0).run()?.min(FRAME_POINTS);
        film = film.frame(format!("t = {t:.3}"), &points(&state.narrow(0, 0, rows).run()?)?);
    }
    film.save(path).map_err(|error| unwritten(path, &error))
}

/// The rows of (N, 2).
fn points(tensor: &Tensor) -> Result<Vec<[f32; 2]>> {
    let rows = tensor.to_device(&Device::Cpu).run()?.to_vec2::<f32>().run()?;
    let plane = |row: Vec<f32>| match row.as_slice() {
        [x, y] => Ok([*x, *y]),
        _ => Err(Error::input(format!(
            "points of {} coordinates cannot be drawn: write them as .npy",
            row.len()
        ))),
    };
    rows.into_iter().map(plane).collect()
}

fn csv(path: &Path, points: &[[f32; 2]]) -> Result<()> {
    let lines = points.iter().map(|[x, y]| format!("{x},{y}\n"));
    let text: String = std::iter::once("x,y\n".to_owned()).chain(lines).collect();
    write(path, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_is_refused_where_the_picture_would_be_and_not_before() {
        for (count, columns, shape) in [
            (12, Some(10), [3, 24, 24]),
            (2730, Some(10), [1, 8, 8]),
            (2740, Some(10), [1, 8, 8]),
            (20_000, None, [1, 8, 8]),
            (16_000, None, [1, 8, 8]),
        ] {
            let title = String::new();
            let sheet = Sheet { title, columns };
            let [channels, height, width] = shape;
            let images = Tensor::zeros((count, channels, height, width), DType::F32, &Device::Cpu).unwrap();
            let titled = Sheet {
                title: ".".to_owned(),
                columns,
            };
            let drawn = titled.images(&images).unwrap().drawing();
            let told = sheet.check(Format::Picture, count, &shape);
            assert_eq!(told.is_ok(), drawn.is_ok(), "{count} in {columns:?}: {told:?}");
        }
    }

    #[test]
    fn an_ending_that_nothing_is_written_for_is_refused_with_those_that_are() {
        let of = |path: &str, images| Format::of(Path::new(path), images);
        assert_eq!(of("a.PNG", true).unwrap(), Format::Picture);
        assert_eq!(of("a.csv", false).unwrap(), Format::Csv);
        for (path, images, allowed) in [
            ("a.jpg", true, ".png, .gif, .npy"),
            ("a.csv", true, ".npy"),
            ("a", false, ".csv"),
        ] {
            let error = of(path, images).unwrap_err().to_string();
            assert!(error.contains(allowed), "{error}");
        }
    }
}
