//! Linear layers that feed one another, as one operation: all layers of a block of rows before the next block.
//!
//! candle's operations take at most three tensors. So each layer is an operation of the graph with its weight and bias,
//! handing on a token of one number; the last one hands out the output, and on the way back computes all gradients, of which
//! each layer then takes its own.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};
use tallow_kernels::{Chain, ChainGradients, Link, LinkParameters, Trace, Wanted};

use crate::linear::Linear;
use crate::slices::{Element, kernels_take, with_values};

/// `layers` one after the other on x, (…, inputs): the values of calling each on the output of the one before.
///
/// On the host, in f32 and f64, they are one operation, whose activations and gradients stay in the cache from layer to
/// layer; elsewhere, and for fewer than two layers, each is called by itself.
///
/// ```
/// # use candle_core::{DType, Device, Tensor};
/// # use tallow_nn::{Activation, Linear, Parameters, chain};
/// let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
/// let layers = [
///     Linear::new(&parameters.scope().at("layers.0"), 2, 64)?.activated(Activation::Silu),
///     Linear::new(&parameters.scope().at("layers.1"), 64, 2)?,
/// ];
/// assert_eq!(chain(&layers, &Tensor::ones((8, 2), DType::F32, &Device::Cpu)?)?.dims(), [8, 2]);
/// # Ok::<(), tallow_nn::Error>(())
/// ```
///
/// # Errors
///
/// Those of [`Linear::forward`], and when a layer's inputs are not the outputs of the one before.
pub fn chain(layers: &[Linear], x: &Tensor) -> crate::Result<Tensor> {
    let Some(first) = layers.first() else {
        return Ok(x.clone());
    };
    let one_place = layers.windows(2).all(|pair| pair[1].follows(&pair[0]));
    if layers.len() < 2 || !kernels_take(x) || !one_place {
        return layers.iter().try_fold(x.clone(), |h, layer| layer.forward(&h));
    }
    first.check_input(x)?;
    let x = x.contiguous()?;
    Ok(match x.dtype() {
        DType::F64 => fused::<f64>(layers, &x)?,
        _ => fused::<f32>(layers, &x)?,
    })
}

fn fused<T: Element>(layers: &[Linear], x: &Tensor) -> Result<Tensor> {
    let link = |layer: &Linear| Link {
        inputs: layer.inputs(),
        outputs: layer.outputs(),
        activation: layer.activation(),
    };
    let chain = Chain::new(layers.iter().map(link).collect()).map_err(candle_core::Error::wrap)?;
    let (first, last) = (link(&layers[0]), link(&layers[layers.len() - 1]));
    let rows = x.elem_count() / first.inputs;
    let mut dims = x.dims().to_vec();
    if let Some(width) = dims.last_mut() {
        *width = last.outputs;
    }
    let weights = layers
        .iter()
        .any(|layer| layer.tensors().iter().any(|tensor| tensor.track_op()));
    let keep = wanted(weights || x.track_op());
    let (y, trace) = with_parameters::<T, _>(layers, &mut Vec::new(), &mut |parameters| {
        with_values::<T, _>(x, |x| {
            chain
                .forward(x, rows, parameters, keep)
                .map_err(candle_core::Error::wrap)
        })
    })?;
    let Some(trace) = trace else {
        return Tensor::from_vec(y, dims, x.device());
    };
    let pass = Arc::new(Pass {
        chain,
        trace: Box::new(trace),
        x_wanted: wanted(x.track_op()),
        weights_wanted: wanted(weights),
        gradients: Mutex::default(),
    });
    let mut output = Some((T::to_cpu_storage_owned(y), Shape::from(dims)));
    let mut token = x.clone();
    for (index, layer) in layers.iter().enumerate() {
        let output = if index + 1 == layers.len() {
            output.take()
        } else {
            None
        };
        let op = LinkOp {
            pass: pass.clone(),
            index,
            output: Mutex::new(output),
        };
        let [weight, bias] = layer.tensors();
        token = token.apply_op3(weight, bias, op)?;
    }
    Ok(token)
}

fn wanted(tracked: bool) -> Wanted {
    if tracked { Wanted::Yes } else { Wanted::No }
}

/// Calls `f` with the values of all layers' parameters.
fn with_parameters<'a, T: Element, R>(
    layers: &[Linear],
    before: &mut Vec<LinkParameters<'a, T>>,
    f: &mut dyn FnMut(&[LinkParameters<'_, T>]) -> Result<R>,
) -> Result<R> {
    let Some((layer, rest)) = layers.split_first() else {
        return f(before);
    };
    let [weight, bias] = layer.tensors();
    with_values::<T, _>(weight, |weight| {
        with_values::<T, _>(bias, |bias| {
            let mut parameters = before.clone();
            parameters.push(LinkParameters { weight, bias });
            with_parameters(rest, &mut parameters, f)
        })
    })
}

/// One call of a chain: what its layers share.
struct Pass {
    chain: Chain,
    /// The `Trace` of the element type.
    trace: Box<dyn Any + Send + Sync>,
    x_wanted: Wanted,
    weights_wanted: Wanted,
    /// Of x, and of each layer's weight and bias, between the last layer's way back and the layer's own.
    gradients: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    x: Option<CpuStorage>,
    links: Vec<Option<[CpuStorage; 2]>>,
}

impl Pass {
    fn backward<T: Element>(&self, dy: &Tensor) -> Result<()> {
        let Some(trace) = self.trace.downcast_ref::<Trace<T>>() else {
            bail!(
                "the gradient of a chain of layers has another type than its output: {:?}",
                dy.dtype()
            );
        };
        let gradients = with_values::<T, _>(dy, |dy| {
            let gradients = self.chain.backward(trace, dy, self.x_wanted, self.weights_wanted);
            gradients.map_err(candle_core::Error::wrap)
        })?;
        let ChainGradients { x, links } = gradients;
        *self.gradients.lock().unwrap_or_else(PoisonError::into_inner) = Waiting {
            x: x.map(T::to_cpu_storage_owned),
            links: links
                .into_iter()
                .map(|link| Some(link.map(T::to_cpu_storage_owned)))
                .collect(),
        };
        Ok(())
    }
}

/// A layer in the graph: x or a token, weight and bias to a token or the output.
struct LinkOp {
    pass: Arc<Pass>,
    index: usize,
    /// Handed out by the last layer.
    output: Mutex<Option<(CpuStorage, Shape)>>,
}

type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

impl CustomOp3 for LinkOp {
    fn name(&self) -> &'static str {
        "chain of linear layers"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(output.unwrap_or_else(|| match x {
            CpuStorage::F64(_) => (CpuStorage::F64(vec![0.0]), Shape::from(1)),
            _ => (CpuStorage::F32(vec![0.0]), Shape::from(1)),
        }))
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, bias: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Gradients> {
        if self.index + 1 == self.pass.chain.links().len() {
            let dy = dy.contiguous()?;
            match y.dtype() {
                DType::F64 => self.pass.backward::<f64>(&dy)?,
                _ => self.pass.backward::<f32>(&dy)?,
            }
        }
        let mut waiting = self.pass.gradients.lock().unwrap_or_else(PoisonError::into_inner);
        let dx = match self.index {
            0 => waiting.x.take().map(|dx| tensor(dx, x)).transpose()?,
            _ => x.track_op().then(|| x.zeros_like()).transpose()?,
        };
        let Some([dw, db]) = waiting.links.get_mut(self.index).and_then(Option::take) else {
            return Ok((dx, None, None));
        };
        let of = |gradient, parameter: &Tensor| {
            parameter
                .track_op()
                .then(|| tensor(gradient, parameter))
                .transpose()
        };
        Ok((dx, of(dw, weight)?, of(db, bias)?))
    }
}

/// Values in the shape of `like`, on the host.
fn tensor(values: CpuStorage, like: &Tensor) -> Result<Tensor> {
    match values {
        CpuStorage::F64(values) => Tensor::from_vec(values, like.shape(), like.device()),
        CpuStorage::F32(values) => Tensor::from_vec(values, like.shape(), like.device()),
        _ => bail!("the gradient of a chain of layers is in f32 or f64"),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::testing::check_gradients;
    use crate::{Activation, Parameters};

    fn layers(widths: &[usize], dtype: DType) -> (Parameters, Vec<Linear>) {
        let parameters = Parameters::new(3, dtype, &Device::Cpu);
        let layer = |(index, pair): (usize, &[usize])| {
            let scope = parameters.scope();
            let layer = Linear::new(&scope.at(format_args!("layers.{index}")), pair[0], pair[1]).unwrap();
            let activation = if index + 2 == widths.len() {
                Activation::Identity
            } else {
                Activation::Silu
            };
            layer.activated(activation)
        };
        let layers = widths.windows(2).enumerate().map(layer).collect();
        (parameters, layers)
    }

    fn wave(rows: usize, columns: usize, dtype: DType) -> Tensor {
        let n = (rows * columns) as f64;
        let line = Tensor::arange(0f64, n, &Device::Cpu)
            .unwrap()
            .affine(0.37, 0.2)
            .unwrap();
        line.sin()
            .unwrap()
            .reshape((rows, columns))
            .unwrap()
            .to_dtype(dtype)
            .unwrap()
    }

    fn one_by_one(layers: &[Linear], x: &Tensor) -> Tensor {
        layers
            .iter()
            .fold(x.clone(), |h, layer| layer.forward(&h).unwrap())
    }

    fn distance(a: &Tensor, b: &Tensor) -> f64 {
        let difference = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
        difference
            .to_dtype(DType::F64)
            .unwrap()
            .max(0)
            .unwrap()
            .to_scalar()
            .unwrap()
    }

    #[test]
    fn gradients_in_x_and_in_every_parameter_are_the_difference_quotients() {
        let (_, made) = layers(&[3, 9, 5, 2], DType::F64);
        let mut inputs = vec![wave(6, 3, DType::F64)];
        inputs.extend(made.iter().flat_map(|layer| layer.tensors().map(Tensor::detach)));
        check_gradients(&inputs, |inputs| {
            let layer = |pair: &[Tensor]| Linear::from_tensors(&pair[0], Some(&pair[1]));
            let mut layers = inputs[1..]
                .chunks(2)
                .map(layer)
                .collect::<crate::Result<Vec<_>>>()?;
            for layer in &mut layers[..2] {
                *layer = layer.clone().activated(Activation::Silu);
            }
            chain(&layers, &inputs[0])
        });
    }

    #[test]
    fn values_and_gradients_are_those_of_the_layers_one_by_one() {
        for (dtype, tolerance) in [(DType::F32, 3e-6), (DType::F64, 1e-14)] {
            let (parameters, layers) = layers(&[3, 40, 33, 2], dtype);
            let x = Var::from_tensor(&wave(70, 3, dtype)).unwrap();
            let (ours, theirs) = (chain(&layers, &x).unwrap(), one_by_one(&layers, &x));
            assert!(distance(&ours, &theirs) < tolerance);
            let gradients = |y: &Tensor| y.sqr().unwrap().mean_all().unwrap().backward().unwrap();
            let (ours, theirs) = (gradients(&ours), gradients(&theirs));
            for (name, variable) in parameters
                .named()
                .into_iter()
                .chain([("x".to_string(), x.clone())])
            {
                let error = distance(ours.get(&variable).unwrap(), theirs.get(&variable).unwrap());
                assert!(error < tolerance, "{name}: {error:e}");
            }
        }
    }

    #[test]
    fn a_second_backward_pass_of_one_graph_gives_the_same_gradients() {
        let (parameters, layers) = layers(&[3, 8, 2], DType::F64);
        let loss = chain(&layers, &wave(5, 3, DType::F64))
            .unwrap()
            .sqr()
            .unwrap()
            .sum_all()
            .unwrap();
        let (first, second) = (loss.backward().unwrap(), loss.backward().unwrap());
        for (name, variable) in parameters.named() {
            let error = distance(first.get(&variable).unwrap(), second.get(&variable).unwrap());
            assert_eq!(error, 0.0, "{name}");
        }
    }

    #[test]
    fn frozen_layers_have_no_gradient_and_the_others_theirs() {
        let (parameters, mut layers) = layers(&[3, 8, 8, 2], DType::F64);
        let [weight, bias] = layers[1].tensors().map(Tensor::detach);
        layers[1] = Linear::from_tensors(&weight, Some(&bias))
            .unwrap()
            .activated(Activation::Silu);
        let x = wave(5, 3, DType::F64);
        let gradients = |y: Tensor| y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let (ours, theirs) = (
            gradients(chain(&layers, &x).unwrap()),
            gradients(one_by_one(&layers, &x)),
        );
        for (name, variable) in parameters.named() {
            match (ours.get(&variable), theirs.get(&variable)) {
                (Some(a), Some(b)) => assert!(distance(a, b) < 1e-13, "{name}"),
                (a, b) => assert!(
                    a.is_none() && b.is_none() && name.starts_with("layers.1"),
                    "{name}"
                ),
            }
        }
    }

    #[test]
    fn more_dimensions_stay_and_layers_that_do_not_fit_are_refused() {
        let (_, made) = layers(&[3, 8, 2], DType::F32);
        let x = wave(12, 3, DType::F32).reshape((4, 3, 3)).unwrap();
        assert_eq!(chain(&made, &x).unwrap().dims(), [4, 3, 2]);
        assert!(chain(&made, &wave(4, 2, DType::F32)).is_err());
        let (_, other) = layers(&[7, 2], DType::F32);
        assert!(chain(&[made[0].clone(), other[0].clone()], &x).is_err());
    }
}
