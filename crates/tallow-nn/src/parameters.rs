//! The trainable tensors of a model, in the order of their names.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use candle_core::{DType, Device, Shape, Tensor, Var};

use crate::error::{Error, Result};
use crate::init::Init;
use crate::scope::{Scope, View};
use crate::summary::Summary;
use crate::tensor_file;

/// The trainable tensors of a model: seeded by name, ordered by name, saved under PyTorch's names.
///
/// ```
/// use candle_core::{DType, Device};
/// use tallow_nn::{Linear, Parameters};
///
/// let parameters = Parameters::new(7, DType::F32, &Device::Cpu);
/// let trained = Linear::new(&parameters.scope().at("head"), 4, 2)?;
/// let sampling = Linear::new(&parameters.detached().scope().at("head"), 4, 2)?; // same weights, no graph
/// assert_eq!(parameters.names(), ["head.bias", "head.weight"]);
/// assert_eq!(parameters.count(), 10);
/// # Ok::<(), tallow_nn::Error>(())
/// ```
#[derive(Debug)]
pub struct Parameters {
    variables: RwLock<BTreeMap<String, Var>>,
    seed: u64,
    dtype: DType,
    device: Device,
}

impl Parameters {
    /// An empty set; layers built in its [`scope`](Self::scope) add theirs, drawn from `seed` and their names.
    #[must_use]
    pub fn new(seed: u64, dtype: DType, device: &Device) -> Self {
        Self {
            variables: RwLock::default(),
            seed,
            dtype,
            device: device.clone(),
        }
    }

    /// The root scope, for the constructor of a model.
    #[must_use]
    pub fn scope(&self) -> Scope<'_> {
        Scope::creating(self)
    }

    /// A view that shares the storage but has no graph: what sampling builds its model from. It follows training.
    #[must_use]
    pub fn detached(&self) -> View {
        let tensors = self.read(|variables| {
            variables
                .iter()
                .map(|(name, variable)| (name.clone(), variable.as_detached_tensor()))
                .collect()
        });
        View::new(&tensors, self.dtype, &self.device)
    }

    /// A view of the values in another type, with a graph back to the parameters: mixed precision builds its model from one,
    /// anew after each step, computes in that type, and finds the gradients at the parameters, in theirs.
    ///
    /// # Errors
    ///
    /// When the device does not know the type.
    pub fn cast(&self, dtype: DType) -> Result<View> {
        let named = self.named().into_iter();
        let tensors = named.map(|(name, variable)| Ok((name, variable.to_dtype(dtype)?)));
        Ok(View::connected(
            tensors.collect::<Result<_>>()?,
            dtype,
            &self.device,
        ))
    }

    /// The seed that the start was drawn from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The type of every parameter.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The device of every parameter.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How many numbers are trained.
    #[must_use]
    pub fn count(&self) -> usize {
        self.read(|variables| variables.values().map(|variable| variable.elem_count()).sum())
    }

    /// The names, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.read(|variables| variables.keys().cloned().collect())
    }

    /// The variables with their names, sorted by name; they share storage with this set.
    #[must_use]
    pub fn named(&self) -> Vec<(String, Var)> {
        self.read(|variables| {
            variables
                .iter()
                .map(|(name, variable)| (name.clone(), variable.clone()))
                .collect()
        })
    }

    /// The variable of a name.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<Var> {
        self.read(|variables| variables.get(name).cloned())
    }

    /// A table of the parameters: names, shapes, numbers and bytes; prints itself.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let size = self.dtype.size_in_bytes();
        Summary::new(self.read(|variables| {
            let shapes = variables.iter();
            shapes
                .map(|(name, variable)| (name.clone(), variable.shape().clone(), size))
                .collect()
        }))
    }

    /// A deep copy of the values, which training does not change.
    ///
    /// # Errors
    ///
    /// When a tensor cannot be copied.
    pub fn snapshot(&self) -> Result<BTreeMap<String, Tensor>> {
        self.named()
            .into_iter()
            .map(|(name, variable)| Ok((name, variable.as_detached_tensor().copy()?)))
            .collect()
    }

    /// Takes values from `tensors`, converted to the type and device of the parameters: all of them, or none.
    ///
    /// # Errors
    ///
    /// When names or shapes differ; the error lists every difference, and nothing is changed.
    pub fn restore(&self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        self.replace("the set of tensors", tensors)
    }

    /// Writes a safetensors file with `metadata`, a text of the caller's (JSON, by custom), beside the tensors.
    ///
    /// The file is written aside and renamed, so a reader never sees half of it. The same values give the same bytes.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>, metadata: &str) -> Result<()> {
        tensor_file::write_tensors(path, self.detached().tensors(), metadata)
    }

    /// Reads a file written by [`save`](Self::save) or by PyTorch's safetensors under the same names; returns its
    /// metadata, empty if it has none of ours.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or its names or shapes differ from the parameters'; then nothing is changed.
    pub fn load(&self, path: impl AsRef<Path>) -> Result<String> {
        let path = path.as_ref();
        let (tensors, metadata) = tensor_file::read_tensors(path)?;
        self.replace(&path.display().to_string(), &tensors)?;
        Ok(metadata)
    }

    pub(crate) fn create(&self, name: String, shape: &Shape, init: Init) -> Result<Tensor> {
        init.check()?;
        let start = init.draw(&name, shape, self.seed, self.dtype, &self.device)?;
        self.insert(name, &start)
    }

    /// A new parameter that starts as a tensor of this set's type and device.
    pub(crate) fn insert(&self, name: String, start: &Tensor) -> Result<Tensor> {
        let name = checked_name(name)?;
        let mut variables = self.variables.write().unwrap_or_else(PoisonError::into_inner);
        if variables.contains_key(&name) {
            return Err(Error::Duplicate { name });
        }
        let variable = Var::from_tensor(start)?;
        let tensor = variable.as_tensor().clone();
        variables.insert(name, variable);
        Ok(tensor)
    }

    /// A set that shares `variables`, whose type and device are the given ones.
    #[cfg(feature = "candle-nn")]
    pub(crate) fn sharing(variables: BTreeMap<String, Var>, dtype: DType, device: &Device) -> Self {
        Self {
            variables: RwLock::new(variables),
            ..Self::new(0, dtype, device)
        }
    }

    fn replace(&self, what: &str, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        let named: BTreeMap<_, _> = self.named().into_iter().collect();
        let shapes = named
            .iter()
            .map(|(name, variable)| (name.as_str(), variable.shape()));
        check_same(what, shapes, tensors)?;
        let mut replacements = Vec::with_capacity(named.len());
        for (name, variable) in &named {
            if let Some(tensor) = tensors.get(name) {
                // A copy, because the tensors may be views of these very parameters.
                replacements.push((
                    variable,
                    tensor.to_dtype(self.dtype)?.to_device(&self.device)?.copy()?,
                ));
            }
        }
        for (variable, tensor) in replacements {
            variable.set(&tensor)?;
        }
        Ok(())
    }

    fn read<R>(&self, f: impl FnOnce(&BTreeMap<String, Var>) -> R) -> R {
        f(&self.variables.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The name, unless files or scopes could not tell it from others.
pub(crate) fn checked_name(name: String) -> Result<String> {
    if name.is_empty() || name.starts_with('.') || name.ends_with('.') || name.contains("..") {
        return Err(Error::Name { name });
    }
    Ok(name)
}

/// Refuses `tensors` unless it has exactly the names and shapes of `wanted`.
pub(crate) fn check_same<'a>(
    what: &str,
    wanted: impl Iterator<Item = (&'a str, &'a Shape)>,
    tensors: &BTreeMap<String, Tensor>,
) -> Result<()> {
    let got = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor.shape()));
    check_same_shapes(what, wanted, got)
}

/// Refuses names and shapes that are not exactly those of `wanted`.
pub(crate) fn check_same_shapes<'a, 'b>(
    what: &str,
    wanted: impl Iterator<Item = (&'a str, &'a Shape)>,
    got: impl Iterator<Item = (&'b str, &'b Shape)>,
) -> Result<()> {
    let (wanted, got): (BTreeMap<_, _>, BTreeMap<_, _>) = (wanted.collect(), got.collect());
    let mut differences = Vec::new();
    for (name, shape) in &wanted {
        match got.get(*name) {
            None => differences.push(format!("  `{name}` {shape:?} is missing")),
            Some(found) if found != shape => {
                differences.push(format!("  `{name}` has shape {found:?}, needed is {shape:?}"));
            }
            Some(_) => {}
        }
    }
    for (name, shape) in &got {
        if !wanted.contains_key(*name) {
            differences.push(format!("  `{name}` {shape:?} is not expected"));
        }
    }
    if differences.is_empty() {
        Ok(())
    } else {
        Err(Error::Differences {
            what: what.to_string(),
            differences,
        })
    }
}

#[cfg(test)]
#[path = "parameters_tests.rs"]
mod tests;
