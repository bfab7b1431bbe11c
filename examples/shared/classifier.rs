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

#[cfg(test)]
mod tests {
    use tallow::denoisers::{Seeded, normal_like};

    use super::*;

    fn noise(rows: usize, side: usize) -> Tensor {
        let like = Tensor::zeros((rows, 1, side, side), DType::F32, &Device::Cpu).unwrap();
        normal_like(&like, &mut Seeded::new(1)).unwrap()
    }

    fn classifier() -> (Parameters, Classifier) {
        let parameters = Parameters::new(7, DType::F32, &Device::Cpu);
        let classifier = Classifier::new(&parameters.scope()).unwrap();
        (parameters, classifier)
    }

    #[test]
    fn weights_that_were_written_give_the_same_answers_when_they_are_read() {
        let (parameters, classifier) = classifier();
        let path = std::env::temp_dir().join(format!("classifier-{}.safetensors", std::process::id()));
        parameters.save(&path, "{}").unwrap();
        let read = Classifier::load(&path, &Device::Cpu).map_err(|error| format!("{error:?}"));
        std::fs::remove_file(&path).unwrap();
        let of = |classifier: &Classifier| {
            classifier
                .probabilities(&noise(3, 28))
                .unwrap()
                .to_vec2::<f32>()
                .unwrap()
        };
        assert_eq!(of(&read.unwrap()), of(&classifier));
        assert!(Classifier::load(&path, &Device::Cpu).is_err());
    }

    #[test]
    fn an_image_is_judged_alike_in_every_batch_and_on_every_canvas() {
        let (_, classifier) = classifier();
        let many = noise(ROWS + 3, 28);
        let features = classifier.features(&many).unwrap();
        assert_eq!(features.dims(), [ROWS + 3, Classifier::FEATURES]);
        let digits = classifier.predict(&many).unwrap();
        let last = many.narrow(0, ROWS + 2, 1).unwrap();
        let canvas = last
            .pad_with_zeros(2, 2, 2)
            .unwrap()
            .pad_with_zeros(3, 2, 2)
            .unwrap();
        for image in [last, canvas] {
            let alone = classifier.features(&image).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(
                features.narrow(0, ROWS + 2, 1).unwrap().to_vec2::<f32>().unwrap(),
                alone
            );
            assert_eq!(classifier.predict(&image).unwrap(), digits[ROWS + 2..]);
        }
        let sums = classifier
            .probabilities(&many)
            .unwrap()
            .sum(1)
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5));
    }

    #[test]
    fn other_shapes_are_refused() {
        let (_, classifier) = classifier();
        for shape in [
            vec![2, 3, 28, 28],
            vec![2, 1, 27, 28],
            vec![2, 784],
            vec![0, 1, 28, 28],
        ] {
            let images = Tensor::zeros(shape.clone(), DType::F32, &Device::Cpu).unwrap();
            assert!(classifier.features(&images).is_err(), "{shape:?}");
        }
    }
}
