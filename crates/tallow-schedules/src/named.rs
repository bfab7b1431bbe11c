//! Paths by name, for files and command lines.
//!
//! A path is a name and its parameters. With the feature `serde` it reads as, for one,
//! `{"name": "vp_linear", "beta_0": 0.1, "beta_1": 20.0}`; [`NamedSchedule::from_name`] takes the name alone and the
//! published parameters.

use std::sync::Arc;

use crate::{
    Error, Polynomial, RectifiedFlow, Result, ScaledLinear, Schedule, SubVp, Table, Trigonometric, Ve,
    VeGeometric, VpCosine, VpLinear, VpSigmoid,
};

/// Every path that a file or a command line can name. Parameters are checked by [`build`](Self::build).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "name", rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum NamedSchedule {
    /// [`VpLinear`].
    VpLinear {
        /// The rate of noise at the data, per unit of time.
        beta_0: f64,
        /// The rate of noise at the end.
        beta_1: f64,
    },
    /// [`VpCosine`].
    VpCosine {
        /// The offset.
        s: f64,
    },
    /// [`VpSigmoid`].
    VpSigmoid {
        /// Where on the logistic curve the data is.
        start: f64,
        /// Where on it the noise is.
        end: f64,
        /// The temperature.
        tau: f64,
    },
    /// [`ScaledLinear`].
    ScaledLinear {
        /// The rate of noise at the data, per unit of time.
        beta_0: f64,
        /// The rate of noise at the end.
        beta_1: f64,
    },
    /// [`SubVp`].
    SubVp {
        /// The rate of noise at the data, per unit of time.
        beta_0: f64,
        /// The rate of noise at the end.
        beta_1: f64,
    },
    /// [`VeGeometric`].
    VeGeometric {
        /// The least noise, in units of the data.
        sigma_min: f64,
        /// The largest noise.
        sigma_max: f64,
    },
    /// [`Ve`], up to 80 unless `t_max` says otherwise.
    Edm {
        /// The largest noise level.
        #[cfg_attr(feature = "serde", serde(default = "edm_t_max"))]
        t_max: f64,
    },
    /// [`RectifiedFlow`] without noise on the data.
    LinearFlow,
    /// [`RectifiedFlow`] with noise on the data.
    LinearFlowSigmaMin {
        /// The least noise, in units of the data.
        sigma_min: f64,
    },
    /// [`Trigonometric`].
    Trigonometric,
    /// [`Polynomial`].
    Polynomial {
        /// The degree.
        n: f64,
    },
    /// [`Table::linear_beta`]; the number of steps is called `T` in files.
    LinearBeta {
        /// The number of entries T.
        #[cfg_attr(feature = "serde", serde(rename = "T"))]
        steps: usize,
        /// The first β of the table.
        beta_start: f64,
        /// Its last β.
        beta_end: f64,
    },
    /// [`Table::scaled_linear_beta`].
    ScaledLinearBeta {
        /// The number of entries T.
        #[cfg_attr(feature = "serde", serde(rename = "T"))]
        steps: usize,
        /// The first β of the table.
        beta_start: f64,
        /// Its last β.
        beta_end: f64,
    },
    /// [`Table::cosine`].
    CosineAlphaBar {
        /// The number of entries T.
        #[cfg_attr(feature = "serde", serde(rename = "T"))]
        steps: usize,
        /// The offset.
        s: f64,
        /// The cap on β.
        max_beta: f64,
    },
    /// [`Table::sigmoid_alpha_bar`].
    SigmoidAlphaBar {
        /// The number of entries T.
        #[cfg_attr(feature = "serde", serde(rename = "T"))]
        steps: usize,
        /// Where on the logistic curve the data is.
        start: f64,
        /// Where on it the noise is.
        end: f64,
        /// The temperature.
        tau: f64,
        /// The cap on β.
        max_beta: f64,
    },
    /// [`Table::geodiff_sigmoid_beta`].
    GeodiffSigmoidBeta {
        /// The number of entries T.
        #[cfg_attr(feature = "serde", serde(rename = "T"))]
        steps: usize,
        /// The first β of the table.
        beta_start: f64,
        /// Its last β.
        beta_end: f64,
    },
    /// [`Table::from_betas`].
    DiscreteTable {
        /// All β, from data to noise.
        betas: Vec<f64>,
    },
    /// [`Table::zero_terminal_snr`] of another table.
    ZeroTerminalSnr {
        /// The table that is rescaled.
        base: Box<NamedSchedule>,
    },
}

#[cfg(feature = "serde")]
fn edm_t_max() -> f64 {
    80.0
}

impl NamedSchedule {
    /// The names that [`from_name`](Self::from_name) knows.
    pub const NAMES: [&'static str; 17] = [
        "vp_linear",
        "vp_cosine",
        "vp_sigmoid",
        "scaled_linear",
        "sub_vp",
        "ve_geometric",
        "edm",
        "linear_flow",
        "linear_flow_sigma_min",
        "trigonometric",
        "polynomial",
        "linear_beta",
        "scaled_linear_beta",
        "cosine_alpha_bar",
        "sigmoid_alpha_bar",
        "geodiff_sigmoid_beta",
        "zero_terminal_snr",
    ];

    /// The path of a name, with the parameters it was published with; tables have 1000 steps.
    ///
    /// `zero_terminal_snr` rescales Stable Diffusion's table, `polynomial` is of degree 2, `linear_flow_sigma_min` keeps 1e-4.
    ///
    /// # Errors
    ///
    /// When nothing has this name; says which name is spelled most like it, and all that exist.
    pub fn from_name(name: &str) -> Result<Self> {
        let steps = 1000;
        Ok(match name {
            "vp_linear" => Self::VpLinear {
                beta_0: 0.1,
                beta_1: 20.0,
            },
            "vp_cosine" => Self::VpCosine { s: 0.008 },
            "vp_sigmoid" => Self::VpSigmoid {
                start: -3.0,
                end: 3.0,
                tau: 1.0,
            },
            "scaled_linear" => Self::ScaledLinear {
                beta_0: 0.85,
                beta_1: 12.0,
            },
            "sub_vp" => Self::SubVp {
                beta_0: 0.1,
                beta_1: 20.0,
            },
            "ve_geometric" => Self::VeGeometric {
                sigma_min: 0.01,
                sigma_max: 50.0,
            },
            "edm" => Self::Edm { t_max: 80.0 },
            "linear_flow" => Self::LinearFlow,
            "linear_flow_sigma_min" => Self::LinearFlowSigmaMin { sigma_min: 1e-4 },
            "trigonometric" => Self::Trigonometric,
            "polynomial" => Self::Polynomial { n: 2.0 },
            "linear_beta" => Self::LinearBeta {
                steps,
                beta_start: 1e-4,
                beta_end: 0.02,
            },
            "scaled_linear_beta" => Self::stable_diffusion(),
            "cosine_alpha_bar" => Self::CosineAlphaBar {
                steps,
                s: 0.008,
                max_beta: 0.999,
            },
            "sigmoid_alpha_bar" => Self::SigmoidAlphaBar {
                steps,
                start: -3.0,
                end: 3.0,
                tau: 1.0,
                max_beta: 0.999,
            },
            "geodiff_sigmoid_beta" => Self::GeodiffSigmoidBeta {
                steps,
                beta_start: 1e-4,
                beta_end: 0.02,
            },
            "zero_terminal_snr" => Self::ZeroTerminalSnr {
                base: Box::new(Self::stable_diffusion()),
            },
            _ => {
                let nearest = Self::NAMES
                    .into_iter()
                    .min_by_key(|known| edits(name, known))
                    .unwrap_or_default();
                return Err(Error::UnknownName {
                    name: name.to_owned(),
                    nearest,
                    known: Self::NAMES.join(", "),
                });
            }
        })
    }

    fn stable_diffusion() -> Self {
        Self::ScaledLinearBeta {
            steps: 1000,
            beta_start: 0.00085,
            beta_end: 0.012,
        }
    }

    /// The path itself.
    ///
    /// # Errors
    ///
    /// When a parameter is outside of its range, or the base of a rescaled table is no table.
    pub fn build(&self) -> Result<Arc<dyn Schedule>> {
        Ok(match *self {
            Self::VpLinear { beta_0, beta_1 } => Arc::new(VpLinear::new(beta_0, beta_1)?),
            Self::VpCosine { s } => Arc::new(VpCosine::new(s)?),
            Self::VpSigmoid { start, end, tau } => Arc::new(VpSigmoid::new(start, end, tau)?),
            Self::ScaledLinear { beta_0, beta_1 } => Arc::new(ScaledLinear::new(beta_0, beta_1)?),
            Self::SubVp { beta_0, beta_1 } => Arc::new(SubVp::new(beta_0, beta_1)?),
            Self::VeGeometric { sigma_min, sigma_max } => Arc::new(VeGeometric::new(sigma_min, sigma_max)?),
            Self::Edm { t_max } => Arc::new(Ve::with_t_max(t_max)?),
            Self::LinearFlow => Arc::new(RectifiedFlow::default()),
            Self::LinearFlowSigmaMin { sigma_min } => Arc::new(RectifiedFlow::with_sigma_min(sigma_min)?),
            Self::Trigonometric => Arc::new(Trigonometric),
            Self::Polynomial { n } => Arc::new(Polynomial::new(n)?),
            _ => Arc::new(self.build_table()?),
        })
    }

    /// The table itself, for grids that visit its entries.
    ///
    /// # Errors
    ///
    /// When this names a continuous path, or a parameter is outside of its range.
    pub fn build_table(&self) -> Result<Table> {
        match *self {
            Self::LinearBeta {
                steps,
                beta_start,
                beta_end,
            } => Table::linear_beta(steps, beta_start, beta_end),
            Self::ScaledLinearBeta {
                steps,
                beta_start,
                beta_end,
            } => Table::scaled_linear_beta(steps, beta_start, beta_end),
            Self::CosineAlphaBar { steps, s, max_beta } => Table::cosine(steps, s, max_beta),
            Self::SigmoidAlphaBar {
                steps,
                start,
                end,
                tau,
                max_beta,
            } => Table::sigmoid_alpha_bar(steps, start, end, tau, max_beta),
            Self::GeodiffSigmoidBeta {
                steps,
                beta_start,
                beta_end,
            } => Table::geodiff_sigmoid_beta(steps, beta_start, beta_end),
            Self::DiscreteTable { ref betas } => Table::from_betas(betas.clone()),
            Self::ZeroTerminalSnr { ref base } => base.build_table()?.zero_terminal_snr(),
            _ => Err(Error::NoTable {
                schedule: format!("{self:?}"),
            }),
        }
    }
}

/// The number of letters to insert, remove or replace to make one word of the other.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.chars().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
#[path = "named_tests.rs"]
mod tests;
