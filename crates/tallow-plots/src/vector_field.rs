//! Velocities, scores and their like as arrows.

use std::ops::Range;
use std::path::Path;

use crate::axis::{Axis, placeable};
use crate::drawing::Drawing;
use crate::panels::{Bar, Panels, Plane};
use crate::points::{counted, equal_axes, owned};
use crate::style::{Style, viridis};
use crate::{Error, Result, line};

/// Shows vectors as arrows from their positions, coloured by magnitude on one scale for all panels.
///
/// The longest arrow of all panels spans about the distance between neighbours; lengths are in proportion.
#[derive(Clone, Debug)]
pub struct VectorField {
    title: String,
    panels: Vec<Arrows>,
    paths: Vec<Vec<[f64; 2]>>,
    bounds: Option<(Range<f64>, Range<f64>)>,
    magnitude: String,
    style: Style,
}

#[derive(Clone, Debug)]
struct Arrows {
    label: String,
    positions: Vec<[f64; 2]>,
    vectors: Vec<[f64; 2]>,
}

impl VectorField {
    /// A picture without panels yet.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            panels: Vec::new(),
            paths: Vec::new(),
            bounds: None,
            magnitude: "magnitude".to_owned(),
            style: Style::default(),
        }
    }

    /// Adds a panel of arrows: `vectors[i]` starts at `positions[i]`.
    #[must_use]
    pub fn panel<T: Copy + Into<f64>>(
        mut self,
        label: impl Into<String>,
        positions: &[[T; 2]],
        vectors: &[[T; 2]],
    ) -> Self {
        let (positions, vectors) = (owned(positions), owned(vectors));
        self.panels.push(Arrows {
            label: label.into(),
            positions,
            vectors,
        });
        self
    }

    /// Draws paths over the arrows of every panel, each with a dot where it ends.
    #[must_use]
    pub fn trajectories<T: Copy + Into<f64>, P: AsRef<[[T; 2]]>>(mut self, paths: &[P]) -> Self {
        self.paths.extend(paths.iter().map(|path| owned(path.as_ref())));
        self
    }

    /// Shows at least these ranges; by default the axes hold every position.
    #[must_use]
    pub fn bounds(mut self, x: Range<f64>, y: Range<f64>) -> Self {
        self.bounds = Some((x, y));
        self
    }

    /// Names what the colour stands for, such as "speed"; by default "magnitude".
    #[must_use]
    pub fn magnitude(mut self, label: impl Into<String>) -> Self {
        self.magnitude = label.into();
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
    /// When there is no panel, positions and vectors differ in number, or bounds or sizes cannot be drawn.
    pub fn drawing(&self) -> Result<Drawing> {
        if self.panels.is_empty() {
            return Err(Error::Empty {
                picture: "a vector field",
                missing: "panel",
            });
        }
        for arrows in &self.panels {
            arrows.check()?;
        }
        let usual = (300, 300);
        let axes = self.axes(self.style.panel_or(usual)?)?;
        let longest = self.panels.iter().flat_map(Arrows::lengths).fold(0.0, f64::max);
        let top = if longest > 1e-90 { longest } else { 1.0 };
        let panels = Panels {
            style: self.style,
            title: &self.title,
            labels: self
                .panels
                .iter()
                .map(|arrows| counted(&arrows.label, arrows.missing()))
                .collect(),
            usual,
            axes,
            axis_labels: ("", ""),
            header: 0.0,
            bar: Some(Bar::up_to(top, &self.magnitude)),
        };
        let (mut drawing, planes) = panels.lay()?;
        for (arrows, plane) in self.panels.iter().zip(planes) {
            arrows.draw(&mut drawing, plane, top);
            self.draw_paths(&mut drawing, plane);
        }
        Ok(drawing)
    }

    /// Writes the picture as `.png` or `.svg`.
    ///
    /// # Errors
    ///
    /// What [`VectorField::drawing`] and [`Drawing::save`] refuse.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.drawing()?.save(path)
    }

    fn axes(&self, size: (f64, f64)) -> Result<(Axis, Axis)> {
        let points = self.panels.iter().flat_map(|arrows| &arrows.positions);
        let (x, y) = equal_axes(self.bounds.as_ref(), points, size)?;
        if self.bounds.is_some() {
            return Ok((x, y));
        }
        // Room for the arrows that start at the edge: one distance between neighbours.
        let most = self
            .panels
            .iter()
            .map(|arrows| arrows.positions.len())
            .max()
            .unwrap_or(0);
        let room = 1.0 + 1.6 / (most.max(4) as f64).sqrt();
        let grown = |axis: Axis| axis.stretched((axis.to - axis.from) * room);
        Ok((grown(x), grown(y)))
    }

    fn draw_paths(&self, drawing: &mut Drawing, plane: Plane) {
        let color = self.style.theme().category(1);
        for path in &self.paths {
            for part in line::inside(path.iter().map(|p| plane.place(*p)), plane.area) {
                drawing.path(part, 1.3, color, 0.8);
            }
            if let Some(end) = path.last() {
                for dot in line::inside(std::iter::once(plane.place(*end)), plane.area) {
                    drawing.path(dot, 5.0, color, 1.0);
                }
            }
        }
    }
}

impl Arrows {
    fn check(&self) -> Result<()> {
        let (expected, got) = (self.positions.len(), self.vectors.len());
        if expected == got {
            return Ok(());
        }
        Err(Error::Length {
            what: format!("vectors of panel {:?}", self.label),
            expected,
            got,
        })
    }

    /// Pairs of position and vector that can be drawn.
    fn usable(&self) -> impl Iterator<Item = (&[f64; 2], &[f64; 2])> {
        self.positions
            .iter()
            .zip(&self.vectors)
            .filter(|(at, vector)| placeable(at) && placeable(vector))
    }

    fn missing(&self) -> usize {
        self.positions.len() - self.usable().count()
    }

    fn lengths(&self) -> impl Iterator<Item = f64> + '_ {
        self.usable().map(|(_, vector)| length(*vector))
    }

    fn draw(&self, drawing: &mut Drawing, plane: Plane, top: f64) {
        let area = plane.area;
        let shown = self
            .usable()
            .filter(|(at, _)| !plane.visible(&[**at]).is_empty())
            .count();
        // The distance of neighbours, if they stood in a square grid over the panel.
        let reach = (area.width * area.height / shown.max(1) as f64)
            .sqrt()
            .clamp(4.0, 60.0);
        for (at, vector) in self.usable().filter(|(at, _)| !plane.visible(&[**at]).is_empty()) {
            let part = length(*vector) / top;
            let [x, y] = plane.place(*at);
            let (dx, dy) = (vector[0] / top * reach, -vector[1] / top * reach);
            let tip = [x + dx, y + dy];
            let head = (0.35 * part * reach).clamp(0.0, 7.0);
            let shaft = [vec![[x, y], tip], barbs(tip, [dx, dy], head)];
            for stroke in shaft {
                for piece in line::inside(stroke.into_iter(), area) {
                    drawing.path(piece, 1.3, viridis(part), 1.0);
                }
            }
        }
    }
}

/// The two strokes of an arrow's head, 25° to either side.
fn barbs(tip: [f64; 2], [dx, dy]: [f64; 2], head: f64) -> Vec<[f64; 2]> {
    const COS: f64 = 0.906_307_787;
    const SIN: f64 = 0.422_618_262;
    let norm = length([dx, dy]);
    if norm <= 0.0 || head <= 0.5 {
        return Vec::new();
    }
    let (ux, uy) = (dx / norm * head, dy / norm * head);
    vec![
        [tip[0] - ux * COS + uy * SIN, tip[1] - uy * COS - ux * SIN],
        tip,
        [tip[0] - ux * COS - uy * SIN, tip[1] - uy * COS + ux * SIN],
    ]
}

fn length([x, y]: [f64; 2]) -> f64 {
    (x * x + y * y).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn barbs_lie_behind_the_tip_and_mirror_each_other() {
        let strokes = barbs([10.0, 0.0], [5.0, 0.0], 2.0);
        assert!(strokes[0][0] < 10.0 && strokes[2][0] < 10.0);
        assert!((strokes[0][1] + strokes[2][1]).abs() < 1e-12);
        assert!((length([strokes[0][0] - 10.0, strokes[0][1]]) - 2.0).abs() < 1e-6);
    }
}
