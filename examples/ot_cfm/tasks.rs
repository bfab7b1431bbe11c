//! The four tasks and three couplings, and what the paper found.

use tallow::datasets::{Gaussians, Moons, SCurve};
use tallow::denoisers::{Batch, Dataset, normal_like};
use tallow::objectives::coupling::{
    Coupling, Independent, OptimalTransport, Regularization, SinkhornCoupling,
};
use tallow_examples::Failure;

/// From where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Task {
    /// Standard normal to eight Gaussians on a circle.
    #[value(name = "gaussian_8gaussians")]
    GaussianEight,
    /// Eight Gaussians to two moons.
    #[value(name = "8gaussians_moons")]
    EightMoons,
    /// Standard normal to two moons.
    #[value(name = "gaussian_moons")]
    GaussianMoons,
    /// Standard normal to the S curve.
    #[value(name = "gaussian_scurve")]
    GaussianSCurve,
}

impl Task {
    /// All of them, in the paper's order.
    pub(crate) const ALL: [Self; 4] = [
        Self::GaussianEight,
        Self::EightMoons,
        Self::GaussianMoons,
        Self::GaussianSCurve,
    ];

    /// The name on command lines and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::GaussianEight => "gaussian_8gaussians",
            Self::EightMoons => "8gaussians_moons",
            Self::GaussianMoons => "gaussian_moons",
            Self::GaussianSCurve => "gaussian_scurve",
        }
    }

    /// The name in pictures.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::GaussianEight => "Gaussian to 8 Gaussians",
            Self::EightMoons => "8 Gaussians to moons",
            Self::GaussianMoons => "Gaussian to moons",
            Self::GaussianSCurve => "Gaussian to S curve",
        }
    }

    /// Where the flow starts.
    pub(crate) fn source(self) -> Box<dyn Dataset> {
        match self {
            Self::EightMoons => Box::new(Gaussians::eight()),
            _ => Box::new(Normal),
        }
    }

    /// Where it ends.
    ///
    /// # Errors
    ///
    /// None: the settings are within their ranges.
    pub(crate) fn data(self) -> Result<Box<dyn Dataset>, Failure> {
        Ok(match self {
            Self::GaussianEight => Box::new(Gaussians::eight()),
            Self::EightMoons | Self::GaussianMoons => Box::new(Moons::flow_matching()),
            Self::GaussianSCurve => Box::new(SCurve::new().with_noise(0.05)?),
        })
    }
}

/// Standard normal points in the plane.
#[derive(Debug)]
struct Normal;

impl Dataset for Normal {
    fn item_shape(&self) -> &[usize] {
        &[2]
    }

    fn draw(&self, count: usize, rng: &mut dyn rand::RngCore) -> tallow::denoisers::Result<Batch> {
        let like =
            candle_core::Tensor::zeros((count, 2), candle_core::DType::F32, &candle_core::Device::Cpu)?;
        Ok(Batch::new(normal_like(&like, rng)?))
    }
}

/// Who is paired with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Transport {
    /// By chance.
    #[value(name = "independent")]
    Independent,
    /// So that the batch moves the least.
    #[value(name = "exact_ot")]
    Exact,
    /// Between the two: 0.05 of the mean cost, 50 iterations.
    #[value(name = "sinkhorn")]
    Sinkhorn,
}

impl Transport {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Independent, Self::Exact, Self::Sinkhorn];

    /// The name on command lines and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Independent => "independent",
            Self::Exact => "exact_ot",
            Self::Sinkhorn => "sinkhorn",
        }
    }

    /// The name in pictures.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Independent => "independent",
            Self::Exact => "exact transport",
            Self::Sinkhorn => "Sinkhorn",
        }
    }

    /// The coupling itself.
    ///
    /// # Errors
    ///
    /// None: the settings are within their ranges.
    pub(crate) fn coupling(self) -> Result<Box<dyn Coupling>, Failure> {
        Ok(match self {
            Self::Independent => Box::new(Independent),
            Self::Exact => Box::new(OptimalTransport::new()),
            Self::Sinkhorn => {
                Box::new(SinkhornCoupling::new(Regularization::OfMeanCost(0.05))?.with_stop(50, 1e-6)?)
            }
        })
    }

    /// Normalised path energy and W₂² of I-CFM and OT-CFM in Tong et al. 2024, table 2, means of five seeds.
    pub(crate) fn in_the_paper(self, task: Task) -> (Option<f64>, Option<f64>) {
        let (energy, w2) = match (self, task) {
            (Self::Independent, Task::GaussianEight) => (0.222, 1.284),
            (Self::Independent, Task::EightMoons) => (2.738, 1.977),
            (Self::Independent, Task::GaussianMoons) => (0.841, 0.338),
            (Self::Independent, Task::GaussianSCurve) => (0.867, 0.333),
            (Self::Exact, Task::GaussianEight) => (0.018, 1.262),
            (Self::Exact, Task::EightMoons) => (0.053, 1.923),
            (Self::Exact, Task::GaussianMoons) => (0.087, 0.239),
            (Self::Exact, Task::GaussianSCurve) => (0.027, 0.264),
            (Self::Sinkhorn, _) => return (None, None),
        };
        (Some(energy), Some(w2))
    }

    /// A line of the table in `docs/results.md`, under [`TABLE_HEAD`]: mean path energy and W₂², the paper's in brackets.
    pub(crate) fn table_row(self, task: Task, first: bool, (energy, w2): (f64, f64)) -> String {
        let (paper_energy, paper_w2) = self.in_the_paper(task);
        let beside = |known: Option<f64>| known.map_or_else(String::new, |known| format!(" ({known:.3})"));
        let task = match first {
            true => format!("| {} ", task.title().replace(" to ", " → ")),
            false => "| ".to_owned(),
        };
        format!(
            "{task}| {} | {energy:.3}{} | {w2:.3}{} |\n",
            self.title(),
            beside(paper_energy),
            beside(paper_w2)
        )
    }
}

/// The head of the table in `docs/results.md`.
pub(crate) const TABLE_HEAD: &str = "| task | coupling | normalised path energy | W₂² |\n|---|---|---|---|\n";
