//! The files of tensors in a folder: one, or several with an index of what lies where.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use candle_core::Shape;
use serde_json::Value;
use tallow_nn::{read_shapes, read_tensors};

use super::json_file::read_json;
use super::pretrained::Tensors;
use crate::{Error, Result};

/// How the file is called, without its ending, in diffusers and elsewhere.
const STEMS: [&str; 2] = ["diffusion_pytorch_model", "model"];

/// The files that hold a network's tensors, and the shapes that their headers tell.
pub(super) struct TensorFiles {
    files: Vec<PathBuf>,
    pub(super) shapes: BTreeMap<String, Shape>,
}

impl TensorFiles {
    /// The files of a folder, of a `variant` such as fp16 if one is named; no tensor is read yet.
    pub(super) fn find(dir: &Path, variant: Option<&str>) -> Result<Self> {
        let variant = variant.map(|name| format!(".{name}")).unwrap_or_default();
        for stem in STEMS {
            let single = dir.join(format!("{stem}{variant}.safetensors"));
            if single.is_file() {
                let shapes = read_shapes(&single)?;
                return Ok(Self {
                    files: vec![single],
                    shapes,
                });
            }
            let index = dir.join(format!("{stem}.safetensors.index{variant}.json"));
            if index.is_file() {
                return Self::of_index(dir, &index);
            }
        }
        Err(Error::Folder {
            path: dir.to_owned(),
            problem: absent(dir, &variant),
        })
    }

    /// The files that an index names, which must hold what it says and nothing else.
    fn of_index(dir: &Path, index: &Path) -> Result<Self> {
        let refuse = |problem: String| Error::Folder {
            path: index.to_owned(),
            problem,
        };
        let value = read_json(index)?;
        let map = value.get("weight_map").and_then(Value::as_object);
        let map = map.ok_or_else(|| refuse("has no object `weight_map` of tensors and files".to_owned()))?;
        let mut names = BTreeSet::new();
        for (tensor, file) in map {
            let file = file.as_str().unwrap_or_default();
            // A name, not a path that leads elsewhere.
            if !file.ends_with(".safetensors") || file.contains(['/', '\\']) {
                return Err(refuse(format!(
                    "puts `{tensor}` into {file:?}: only names of safetensors files beside the index are read"
                )));
            }
            names.insert(file);
        }
        let mut shapes = BTreeMap::new();
        let mut files = Vec::new();
        for name in names {
            let file = dir.join(name);
            for (tensor, shape) in read_shapes(&file)? {
                if map.get(&tensor).and_then(Value::as_str) != Some(name) {
                    return Err(refuse(format!(
                        "does not say that `{tensor}` lies in {name}, where it is"
                    )));
                }
                shapes.insert(tensor, shape);
            }
            files.push(file);
        }
        match map.keys().find(|tensor| !shapes.contains_key(*tensor)) {
            Some(tensor) => Err(refuse(format!(
                "names `{tensor}`, which is not in its file: fetch the files anew"
            ))),
            None => Ok(Self { files, shapes }),
        }
    }

    /// All tensors.
    pub(super) fn read(&self) -> Result<Tensors> {
        let mut tensors = Tensors::new();
        for file in &self.files {
            tensors.extend(read_tensors(file)?.0);
        }
        Ok(tensors)
    }

    /// How many numbers the headers tell of.
    pub(super) fn count(&self) -> usize {
        let counts = self.shapes.values().map(Shape::elem_count);
        counts.fold(0, usize::saturating_add)
    }
}

/// What is wrong with a folder that has none of the files.
fn absent(dir: &Path, variant: &str) -> String {
    let wanted = format!(
        "{0}{variant}.safetensors, its index, or {1}{variant}.safetensors",
        STEMS[0], STEMS[1]
    );
    let there: Vec<String> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .take(1000)
        .collect();
    if let Some(pickled) = there
        .iter()
        .find(|name| name.ends_with(".bin") || name.ends_with(".pt"))
    {
        return format!(
            "has no {wanted}; {pickled} is a pickle, which is not read: load the folder in diffusers once and write it with \
             `save_pretrained(safe_serialization=True)`"
        );
    }
    if let Some(other) = there.iter().find(|name| name.ends_with(".safetensors")) {
        return format!(
            "has no {wanted}; there is {other}: rename it, or ask for its variant (the word before .safetensors)"
        );
    }
    format!("has no {wanted}")
}
