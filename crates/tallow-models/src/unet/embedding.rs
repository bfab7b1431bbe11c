//! What the residual blocks of a U-Net are told: the sum of what it makes of time and class.

use candle_core::{DType, Device, Tensor};
use tallow_denoisers::{Call, LABELS};
use tallow_nn::{Embedding, Scope};

use super::time_embedding::{WaveEmbedding, Waves};
use super::{UNetClasses, UNetConfig};
use crate::{Error, Result};

/// Parameters: `time_embedding`, `time_proj` and `class_embedding` where there are such.
#[derive(Debug)]
pub(crate) struct UNetEmbedding {
    waves: Waves,
    time: WaveEmbedding,
    classes: Classes,
}

#[derive(Debug)]
enum Classes {
    None,
    Table(Embedding),
    Times(WaveEmbedding),
    Given { width: usize },
}

impl UNetEmbedding {
    pub(crate) fn new(scope: &Scope<'_>, config: &UNetConfig) -> Result<Self> {
        let (waves, width) = (Waves::new(scope, config)?, config.embedding_width());
        let place = scope.at("class_embedding");
        Ok(Self {
            time: WaveEmbedding::new(&scope.at("time_embedding"), waves.outputs(), width)?,
            classes: match config.classes {
                UNetClasses::None => Classes::None,
                UNetClasses::Table { count } => Classes::Table(Embedding::new(&place, count, width)?),
                UNetClasses::Times => Classes::Times(WaveEmbedding::new(&place, waves.outputs(), width)?),
                UNetClasses::Given => Classes::Given { width },
            },
            waves,
        })
    }

    /// (B, embedding).
    pub(crate) fn forward(&self, call: &Call<'_>) -> Result<Tensor> {
        let dtype = call.x.dtype();
        let time = self.time.forward(&self.waved(&times(call)?, dtype)?)?;
        let labels = || Ok::<_, Error>(call.condition.tensor(LABELS)?);
        let class = match &self.classes {
            Classes::None => return Ok(time),
            Classes::Table(table) => table.forward(&checked(labels()?, table.count(), call)?)?,
            Classes::Times(layers) => {
                let numbers = labels()?.to_device(call.x.device())?;
                let numbers = numbers.to_dtype(exact(dtype))?;
                shape(&numbers, &[call.times.len()])?;
                layers.forward(&self.waved(&numbers, dtype)?)?
            }
            Classes::Given { width } => {
                let given = labels()?;
                shape(given, &[call.times.len(), *width])?;
                given.to_device(call.x.device())?.to_dtype(dtype)?
            }
        };
        Ok((time + class)?)
    }

    /// The waves of numbers, computed in their type and given in that of the layers.
    fn waved(&self, numbers: &Tensor, dtype: DType) -> Result<Tensor> {
        Ok(self.waves.forward(numbers)?.to_dtype(dtype)?)
    }
}

/// The type that waves are computed in: half precision cannot tell table steps apart.
fn exact(dtype: DType) -> DType {
    match dtype {
        DType::F64 => DType::F64,
        _ => DType::F32,
    }
}

fn times(call: &Call<'_>) -> Result<Tensor> {
    let dtype = exact(call.x.dtype());
    if call.x.dtype() == dtype {
        return Ok(call.time()?.clone());
    }
    let times = Tensor::new(call.times, &Device::Cpu)?.to_dtype(dtype)?;
    Ok(times.to_device(call.x.device())?)
}

/// Labels as the table takes them, or an error that names the first that is none.
fn checked(labels: &Tensor, count: usize, call: &Call<'_>) -> Result<Tensor> {
    shape(labels, &[call.times.len()])?;
    let labels = labels.to_dtype(DType::U32)?;
    let rows = labels.to_vec1::<u32>()?;
    let none = rows.iter().position(|&label| label as usize >= count);
    if let Some((row, &label)) = none.and_then(|row| Some((row, rows.get(row)?))) {
        return Err(Error::Label {
            label,
            row,
            last: count - 1,
        });
    }
    Ok(labels.to_device(call.x.device())?)
}

fn shape(labels: &Tensor, wanted: &[usize]) -> Result<()> {
    if labels.dims() == wanted {
        return Ok(());
    }
    Err(tallow_denoisers::Error::Shape {
        what: format!("the condition {LABELS:?} of a UNet"),
        expected: wanted.into(),
        got: labels.shape().clone(),
    }
    .into())
}
