//! `DiTTransformer2DModel`: the diffusion transformer under diffusers' names.
//!
//! ```text
//! blocks.i.attn.qkv                     transformer_blocks.i.attn1.to_q, to_k, to_v, one below the other
//! blocks.i.adaLN_modulation.1           transformer_blocks.i.norm1.linear
//! [blocks.i.]t_embedder, y_embedder     transformer_blocks.i.norm1.emb.…: one for each block, equal where ours is shared
//! final_layer.adaLN_modulation.1        proj_out_1
//! ```

use candle_core::{DType, Tensor};
use serde_json::{Value, json};
use tallow_denoisers::Variance;
use tallow_nn::{Activation, Scope};

use super::pretrained::{Pretrained, Tensors};
use crate::blocks::Keys;
use crate::dit::{Dit, DitConfig, DitStart, Embedders, TimeWaves};
use crate::{Error, Result};

/// The class, and what it was called before it had a class of its own.
const CLASSES: [&str; 2] = ["DiTTransformer2DModel", "Transformer2DModel"];

const KEYS: [&str; 16] = [
    "num_attention_heads",
    "attention_head_dim",
    "in_channels",
    "out_channels",
    "num_layers",
    "dropout",
    "norm_num_groups",
    "attention_bias",
    "sample_size",
    "patch_size",
    "activation_fn",
    "num_embeds_ada_norm",
    "upcast_attention",
    "norm_type",
    "norm_elementwise_affine",
    "norm_eps",
];

/// Keys of the older class that are off in a diffusion transformer.
const OFF: [&str; 9] = [
    "cross_attention_dim",
    "num_vector_embeds",
    "use_linear_projection",
    "only_cross_attention",
    "double_self_attention",
    "caption_channels",
    "interpolation_scale",
    "use_additional_conditions",
    "attention_type",
];

/// Ours and theirs in a block, each with `weight` and `bias`.
const IN_BLOCK: [(&str, &str); 4] = [
    ("attn.proj", "attn1.to_out.0"),
    ("mlp.fc1", "ff.net.0.proj"),
    ("mlp.fc2", "ff.net.2"),
    ("adaLN_modulation.1", "norm1.linear"),
];

/// Ours and theirs outside of the blocks, each with `weight` and `bias`.
const OUTSIDE: [(&str, &str); 3] = [
    ("x_embedder.proj", "pos_embed.proj"),
    ("final_layer.adaLN_modulation.1", "proj_out_1"),
    ("final_layer.linear", "proj_out_2"),
];

/// Ours and theirs in an embedder.
const IN_EMBEDDER: [(&str, &str); 5] = [
    ("t_embedder.mlp.0.weight", "timestep_embedder.linear_1.weight"),
    ("t_embedder.mlp.0.bias", "timestep_embedder.linear_1.bias"),
    ("t_embedder.mlp.2.weight", "timestep_embedder.linear_2.weight"),
    ("t_embedder.mlp.2.bias", "timestep_embedder.linear_2.bias"),
    (
        "y_embedder.embedding_table.weight",
        "class_embedder.embedding_table.weight",
    ),
];

impl DitConfig {
    /// The shape that the `config.json` of a `DiTTransformer2DModel` describes, with diffusers' defaults for keys that are
    /// missing: each block with an embedder of its own.
    ///
    /// # Errors
    ///
    /// When a key is unknown or its value is none that is supported; the error names both and what is allowed.
    pub fn from_diffusers(config: &Value) -> Result<Self> {
        let older = config.get("_class_name").is_some_and(|name| name == CLASSES[1]);
        let known: Vec<&str> = KEYS
            .into_iter()
            .chain(OFF.into_iter().filter(|_| older))
            .collect();
        let keys = Keys::new(CLASSES[usize::from(older)], config, &known)?;
        fixed(&keys, config, older)?;
        let heads = keys.count("num_attention_heads", 16)?;
        let channels = keys.count("in_channels", 4)?;
        let width = heads.checked_mul(keys.count("attention_head_dim", 72)?);
        let config = Self {
            patch: keys.count("patch_size", 2)?,
            channels,
            outputs: keys.count_or("out_channels", None)?.unwrap_or(channels),
            size: keys.count("sample_size", 32)?,
            width: width.ok_or_else(|| keys.refuse("attention_head_dim", "of a size that can be counted"))?,
            depth: keys.count("num_layers", 28)?,
            heads,
            mlp_ratio: 4,
            activation: match keys.word_or("activation_fn", Some("gelu-approximate"))? {
                Some("gelu-approximate") => Activation::Gelu,
                Some("gelu") => Activation::GeluErf,
                _ => return Err(keys.refuse("activation_fn", "\"gelu-approximate\" or \"gelu\"")),
            },
            classes: keys.count("num_embeds_ada_norm", 1000)?,
            time: TimeWaves::diffusers(),
            epsilon: [1e-6, keys.number("norm_eps", 1e-5)?],
            embedders: Embedders::PerBlock,
            start: DitStart::Zero,
        };
        if config.classes == 0 {
            return Err(keys.refuse("num_embeds_ada_norm", "at least 1"));
        }
        config.check()?;
        Ok(config)
    }

    /// The `config.json` of the `DiTTransformer2DModel` that computes the same; who owns the embedders and how training
    /// starts is not in it.
    ///
    /// # Errors
    ///
    /// When that class cannot: without labels, with other waves of time, another ratio of the perceptron, or another ε or
    /// activation than it has.
    pub fn to_diffusers(&self) -> Result<Value> {
        let refuse = |what, way_out| {
            Err(Error::NotInDiffusers {
                class: CLASSES[0],
                what,
                way_out,
            })
        };
        if self.classes == 0 {
            return refuse("no labels", "train with one class, or write a U-Net");
        }
        if self.time != TimeWaves::diffusers() {
            return refuse(
                "these waves of time",
                "build the network with `TimeWaves::diffusers()`",
            );
        }
        if self.mlp_ratio != 4 {
            return refuse("another `mlp_ratio` than 4", "build the network with 4");
        }
        if self.epsilon[0] != 1e-6 {
            return refuse(
                "another ε of the first norm than 1e-6",
                "build the network with it",
            );
        }
        let activation = match self.activation {
            Activation::Gelu => "gelu-approximate",
            Activation::GeluErf => "gelu",
            _ => return refuse("this activation", "build the network with a GELU"),
        };
        Ok(json!({
            "_class_name": CLASSES[0],
            "num_attention_heads": self.heads,
            "attention_head_dim": self.width / self.heads.max(1),
            "in_channels": self.channels,
            "out_channels": self.outputs,
            "num_layers": self.depth,
            "dropout": 0.0,
            "norm_num_groups": 32,
            "attention_bias": true,
            "sample_size": self.size,
            "patch_size": self.patch,
            "activation_fn": activation,
            "num_embeds_ada_norm": self.classes,
            "upcast_attention": false,
            "norm_type": "ada_norm_zero",
            "norm_elementwise_affine": false,
            "norm_eps": self.epsilon[1],
        }))
    }
}

/// Keys that have one value here.
fn fixed(keys: &Keys<'_>, config: &Value, older: bool) -> Result<()> {
    if keys.word_or(
        "norm_type",
        Some(if older { "layer_norm" } else { "ada_norm_zero" }),
    )? != Some("ada_norm_zero")
    {
        return Err(keys.refuse("norm_type", "\"ada_norm_zero\""));
    }
    if !keys.flag("attention_bias", !older)? {
        return Err(keys.refuse("attention_bias", "true"));
    }
    if keys.flag("norm_elementwise_affine", older)? {
        return Err(keys.refuse("norm_elementwise_affine", "false"));
    }
    if keys.number("dropout", 0.0)? != 0.0 {
        return Err(keys.refuse("dropout", "0: set it so to sample"));
    }
    // Attention sums in single precision at least, and the number of groups belongs to a norm that is not there.
    keys.flag_or("upcast_attention")?;
    keys.count_or("norm_num_groups", None)?;
    let off = |key: &&&str| match config.get(**key) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(value) => value != "default",
    };
    match OFF.iter().find(off).filter(|_| older) {
        Some(key) => Err(keys.refuse(key, "null or false")),
        None => Ok(()),
    }
}

impl TimeWaves {
    /// Those of diffusers' class, which shifts the frequencies by 1 where the paper's code does not.
    #[must_use]
    pub fn diffusers() -> Self {
        Self {
            frequency_shift: 1.0,
            ..Self::default()
        }
    }
}

impl Pretrained for Dit {
    type Config = DitConfig;

    const CLASSES: &'static [&'static str] = &CLASSES;
    const FOLDERS: &'static [&'static str] = &["transformer"];

    fn from_config(config: &Value) -> Result<DitConfig> {
        DitConfig::from_diffusers(config)
    }

    fn to_config(config: &DitConfig) -> Result<Value> {
        config.to_diffusers()
    }

    fn build(scope: &Scope<'_>, config: &DitConfig) -> Result<Self> {
        Self::new(scope, *config)
    }

    fn variance(config: &DitConfig) -> Variance {
        if config.outputs == config.channels {
            Variance::Fixed
        } else {
            Variance::LearnedRange
        }
    }

    /// Embedders whose tensors have the same bytes in all blocks become one.
    fn import(config: DitConfig, mut tensors: Tensors) -> Result<(DitConfig, Tensors)> {
        let shared = equal_embedders(&config, &tensors)?;
        let embedders = if shared {
            Embedders::Shared
        } else {
            Embedders::PerBlock
        };
        let config = DitConfig { embedders, ..config };
        let mut ours = Tensors::new();
        for (our, theirs) in renamed(&config) {
            if let Some(tensor) = tensors.get(&theirs) {
                ours.insert(our, tensor.clone());
            }
        }
        for index in 0..config.depth {
            for kind in ["weight", "bias"] {
                let parts: Vec<Tensor> = qkv(index, kind)
                    .iter()
                    .filter_map(|part| tensors.remove(part))
                    .collect();
                let name = format!("blocks.{index}.attn.qkv.{kind}");
                ours.insert(name, Tensor::cat(&parts, 0)?);
            }
        }
        Ok((config, ours))
    }

    fn export(config: &DitConfig, tensors: &Tensors) -> Result<Tensors> {
        let mut theirs = Tensors::new();
        for (our, their) in renamed(config) {
            if let Some(tensor) = tensors.get(&our) {
                theirs.insert(their, tensor.clone());
            }
        }
        if config.embedders == Embedders::Shared {
            for index in 1..config.depth {
                for (our, their) in IN_EMBEDDER {
                    if let Some(tensor) = tensors.get(our) {
                        theirs.insert(embedder(index, their), tensor.clone());
                    }
                }
            }
        }
        for index in 0..config.depth {
            for kind in ["weight", "bias"] {
                let Some(all) = tensors.get(&format!("blocks.{index}.attn.qkv.{kind}")) else {
                    continue;
                };
                for (part, name) in qkv(index, kind).into_iter().enumerate() {
                    theirs.insert(name, all.narrow(0, part * config.width, config.width)?);
                }
            }
        }
        Ok(theirs)
    }
}

/// Names of ours and of theirs for tensors that are the same.
fn renamed(config: &DitConfig) -> Vec<(String, String)> {
    let both = |our: String, their: String| {
        ["weight", "bias"].map(|kind| (format!("{our}.{kind}"), format!("{their}.{kind}")))
    };
    let mut names = Vec::new();
    for (our, their) in OUTSIDE {
        names.extend(both(our.to_owned(), their.to_owned()));
    }
    for index in 0..config.depth {
        for (our, their) in IN_BLOCK {
            let ours = format!("blocks.{index}.{our}");
            names.extend(both(ours, format!("transformer_blocks.{index}.{their}")));
        }
        let prefix = match config.embedders {
            Embedders::Shared if index > 0 => continue,
            Embedders::Shared => String::new(),
            Embedders::PerBlock => format!("blocks.{index}."),
        };
        for (our, their) in IN_EMBEDDER {
            names.push((format!("{prefix}{our}"), embedder(index, their)));
        }
    }
    names
}

fn embedder(index: usize, their: &str) -> String {
    format!("transformer_blocks.{index}.norm1.emb.{their}")
}

fn qkv(index: usize, kind: &str) -> [String; 3] {
    ["q", "k", "v"].map(|part| format!("transformer_blocks.{index}.attn1.to_{part}.{kind}"))
}

/// Whether all blocks' embedders have the first one's bytes.
fn equal_embedders(config: &DitConfig, tensors: &Tensors) -> Result<bool> {
    for (_, their) in IN_EMBEDDER {
        let Some(first) = tensors.get(&embedder(0, their)) else {
            return Ok(false);
        };
        for index in 1..config.depth {
            match tensors.get(&embedder(index, their)) {
                Some(other) if same_bytes(first, other)? => {}
                _ => return Ok(false),
            }
        }
    }
    Ok(true)
}

fn same_bytes(a: &Tensor, b: &Tensor) -> Result<bool> {
    if a.dtype() != b.dtype() || a.shape() != b.shape() {
        return Ok(false);
    }
    // Every shorter type has its values among the doubles; the bits tell zeros apart.
    let bits = |tensor: &Tensor| -> Result<Vec<u64>> {
        let values = tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        Ok(values.into_iter().map(f64::to_bits).collect())
    };
    Ok(bits(a)? == bits(b)?)
}
