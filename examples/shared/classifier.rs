//! A small convolutional classifier of MNIST's digits, which judges what generative models draw.
//!
//! `cargo run --release --example mnist_classifier -- --data DIR` trains one and writes its weights.

use std::path::Path;

use candle_core::{D, DType, Device, Tensor};
use tallow::datasets::Images;
use tallow::nn::{
    Activation, AveragePool, Conv2d, Conv2dConfig, GroupNorm, Linear, Parameters, Scope, softmax,
};

use crate::Failure;

/// Images that are judged at once: bounds the memory, and changes no result.
const ROWS: usize = 500;

/// Three convolutions and two linear layers: 326,000 parameters.
#[derive(Clone, Debug)]
pub struct Classifier {
    convolutions: [(Conv2d, GroupNorm); 3],
    pool: AveragePool,
    hidden: Linear,
    head: Linear,
}

impl Classifier {
    /// Height and width of the images; of larger ones the middle is seen.
    pub const SIDE: usize = 28;
    /// Classes: the digits.
    pub const CLASSES: usize = 10;
    /// Numbers that describe an image: the last layer but one.
    pub const FEATURES: usize = 96;

    /// A classifier whose weights are drawn in `scope`, or found in that of a view.
    ///
    /// # Errors
    ///
    /// When the scope refuses a parameter.
    pub fn new(scope: &Scope<'_>) -> tallow::nn::Result<Self> {
        let layer = |index: usize, inputs, outputs, kernel: usize, stride: usize| {
            let config = Conv2dConfig::same([kernel; 2]).strided([stride; 2]);
            let convolution = Conv2d::new(
                &scope.at(format!("conv{index}")),
                inputs,
                outputs,
                [kernel; 2],
                config,
            )?;
            let norm = GroupNorm::new(&scope.at(format!("norm{index}")), 4, outputs)?;
            tallow::nn::Result::Ok((convolution, norm.activated(Activation::Silu)))
        };
        let hidden = Linear::new(&scope.at("hidden"), 64 * 7 * 7, Self::FEATURES)?;
        Ok(Self {
            convolutions: [
                layer(0, 1, 16, 5, 2)?,
                layer(1, 16, 32, 3, 1)?,
                layer(2, 32, 64, 3, 1)?,
            ],
            pool: AveragePool::by([2, 2]),
            hidden: hidden.activated(Activation::Silu),
            head: Linear::new(&scope.at("head"), Self::FEATURES, Self::CLASSES)?,
        })
    }

    /// The classifier of a file that the example `mnist_classifier` wrote.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or holds other weights.
    pub fn load(path: &Path, device: &Device) -> Result<Self, Failure> {
        let parameters = Parameters::new(0, DType::F32, device);
        Self::new(&parameters.scope())?;
        parameters.load(path)?;
        Ok(Self::new(&parameters.detached().scope())?)
    }

    /// The logarithms of unnormalised probabilities, (n, 10), with a graph: what training needs. `images` are
    /// (n, 1, height, width) in [−1, 1], of at least 28 × 28 pixels.
    ///
    /// # Errors
    ///
    /// When the images have another shape.
    pub fn logits(&self, images: &Tensor) -> Result<Tensor, Failure> {
        Ok(self.head.forward(&self.hidden(images)?)?)
    }

    /// A description of each image, (n, 96): what Fréchet and kernel distances are taken between.
    ///
    /// # Errors
    ///
    /// When the images have another shape than [`Classifier::logits`] takes.
    pub fn features(&self, images: &Tensor) -> Result<Tensor, Failure> {
        in_pieces(images, |piece| self.hidden(piece))
    }

    /// The probability of each digit, (n, 10): what an Inception score is made of.
    ///
    /// # Errors
    ///
    /// Those of [`Classifier::features`].
    pub fn probabilities(&self, images: &Tensor) -> Result<Tensor, Failure> {
        in_pieces(images, |piece| Ok(softmax(&self.logits(piece)?)?))
    }

    /// The digit that each image is taken for.
    ///
    /// # Errors
    ///
    /// Those of [`Classifier::features`].
    pub fn predict(&self, images: &Tensor) -> Result<Vec<u32>, Failure> {
        let digits = in_pieces(images, |piece| Ok(self.logits(piece)?.argmax(D::Minus1)?))?;
        Ok(digits.to_vec1()?)
    }

    /// The share of labelled images that are taken for what they are.
    ///
    /// # Errors
    ///
    /// When an image has no label, and those of [`Classifier::features`].
    pub fn accuracy(&self, images: &Images) -> Result<f64, Failure> {
        let all: Vec<u32> = (0..images.rows() as u32).collect();
        let mut right = 0;
        for rows in all.chunks(ROWS) {
            let batch = images.select(rows)?.to(self.head.weight().device(), DType::F32)?;
            let labels: Vec<u32> = batch.condition.tensor("labels")?.to_vec1()?;
            let predicted = self.predict(&batch.x0)?;
            right += labels
                .iter()
                .zip(&predicted)
                .filter(|(label, digit)| label == digit)
                .count();
        }
        Ok(right as f64 / all.len() as f64)
    }

    /// The last layer but one.
    fn hidden(&self, images: &Tensor) -> Result<Tensor, Failure> {
        let (_, channels, height, width) = images.dims4()?;
        if channels != 1 || height < Self::SIDE || width < Self::SIDE {
            let shape = images.shape();
            return Err(format!("the classifier takes images (n, 1, ≥ 28, ≥ 28), got {shape:?}").into());
        }
        let (top, left) = ((height - Self::SIDE) / 2, (width - Self::SIDE) / 2);
        let mut x = images
            .narrow(2, top, Self::SIDE)?
            .narrow(3, left, Self::SIDE)?
            .contiguous()?;
        for (index, (convolution, norm)) in self.convolutions.iter().enumerate() {
            x = norm.forward(&convolution.forward(&x)?)?;
            if index == 1 {
                x = self.pool.forward(&x)?;
            }
        }
        Ok(self.hidden.forward(&x.flatten_from(1)?)?)
    }
}

/// `f` of some images after the other, without a graph.
fn in_pieces(images: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor, Failure>) -> Result<Tensor, Failure> {
    let rows = images.dim(0)?;
    let mut pieces = Vec::new();
    for start in (0..rows).step_by(ROWS) {
        let piece = images.narrow(0, start, ROWS.min(rows - start))?.detach();
        pieces.push(f(&piece)?.detach());
    }
    if pieces.is_empty() {
        return Err("the classifier needs at least one image, got none".into());
    }
    Ok(Tensor::cat(&pieces, 0)?)
}
