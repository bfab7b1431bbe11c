//! Features of images, batch by batch, with the protocol they were made by.

use std::path::Path;

use candle_core::Tensor;
use rand::RngCore;

use crate::file::whole_file;
use crate::protocol::sha256;
use crate::{
    Error, Extractor, Frechet, ImageRange, InceptionScore, Judged, KernelDistance, Moments, Points,
    PrecisionRecall, Protocol, Result, Side, frechet_distance, inception_score, kernel_distance_of_subsets,
    moments, npz, precision_recall,
};

/// Mean and covariance of the features of a stream of images: memory does not grow with their number.
#[derive(Clone, Debug)]
pub struct ImageMoments {
    protocol: Protocol,
    range: Option<ImageRange>,
    statistics_sha256: Option<String>,
    moments: Option<Moments>,
}

impl ImageMoments {
    /// Of no images yet; their values will be in `range`.
    #[must_use]
    pub fn new(extractor: &dyn Extractor, range: ImageRange) -> Self {
        Self {
            protocol: extractor.protocol().clone(),
            range: Some(range),
            statistics_sha256: None,
            moments: None,
        }
    }

    /// Statistics that somebody saved (see [`Moments::read_npz`]), by a protocol that the caller vouches for.
    ///
    /// # Errors
    ///
    /// Those of [`Moments::read_npz`].
    pub fn read_npz(path: impl AsRef<Path>, protocol: Protocol) -> Result<Self> {
        let path = path.as_ref();
        let bytes = whole_file(path, moments::MOST_BYTES)?;
        let read = npz::read(&bytes, moments::MOST_BYTES);
        Ok(Self {
            protocol,
            range: None,
            statistics_sha256: Some(sha256(&bytes)),
            moments: Some(read.map_err(|problem| Error::Statistics {
                path: path.to_owned(),
                problem,
            })?),
        })
    }

    /// Adds a batch of images.
    ///
    /// # Errors
    ///
    /// When the extractor is another one, the images are not as it wants them, or these are statistics from a file.
    pub fn push(&mut self, extractor: &dyn Extractor, images: &Tensor) -> Result<()> {
        self.protocol.check(extractor.protocol())?;
        let Some(range) = self.range else {
            let problem = "images cannot be added to statistics from a file".to_owned();
            return Err(Error::Protocol { problem });
        };
        let features = Points::from_tensor(&extractor.features(images, range)?)?;
        let moments = self
            .moments
            .get_or_insert_with(|| Moments::new(features.dimension()));
        moments.push(&features)
    }

    /// How the features were made.
    #[must_use]
    pub fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// Mean and covariance; `None` before the first batch.
    #[must_use]
    pub fn moments(&self) -> Option<&Moments> {
        self.moments.as_ref()
    }

    /// The squared Fréchet distance to a reference: the FID, where the features are those of Inception-v3's pool.
    ///
    /// # Errors
    ///
    /// When the protocols differ, a side has no images, and those of [`frechet_distance`].
    pub fn frechet_distance(&self, reference: &Self) -> Result<Judged<Frechet>> {
        self.protocol.check(&reference.protocol)?;
        let (Some(x), Some(y)) = (&self.moments, &reference.moments) else {
            return Err(Error::Empty);
        };
        Ok(Judged {
            value: frechet_distance(x, y)?,
            protocol: self.protocol.clone(),
            sides: vec![self.side(), reference.side()],
        })
    }

    fn side(&self) -> Side {
        Side {
            count: self.moments.as_ref().and_then(Moments::count),
            range: self.range,
            statistics_sha256: self.statistics_sha256.clone(),
        }
    }
}

/// The features of images themselves, for measures that compare points: n d numbers of memory.
#[derive(Clone, Debug)]
pub struct ImageFeatures {
    protocol: Protocol,
    range: ImageRange,
    values: Vec<f64>,
    dimension: usize,
}

impl ImageFeatures {
    /// Of no images yet; their values will be in `range`.
    #[must_use]
    pub fn new(extractor: &dyn Extractor, range: ImageRange) -> Self {
        Self {
            protocol: extractor.protocol().clone(),
            range,
            values: Vec::new(),
            dimension: 0,
        }
    }

    /// Adds a batch of images.
    ///
    /// # Errors
    ///
    /// When the extractor is another one, or the images are not as it wants them.
    pub fn push(&mut self, extractor: &dyn Extractor, images: &Tensor) -> Result<()> {
        self.protocol.check(extractor.protocol())?;
        let features = Points::from_tensor(&extractor.features(images, self.range)?)?;
        self.dimension = features.dimension();
        self.values.extend_from_slice(features.values());
        Ok(())
    }

    /// The features as points, for any distance of this crate.
    ///
    /// # Errors
    ///
    /// When there are no images.
    pub fn points(&self) -> Result<Points<'_>> {
        if self.values.is_empty() {
            return Err(Error::Empty);
        }
        Points::new(&self.values, self.dimension)
    }

    /// The kernel distance to a reference over random subsets: the KID, where the features are those of Inception-v3's pool.
    ///
    /// # Errors
    ///
    /// When the protocols differ, and those of [`kernel_distance_of_subsets`].
    pub fn kernel_distance(
        &self,
        reference: &Self,
        subsets: usize,
        size: usize,
        rng: &mut dyn RngCore,
    ) -> Result<Judged<KernelDistance>> {
        self.protocol.check(&reference.protocol)?;
        let value = kernel_distance_of_subsets(&self.points()?, &reference.points()?, subsets, size, rng)?;
        Ok(self.judged(value, Some(reference)))
    }

    /// Precision, recall, density and coverage against a reference.
    ///
    /// # Errors
    ///
    /// When the protocols differ, and those of [`precision_recall`].
    pub fn precision_recall(&self, reference: &Self, neighbours: usize) -> Result<Judged<PrecisionRecall>> {
        self.protocol.check(&reference.protocol)?;
        let value = precision_recall(&reference.points()?, &self.points()?, neighbours)?;
        Ok(self.judged(value, Some(reference)))
    }

    /// The Inception score of features that are logits ([`InceptionTap::Logits`](crate::InceptionTap::Logits)).
    ///
    /// # Errors
    ///
    /// When they are not, and those of [`inception_score`].
    pub fn inception_score(&self, splits: usize) -> Result<Judged<InceptionScore>> {
        if !self.protocol.features.starts_with("logits") {
            let problem = format!("a score needs logits, these are of {}", self.protocol);
            return Err(Error::Protocol { problem });
        }
        let logits = self.points()?;
        let probabilities: Vec<f64> = logits.iter().flat_map(softmax).collect();
        let value = inception_score(&Points::new(&probabilities, self.dimension)?, splits)?;
        Ok(self.judged(value, None))
    }

    fn judged<T>(&self, value: T, reference: Option<&Self>) -> Judged<T> {
        let side = |of: &Self| Side {
            count: Some(of.values.len() / of.dimension.max(1)),
            range: Some(of.range),
            statistics_sha256: None,
        };
        Judged {
            value,
            protocol: self.protocol.clone(),
            sides: std::iter::once(self).chain(reference).map(side).collect(),
        }
    }
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
    let powers: Vec<f64> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / total).collect()
}

#[cfg(test)]
#[path = "image_features_tests.rs"]
mod tests;
