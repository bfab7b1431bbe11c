//! A U-Net's shape as the `config.json` of diffusers' `UNet2DModel`, and back.

use serde_json::{Value, json};
use tallow_nn::{Injection, WaveOrder};

use super::{
    UNetClasses, UNetConfig, UNetLevel, UNetMiddle, UNetRange, UNetResampling, UNetSide, UNetStart, UNetTime,
};
use crate::blocks::{DownsamplePadding, Keys, written_size};
use crate::{Error, Result};

const CLASS: &str = "UNet2DModel";

/// Every argument of the class.
const KEYS: [&str; 28] = [
    "sample_size",
    "in_channels",
    "out_channels",
    "center_input_sample",
    "time_embedding_type",
    "time_embedding_dim",
    "freq_shift",
    "flip_sin_to_cos",
    "down_block_types",
    "mid_block_type",
    "up_block_types",
    "block_out_channels",
    "layers_per_block",
    "mid_block_scale_factor",
    "downsample_padding",
    "downsample_type",
    "upsample_type",
    "dropout",
    "act_fn",
    "attention_head_dim",
    "norm_num_groups",
    "attn_norm_num_groups",
    "norm_eps",
    "resnet_time_scale_shift",
    "add_attention",
    "class_embed_type",
    "num_class_embeds",
    "num_train_timesteps",
];

impl UNetConfig {
    /// The shape that the `config.json` of a `UNet2DModel` describes, with diffusers' defaults for keys that are missing.
    ///
    /// # Errors
    ///
    /// When a key is unknown or its value is none that is supported; the error names both and what is allowed.
    pub fn from_diffusers(config: &Value) -> Result<Self> {
        let keys = Keys::new(CLASS, config, &KEYS)?;
        fixed(&keys)?;
        let config = Self {
            inputs: keys.count("in_channels", 3)?,
            outputs: keys.count("out_channels", 3)?,
            size: keys.size_or("sample_size", None)?,
            levels: levels(&keys)?,
            blocks: keys.count("layers_per_block", 2)?,
            middle: middle(&keys)?,
            time: time(&keys)?,
            embedding: keys
                .count_or("time_embedding_dim", None)?
                .filter(|&width| width > 0),
            classes: classes(&keys)?,
            injection: match keys.word_or("resnet_time_scale_shift", Some("default"))? {
                Some("default") => Injection::Shift,
                Some("scale_shift") => Injection::ScaleShift,
                _ => return Err(keys.refuse("resnet_time_scale_shift", "\"default\" or \"scale_shift\"")),
            },
            groups: keys.count("norm_num_groups", 32)?,
            epsilon: keys.number("norm_eps", 1e-5)?,
            head_width: keys.count_or("attention_head_dim", Some(8))?,
            padding: match keys.count("downsample_padding", 1)? {
                0 => DownsamplePadding::After,
                1 => DownsamplePadding::Around,
                _ => return Err(keys.refuse("downsample_padding", "0 or 1")),
            },
            range: match keys.flag("center_input_sample", false)? {
                false => UNetRange::AsGiven,
                true => UNetRange::Centred,
            },
            dropout: keys.number("dropout", 0.0)?,
            start: UNetStart::Drawn,
        };
        config.check()?;
        Ok(config)
    }

    /// The `config.json` of the `UNet2DModel` that computes the same; where training [starts](Self::start) is not in it.
    ///
    /// # Errors
    ///
    /// When levels that attend resample in different ways, which diffusers cannot say.
    pub fn to_diffusers(&self) -> Result<Value> {
        let last = self.levels.len().saturating_sub(1);
        let down: Vec<_> = self.levels.iter().map(|level| level.down).collect();
        let up: Vec<_> = self.levels.iter().map(|level| level.up).rev().collect();
        let middle = self.middle.unwrap_or_default();
        let (order, shift, waves) = match self.time {
            UNetTime::Sinusoidal {
                order,
                frequency_shift,
            } => (order, frequency_shift, "positional"),
            UNetTime::Fourier => (WaveOrder::CosinesFirst, 0.0, "fourier"),
        };
        let (class_type, count) = class_keys(self.classes);
        Ok(json!({
            "_class_name": CLASS,
            "sample_size": written_size(self.size),
            "in_channels": self.inputs,
            "out_channels": self.outputs,
            "center_input_sample": self.range == UNetRange::Centred,
            "time_embedding_type": waves,
            "time_embedding_dim": self.embedding,
            "freq_shift": whole(shift),
            "flip_sin_to_cos": order == WaveOrder::CosinesFirst,
            "down_block_types": down.iter().map(|side| block_type("Down", side)).collect::<Vec<_>>(),
            "mid_block_type": self.middle.map(|_| "UNetMidBlock2D"),
            "up_block_types": up.iter().map(|side| block_type("Up", side)).collect::<Vec<_>>(),
            "block_out_channels": self.levels.iter().map(|level| level.channels).collect::<Vec<_>>(),
            "layers_per_block": self.blocks,
            "mid_block_scale_factor": whole(middle.scale),
            "downsample_padding": usize::from(self.padding == DownsamplePadding::Around),
            "downsample_type": common(down.get(..last).unwrap_or_default())?,
            "upsample_type": common(up.get(..last).unwrap_or_default())?,
            "dropout": self.dropout,
            "act_fn": "silu",
            "attention_head_dim": self.head_width,
            "norm_num_groups": self.groups,
            "attn_norm_num_groups": middle.groups,
            "norm_eps": self.epsilon,
            "resnet_time_scale_shift": match self.injection {
                Injection::Shift => "default",
                Injection::ScaleShift => "scale_shift",
            },
            "add_attention": middle.attention,
            "class_embed_type": class_type,
            "num_class_embeds": count,
            "num_train_timesteps": null,
        }))
    }
}

/// Keys that have one value here.
fn fixed(keys: &Keys<'_>) -> Result<()> {
    if !matches!(keys.word_or("act_fn", Some("silu"))?, Some("silu" | "swish")) {
        return Err(keys.refuse("act_fn", "\"silu\" or \"swish\", which are the same"));
    }
    // Learned times, which are refused, are the only ones that are counted.
    keys.count_or("num_train_timesteps", None).map(|_| ())
}

fn levels(keys: &Keys<'_>) -> Result<Vec<UNetLevel>> {
    let channels = keys.counts("block_out_channels", &[224, 448, 672, 896])?;
    let attend = [
        "DownBlock2D",
        "AttnDownBlock2D",
        "AttnDownBlock2D",
        "AttnDownBlock2D",
    ];
    let down = sides(keys, "Down", &attend)?;
    let attend = ["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"];
    let up = sides(keys, "Up", &attend)?;
    for (key, count) in [("down_block_types", down.len()), ("up_block_types", up.len())] {
        if count != channels.len() {
            let allowed = format!("one for each of the {} `block_out_channels`", channels.len());
            return Err(keys.refuse(key, &allowed));
        }
    }
    let ways = down.into_iter().zip(up.into_iter().rev());
    Ok(ways
        .zip(channels)
        .map(|((down, up), channels)| UNetLevel { channels, down, up })
        .collect())
}

/// The levels of one way, in the order of its list.
fn sides(keys: &Keys<'_>, way: &str, default: &[&'static str]) -> Result<Vec<UNetSide>> {
    let way_key = way.to_lowercase();
    let (types, resampling) = (format!("{way_key}_block_types"), format!("{way_key}sample_type"));
    let common = match keys.word_or(&resampling, Some("conv"))? {
        Some("conv") => UNetResampling::Convolution,
        Some("resnet") => UNetResampling::ResidualBlock,
        _ => return Err(keys.refuse(&resampling, "\"conv\" or \"resnet\"")),
    };
    let allowed = [
        format!("{way}Block2D"),
        format!("Resnet{way}sampleBlock2D"),
        format!("Attn{way}Block2D"),
    ];
    let side = |name: &str| match allowed.iter().position(|allowed| allowed == name) {
        Some(0) => Ok((false, UNetResampling::Convolution)),
        Some(1) => Ok((false, UNetResampling::ResidualBlock)),
        Some(_) => Ok((true, common)),
        None => Err(keys.refuse(&types, &format!("a list of {}", allowed.join(", ")))),
    };
    let words = keys.words(&types, default)?;
    words
        .into_iter()
        .map(|name| {
            side(name).map(|(attention, resampling)| UNetSide {
                attention,
                resampling,
            })
        })
        .collect()
}

fn middle(keys: &Keys<'_>) -> Result<Option<UNetMiddle>> {
    match keys.word_or("mid_block_type", Some("UNetMidBlock2D"))? {
        None => Ok(None),
        Some("UNetMidBlock2D") => Ok(Some(UNetMiddle {
            attention: keys.flag("add_attention", true)?,
            groups: keys.count_or("attn_norm_num_groups", None)?,
            scale: keys.number("mid_block_scale_factor", 1.0)?,
        })),
        Some(_) => Err(keys.refuse("mid_block_type", "\"UNetMidBlock2D\" or null")),
    }
}

fn time(keys: &Keys<'_>) -> Result<UNetTime> {
    match keys.word_or("time_embedding_type", Some("positional"))? {
        Some("positional") => Ok(UNetTime::Sinusoidal {
            order: match keys.flag("flip_sin_to_cos", true)? {
                true => WaveOrder::CosinesFirst,
                false => WaveOrder::SinesFirst,
            },
            frequency_shift: keys.number("freq_shift", 0.0)?,
        }),
        Some("fourier") => Ok(UNetTime::Fourier),
        _ => Err(keys.refuse("time_embedding_type", "\"positional\" or \"fourier\"")),
    }
}

fn classes(keys: &Keys<'_>) -> Result<UNetClasses> {
    let count = keys.count_or("num_class_embeds", None)?;
    match (keys.word_or("class_embed_type", None)?, count) {
        (None, None) => Ok(UNetClasses::None),
        (None, Some(count)) => Ok(UNetClasses::Table { count }),
        (Some("timestep"), _) => Ok(UNetClasses::Times),
        (Some("identity"), _) => Ok(UNetClasses::Given),
        _ => Err(keys.refuse("class_embed_type", "null, \"timestep\" or \"identity\"")),
    }
}

/// `class_embed_type` and `num_class_embeds`.
fn class_keys(classes: UNetClasses) -> (Option<&'static str>, Option<usize>) {
    match classes {
        UNetClasses::None => (None, None),
        UNetClasses::Table { count } => (None, Some(count)),
        UNetClasses::Times => (Some("timestep"), None),
        UNetClasses::Given => (Some("identity"), None),
    }
}

/// The type of a level in diffusers' list: a level that attends takes its resampling from the network's key.
fn block_type(way: &str, side: &UNetSide) -> String {
    match (side.attention, side.resampling) {
        (true, _) => format!("Attn{way}Block2D"),
        (false, UNetResampling::Convolution) => format!("{way}Block2D"),
        (false, UNetResampling::ResidualBlock) => format!("Resnet{way}sampleBlock2D"),
    }
}

/// How the levels that attend resample.
fn common(sides: &[UNetSide]) -> Result<&'static str> {
    let mut attending = sides.iter().filter(|side| side.attention);
    let first = attending.next().or(sides.first());
    let first = first.map_or(UNetResampling::default(), |side| side.resampling);
    if attending.any(|side| side.resampling != first) {
        return Err(Error::NotInDiffusers {
            class: CLASS,
            what: "levels with attention that resample in different ways",
            way_out: "give `resampling` one value on those levels",
        });
    }
    Ok(match first {
        UNetResampling::Convolution => "conv",
        UNetResampling::ResidualBlock => "resnet",
    })
}

/// A number as diffusers writes it: whole ones without a point.
fn whole(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 1e9 {
        json!(number as i64)
    } else {
        json!(number)
    }
}
