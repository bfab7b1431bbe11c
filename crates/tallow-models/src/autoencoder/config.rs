//! What an autoencoder is made of, and the `config.json` of diffusers' `AutoencoderKL`.

use serde_json::{Value, json};
use tallow_nn::{LastLayer, ResidualBlockConfig};

use crate::blocks::{ImageAttentionConfig, Keys, MiddleConfig, written_size};
use crate::{Error, Result};

const CLASS: &str = "AutoencoderKL";
/// Every argument of the class.
const KEYS: [&str; 18] = [
    "in_channels",
    "out_channels",
    "down_block_types",
    "up_block_types",
    "block_out_channels",
    "layers_per_block",
    "act_fn",
    "latent_channels",
    "norm_num_groups",
    "sample_size",
    "scaling_factor",
    "shift_factor",
    "latents_mean",
    "latents_std",
    "force_upcast",
    "use_quant_conv",
    "use_post_quant_conv",
    "mid_block_add_attention",
];

/// What the norms add to the variance.
pub(crate) const EPSILON: f64 = 1e-6;

/// The shape of an [`AutoencoderKl`](super::AutoencoderKl): what diffusers' `AutoencoderKL` can be.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AutoencoderKlConfig {
    /// Channels of x.
    pub inputs: usize,
    /// Channels of the decoded images.
    pub outputs: usize,
    /// Channels of z.
    pub latents: usize,
    /// Height and width of the images it is meant for, if they are known; it takes others, too.
    pub size: Option<[usize; 2]>,
    /// Channels of each resolution, from the finest to the coarsest; each is half of the one before.
    pub channels: Vec<usize>,
    /// Residual blocks of a resolution in the encoder; in the decoder there is one more.
    pub blocks: usize,
    /// Groups of the norms; must divide the channels of every resolution.
    pub groups: usize,
    /// Whether places attend to each other at the coarsest resolution.
    pub attention: bool,
    /// Whether a 1×1 convolution mixes means and logarithms of variances behind the encoder.
    pub mix_moments: bool,
    /// Whether a 1×1 convolution mixes latents before the decoder.
    pub mix_latents: bool,
    /// What latents are multiplied by for a diffusion model: one over their deviation.
    pub scale: f64,
    /// What is subtracted from latents before.
    pub shift: f64,
}

impl AutoencoderKlConfig {
    /// Resolutions of the given channels on images of `inputs` channels, to `latents` channels: one block each, attention at the
    /// coarsest, 32 groups, the latents' scale of Stable Diffusion.
    #[must_use]
    pub fn new(inputs: usize, latents: usize, channels: &[usize]) -> Self {
        Self {
            inputs,
            outputs: inputs,
            latents,
            size: None,
            channels: channels.to_vec(),
            blocks: 1,
            groups: 32,
            attention: true,
            mix_moments: true,
            mix_latents: true,
            scale: 0.18215,
            shift: 0.0,
        }
    }

    /// The autoencoder of Stable Diffusion 1 and 2 and of DiT: 83 653 863 parameters, images of 256 × 256 to latents of 32 × 32.
    /// Rombach et al. 2022, arXiv:2112.10752.
    #[must_use]
    pub fn stable_diffusion() -> Self {
        Self {
            blocks: 2,
            size: Some([256; 2]),
            ..Self::new(3, 4, &[128, 256, 512, 512])
        }
    }

    /// An autoencoder that trains on a CPU: a quarter of the side, four channels; `size` is the side, a multiple of 4.
    ///
    /// Its latents have the scale 1 until it is measured: `scale` is one over their deviation.
    #[must_use]
    pub fn small(inputs: usize, size: usize) -> Self {
        Self {
            size: Some([size; 2]),
            groups: 8,
            scale: 1.0,
            ..Self::new(inputs, 4, &[16, 32, 32])
        }
    }

    /// The shape that the `config.json` of an `AutoencoderKL` describes, with diffusers' defaults for keys that are missing.
    ///
    /// # Errors
    ///
    /// When a key is unknown or its value is none that is supported; the error names both and what is allowed.
    pub fn from_diffusers(config: &Value) -> Result<Self> {
        let keys = Keys::new(CLASS, config, &KEYS)?;
        if !matches!(keys.word_or("act_fn", Some("silu"))?, Some("silu" | "swish")) {
            return Err(keys.refuse("act_fn", "\"silu\" or \"swish\", which are the same"));
        }
        let channels = keys.counts("block_out_channels", &[64])?;
        for (key, name) in [
            ("down_block_types", "DownEncoderBlock2D"),
            ("up_block_types", "UpDecoderBlock2D"),
        ] {
            let types = keys.words(key, &[name])?;
            if types.len() != channels.len() || types.iter().any(|&found| found != name) {
                let allowed = format!("{name:?} for each of the {} `block_out_channels`", channels.len());
                return Err(keys.refuse(key, &allowed));
            }
        }
        for key in ["latents_mean", "latents_std"] {
            if !keys.is_null(key) {
                return Err(keys.refuse(key, "null: scale latents outside of the autoencoder"));
            }
        }
        // A hint for pipelines in half precision: the type of the parameters decides here.
        keys.flag("force_upcast", true)?;
        let config = Self {
            inputs: keys.count("in_channels", 3)?,
            outputs: keys.count("out_channels", 3)?,
            latents: keys.count("latent_channels", 4)?,
            size: keys.size_or("sample_size", Some([32; 2]))?,
            channels,
            blocks: keys.count("layers_per_block", 1)?,
            groups: keys.count("norm_num_groups", 32)?,
            attention: keys.flag("mid_block_add_attention", true)?,
            mix_moments: keys.flag("use_quant_conv", true)?,
            mix_latents: keys.flag("use_post_quant_conv", true)?,
            scale: keys.number("scaling_factor", 0.18215)?,
            shift: keys.number_or("shift_factor", None)?.unwrap_or(0.0),
        };
        config.check()?;
        Ok(config)
    }

    /// The `config.json` of the `AutoencoderKL` that computes the same.
    #[must_use]
    pub fn to_diffusers(&self) -> Value {
        let each = |name: &'static str| vec![name; self.channels.len()];
        json!({
            "_class_name": CLASS,
            "in_channels": self.inputs,
            "out_channels": self.outputs,
            "down_block_types": each("DownEncoderBlock2D"),
            "up_block_types": each("UpDecoderBlock2D"),
            "block_out_channels": self.channels,
            "layers_per_block": self.blocks,
            "act_fn": "silu",
            "latent_channels": self.latents,
            "norm_num_groups": self.groups,
            "sample_size": written_size(self.size),
            "scaling_factor": self.scale,
            "shift_factor": (self.shift != 0.0).then_some(self.shift),
            "latents_mean": null,
            "latents_std": null,
            "force_upcast": true,
            "use_quant_conv": self.mix_moments,
            "use_post_quant_conv": self.mix_latents,
            "mid_block_add_attention": self.attention,
        })
    }

    /// The side of an image over that of its latents: 2 for every resolution but the first.
    #[must_use]
    pub fn divisor(&self) -> usize {
        let halvings = u32::try_from(self.channels.len().saturating_sub(1)).unwrap_or(u32::MAX);
        1usize.checked_shl(halvings).unwrap_or(usize::MAX)
    }

    /// Refuses what no autoencoder can be.
    pub(crate) fn check(&self) -> Result<()> {
        let sizes = [
            ("inputs", self.inputs),
            ("outputs", self.outputs),
            ("latents", self.latents),
            ("channels", self.channels.len()),
            ("blocks", self.blocks),
            ("groups", self.groups),
        ];
        let size = |name, value, allowed| Error::Size {
            owner: "AutoencoderKl",
            name,
            value,
            allowed,
        };
        if let Some((name, value)) = sizes.into_iter().find(|(_, value)| *value == 0) {
            return Err(size(name, value, "at least 1"));
        }
        let odd = |channels: &&usize| **channels == 0 || !channels.is_multiple_of(self.groups);
        if let Some(&channels) = self.channels.iter().find(odd) {
            let allowed = "of every resolution to be positive multiples of the groups";
            return Err(size("channels", channels, allowed));
        }
        let number = |name, value, allowed| Error::Number {
            owner: "AutoencoderKl",
            name,
            value,
            allowed,
        };
        if !(self.scale.is_normal() && self.scale > 0.0) {
            return Err(number("scale", self.scale, "positive and finite"));
        }
        if !self.shift.is_finite() {
            return Err(number("shift", self.shift, "finite"));
        }
        Ok(())
    }

    /// A residual block, which is told nothing.
    pub(crate) fn block(&self, inputs: usize, outputs: usize) -> ResidualBlockConfig {
        ResidualBlockConfig {
            groups: self.groups,
            epsilon: EPSILON,
            ..ResidualBlockConfig::new(inputs, outputs, 0)
        }
    }

    /// The middle of encoder and decoder.
    pub(crate) fn middle(&self, channels: usize) -> MiddleConfig {
        let attention = ImageAttentionConfig {
            channels,
            head_width: None,
            groups: Some(self.groups),
            epsilon: EPSILON,
            scale: 1.0,
            last: LastLayer::Drawn,
        };
        MiddleConfig {
            block: self.block(channels, channels),
            attention: self.attention.then_some(attention),
            scale: 1.0,
        }
    }
}
