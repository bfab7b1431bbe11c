//! Clouds of points side by side: do the samples look like the data?

use std::ops::Range;
use std::path::Path;

use crate::drawing::{Dots, Drawing, Shape};
use crate::panels::{Panels, Plane};
use crate::points::{counted, equal_axes, missing, owned};
use crate::style::{Color, Style};
use crate::{Error, Result};

/// Compares clouds of points, one in each panel, all on the same axes of equal units.
///
/// ```no_run
/// # use tallow_plots::Scatter;
/// # let (data, samples) = ([[0.0, 1.0]], [[0.1, 0.9]]);
/// Scatter::new("two moons").panel("data", &data).panel("samples", &samples).save("moons.png")?;
/// # Ok::<(), tallow_plots::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Scatter {
    title: String,
    panels: Vec<Cloud>,
    bounds: Option<(Range<f64>, Range<f64>)>,
    style: Style,
}

#[derive(Clone, Debug)]
struct Cloud {
    label: String,
    points: Vec<[f64; 2]>,
    classes: Option<Vec<usize>>,
}

impl Scatter {
    /// A picture without panels yet.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            panels: Vec::new(),
            bounds: None,
            style: Style::default(),
        }
    }

    /// Adds a panel that shows `points`; those that are not finite are counted in its title.
    #[must_use]
    pub fn panel<T: Copy + Into<f64>>(mut self, label: impl Into<String>, points: &[[T; 2]]) -> Self {
        self.panels.push(Cloud {
            label: label.into(),
            points: owned(points),
            classes: None,
        });
        self
    }

    /// Adds a panel whose point `i` has the colour of category `classes[i]`.
    #[must_use]
    pub fn panel_by_class<T: Copy + Into<f64>>(
        mut self,
        label: impl Into<String>,
        points: &[[T; 2]],
        classes: &[usize],
    ) -> Self {
        let classes = Some(classes.to_vec());
        self.panels.push(Cloud {
            label: label.into(),
            points: owned(points),
            classes,
        });
        self
    }

    /// Shows at least these ranges; by default the axes hold every point.
    #[must_use]
    pub fn bounds(mut self, x: Range<f64>, y: Range<f64>) -> Self {
        self.bounds = Some((x, y));
        self
    }

    /// Sets theme, sizes and dots.
    #[must_use]
    pub fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    /// The picture in memory.
    ///
    /// # Errors
    ///
    /// When there is no panel, classes and points differ in number, or bounds or sizes cannot be drawn.
    pub fn drawing(&self) -> Result<Drawing> {
        if self.panels.is_empty() {
            return Err(Error::Empty {
                picture: "a scatter plot",
                missing: "panel",
            });
        }
        for cloud in &self.panels {
            cloud.check()?;
        }
        let usual = (300, 300);
        let points = self.panels.iter().flat_map(|cloud| &cloud.points);
        let panels = Panels {
            style: self.style,
            title: &self.title,
            labels: self
                .panels
                .iter()
                .map(|c| counted(&c.label, missing(&c.points)))
                .collect(),
            usual,
            axes: equal_axes(self.bounds.as_ref(), points, self.style.panel_or(usual)?)?,
            axis_labels: ("", ""),
            header: 0.0,
            bar: None,
        };
        let (mut drawing, planes) = panels.lay()?;
        for (cloud, plane) in self.panels.iter().zip(planes) {
            cloud.draw(&mut drawing, plane, self.style)?;
        }
        Ok(drawing)
    }

    /// Writes the picture as `.png` or `.svg`.
    ///
    /// # Errors
    ///
    /// What [`Scatter::drawing`] and [`Drawing::save`] refuse.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.drawing()?.save(path)
    }
}

impl Cloud {
    fn check(&self) -> Result<()> {
        match &self.classes {
            Some(classes) if classes.len() != self.points.len() => Err(Error::Length {
                what: format!("classes of panel {:?}", self.label),
                expected: self.points.len(),
                got: classes.len(),
            }),
            _ => Ok(()),
        }
    }

    fn draw(&self, drawing: &mut Drawing, plane: Plane, style: Style) -> Result<()> {
        let count = self.points.len();
        let Some(classes) = &self.classes else {
            return cloud(
                drawing,
                plane,
                &self.points,
                style,
                (count, style.theme().category(0)),
            );
        };
        let mut names = classes.clone();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let of_class = self
                .points
                .iter()
                .zip(classes)
                .filter(|(_, class)| **class == name);
            let points: Vec<[f64; 2]> = of_class.map(|(point, _)| *point).collect();
            cloud(
                drawing,
                plane,
                &points,
                style,
                (count, style.theme().category(name)),
            )?;
        }
        Ok(())
    }
}

/// Draws one cloud in one colour, as large and faint as suits `count` points.
pub(crate) fn cloud(
    drawing: &mut Drawing,
    plane: Plane,
    points: &[[f64; 2]],
    style: Style,
    (count, color): (usize, Color),
) -> Result<()> {
    let (radius, opacity) = style.dots_for(count)?;
    let centers = plane.visible(points);
    drawing.shapes.push(Shape::Dots(Dots {
        centers,
        radius,
        color,
        opacity,
        clip: plane.area,
    }));
    Ok(())
}
