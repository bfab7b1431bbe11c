#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod animation;
mod axis;
mod curve;
mod curves;
mod density;
mod dots;
mod drawing;
mod error;
mod file;
mod film;
mod font;
mod gif_file;
mod html;
mod image_grid;
mod legend;
mod line;
mod palette;
mod panels;
mod points;
mod raster;
mod report;
mod scatter;
mod strip;
mod style;
mod svg;
mod trajectory;
mod vector_field;

pub use animation::Animation;
pub use curves::Curves;
pub use density::Density;
pub use drawing::Drawing;
pub use error::{Error, Result};
pub use film::Film;
pub use gif_file::Looping;
pub use image_grid::ImageGrid;
pub use report::Report;
pub use scatter::Scatter;
pub use strip::Strip;
pub use style::{Color, OKABE_ITO, Style, Theme, viridis};
pub use trajectory::Trajectories;
pub use vector_field::VectorField;
