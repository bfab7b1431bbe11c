//! What a U-Net is made of.

use tallow_nn::{Injection, LastLayer, ResidualBlockConfig, WaveOrder};

use crate::blocks::{DownsamplePadding, ImageAttentionConfig};
use crate::{Error, Result};

/// The shape of a [`UNet`](super::UNet): what diffusers' `UNet2DModel` can be, under our own words.
///
/// ```
/// use tallow_models::UNetConfig;
///
/// // Grey images of 32 × 32, three resolutions, attention at the coarsest.
/// let mut config = UNetConfig { groups: 8, ..UNetConfig::new(1, &[32, 64, 64]) };
/// config.attend(2);
/// assert_eq!(config.divisor(), 4);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UNetConfig {
    /// Channels of x.
    pub inputs: usize,
    /// Channels of the output: `inputs`, or twice as many where the variance is learned.
    pub outputs: usize,
    /// Height and width of the images it is meant for, if they are known; it takes all that its levels divide.
    pub size: Option<[usize; 2]>,
    /// The resolutions, from the finest to the coarsest; each is half of the one before.
    pub levels: Vec<UNetLevel>,
    /// Residual blocks of a level on the way down; on the way up there is one more.
    pub blocks: usize,
    /// What is between down and up; `None` for nothing.
    pub middle: Option<UNetMiddle>,
    /// How the network sees the time.
    pub time: UNetTime,
    /// Values of the embedding of time and class; four times the first level's channels if `None`.
    pub embedding: Option<usize>,
    /// What the network is told besides the time.
    pub classes: UNetClasses,
    /// How residual blocks are told.
    pub injection: Injection,
    /// Groups of the norms; must divide the channels of every level.
    pub groups: usize,
    /// What the norms add to the variance.
    pub epsilon: f64,
    /// Values of an attention head; `None` for one head.
    pub head_width: Option<usize>,
    /// Where the convolutions of stride 2 see zeros.
    pub padding: DownsamplePadding,
    /// How x enters.
    pub range: UNetRange,
    /// The probability that a value in a residual block is left out in training.
    pub dropout: f64,
    /// Where training starts.
    pub start: UNetStart,
}

/// One resolution of a [`UNet`](super::UNet).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UNetLevel {
    /// Channels of the images.
    pub channels: usize,
    /// The way down.
    pub down: UNetSide,
    /// The way up.
    pub up: UNetSide,
}

/// One way through a level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UNetSide {
    /// Whether attention follows each residual block.
    pub attention: bool,
    /// How the next level's size is made, if there is a next one.
    pub resampling: UNetResampling,
}

/// How a level's images get half or twice their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum UNetResampling {
    /// By a convolution of stride 2, or one after doubling: DDPM.
    #[default]
    Convolution,
    /// Within a residual block of its own: ADM.
    ResidualBlock,
}

/// What is between down and up: two residual blocks, and perhaps attention.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UNetMiddle {
    /// Whether there is attention between the blocks.
    pub attention: bool,
    /// Groups of the norm before that attention. If `None`, those of the network where blocks are told shifts, and no norm
    /// where they are told scales and shifts.
    pub groups: Option<usize>,
    /// What the outputs of blocks and attention are divided by.
    pub scale: f64,
}

impl Default for UNetMiddle {
    /// With attention.
    fn default() -> Self {
        Self {
            attention: true,
            groups: None,
            scale: 1.0,
        }
    }
}

/// How a [`UNet`](super::UNet) sees the time.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum UNetTime {
    /// Sines and cosines of periods up to 10 000 · 2π: for table steps 0, 1, 2, …
    Sinusoidal {
        /// Sines or cosines first.
        order: WaveOrder,
        /// What is subtracted from the number of frequencies in the exponent.
        frequency_shift: f64,
    },
    /// Sines and cosines of random multiples of ln σ, and an output divided by σ: for times that are noise levels (score
    /// SDE's variance-exploding networks). The multiples, `time_proj.weight`, are not trained.
    Fourier,
}

/// What a [`UNet`](super::UNet) is told besides the time, under the condition's name `labels`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum UNetClasses {
    /// Nothing.
    #[default]
    None,
    /// Labels (B,) below `count`: for guidance without a classifier one more than there are classes, the last for "none".
    Table {
        /// Labels.
        count: usize,
    },
    /// A number for each image, (B,), which is embedded as times are, by layers of its own.
    Times,
    /// The vector that is added to the time's embedding, (B, embedding).
    Given,
}

/// How x enters a [`UNet`](super::UNet).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum UNetRange {
    /// As it is.
    #[default]
    AsGiven,
    /// As 2x − 1, for data in [0, 1].
    Centred,
}

/// Where training starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum UNetStart {
    /// Where PyTorch's layers do, as diffusers' models.
    #[default]
    Drawn,
    /// The same, with zeros in the last layer of every residual block, attention and the network, as in DDPM and ADM: blocks
    /// start as their ways around, and the network answers 0.
    ZeroLast,
}

impl UNetStart {
    pub(crate) fn last(self) -> LastLayer {
        match self {
            Self::Drawn => LastLayer::Drawn,
            Self::ZeroLast => LastLayer::Zeros,
        }
    }
}

impl UNetConfig {
    /// Levels of the given channels on images of `inputs` channels: two residual blocks each way, attention in the middle only,
    /// ADM's times, DDPM's shifts, 32 groups.
    #[must_use]
    pub fn new(inputs: usize, channels: &[usize]) -> Self {
        let level = |&channels| UNetLevel {
            channels,
            down: UNetSide::default(),
            up: UNetSide::default(),
        };
        Self {
            inputs,
            outputs: inputs,
            size: None,
            levels: channels.iter().map(level).collect(),
            blocks: 2,
            middle: Some(UNetMiddle::default()),
            time: UNetTime::Sinusoidal {
                order: WaveOrder::CosinesFirst,
                frequency_shift: 0.0,
            },
            embedding: None,
            classes: UNetClasses::None,
            injection: Injection::Shift,
            groups: 32,
            epsilon: 1e-5,
            head_width: None,
            padding: DownsamplePadding::Around,
            range: UNetRange::AsGiven,
            dropout: 0.0,
            start: UNetStart::Drawn,
        }
    }

    /// Lets a level attend on both ways; 0 is the finest. A level that is not there changes nothing.
    pub fn attend(&mut self, level: usize) {
        if let Some(level) = self.levels.get_mut(level) {
            level.down.attention = true;
            level.up.attention = true;
        }
    }

    /// Takes this resampling on every level, on the way down and up.
    pub fn resample(&mut self, resampling: UNetResampling) {
        for level in &mut self.levels {
            level.down.resampling = resampling;
            level.up.resampling = resampling;
        }
    }

    /// What must divide height and width: 2 for every level but the first.
    #[must_use]
    pub fn divisor(&self) -> usize {
        let halvings = u32::try_from(self.levels.len().saturating_sub(1)).unwrap_or(u32::MAX);
        1usize.checked_shl(halvings).unwrap_or(usize::MAX)
    }

    /// Values of the embedding of time and class.
    #[must_use]
    pub fn embedding_width(&self) -> usize {
        let first = self.levels.first().map_or(0, |level| level.channels);
        self.embedding.unwrap_or(first.saturating_mul(4))
    }

    /// Refuses what no network can be.
    pub(crate) fn check(&self) -> Result<()> {
        let sizes = [
            ("inputs", self.inputs),
            ("outputs", self.outputs),
            ("levels", self.levels.len()),
            ("blocks", self.blocks),
            ("groups", self.groups),
            ("embedding", self.embedding_width()),
        ];
        if let Some((name, value)) = sizes.into_iter().find(|(_, value)| *value == 0) {
            return Err(size(name, value, "at least 1"));
        }
        let odd = |level: &&UNetLevel| level.channels == 0 || !level.channels.is_multiple_of(self.groups);
        if let Some(level) = self.levels.iter().find(odd) {
            let allowed = "of every level to be a positive multiple of the groups";
            return Err(size("channels", level.channels, allowed));
        }
        if let UNetClasses::Table { count: 0 } = self.classes {
            return Err(size("classes", 0, "at least 1, or none at all"));
        }
        if let Some(scale) = self.middle.map(|middle| middle.scale)
            && !(scale > 0.0 && scale.is_finite())
        {
            return Err(Error::Number {
                owner: "UNet",
                name: "middle.scale",
                value: scale,
                allowed: "positive and finite",
            });
        }
        match self.size {
            Some(image) => self.check_size(image),
            None => Ok(()),
        }
    }

    /// Refuses images that the levels cannot halve.
    pub(crate) fn check_size(&self, [height, width]: [usize; 2]) -> Result<()> {
        let divisor = self.divisor();
        let fits = |side: usize| side > 0 && side.is_multiple_of(divisor);
        if fits(height) && fits(width) {
            return Ok(());
        }
        Err(Error::ImageSize {
            owner: "this UNet",
            height,
            width,
            divisor,
        })
    }

    /// A residual block of this network.
    pub(crate) fn block(&self, inputs: usize, outputs: usize) -> ResidualBlockConfig {
        ResidualBlockConfig {
            groups: self.groups,
            epsilon: self.epsilon,
            injection: self.injection,
            dropout: self.dropout,
            last: self.start.last(),
            ..ResidualBlockConfig::new(inputs, outputs, self.embedding_width())
        }
    }

    /// The attention of a level of this network.
    pub(crate) fn attention(&self, channels: usize) -> ImageAttentionConfig {
        ImageAttentionConfig {
            channels,
            head_width: self.head_width,
            groups: Some(self.groups),
            epsilon: self.epsilon,
            scale: 1.0,
            last: self.start.last(),
        }
    }
}

fn size(name: &'static str, value: usize, allowed: &'static str) -> Error {
    Error::Size {
        owner: "UNet",
        name,
        value,
        allowed,
    }
}
