//! The data of a run: by name, from a folder, or drawn.

use std::path::PathBuf;

use tallow::datasets::{
    self, Broken, Colour, ImageFolder, Images, LastBatch, Layout, Limits, Prefetch, Shuffled, Split,
};
use tallow::denoisers::{Batches, Dataset, Drawn, LABELS, Seeded};

use crate::error::{Blame, Error, Result};
use crate::network::Unlabelled;
use crate::recipe::Recipe;
use crate::toml_file::Section;

/// Where data lie.
#[derive(Clone, Debug, Default)]
pub(crate) struct DataPlace {
    pub(crate) path: Option<PathBuf>,
    /// Pixels of a side, channels and labels of a folder's pictures.
    pub(crate) side: usize,
    pub(crate) colour: Colour,
    pub(crate) layout: Layout,
}

/// The section [data].
#[derive(Debug)]
pub(crate) struct DataSettings {
    pub(crate) name: String,
    pub(crate) place: DataPlace,
    pub(crate) labels: Option<bool>,
    pub(crate) held_out_every: usize,
}

/// Names of image data; points are the sets of `tallow-datasets`.
const IMAGES: [&str; 5] = ["digits", "mnist", "fashion_mnist", "cifar10", "folder"];

/// All names.
pub(crate) fn names() -> Vec<&'static str> {
    IMAGES.into_iter().chain(datasets::NAMES).collect()
}

pub(crate) fn is_images(name: &str) -> bool {
    IMAGES.contains(&name)
}

/// Whether a held-out part is cut from the data, because they come without one.
pub(crate) fn is_cut(name: &str) -> bool {
    matches!(name, "digits" | "folder")
}

/// Reads the section.
pub(crate) fn settings(section: &Section<'_>) -> Result<DataSettings> {
    section.allow(&["name", "labels"]);
    let names = names();
    let name = names[section.choice("name", &names, None)?];
    if is_images(name) && name != "digits" {
        section.allow(&["path"]);
    }
    if is_cut(name) {
        section.allow(&["held_out_every"]);
    }
    if name == "folder" {
        section.allow(&["side", "colour", "classes"]);
    }
    section.check()?;
    let path = section.path("path")?;
    if is_images(name) && name != "digits" && path.is_none() {
        return Err(section.refuse("path", format!("is missing: where are the files of {name:?}?")));
    }
    let mut place = DataPlace {
        path,
        ..DataPlace::default()
    };
    if name == "folder" {
        place.side = section.count("side", 4..=4096, None)?;
        place.colour = [Colour::Rgb, Colour::Grey][section.choice("colour", &["rgb", "grey"], Some(0))?];
        place.layout = match section.flag("classes")? {
            Some(false) => Layout::Flat,
            _ => Layout::Classes,
        };
    }
    let held = match is_cut(name) {
        true => section.count("held_out_every", 0..=1_000_000, Some(10))?,
        false => 0,
    };
    if held == 1 {
        return Err(section.refuse(
            "held_out_every",
            "1 would keep every image from training: take 0 for none, or 2 and more",
        ));
    }
    Ok(DataSettings {
        name: name.to_owned(),
        place,
        labels: section.flag("labels")?,
        held_out_every: held,
    })
}

/// Data that have been read.
#[derive(Debug)]
pub(crate) enum Data {
    Points(Box<dyn Dataset>),
    Images {
        train: Images,
        /// Images that training does not see; `None` where none are kept.
        held_out: Option<Images>,
    },
}

impl Data {
    /// Reads the data of a name.
    pub(crate) fn load(name: &str, place: &DataPlace, held_out_every: usize) -> Result<Self> {
        let folder = || {
            place.path.as_ref().ok_or_else(|| {
                Error::input(format!(
                    "where are the files of {name:?}? Name their folder with --data DIR"
                ))
            })
        };
        let limits = Limits::default();
        let both = |read: &dyn Fn(Split) -> datasets::Result<Images>| -> Result<Self> {
            Ok(Self::Images {
                train: read(Split::Train).input_of("`path` of [data]")?,
                held_out: Some(read(Split::Test).input_of("`path` of [data]")?),
            })
        };
        match name {
            "digits" => Self::cut(Images::digits().run()?, held_out_every),
            "mnist" => {
                let folder = folder()?;
                both(&|split| Images::mnist(folder, split, limits))
            }
            "fashion_mnist" => {
                let folder = folder()?;
                both(&|split| Images::fashion_mnist(folder, split, limits))
            }
            "cifar10" => {
                let folder = folder()?;
                both(&|split| Images::cifar10(folder, split, limits))
            }
            "folder" => Self::cut(pictures(folder()?, place)?, held_out_every),
            _ => Ok(Self::Points(datasets::by_name(name).input()?)),
        }
    }

    /// Keeps every n-th image from training.
    fn cut(images: Images, held_out_every: usize) -> Result<Self> {
        if held_out_every == 0 {
            return Ok(Self::Images {
                train: images,
                held_out: None,
            });
        }
        let (held, rest): (Vec<u32>, Vec<u32>) =
            (0..images.rows() as u32).partition(|row| (*row as usize).is_multiple_of(held_out_every));
        if rest.is_empty() {
            return Err(Error::input(format!(
                "[data]: with {} image(s) and held_out_every = {held_out_every} there is none to train on: add images",
                images.rows()
            )));
        }
        Ok(Self::Images {
            train: images.subset(&rest).run()?,
            held_out: Some(images.subset(&held).run()?),
        })
    }

    /// The shape of an item.
    pub(crate) fn shape(&self) -> Vec<usize> {
        match self {
            Self::Points(points) => points.item_shape().to_vec(),
            Self::Images { train, .. } => train.shape().to_vec(),
        }
    }

    /// The names of the labels; empty where there are none.
    pub(crate) fn classes(&self) -> Result<Vec<String>> {
        match self {
            Self::Images { train, .. } => Ok(train.classes().to_vec()),
            Self::Points(points) => {
                // Enough draws that each label is among them.
                let batch = points.draw(4096, &mut Seeded::new(0)).run()?;
                let Ok(labels) = batch.condition.tensor(LABELS) else {
                    return Ok(Vec::new());
                };
                let labels = labels.to_vec1::<u32>().run()?;
                let count = labels.into_iter().max().map_or(0, |label| label + 1);
                Ok((0..count).map(|label| label.to_string()).collect())
            }
        }
    }

    /// How many rows there are to train on; without end where they are drawn.
    pub(crate) fn rows(&self) -> Option<usize> {
        match self {
            Self::Points(_) => None,
            Self::Images { train, .. } => Some(train.rows()),
        }
    }

    /// What training and validation draw from.
    pub(crate) fn feed(self, recipe: &Recipe) -> Result<Feed> {
        let (batch, seed) = (recipe.batch, recipe.seed);
        match self {
            Self::Points(points) => {
                let again = datasets::by_name(&recipe.data.name).run()?;
                let points: Box<dyn Dataset> = plain(points, recipe);
                let drawn = Drawn::new(points, batch, Seeded::stream(seed, 0)).input()?;
                Ok(Feed {
                    batches: Box::new(drawn),
                    held_out: Some(plain(again, recipe)),
                })
            }
            Self::Images { train, held_out } => {
                if batch > train.rows() {
                    return Err(Error::input(format!(
                        "`batch` is {batch}, but there are {} images to train on: take a smaller one",
                        train.rows()
                    )));
                }
                let batches = Shuffled::new(train, batch, seed).input()?;
                let batches = batches.with_last_batch(LastBatch::Dropped).input()?;
                let held_out = held_out.map(|images| plain(Box::new(images), recipe));
                Ok(Feed {
                    batches: Box::new(Prefetch::new(batches).run()?),
                    held_out,
                })
            }
        }
    }
}

/// What a run draws from.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) batches: Box<dyn Batches>,
    /// Data that training does not see.
    pub(crate) held_out: Option<Box<dyn Dataset>>,
}

/// The data with labels where the model is told them.
fn plain(data: Box<dyn Dataset>, recipe: &Recipe) -> Box<dyn Dataset> {
    match recipe.conditional() {
        true => data,
        false => Box::new(Unlabelled(data)),
    }
}

fn pictures(folder: &std::path::Path, place: &DataPlace) -> Result<Images> {
    let folder = ImageFolder::new(folder, [place.side; 2])
        .with_colour(place.colour)
        .with_layout(place.layout)
        .with_broken(Broken::Refuse);
    Ok(folder
        .load(Limits::default())
        .input_of("`path` of [data]")?
        .images)
}
