//! Where parameters start: PyTorch's distributions, drawn from a seed and the parameter's name.
//!
//! The generator of a parameter is ChaCha8 keyed by (seed, name), so adding, removing or reordering layers does not
//! change the start of the others, and the values have the same bits on every platform.

use candle_core::{DType, Device, Shape, Tensor};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};

/// The distribution that a parameter's values are drawn from.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Init {
    /// Every value the same; 0 makes a block start as nothing (DiT's adaLN-Zero).
    Constant(f64),
    /// Uniform in [−bound, bound).
    Uniform {
        /// Half the width.
        bound: f64,
    },
    /// Normal around 0.
    Normal {
        /// The standard deviation.
        std: f64,
    },
}

impl Init {
    /// All values 0.
    pub const ZEROS: Self = Self::Constant(0.0);
    /// All values 1.
    pub const ONES: Self = Self::Constant(1.0);

    /// PyTorch's default for weights and biases of linear and convolution layers: uniform within ±1/√fan_in.
    ///
    /// For weights this is `kaiming_uniform_` with a = √5 (gain √(2/6), bound gain √(3/fan_in)). He et al. 2015,
    /// arXiv:1502.01852.
    #[must_use]
    pub fn fan_in(fan_in: usize) -> Self {
        Self::Uniform {
            bound: 1.0 / (fan_in.max(1) as f64).sqrt(),
        }
    }

    /// Uniform within ±√(6/(fan_in + fan_out)), which keeps variances in both directions: Glorot & Bengio 2010.
    #[must_use]
    pub fn xavier(fan_in: usize, fan_out: usize) -> Self {
        Self::Uniform {
            bound: (6.0 / (fan_in + fan_out).max(1) as f64).sqrt(),
        }
    }

    /// The start of the parameter `name` under `seed`.
    pub(crate) fn draw(
        self,
        name: &str,
        shape: &Shape,
        seed: u64,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let n = shape.elem_count();
        let values = match self {
            Self::Constant(value) => vec![value; n],
            Self::Uniform { bound } => {
                let mut values = vec![0.0; n];
                tallow_kernels::uniforms_from_bits(&words(name, seed, n), &mut values)?;
                values.iter_mut().for_each(|u| *u = bound * (2.0 * *u - 1.0));
                values
            }
            Self::Normal { std } => {
                let mut values = vec![0.0; n];
                tallow_kernels::normals_from_bits(&words(name, seed, n.next_multiple_of(2)), &mut values)?;
                values.iter_mut().for_each(|z| *z *= std);
                values
            }
        };
        // Rounded on the host: not every device has f64.
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?
            .to_dtype(dtype)?
            .to_device(device)?)
    }

    pub(crate) fn check(self) -> Result<()> {
        let (name, value) = match self {
            Self::Constant(value) => ("the constant of an Init", value),
            Self::Uniform { bound } => ("the bound of an Init", bound),
            Self::Normal { std } => ("the std of an Init", std),
        };
        let negative = value < 0.0 && !matches!(self, Self::Constant(_));
        if !value.is_finite() || negative {
            return Err(Error::Setting {
                name,
                value,
                allowed: "a finite number, not negative for a width",
            });
        }
        Ok(())
    }
}

/// `n` random words for `name` under `seed`.
pub(crate) fn words(name: &str, seed: u64, n: usize) -> Vec<u64> {
    let mut key = [0; 32];
    let forward = fnv(name.bytes());
    let backward = fnv(name.bytes().rev());
    for (bytes, word) in key
        .chunks_exact_mut(8)
        .zip([seed, forward, backward, name.len() as u64])
    {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    let mut generator = ChaCha8Rng::from_seed(key);
    (0..n).map(|_| generator.next_u64()).collect()
}

/// FNV-1a, a hash that is the same in every version of every program.
fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(init: Init, name: &str, seed: u64, n: usize) -> Vec<f64> {
        let tensor = init
            .draw(name, &n.into(), seed, DType::F64, &Device::Cpu)
            .unwrap();
        tensor.to_vec1().unwrap()
    }

    #[test]
    fn names_and_seeds_give_different_values_and_the_same_give_the_same() {
        let init = Init::Normal { std: 1.0 };
        let a = draw(init, "net.0.weight", 1, 64);
        assert_eq!(a, draw(init, "net.0.weight", 1, 64));
        assert_ne!(a, draw(init, "net.1.weight", 1, 64));
        assert_ne!(a, draw(init, "net.0.weight", 2, 64));
        assert_eq!(a[..33], draw(init, "net.0.weight", 1, 33));
    }

    #[test]
    fn moments_are_those_of_the_distribution() {
        let n = 1 << 16;
        let uniform = draw(Init::fan_in(16), "u", 3, n);
        assert!(uniform.iter().all(|u| u.abs() <= 0.25));
        // Variance bound²/3; the standard error of it is bound² √(4/45 n), here 7e-5.
        let variance = uniform.iter().map(|u| u * u).sum::<f64>() / n as f64;
        assert!((variance - 0.0625 / 3.0).abs() < 4e-4, "{variance}");
        let normal = draw(Init::Normal { std: 0.02 }, "n", 3, n);
        let variance = normal.iter().map(|z| z * z).sum::<f64>() / n as f64;
        assert!((variance / 4e-4 - 1.0).abs() < 0.03, "{variance}");
        assert!(draw(Init::ONES, "c", 3, 5).iter().all(|&c| c == 1.0));
    }

    #[test]
    fn widths_that_are_not_widths_are_refused() {
        assert!(Init::Normal { std: -1.0 }.check().is_err());
        assert!(Init::Uniform { bound: f64::NAN }.check().is_err());
        assert!(Init::Constant(-1.0).check().is_ok());
    }
}
