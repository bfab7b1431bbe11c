//! CLIP: features of images and of captions in one space, and how well they go together.
//!
//! ```text
//! score = 100 E max(0, cos(f(image), g(caption)))
//! ```
//!
//! The networks are candle-transformers'; files have the layout of the Hugging Face Hub. Images are resized until their
//! shorter side fits, by a smoothed cubic, clamped, cropped to the middle and normalized, as the published models were used;
//! Pillow, which others resize with, rounds to bytes in between, so that pixels differ by up to 1/255.
//!
//! Sources: Radford et al. 2021, arXiv:2103.00020; Hessel et al. 2021, arXiv:2104.08718, equation 1 (whose scale is 2.5 in
//! place of 100).

mod configuration;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::clip::ClipModel;
use tokenizers::{Tokenizer, TruncationParams};

pub use self::configuration::ClipConfiguration;
use crate::file::whole_file;
use crate::resample::{Filter, resize};
use crate::weights::Weights;
use crate::{Error, Extractor, ImageRange, Judged, Points, Protocol, Result, Side};

const WAY_OUT: &str = "take model.safetensors, tokenizer.json and config.json of openai/clip-vit-base-patch32, or of another \
                       CLIP, from https://huggingface.co";
/// The most bytes of a tokenizer: ten times CLIP's.
const MOST_TOKENIZER: u64 = 32 << 20;
/// Mean and deviation of the channels of the images that CLIP was trained on.
const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const DEVIATION: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// A CLIP that reads images and captions.
///
/// Sources: Radford et al. 2021, arXiv:2103.00020; Hessel et al. 2021, arXiv:2104.08718, equation 1 (whose scale is
/// 2.5 in place of 100).
pub struct Clip {
    model: ClipModel,
    tokenizer: Tokenizer,
    side: usize,
    device: Device,
    protocol: Protocol,
}

impl fmt::Debug for Clip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clip")
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

/// How well images and their captions go together.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipScore {
    /// 100 E max(0, cos): in use from about 20 (unrelated) to 35.
    pub score: f64,
    /// The cosine of each image with its caption.
    pub cosines: Vec<f64>,
}

impl fmt::Display for ClipScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CLIP score = {}", self.score)
    }
}

impl Clip {
    /// Reads weights (`model.safetensors`) and tokens (`tokenizer.json`) of a model of a known configuration.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or does not fit the configuration: the message says where to get the right ones.
    pub fn read(
        weights: impl AsRef<Path>,
        tokenizer: impl AsRef<Path>,
        configuration: &ClipConfiguration,
        device: &Device,
    ) -> Result<Self> {
        let path = weights.as_ref();
        let refuse = |problem: String| Error::Weights {
            path: path.to_owned(),
            problem,
            way_out: WAY_OUT,
        };
        let weights = Weights::read(path, WAY_OUT)?;
        let config = configuration.config();
        // candle-transformers would draw a missing one at random.
        let class = "vision_model.embeddings.class_embedding";
        weights.tensor(class, &[config.vision_config.embed_dim], DType::F32)?;
        let sha256 = weights.sha256.clone();
        let tensors: HashMap<String, Tensor> = weights.finite()?;
        let builder = VarBuilder::from_tensors(tensors, DType::F32, device);
        let model = ClipModel::new(builder, config).map_err(|error| refuse(error.to_string()))?;
        let side = config.image_size;
        Ok(Self {
            model,
            tokenizer: read_tokenizer(tokenizer.as_ref(), config.text_config.max_position_embeddings)?,
            side,
            device: device.clone(),
            protocol: Protocol {
                extractor: format!("CLIP ({configuration})"),
                features: format!("projected image, {}", config.vision_config.projection_dim),
                file_sha256: sha256,
                resize: format!("bicubic, smoothed, shorter side to {side}, clamped, cropped to the middle"),
            },
        })
    }

    /// Features (N, d) of captions, in single precision; what is too long for the model is cut.
    ///
    /// # Errors
    ///
    /// When there are no captions, or the tokenizer is not one of this model.
    pub fn text_features(&self, captions: &[&str]) -> Result<Tensor> {
        if captions.is_empty() {
            return Err(Error::Empty);
        }
        // One at a time: none is padded, and none depends on the others.
        let rows: Vec<Tensor> = captions
            .iter()
            .map(|caption| self.one_text(caption))
            .collect::<Result<_>>()?;
        Ok(Tensor::cat(&rows, 0)?)
    }

    fn one_text(&self, caption: &str) -> Result<Tensor> {
        let refuse = |problem: String| Error::Captions { problem };
        let encoded = self
            .tokenizer
            .encode(caption, true)
            .map_err(|error| refuse(error.to_string()))?;
        let tokens = encoded.get_ids();
        // The model takes its feature where the number of a token is largest: at the end of the text.
        let largest = tokens.iter().position(|token| Some(token) == tokens.iter().max());
        if largest.is_none() || largest != tokens.len().checked_sub(1) {
            let problem =
                format!("the tokens {tokens:?} of {caption:?} do not close with the largest number");
            return Err(refuse(problem));
        }
        let tokens = Tensor::new(tokens, &self.device)?.unsqueeze(0)?;
        Ok(self.model.get_text_features(&tokens)?)
    }

    /// How well each image goes with the caption at the same place.
    ///
    /// # Shapes
    ///
    /// `images`: (N, 3, H, W), or (N, 1, H, W) whose grey is repeated, with N captions.
    ///
    /// # Errors
    ///
    /// When there are not as many captions as images, none at all, the images are not as [`Extractor::features`] wants them,
    /// or a caption's tokens are not those of this model.
    pub fn score(&self, images: &Tensor, captions: &[&str], range: ImageRange) -> Result<Judged<ClipScore>> {
        let count = images.dims().first().copied().unwrap_or_default();
        if count != captions.len() {
            let problem = format!("{count} images come with {} captions", captions.len());
            return Err(Error::Captions { problem });
        }
        let images = Points::from_tensor(&self.features(images, range)?)?;
        let texts = Points::from_tensor(&self.text_features(captions)?)?;
        let cosines: Vec<f64> = images
            .iter()
            .zip(texts.iter())
            .map(|(a, b)| cosine(a, b))
            .collect();
        let sum: f64 = cosines.iter().map(|cosine| cosine.max(0.0)).sum();
        Ok(Judged {
            value: ClipScore {
                score: 100.0 * sum / count as f64,
                cosines,
            },
            protocol: self.protocol.clone(),
            sides: vec![Side {
                count: Some(count),
                range: Some(range),
                statistics_sha256: None,
            }],
        })
    }

    /// Images with values from 0 to 1 as the network wants them.
    fn prepare(&self, unit: &Tensor) -> Result<Tensor> {
        let (_, _, height, width) = unit.dims4()?;
        let side = self.side;
        let shorter = height.min(width);
        // The longer side is cut to a whole number of pixels.
        let [rows, columns] = [height, width].map(|length| length * side / shorter);
        let resized = resize(unit, [rows, columns], Filter::BicubicAntialiased)?.clamp(0f32, 1f32)?;
        let middle = resized
            .narrow(2, (rows - side) / 2, side)?
            .narrow(3, (columns - side) / 2, side)?;
        let channels = |values: &[f32; 3]| Tensor::new(values, unit.device())?.reshape((1, 3, 1, 1));
        Ok(middle
            .broadcast_sub(&channels(&MEAN)?)?
            .broadcast_div(&channels(&DEVIATION)?)?)
    }
}

impl Extractor for Clip {
    fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    fn features(&self, images: &Tensor, range: ImageRange) -> Result<Tensor> {
        let unit = range.to_unit(&images.to_device(&self.device)?)?;
        // On a CPU one at a time: the order of sums in a product may follow its size.
        let step = if self.device.is_cpu() { 1 } else { unit.dim(0)? };
        let rows: Vec<Tensor> = (0..unit.dim(0)?)
            .step_by(step)
            .map(|row| {
                Ok(self
                    .model
                    .get_image_features(&self.prepare(&unit.narrow(0, row, step)?)?)?)
            })
            .collect::<Result<_>>()?;
        Ok(Tensor::cat(&rows, 0)?)
    }
}

fn read_tokenizer(path: &Path, positions: usize) -> Result<Tokenizer> {
    let refuse = |problem: String| Error::Weights {
        path: path.to_owned(),
        problem,
        way_out: WAY_OUT,
    };
    let bytes = match whole_file(path, MOST_TOKENIZER) {
        Err(Error::File { source, .. }) => return Err(refuse(source.to_string())),
        other => other?,
    };
    let mut tokenizer =
        Tokenizer::from_bytes(bytes).map_err(|error| refuse(format!("it is no tokenizer: {error}")))?;
    tokenizer.with_padding(None);
    let truncation = TruncationParams {
        max_length: positions,
        ..TruncationParams::default()
    };
    let truncated = tokenizer.with_truncation(Some(truncation)).map(|_| ());
    truncated.map_err(|error| refuse(error.to_string()))?;
    Ok(tokenizer)
}

/// 0 where a vector has no direction.
fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}

#[cfg(test)]
#[path = "clip_tests.rs"]
mod tests;
