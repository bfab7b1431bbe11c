//! What all pictures of points share: copies of the caller's, axes around them, a word about those that are lost.

use std::ops::Range;

use crate::Result;
use crate::axis::{Axis, Spacing, placeable};

/// Axes of equal units that hold what was asked for, or all `points`; the shorter is stretched to the panel's shape.
pub(crate) fn equal_axes<'p>(
    bounds: Option<&(Range<f64>, Range<f64>)>,
    points: impl Iterator<Item = &'p [f64; 2]> + Clone,
    (width, height): (f64, f64),
) -> Result<(Axis, Axis)> {
    let (x, y) = if let Some((x, y)) = bounds {
        (
            Axis::given("x", x, Spacing::Linear)?,
            Axis::given("y", y, Spacing::Linear)?,
        )
    } else {
        let unit = Axis {
            from: -1.0,
            to: 1.0,
            spacing: Spacing::Linear,
        };
        let usable = points.filter(|p| placeable(p));
        let around =
            |axis: usize| Axis::around(usable.clone().map(|p| p[axis]), Spacing::Linear).unwrap_or(unit);
        (around(0), around(1))
    };
    let unit = ((x.to - x.from) / width).max((y.to - y.from) / height);
    Ok((x.stretched(unit * width), y.stretched(unit * height)))
}

/// The title of a panel, with a word about points that cannot be shown.
pub(crate) fn counted(label: &str, missing: usize) -> String {
    match missing {
        0 => label.to_owned(),
        _ if label.is_empty() => format!("{missing} not finite"),
        _ => format!("{label} ({missing} not finite)"),
    }
}

/// How many of `points` cannot be placed on any axis.
pub(crate) fn missing(points: &[[f64; 2]]) -> usize {
    points.iter().filter(|p| !placeable(p)).count()
}

/// The caller's points in double precision.
pub(crate) fn owned<T: Copy + Into<f64>>(points: &[[T; 2]]) -> Vec<[f64; 2]> {
    points.iter().map(|p| p.map(Into::into)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_of_x_is_as_long_as_a_unit_of_y() {
        let points = [[0.0, 0.0], [10.0, 1.0]];
        let size = (300.0, 200.0);
        let (x, y) = equal_axes(None, points.iter(), size).unwrap();
        let (x_unit, y_unit) = (size.0 / (x.to - x.from), size.1 / (y.to - y.from));
        assert!((x_unit / y_unit - 1.0).abs() < 1e-12);
        assert!(x.from < 0.0 && x.to > 10.0 && y.from < 0.0 && y.to > 1.0);
    }
}
