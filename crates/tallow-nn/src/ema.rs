//! An exponential moving average of the parameters: the weights that one samples with.
//!
//! ```text
//! s ← d s + (1 − d) p          after every step
//! ```
//!
//! Source: Polyak & Juditsky 1992, doi:10.1137/0330046; for d, see [`EmaDecay`].

use std::collections::BTreeMap;

use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Tensor, Var, bail};

use crate::ema_decay::EmaDecay;
use crate::error::{Error, Result};
use crate::gradients::squared_norms;
use crate::memory::{InStorage, wide};
use crate::parameters::{Parameters, check_same};
use crate::scope::View;
use crate::slices::{Element, kernels_take, values};

/// Shadow values of a set of parameters, by name; of half precision in f32, in which small steps are not lost.
///
/// Source: Polyak & Juditsky 1992, doi:10.1137/0330046; for d, see [`EmaDecay`].
#[derive(Debug)]
pub struct Ema {
    decay: EmaDecay,
    slots: BTreeMap<String, Slot>,
    updates: u64,
    dtype: DType,
    device: Device,
}

#[derive(Debug)]
struct Slot {
    variable: Var,
    /// Changed in place, so that views of it stay current.
    shadow: Var,
}

impl Ema {
    /// An average that starts at the values of `parameters`.
    ///
    /// # Errors
    ///
    /// When the decay is outside its range or a tensor cannot be copied.
    pub fn new(parameters: &Parameters, decay: EmaDecay) -> Result<Self> {
        decay.check()?;
        let mut slots = BTreeMap::new();
        for (name, variable) in parameters.named() {
            let start = variable.as_detached_tensor().to_dtype(wide(variable.dtype()))?;
            let shadow = Var::from_tensor(&start.copy()?)?;
            slots.insert(name, Slot { variable, shadow });
        }
        Ok(Self {
            decay,
            slots,
            updates: 0,
            dtype: wide(parameters.dtype()),
            device: parameters.device().clone(),
        })
    }

    /// Moves the average towards the parameters: once after every step of the optimiser.
    ///
    /// # Errors
    ///
    /// When a parameter is not finite, since an average would never lose it again: the error names it, and nothing is
    /// changed.
    pub fn update(&mut self) -> Result<()> {
        self.check_finite()?;
        self.advance()
    }

    /// Refuses parameters that are not finite.
    pub(crate) fn check_finite(&self) -> Result<()> {
        let values: Vec<_> = self
            .slots
            .values()
            .map(|slot| slot.variable.as_tensor())
            .collect();
        let squares = squared_norms(values.into_iter())?;
        let at_fault = self.slots.keys().zip(&squares);
        let at_fault = at_fault.filter(|(_, square)| !square.is_finite());
        let names: Vec<_> = at_fault.map(|(name, _)| name.clone()).collect();
        if names.is_empty() {
            Ok(())
        } else {
            Err(Error::NonFiniteParameters { names })
        }
    }

    /// An update that trusts the parameters to be finite.
    pub(crate) fn advance(&mut self) -> Result<()> {
        let weight = 1.0 - self.decay.at(self.updates);
        for slot in self.slots.values() {
            let value = slot.variable.as_detached_tensor().to_dtype(self.dtype)?;
            match (kernels_take(&value), value.dtype()) {
                (true, DType::F64) => slot.shadow.inplace_op2(&value, &Lerp::<f64>::new(weight))?,
                (true, _) => slot.shadow.inplace_op2(&value, &Lerp::<f32>::new(weight))?,
                (false, _) => {
                    let shadow = slot.shadow.as_detached_tensor();
                    slot.shadow.set(&(&shadow + ((value - &shadow)? * weight)?)?)?;
                }
            }
        }
        self.updates += 1;
        Ok(())
    }

    /// A view of the average, for building the model that samples; it follows later updates.
    #[must_use]
    pub fn detached(&self) -> View {
        let tensors = self
            .slots
            .iter()
            .map(|(name, slot)| (name.clone(), slot.shadow.as_detached_tensor()))
            .collect();
        View::new(&tensors, self.dtype, &self.device)
    }

    /// The decay.
    #[must_use]
    pub fn decay(&self) -> EmaDecay {
        self.decay
    }

    /// How many updates have been made.
    #[must_use]
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// A deep copy of the average under the parameters' names; with [`updates`](Self::updates) it is the whole state.
    ///
    /// # Errors
    ///
    /// When a tensor cannot be copied.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        self.slots
            .iter()
            .map(|(name, slot)| Ok((name.clone(), slot.shadow.as_detached_tensor().copy()?)))
            .collect()
    }

    /// Goes on from a [`state`](Self::state) after `updates` updates: all of it, or nothing is changed.
    ///
    /// # Errors
    ///
    /// When names or shapes differ; the error lists every difference.
    pub fn restore(&mut self, state: &BTreeMap<String, Tensor>, updates: u64) -> Result<()> {
        let wanted = self
            .slots
            .iter()
            .map(|(name, slot)| (name.as_str(), slot.shadow.shape()));
        check_same("the state of the average", wanted, state)?;
        let mut values = Vec::with_capacity(self.slots.len());
        for (name, slot) in &self.slots {
            if let Some(tensor) = state.get(name) {
                // A copy, because the tensors may be views of this very average.
                let tensor = tensor.to_dtype(self.dtype)?.to_device(&self.device)?.copy()?;
                values.push((&slot.shadow, tensor));
            }
        }
        for (shadow, value) in values {
            shadow.set(&value)?;
        }
        self.updates = updates;
        Ok(())
    }
}

struct Lerp<T> {
    weight: f64,
    element: std::marker::PhantomData<T>,
}

impl<T> Lerp<T> {
    fn new(weight: f64) -> Self {
        Self {
            weight,
            element: std::marker::PhantomData,
        }
    }
}

impl<T: Element + InStorage> InplaceOp2 for Lerp<T> {
    fn name(&self) -> &'static str {
        "ema"
    }

    fn cpu_fwd(
        &self,
        shadow: &mut CpuStorage,
        layout: &Layout,
        value: &CpuStorage,
        value_layout: &Layout,
    ) -> candle_core::Result<()> {
        let value = values::<T>(value, value_layout)?;
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("an average of shape {:?} is not contiguous", layout.shape());
        };
        let Some(shadow) = T::slice_mut(shadow).and_then(|values| values.get_mut(start..end)) else {
            bail!("an average and its parameter differ in type or length");
        };
        tallow_kernels::lerp(shadow, value, self.weight).map_err(candle_core::Error::wrap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;

    fn set(parameters: &Parameters, value: f64) {
        let variable = parameters.variable("p").unwrap();
        variable
            .set(&variable.ones_like().unwrap().affine(value, 0.0).unwrap())
            .unwrap();
    }

    fn start() -> Parameters {
        let parameters = Parameters::new(1, DType::F64, &Device::Cpu);
        parameters.scope().parameter("p", 2, Init::ZEROS).unwrap();
        parameters
    }

    fn shadow(ema: &Ema) -> f64 {
        ema.detached().tensors()["p"].to_vec1::<f64>().unwrap()[1]
    }

    #[test]
    fn after_a_jump_the_distance_falls_geometrically() {
        let parameters = start();
        let mut ema = Ema::new(&parameters, EmaDecay::Constant(0.9)).unwrap();
        set(&parameters, 1.0);
        for _ in 0..20 {
            ema.update().unwrap();
        }
        assert!((1.0 - shadow(&ema) - 0.9f64.powi(20)).abs() < 1e-14);
    }

    #[test]
    fn a_half_life_halves_the_distance() {
        let parameters = start();
        let mut ema = Ema::new(&parameters, EmaDecay::HalfLife { updates: 8.0 }).unwrap();
        set(&parameters, 1.0);
        for _ in 0..8 {
            ema.update().unwrap();
        }
        assert!((shadow(&ema) - 0.5).abs() < 1e-14);
    }

    #[test]
    fn a_view_made_early_follows_and_a_restored_average_goes_on() {
        let parameters = start();
        let mut ema = Ema::new(&parameters, EmaDecay::WarmUp(0.99)).unwrap();
        let early = ema.detached();
        set(&parameters, 1.0);
        ema.update().unwrap();
        let (state, updates) = (ema.state().unwrap(), ema.updates());
        ema.update().unwrap();
        let twice = shadow(&ema);
        assert_eq!(early.tensors()["p"].to_vec1::<f64>().unwrap()[0], twice);
        ema.restore(&state, updates).unwrap();
        assert_ne!(shadow(&ema), twice);
        ema.update().unwrap();
        assert_eq!(shadow(&ema), twice);
        assert!(ema.restore(&BTreeMap::new(), 0).is_err());
    }

    #[test]
    fn parameters_that_are_not_finite_are_refused_by_name_and_change_nothing() {
        let parameters = start();
        let mut ema = Ema::new(&parameters, EmaDecay::Constant(0.5)).unwrap();
        set(&parameters, f64::NAN);
        let Err(Error::NonFiniteParameters { names }) = ema.update() else {
            panic!("passed")
        };
        assert_eq!(
            (names, shadow(&ema), ema.updates()),
            (vec!["p".to_string()], 0.0, 0)
        );
    }

    #[test]
    fn an_average_of_half_precision_keeps_small_steps() {
        let parameters = Parameters::new(1, DType::BF16, &Device::Cpu);
        parameters.scope().parameter("p", 2, Init::ONES).unwrap();
        let mut ema = Ema::new(&parameters, EmaDecay::Constant(0.999)).unwrap();
        parameters
            .restore(&BTreeMap::from([(
                "p".to_string(),
                Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap(),
            )]))
            .unwrap();
        for _ in 0..100 {
            ema.update().unwrap();
        }
        let values = ema.detached().tensors()["p"].to_vec1::<f32>().unwrap();
        assert!(
            (f64::from(values[0]) - 0.999f64.powi(100)).abs() < 1e-6,
            "{values:?}"
        );
    }

    #[test]
    fn updates_have_the_same_bits_on_one_thread_and_on_two() {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
                let init = Init::Normal { std: 1.0 };
                parameters.scope().parameter("p", 400_000, init).unwrap();
                parameters.scope().parameter("none", (0, 2), init).unwrap();
                let mut ema = Ema::new(&parameters, EmaDecay::WarmUp(0.9)).unwrap();
                let p = parameters.variable("p").unwrap();
                for _ in 0..3 {
                    p.set(&p.sin().unwrap().detach()).unwrap();
                    ema.update().unwrap();
                }
                let values = ema.detached().tensors()["p"].to_vec1::<f32>().unwrap();
                values.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            })
        };
        assert!(run(1) == run(2));
    }

    #[test]
    fn decays_outside_their_range_are_refused() {
        assert!(Ema::new(&start(), EmaDecay::Constant(1.1)).is_err());
    }
}
