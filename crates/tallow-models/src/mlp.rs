//! A multi-layer perceptron on points, times and classes: the network of two-dimensional examples.
//!
//! ```text
//! h₀ = [features of x, features of t, one-hot class]        hᵢ = act(Wᵢ hᵢ₋₁ + bᵢ)                  output = W hₙ + b
//! gated: h₀ = [features of x]        e = [features of t, one-hot class]        hᵢ = act((Wᵢ hᵢ₋₁ + bᵢ) ⊙ (1 + Gᵢ e + gᵢ))
//! ```
//!
//! Sines and cosines of x let it draw sharp edges: a network of raw coordinates learns low frequencies first
//! (Tancik et al. 2020, arXiv:2006.10739).

use candle_core::Tensor;
use tallow_denoisers::{Call, LABELS, Network};
use tallow_nn::{
    Activation, FourierFeatures, Linear, LinearInit, Scope, SinusoidalConfig, SinusoidalEmbedding, activate,
    chain,
};

use crate::{Error, Result};

/// What the network sees of x besides x itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum PointFeatures {
    /// Nothing.
    #[default]
    Raw,
    /// Sines and cosines of each coordinate times ω, 2ω, … `count`·ω.
    Harmonics {
        /// How many frequencies.
        count: usize,
        /// ω, in radians per unit of x.
        base: f64,
    },
}

/// What the network sees of the time besides the number itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum TimeFeatures {
    /// Nothing.
    #[default]
    Raw,
    /// Sines and cosines of t times ω, 2ω, 4ω, …: for times in [0, 1].
    Octaves {
        /// How many frequencies.
        count: usize,
        /// ω, in radians per unit of t.
        base: f64,
    },
    /// DDPM's embedding in place of the number: for table steps 0, 1, 2, …
    Sinusoidal {
        /// Values of the embedding, even.
        outputs: usize,
    },
}

/// Where times and classes enter the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Conditioning {
    /// Beside the points, at the first layer.
    #[default]
    Input,
    /// At every hidden layer, as a factor on its values: a different network for each time.
    Gates,
}

/// The shape of an [`Mlp`].
///
/// ```
/// use tallow_models::MlpConfig;
///
/// let config = MlpConfig { width: 256, depth: 4, ..MlpConfig::new(2) };
/// assert_eq!(config.activation, tallow_nn::Activation::Silu);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MlpConfig {
    /// Elements of a row of x.
    pub inputs: usize,
    /// Elements of a row of the output: `inputs`, or twice as many where the variance is learned.
    pub outputs: usize,
    /// Values of a hidden layer.
    pub width: usize,
    /// Hidden layers.
    pub depth: usize,
    /// What follows each hidden layer.
    pub activation: Activation,
    /// What is seen of x.
    pub points: PointFeatures,
    /// What is seen of t.
    pub times: TimeFeatures,
    /// Where times and classes enter.
    pub conditioning: Conditioning,
    /// Classes of a conditional model, one for "none" included if it is trained without labels at times; 0 for none.
    pub classes: usize,
}

impl MlpConfig {
    /// Three hidden layers of 128 with SiLU on raw points of `inputs` coordinates and times.
    #[must_use]
    pub fn new(inputs: usize) -> Self {
        Self {
            inputs,
            outputs: inputs,
            width: 128,
            depth: 3,
            activation: Activation::Silu,
            points: PointFeatures::Raw,
            times: TimeFeatures::Raw,
            conditioning: Conditioning::Input,
            classes: 0,
        }
    }

    /// The same with waves for data in a box of half-width `extent`: eight harmonics of each coordinate, the longest with a
    /// period of twice the box's width, and eight octaves of t.
    #[must_use]
    pub fn with_waves(mut self, extent: f64) -> Self {
        self.points = PointFeatures::Harmonics {
            count: 8,
            base: std::f64::consts::PI / extent,
        };
        self.times = TimeFeatures::Octaves {
            count: 8,
            base: std::f64::consts::PI,
        };
        self
    }
}

/// A multi-layer perceptron. Parameters: `layers.0` … `layers.{depth}`, and `gates.0` … where it is gated, each with
/// `weight` and `bias`.
#[derive(Debug)]
pub struct Mlp {
    config: MlpConfig,
    points: Option<FourierFeatures>,
    times: Option<Times>,
    layers: Vec<Linear>,
    gates: Vec<Linear>,
}

#[derive(Debug)]
enum Times {
    Beside(FourierFeatures),
    InPlace(SinusoidalEmbedding),
}

impl Mlp {
    /// Builds the network in a scope: its parameters are made there, or read from a view.
    ///
    /// # Errors
    ///
    /// When a size is 0, a feature cannot be, or the scope refuses a parameter.
    pub fn new(scope: &Scope<'_>, config: MlpConfig) -> Result<Self> {
        let sizes = [
            ("inputs", config.inputs),
            ("outputs", config.outputs),
            ("width", config.width),
        ];
        if let Some((name, value)) = sizes.into_iter().find(|(_, value)| *value == 0) {
            return Err(Error::Size {
                owner: "Mlp",
                name,
                value,
                allowed: "at least 1",
            });
        }
        let points = match config.points {
            PointFeatures::Raw => None,
            PointFeatures::Harmonics { count, base } => {
                Some(FourierFeatures::harmonics(config.inputs, count, base)?)
            }
        };
        let times = match config.times {
            TimeFeatures::Raw => None,
            TimeFeatures::Octaves { count, base } => {
                Some(Times::Beside(FourierFeatures::octaves(1, count, base)?))
            }
            TimeFeatures::Sinusoidal { outputs } => Some(Times::InPlace(SinusoidalEmbedding::new(
                outputs,
                SinusoidalConfig::ddpm(),
            )?)),
        };
        let time_inputs = match &times {
            None => 1,
            Some(Times::Beside(features)) => 1 + features.outputs(),
            Some(Times::InPlace(embedding)) => embedding.outputs(),
        };
        let context = time_inputs + config.classes;
        let gated = config.conditioning == Conditioning::Gates;
        let mut inputs = config.inputs + points.as_ref().map_or(0, FourierFeatures::outputs);
        if !gated {
            inputs += context;
        }
        let mut layers = Vec::with_capacity(config.depth + 1);
        let mut gates = Vec::new();
        for index in 0..config.depth {
            let layer = Linear::new(&scope.at(format_args!("layers.{index}")), inputs, config.width)?;
            if gated {
                // Gates of zeros are factors of one: the network starts as one without them.
                let gate = scope.at(format_args!("gates.{index}"));
                gates.push(Linear::with_init(
                    &gate,
                    context,
                    config.width,
                    LinearInit::zeros(),
                )?);
                layers.push(layer);
            } else {
                layers.push(layer.activated(config.activation));
            }
            inputs = config.width;
        }
        let last = scope.at(format_args!("layers.{}", config.depth));
        layers.push(Linear::with_init(
            &last,
            inputs,
            config.outputs,
            LinearInit::new(inputs),
        )?);
        Ok(Self {
            config,
            points,
            times,
            layers,
            gates,
        })
    }

    /// The network's shape.
    #[must_use]
    pub fn config(&self) -> &MlpConfig {
        &self.config
    }

    /// What the network sees of x, (B, …).
    fn points(&self, call: &Call<'_>) -> Result<Vec<Tensor>> {
        let x = call.x.flatten_from(1)?;
        let waves = self
            .points
            .as_ref()
            .map(|points| points.forward(&x))
            .transpose()?;
        Ok(std::iter::once(x).chain(waves).collect())
    }

    /// What it sees of the time and the class, (B, …).
    fn context(&self, call: &Call<'_>) -> Result<Vec<Tensor>> {
        let time = call.time()?;
        let mut parts = Vec::new();
        match &self.times {
            None => parts.push(time.unsqueeze(1)?),
            Some(Times::Beside(features)) => {
                let time = time.unsqueeze(1)?;
                parts.push(features.forward(&time)?);
                parts.push(time);
            }
            Some(Times::InPlace(embedding)) => parts.push(embedding.forward(time)?),
        }
        if self.config.classes > 0 {
            parts.push(self.one_hot(call)?);
        }
        Ok(parts)
    }

    fn output(&self, call: &Call<'_>) -> Result<Tensor> {
        let (mut points, context) = (self.points(call)?, self.context(call)?);
        if self.gates.is_empty() {
            points.extend(context);
            let h = Tensor::cat(&points, 1)?;
            return Ok(chain(&self.layers, &h)?);
        }
        let (mut h, context) = (Tensor::cat(&points, 1)?, Tensor::cat(&context, 1)?);
        for (index, layer) in self.layers.iter().enumerate() {
            h = layer.forward(&h)?;
            if let Some(gate) = self.gates.get(index) {
                h = activate(&(h * (gate.forward(&context)? + 1.0)?)?, self.config.activation)?;
            }
        }
        Ok(h)
    }

    /// (B, classes): 1 at each row's label.
    fn one_hot(&self, call: &Call<'_>) -> Result<Tensor> {
        let labels = call
            .condition
            .tensor(LABELS)?
            .to_dtype(candle_core::DType::U32)?
            .to_vec1::<u32>()?;
        let classes = self.config.classes;
        let mut hot = vec![0f32; labels.len() * classes];
        for (row, label) in labels.into_iter().enumerate() {
            let index = label as usize;
            if index >= classes {
                return Err(Error::Label {
                    label,
                    row,
                    last: classes - 1,
                });
            }
            hot[row * classes + index] = 1.0;
        }
        let rows = hot.len() / classes;
        Ok(Tensor::from_vec(hot, (rows, classes), &candle_core::Device::Cpu)?
            .to_dtype(call.x.dtype())?
            .to_device(call.x.device())?)
    }
}

impl Network for Mlp {
    fn forward(&self, call: &Call<'_>) -> candle_core::Result<Tensor> {
        let width = call.x.dims().iter().skip(1).product::<usize>();
        if width != self.config.inputs {
            let error = tallow_denoisers::Error::Shape {
                what: "x of an Mlp".to_owned(),
                expected: (call.times.len(), self.config.inputs).into(),
                got: call.x.shape().clone(),
            };
            return Err(error.into());
        }
        let h = self.output(call)?;
        if self.config.outputs == self.config.inputs {
            h.reshape(call.x.shape())
        } else {
            Ok(h)
        }
    }
}

#[cfg(test)]
#[path = "mlp_tests.rs"]
mod tests;
