//! Derivatives against central differences, for the tests of every layer.
//!
//! ```text
//! df/dx · v = (f(x + h v) − f(x − h v))/2h + O(h²),    h = 1e-5, in f64
//! ```
//!
//! Differences are good to about 1e-9 of the largest one; comparisons ask for 1e-6.

use candle_core::{DType, Device, Shape, Tensor, Var};

use crate::dual::Dual;
use crate::error::Result;
use crate::init::words;

const STEP: f64 = 1e-5;
const TOLERANCE: f64 = 1e-6;
/// Elements of an input that are moved one by one; of larger inputs, evenly spaced ones are.
const MOVED: usize = 96;

/// Normal numbers in f64 on the host, the same for the same seed.
pub(crate) fn random(shape: impl Into<Shape>, seed: u64) -> Tensor {
    let shape = shape.into();
    let n = shape.elem_count();
    let mut values = vec![0.0; n];
    tallow_kernels::normals_from_bits(&words("testing", seed, n.next_multiple_of(2)), &mut values).unwrap();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// The largest |a − b|, 0 for empty tensors; the shapes must agree.
pub(crate) fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let (a, b) = (numbers(a), numbers(b));
    a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// The values in order, as f64.
pub(crate) fn numbers(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
    tensor.to_vec1().unwrap()
}

/// Compares the gradients of a random projection of `f(inputs)`, by `backward`, with central differences, for every
/// input (all f64).
pub(crate) fn check_gradients(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let variables: Vec<_> = inputs.iter().map(|x| Var::from_tensor(x).unwrap()).collect();
    let tensors: Vec<_> = variables.iter().map(|x| x.as_tensor().clone()).collect();
    let y = f(&tensors).unwrap();
    let projection = random(y.shape(), 0x70);
    let loss = (&y * &projection).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();
    for (index, variable) in variables.iter().enumerate() {
        let n = variable.elem_count();
        let exact = match gradients.get(variable) {
            Some(gradient) => {
                assert_eq!(gradient.dims(), variable.dims(), "gradient of input {index}");
                numbers(gradient)
            }
            None => vec![0.0; n],
        };
        let values = numbers(&inputs[index]);
        let moved: Vec<_> = (0..n).step_by(n.div_ceil(MOVED).max(1)).collect();
        let differences: Vec<_> = moved
            .iter()
            .map(|&element| {
                let at = |h: f64| {
                    let mut values = values.clone();
                    values[element] += h;
                    let mut inputs = inputs.to_vec();
                    inputs[index] = Tensor::from_vec(values, inputs[index].shape(), &Device::Cpu).unwrap();
                    numbers(&(f(&inputs).unwrap() * &projection).unwrap())
                };
                // Summed after subtracting, so that values which do not move cancel exactly.
                at(STEP).iter().zip(at(-STEP)).map(|(a, b)| a - b).sum::<f64>() / (2.0 * STEP)
            })
            .collect();
        let largest = differences.iter().fold(0.0, |max: f64, d| max.max(d.abs()));
        for (element, difference) in moved.into_iter().zip(differences) {
            let exact = exact[element];
            assert!(
                (exact - difference).abs() <= TOLERANCE * largest + 1e-8,
                "input {index}, element {element}: gradient {exact}, difference {difference}"
            );
        }
    }
}

/// Compares the tangent of `f` along a random direction at `x` (f64) with the central difference of `g`, and the values.
pub(crate) fn check_dual(
    x: &Tensor,
    f: impl Fn(&Dual) -> Result<Dual>,
    g: impl Fn(&Tensor) -> Result<Tensor>,
) {
    let direction = random(x.shape(), 0xd1);
    let y = f(&Dual::new(x.clone(), direction.clone()).unwrap()).unwrap();
    let at = |h: f64| g(&(x + (&direction * h).unwrap()).unwrap()).unwrap();
    let difference = ((at(STEP) - at(-STEP)).unwrap() / (2.0 * STEP)).unwrap();
    let largest = |tensor: &Tensor| numbers(tensor).iter().fold(0.0, |max: f64, v| max.max(v.abs()));
    let value = g(x).unwrap();
    let error = distance(y.value(), &value);
    assert!(error <= 1e-12 * largest(&value), "the values differ by {error}");
    let error = distance(&y.tangent_or_zeros().unwrap(), &difference);
    let bound = TOLERANCE * largest(&difference) + 1e-8;
    assert!(
        error <= bound,
        "the tangents differ by {error}, allowed is {bound}"
    );
    let constant = f(&Dual::constant(x.clone())).unwrap();
    assert_eq!(distance(constant.value(), y.value()), 0.0, "of a constant");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn refuses(check: impl FnOnce()) -> bool {
        catch_unwind(AssertUnwindSafe(check)).is_err()
    }

    #[test]
    fn right_derivatives_pass_and_wrong_ones_do_not() {
        let (x, w) = (random((3, 5), 1), random((5, 2), 2));
        check_gradients(&[x.clone(), w.clone()], |x| Ok(x[0].matmul(&x[1])?.sin()?));
        // The gradient of the second factor is lost.
        assert!(refuses(|| check_gradients(&[x.clone(), w.clone()], |x| {
            Ok(x[0].matmul(&x[1].detach())?)
        })));
        // One element of the gradient is lost.
        assert!(refuses(|| check_gradients(std::slice::from_ref(&x), |x| {
            let (first, rest) = (x[0].narrow(1, 0, 1)?, x[0].narrow(1, 1, 4)?);
            Ok(Tensor::cat(&[first.detach(), rest], 1)?)
        })));
        check_dual(&x, |x| x.scale(2.0), |x| Ok((x * 2.0)?));
        assert!(refuses(|| check_dual(
            &x,
            |x| Dual::new(x.value().sqr()?, x.tangent_or_zeros()?),
            |x| Ok(x.sqr()?)
        )));
        assert!(refuses(|| check_dual(&x, |x| x.scale(2.0), |x| Ok((x * 2.001)?))));
    }
}
