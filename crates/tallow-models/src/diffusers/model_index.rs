//! `model_index.json`: which parts a pipeline has.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::json_file::{read_json, write_json};
use crate::{Error, Result};

const FILE: &str = "model_index.json";

/// The parts of a pipeline: each in a folder of its name, of a class of some library.
///
/// ```
/// use tallow_models::diffusers::ModelIndex;
///
/// # let folder = tempfile::tempdir()?;
/// # let dir = folder.path();
/// let index = ModelIndex::new("DDPMPipeline").with("unet", "UNet2DModel").with("scheduler", "DDPMScheduler");
/// index.write(dir)?; // beside dir/unet and dir/scheduler
/// assert_eq!(ModelIndex::read(dir)?, index);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelIndex {
    /// The pipeline's class.
    pub class: String,
    /// Library and class of each part; none for parts that the pipeline lacks.
    pub parts: BTreeMap<String, Option<(String, String)>>,
}

impl ModelIndex {
    /// A pipeline of a class, without parts.
    #[must_use]
    pub fn new(class: &str) -> Self {
        Self {
            class: class.to_owned(),
            parts: BTreeMap::new(),
        }
    }

    /// The same with a part of one of diffusers' classes, in the folder `name`.
    #[must_use]
    pub fn with(mut self, name: &str, class: &str) -> Self {
        let part = ("diffusers".to_owned(), class.to_owned());
        self.parts.insert(name.to_owned(), Some(part));
        self
    }

    /// Reads `model_index.json` of a pipeline's folder. Settings of the pipeline that are no parts are passed over.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or names no class.
    pub fn read(dir: impl AsRef<Path>) -> Result<Self> {
        let path = dir.as_ref().join(FILE);
        let value = read_json(&path)?;
        let class = value
            .get("_class_name")
            .and_then(Value::as_str)
            .ok_or_else(|| Error::Folder {
                path,
                problem: "names no `_class_name`: it is no pipeline's index".to_owned(),
            })?;
        let mut index = Self::new(class);
        for (name, part) in value.as_object().into_iter().flatten() {
            let part = match part.as_array().map(Vec::as_slice) {
                Some([Value::String(library), Value::String(class)]) => {
                    Some((library.clone(), class.clone()))
                }
                Some([Value::Null, Value::Null]) => None,
                _ => continue,
            };
            index.parts.insert(name.clone(), part);
        }
        Ok(index)
    }

    /// Writes `model_index.json` to a folder, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, dir: impl AsRef<Path>) -> Result<()> {
        let mut value = Map::new();
        value.insert("_class_name".to_owned(), self.class.clone().into());
        for (name, part) in &self.parts {
            let pair = match part {
                Some((library, class)) => [Value::from(library.clone()), class.clone().into()],
                None => [Value::Null, Value::Null],
            };
            value.insert(name.clone(), Value::Array(pair.to_vec()));
        }
        write_json(&dir.as_ref().join(FILE), &value.into())
    }
}
