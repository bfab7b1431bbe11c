//! A network's shape and tensors, between a folder of diffusers and the network.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Shape, Tensor};
use serde_json::Value;
use tallow_denoisers::{Network, Parameterized, Variance};
use tallow_nn::{Parameters, Plan, View, write_pytorch_tensors};

use super::json_file::{read_json, write_json};
use super::pretrained::{Pretrained, Tensors};
use super::scheduler::Scheduler;
use super::tensor_files::TensorFiles;
use crate::{Error, Result};

/// The file of a network's shape.
const CONFIG: &str = "config.json";
/// The file of its tensors.
const TENSORS: &str = "diffusion_pytorch_model.safetensors";

/// A network's shape and its tensors under our names, read from a folder of diffusers or to be written to one.
///
/// ```
/// use candle_core::{DType, Device};
/// use tallow_models::diffusers::Weights;
/// use tallow_models::{Dit, DitConfig};
/// use tallow_nn::Parameters;
///
/// # let folder = tempfile::tempdir()?;
/// # let dir = folder.path();
/// # let config = DitConfig { width: 8, heads: 2, depth: 1, time: tallow_models::dit::TimeWaves::diffusers(), ..DitConfig::small(8, 3) };
/// let parameters = Parameters::new(0, DType::F32, &Device::Cpu);
/// Dit::new(&parameters.scope(), config)?;
/// Weights::<Dit>::new(config, parameters.detached().tensors())?.write(dir)?; // diffusers reads this
///
/// let weights = Weights::<Dit>::read(dir)?;
/// let network = weights.network(DType::F32, &Device::Cpu)?; // to sample
/// let (trained, parameters) = weights.trainable(DType::F32, &Device::Cpu)?; // to go on training
/// # let _ = (network, trained, parameters);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Weights<M: Pretrained> {
    config: M::Config,
    tensors: Tensors,
    class: PhantomData<fn() -> M>,
}

impl<M: Pretrained> Weights<M> {
    /// The given tensors, under the names of the network's parameters, for a network of the given shape.
    ///
    /// # Errors
    ///
    /// When names or shapes are not those of the network.
    pub fn new(config: M::Config, tensors: &Tensors) -> Result<Self> {
        let plan = Plan::new(DType::F32, usize::MAX);
        M::build(&plan.scope(), &config)?;
        let what = format!("the set of tensors for a {}", class::<M>());
        plan.check(&what, &shapes(tensors))?;
        Ok(Self {
            config,
            tensors: tensors.clone(),
            class: PhantomData,
        })
    }

    /// Reads the network of a folder, or of a pipeline's folder: `config.json` and
    /// `diffusion_pytorch_model.safetensors`, its index, or `model.safetensors`.
    ///
    /// The file's headers are compared with the configuration before a tensor is read.
    ///
    /// # Errors
    ///
    /// When a file is missing or cannot be read, the class is another, a key is not supported, or tensors are missing, too
    /// many or of other shapes: then all of them are named.
    pub fn read(dir: impl AsRef<Path>) -> Result<Self> {
        Self::find(dir.as_ref(), None)
    }

    /// [`read`](Self::read) for the tensors of a variant, the word before `.safetensors`: `fp16`, for one.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read).
    pub fn read_variant(dir: impl AsRef<Path>, variant: &str) -> Result<Self> {
        Self::find(dir.as_ref(), Some(variant))
    }

    fn find(dir: &Path, variant: Option<&str>) -> Result<Self> {
        let dir = folder::<M>(dir)?;
        let path = dir.join(CONFIG);
        let config = read_json(&path)?;
        let found = config.get("_class_name").and_then(Value::as_str);
        if !found.is_some_and(|found| M::CLASSES.contains(&found)) {
            return Err(Error::Folder {
                path,
                problem: format!(
                    "describes {}, this reads {}: read it as the network that it is",
                    found.map_or("no `_class_name`".to_owned(), |found| format!("a {found}")),
                    M::CLASSES.join(" or "),
                ),
            });
        }
        let config = M::from_config(&config)?;
        let files = TensorFiles::find(&dir, variant)?;
        let plan = Plan::new(DType::F32, files.count().saturating_mul(2).max(1 << 24));
        M::build(&plan.scope(), &config)?;
        let expected = Plan::new(DType::F32, usize::MAX);
        for (name, tensor) in M::export(&config, &hollow(&plan.shapes())?)? {
            expected
                .scope()
                .parameter(&name, tensor.shape(), tallow_nn::Init::ZEROS)?;
        }
        expected.check(
            &dir.display().to_string(),
            &today::<M, _>(files.shapes.clone(), &dir)?,
        )?;
        let (config, tensors) = M::import(config, today::<M, _>(files.read()?, &dir)?)?;
        Ok(Self {
            config,
            tensors,
            class: PhantomData,
        })
    }

    /// Writes `config.json` and `diffusion_pytorch_model.safetensors` to a folder, which is made if it is not there;
    /// diffusers' `from_pretrained` reads them.
    ///
    /// # Errors
    ///
    /// When diffusers has no such network, or a file cannot be written.
    pub fn write(&self, dir: impl AsRef<Path>) -> Result<()> {
        let dir = dir.as_ref();
        write_json(&dir.join(CONFIG), &M::to_config(&self.config)?)?;
        let tensors = M::export(&self.config, &self.tensors)?;
        Ok(write_pytorch_tensors(dir.join(TENSORS), &tensors)?)
    }

    /// The network's shape.
    #[must_use]
    pub fn config(&self) -> &M::Config {
        &self.config
    }

    /// The tensors under the names of the network's parameters.
    #[must_use]
    pub fn tensors(&self) -> &Tensors {
        &self.tensors
    }

    /// The network, without a graph, for sampling.
    ///
    /// # Errors
    ///
    /// When the device does not take the tensors.
    pub fn network(&self, dtype: DType, device: &Device) -> Result<M> {
        let moved = |tensor: &Tensor| tensor.to_dtype(dtype)?.to_device(device);
        let tensors = self
            .tensors
            .iter()
            .map(|(name, tensor)| Ok((name.clone(), moved(tensor)?)));
        let tensors: Tensors = tensors.collect::<Result<_>>()?;
        M::build(&View::new(&tensors, dtype, device).scope(), &self.config)
    }

    /// The network and its parameters, to be trained on.
    ///
    /// # Errors
    ///
    /// When the device does not take the tensors.
    pub fn trainable(&self, dtype: DType, device: &Device) -> Result<(M, Parameters)> {
        let parameters = Parameters::new(0, dtype, device);
        let network = M::build(&parameters.scope(), &self.config)?;
        parameters.restore(&self.tensors)?;
        Ok((network, parameters))
    }
}

impl<M: Pretrained + Network> Weights<M> {
    /// The denoiser that the network is under its scheduler, without a graph, for sampling.
    ///
    /// # Errors
    ///
    /// When the device does not take the tensors.
    pub fn denoiser(&self, scheduler: &Scheduler, dtype: DType, device: &Device) -> Result<Parameterized<M>> {
        let mut parameterization = scheduler.parameterization();
        if parameterization.variance == Variance::Fixed {
            parameterization.variance = M::variance(&self.config);
        }
        Ok(parameterization.denoiser(self.network(dtype, device)?))
    }
}

/// The folder itself, or that of the network in a pipeline's.
fn folder<M: Pretrained>(dir: &Path) -> Result<PathBuf> {
    let inner = M::FOLDERS.iter().map(|name| dir.join(name));
    let mut places = std::iter::once(dir.to_owned()).chain(inner);
    places.find(|place| place.join(CONFIG).is_file()).ok_or_else(|| {
        let inner: Vec<_> = M::FOLDERS.iter().map(|name| format!("{name}/{CONFIG}")).collect();
        Error::Folder {
            path: dir.to_owned(),
            problem: format!(
                "has neither {CONFIG} nor {}: name the folder of a network or of its pipeline",
                inner.join(" nor ")
            ),
        }
    })
}

/// The same under the names of today.
fn today<M: Pretrained, T>(named: BTreeMap<String, T>, dir: &Path) -> Result<BTreeMap<String, T>> {
    let mut today = BTreeMap::new();
    for (name, value) in named {
        let now = M::current_name(&name).unwrap_or_else(|| name.clone());
        if today.insert(now, value).is_some() {
            return Err(Error::Folder {
                path: dir.to_owned(),
                problem: format!(
                    "holds `{name}` under its name of today and an older one: remove one of them"
                ),
            });
        }
    }
    Ok(today)
}

/// Tensors of the shapes given that take no memory.
fn hollow(shapes: &BTreeMap<String, Shape>) -> Result<Tensors> {
    let zero = Tensor::zeros((), DType::F32, &Device::Cpu)?;
    let tensors = shapes
        .iter()
        .map(|(name, shape)| Ok((name.clone(), zero.broadcast_as(shape)?)));
    tensors.collect()
}

fn shapes(tensors: &Tensors) -> BTreeMap<String, Shape> {
    let shapes = tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.shape().clone()));
    shapes.collect()
}

fn class<M: Pretrained>() -> &'static str {
    M::CLASSES.first().copied().unwrap_or("network")
}
