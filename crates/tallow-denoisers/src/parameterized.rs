//! How (x_t, t) goes into a network and what comes out: one value for training and sampling.

use candle_core::{DType, Tensor};
use tallow_schedules::{NoiseLevel, Prediction};

use crate::tensor::mix;
use crate::{Call, Condition, Denoiser, Error, Estimate, Levels, Network, Result};

/// The number that a network is told for the time.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum TimeInput {
    /// t itself.
    Time,
    /// A multiple of t, such as 1000 t for flow models with DDPM's embedding.
    Scaled(f64),
    /// The index of a table of `count` steps, t·count − 1: 0 for the cleanest.
    Step {
        /// How many steps the table has.
        count: usize,
    },
    /// 1 − t: for networks trained with a paper's time that runs from noise (0) to data (1).
    Reversed,
    /// σ/α (score networks on VE paths).
    NoiseToSignal,
    /// ln(σ/α)/4, EDM's c_noise.
    QuarterLogSigma,
}

impl TimeInput {
    /// The number for a level.
    #[must_use]
    pub fn of(self, level: NoiseLevel) -> f64 {
        match self {
            Self::Time => level.t,
            Self::Scaled(factor) => factor * level.t,
            Self::Step { count } => level.t * count as f64 - 1.0,
            Self::Reversed => 1.0 - level.t,
            Self::NoiseToSignal => level.noise_to_signal(),
            Self::QuarterLogSigma => -level.lambda() / 4.0,
        }
    }
}

/// The factor on x before it goes into a network.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum InputScale {
    /// 1.
    Unit,
    /// EDM's c_in, on any path: 1/√(σ² + α² σ_data²), which gives the input unit variance.
    UnitVariance {
        /// Standard deviation of the data.
        sigma_data: f64,
    },
}

impl InputScale {
    /// The factor at a level.
    #[must_use]
    pub fn of(self, level: NoiseLevel) -> f64 {
        match self {
            Self::Unit => 1.0,
            Self::UnitVariance { sigma_data } => 1.0 / level.sigma.hypot(level.alpha * sigma_data),
        }
    }
}

/// What a network says of the variance of an ancestral step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Variance {
    /// Nothing: the solver's formula holds.
    #[default]
    Fixed,
    /// Its second half of the channels is the range of iDDPM (arXiv:2102.09672, Eq. 15), never guided.
    LearnedRange,
}

/// How `(x_t, t)` goes into a network and what comes out.
///
/// ```
/// use tallow_denoisers::Parameterization;
/// use tallow_schedules::Prediction;
///
/// let edm = Parameterization::edm(0.5)?;
/// assert_eq!(edm.prediction, Prediction::Edm { sigma_data: 0.5 });
/// assert!(Parameterization::edm(-1.0).is_err());
/// # Ok::<(), tallow_denoisers::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Parameterization {
    /// What the output stands for.
    pub prediction: Prediction,
    /// What the network is told for the time.
    pub time: TimeInput,
    /// What x is multiplied by.
    pub scale: InputScale,
    /// Whether the output has channels for the variance.
    pub variance: Variance,
}

impl Parameterization {
    /// A prediction from x and t as they are.
    #[must_use]
    pub fn new(prediction: Prediction) -> Self {
        Self {
            prediction,
            time: TimeInput::Time,
            scale: InputScale::Unit,
            variance: Variance::Fixed,
        }
    }

    /// DDPM: noise, and the index of a table of `steps` steps (Ho et al. 2020, arXiv:2006.11239).
    #[must_use]
    pub fn ddpm(steps: usize) -> Self {
        Self {
            time: TimeInput::Step { count: steps },
            ..Self::new(Prediction::Noise)
        }
    }

    /// v-prediction with the index of a table of `steps` steps (Salimans & Ho 2022, arXiv:2202.00512).
    #[must_use]
    pub fn v(steps: usize) -> Self {
        Self {
            time: TimeInput::Step { count: steps },
            ..Self::new(Prediction::V)
        }
    }

    /// EDM's preconditioning, c_noise and c_in (Karras et al. 2022, arXiv:2206.00364, Table 1).
    ///
    /// # Errors
    ///
    /// When `sigma_data`, the standard deviation of the data, is not positive and finite.
    pub fn edm(sigma_data: f64) -> Result<Self> {
        if !(sigma_data.is_finite() && sigma_data > 0.0) {
            let (name, allowed) = ("sigma_data", "positive and finite");
            return Err(Error::Parameter {
                owner: "Parameterization::edm",
                name,
                value: sigma_data,
                allowed,
            });
        }
        Ok(Self {
            time: TimeInput::QuarterLogSigma,
            scale: InputScale::UnitVariance { sigma_data },
            ..Self::new(Prediction::Edm { sigma_data })
        })
    }

    /// Flow matching: velocity from x and t (Lipman et al. 2022, arXiv:2210.02747).
    #[must_use]
    pub fn flow_matching() -> Self {
        Self::new(Prediction::Velocity)
    }

    /// Rectified flow: velocity, with 999 t for a DDPM-style embedding (Liu et al. 2022, arXiv:2209.03003, its code).
    #[must_use]
    pub fn rectified_flow() -> Self {
        Self {
            time: TimeInput::Scaled(999.0),
            ..Self::new(Prediction::Velocity)
        }
    }

    /// The same with a learned variance range in the second half of the output's channels.
    #[must_use]
    pub fn with_learned_range(mut self) -> Self {
        self.variance = Variance::LearnedRange;
        self
    }

    /// The denoiser that a network is under this parameterization.
    pub fn denoiser<N: Network>(self, network: N) -> Parameterized<N> {
        Parameterized {
            network,
            parameterization: self,
            condition: Condition::none(),
            dtype: None,
        }
    }

    /// Calls a network on `x`, (B, …), scaled and with the times of `at`; the output as it comes.
    ///
    /// # Errors
    ///
    /// When levels or condition do not have one entry for each row, or the network fails.
    pub fn call(
        &self,
        network: &dyn Network,
        x: &Tensor,
        at: Levels<'_>,
        condition: &Condition,
    ) -> Result<Tensor> {
        self.call_with(network, x, at, condition, None)
    }

    /// [`call`](Self::call) for a network that is told its own last estimate of the data, shaped like `x`.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call), and when the estimate is not shaped like `x`.
    pub fn call_with(
        &self,
        network: &dyn Network,
        x: &Tensor,
        at: Levels<'_>,
        condition: &Condition,
        self_condition: Option<&Tensor>,
    ) -> Result<Tensor> {
        let rows = x
            .dims()
            .first()
            .copied()
            .ok_or_else(|| Error::NoRows { what: "x".to_owned() })?;
        at.check_rows(rows)?;
        let times: Vec<f64> = match at {
            Levels::Shared(level) => vec![self.time.of(level); rows],
            Levels::PerRow(levels) => levels.iter().map(|level| self.time.of(*level)).collect(),
        };
        let scaled = match self.scale {
            InputScale::Unit => x.clone(),
            scale => mix(x, x, at, |level| (scale.of(level), 0.0))?,
        };
        let mut call = Call::new(&scaled, &times, condition)?;
        if let Some(told) = self_condition {
            call = call.with_self_condition(told)?;
        }
        Ok(network.forward(&call)?)
    }

    /// Splits an output into the prediction and the variance range, if there is one; checks the shape against `x`.
    ///
    /// # Errors
    ///
    /// When the output is not shaped like `x` (or like `x` with twice its channels, where the variance is learned).
    pub fn split(&self, output: &Tensor, x: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
        let mut expected = x.dims().to_vec();
        if self.variance == Variance::LearnedRange
            && let Some(channels) = expected.get_mut(1)
        {
            *channels *= 2;
        }
        if output.dims() != expected {
            let what = "the network's output".to_owned();
            return Err(Error::Shape {
                what,
                expected: expected.into(),
                got: output.shape().clone(),
            });
        }
        match self.variance {
            Variance::Fixed => Ok((output.clone(), None)),
            Variance::LearnedRange => {
                let channels = x.dim(1)?;
                Ok((
                    output.narrow(1, 0, channels)?,
                    Some(output.narrow(1, channels, channels)?),
                ))
            }
        }
    }
}

/// A network with its parameterization: a denoiser. Made by [`Parameterization::denoiser`].
#[derive(Clone, Debug)]
pub struct Parameterized<N> {
    network: N,
    parameterization: Parameterization,
    condition: Condition,
    dtype: Option<DType>,
}

impl<N: Network> Parameterized<N> {
    /// The same under a condition, one row for each row that will be asked about.
    #[must_use]
    pub fn with_condition(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    /// The same for a network that computes in another type than the state's: its input is converted, its output converted back.
    #[must_use]
    pub fn with_dtype(mut self, dtype: DType) -> Self {
        self.dtype = Some(dtype);
        self
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &N {
        &self.network
    }

    /// How it is called.
    #[must_use]
    pub fn parameterization(&self) -> Parameterization {
        self.parameterization
    }

    /// What the model believes at `x`, (B, …), under a condition other than its own.
    ///
    /// # Errors
    ///
    /// As [`Denoiser::estimate`].
    pub fn estimate_under(&self, condition: &Condition, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        for level in at.iter() {
            self.parameterization.prediction.check(level)?;
        }
        let input = match self.dtype {
            Some(dtype) => x.to_dtype(dtype)?,
            None => x.clone(),
        };
        let output = self.parameterization.call(&self.network, &input, at, condition)?;
        let output = if self.dtype.is_some() {
            output.to_dtype(x.dtype())?
        } else {
            output
        };
        let (output, range) = self.parameterization.split(&output, x)?;
        Ok(Estimate::new(x, output, self.parameterization.prediction, at)?.with_range(range))
    }
}

impl<N: Network> Denoiser for Parameterized<N> {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        self.estimate_under(&self.condition, x, at)
    }
}
