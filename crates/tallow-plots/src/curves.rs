//! Curves: losses over steps, errors over evaluations, schedules over time.

use std::ops::Range;
use std::path::Path;

use crate::axis::{Axis, Spacing};
use crate::drawing::{Anchor, Drawing};
use crate::panels::{LABEL, Panels, Plane, TICK};
use crate::points::owned;
use crate::style::{Color, Style};
use crate::{Error, Result, font, line};

/// Width and height of the panel where the style names none.
const USUAL: (u32, u32) = (520, 320);
/// Height of one row of the legend.
const ROW: f64 = 20.0;
/// Room for a legend's stroke before its word, and for the gap after.
const SWATCH: f64 = 28.0;
const BETWEEN: f64 = 18.0;

/// Shows curves on one pair of axes, linear or logarithmic, with a legend above.
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
    style: Style,
}

#[derive(Clone, Debug)]
struct Curve {
    label: String,
    points: Vec<[f64; 2]>,
    look: Look,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Line,
    Marked,
    Smoothed(usize),
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
        let (width, _) = self.style.panel_or(USUAL)?;
        let rows = self.legend_rows(width);
        let panels = Panels {
            style: self.style,
            title: &self.title,
            labels: vec![String::new()],
            usual: USUAL,
            axes: (self.axis("x", 0)?, self.axis("y", 1)?),
            axis_labels: (&self.labels.0, &self.labels.1),
            header: if rows.is_empty() {
                6.0
            } else {
                rows.len() as f64 * ROW + 6.0
            },
            bar: None,
        };
        let (mut drawing, planes) = panels.lay()?;
        for plane in planes {
            for (index, curve) in self.curves.iter().enumerate() {
                curve.draw(&mut drawing, plane, self.style.theme().category(index));
            }
            self.draw_legend(&mut drawing, plane, &rows);
        }
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

    fn curve(mut self, label: String, points: Vec<[f64; 2]>, look: Look) -> Self {
        self.curves.push(Curve { label, points, look });
        self
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

    /// The curves that have a name, in rows that fit `width`: where each starts, and which it is.
    fn legend_rows(&self, width: f64) -> Vec<Vec<(f64, usize)>> {
        let mut rows: Vec<Vec<(f64, usize)>> = Vec::new();
        let mut end = f64::INFINITY;
        for (index, curve) in self
            .curves
            .iter()
            .enumerate()
            .filter(|(_, curve)| !curve.label.is_empty())
        {
            let room = SWATCH + font::width(&font::fit(&curve.label, LABEL, width - SWATCH), LABEL);
            if end + room > width {
                rows.push(Vec::new());
                end = 0.0;
            }
            if let Some(row) = rows.last_mut() {
                row.push((end, index));
            }
            end += room + BETWEEN;
        }
        rows
    }

    fn draw_legend(&self, drawing: &mut Drawing, plane: Plane, rows: &[Vec<(f64, usize)>]) {
        let theme = self.style.theme();
        let top = plane.area.top - rows.len() as f64 * ROW - 2.0;
        for (row, entries) in rows.iter().enumerate() {
            let y = top + row as f64 * ROW + ROW / 2.0;
            for (start, index) in entries {
                let (x, curve) = (plane.area.left + start, &self.curves[*index]);
                let color = theme.category(*index);
                drawing.path(vec![[x + 1.0, y], [x + SWATCH - 8.0, y]], 2.0, color, 1.0);
                if curve.look == Look::Marked {
                    let middle = [x + (SWATCH - 7.0) / 2.0, y];
                    drawing.path(vec![middle, middle], 6.0, color, 1.0);
                }
                let label = font::fit(&curve.label, LABEL, plane.area.width - SWATCH);
                drawing.text(
                    [x + SWATCH, y + TICK * 0.37],
                    &label,
                    LABEL,
                    theme.ink(),
                    Anchor::Start,
                );
            }
        }
    }
}

impl Curve {
    fn draw(&self, drawing: &mut Drawing, plane: Plane, color: Color) {
        let mut stroke = |points: &[[f64; 2]], width: f64, opacity: f32| {
            for part in line::inside(points.iter().map(|p| plane.place(*p)), plane.area) {
                // A lone point would be lost among lines.
                let lone = part.len() == 2 && part[0] == part[1];
                drawing.path(part, if lone { width.max(5.0) } else { width }, color, opacity);
            }
        };
        match self.look {
            Look::Line => stroke(&self.points, 1.8, 1.0),
            Look::Marked => {
                stroke(&self.points, 1.8, 1.0);
                for point in &self.points {
                    stroke(&[*point], 6.0, 1.0);
                }
            }
            Look::Smoothed(window) => {
                stroke(&self.points, 1.0, 0.3);
                stroke(&means(&self.points, window), 2.0, 1.0);
            }
        }
    }
}

/// Means of `y` over each point and its predecessors, at most `window` in all; what is not finite is left out of them.
fn means(points: &[[f64; 2]], window: usize) -> Vec<[f64; 2]> {
    let (mut sum, mut count) = (0.0, 0u64);
    let mut means = Vec::with_capacity(points.len());
    for (index, [x, y]) in points.iter().enumerate() {
        if index % window.max(1) == 0 {
            // A running sum forgets its rounding errors once a window.
            let recent = &points[(index + 1).saturating_sub(window)..index];
            let finite = recent.iter().map(|p| p[1]).filter(|y| y.is_finite());
            (sum, count) = finite.fold((0.0, 0), |(sum, count), y| (sum + y, count + 1));
        } else if let Some(old) = index
            .checked_sub(window)
            .map(|i| points[i][1])
            .filter(|y| y.is_finite())
        {
            (sum, count) = (sum - old, count - 1);
        }
        if y.is_finite() {
            (sum, count) = (sum + y, count + 1);
        }
        means.push([*x, if count > 0 { sum / count as f64 } else { f64::NAN }]);
    }
    means
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_is_the_mean_of_the_window() {
        let points: Vec<[f64; 2]> = (0..57)
            .map(|i| [f64::from(i), f64::from((i * 37) % 19)])
            .collect();
        for window in [1, 2, 7, 57, 100] {
            for (index, mean) in means(&points, window).into_iter().enumerate() {
                let recent = &points[(index + 1).saturating_sub(window)..=index];
                let truth = recent.iter().map(|p| p[1]).sum::<f64>() / recent.len() as f64;
                assert!((mean[1] - truth).abs() < 1e-12, "window {window}, point {index}");
            }
        }
    }

    #[test]
    fn one_lost_loss_does_not_spoil_those_after_it() {
        let points = [[0.0, 1.0], [1.0, f64::NAN], [2.0, 3.0], [3.0, 5.0], [4.0, 7.0]];
        let smooth: Vec<f64> = means(&points, 2).into_iter().map(|p| p[1]).collect();
        assert_eq!(smooth, [1.0, 1.0, 3.0, 4.0, 6.0]);
    }

    #[test]
    fn legends_wrap_and_never_overlap() {
        let mut curves = Curves::new("");
        for i in 0..12 {
            curves = curves.line(format!("a solver named {i}"), &[[0.0, 0.0]]);
        }
        let rows = curves.legend_rows(400.0);
        assert!(rows.len() > 1);
        assert_eq!(rows.iter().map(Vec::len).sum::<usize>(), 12);
        for row in rows {
            for pair in row.windows(2) {
                let end = pair[0].0 + SWATCH + font::width(&curves.curves[pair[0].1].label, LABEL);
                assert!(end < pair[1].0);
            }
        }
    }

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
}
