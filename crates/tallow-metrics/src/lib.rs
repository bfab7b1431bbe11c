#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod chamfer;
mod energy;
mod error;
mod mmd;
mod pairwise;
mod path_energy;
mod points;
mod sliced_wasserstein;
mod statistic;
mod wasserstein;

pub use chamfer::{chamfer_mean, chamfer_sum};
pub use energy::energy_distance;
pub use error::{Error, Result};
pub use mmd::mmd_squared;
pub use path_energy::{PathEnergy, path_energy};
pub use points::Points;
pub use sliced_wasserstein::{Projections, SlicedWasserstein, sliced_wasserstein2};
pub use statistic::Statistic;
pub use wasserstein::{GroundCost, MOST_POINTS, Wasserstein, wasserstein1, wasserstein2};
