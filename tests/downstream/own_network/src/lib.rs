//! A convolutional network of one's own: which way do the bars of an image run?

use candle_core::{Device, Tensor};
use tallow_nn::{Activation, Conv2d, Conv2dConfig, GroupNorm, Linear, Result, Scope};

/// A convolution, a norm and a linear layer: one number, positive where bars run across.
#[derive(Debug)]
pub struct Bars {
    convolution: Conv2d,
    norm: GroupNorm,
    head: Linear,
}

impl Bars {
    /// Pixels of a side.
    pub const SIDE: usize = 8;

    /// The network in a scope: its parameters are drawn there, or read from a view.
    pub fn new(scope: &Scope<'_>) -> Result<Self> {
        let config = Conv2dConfig::same([3; 2]);
        Ok(Self {
            convolution: Conv2d::new(&scope.at("convolution"), 1, 8, [3; 2], config)?,
            norm: GroupNorm::new(&scope.at("norm"), 4, 8)?.activated(Activation::Silu),
            head: Linear::new(&scope.at("head"), 8 * Self::SIDE * Self::SIDE, 1)?,
        })
    }

    /// (N, 1, 8, 8) to (N, 1).
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let h = self.norm.forward(&self.convolution.forward(images)?)?;
        self.head.forward(&h.flatten_from(1)?)
    }
}

/// Every image of one bar, and 1 where it runs across, −1 where it runs down.
pub fn data() -> candle_core::Result<(Tensor, Tensor)> {
    let side = Bars::SIDE;
    let (mut images, mut answers) = (Vec::new(), Vec::new());
    for (answer, place) in [1f32, -1.0]
        .into_iter()
        .flat_map(|answer| (0..side).map(move |place| (answer, place)))
    {
        for pixel in 0..side * side {
            let along = if answer > 0.0 { pixel / side } else { pixel % side };
            images.push(if along == place { 1f32 } else { 0.0 });
        }
        answers.push(answer);
    }
    let count = answers.len();
    Ok((
        Tensor::from_vec(images, (count, 1, side, side), &Device::Cpu)?,
        Tensor::from_vec(answers, (count, 1), &Device::Cpu)?,
    ))
}
