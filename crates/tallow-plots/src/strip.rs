//! The forward or reverse process as a film strip: one small panel for each time, the estimates of x_0 beneath.

use std::ops::Range;
use std::path::Path;

use crate::drawing::{Anchor, Drawing};
use crate::panels::Panels;
use crate::points::{counted, equal_axes, missing, owned};
use crate::scatter::cloud;
use crate::style::Style;
use crate::{Error, Result};

/// Shows a cloud at several times in one row, and, where given, what the model takes it for in a second.
///
/// ```no_run
/// # use tallow_plots::Strip;
/// # let (x, x0) = ([[0.0, 1.0]], [[0.1, 0.9]]);
/// let mut strip = Strip::new("two moons dissolve");
/// for t in [0.1, 0.5, 0.9] {
///     strip = strip.at_with_estimate(format!("t = {t}"), &x, &x0);
/// }
/// strip.save("strip.png")?;
/// # Ok::<(), tallow_plots::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Strip {
    title: String,
    moments: Vec<Moment>,
    bounds: Option<(Range<f64>, Range<f64>)>,
    style: Style,
}

#[derive(Clone, Debug)]
struct Moment {
    label: String,
    points: Vec<[f64; 2]>,
    estimates: Option<Vec<[f64; 2]>>,
}

impl Strip {
    /// A strip without moments yet.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            moments: Vec::new(),
            bounds: None,
            style: Style::default(),
        }
    }

    /// Adds a moment: the points x_t.
    #[must_use]
    pub fn at<T: Copy + Into<f64>>(mut self, label: impl Into<String>, points: &[[T; 2]]) -> Self {
        self.moments.push(Moment {
            label: label.into(),
            points: owned(points),
            estimates: None,
        });
        self
    }

    /// Adds a moment: the points x_t, and beneath them the estimates x̂_0 made there.
    #[must_use]
    pub fn at_with_estimate<T: Copy + Into<f64>>(
        mut self,
        label: impl Into<String>,
        points: &[[T; 2]],
        estimates: &[[T; 2]],
    ) -> Self {
        let estimates = Some(owned(estimates));
        self.moments.push(Moment {
            label: label.into(),
            points: owned(points),
            estimates,
        });
        self
    }

    /// Shows at least these ranges; by default the axes hold every point.
    #[must_use]
    pub fn bounds(mut self, x: Range<f64>, y: Range<f64>) -> Self {
        self.bounds = Some((x, y));
        self
    }

    /// Sets theme, sizes and dots; a strip is never wrapped, so that time runs along it.
    #[must_use]
    pub fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    /// The picture in memory.
    ///
    /// # Errors
    ///
    /// When there is no moment, or bounds or sizes cannot be drawn.
    pub fn drawing(&self) -> Result<Drawing> {
        if self.moments.is_empty() {
            return Err(Error::Empty {
                picture: "a strip",
                missing: "moment",
            });
        }
        let count = self.moments.len();
        let estimated = self.moments.iter().any(|m| m.estimates.is_some());
        let usual = (170, 170);
        let points = self
            .moments
            .iter()
            .flat_map(|m| m.points.iter().chain(m.estimates.iter().flatten()));
        let panels = Panels {
            style: self.style.columns(count),
            title: &self.title,
            labels: self.labels(),
            usual,
            axes: equal_axes(self.bounds.as_ref(), points, self.style.panel_or(usual)?)?,
            axis_labels: ("", if estimated { " " } else { "" }),
            header: 0.0,
            bar: None,
        };
        let (mut drawing, planes) = panels.lay()?;
        let clouds = self.clouds();
        let largest = clouds.iter().map(|points| points.len()).max().unwrap_or(0);
        for (index, (points, plane)) in clouds.into_iter().zip(planes).enumerate() {
            let color = self.style.theme().category(index / count);
            // Small panels are as crowded as large ones with more points.
            cloud(&mut drawing, plane, points, self.style, (largest * 3, color))?;
            if estimated && index % count == 0 {
                let name = if index == 0 { "x\u{209C}" } else { "x\u{302}₀" };
                let at = [12.0, plane.area.middle()[1] + 4.5];
                drawing.text(at, name, 14.0, self.style.theme().ink(), Anchor::Start);
            }
        }
        Ok(drawing)
    }

    /// Writes the picture as `.png` or `.svg`.
    ///
    /// # Errors
    ///
    /// What [`Strip::drawing`] and [`Drawing::save`] refuse.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.drawing()?.save(path)
    }

    /// The points of every panel: those of all moments, then, if there are any, all estimates.
    fn clouds(&self) -> Vec<&[[f64; 2]]> {
        let estimates = || self.moments.iter().map(|m| m.estimates.as_deref());
        let mut clouds: Vec<&[[f64; 2]]> = self.moments.iter().map(|m| m.points.as_slice()).collect();
        if estimates().any(|e| e.is_some()) {
            clouds.extend(estimates().map(Option::unwrap_or_default));
        }
        clouds
    }

    fn labels(&self) -> Vec<String> {
        let names = self
            .moments
            .iter()
            .map(|m| m.label.as_str())
            .chain(std::iter::repeat(""));
        names
            .zip(self.clouds())
            .map(|(name, points)| counted(name, missing(points)))
            .collect()
    }
}
