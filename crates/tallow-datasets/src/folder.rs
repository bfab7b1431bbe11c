//! Pictures in a folder, brought to one size.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::picture::{Colour, Fit, Wanted};
use crate::{Error, Images, Limits, Result};

/// Where the labels of pictures come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// The folder holds one folder for each class; their sorted names are the classes, from label 0 on.
    #[default]
    Classes,
    /// The folder holds the pictures, which have no labels; folders inside of it are not entered.
    Flat,
}

/// What becomes of a picture that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Broken {
    /// Reading ends with the error that names it.
    #[default]
    Refuse,
    /// It is left out, and its error is kept in [`Pictures::skipped`].
    Skip,
}

/// PNG and JPEG files of a folder, as [`Images`] of one size.
///
/// Files count as pictures by their ending (`png`, `jpg`, `jpeg`, in any case) and are read by their content; others, and
/// names that begin with a dot, are passed over. The order is that of the sorted names. Transparency and the orientation in
/// a camera's notes are not looked at.
///
/// ```
/// use tallow_datasets::{Colour, ImageFolder, Limits};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # for (class, value) in [("cat", 10), ("dog", 200)] {
/// #     std::fs::create_dir(folder.path().join(class))?;
/// #     image::GrayImage::from_pixel(40, 30, image::Luma([value])).save(folder.path().join(class).join("1.png"))?;
/// # }
/// # let path = folder.path();
/// let pictures = ImageFolder::new(path, [32, 32]).with_colour(Colour::Grey).load(Limits::default())?;
/// assert_eq!(pictures.images.shape(), [1, 32, 32]);
/// assert_eq!(pictures.images.classes(), ["cat", "dog"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ImageFolder {
    path: PathBuf,
    wanted: Wanted,
    layout: Layout,
    broken: Broken,
}

/// What [`ImageFolder::load`] found.
#[derive(Debug)]
pub struct Pictures {
    /// The pictures that could be read.
    pub images: Images,
    /// The file of each of them.
    pub files: Vec<PathBuf>,
    /// Why others could not; each error names its file. Empty unless [`Broken::Skip`] was asked for.
    pub skipped: Vec<Error>,
}

/// Files with their labels, and the names of the labels.
struct Found {
    found: Vec<(PathBuf, u32)>,
    classes: Vec<String>,
}

impl ImageFolder {
    /// Pictures of a folder, brought to `size`, (height, width): in colour, cut to the ratio, one folder for each class,
    /// none of them broken.
    pub fn new(path: impl Into<PathBuf>, size: [usize; 2]) -> Self {
        let (colour, fit) = (Colour::default(), Fit::default());
        Self {
            path: path.into(),
            wanted: Wanted { size, colour, fit },
            layout: Layout::default(),
            broken: Broken::default(),
        }
    }

    /// The same with other colours.
    #[must_use]
    pub fn with_colour(mut self, colour: Colour) -> Self {
        self.wanted.colour = colour;
        self
    }

    /// The same, fitted to the size in another way.
    #[must_use]
    pub fn with_fit(mut self, fit: Fit) -> Self {
        self.wanted.fit = fit;
        self
    }

    /// The same with labels from elsewhere, or none.
    #[must_use]
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// The same with another rule for pictures that cannot be read.
    #[must_use]
    pub fn with_broken(mut self, broken: Broken) -> Self {
        self.broken = broken;
        self
    }

    /// Reads all of them. The limit holds for the result, and for each picture while it is decoded: eight bytes a pixel.
    ///
    /// # Errors
    ///
    /// When a side of the size is 0, a folder cannot be read or holds no picture, a picture lies beside the folders of the
    /// classes, the limit is too low, or, with [`Broken::Refuse`], a picture cannot be read.
    pub fn load(&self, limits: Limits) -> Result<Pictures> {
        let Found { found, classes } = self.files()?;
        let [height, width] = self.wanted.size;
        let shape = [self.wanted.colour.channels(), height, width];
        if height == 0 || width == 0 {
            return Err(Error::Pixels { bytes: 0, shape });
        }
        let item = shape
            .iter()
            .fold(1_u128, |item, side| item.saturating_mul(*side as u128));
        limits.check(
            &self.path,
            (found.len() as u128).saturating_mul(item.saturating_add(4)),
        )?;
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        pixels.reserve_exact(found.len() * item as usize);
        let (mut files, mut skipped) = (Vec::new(), Vec::new());
        for (path, label) in found {
            match (self.wanted.open(&path, limits), self.broken) {
                (Ok(planes), _) => {
                    pixels.extend_from_slice(&planes);
                    labels.push(label);
                    files.push(path);
                }
                (Err(error), Broken::Skip) => skipped.push(error),
                (Err(error), Broken::Refuse) => return Err(error),
            }
        }
        if files.is_empty() {
            return Err(missing(&self.path));
        }
        let mut images = Images::new(pixels, shape)?;
        if self.layout == Layout::Classes {
            let classes: Vec<&str> = classes.iter().map(String::as_str).collect();
            images = images.with_labels(labels, &classes)?;
        }
        Ok(Pictures {
            images,
            files,
            skipped,
        })
    }

    /// What there is to read.
    fn files(&self) -> Result<Found> {
        let (folders, pictures) = entries(&self.path)?;
        if self.layout == Layout::Flat {
            let found: Vec<_> = pictures.into_iter().map(|path| (path, 0)).collect();
            return match found.is_empty() {
                true => Err(missing(&self.path)),
                false => Ok(Found {
                    found,
                    classes: Vec::new(),
                }),
            };
        }
        if let Some(path) = pictures.into_iter().next() {
            return Err(Error::Malformed {
                path,
                what: "its place",
                value: "beside the folders of the classes".to_owned(),
                allowed: "in one of them".to_owned(),
                way_out: "move it, or read a folder without classes with Layout::Flat",
            });
        }
        let (mut found, mut classes) = (Vec::new(), Vec::new());
        for (label, folder) in folders.iter().enumerate() {
            let (_, pictures) = entries(folder)?;
            if pictures.is_empty() {
                return Err(missing(folder));
            }
            found.extend(pictures.into_iter().map(|path| (path, label as u32)));
            let name = folder.file_name().unwrap_or_default();
            classes.push(name.to_string_lossy().into_owned());
        }
        if found.is_empty() {
            return Err(missing(&self.path));
        }
        Ok(Found { found, classes })
    }
}

fn missing(folder: &Path) -> Error {
    Error::Missing {
        folder: folder.to_owned(),
        names: "*.png, *.jpg, *.jpeg".to_owned(),
    }
}

/// Folders and pictures of a folder, each sorted by name.
fn entries(path: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let failed = |source| Error::file(path, source);
    let names = fs::read_dir(path)
        .map_err(failed)?
        .map(|entry| Ok(entry?.file_name()));
    let mut names: Vec<OsString> = names.collect::<std::io::Result<_>>().map_err(failed)?;
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    names.sort();
    let paths = names.into_iter().map(|name| path.join(name));
    let (folders, others): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
    let picture = |path: &PathBuf| {
        let ending = path.extension().map(std::ffi::OsStr::to_ascii_lowercase);
        let known = ending.is_some_and(|ending| ending == "png" || ending == "jpg" || ending == "jpeg");
        known && path.is_file()
    };
    Ok((folders, others.into_iter().filter(picture).collect()))
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
