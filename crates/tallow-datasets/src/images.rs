//! Images in memory: bytes until a batch is made of them.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use rand::RngCore;
use tallow_denoisers::{Batch, Condition, Dataset, uniforms};

use crate::points::choice;
use crate::shuffled::order;
use crate::{Error, PixelRange, Result, Rows};

/// Whether images are mirrored, left to right, on their way into a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flips {
    /// As they are: digits, text, anything that is not its mirror image.
    #[default]
    Never,
    /// Each with probability ½, drawn anew each time.
    Half,
}

/// Images of one size as bytes, with a label each if they have one: a [`Dataset`], and what
/// [`Shuffled`](crate::Shuffled) goes through in epochs. Clones share the pixels.
///
/// Batches are (B, channels, height, width) over a [`PixelRange`], their labels the condition "labels".
///
/// ```
/// use tallow_datasets::{Flips, Images};
///
/// let images = Images::new(vec![0, 255, 10, 20, 30, 40], [1, 1, 2])?.with_labels(vec![0, 1, 1], &["cat", "dog"])?;
/// assert_eq!((images.rows(), images.shape()), (3, [1, 1, 2]));
/// let batch = images.with_flips(Flips::Half).select(&[0, 2])?;
/// assert_eq!(batch.x0.dims(), [2, 1, 1, 2]); // select takes images as they are: [[−1, 1], …]
/// assert_eq!(batch.x0.flatten_all()?.to_vec1::<f32>()?[..2], [-1.0, 1.0]);
/// # Ok::<(), tallow_datasets::Error>(())
/// ```
#[derive(Clone)]
pub struct Images {
    pixels: Arc<Vec<u8>>,
    shape: [usize; 3],
    labels: Arc<Vec<u32>>,
    classes: Arc<Vec<String>>,
    range: PixelRange,
    flips: Flips,
    checksum: u32,
}

impl Images {
    /// Images of a shape (channels, height, width) from all their pixels, row by row.
    ///
    /// # Errors
    ///
    /// When a side of the shape is 0, the pixels are not those of whole images, at least one, or there are more images than
    /// 32 bits can count.
    pub fn new(pixels: Vec<u8>, shape: [usize; 3]) -> Result<Self> {
        let item = shape
            .iter()
            .try_fold(1_usize, |item, side| item.checked_mul(*side));
        let item = item.filter(|item| *item > 0 && !pixels.is_empty() && pixels.len().is_multiple_of(*item));
        let Some(item) = item else {
            let bytes = pixels.len();
            return Err(Error::Pixels { bytes, shape });
        };
        let rows = pixels.len() / item;
        if u32::try_from(rows).is_err() {
            return Err(Error::TooManyRows { rows });
        }
        let mut images = Self {
            pixels: Arc::new(pixels),
            shape,
            labels: Arc::default(),
            classes: Arc::default(),
            range: PixelRange::default(),
            flips: Flips::default(),
            checksum: 0,
        };
        images.checksum = images.sum();
        Ok(images)
    }

    /// The same with a label for each image; `classes` names the labels from 0 on.
    ///
    /// # Errors
    ///
    /// When there is not one label for each image, or a label has no class.
    pub fn with_labels(mut self, labels: Vec<u32>, classes: &[&str]) -> Result<Self> {
        let (count, rows) = (labels.len(), self.rows());
        if count != rows {
            return Err(Error::LabelCount { count, rows });
        }
        if let Some(row) = labels.iter().position(|label| *label as usize >= classes.len()) {
            let (label, classes) = (labels[row], classes.len());
            return Err(Error::Label { row, label, classes });
        }
        self.labels = Arc::new(labels);
        self.classes = Arc::new(classes.iter().map(|&name| name.to_owned()).collect());
        self.checksum = self.sum();
        Ok(self)
    }

    /// The same over another interval of numbers than [−1, 1].
    #[must_use]
    pub fn with_range(mut self, range: PixelRange) -> Self {
        self.range = range;
        self
    }

    /// The same, mirrored or not on the way into batches.
    #[must_use]
    pub fn with_flips(mut self, flips: Flips) -> Self {
        self.flips = flips;
        self
    }

    /// The same on a larger canvas, in its middle, with `value` around: 28 × 28 to 32 × 32 for networks that halve the size
    /// more than twice. An odd rest goes to the right and the bottom.
    ///
    /// # Errors
    ///
    /// When the canvas is smaller than the images, or needs more memory than there is.
    pub fn padded(&self, height: usize, width: usize, value: u8) -> Result<Self> {
        let [channels, h, w] = self.shape;
        let canvas = [channels, height, width];
        let bytes = canvas
            .iter()
            .try_fold(self.rows(), |product, side| product.checked_mul(*side));
        let mut pixels = Vec::new();
        let room =
            bytes.filter(|bytes| height >= h && width >= w && pixels.try_reserve_exact(*bytes).is_ok());
        let Some(bytes) = room else {
            return Err(Error::Canvas {
                shape: self.shape,
                canvas,
            });
        };
        pixels.resize(bytes, value);
        let (top, left) = ((height - h) / 2, (width - w) / 2);
        let planes = self
            .pixels
            .chunks_exact(h * w)
            .zip(pixels.chunks_exact_mut(height * width));
        for (from, to) in planes {
            for (line, values) in from.chunks_exact(w).enumerate() {
                let start = (top + line) * width + left;
                to[start..start + w].copy_from_slice(values);
            }
        }
        self.with_pixels(pixels, canvas, self.labels.to_vec())
    }

    /// The images of some numbers, in their order.
    ///
    /// # Errors
    ///
    /// When there is no number, or one is not that of an image.
    pub fn subset(&self, rows: &[u32]) -> Result<Self> {
        let mut pixels = Vec::with_capacity(rows.len() * self.item());
        for &row in rows {
            pixels.extend_from_slice(self.row(row)?);
        }
        let labels = rows
            .iter()
            .filter_map(|row| self.labels.get(*row as usize).copied())
            .collect();
        self.with_pixels(pixels, self.shape, labels)
    }

    /// Two halves that a seed decides, for a distance between data and data that no model comes into; the first has the odd
    /// image. The seed decides the order in each as well, so that the first images of a half are a sample of the whole even
    /// where the data are not: the first half of MNIST's test images is of tidier writers than the second.
    ///
    /// # Errors
    ///
    /// When there are fewer than two images.
    pub fn halves(&self, seed: u64) -> Result<[Self; 2]> {
        if self.rows() < 2 {
            return Err(Error::Parameter {
                owner: "Images::halves",
                name: "images",
                value: self.rows() as f64,
                allowed: "of which there are at least 2",
            });
        }
        let rows = order(self.rows(), seed, u64::MAX);
        let (first, second) = rows.split_at(self.rows().div_ceil(2));
        Ok([self.subset(first)?, self.subset(second)?])
    }

    /// Some of the images, drawn without replacement in an order that a seed decides: unlike the first so many, a sample of the
    /// whole.
    ///
    /// # Errors
    ///
    /// When `count` is 0 or above the number of images.
    pub fn sample(&self, count: usize, seed: u64) -> Result<Self> {
        if count == 0 || count > self.rows() {
            return Err(Error::Parameter {
                owner: "Images::sample",
                name: "count",
                value: count as f64,
                allowed: "at least 1 and at most the number of images",
            });
        }
        let rows = order(self.rows(), seed, u64::MAX);
        self.subset(rows.get(..count).unwrap_or(&rows))
    }

    /// The images of some numbers as a batch, in their order, none mirrored.
    ///
    /// # Errors
    ///
    /// When there is no number, or one is not that of an image.
    pub fn select(&self, rows: &[u32]) -> tallow_denoisers::Result<Batch> {
        self.batch(rows, |_| false)
    }

    /// How many images there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.pixels.len() / self.item()
    }

    /// Channels, height and width.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// All bytes: image by image, channel by channel, line by line.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The label of each image; none where the images have none.
    #[must_use]
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The names of the labels, from 0 on; none where the images have none.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The interval of the batches' numbers.
    #[must_use]
    pub fn range(&self) -> PixelRange {
        self.range
    }

    /// A CRC-32 of shape, pixels and labels: equal for equal data, whatever file it came from.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        self.checksum
    }

    /// Bytes of an image.
    fn item(&self) -> usize {
        self.shape.iter().product()
    }

    fn row(&self, row: u32) -> tallow_denoisers::Result<&[u8]> {
        let start = (row as usize).checked_mul(self.item());
        let bytes = start.and_then(|start| self.pixels.get(start..)?.get(..self.item()));
        bytes.ok_or(tallow_denoisers::Error::Parameter {
            owner: "Images",
            name: "row",
            value: f64::from(row),
            allowed: "below the number of images",
        })
    }

    /// Other pixels with labels for them, everything else the same.
    fn with_pixels(&self, pixels: Vec<u8>, shape: [usize; 3], labels: Vec<u32>) -> Result<Self> {
        let mut images = Self::new(pixels, shape)?;
        if !self.classes.is_empty() {
            let classes: Vec<&str> = self.classes.iter().map(String::as_str).collect();
            images = images.with_labels(labels, &classes)?;
        }
        Ok(images.with_range(self.range).with_flips(self.flips))
    }

    /// A batch of `rows`, of which those at the places that `mirrored` says are mirrored.
    fn batch(&self, rows: &[u32], mirrored: impl Fn(usize) -> bool) -> tallow_denoisers::Result<Batch> {
        if rows.is_empty() {
            let what = "a draw of images";
            return Err(tallow_denoisers::Error::EmptyBatch { what });
        }
        let table = self.range.table();
        let [channels, height, width] = self.shape;
        let mut values = Vec::with_capacity(rows.len() * self.item());
        for (place, &row) in rows.iter().enumerate() {
            let bytes = self.row(row)?;
            let value = |byte: &u8| table[usize::from(*byte)];
            if mirrored(place) {
                values.extend(
                    bytes
                        .chunks_exact(width)
                        .flat_map(|line| line.iter().rev().map(value)),
                );
            } else {
                values.extend(bytes.iter().map(value));
            }
        }
        let batch = Batch::new(Tensor::from_vec(
            values,
            (rows.len(), channels, height, width),
            &Device::Cpu,
        )?);
        if self.labels.is_empty() {
            return Ok(batch);
        }
        let labels: Vec<u32> = rows.iter().map(|row| self.labels[*row as usize]).collect();
        batch.with_condition(Condition::labels(Tensor::from_vec(
            labels,
            rows.len(),
            &Device::Cpu,
        )?))
    }

    fn sum(&self) -> u32 {
        let mut crc = flate2::Crc::new();
        self.shape
            .iter()
            .for_each(|side| crc.update(&(*side as u64).to_le_bytes()));
        crc.update(&self.pixels);
        self.labels
            .iter()
            .for_each(|label| crc.update(&label.to_le_bytes()));
        crc.sum()
    }
}

impl std::fmt::Debug for Images {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Images")
            .field("rows", &self.rows())
            .field("shape", &self.shape)
            .field("classes", &self.classes.len())
            .field("range", &self.range)
            .field("flips", &self.flips)
            .field("checksum", &self.checksum)
            .finish()
    }
}

impl Dataset for Images {
    fn item_shape(&self) -> &[usize] {
        &self.shape
    }

    fn draw(&self, count: usize, rng: &mut dyn RngCore) -> tallow_denoisers::Result<Batch> {
        let row = |u: f64| choice(u, Self::rows(self)) as u32;
        let rows: Vec<u32> = uniforms(count, rng).into_iter().map(row).collect();
        self.gather(&rows, rng)
    }
}

impl Rows for Images {
    fn rows(&self) -> usize {
        Self::rows(self)
    }

    fn gather(&self, rows: &[u32], rng: &mut dyn RngCore) -> tallow_denoisers::Result<Batch> {
        match self.flips {
            Flips::Never => self.select(rows),
            Flips::Half => {
                let heads: Vec<bool> = rows.iter().map(|_| rng.next_u64() >> 63 == 1).collect();
                self.batch(rows, |place| heads[place])
            }
        }
    }

    fn fingerprint(&self) -> Option<u64> {
        let choices = 2 * u64::from(self.flips == Flips::Half) + u64::from(self.range == PixelRange::Unit);
        Some(choices << 32 | u64::from(self.checksum))
    }
}

#[cfg(test)]
#[path = "images_tests.rs"]
mod tests;
