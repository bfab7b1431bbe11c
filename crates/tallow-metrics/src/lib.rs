#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod chamfer;
#[cfg(feature = "clip")]
mod clip;
mod energy;
mod error;
mod file;
mod frechet;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod image_features;
mod image_range;
mod inception;
mod inception_score;
mod kernel_distance;
mod max_sliced;
mod mmd;
mod moments;
mod neighbours;
mod npy;
mod npz;
mod pairwise;
mod path_energy;
mod path_shape;
mod points;
mod protocol;
mod resample;
mod sinkhorn_divergence;
mod sliced_wasserstein;
mod statistic;
mod two_sample;
mod wasserstein;
mod weights;

pub use chamfer::{chamfer_mean, chamfer_sum};
#[cfg(feature = "clip")]
pub use clip::{Clip, ClipConfiguration, ClipScore};
pub use energy::energy_distance;
pub use error::{Error, Result};
pub use frechet::{Frechet, frechet_distance, frechet_distance_of};
pub use image_features::{ImageFeatures, ImageMoments};
pub use image_range::ImageRange;
pub use inception::{InceptionTap, InceptionV3};
pub use inception_score::{InceptionScore, inception_score};
pub use kernel_distance::{KernelDistance, kernel_distance, kernel_distance_of_subsets};
pub use max_sliced::{MaxSlicedWasserstein, max_sliced_wasserstein2};
pub use mmd::{Kernel, Mmd, mmd, mmd_squared};
pub use moments::Moments;
pub use neighbours::{NeighbourAccuracy, PrecisionRecall, nearest_neighbour_accuracy, precision_recall};
pub use path_energy::{PathEnergy, path_energy};
pub use path_shape::{PathShape, path_shape};
pub use points::Points;
pub use protocol::{Extractor, Judged, Protocol, Side};
pub use sinkhorn_divergence::{SinkhornDivergence, sinkhorn_divergence};
pub use sliced_wasserstein::{Projections, SlicedWasserstein, sliced_wasserstein2};
pub use statistic::Statistic;
pub use two_sample::{TwoSampleTest, classifier_two_sample_test};
pub use wasserstein::{GroundCost, MOST_POINTS, Wasserstein, wasserstein1, wasserstein2};
