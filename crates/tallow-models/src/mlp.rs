//! A multi-layer perceptron on points, times and classes: the network of two-dimensional examples.
//!
//! ```text
//! h₀ = [features of x, features of t, one-hot class]        hᵢ = act(Wᵢ hᵢ₋₁ + bᵢ)        output = W hₙ + b
//! ```
//!
//! Sines and cosines of x let it draw sharp edges: a network of raw coordinates learns low frequencies first
//! (Tancik et al. 2020, arXiv:2006.10739).

use candle_core::Tensor;
use tallow_denoisers::{Call, LABELS, Network};
use tallow_nn::{
    Activation, FourierFeatures, Linear, LinearInit, Scope, SinusoidalConfig, SinusoidalEmbedding,
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

/// The shape of an [`Mlp`].
///
/// ```
/// use tallow_models::MlpConfig;
///
/// let config = MlpConfig { width: 256, depth: 4, ..MlpConfig::new(2) };
/// assert_eq!(config.activation, tallow_nn::Activation::Silu);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
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

/// A multi-layer perceptron. Parameters: `layers.0` … `layers.{depth}`, each with `weight` and `bias`.
#[derive(Debug)]
pub struct Mlp {
    config: MlpConfig,
    points: Option<FourierFeatures>,
    times: Option<Times>,
    layers: Vec<Linear>,
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
        let mut inputs = config.inputs
            + points.as_ref().map_or(0, FourierFeatures::outputs)
            + time_inputs
            + config.classes;
        let mut layers = Vec::with_capacity(config.depth + 1);
        for index in 0..config.depth {
            let layer = Linear::new(&scope.at(format_args!("layers.{index}")), inputs, config.width)?;
            layers.push(layer.activated(config.activation));
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
        })
    }

    /// The network's shape.
    #[must_use]
    pub fn config(&self) -> &MlpConfig {
        &self.config
    }

    fn features(&self, call: &Call<'_>) -> Result<Tensor> {
        let x = call.x.flatten_from(1)?;
        let time = call.time()?;
        let mut parts = vec![x.clone()];
        if let Some(points) = &self.points {
            parts.push(points.forward(&x)?);
        }
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
        Ok(Tensor::cat(&parts, 1)?)
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
        let mut h = self.features(call)?;
        for layer in &self.layers {
            h = layer.forward(&h)?;
        }
        if self.config.outputs == self.config.inputs {
            h.reshape(call.x.shape())
        } else {
            Ok(h)
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Var};
    use tallow_denoisers::{Condition, Denoiser, Parameterization};
    use tallow_nn::Parameters;
    use tallow_schedules::{RectifiedFlow, Schedule};

    use super::*;

    fn config() -> MlpConfig {
        MlpConfig {
            width: 8,
            depth: 2,
            classes: 3,
            ..MlpConfig::new(2).with_waves(2.0)
        }
    }

    fn x() -> Tensor {
        Tensor::new(&[[0.3f64, -0.2], [1.0, 0.5]], &Device::Cpu).unwrap()
    }

    fn labels(labels: [u32; 2]) -> Condition {
        Condition::labels(Tensor::new(&labels, &Device::Cpu).unwrap())
    }

    #[test]
    fn a_view_answers_as_the_trained_network_does() {
        let parameters = Parameters::new(1, DType::F64, &Device::Cpu);
        let trained = Mlp::new(&parameters.scope(), config()).unwrap();
        let viewed = Mlp::new(&parameters.detached().scope(), config()).unwrap();
        let condition = labels([0, 2]);
        let x = x();
        let call = Call::new(&x, &[0.1, 0.7], &condition).unwrap();
        let a = trained.forward(&call).unwrap().to_vec2::<f64>().unwrap();
        assert_eq!(a, viewed.forward(&call).unwrap().to_vec2::<f64>().unwrap());
        assert_ne!(a[0], a[1]);
    }

    #[test]
    fn the_gradient_in_x_is_the_difference_quotient() {
        let parameters = Parameters::new(1, DType::F64, &Device::Cpu);
        let network = Mlp::new(&parameters.scope(), config()).unwrap();
        let model = Parameterization::flow_matching()
            .denoiser(&network)
            .with_condition(labels([0, 2]));
        let at = RectifiedFlow::default().level(0.4);
        let value = |x: &Tensor| {
            model
                .estimate(x, at.into())
                .unwrap()
                .x0()
                .unwrap()
                .sum_all()
                .unwrap()
        };
        let var = Var::from_tensor(&x()).unwrap();
        let gradient = value(var.as_tensor())
            .backward()
            .unwrap()
            .get(&var)
            .unwrap()
            .to_vec2::<f64>()
            .unwrap();
        for row in 0..2 {
            for axis in 0..2 {
                let mut dx = [[0.0; 2]; 2];
                dx[row][axis] = 1e-6;
                let dx = Tensor::new(&dx, &Device::Cpu).unwrap();
                let number = |x: Tensor| value(&x).to_scalar::<f64>().unwrap();
                let slope = (number((x() + &dx).unwrap()) - number((x() - &dx).unwrap())) / 2e-6;
                assert!((slope - gradient[row][axis]).abs() < 1e-7);
            }
        }
    }

    #[test]
    fn a_label_past_the_last_class_and_a_missing_one_are_refused() {
        let parameters = Parameters::new(1, DType::F64, &Device::Cpu);
        let network = Mlp::new(&parameters.scope(), config()).unwrap();
        let x = x();
        let condition = labels([0, 3]);
        let error = network
            .forward(&Call::new(&x, &[0.1, 0.7], &condition).unwrap())
            .unwrap_err()
            .to_string();
        assert!(error.contains("label 3 of row 1"), "{error}");
        let none = Condition::none();
        let error = network
            .forward(&Call::new(&x, &[0.1, 0.7], &none).unwrap())
            .unwrap_err()
            .to_string();
        assert!(error.contains("\"labels\""), "{error}");
    }

    #[test]
    fn another_dimension_names_both_shapes() {
        let parameters = Parameters::new(1, DType::F64, &Device::Cpu);
        let network = Mlp::new(&parameters.scope(), MlpConfig::new(3)).unwrap();
        let (x, none) = (x(), Condition::none());
        let error = network
            .forward(&Call::new(&x, &[0.1, 0.7], &none).unwrap())
            .unwrap_err()
            .to_string();
        assert!(error.contains("[2, 2]") && error.contains("[2, 3]"), "{error}");
    }
}
