//! Gradients by the names of their parameters: accumulated, scaled, clipped.
//!
//! ```text
//! clipping   g ← c g,   c = min(1, max_norm/(‖g‖ + 10⁻⁶)),   ‖g‖² summed over all parameters      (PyTorch's rule)
//! ```
//!
//! Source of clipping: Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, algorithm 1.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};

use crate::error::{Error, Result};
use crate::parameters::Parameters;
use crate::slices::{Element, kernels_take, with_values};

/// Keeps the norm after clipping below `max_norm`, and the quotient finite for a norm of 0.
const CLIP_MARGIN: f64 = 1e-6;

/// The gradients of a step, by name, for any [`crate::Optimizer`].
///
/// Scaling and clipping only change a factor, which the optimiser's own pass multiplies by; the norms are computed once.
#[derive(Clone, Debug)]
pub struct Gradients {
    tensors: BTreeMap<String, Tensor>,
    scale: f64,
    /// ‖g‖² of each tensor before the scale, in the order of names.
    squares: OnceLock<Vec<f64>>,
}

impl Default for Gradients {
    /// None: what an accumulation starts from.
    fn default() -> Self {
        Self::new(BTreeMap::new())
    }
}

impl Gradients {
    /// Gradients by name.
    #[must_use]
    pub fn new(tensors: BTreeMap<String, Tensor>) -> Self {
        Self {
            tensors,
            scale: 1.0,
            squares: OnceLock::new(),
        }
    }

    /// The gradients of `parameters` in the result of a backward pass; absent ones are left out.
    #[must_use]
    pub fn of(gradients: &GradStore, parameters: &Parameters) -> Self {
        let named = parameters.named().into_iter();
        let found = named.filter_map(|(name, variable)| Some((name, gradients.get(&variable)?.detach())));
        Self::new(found.collect())
    }

    /// The names of the parameters that have a gradient, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether no parameter has a gradient.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The gradient of a parameter.
    ///
    /// # Errors
    ///
    /// When it cannot be scaled.
    pub fn gradient(&self, name: &str) -> Result<Option<Tensor>> {
        let Some(tensor) = self.tensors.get(name) else {
            return Ok(None);
        };
        Ok(Some(scaled(tensor, self.scale)?))
    }

    /// Adds the gradients of another batch; one that is absent here counts as 0. Half precision is summed in f32.
    ///
    /// # Errors
    ///
    /// When two gradients of one parameter differ in shape or device; nothing is then changed.
    pub fn accumulate(&mut self, other: Self) -> Result<()> {
        if self.is_empty() {
            *self = other;
            return Ok(());
        }
        let mut sums = BTreeMap::new();
        for (name, more) in &other.tensors {
            let more = widened(more)?;
            let sum = match self.tensors.get(name) {
                // Equal factors, the rule within one accumulation, stay outside.
                Some(here) if self.scale == other.scale => (widened(here)? + more)?,
                Some(here) => (scaled(&widened(here)?, self.scale)? + scaled(&more, other.scale)?)?,
                None if self.scale == other.scale => more,
                None => scaled(&more, other.scale)?,
            };
            sums.insert(name.clone(), sum);
        }
        if self.scale != other.scale {
            for (name, here) in &self.tensors {
                if !sums.contains_key(name) {
                    sums.insert(name.clone(), scaled(here, self.scale)?);
                }
            }
            self.scale = 1.0;
        }
        self.tensors.append(&mut sums);
        self.squares = OnceLock::new();
        Ok(())
    }

    /// Multiplies every gradient by `factor`: 1/k after k batches, for their mean.
    ///
    /// # Errors
    ///
    /// When `factor` is not finite.
    pub fn scale(&mut self, factor: f64) -> Result<()> {
        if !factor.is_finite() {
            return Err(Error::Setting {
                name: "the factor on the gradients",
                value: factor,
                allowed: "a finite number",
            });
        }
        self.scale *= factor;
        Ok(())
    }

    /// The Euclidean norm of all gradients together, summed in the order of names.
    ///
    /// # Errors
    ///
    /// When a gradient is not finite: the error names its parameter.
    pub fn norm(&self) -> Result<f64> {
        let squares = self.squares()?;
        let square: f64 = squares.iter().sum();
        let norm = square.sqrt() * self.scale.abs();
        if norm.is_finite() {
            return Ok(norm);
        }
        let at_fault = self.tensors.keys().zip(squares);
        let names = at_fault.filter(|(_, square)| !square.is_finite());
        let names = names.map(|(name, _)| name.clone()).collect();
        Err(Error::NonFiniteGradients { names, norm })
    }

    /// The norm of each gradient, by name; one that is not finite is told as it is.
    ///
    /// # Errors
    ///
    /// When a gradient cannot be read.
    pub fn norms(&self) -> Result<BTreeMap<String, f64>> {
        let norms = self
            .squares()?
            .iter()
            .map(|square| square.sqrt() * self.scale.abs());
        Ok(self.tensors.keys().cloned().zip(norms).collect())
    }

    /// Scales all gradients down so that their norm is at most `max_norm`; returns the norm that they had.
    ///
    /// # Errors
    ///
    /// When `max_norm` is not positive, or a gradient is not finite; nothing is then changed.
    pub fn clip_norm(&mut self, max_norm: f64) -> Result<f64> {
        let norm = self.norm()?;
        self.scale *= clip_scale(norm, max_norm)?;
        Ok(norm)
    }

    /// The factor that the tensors are still to be multiplied by, and the tensor of a parameter.
    pub(crate) fn raw(&self, name: &str) -> Option<(&Tensor, f64)> {
        Some((self.tensors.get(name)?, self.scale))
    }

    /// ‖g‖² of each tensor before the scale, in the order of names.
    pub(crate) fn squares(&self) -> Result<&[f64]> {
        if let Some(squares) = self.squares.get() {
            return Ok(squares);
        }
        let squares = squared_norms(self.tensors.values())?;
        Ok(self.squares.get_or_init(|| squares))
    }
}

/// The Euclidean norm of all gradients of `parameters` together, summed in the order of names; absent ones count as 0.
///
/// # Errors
///
/// When a gradient is not finite: the error names its parameter.
pub fn gradient_norm(gradients: &GradStore, parameters: &Parameters) -> Result<f64> {
    Gradients::of(gradients, parameters).norm()
}

/// Scales gradients in a backward pass's own store so that their norm is at most `max_norm`; returns the norm they had.
///
/// [`crate::Optimizer::step_clipped`] does the same without a pass of its own.
///
/// # Errors
///
/// When `max_norm` is not positive or a gradient is not finite; nothing is then changed.
pub fn clip_grad_norm(gradients: &mut GradStore, parameters: &Parameters, max_norm: f64) -> Result<f64> {
    let norm = gradient_norm(gradients, parameters)?;
    let scale = clip_scale(norm, max_norm)?;
    if scale < 1.0 {
        for (_, variable) in parameters.named() {
            if let Some(gradient) = gradients.remove(&variable) {
                gradients.insert(&variable, (gradient * scale)?);
            }
        }
    }
    Ok(norm)
}

/// The factor that takes `norm` down to `max_norm`, 1 if it is below.
fn clip_scale(norm: f64, max_norm: f64) -> Result<f64> {
    if max_norm.is_nan() || max_norm <= 0.0 {
        return Err(Error::Setting {
            name: "max_norm",
            value: max_norm,
            allowed: "a positive number",
        });
    }
    Ok((max_norm / (norm + CLIP_MARGIN)).min(1.0))
}

/// ‖·‖² of each tensor; what another device computed is fetched in one transfer.
pub(crate) fn squared_norms<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Result<Vec<f64>> {
    fn kernel<T: Element>(tensor: &Tensor) -> Result<f64> {
        Ok(with_values::<T, _>(&tensor.contiguous()?, |values| {
            Ok(tallow_kernels::squared_norm(values))
        })?)
    }
    let (mut squares, mut waiting) = (Vec::new(), Vec::new());
    for (index, tensor) in tensors.enumerate() {
        squares.push(match (kernels_take(tensor), tensor.dtype()) {
            (true, DType::F64) => kernel::<f64>(tensor)?,
            (true, _) => kernel::<f32>(tensor)?,
            (false, _) => {
                waiting.push((index, tensor.to_dtype(DType::F32)?.sqr()?.sum_all()?));
                0.0
            }
        });
    }
    if !waiting.is_empty() {
        let (indices, sums): (Vec<usize>, Vec<Tensor>) = waiting.into_iter().unzip();
        let sums = Tensor::stack(&sums, 0)?.to_vec1::<f32>()?;
        for (index, sum) in indices.into_iter().zip(sums) {
            squares[index] = f64::from(sum);
        }
    }
    Ok(squares)
}

fn scaled(tensor: &Tensor, factor: f64) -> candle_core::Result<Tensor> {
    if factor == 1.0 {
        Ok(tensor.clone())
    } else {
        tensor * factor
    }
}

/// In a type that sums of many gradients do not lose themselves in.
fn widened(tensor: &Tensor) -> candle_core::Result<Tensor> {
    match tensor.dtype() {
        DType::F32 | DType::F64 => Ok(tensor.clone()),
        _ => tensor.to_dtype(DType::F32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;
    use candle_core::Device;

    fn three() -> (Parameters, Vec<Tensor>) {
        let parameters = Parameters::new(1, DType::F64, &Device::Cpu);
        let tensors = ["a", "b", "c"].map(|name| {
            parameters
                .scope()
                .parameter(name, 4, Init::Constant(2.0))
                .unwrap()
        });
        (parameters, tensors.to_vec())
    }

    #[test]
    fn clipping_brings_the_norm_down_and_never_up() {
        let (parameters, t) = three();
        let loss = ((&t[0] * 3.0).unwrap() + (&t[1] * 4.0).unwrap())
            .unwrap()
            .sum_all()
            .unwrap();
        // √(4·9 + 4·16) = 10.
        for (max_norm, after) in [(5.0, 5.0), (20.0, 10.0)] {
            let mut gradients = loss.backward().unwrap();
            assert_eq!(
                clip_grad_norm(&mut gradients, &parameters, max_norm).unwrap(),
                10.0
            );
            let clipped = gradient_norm(&gradients, &parameters).unwrap();
            // The margin of 1e-6 in PyTorch's rule.
            assert!(clipped <= after && clipped > after * (1.0 - 2e-7), "{clipped}");
        }
        assert!(clip_grad_norm(&mut loss.backward().unwrap(), &parameters, 0.0).is_err());
    }

    #[test]
    fn a_gradient_that_is_not_finite_is_named() {
        let (parameters, t) = three();
        let loss = (&t[0] - 2.0).unwrap().sqrt().unwrap().sum_all().unwrap();
        let clipped = clip_grad_norm(&mut loss.backward().unwrap(), &parameters, 1.0);
        let Err(Error::NonFiniteGradients { names, .. }) = clipped else {
            panic!("passed")
        };
        assert_eq!(names, ["a"]);
    }

    #[test]
    fn the_mean_over_batches_is_the_gradient_of_the_mean() {
        let (parameters, t) = three();
        let parts = [1.0, 2.0, 4.0].map(|c| (&t[0] * c).unwrap().sqr().unwrap().sum_all().unwrap());
        let mut sum = Gradients::default();
        for part in &parts {
            sum.accumulate(Gradients::of(&part.backward().unwrap(), &parameters))
                .unwrap();
        }
        sum.scale(1.0 / 3.0).unwrap();
        // d/da c² a² = 2 c² a at a = 2: 4 (1 + 4 + 16)/3 = 28.
        let a = sum.gradient("a").unwrap().unwrap().to_vec1::<f64>().unwrap();
        assert!(a.iter().all(|g| (g - 28.0).abs() < 1e-12), "{a:?}");
        assert!((sum.norm().unwrap() - 56.0).abs() < 1e-12);
        assert_eq!(sum.names().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn parts_with_factors_of_their_own_add_up_as_they_stand() {
        let tensor = |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap();
        let of = |entries: &[(&str, &[f64])]| {
            let named = entries
                .iter()
                .map(|(name, values)| (name.to_string(), tensor(values)));
            Gradients::new(named.collect())
        };
        let mut first = of(&[("a", &[1.0, 2.0]), ("b", &[3.0])]);
        let mut second = of(&[("a", &[10.0, 20.0]), ("c", &[30.0])]);
        assert!((first.norm().unwrap() - 14f64.sqrt()).abs() < 1e-15);
        first.scale(2.0).unwrap();
        second.scale(0.5).unwrap();
        first.accumulate(second).unwrap();
        let read = |name| first.gradient(name).unwrap().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(
            [read("a"), read("b"), read("c")],
            [vec![7.0, 14.0], vec![6.0], vec![15.0]]
        );
        assert!((first.norm().unwrap() - (49.0f64 + 196.0 + 36.0 + 225.0).sqrt()).abs() < 1e-12);
        assert!(first.accumulate(of(&[("a", &[1.0])])).is_err());
        assert!(first.scale(f64::NAN).is_err());
    }
}
