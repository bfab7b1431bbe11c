//! One curve of a picture: how it is drawn, and how it is smoothed.

use crate::drawing::Drawing;
use crate::line;
use crate::panels::Plane;
use crate::style::Color;

/// A named curve, and the panel that it stands in.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    pub(crate) label: String,
    pub(crate) panel: usize,
    pub(crate) points: Vec<[f64; 2]>,
    pub(crate) look: Look,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Line,
    Marked,
    Smoothed(usize),
}

impl Curve {
    pub(crate) fn draw(&self, drawing: &mut Drawing, plane: Plane, color: Color) {
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
}
