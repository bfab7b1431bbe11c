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
mod tests {
    use super::*;
    use crate::testing::{check_dual, random};
    use candle_core::{Device, Var};

    fn distance(a: &Tensor, b: &Tensor) -> f64 {
        let difference = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
        difference
            .max(0)
            .unwrap()
            .to_dtype(DType::F64)
            .unwrap()
            .to_scalar()
            .unwrap()
    }

    fn points() -> Var {
        Var::new(&[[0.3f64, -1.2], [2.5, 0.0], [-0.7, 0.9]], &Device::Cpu).unwrap()
    }

    #[test]
    fn values_and_gradients_are_those_of_candles_operations() {
        let harmonics = FourierFeatures::harmonics(2, 3, 1.5).unwrap();
        let octaves = FourierFeatures::octaves(2, 4, 3.0)
            .unwrap()
            .with_order(WaveOrder::SinesFirst);
        let random = FourierFeatures::random(2, 5, 0.7, 3)
            .unwrap()
            .with_order(WaveOrder::Interleaved);
        for features in [harmonics, octaves, random] {
            let x = points();
            let (ours, theirs) = (features.forward(&x).unwrap(), features.composed(&x).unwrap());
            assert_eq!(ours.dims(), [3, features.outputs()]);
            assert!(distance(&ours, &theirs) < 1e-14);
            let weights = Tensor::arange(0f64, features.outputs() as f64, &Device::Cpu).unwrap();
            let gradient = |y: &Tensor| {
                let loss = y.broadcast_mul(&weights).unwrap().sum_all().unwrap();
                loss.backward().unwrap().remove(&x).unwrap()
            };
            assert!(distance(&gradient(&ours), &gradient(&theirs)) < 1e-11);
        }
    }

    #[test]
    fn tangents_are_central_differences_in_every_order() {
        for (order, inputs, shape) in [
            (WaveOrder::SinesFirst, 2, vec![3, 2]),
            (WaveOrder::CosinesFirst, 3, vec![130, 3]),
            (WaveOrder::Interleaved, 1, vec![2, 3, 1]),
        ] {
            let features = FourierFeatures::random(inputs, 5, 0.3, 9)
                .unwrap()
                .with_order(order);
            let x = random(shape, 4);
            check_dual(&x, |x| features.forward_dual(x), |x| features.forward(x));
            check_dual(
                &x,
                |x| {
                    let y = features.composed(x.value())?;
                    match x.tangent() {
                        Some(direction) => Dual::new(y, features.composed_tangent(x.value(), direction)?),
                        None => Ok(Dual::constant(y)),
                    }
                },
                |x| features.forward(x),
            );
        }
        let half = random((3, 2), 5).to_dtype(DType::F16).unwrap();
        let features = FourierFeatures::harmonics(2, 3, 1.0).unwrap();
        let y = features.forward_dual(&Dual::new(half.clone(), half).unwrap());
        assert_eq!(y.unwrap().tangent().unwrap().dtype(), DType::F16);
    }

    #[test]
    fn harmonics_are_multiples_and_octaves_powers() {
        let x = Tensor::new(&[[0.4f64]], &Device::Cpu).unwrap();
        let row =
            |features: FourierFeatures| features.forward(&x).unwrap().to_vec2::<f64>().unwrap().remove(0);
        let harmonics = row(FourierFeatures::harmonics(1, 3, 2.0).unwrap());
        let octaves = row(FourierFeatures::octaves(1, 3, 2.0).unwrap());
        for (i, (h, o)) in [(2.0, 2.0), (4.0, 4.0), (6.0, 8.0)].into_iter().enumerate() {
            assert!((harmonics[i] - (0.4f64 * h).cos()).abs() < 1e-15);
            assert!((octaves[3 + i] - (0.4f64 * o).sin()).abs() < 1e-15);
        }
    }

    #[test]
    fn single_precision_is_the_rounded_double_and_half_comes_close() {
        let features = FourierFeatures::harmonics(2, 4, 3.0).unwrap();
        let single = points().to_dtype(DType::F32).unwrap();
        let ours = features.forward(&single).unwrap();
        let exact = features
            .forward(&single.to_dtype(DType::F64).unwrap())
            .unwrap()
            .to_dtype(DType::F32)
            .unwrap();
        assert_eq!(distance(&ours, &exact), 0.0);
        let half = features.forward(&single.to_dtype(DType::F16).unwrap()).unwrap();
        assert!(distance(&half.to_dtype(DType::F32).unwrap(), &ours) < 0.02);
    }

    #[test]
    fn sizes_and_shapes_that_do_not_fit_are_refused() {
        assert!(FourierFeatures::harmonics(0, 3, 1.0).is_err());
        assert!(FourierFeatures::octaves(2, 0, 1.0).is_err());
        assert!(FourierFeatures::random(2, 3, f64::NAN, 1).is_err());
        assert!(
            FourierFeatures::harmonics(3, 2, 1.0)
                .unwrap()
                .forward(&points())
                .is_err()
        );
        let empty = Tensor::zeros((0, 2), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(
            FourierFeatures::harmonics(2, 2, 1.0)
                .unwrap()
                .forward(&empty)
                .unwrap()
                .dims(),
            [0, 8]
        );
    }
}
