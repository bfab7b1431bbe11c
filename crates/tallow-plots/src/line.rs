//! Lines on their way to the page: cut at the panel's edge, broken where a value is missing, thinned.

use crate::drawing::Area;

/// The parts of the line through `points` that lie inside `area`; a non-finite point interrupts it.
///
/// A lone point comes back twice, so that a round cap shows it.
pub(crate) fn inside(points: impl Iterator<Item = [f64; 2]>, area: Area) -> Vec<Vec<[f64; 2]>> {
    let mut parts: Vec<Vec<[f64; 2]>> = Vec::new();
    let mut last: Option<[f64; 2]> = None;
    for point in points {
        if !point.iter().all(|c| c.is_finite()) {
            last = None;
            continue;
        }
        if let Some((from, to)) = cut(last.unwrap_or(point), point, area) {
            match parts.last_mut() {
                Some(part) if last.is_some() && part.last() == Some(&from) => {
                    // The start of a line came twice, for it might have been a lone point.
                    if part.len() == 2 && part[0] == part[1] {
                        part.pop();
                    }
                    part.push(to);
                }
                _ => parts.push(vec![from, to]),
            }
        }
        last = Some(point);
    }
    parts.into_iter().map(thinned).collect()
}

/// The part of a segment inside `area`. Source: Liang & Barsky 1984, "A new concept and method for line clipping".
fn cut(from: [f64; 2], to: [f64; 2], area: Area) -> Option<([f64; 2], [f64; 2])> {
    let (low, high) = ([area.left, area.top], [area.right(), area.bottom()]);
    let along = [to[0] - from[0], to[1] - from[1]];
    let (mut enter, mut leave) = (0.0f64, 1.0f64);
    for axis in 0..2 {
        if along[axis] == 0.0 {
            if from[axis] < low[axis] || from[axis] > high[axis] {
                return None;
            }
            continue;
        }
        let a = (low[axis] - from[axis]) / along[axis];
        let b = (high[axis] - from[axis]) / along[axis];
        enter = enter.max(a.min(b));
        leave = leave.min(a.max(b));
    }
    if enter > leave {
        return None;
    }
    let at = |part: f64| {
        let along_axis = |axis: usize| (from[axis] + part * along[axis]).clamp(low[axis], high[axis]);
        [along_axis(0), along_axis(1)]
    };
    // The ends themselves stay exact, so that neighbouring segments join.
    Some((
        if enter > 0.0 { at(enter) } else { from },
        if leave < 1.0 { at(leave) } else { to },
    ))
}

/// Keeps, of every run of points within one quarter of a pixel's width, the first, lowest, highest and last.
fn thinned(points: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    if points.len() < 1_000 {
        return points;
    }
    let column = |p: &[f64; 2]| (p[0] * 4.0).floor();
    let mut kept = Vec::new();
    for run in points.chunk_by(|a, b| column(a) == column(b)) {
        let by_height = |a: &&[f64; 2], b: &&[f64; 2]| a[1].total_cmp(&b[1]);
        let lowest = run.iter().min_by(by_height);
        let highest = run.iter().max_by(by_height);
        kept.extend(run.first());
        if run.len() > 2 {
            kept.extend(lowest.into_iter().chain(highest));
        }
        if run.len() > 1 {
            kept.extend(run.last());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const PANEL: Area = Area {
        left: 0.0,
        top: 0.0,
        width: 10.0,
        height: 10.0,
    };

    #[test]
    fn a_line_through_the_panel_is_cut_at_its_edges() {
        let parts = inside([[-5.0, 5.0], [15.0, 5.0]].into_iter(), PANEL);
        assert_eq!(parts, [[[0.0, 5.0], [10.0, 5.0]]]);
    }

    #[test]
    fn a_line_that_leaves_and_returns_is_two() {
        let parts = inside(
            [[5.0, 5.0], [5.0, 20.0], [8.0, 20.0], [8.0, 5.0]].into_iter(),
            PANEL,
        );
        assert_eq!(parts, [[[5.0, 5.0], [5.0, 10.0]], [[8.0, 10.0], [8.0, 5.0]]]);
    }

    #[test]
    fn a_missing_value_leaves_a_gap() {
        let line = [[1.0, 1.0], [2.0, 1.0], [3.0, f64::NAN], [4.0, 1.0], [5.0, 1.0]];
        let parts = inside(line.into_iter(), PANEL);
        assert_eq!(parts.len(), 2, "{parts:?}");
        assert_eq!(parts[1].last(), Some(&[5.0, 1.0]));
    }

    #[test]
    fn thinning_keeps_every_extreme() {
        let mut line: Vec<[f64; 2]> = (0..100_000).map(|i| [f64::from(i) * 1e-4, 5.0]).collect();
        line[77_777][1] = 0.5;
        let parts = inside(line.into_iter(), PANEL);
        assert!(parts[0].len() < 200, "{}", parts[0].len());
        assert!(parts[0].iter().any(|p| p[1] == 0.5));
    }
}
