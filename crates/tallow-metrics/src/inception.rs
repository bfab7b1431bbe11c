//! Inception-v3 as pytorch-fid lays it out: the network whose features make a Fréchet distance "the" FID.
//!
//! Its average pools leave the padding out of the mean and its last block takes a maximum, as the network of 2015-12-05 did
//! from which FIDs are reported; torchvision's differs in both. Images are resized to 299 × 299 bilinearly, without
//! smoothing and without aligned corners, and scaled to [−1, 1].
//!
//! Sources: Szegedy et al. 2015, arXiv:1512.00567; Heusel et al. 2017, arXiv:1706.08500; the package pytorch-fid, for names,
//! pools and resizing.

mod layers;
mod layout;

use std::path::Path;

use candle_core::{DType, Device, Tensor};

use crate::inception::layers::Step;
use crate::resample::{Filter, resize};
use crate::weights::Weights;
use crate::{Extractor, ImageRange, Protocol, Result};

const WAY_OUT: &str = "take pt_inception-2015-12-05-6726825d.pth from \
                       https://github.com/mseitzer/pytorch-fid/releases/tag/fid_weights and convert it: python \
                       scripts/convert_inception.py pt_inception-2015-12-05-6726825d.pth inception.safetensors";
/// The sides of what the network sees.
const SIDE: usize = 299;

/// Where features are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InceptionTap {
    /// 64 means behind the first largest-of-nine pool.
    FirstPool,
    /// 192 means behind the second one.
    SecondPool,
    /// 768 means before the auxiliary classifier.
    BeforeClassifier,
    /// 2048 means behind the last block: those of FID and KID.
    Pool,
    /// 1008 products of the classifier, without its biases: those of the Inception score, whose first program left them out.
    Logits,
}

impl InceptionTap {
    /// How many features there are.
    #[must_use]
    pub fn dimension(self) -> usize {
        match self {
            Self::FirstPool => 64,
            Self::SecondPool => 192,
            Self::BeforeClassifier => 768,
            Self::Pool => 2048,
            Self::Logits => 1008,
        }
    }

    /// How many of the four parts of the network it takes.
    fn parts(self) -> usize {
        match self {
            Self::FirstPool => 1,
            Self::SecondPool => 2,
            Self::BeforeClassifier => 3,
            Self::Pool | Self::Logits => 4,
        }
    }

    fn words(self) -> String {
        let name = match self {
            Self::FirstPool => "first pool",
            Self::SecondPool => "second pool",
            Self::BeforeClassifier => "before the auxiliary classifier",
            Self::Pool => "pool",
            Self::Logits => "logits without biases",
        };
        format!("{name}, {}", self.dimension())
    }
}

/// Inception-v3 up to one of its outputs, with the normalizations of the trained network.
#[derive(Clone, Debug)]
pub struct InceptionV3 {
    steps: Vec<Step>,
    /// (2048, 1008), for logits.
    classifier: Option<Tensor>,
    device: Device,
    protocol: Protocol,
}

impl InceptionV3 {
    /// Reads the weights from a file of safetensors under the names of pytorch-fid's state, as
    /// `scripts/convert_inception.py` writes it. Only what the output needs must be there.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or lacks a tensor: the message says where to get it and how to convert it.
    pub fn read(path: impl AsRef<Path>, tap: InceptionTap, device: &Device) -> Result<Self> {
        let weights = Weights::read(path.as_ref(), WAY_OUT)?;
        let steps = layout::steps(&weights, tap.parts(), device)?;
        let classifier = match tap {
            InceptionTap::Logits => {
                let weight = weights.tensor("fc.weight", &[1008, 2048], DType::F32)?;
                Some(weight.to_device(device)?.t()?)
            }
            _ => None,
        };
        let protocol = Protocol {
            extractor: "Inception-v3 of pytorch-fid".to_owned(),
            features: tap.words(),
            file_sha256: weights.sha256,
            resize: "bilinear to 299x299, corners not aligned, not smoothed".to_owned(),
        };
        Ok(Self {
            steps,
            classifier,
            device: device.clone(),
            protocol,
        })
    }

    /// Features of images with values from 0 to 1.
    fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let mut x = resize(images, [SIDE, SIDE], Filter::Bilinear)?.affine(2.0, -1.0)?;
        for step in &self.steps {
            x = step.forward(&x)?;
        }
        let pooled = x.mean((2, 3))?;
        Ok(match &self.classifier {
            Some(classifier) => pooled.matmul(classifier)?,
            None => pooled,
        })
    }
}

impl Extractor for InceptionV3 {
    fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    fn features(&self, images: &Tensor, range: ImageRange) -> Result<Tensor> {
        let unit = range.to_unit(&images.to_device(&self.device)?)?;
        if !self.device.is_cpu() {
            return self.forward(&unit);
        }
        // One at a time: the order of sums in a product may follow its size.
        let rows: Vec<Tensor> = (0..unit.dim(0)?)
            .map(|row| self.forward(&unit.narrow(0, row, 1)?))
            .collect::<Result<_>>()?;
        Ok(Tensor::cat(&rows, 0)?)
    }
}
