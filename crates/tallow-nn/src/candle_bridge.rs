//! Networks of candle-nn among our parameters: their layers register here, or their `VarMap` is shared.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use candle_nn::Module;
//! use tallow_nn::{AdamW, AdamWConfig, Parameters};
//!
//! let parameters = Parameters::new(7, DType::F32, &Device::Cpu);
//! let head = candle_nn::linear(4, 2, parameters.var_builder().pp("head"))?;
//! let mut adam = AdamW::new(&parameters, AdamWConfig::default())?;
//! let x = Tensor::ones((3, 4), DType::F32, &Device::Cpu)?;
//! adam.backward_step(&head.forward(&x)?.sqr()?.mean_all()?)?;
//! // The same weights without a graph, to sample with.
//! let view = parameters.detached();
//! let sampling = candle_nn::linear(4, 2, view.var_builder().pp("head"))?;
//! assert!(!sampling.forward(&x)?.track_op());
//! # Ok::<(), tallow_nn::Error>(())
//! ```

use std::collections::BTreeMap;
use std::sync::PoisonError;

use candle_core::{DType, Device, Result, Shape, Tensor, Var, bail};
use candle_nn::init::NormalOrUniform;
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{VarBuilder, VarMap};

use crate::error::Error;
use crate::init::Init;
use crate::parameters::Parameters;
use crate::scope::View;

impl Parameters {
    /// A builder whose layers add their parameters to this set, or share those that have the name already.
    ///
    /// Values are drawn from candle's `Init`, by this set's seed and the parameter's name. What a layer keeps beside its
    /// weights, such as the running means of a batch norm, becomes a parameter, too: freeze it by its name.
    #[must_use]
    pub fn var_builder(&self) -> VarBuilder<'_> {
        VarBuilder::from_backend(Box::new(Creating(self)), self.dtype(), self.device().clone())
    }

    /// A set that shares the variables of `var_map`: training either trains both. A parameter that is added to the set
    /// later is drawn from the seed 0 and does not join the map.
    ///
    /// # Errors
    ///
    /// When the map is empty, or its variables differ in type or device.
    pub fn from_var_map(var_map: &VarMap) -> crate::Result<Self> {
        let data = var_map.data().lock().unwrap_or_else(PoisonError::into_inner);
        let variables: BTreeMap<String, Var> = data
            .iter()
            .map(|(name, variable)| (name.clone(), variable.clone()))
            .collect();
        let refuse = |why: String| Err(Error::VarMap { why });
        let Some((first, one)) = variables.iter().next() else {
            return refuse("is empty: build the network first".to_string());
        };
        for (name, variable) in &variables {
            if variable.dtype() != one.dtype() || !variable.device().same_device(one.device()) {
                return refuse(format!(
                    "has `{first}` in {:?} on {:?} but `{name}` in {:?} on {:?}: a set of parameters has one type and \
                     device, so put each into a map of its own",
                    one.dtype(),
                    one.device().location(),
                    variable.dtype(),
                    variable.device().location()
                ));
            }
        }
        let (dtype, device) = (one.dtype(), one.device().clone());
        Ok(Self::sharing(variables, dtype, &device))
    }
}

impl View {
    /// A builder whose layers read this view: the network that samples, without a graph; it follows training.
    #[must_use]
    pub fn var_builder(&self) -> VarBuilder<'_> {
        VarBuilder::from_backend(Box::new(Reading(self)), self.dtype, self.device.clone())
    }
}

struct Creating<'a>(&'a Parameters);

impl SimpleBackend for Creating<'_> {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        init: candle_nn::Init,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let parameters = self.0;
        same_place(name, (parameters.dtype(), parameters.device()), (dtype, device))?;
        if let Some(variable) = parameters.variable(name) {
            if variable.shape() != &shape {
                let (name, got) = (name.to_string(), variable.shape().clone());
                let wanted = shape;
                return Err(Error::ParameterShape { name, wanted, got }.into());
            }
            return Ok(variable.as_tensor().clone());
        }
        let (init, centre) = translated(init, &shape);
        init.check()?;
        let mut start = init.draw(name, &shape, parameters.seed(), dtype, device)?;
        if centre != 0.0 {
            start = (start + centre)?;
        }
        Ok(parameters.insert(name.to_string(), &start)?)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        let Some(variable) = self.0.variable(name) else {
            bail!("there is no parameter `{name}` yet, and without a shape it cannot be made");
        };
        same_place(name, (variable.dtype(), variable.device()), (dtype, device))?;
        Ok(variable.as_tensor().clone())
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.variable(name).is_some()
    }
}

struct Reading<'a>(&'a View);

impl SimpleBackend for Reading<'_> {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: candle_nn::Init,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        same_place(name, (self.0.dtype, &self.0.device), (dtype, device))?;
        Ok(self.0.find(name, &shape)?)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        same_place(name, (self.0.dtype, &self.0.device), (dtype, device))?;
        let Some(tensor) = self.0.tensors().get(name) else {
            return Err(Error::unknown(name, self.0.tensors()).into());
        };
        Ok(tensor.clone())
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.tensors().contains_key(name)
    }
}

/// A converted copy would not follow the training, so none is handed out.
fn same_place(name: &str, here: (DType, &Device), wanted: (DType, &Device)) -> Result<()> {
    if here.0 == wanted.0 && here.1.same_device(wanted.1) {
        return Ok(());
    }
    bail!(
        "`{name}` is asked for in {:?} on {:?}, but the parameters are in {:?} on {:?}: convert the activations instead",
        wanted.0,
        wanted.1.location(),
        here.0,
        here.1.location()
    )
}

/// candle's distribution as one of ours around a centre.
fn translated(init: candle_nn::Init, shape: &Shape) -> (Init, f64) {
    match init {
        candle_nn::Init::Const(value) => (Init::Constant(value), 0.0),
        candle_nn::Init::Randn { mean, stdev } => (Init::Normal { std: stdev }, mean),
        candle_nn::Init::Uniform { lo, up } => {
            let bound = 0.5 * (up - lo);
            (Init::Uniform { bound }, 0.5 * (lo + up))
        }
        candle_nn::Init::Kaiming {
            dist,
            fan,
            non_linearity,
        } => {
            let std = non_linearity.gain() / (fan.for_shape(shape).max(1) as f64).sqrt();
            match dist {
                NormalOrUniform::Normal => (Init::Normal { std }, 0.0),
                NormalOrUniform::Uniform => {
                    let bound = 3f64.sqrt() * std;
                    (Init::Uniform { bound }, 0.0)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AdamW, AdamWConfig, Ema, EmaDecay};
    use candle_nn::{Linear, Module};

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn two_layers(vb: &VarBuilder<'_>) -> [Linear; 2] {
        ["a", "b"].map(|name| candle_nn::linear(3, 3, vb.pp("net").pp(name)).unwrap())
    }

    fn forward(net: &[Linear], x: &Tensor) -> Tensor {
        let hidden = net[0].forward(x).unwrap().tanh().unwrap();
        net[1].forward(&hidden).unwrap()
    }

    #[test]
    fn a_network_of_candle_nn_trains_among_our_parameters_and_samples_without_a_graph() {
        let parameters = Parameters::new(7, DType::F32, &Device::Cpu);
        let net = two_layers(&parameters.var_builder());
        assert_eq!(
            parameters.names(),
            ["net.a.bias", "net.a.weight", "net.b.bias", "net.b.weight"]
        );
        let config = AdamWConfig {
            learning_rate: 0.02,
            ..AdamWConfig::default()
        };
        let mut adam = AdamW::new(&parameters, config).unwrap();
        let mut ema = Ema::new(&parameters, EmaDecay::Constant(0.5)).unwrap();
        let x = Tensor::new(&[[1f32, 0., 0.], [0., 1., 0.], [0., 0., 1.]], &Device::Cpu).unwrap();
        let loss = || {
            (forward(&net, &x) - &x)
                .unwrap()
                .sqr()
                .unwrap()
                .mean_all()
                .unwrap()
        };
        for _ in 0..300 {
            adam.backward_step(&loss()).unwrap();
            ema.update().unwrap();
        }
        assert!(loss().to_scalar::<f32>().unwrap() < 1e-3);
        let view = parameters.detached();
        let sampled = forward(&two_layers(&view.var_builder()), &x);
        assert!(!sampled.track_op());
        assert_eq!(values(&sampled), values(&forward(&net, &x)));
        let averaged = forward(&two_layers(&ema.detached().var_builder()), &x);
        assert_ne!(values(&averaged), values(&sampled));
    }

    #[test]
    fn starts_depend_on_seed_and_name_alone_and_follow_candles_distribution() {
        let draw = |seed, name: &str, init| {
            let parameters = Parameters::new(seed, DType::F32, &Device::Cpu);
            let vb = parameters.var_builder();
            values(&vb.get_with_hints((64, 64, 3, 3), name, init).unwrap())
        };
        let kaiming = candle_nn::init::DEFAULT_KAIMING_NORMAL;
        assert_eq!(draw(1, "w", kaiming), draw(1, "w", kaiming));
        assert_ne!(draw(1, "w", kaiming), draw(2, "w", kaiming));
        assert_ne!(draw(1, "w", kaiming), draw(1, "v", kaiming));
        let n = 64 * 64 * 9;
        let moments = |init| {
            let values = draw(1, "w", init);
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / f64::from(n);
            let square = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>();
            (mean, (square / f64::from(n)).sqrt())
        };
        // Kaiming: √2/√fan, fan = 64·9. Uniform: (up − lo)/√12. Three standard errors of 36 864 values.
        let std = (2.0f64 / 576.0).sqrt();
        let randn = candle_nn::Init::Randn {
            mean: 3.0,
            stdev: 0.5,
        };
        let uniform = candle_nn::Init::Uniform { lo: -1.0, up: 3.0 };
        for (init, mean, std) in [
            (kaiming, 0.0, std),
            (candle_nn::init::DEFAULT_KAIMING_UNIFORM, 0.0, std),
            (randn, 3.0, 0.5),
            (uniform, 1.0, 4.0 / 12f64.sqrt()),
            (candle_nn::Init::Const(0.25), 0.25, 0.0),
        ] {
            let (got_mean, got_std) = moments(init);
            let error = 3.0 * std / f64::from(n).sqrt() + 1e-9;
            assert!((got_mean - mean).abs() < error, "{init:?}: mean {got_mean}");
            assert!((got_std - std).abs() < error, "{init:?}: std {got_std}");
        }
        let low = draw(1, "w", uniform).into_iter().fold(f32::INFINITY, f32::min);
        assert!((-1.0..-0.99).contains(&low), "{low}");
    }

    #[test]
    fn a_name_asked_for_twice_is_one_parameter_with_one_shape() {
        let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
        let vb = parameters.var_builder();
        let (first, second) = (vb.get(4, "tied").unwrap(), vb.get(4, "tied").unwrap());
        assert_eq!(first.id(), second.id());
        let error = vb.get(5, "tied").unwrap_err().to_string();
        assert!(error.contains("`tied`") && error.contains("[4]"), "{error}");
        assert!(vb.contains_tensor("tied") && !vb.contains_tensor("other"));
        assert_eq!(vb.get_unchecked("tied").unwrap().id(), first.id());
        assert!(vb.get_unchecked("other").is_err());
    }

    #[test]
    fn another_type_is_refused_since_a_copy_would_not_follow() {
        let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
        let vb = parameters.var_builder();
        vb.get(4, "w").unwrap();
        let error = vb.to_dtype(DType::F64).get(4, "w").unwrap_err().to_string();
        assert!(error.contains("F64") && error.contains("F32"), "{error}");
        let view = parameters.detached();
        assert!(view.var_builder().to_dtype(DType::F64).get(4, "w").is_err());
        assert!(view.var_builder().get(3, "w").is_err());
        assert!(view.var_builder().get(4, "v").is_err());
    }

    #[test]
    fn a_var_map_is_shared_in_both_directions() {
        let map = VarMap::new();
        let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
        let net = two_layers(&vb);
        let parameters = Parameters::from_var_map(&map).unwrap();
        assert_eq!(parameters.names().len(), 4);
        let x = Tensor::ones((2, 3), DType::F32, &Device::Cpu).unwrap();
        let before = values(&forward(&net, &x));
        let mut adam = AdamW::new(&parameters, AdamWConfig::default()).unwrap();
        let loss = forward(&net, &x).sqr().unwrap().mean_all().unwrap();
        adam.backward_step(&loss).unwrap();
        assert_ne!(values(&forward(&net, &x)), before);
        let zeros: BTreeMap<_, _> = parameters
            .snapshot()
            .unwrap()
            .into_iter()
            .map(|(name, tensor)| (name, tensor.zeros_like().unwrap()))
            .collect();
        parameters.restore(&zeros).unwrap();
        assert!(values(&forward(&net, &x)).iter().all(|&y| y == 0.0));
    }

    #[test]
    fn a_var_map_that_is_empty_or_mixed_is_refused_in_words() {
        let map = VarMap::new();
        assert!(Parameters::from_var_map(&map).is_err());
        for (name, dtype) in [("a", DType::F32), ("b", DType::F64)] {
            let vb = VarBuilder::from_varmap(&map, dtype, &Device::Cpu);
            vb.get(2, name).unwrap();
        }
        let error = Parameters::from_var_map(&map).unwrap_err().to_string();
        assert!(
            error.contains("`a` in F32") && error.contains("`b` in F64"),
            "{error}"
        );
    }
}
