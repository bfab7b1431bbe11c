//! The sizes of a CLIP.

use std::fmt;
use std::path::Path;

use candle_transformers::models::clip::ClipConfig;
use serde_json::Value;

use super::WAY_OUT;
use crate::file::whole_file;
use crate::{Error, Result};

/// The most bytes of a configuration: published ones have five thousand.
const MOST_BYTES: u64 = 1 << 20;
/// The largest size that is believed.
const LARGEST: u64 = 1 << 20;

/// The sizes of both networks of a CLIP.
#[derive(Clone, Debug)]
pub struct ClipConfiguration {
    config: ClipConfig,
}

impl ClipConfiguration {
    /// ViT-B/32, the model of most reported scores.
    #[must_use]
    pub fn vit_b32() -> Self {
        Self {
            config: ClipConfig::vit_base_patch32(),
        }
    }

    /// The sizes in a `config.json` of the Hugging Face Hub; those that it leaves out are those of ViT-B/32, as there.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or describes a network that this is not: another activation than `quick_gelu`, another
    /// ε than 1e-5, or sizes that do not fit.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let refuse = |problem: String| Error::Weights {
            path: path.to_owned(),
            problem,
            way_out: WAY_OUT,
        };
        let bytes = match whole_file(path, MOST_BYTES) {
            Err(Error::File { source, .. }) => return Err(refuse(source.to_string())),
            other => other?,
        };
        let value = serde_json::from_slice(&bytes).map_err(|error| refuse(error.to_string()))?;
        parse(&value).map_err(refuse)
    }

    pub(super) fn config(&self) -> &ClipConfig {
        &self.config
    }
}

impl fmt::Display for ClipConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, vision) = (&self.config.text_config, &self.config.vision_config);
        write!(
            f,
            "image {}, patches {}, {} layers of {}; text of {} layers of {}",
            vision.image_size,
            vision.patch_size,
            vision.num_hidden_layers,
            vision.embed_dim,
            text.num_hidden_layers,
            text.embed_dim
        )
    }
}

fn parse(value: &Value) -> std::result::Result<ClipConfiguration, String> {
    let mut config = ClipConfig::vit_base_patch32();
    let (text, vision) = (Part::of(value, "text_config")?, Part::of(value, "vision_config")?);
    let of = &mut config.text_config;
    text.size("vocab_size", &mut of.vocab_size)?;
    text.size("hidden_size", &mut of.embed_dim)?;
    text.size("intermediate_size", &mut of.intermediate_size)?;
    text.size("max_position_embeddings", &mut of.max_position_embeddings)?;
    text.size("num_hidden_layers", &mut of.num_hidden_layers)?;
    text.size("num_attention_heads", &mut of.num_attention_heads)?;
    let of = &mut config.vision_config;
    vision.size("hidden_size", &mut of.embed_dim)?;
    vision.size("intermediate_size", &mut of.intermediate_size)?;
    vision.size("num_hidden_layers", &mut of.num_hidden_layers)?;
    vision.size("num_attention_heads", &mut of.num_attention_heads)?;
    vision.size("num_channels", &mut of.num_channels)?;
    vision.size("image_size", &mut of.image_size)?;
    vision.size("patch_size", &mut of.patch_size)?;
    let mut projection = 512;
    Part {
        name: "the file",
        value,
    }
    .size("projection_dim", &mut projection)?;
    config.text_config.projection_dim = projection;
    config.vision_config.projection_dim = projection;
    config.image_size = config.vision_config.image_size;
    let (text, vision) = (&config.text_config, &config.vision_config);
    let heads = [
        (text.embed_dim, text.num_attention_heads),
        (vision.embed_dim, vision.num_attention_heads),
    ];
    if let Some((width, heads)) = heads
        .into_iter()
        .find(|(width, heads)| !width.is_multiple_of(*heads))
    {
        return Err(format!("{heads} heads do not divide a width of {width}"));
    }
    if vision.num_channels != 3 || !vision.image_size.is_multiple_of(vision.patch_size) {
        return Err(format!(
            "images of {} channels and side {} in patches of {}: it needs 3 channels, and a side that patches divide",
            vision.num_channels, vision.image_size, vision.patch_size
        ));
    }
    Ok(ClipConfiguration { config })
}

/// One network's part of the file.
struct Part<'a> {
    name: &'static str,
    value: &'a Value,
}

impl<'a> Part<'a> {
    /// A part of a known activation and ε; an empty one where the file leaves it out.
    fn of(file: &'a Value, name: &'static str) -> std::result::Result<Self, String> {
        if !file.is_object() {
            return Err("it holds no object".to_owned());
        }
        let value = file.get(name).unwrap_or(&Value::Null);
        let activation = value.get("hidden_act").unwrap_or(&Value::Null);
        if !activation.is_null() && activation != "quick_gelu" {
            return Err(format!(
                "{name} has the activation {activation}, allowed is \"quick_gelu\""
            ));
        }
        let epsilon = value.get("layer_norm_eps").unwrap_or(&Value::Null);
        if !epsilon.is_null() && epsilon.as_f64() != Some(1e-5) {
            return Err(format!("{name} has layer_norm_eps {epsilon}, allowed is 1e-5"));
        }
        Ok(Self { name, value })
    }

    /// Takes a size over, if there is one.
    fn size(&self, key: &str, to: &mut usize) -> std::result::Result<(), String> {
        match self.value.get(key) {
            None | Some(Value::Null) => {}
            Some(value) => match value.as_u64() {
                Some(size) if (1..=LARGEST).contains(&size) => *to = size as usize,
                _ => {
                    return Err(format!(
                        "{key} of {} is {value}, allowed is 1 to {LARGEST}",
                        self.name
                    ));
                }
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_file_leaves_out_is_vit_b32_and_what_does_not_fit_is_refused() {
        let same = parse(&json!({})).unwrap();
        assert_eq!(same.to_string(), ClipConfiguration::vit_b32().to_string());
        let other = parse(&json!({"vision_config": {"patch_size": 16}, "projection_dim": 256})).unwrap();
        assert_eq!(
            (
                other.config.vision_config.patch_size,
                other.config.text_config.projection_dim
            ),
            (16, 256)
        );
        for (bad, words) in [
            (json!([]), "no object"),
            (json!({"text_config": {"hidden_act": "gelu"}}), "gelu"),
            (
                json!({"vision_config": {"layer_norm_eps": 1e-6}}),
                "layer_norm_eps",
            ),
            (json!({"vision_config": {"hidden_size": 0}}), "hidden_size"),
            (json!({"vision_config": {"hidden_size": -3}}), "-3"),
            (json!({"text_config": {"vocab_size": 1e30}}), "vocab_size"),
            (json!({"text_config": {"num_attention_heads": 7}}), "7 heads"),
            (json!({"vision_config": {"image_size": 225}}), "225"),
        ] {
            let error = parse(&bad).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
