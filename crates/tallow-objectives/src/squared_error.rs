//! The weighted squared error as one operation of the graph: a pass for its value, a pass for its gradient.
//!
//! ```text
//! l[r] = w[r] mean |y[r] − t[r]|²          loss = mean over rows of m[r] l[r]
//! ```

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Storage, Tensor, WithDType, bail};
use tallow_kernels::{Float, squared_error_gradient, squared_errors};

/// The mean, which has a backward in `output`, and the value of each row, (B,), which has none.
///
/// `None` where the kernels do not take the tensors, or a gradient in the target is recorded.
pub(crate) fn weighted(
    output: &Tensor,
    target: &Tensor,
    weights: &[f64],
    importance: Option<&[f64]>,
) -> Result<Option<(Tensor, Tensor)>> {
    let plain = output.device().is_cpu() && !target.track_op() && output.elem_count() > 0;
    let target = target.contiguous()?;
    Ok(match output.dtype() {
        DType::F32 if plain => Some(on_host::<f32>(output, target, weights, importance)?),
        DType::F64 if plain => Some(on_host::<f64>(output, target, weights, importance)?),
        _ => None,
    })
}

fn on_host<T: Float + WithDType>(
    output: &Tensor,
    target: Tensor,
    weights: &[f64],
    importance: Option<&[f64]>,
) -> Result<(Tensor, Tensor)> {
    let output = output.contiguous()?;
    let rows = with::<T, _>(&output, |y| {
        with::<T, _>(&target, |target| {
            let mut rows = squared_errors(y, target, weights.len()).map_err(candle_core::Error::wrap)?;
            for (row, &weight) in rows.iter_mut().zip(weights) {
                *row *= <T as WithDType>::from_f64(weight);
            }
            Ok(rows)
        })
    })?;
    let share = |row: usize| importance.map_or(1.0, |importance| importance[row]) / weights.len() as f64;
    // In f64, so that the mean of many rows is as good as each of them.
    let mean = rows
        .iter()
        .enumerate()
        .map(|(row, value)| share(row) * WithDType::to_f64(*value))
        .sum();
    let factors = weights
        .iter()
        .enumerate()
        .map(|(row, weight)| share(row) * weight)
        .collect();
    let op = SquaredError {
        target,
        factors,
        mean,
    };
    let count = rows.len();
    Ok((
        output.apply_op1(op)?,
        Tensor::from_vec(rows, count, output.device())?,
    ))
}

/// Calls `f` with the values of a contiguous tensor on the host.
fn with<T: WithDType, R>(tensor: &Tensor, f: impl FnOnce(&[T]) -> Result<R>) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        bail!("a kernel of the host was given a tensor on {:?}", tensor.device());
    };
    let all = storage.as_slice::<T>()?;
    match layout
        .contiguous_offsets()
        .and_then(|(start, end)| all.get(start..end))
    {
        Some(values) => f(values),
        None => bail!(
            "a kernel was given a tensor that is not contiguous, of shape {:?}",
            layout.shape()
        ),
    }
}

struct SquaredError {
    target: Tensor,
    /// m[r] w[r]/rows.
    factors: Vec<f64>,
    mean: f64,
}

impl SquaredError {
    fn backward<T: Float + WithDType>(&self, output: &Tensor, gradient: f64) -> Result<Tensor> {
        let factors: Vec<T> = self
            .factors
            .iter()
            .map(|factor| <T as WithDType>::from_f64(gradient * factor))
            .collect();
        let values = with::<T, _>(output, |y| {
            with::<T, _>(&self.target, |target| {
                squared_error_gradient(y, target, &factors).map_err(candle_core::Error::wrap)
            })
        })?;
        Tensor::from_vec(values, output.shape(), output.device())
    }
}

impl CustomOp1 for SquaredError {
    fn name(&self) -> &'static str {
        "weighted squared error"
    }

    fn cpu_fwd(&self, output: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let mean = match output {
            CpuStorage::F64(_) => CpuStorage::F64(vec![self.mean]),
            _ => CpuStorage::F32(vec![self.mean as f32]),
        };
        Ok((mean, Shape::from(())))
    }

    fn bwd(&self, output: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        Ok(Some(match output.dtype() {
            DType::F64 => self.backward::<f64>(output, gradient)?,
            _ => self.backward::<f32>(output, gradient)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn wave(phase: f64) -> Tensor {
        let line = Tensor::arange(0f64, 12.0, &Device::Cpu)
            .unwrap()
            .affine(0.9, phase)
            .unwrap();
        line.sin().unwrap().reshape((3, 2, 2)).unwrap()
    }

    #[test]
    fn the_mean_the_rows_and_the_gradient_are_those_of_the_formula() {
        let (output, target) = (Var::from_tensor(&wave(0.1)).unwrap(), wave(1.7));
        let (weights, importance) = ([0.5, 2.0, 3.0], [1.0, 0.25, 4.0]);
        for importance in [None, Some(&importance[..])] {
            let (mean, rows) = weighted(&output, &target, &weights, importance).unwrap().unwrap();
            let error = (output.as_detached_tensor() - &target).unwrap();
            let squares = error
                .sqr()
                .unwrap()
                .flatten_from(1)
                .unwrap()
                .mean(1)
                .unwrap()
                .to_vec1::<f64>()
                .unwrap();
            let m = |row: usize| importance.map_or(1.0, |importance| importance[row]);
            let mut sum = 0.0;
            for (row, value) in rows.to_vec1::<f64>().unwrap().into_iter().enumerate() {
                assert!((value - weights[row] * squares[row]).abs() < 1e-14);
                sum += m(row) * value / 3.0;
            }
            assert!((mean.to_scalar::<f64>().unwrap() - sum).abs() < 1e-14);
            // Halved, so that the gradient that comes in is not 1.
            let gradients = (mean * 0.5).unwrap().backward().unwrap();
            let gradient = gradients
                .get(&output)
                .unwrap()
                .flatten_from(1)
                .unwrap()
                .to_vec2::<f64>()
                .unwrap();
            let error = error.flatten_from(1).unwrap().to_vec2::<f64>().unwrap();
            for row in 0..3 {
                for (gradient, error) in gradient[row].iter().zip(&error[row]) {
                    let wanted = 0.5 * m(row) * weights[row] * 2.0 * error / 4.0 / 3.0;
                    assert!((gradient - wanted).abs() < 1e-15, "{gradient} against {wanted}");
                }
            }
        }
    }

    #[test]
    fn a_tracked_target_and_half_precision_are_left_to_candle() {
        let output = wave(0.0);
        let target = Var::from_tensor(&wave(1.0)).unwrap();
        assert!(weighted(&output, &target, &[1.0; 3], None).unwrap().is_none());
        let half = output.to_dtype(DType::F16).unwrap();
        assert!(weighted(&half, &half, &[1.0; 3], None).unwrap().is_none());
    }
}
