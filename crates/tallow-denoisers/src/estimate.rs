//! What a model believes at (x, t), answered in whichever form is asked for.

use candle_core::Tensor;
use tallow_schedules::{Mixture, NoiseLevel, Prediction};

use crate::levels::OwnedLevels;
use crate::tensor::{check_like, choose_rows, mix};
use crate::{Levels, Result, combine};

/// E[x_0 | x_t = x], E[ε | x_t = x] and what follows from them, each computed when asked.
///
/// A solver that reads only x̂_0 of a model that predicts x̂_0 pays nothing. All tensors are shaped like `x`, (B, …).
#[derive(Clone, Debug)]
pub struct Estimate {
    x: Tensor,
    form: Form,
    levels: OwnedLevels,
    range: Option<Tensor>,
}

#[derive(Clone, Debug)]
enum Form {
    /// A network's output and what it stands for.
    Output { output: Tensor, prediction: Prediction },
    /// x̂_0 and ε̂ that need not agree with x: guidance that moves them apart, as CFG++ does.
    Pair { x0: Tensor, noise: Tensor },
}

impl Estimate {
    /// What `output` says of `x` when it stands for `prediction`.
    ///
    /// # Errors
    ///
    /// When `output` is not like `x`, or the levels are not one for each row.
    pub fn new(x: &Tensor, output: Tensor, prediction: Prediction, at: Levels<'_>) -> Result<Self> {
        check_like("the model's output", &output, x)?;
        if let Some(&rows) = x.dims().first() {
            at.check_rows(rows)?;
        }
        let form = Form::Output { output, prediction };
        Ok(Self {
            x: x.clone(),
            form,
            levels: at.to_owned(),
            range: None,
        })
    }

    /// The estimate whose clean data is `x0`, and whose noise is what then remains of `x`.
    ///
    /// # Errors
    ///
    /// When `x0` is not like `x`, or the levels are not one for each row.
    pub fn from_x0(x: &Tensor, x0: Tensor, at: Levels<'_>) -> Result<Self> {
        Self::new(x, x0, Prediction::Data, at)
    }

    /// The estimate of a clean datum and a noise that need not add up to `x`.
    ///
    /// # Errors
    ///
    /// When `x0` or `noise` is not like `x`, or the levels are not one for each row.
    pub fn from_pair(x: &Tensor, x0: Tensor, noise: Tensor, at: Levels<'_>) -> Result<Self> {
        check_like("the estimated noise", &noise, x)?;
        let mut estimate = Self::from_x0(x, x0.clone(), at)?;
        estimate.form = Form::Pair { x0, noise };
        Ok(estimate)
    }

    /// The same with a learned variance range, in `[-1, 1]`: −1 is β̃, 1 is β (iDDPM, arXiv:2102.09672, Eq. 15).
    #[must_use]
    pub fn with_range(mut self, range: Option<Tensor>) -> Self {
        self.range = range;
        self
    }

    /// The state that was asked about.
    #[must_use]
    pub fn x(&self) -> &Tensor {
        &self.x
    }

    /// Where on the path it was asked.
    #[must_use]
    pub fn levels(&self) -> Levels<'_> {
        self.levels.borrow()
    }

    /// x̂_0 = E[x_0 | x]. At σ = 0 it is x/α, whatever the model says.
    ///
    /// # Errors
    ///
    /// When a tensor operation fails.
    pub fn x0(&self) -> Result<Tensor> {
        match &self.form {
            Form::Pair { x0, .. } => Ok(x0.clone()),
            Form::Output { .. } => self.derived(Prediction::x0),
        }
    }

    /// ε̂ = E[ε | x].
    ///
    /// # Errors
    ///
    /// When a tensor operation fails.
    pub fn noise(&self) -> Result<Tensor> {
        match &self.form {
            Form::Pair { noise, .. } => Ok(noise.clone()),
            Form::Output { .. } => self.derived(Prediction::noise),
        }
    }

    /// v̂ = α̇ x̂_0 + σ̇ ε̂: dx/dt of the probability-flow ODE.
    ///
    /// # Errors
    ///
    /// When a tensor operation fails.
    pub fn velocity(&self) -> Result<Tensor> {
        match &self.form {
            Form::Pair { x0, noise } => mix(x0, noise, self.levels(), |level| {
                (level.alpha_dot, level.sigma_dot)
            }),
            Form::Output { .. } => self.derived(Prediction::velocity),
        }
    }

    /// −ε̂/σ: the score, if the noise is Gaussian and independent of the data.
    ///
    /// # Errors
    ///
    /// When a tensor operation fails.
    pub fn score(&self) -> Result<Tensor> {
        match &self.form {
            Form::Pair { x0, noise } => mix(noise, x0, self.levels(), |level| (-1.0 / level.sigma, 0.0)),
            Form::Output { .. } => self.derived(Prediction::score),
        }
    }

    /// The learned variance range, if the network has one.
    #[must_use]
    pub fn range(&self) -> Option<&Tensor> {
        self.range.as_ref()
    }

    /// What the model itself returned: the tensors that the rest is computed from.
    pub fn outputs(&self) -> impl Iterator<Item = &Tensor> {
        let (first, second) = match &self.form {
            Form::Output { output, .. } => (output, None),
            Form::Pair { x0, noise } => (x0, Some(noise)),
        };
        std::iter::once(first).chain(second)
    }

    /// The estimates of several models at one (x, t), weighted: with weights that sum to 1 it does not matter in which
    /// form they are added. Keeps the first estimate's variance range, which is never guided.
    ///
    /// # Errors
    ///
    /// When shapes, types or devices differ.
    pub fn blend(first: (f64, &Self), others: &[(f64, &Self)]) -> Result<Self> {
        let all = || std::iter::once(&first).chain(others);
        let of_outputs = match &first.1.form {
            Form::Output { prediction, .. } => {
                all().all(|(_, e)| matches!(&e.form, Form::Output { prediction: p, .. } if p == prediction))
            }
            Form::Pair { .. } => false,
        };
        let form = if let (Form::Output { prediction, .. }, true) = (&first.1.form, of_outputs) {
            let terms: Vec<_> = all()
                .filter_map(|(weight, e)| e.outputs().next().map(|output| (*weight, output)))
                .collect();
            Form::Output {
                output: combine(&terms)?,
                prediction: *prediction,
            }
        } else {
            let sum = |part: &dyn Fn(&Self) -> Result<Tensor>| {
                let parts = all()
                    .map(|(weight, e)| Ok((*weight, part(e)?)))
                    .collect::<Result<Vec<_>>>()?;
                combine(
                    &parts
                        .iter()
                        .map(|(weight, tensor)| (*weight, tensor))
                        .collect::<Vec<_>>(),
                )
            };
            Form::Pair {
                x0: sum(&Self::x0)?,
                noise: sum(&Self::noise)?,
            }
        };
        Ok(Self {
            form,
            ..first.1.clone()
        })
    }

    /// Whether α x̂_0 + σ ε̂ is x: not for a pair that guidance has moved apart.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        matches!(self.form, Form::Output { .. })
    }

    /// The estimate whose score is larger by `weight` times `by`, (B, …): what the gradient of a log-probability does.
    ///
    /// ε̂ falls by σ · weight · by, and x̂_0 grows by (σ²/α) · weight · by.
    ///
    /// # Errors
    ///
    /// When `by` is not like x, or the noise at a level says nothing of the data (α = 0).
    pub fn with_score_shifted(&self, by: &Tensor, weight: f64) -> Result<Self> {
        check_like("the shift of the score", by, &self.x)?;
        for level in self.levels().iter() {
            Prediction::Noise.check(level)?;
        }
        // f = a x̂_0 + b ε̂ moves with both; at σ = 0 nothing does, whatever a and b are.
        let shifted = |part: &Tensor, target: &dyn Fn(NoiseLevel) -> (f64, f64)| {
            mix(part, by, self.levels(), |level| {
                let ((a, b), noise) = (target(level), -weight * level.sigma);
                let shift = if noise == 0.0 {
                    0.0
                } else {
                    noise * (b - a * level.sigma / level.alpha)
                };
                (1.0, shift)
            })
        };
        let form = match &self.form {
            Form::Output { output, prediction } => Form::Output {
                output: match prediction {
                    Prediction::Score => crate::lincomb([(1.0, output), (weight, by)])?,
                    prediction => shifted(output, &|level| prediction.target(level))?,
                },
                prediction: *prediction,
            },
            Form::Pair { x0, noise } => Form::Pair {
                x0: shifted(x0, &|_| (1.0, 0.0))?,
                noise: shifted(noise, &|_| (0.0, 1.0))?,
            },
        };
        Ok(Self { form, ..self.clone() })
    }

    /// The estimate of `count` rows from row `start` on.
    ///
    /// # Errors
    ///
    /// When there are not that many rows.
    pub fn rows(&self, start: usize, count: usize) -> Result<Self> {
        let part = |tensor: &Tensor| tensor.narrow(0, start, count);
        let form = match &self.form {
            Form::Output { output, prediction } => Form::Output {
                output: part(output)?,
                prediction: *prediction,
            },
            Form::Pair { x0, noise } => Form::Pair {
                x0: part(x0)?,
                noise: part(noise)?,
            },
        };
        let levels = match self.levels() {
            Levels::Shared(level) => OwnedLevels::Shared(level),
            Levels::PerRow(levels) => {
                OwnedLevels::PerRow(levels.iter().skip(start).take(count).copied().collect())
            }
        };
        Ok(Self {
            x: part(&self.x)?,
            form,
            levels,
            range: self.range.as_ref().map(part).transpose()?,
        })
    }

    /// The rows of `self` where `rows` says so, those of `other`, an estimate at the same x and levels, elsewhere. Keeps
    /// the variance range of `self`.
    ///
    /// # Errors
    ///
    /// When shapes, types or devices differ, or there is not one choice for each row.
    pub fn choose(&self, rows: &[bool], other: &Self) -> Result<Self> {
        let form = match (&self.form, &other.form) {
            (
                Form::Output { output, prediction },
                Form::Output {
                    output: second,
                    prediction: same,
                },
            ) if prediction == same => Form::Output {
                output: choose_rows(rows, output, second)?,
                prediction: *prediction,
            },
            _ => Form::Pair {
                x0: choose_rows(rows, &self.x0()?, &other.x0()?)?,
                noise: choose_rows(rows, &self.noise()?, &other.noise()?)?,
            },
        };
        Ok(Self { form, ..self.clone() })
    }

    /// The network's own output and what it stands for; x̂_0 for a pair.
    #[must_use]
    pub fn output(&self) -> (&Tensor, Prediction) {
        match &self.form {
            Form::Output { output, prediction } => (output, *prediction),
            Form::Pair { x0, .. } => (x0, Prediction::Data),
        }
    }

    /// The same cut off from the graph that recorded it.
    #[must_use]
    pub fn detach(&self) -> Self {
        let form = match &self.form {
            Form::Output { output, prediction } => Form::Output {
                output: output.detach(),
                prediction: *prediction,
            },
            Form::Pair { x0, noise } => Form::Pair {
                x0: x0.detach(),
                noise: noise.detach(),
            },
        };
        let range = self.range.as_ref().map(Tensor::detach);
        Self {
            x: self.x.detach(),
            form,
            levels: self.levels.clone(),
            range,
        }
    }

    fn derived(&self, coefficients: impl Fn(Prediction, NoiseLevel) -> Mixture) -> Result<Tensor> {
        let Form::Output { output, prediction } = &self.form else {
            return self.x0();
        };
        mix(output, &self.x, self.levels(), |level| {
            let mixture = coefficients(*prediction, level);
            (mixture.of_output, mixture.of_x)
        })
    }
}
