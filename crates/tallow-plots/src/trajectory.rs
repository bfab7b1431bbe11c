//! The ways that samples take, coloured by time.

use std::ops::Range;
use std::path::Path;

use crate::axis::{Axis, Spacing};
use crate::drawing::Drawing;
use crate::panels::{Bar, Panels, Plane};
use crate::points::{counted, equal_axes, missing, owned};
use crate::style::{Style, viridis};
use crate::{Error, Result, line};

/// Shows paths through the plane, coloured along the way; a dot marks where each ends.
#[derive(Clone, Debug)]
pub struct Trajectories {
    title: String,
    panels: Vec<(String, Vec<Vec<[f64; 2]>>)>,
    times: Option<Vec<f64>>,
    clock: String,
    bounds: Option<(Range<f64>, Range<f64>)>,
    style: Style,
}

impl Trajectories {
    /// A picture without panels yet.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            panels: Vec::new(),
            times: None,
            clock: "time".to_owned(),
            bounds: None,
            style: Style::default(),
        }
    }

    /// Adds a panel of paths, each the states of one sample in order.
    #[must_use]
    pub fn panel<T: Copy + Into<f64>, P: AsRef<[[T; 2]]>>(
        mut self,
        label: impl Into<String>,
        paths: &[P],
    ) -> Self {
        self.panels.push((
            label.into(),
            paths.iter().map(|path| owned(path.as_ref())).collect(),
        ));
        self
    }

    /// Adds a panel from the states of a batch, as a sampler visits them: `states[k][i]` is sample `i` after `k` steps.
    #[must_use]
    pub fn panel_of_states<T: Copy + Into<f64>, S: AsRef<[[T; 2]]>>(
        mut self,
        label: impl Into<String>,
        states: &[S],
    ) -> Self {
        let samples = states.iter().map(|batch| batch.as_ref().len()).max().unwrap_or(0);
        let mut paths = vec![Vec::with_capacity(states.len()); samples];
        for batch in states {
            for (path, point) in paths.iter_mut().zip(owned(batch.as_ref())) {
                path.push(point);
            }
        }
        self.panels.push((label.into(), paths));
        self
    }

    /// Sets the times at which every path's points stand; by default they are spread evenly over `[0, 1]`.
    #[must_use]
    pub fn times(mut self, times: &[f64]) -> Self {
        self.times = Some(times.to_vec());
        self
    }

    /// Names what the colour stands for, such as "steps"; by default "time".
    #[must_use]
    pub fn clock(mut self, label: impl Into<String>) -> Self {
        self.clock = label.into();
        self
    }

    /// Shows at least these ranges; by default the axes hold every point.
    #[must_use]
    pub fn bounds(mut self, x: Range<f64>, y: Range<f64>) -> Self {
        self.bounds = Some((x, y));
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
    /// When there is no panel, a path has not as many points as there are times, or bounds or sizes cannot be drawn.
    pub fn drawing(&self) -> Result<Drawing> {
        if self.panels.is_empty() {
            return Err(Error::Empty {
                picture: "a picture of trajectories",
                missing: "panel",
            });
        }
        self.check_times()?;
        let usual = (300, 300);
        let points = self.panels.iter().flat_map(|(_, paths)| paths.iter().flatten());
        let clock = self.axis_of_times();
        let lost = |paths: &[Vec<[f64; 2]>]| paths.iter().map(|path| missing(path)).sum();
        let panels = Panels {
            style: self.style,
            title: &self.title,
            labels: self
                .panels
                .iter()
                .map(|(label, paths)| counted(label, lost(paths)))
                .collect(),
            usual,
            axes: equal_axes(self.bounds.as_ref(), points, self.style.panel_or(usual)?)?,
            axis_labels: ("", ""),
            header: 0.0,
            bar: Some(Bar {
                axis: clock,
                label: &self.clock,
            }),
        };
        let (mut drawing, planes) = panels.lay()?;
        for ((_, paths), plane) in self.panels.iter().zip(planes) {
            for path in paths {
                self.draw(&mut drawing, plane, path, clock);
            }
        }
        Ok(drawing)
    }

    /// Writes the picture as `.png` or `.svg`.
    ///
    /// # Errors
    ///
    /// What [`Trajectories::drawing`] and [`Drawing::save`] refuse.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.drawing()?.save(path)
    }

    fn check_times(&self) -> Result<()> {
        let Some(times) = &self.times else { return Ok(()) };
        for (label, paths) in &self.panels {
            if let Some(path) = paths.iter().find(|path| path.len() != times.len()) {
                let what = format!("points of a path of panel {label:?}, one for each time");
                return Err(Error::Length {
                    what,
                    expected: times.len(),
                    got: path.len(),
                });
            }
        }
        Ok(())
    }

    /// From the earliest to the latest time.
    fn axis_of_times(&self) -> Axis {
        let unit = Axis {
            from: 0.0,
            to: 1.0,
            spacing: Spacing::Linear,
        };
        let Some(times) = &self.times else { return unit };
        let fold = |start: f64, pick: fn(f64, f64) -> f64| times.iter().copied().fold(start, pick);
        let range = fold(f64::INFINITY, f64::min)..fold(f64::NEG_INFINITY, f64::max);
        Axis::given("time", &range, Spacing::Linear).unwrap_or(unit)
    }

    fn draw(&self, drawing: &mut Drawing, plane: Plane, path: &[[f64; 2]], clock: Axis) {
        let last = path.len().saturating_sub(1).max(1) as f64;
        let moment = |k: usize| match &self.times {
            Some(times) => clock.fraction(times[k]),
            None => k as f64 / last,
        };
        for (k, pair) in path.windows(2).enumerate() {
            let color = viridis((moment(k) + moment(k + 1)) / 2.0);
            for part in line::inside(pair.iter().map(|p| plane.place(*p)), plane.area) {
                drawing.path(part, 1.2, color, 0.85);
            }
        }
        if let Some(end) = path.last() {
            for dot in line::inside(std::iter::once(plane.place(*end)), plane.area) {
                drawing.path(dot, 4.4, viridis(moment(path.len() - 1)), 1.0);
            }
        }
    }
}
