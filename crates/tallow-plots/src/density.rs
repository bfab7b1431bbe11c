//! Heat maps of how many points fall where: for clouds so dense that dots hide their shape.

use std::ops::Range;
use std::path::Path;

use crate::axis::Axis;
use crate::drawing::{Drawing, Shape};
use crate::panels::{Bar, Panels};
use crate::points::{counted, equal_axes, missing, owned};
use crate::style::{Style, viridis};
use crate::{Error, Result};

/// Shows two-dimensional histograms side by side, on one scale of colours.
///
/// A cell's value is `count / (N · area of the cell)`, N the number of finite points, so that panels of different
/// size compare and the mass of a whole plane is 1.
#[derive(Clone, Debug)]
pub struct Density {
    title: String,
    panels: Vec<(String, Vec<[f64; 2]>)>,
    bounds: Option<(Range<f64>, Range<f64>)>,
    bins: usize,
    style: Style,
}

impl Density {
    /// A picture without panels yet, of 100 cells along the longer side of a panel.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            panels: Vec::new(),
            bounds: None,
            bins: 100,
            style: Style::default(),
        }
    }

    /// Adds a panel with the histogram of `points`; those that are not finite are counted in its title.
    #[must_use]
    pub fn panel<T: Copy + Into<f64>>(mut self, label: impl Into<String>, points: &[[T; 2]]) -> Self {
        self.panels.push((label.into(), owned(points)));
        self
    }

    /// Shows at least these ranges; by default the axes hold every point.
    #[must_use]
    pub fn bounds(mut self, x: Range<f64>, y: Range<f64>) -> Self {
        self.bounds = Some((x, y));
        self
    }

    /// Sets the number of cells along the longer side of a panel, from 1 to 2000.
    #[must_use]
    pub fn bins(mut self, bins: usize) -> Self {
        self.bins = bins;
        self
    }

    /// Sets theme and sizes.
    #[must_use]
    pub fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    /// The picture in memory.
    ///
    /// # Errors
    ///
    /// When there is no panel, or the bins, bounds or sizes cannot be drawn.
    pub fn drawing(&self) -> Result<Drawing> {
        if self.panels.is_empty() {
            return Err(Error::Empty {
                picture: "a density plot",
                missing: "panel",
            });
        }
        let usual = (300, 300);
        let size = self.style.panel_or(usual)?;
        let shape = self.cells(size)?;
        let points = self.panels.iter().flat_map(|(_, points)| points);
        let axes = equal_axes(self.bounds.as_ref(), points, size)?;
        let maps: Vec<Vec<f64>> = self
            .panels
            .iter()
            .map(|(_, points)| histogram(points, axes, shape))
            .collect();
        let highest = maps.iter().flatten().fold(0.0f64, |a, b| a.max(*b));
        let top = if highest > 0.0 { highest } else { 1.0 };
        let panels = Panels {
            style: self.style,
            title: &self.title,
            labels: self
                .panels
                .iter()
                .map(|(label, points)| counted(label, missing(points)))
                .collect(),
            usual,
            axes,
            axis_labels: ("", ""),
            header: 0.0,
            bar: Some(Bar::up_to(top, "density")),
        };
        let (mut drawing, planes) = panels.lay()?;
        for (map, plane) in maps.iter().zip(planes) {
            let pixels = map.iter().map(|value| viridis(value / top)).collect();
            drawing.shapes.push(Shape::Image {
                area: plane.area,
                columns: shape.0,
                pixels,
            });
        }
        Ok(drawing)
    }

    /// Writes the picture as `.png` or `.svg`.
    ///
    /// # Errors
    ///
    /// What [`Density::drawing`] and [`Drawing::save`] refuse.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.drawing()?.save(path)
    }

    /// Columns and rows of cells in a panel of `size`.
    fn cells(&self, size: (f64, f64)) -> Result<(usize, usize)> {
        if !(1..=2000).contains(&self.bins) {
            let value = self.bins as f64;
            return Err(Error::Parameter {
                name: "bins",
                value,
                allowed: "from 1 to 2000",
            });
        }
        let longer = size.0.max(size.1);
        let cells = |side: f64| ((self.bins as f64 * side / longer).round() as usize).max(1);
        Ok((cells(size.0), cells(size.1)))
    }
}

/// Densities in rows from the top (largest y) down; `shape` is columns, rows.
fn histogram(points: &[[f64; 2]], (x, y): (Axis, Axis), (columns, rows): (usize, usize)) -> Vec<f64> {
    let mut counts = vec![0u64; columns * rows];
    for point in points {
        let (u, v) = (x.fraction(point[0]), 1.0 - y.fraction(point[1]));
        if (0.0..=1.0).contains(&u) && (0.0..=1.0).contains(&v) {
            let column = ((u * columns as f64) as usize).min(columns - 1);
            let row = ((v * rows as f64) as usize).min(rows - 1);
            counts[row * columns + column] += 1;
        }
    }
    let cell = (x.to - x.from) / columns as f64 * ((y.to - y.from) / rows as f64);
    let finite = (points.len() - missing(points)).max(1) as f64;
    counts
        .into_iter()
        .map(|count| {
            if count == 0 {
                0.0
            } else {
                count as f64 / finite / cell
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axis::Spacing;

    #[test]
    fn the_mass_of_a_histogram_is_one() {
        let points: Vec<[f64; 2]> = (0..1000)
            .map(|i| [f64::from(i % 37), f64::from(i % 11) * 2.0])
            .collect();
        let axes = equal_axes(None, points.iter(), (300.0, 200.0)).unwrap();
        let map = histogram(&points, axes, (30, 20));
        let cell = (axes.0.to - axes.0.from) / 30.0 * (axes.1.to - axes.1.from) / 20.0;
        assert!((map.iter().sum::<f64>() * cell - 1.0).abs() < 1e-12);
    }

    #[test]
    fn rows_run_from_the_top_down() {
        let axis = Axis {
            from: 0.0,
            to: 2.0,
            spacing: Spacing::Linear,
        };
        let map = histogram(&[[0.5, 1.5]], (axis, axis), (2, 2));
        assert_eq!(map, [1.0, 0.0, 0.0, 0.0]);
    }
}
