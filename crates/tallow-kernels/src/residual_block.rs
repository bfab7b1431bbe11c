//! The residual block of a U-Net, whole: two normed convolutions that are told the time, and a way around.
//!
//! ```text
//! h = conv₁(silu(norm₁(x))) + bias₁                       (+ told, for a shift)
//! y = conv₂(silu(norm₂(h))) + bias₂ + skip(x)             norm₂ modulated by told, for scale and shift
//! ```
//!
//! As one operation the normalised and activated images never go to memory: a convolution makes them while it reads its
//! input, and again on the way back, and adds bias, shift and the way around while it writes its output. What is kept is h
//! and the statistics of both norms.
//!
//! Sources: Ho et al. 2020, arXiv:2006.11239, appendix B; Dhariwal & Nichol 2021, arXiv:2105.05233, section 3.1.

use crate::activation::Activation;
use crate::affine::{Affine, Modulation, NormGradients};
use crate::convolution::{Convolution, Epilogue, Prologue};
use crate::error::{Result, area, check_length};
use crate::float::Float;
use crate::group_norm::GroupNorm;
use crate::linear::Wanted;
use crate::parallel;
use crate::rows::channel_sums;
use crate::statistics::Statistics;

/// How a residual block is told the time, and of what shape that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Injection {
    /// One number is added to each channel before the second norm, (batch, outputs): DDPM.
    #[default]
    Shift,
    /// Each channel is multiplied by 1 + scale and shifted after the second norm, (batch, 2 outputs), scales first: ADM.
    ScaleShift,
}

/// The sizes of a residual block.
///
/// Its parameters are one slice: γ and β of the first norm, weight and bias of the first convolution (3×3), the same of the
/// second norm and convolution, and, where the channels differ, weight and bias of the way around (1×1).
///
/// Sources: Ho et al. 2020, arXiv:2006.11239, appendix B; Dhariwal & Nichol 2021, arXiv:2105.05233, section 3.1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResidualBlock {
    /// Images.
    pub batch: usize,
    /// Channels of x.
    pub inputs: usize,
    /// Channels of y.
    pub outputs: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Groups of both norms.
    pub groups: usize,
    /// What both norms add to the variance.
    pub epsilon: f64,
    /// How it is told the time.
    pub injection: Injection,
}

/// What the backward pass of a residual block needs of the forward pass.
#[derive(Clone, Debug)]
pub struct BlockState<T> {
    h: Vec<T>,
    first: Statistics,
    second: Statistics,
}

/// Gradients of a residual block.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockGradients<T> {
    /// dx, if it was wanted.
    pub x: Option<Vec<T>>,
    /// With respect to what the block was told.
    pub told: Vec<T>,
    /// With respect to the parameters, in their order.
    pub parameters: Vec<T>,
}

/// The parameters, apart.
#[derive(Clone, Copy)]
struct Parts<'a, T> {
    norms: [[&'a [T]; 2]; 2],
    weights: [&'a [T]; 2],
    biases: [&'a [T]; 2],
    skip: Option<(&'a [T], &'a [T])>,
}

/// How long the parts of the parameters are, in their order; the last two are 0 without a convolution on the way around.
struct Lengths([usize; 10]);

impl ResidualBlock {
    /// How many parameters there are.
    ///
    /// # Errors
    ///
    /// When they are more than memory can address.
    pub fn parameter_count(&self) -> Result<usize> {
        Ok(self.lengths()?.0.iter().sum())
    }

    /// How many numbers each image is told.
    #[must_use]
    pub fn told(&self) -> usize {
        match self.injection {
            Injection::Shift => self.outputs,
            Injection::ScaleShift => self.outputs.saturating_mul(2),
        }
    }

    /// y, and what the backward pass needs. x is (batch, inputs, height, width), `told` (batch, [`told`](Self::told)).
    ///
    /// # Errors
    ///
    /// When a slice does not have the length of its shape, the groups do not split the channels, or a size is 0.
    pub fn forward<T: Float>(
        &self,
        x: &[T],
        told: &[T],
        parameters: &[T],
    ) -> Result<(Vec<T>, BlockState<T>)> {
        let parts = self.parts(parameters)?;
        check_length("told", told.len(), area(self.batch, self.told())?)?;
        let [norm1, norm2] = self.norms();
        let [conv1, conv2] = self.convolutions();

        let first = norm1.statistics(x)?;
        let (scale, shift) = norm1.coefficients(&first, affine(parts.norms[0], None))?;
        let epilogue = Epilogue {
            bias: Some(parts.biases[0]),
            shift: (self.injection == Injection::Shift).then_some(told),
            residual: None,
        };
        let h = conv1.fused_forward(x, parts.weights[0], Some(&silu(&scale, &shift)), &epilogue)?;

        let second = norm2.statistics(&h)?;
        let modulated = affine(parts.norms[1], self.modulation(told));
        let (scale, shift) = norm2.coefficients(&second, modulated)?;
        let around = match parts.skip {
            Some((weight, bias)) => Some(self.around().forward(x, weight, Some(bias))?),
            None => None,
        };
        let epilogue = Epilogue {
            bias: Some(parts.biases[1]),
            shift: None,
            residual: Some(around.as_deref().unwrap_or(x)),
        };
        let y = conv2.fused_forward(&h, parts.weights[1], Some(&silu(&scale, &shift)), &epilogue)?;
        Ok((y, BlockState { h, first, second }))
    }

    /// The gradients of a loss from its gradient `dy` with respect to y.
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward), and when the state is not of this shape.
    pub fn backward<T: Float>(
        &self,
        x: &[T],
        told: &[T],
        parameters: &[T],
        state: &BlockState<T>,
        dy: &[T],
        x_wanted: Wanted,
    ) -> Result<BlockGradients<T>> {
        let parts = self.parts(parameters)?;
        check_length("told", told.len(), area(self.batch, self.told())?)?;
        let [norm1, norm2] = self.norms();
        let [conv1, conv2] = self.convolutions();
        let BlockState { h, first, second } = state;

        let modulated = affine(parts.norms[1], self.modulation(told));
        let (dnorm2, dconv2) = through(&norm2, &conv2, h, parts.weights[1], second, modulated, dy)?;
        let plain = affine(parts.norms[0], None);
        let (dnorm1, dconv1) = through(&norm1, &conv1, x, parts.weights[0], first, plain, &dnorm2.x)?;
        let dtold = match dnorm2.modulation {
            Some(moved) => interleaved(&moved.scale, &moved.shift, self.outputs),
            None => channel_sums(&dnorm2.x, area(self.batch, self.outputs)?)?,
        };
        let mut dx = dnorm1.x;
        let skip = match parts.skip {
            Some((weight, _)) => {
                let found = self.around().backward(x, weight, dy, x_wanted, Wanted::Yes)?;
                if let Some(around) = &found.x {
                    add(&mut dx, around);
                }
                found.weight.zip(found.bias)
            }
            None => {
                add(&mut dx, dy);
                None
            }
        };
        let (skip_weight, skip_bias) = skip.unwrap_or_default();
        let ([w1, b1], [w2, b2]) = (dconv1, dconv2);
        let in_order = [
            &dnorm1.gamma,
            &dnorm1.beta,
            &w1,
            &b1,
            &dnorm2.gamma,
            &dnorm2.beta,
            &w2,
            &b2,
            &skip_weight,
            &skip_bias,
        ];
        Ok(BlockGradients {
            x: (x_wanted == Wanted::Yes).then_some(dx),
            told: dtold,
            parameters: in_order.into_iter().flatten().copied().collect(),
        })
    }

    fn lengths(&self) -> Result<Lengths> {
        let (i, o) = (self.inputs, self.outputs);
        let weight = |inputs, taps| area(area(inputs, o)?, taps);
        let skip = if i == o { (0, 0) } else { (weight(i, 1)?, o) };
        Ok(Lengths([
            i,
            i,
            weight(i, 9)?,
            o,
            o,
            o,
            weight(o, 9)?,
            o,
            skip.0,
            skip.1,
        ]))
    }

    fn parts<'a, T>(&self, parameters: &'a [T]) -> Result<Parts<'a, T>> {
        let Lengths(lengths) = self.lengths()?;
        check_length("parameters", parameters.len(), lengths.iter().sum())?;
        let mut rest = parameters;
        let [g1, n1, w1, b1, g2, n2, w2, b2, ws, bs] = lengths.map(|length| {
            let (part, others) = rest.split_at(length);
            rest = others;
            part
        });
        Ok(Parts {
            norms: [[g1, n1], [g2, n2]],
            weights: [w1, w2],
            biases: [b1, b2],
            skip: (self.inputs != self.outputs).then_some((ws, bs)),
        })
    }

    fn norms(&self) -> [GroupNorm; 2] {
        [self.inputs, self.outputs].map(|channels| GroupNorm {
            batch: self.batch,
            channels,
            spatial: self.height.saturating_mul(self.width),
            groups: self.groups,
            epsilon: self.epsilon,
            activation: Activation::Silu,
        })
    }

    fn convolutions(&self) -> [Convolution; 2] {
        [self.inputs, self.outputs].map(|inputs| Convolution {
            inputs,
            kernel: [3, 3],
            padding: [1, 1],
            ..self.around()
        })
    }

    fn around(&self) -> Convolution {
        Convolution {
            batch: self.batch,
            inputs: self.inputs,
            outputs: self.outputs,
            height: self.height,
            width: self.width,
            kernel: [1, 1],
            stride: [1, 1],
            padding: [0, 0],
            dilation: [1, 1],
            groups: 1,
        }
    }

    fn modulation<'a, T>(&self, told: &'a [T]) -> Option<Modulation<'a, T>> {
        (self.injection == Injection::ScaleShift).then_some(Modulation {
            values: told,
            stride: self.told(),
            scale: 0,
            shift: self.outputs,
        })
    }
}

fn affine<'a, T>([gamma, beta]: [&'a [T]; 2], modulation: Option<Modulation<'a, T>>) -> Affine<'a, T> {
    Affine {
        gamma: Some(gamma),
        beta: Some(beta),
        modulation,
    }
}

fn silu<'a, T>(scale: &'a [T], shift: &'a [T]) -> Prologue<'a, T> {
    Prologue {
        scale,
        shift,
        activation: Activation::Silu,
    }
}

/// Back through a convolution and the norm before it: the norm's gradients, and those of weight and bias.
fn through<T: Float>(
    norm: &GroupNorm,
    conv: &Convolution,
    x: &[T],
    weight: &[T],
    statistics: &Statistics,
    affine: Affine<'_, T>,
    dy: &[T],
) -> Result<(NormGradients<T>, [Vec<T>; 2])> {
    let (scale, shift) = norm.coefficients(statistics, affine)?;
    let found = conv.fused_backward(
        x,
        weight,
        dy,
        Some(&silu(&scale, &shift)),
        Wanted::Yes,
        Wanted::Yes,
    )?;
    // What came back is with respect to the norm's output: the activation's slope is in it.
    let before = GroupNorm {
        activation: Activation::Identity,
        ..*norm
    };
    let dz = found.x.unwrap_or_default();
    let gradients = before.backward(x, statistics, affine, &dz)?;
    Ok((
        gradients,
        [found.weight.unwrap_or_default(), found.bias.unwrap_or_default()],
    ))
}

/// Rows of `a` and `b` in turn.
fn interleaved<T: Copy>(a: &[T], b: &[T], width: usize) -> Vec<T> {
    let rows = a.chunks(width.max(1)).zip(b.chunks(width.max(1)));
    rows.flat_map(|(a, b)| a.iter().chain(b).copied()).collect()
}

fn add<T: Float>(sum: &mut [T], other: &[T]) {
    const PIECE: usize = 1 << 14;
    let cost = sum.len();
    let tasks: Vec<_> = sum.chunks_mut(PIECE).zip(other.chunks(PIECE)).collect();
    parallel::for_each(cost, tasks, |(sum, other)| {
        sum.iter_mut()
            .zip(other)
            .for_each(|(sum, &other)| *sum = *sum + other);
    });
}

#[cfg(test)]
#[path = "residual_block_tests.rs"]
mod tests;
