//! The weights of an extractor, from a file of safetensors that the user names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};

use crate::file::whole_file;
use crate::protocol::sha256;
use crate::{Error, Result};

/// Six times Inception-v3, three times CLIP's smaller models.
const MOST_BYTES: u64 = 2 << 30;

/// The tensors of a file, on the host, and its hash.
pub(crate) struct Weights {
    path: PathBuf,
    way_out: &'static str,
    tensors: HashMap<String, Tensor>,
    pub(crate) sha256: String,
}

impl Weights {
    /// Reads a file; `way_out` says where to get the right one.
    pub(crate) fn read(path: &Path, way_out: &'static str) -> Result<Self> {
        let refuse = |problem: String| Error::Weights {
            path: path.to_owned(),
            problem,
            way_out,
        };
        let bytes = match whole_file(path, MOST_BYTES) {
            Err(Error::File { source, .. }) => return Err(refuse(source.to_string())),
            other => other?,
        };
        let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)
            .map_err(|error| refuse(format!("it is no file of safetensors: {error}")))?;
        Ok(Self {
            path: path.to_owned(),
            way_out,
            tensors,
            sha256: sha256(&bytes),
        })
    }

    /// A tensor of a known shape, of finite numbers, as `dtype`.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let refuse = |problem: String| {
            Err(Error::Weights {
                path: self.path.clone(),
                problem,
                way_out: self.way_out,
            })
        };
        let Some(tensor) = self.tensors.get(name) else {
            return refuse(format!("it has no tensor `{name}`"));
        };
        if tensor.dims() != shape {
            return refuse(format!(
                "`{name}` has shape {:?}, it needs {shape:?}",
                tensor.dims()
            ));
        }
        if !tensor.dtype().is_float() {
            return refuse(format!("`{name}` holds {:?}, it needs floats", tensor.dtype()));
        }
        let wide = tensor.to_dtype(DType::F64)?;
        // A sum of finite weights is finite in double precision.
        if !wide.abs()?.sum_all()?.to_scalar::<f64>()?.is_finite() {
            return refuse(format!("`{name}` holds numbers that are not finite"));
        }
        Ok(wide.to_dtype(dtype)?)
    }

    /// All tensors, none of which holds a number that is not finite.
    #[cfg(feature = "clip")]
    pub(crate) fn finite(self) -> Result<HashMap<String, Tensor>> {
        for (name, tensor) in &self.tensors {
            if tensor.dtype().is_float() {
                self.tensor(name, tensor.dims(), DType::F32)?;
            }
        }
        Ok(self.tensors)
    }
}
