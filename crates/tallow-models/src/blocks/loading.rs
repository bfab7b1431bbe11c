//! Parameters from a file of diffusers, under its names of today or those of its first years.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use tallow_nn::{Parameters, read_tensors};

use crate::Result;

/// What the parts of an attention were called before version 0.15, and are since.
const RENAMED: [(&str, &str); 4] = [
    ("query", "to_q"),
    ("key", "to_k"),
    ("value", "to_v"),
    ("proj_attn", "to_out.0"),
];

/// Fills `parameters` from a safetensors file of diffusers.
pub(crate) fn load(parameters: &Parameters, file: &Path) -> Result<()> {
    let (tensors, _) = read_tensors(file)?;
    Ok(parameters.restore(&current_names(tensors))?)
}

/// The tensors of a diffusers file under the names of today: in its files of 2022 (google/ddpm-cifar10-32, the autoencoder of
/// Stable Diffusion) attention has `query`, `key`, `value` and `proj_attn` for `to_q`, `to_k`, `to_v` and `to_out.0`.
#[must_use]
pub fn current_names(tensors: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let tensors = tensors.into_iter();
    tensors
        .map(|(name, tensor)| (current_name(&name).unwrap_or(name), tensor))
        .collect()
}

/// The name of today of a part of an attention; `None` for all others.
pub(crate) fn current_name(name: &str) -> Option<String> {
    let (path, kind) = name.rsplit_once('.')?;
    let (place, part) = path.rsplit_once('.')?;
    let (list, index) = place.rsplit_once('.')?;
    let in_attention = list.ends_with("attentions") && index.parse::<usize>().is_ok();
    let (_, now) = RENAMED.iter().find(|(then, _)| *then == part)?;
    in_attention.then(|| format!("{place}.{now}.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn parts_of_attention_get_their_names_of_today_and_others_keep_theirs() {
        let now = [
            (
                "mid_block.attentions.0.query.weight",
                "mid_block.attentions.0.to_q.weight",
            ),
            (
                "encoder.mid_block.attentions.0.proj_attn.bias",
                "encoder.mid_block.attentions.0.to_out.0.bias",
            ),
            (
                "up_blocks.1.attentions.2.to_k.bias",
                "up_blocks.1.attentions.2.to_k.bias",
            ),
            (
                "down_blocks.0.attentions.0.group_norm.bias",
                "down_blocks.0.attentions.0.group_norm.bias",
            ),
            ("memory.0.value.weight", "memory.0.value.weight"),
            ("key", "key"),
        ];
        let tensor = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
        for (then, now) in now {
            let renamed = current_names(BTreeMap::from([(then.to_owned(), tensor.clone())]));
            assert_eq!(renamed.keys().collect::<Vec<_>>(), [now]);
        }
    }
}
