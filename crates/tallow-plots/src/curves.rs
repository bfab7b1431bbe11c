//! Curves: losses over steps, errors over evaluations, schedules over time.

use std::ops::Range;
use std::path::Path;

use crate::axis::{Axis, Spacing};
use crate::curve::{Curve, Look};
use crate::drawing::{Area, Drawing};
use crate::legend::{Legend, categories};
use crate::panels::{Panels, Plane};
use crate::points::owned;
use crate::style::Style;
use crate::{Error, Result};

/// Width and height of the only panel where the style names none, and of one of several.
const USUAL: (u32, u32) = (520, 320);
const ONE_OF_SEVERAL: (u32, u32) = (260, 180);
/// Shows curves on one pair of axes, linear or logarithmic, with a legend above; side by side where there are panels.
///
/// ```no_run
/// # use tallow_plots::Curves;
/// # let (heun, ddim) = ([[10.0, 0.03]], [[10.0, 0.1]]);
/// Curves::new("error against evaluations")
///     .x_log("network evaluations")
///     .y_log("distance to the exact flow")
///     .marked("DDIM", &ddim)
///     .marked("Heun", &heun)
///     .save("orders.svg")?;
/// # Ok::<(), tallow_plots::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Curves {
    title: String,
    labels: (String, String),
    spacing: (Spacing, Spacing),
    bounds: (Option<Range<f64>>, Option<Range<f64>>),
    curves: Vec<Curve>,
    panels: Vec<String>,
    style: Style,
}

impl Curves {
    /// A picture without curves yet, on linear axes without labels.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            labels: (String::new(), String::new()),
            spacing: (Spacing::Linear, Spacing::Linear),
            bounds: (None, None),
            curves: Vec::new(),
            panels: Vec::new(),
            style: Style::default(),
        }
    }

    /// Labels the x axis, which is linear.
    #[must_use]
    pub fn x(mut self, label: impl Into<String>) -> Self {
        (self.labels.0, self.spacing.0) = (label.into(), Spacing::Linear);
        self
    }

    /// Labels the x axis and makes it logarithmic.
    #[must_use]
    pub fn x_log(mut self, label: impl Into<String>) -> Self {
        (self.labels.0, self.spacing.0) = (label.into(), Spacing::Log);
        self
    }

    /// Labels the y axis, which is linear.
    #[must_use]
    pub fn y(mut self, label: impl Into<String>) -> Self {
        (self.labels.1, self.spacing.1) = (label.into(), Spacing::Linear);
        self
    }

    /// Labels the y axis and makes it logarithmic.
    #[must_use]
    pub fn y_log(mut self, label: impl Into<String>) -> Self {
        (self.labels.1, self.spacing.1) = (label.into(), Spacing::Log);
        self
    }

    /// Shows this range of x; by default all that the curves span.
    #[must_use]
    pub fn x_bounds(mut self, range: Range<f64>) -> Self {
        self.bounds.0 = Some(range);
        self
    }

    /// Shows this range of y; by default all that the curves span.
    #[must_use]
    pub fn y_bounds(mut self, range: Range<f64>) -> Self {
        self.bounds.1 = Some(range);
        self
    }

    /// Begins a panel: the curves that follow stand in it. All panels share their axes and one legend, in which curves
    /// of one name have one colour.
    #[must_use]
    pub fn panel(mut self, label: impl Into<String>) -> Self {
        self.panels.push(label.into());
        self
    }

    /// Adds a curve through `[x, y]` points in their order; a value the axes cannot show interrupts it.
    ///
    /// Curves take the eight colours of [`crate::OKABE_ITO`] in turn.
    #[must_use]
    pub fn line<T: Copy + Into<f64>>(self, label: impl Into<String>, points: &[[T; 2]]) -> Self {
        self.curve(label.into(), owned(points), Look::Line)
    }

    /// Adds a curve with a dot at every point: for a handful of measurements.
    #[must_use]
    pub fn marked<T: Copy + Into<f64>>(self, label: impl Into<String>, points: &[[T; 2]]) -> Self {
        self.curve(label.into(), owned(points), Look::Marked)
    }

    /// Adds a noisy curve twice: faint as it is, and strong as the mean of every point and its `window − 1` predecessors.
    #[must_use]
    pub fn smoothed<T: Copy + Into<f64>>(
        self,
        label: impl Into<String>,
        points: &[[T; 2]],
        window: usize,
    ) -> Self {
        self.curve(label.into(), owned(points), Look::Smoothed(window))
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
    /// When there is no curve, a window is zero, a logarithmic axis has nothing positive, or bounds or sizes cannot be drawn.
    pub fn drawing(&self) -> Result<Drawing> {
        self.check()?;
        let axes = (self.axis("x", 0)?, self.axis("y", 1)?);
        let labels = self.names_of_panels();
        let usual = if labels.len() > 1 { ONE_OF_SEVERAL } else { USUAL };
        let (width, _) = self.style.panel_or(usual)?;
        let columns = self.style.columns_of(labels.len(), 4)? as f64;
        let categories = categories(&self.curves);
        let legend = Legend::new(
            &self.curves,
            &categories,
            width * columns + 18.0 * (columns - 1.0),
        );
        let panels = Panels {
            style: self.style,
            title: &self.title,
            labels,
            usual,
            axes,
            axis_labels: (&self.labels.0, &self.labels.1),
            header: legend.height() + 6.0,
            bar: None,
        };
        let (mut drawing, planes) = panels.lay()?;
        for (curve, category) in self.curves.iter().zip(&categories) {
            let color = self.style.theme().category(*category);
            if let Some(plane) = planes.get(self.place_of(curve)) {
                curve.draw(&mut drawing, *plane, color);
            }
        }
        let area = above(&panels, &planes, legend.height());
        legend.draw(&mut drawing, area, &self.curves, &categories, self.style.theme());
        Ok(drawing)
    }

    /// Writes the picture as `.png` or `.svg`.
    ///
    /// # Errors
    ///
    /// What [`Curves::drawing`] and [`Drawing::save`] refuse.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.drawing()?.save(path)
    }

    fn check(&self) -> Result<()> {
        if self.curves.is_empty() {
            return Err(Error::Empty {
                picture: "a picture of curves",
                missing: "curve",
            });
        }
        if self.curves.iter().any(|curve| curve.look == Look::Smoothed(0)) {
            let allowed = "at least 1 point wide";
            return Err(Error::Parameter {
                name: "the smoothing window",
                value: 0.0,
                allowed,
            });
        }
        Ok(())
    }

    fn curve(mut self, label: String, points: Vec<[f64; 2]>, look: Look) -> Self {
        self.curves.push(Curve {
            label,
            panel: self.panels.len(),
            points,
            look,
        });
        self
    }

    /// Whether there are curves, or nothing at all, before the first panel begins.
    fn begins_without_a_panel(&self) -> bool {
        self.panels.is_empty() || self.curves.iter().any(|curve| curve.panel == 0)
    }

    /// One name for each panel that is drawn.
    fn names_of_panels(&self) -> Vec<String> {
        let unnamed = self.begins_without_a_panel().then(String::new);
        unnamed.into_iter().chain(self.panels.iter().cloned()).collect()
    }

    /// Which of the panels that are drawn a curve stands in.
    fn place_of(&self, curve: &Curve) -> usize {
        curve.panel - usize::from(!self.begins_without_a_panel())
    }

    fn axis(&self, name: &'static str, side: usize) -> Result<Axis> {
        let (bounds, spacing) = match side {
            0 => (&self.bounds.0, self.spacing.0),
            _ => (&self.bounds.1, self.spacing.1),
        };
        if let Some(range) = bounds {
            return Axis::given(name, range, spacing);
        }
        let values = self
            .curves
            .iter()
            .flat_map(|curve| &curve.points)
            .map(|point| point[side]);
        match (Axis::around(values, spacing), spacing) {
            (Some(axis), _) => Ok(axis),
            (None, Spacing::Linear) => Ok(Axis {
                from: 0.0,
                to: 1.0,
                spacing,
            }),
            (None, Spacing::Log) => Err(Error::NothingPositive { axis: name }),
        }
    }
}

/// The room of the legend: above the first row of panels and its labels.
fn above(panels: &Panels<'_>, planes: &[Plane], height: f64) -> Area {
    let label = if panels.labels.concat().is_empty() {
        0.0
    } else {
        22.0
    };
    let first = planes
        .first()
        .map_or([0.0, 0.0], |plane| [plane.area.left, plane.area.top]);
    let right = planes.iter().map(|plane| plane.area.right()).fold(0.0, f64::max);
    Area {
        left: first[0],
        top: first[1] - label - height - 2.0,
        width: right - first[0],
        height,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithmic_axis_needs_something_positive() {
        let curves = Curves::new("")
            .y_log("loss")
            .line("train", &[[0.0, -1.0], [1.0, 0.0]]);
        assert!(matches!(
            curves.drawing(),
            Err(Error::NothingPositive { axis: "y" })
        ));
    }

    #[test]
    fn curves_before_the_first_panel_have_one_of_their_own() {
        let begun = Curves::new("").panel("a").line("x", &[[0.0, 1.0]]);
        assert_eq!(begun.names_of_panels(), ["a"]);
        assert_eq!(begun.place_of(&begun.curves[0]), 0);
        let before = Curves::new("")
            .line("x", &[[0.0, 1.0]])
            .panel("a")
            .line("x", &[[0.0, 1.0]]);
        assert_eq!(before.names_of_panels(), ["", "a"]);
        assert_eq!(before.place_of(&before.curves[1]), 1);
    }
}
