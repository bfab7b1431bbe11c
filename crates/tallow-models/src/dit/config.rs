//! The sizes of a diffusion transformer.

use tallow_nn::{Activation, SinusoidalConfig};

use crate::{Error, Result};

/// The largest table of positions, in numbers: sixteen times that of the largest published models.
const MAX_POSITIONS: usize = 1 << 24;

/// The sizes and conventions of a [`Dit`](super::Dit).
///
/// ```
/// use tallow_models::DitConfig;
///
/// let config = DitConfig::xl(2).with_learned_variance();
/// assert_eq!((config.width, config.depth, config.heads), (1152, 28, 16));
/// assert_eq!((config.tokens(), config.null_label()), (256, Some(1000)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DitConfig {
    /// Pixels of a side of a patch; it divides `size`.
    pub patch: usize,
    /// Channels of x.
    pub channels: usize,
    /// Channels of the output: `channels`, or twice as many where the variance is learned.
    pub outputs: usize,
    /// Pixels of a side of x.
    pub size: usize,
    /// Values of a token; a multiple of 4.
    pub width: usize,
    /// Transformer blocks.
    pub depth: usize,
    /// Heads, which divide the width.
    pub heads: usize,
    /// Values between the two layers of a block's perceptron, in widths.
    pub mlp_ratio: usize,
    /// What follows the first of these layers.
    pub activation: Activation,
    /// Classes without the null label, for which the table of labels has a row of its own; 0 for a model without labels.
    pub classes: usize,
    /// How times are embedded.
    pub time: TimeWaves,
    /// What is added to the variance of a block's first and second norm.
    pub epsilon: [f64; 2],
    /// Whether the blocks share an embedding of time and label.
    pub embedders: Embedders,
    /// How modulations and output start.
    pub start: DitStart,
}

/// The sines and cosines that times become, cosines first, with a longest period of 2π · 10 000.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TimeWaves {
    /// How many, even.
    pub count: usize,
    /// What is subtracted from the number of frequencies in the exponent: 0 in the paper's code, 1 in diffusers'.
    pub frequency_shift: f64,
    /// What times are multiplied by first: 1 for steps of a table, 1000 for times in [0, 1].
    pub scale: f64,
}

/// Who owns the embedding of time and label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Embedders {
    /// The model, as in the paper.
    #[default]
    Shared,
    /// Each block, as diffusers' class does; the output's modulation takes the first block's.
    PerBlock,
}

/// How modulations and output start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum DitStart {
    /// At zero: each block starts as the identity, the model as zero (adaLN-Zero).
    #[default]
    Zero,
    /// As the other layers, uniform within ±√(6/(inputs + outputs)).
    Random,
}

impl DitConfig {
    /// DiT-S: 33 M parameters, for 32 × 32 latents of 4 channels and 1000 classes. `patch` is 2, 4 or 8 in the paper.
    #[must_use]
    pub fn s(patch: usize) -> Self {
        Self::named(patch, 384, 12, 6)
    }

    /// DiT-B: 130 M parameters.
    #[must_use]
    pub fn b(patch: usize) -> Self {
        Self::named(patch, 768, 12, 12)
    }

    /// DiT-L: 458 M parameters.
    #[must_use]
    pub fn l(patch: usize) -> Self {
        Self::named(patch, 1024, 24, 16)
    }

    /// DiT-XL: 675 M parameters.
    #[must_use]
    pub fn xl(patch: usize) -> Self {
        Self::named(patch, 1152, 28, 16)
    }

    /// A model of 1.9 M parameters for images of one channel and `size` × `size` pixels, such as digits of 28 × 28: patches
    /// of 4, six blocks of width 128, times in [0, 1]. It trains on two cores. Without `classes`, it has no labels.
    #[must_use]
    pub fn small(size: usize, classes: usize) -> Self {
        Self {
            channels: 1,
            outputs: 1,
            size,
            classes,
            time: TimeWaves {
                count: 128,
                scale: 1000.0,
                ..TimeWaves::default()
            },
            ..Self::named(4, 128, 6, 4)
        }
    }

    fn named(patch: usize, width: usize, depth: usize, heads: usize) -> Self {
        Self {
            patch,
            channels: 4,
            outputs: 4,
            size: 32,
            width,
            depth,
            heads,
            mlp_ratio: 4,
            activation: Activation::Gelu,
            classes: 1000,
            time: TimeWaves::default(),
            epsilon: [1e-6; 2],
            embedders: Embedders::Shared,
            start: DitStart::Zero,
        }
    }

    /// The same with a second half of output channels for the variance.
    #[must_use]
    pub fn with_learned_variance(self) -> Self {
        let outputs = self.channels.saturating_mul(2);
        Self { outputs, ..self }
    }

    /// Tokens of an image.
    #[must_use]
    pub fn tokens(&self) -> usize {
        let side = self.size / self.patch.max(1);
        side.saturating_mul(side)
    }

    /// The label that means "none", if there are labels.
    #[must_use]
    pub fn null_label(&self) -> Option<u32> {
        u32::try_from(self.classes).ok().filter(|&classes| classes > 0)
    }

    /// Refuses sizes that make no model, before anything is allocated for them.
    pub(crate) fn check(&self) -> Result<()> {
        let sizes = [
            ("patch", self.patch),
            ("channels", self.channels),
            ("outputs", self.outputs),
            ("size", self.size),
            ("width", self.width),
            ("depth", self.depth),
            ("heads", self.heads),
            ("mlp_ratio", self.mlp_ratio),
        ];
        if let Some((name, value)) = sizes.into_iter().find(|(_, value)| *value == 0) {
            return refuse(name, value, "of at least 1");
        }
        if !self.size.is_multiple_of(self.patch) {
            return refuse("size", self.size, "that is a multiple of the patch");
        }
        if !self.width.is_multiple_of(4) {
            return refuse(
                "width",
                self.width,
                "that is a multiple of 4: rows and columns have a sine and a cosine each",
            );
        }
        if self.outputs != self.channels && Some(self.outputs) != self.channels.checked_mul(2) {
            return refuse("outputs", self.outputs, "equal to the channels or twice as many");
        }
        if u32::try_from(self.classes).is_err() {
            return refuse("classes", self.classes, "below 2³², since labels are u32");
        }
        self.check_products()
    }

    /// Refuses sizes whose products are too large to be counted.
    fn check_products(&self) -> Result<()> {
        let positions = self.tokens().checked_mul(self.width);
        if positions.is_none_or(|all| all > MAX_POSITIONS) {
            let allowed = "with at most 2²⁴ numbers of positions, (size/patch)² · width";
            return refuse("size", self.size, allowed);
        }
        let square = self.patch.checked_mul(self.patch);
        let products = [
            ("width", self.width.checked_mul(6)),
            ("mlp_ratio", self.width.checked_mul(self.mlp_ratio)),
            (
                "patch",
                square.and_then(|square| square.checked_mul(self.outputs)),
            ),
            ("time.count", self.time.count.checked_mul(self.width)),
        ];
        match products.into_iter().find(|(_, size)| size.is_none()) {
            Some((name, _)) => refuse(name, usize::MAX, "of a size that can be counted"),
            None => Ok(()),
        }
    }
}

fn refuse(name: &'static str, value: usize, allowed: &'static str) -> Result<()> {
    Err(Error::Size {
        owner: "Dit",
        name,
        value,
        allowed,
    })
}

impl Default for TimeWaves {
    /// DiT's: 256 for times as they are.
    fn default() -> Self {
        Self {
            count: 256,
            frequency_shift: 0.0,
            scale: 1.0,
        }
    }
}

impl TimeWaves {
    pub(super) fn conventions(self) -> SinusoidalConfig {
        SinusoidalConfig {
            frequency_shift: self.frequency_shift,
            scale: self.scale,
            ..SinusoidalConfig::default()
        }
    }
}
