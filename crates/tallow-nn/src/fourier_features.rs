//! Fourier features of points: sines and cosines of linear functions of x.
//!
//! ```text
//! harmonics    ω_k = k ω,  k = 1 … K          octaves   ω_k = 2ᵏ ω,  k = 0 … K − 1        (each value of x for itself)
//! random       φ = 2π x B,  B_dj ~ N(0, std²)
//! ```
//!
//! Gradients flow into x: guidance and likelihoods differentiate a network with respect to its input.
//!
//! Sources: Tancik et al. 2020, arXiv:2006.10739 (random features); Mildenhall et al. 2020, arXiv:2003.08934 (octaves).

use std::f64::consts::TAU;
use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Shape, Tensor};
pub use tallow_kernels::WaveOrder;
use tallow_kernels::Waves;

use crate::dual::Dual;
use crate::error::{Error, Result};
use crate::init::words;
use crate::slices::{Element, kernels_take, values, with_values};

/// Sines and cosines of linear functions of each row: (…, inputs) to (…, 2 waves). It has no parameters.
///
/// Sources: Tancik et al. 2020, arXiv:2006.10739 (random features); Mildenhall et al. 2020, arXiv:2003.08934
/// (octaves).
#[derive(Clone, Debug, PartialEq)]
pub struct FourierFeatures {
    /// (inputs, waves), row-major.
    frequencies: Arc<Vec<f64>>,
    inputs: usize,
    waves: usize,
    order: WaveOrder,
}

impl FourierFeatures {
    /// Features of given frequencies, (inputs, waves) row-major, in radians per unit of x.
    ///
    /// # Errors
    ///
    /// When there is no frequency, one is not finite, or their number is no multiple of `inputs`.
    pub fn new(inputs: usize, frequencies: Vec<f64>, order: WaveOrder) -> Result<Self> {
        let n = frequencies.len();
        if n == 0 || inputs == 0 || !n.is_multiple_of(inputs) {
            let allowed = "a positive multiple of the number of inputs";
            return Err(Error::Setting {
                name: "number of frequencies",
                value: n as f64,
                allowed,
            });
        }
        if let Some(&value) = frequencies.iter().find(|frequency| !frequency.is_finite()) {
            return Err(Error::Setting {
                name: "frequency",
                value,
                allowed: "a finite number",
            });
        }
        Ok(Self {
            frequencies: Arc::new(frequencies),
            inputs,
            waves: n / inputs,
            order,
        })
    }

    /// Frequencies ω, 2ω, … Kω of each of the `inputs` values: `base` is ω, in radians per unit.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn harmonics(inputs: usize, count: usize, base: f64) -> Result<Self> {
        Self::each(inputs, &(1..=count).map(|k| k as f64 * base).collect::<Vec<_>>())
    }

    /// Frequencies ω, 2ω, 4ω, … of each of the `inputs` values: `base` is ω, in radians per unit (π in NeRF).
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn octaves(inputs: usize, count: usize, base: f64) -> Result<Self> {
        Self::each(
            inputs,
            &(0..count).map(|k| (k as f64).exp2() * base).collect::<Vec<_>>(),
        )
    }

    /// `count` random directions, normal with deviation `std` in turns per unit of x, the same for the same `seed`.
    ///
    /// # Errors
    ///
    /// When `std` is not finite, and those of [`new`](Self::new).
    pub fn random(inputs: usize, count: usize, std: f64, seed: u64) -> Result<Self> {
        let n = inputs.saturating_mul(count);
        let mut frequencies = vec![0.0; n];
        let words = words("fourier_features", seed, n.next_multiple_of(2));
        tallow_kernels::normals_from_bits(&words, &mut frequencies)?;
        frequencies.iter_mut().for_each(|b| *b *= TAU * std);
        Self::new(inputs, frequencies, WaveOrder::default())
    }

    /// The same features in another order.
    #[must_use]
    pub fn with_order(self, order: WaveOrder) -> Self {
        Self { order, ..self }
    }

    /// Values of an output row.
    #[must_use]
    pub fn outputs(&self) -> usize {
        2 * self.waves
    }

    /// (…, outputs) of x, (…, inputs), in the type of x.
    ///
    /// # Errors
    ///
    /// When the last dimension of `x` is not `inputs`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.check_input(x)?;
        if kernels_take(x) {
            Ok(x.contiguous()?.apply_op1(WavesOp(self.clone()))?)
        } else {
            Ok(self.composed(x)?)
        }
    }

    /// The features with their derivative along the tangent of `x`.
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward).
    pub fn forward_dual(&self, x: &Dual) -> Result<Dual> {
        let y = self.forward(x.value())?;
        let Some(direction) = x.tangent() else {
            return Ok(Dual::constant(y));
        };
        let tangent = match (kernels_take(&y), y.dtype()) {
            (true, DType::F64) => self.tangent::<f64>(&y, direction)?,
            (true, _) => self.tangent::<f32>(&y, direction)?,
            (false, _) => self.composed_tangent(x.value(), direction)?,
        };
        Dual::new(y, tangent)
    }

    fn check_input(&self, x: &Tensor) -> Result<()> {
        if x.rank() < 2 || x.dims().last() != Some(&self.inputs) {
            let (layer, wanted) = (
                "Fourier features".to_string(),
                format!("(batch, …, {})", self.inputs),
            );
            return Err(Error::Input {
                layer,
                wanted,
                got: x.shape().clone(),
            });
        }
        Ok(())
    }

    fn tangent<T: Element>(&self, y: &Tensor, direction: &Tensor) -> candle_core::Result<Tensor> {
        let rows = direction.elem_count() / self.inputs;
        let tangent = with_values::<T, _>(y, |y| {
            with_values::<T, _>(&direction.contiguous()?, |direction| {
                let result = self.waves().tangent(y, direction, rows);
                result.map_err(candle_core::Error::wrap)
            })
        })?;
        Tensor::from_vec(tangent, y.shape(), y.device())
    }

    /// Each input value for itself, with the same frequencies.
    fn each(inputs: usize, frequencies: &[f64]) -> Result<Self> {
        let waves = inputs.saturating_mul(frequencies.len());
        let mut all = vec![0.0; waves.saturating_mul(inputs)];
        for (input, row) in all.chunks_exact_mut(waves.max(1)).enumerate() {
            row[input * frequencies.len()..][..frequencies.len()].copy_from_slice(frequencies);
        }
        Self::new(inputs, all, WaveOrder::default())
    }

    /// By candle's operations, for other devices and types. Angles are in f32 there: they cover many turns.
    fn composed(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let angles = self.angles(x)?;
        self.arranged(&angles.sin()?, &angles.cos()?, x)
    }

    fn composed_tangent(&self, x: &Tensor, direction: &Tensor) -> candle_core::Result<Tensor> {
        let (angles, turning) = (self.angles(x)?, self.angles(direction)?);
        let (sines, cosines) = (angles.cos()? * &turning, angles.sin()?.neg()? * &turning);
        self.arranged(&sines?, &cosines?, x)
    }

    /// x Ω, (rows, waves).
    fn angles(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let dtype = if x.dtype() == DType::F64 {
            DType::F64
        } else {
            DType::F32
        };
        let host = Tensor::from_slice(
            &self.frequencies,
            (self.inputs, self.waves),
            &candle_core::Device::Cpu,
        )?;
        let frequencies = host.to_dtype(dtype)?.to_device(x.device())?;
        let rows = x.dims()[..x.rank() - 1].iter().product::<usize>();
        x.reshape((rows, self.inputs))?
            .to_dtype(dtype)?
            .matmul(&frequencies)
    }

    /// What stands in the places of the sines and of the cosines, (rows, waves) each, as rows of the output for `x`.
    fn arranged(&self, sines: &Tensor, cosines: &Tensor, x: &Tensor) -> candle_core::Result<Tensor> {
        let y = match self.order {
            WaveOrder::SinesFirst => Tensor::cat(&[sines, cosines], 1)?,
            WaveOrder::CosinesFirst => Tensor::cat(&[cosines, sines], 1)?,
            WaveOrder::Interleaved => Tensor::stack(&[sines, cosines], 2)?,
        };
        let mut dims = x.dims().to_vec();
        dims.pop();
        dims.push(self.outputs());
        y.reshape(dims)?.to_dtype(x.dtype())
    }

    fn waves(&self) -> Waves<'_> {
        Waves {
            frequencies: &self.frequencies,
            inputs: self.inputs,
            waves: self.waves,
            order: self.order,
        }
    }
}

struct WavesOp(FourierFeatures);

impl WavesOp {
    fn forward<T: Element>(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<CpuStorage> {
        let rows = layout.shape().elem_count() / self.0.inputs;
        let y = self
            .0
            .waves()
            .forward(values::<T>(x, layout)?, rows)
            .map_err(candle_core::Error::wrap)?;
        Ok(T::to_cpu_storage_owned(y))
    }

    fn backward<T: Element>(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> candle_core::Result<Tensor> {
        let rows = x.elem_count() / self.0.inputs;
        let dx = with_values::<T, _>(y, |y| {
            with_values::<T, _>(dy, |dy| {
                self.0
                    .waves()
                    .backward(y, dy, rows)
                    .map_err(candle_core::Error::wrap)
            })
        })?;
        Tensor::from_vec(dx, x.shape(), x.device())
    }
}

impl CustomOp1 for WavesOp {
    fn name(&self) -> &'static str {
        "waves"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let y = match x {
            CpuStorage::F64(_) => self.forward::<f64>(x, layout)?,
            _ => self.forward::<f32>(x, layout)?,
        };
        let mut dims = layout.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = self.0.outputs();
        }
        Ok((y, dims.into()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        Ok(Some(match x.dtype() {
            DType::F64 => self.backward::<f64>(x, y, &dy)?,
            _ => self.backward::<f32>(x, y, &dy)?,
        }))
    }
}

#[cfg(test)]
#[path = "fourier_features_tests.rs"]
mod tests;
