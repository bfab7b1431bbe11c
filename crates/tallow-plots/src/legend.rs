//! The legend above a picture of curves: each name once, in rows that fit.

use crate::curve::{Curve, Look};
use crate::drawing::{Anchor, Area, Drawing};
use crate::font;
use crate::panels::{LABEL, TICK};
use crate::style::Theme;

/// Height of one row.
pub(crate) const ROW: f64 = 20.0;
/// Room for a stroke before its word, and for the gap after.
const SWATCH: f64 = 28.0;
const BETWEEN: f64 = 18.0;

/// The category of colour of every curve: curves of one name in different panels share theirs.
pub(crate) fn categories(curves: &[Curve]) -> Vec<usize> {
    let mut known: Vec<(usize, usize)> = Vec::with_capacity(curves.len());
    let mut next = 0;
    for (index, curve) in curves.iter().enumerate() {
        let same = known.iter().find(|(_, first)| {
            let first = &curves[*first];
            !curve.label.is_empty() && first.label == curve.label && first.panel != curve.panel
        });
        let category = same.map_or(next, |(category, _)| *category);
        next = next.max(category + 1);
        known.push((category, index));
    }
    known.into_iter().map(|(category, _)| category).collect()
}

/// Which curves the legend names, where each entry starts, row by row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Legend {
    rows: Vec<Vec<(f64, usize)>>,
}

impl Legend {
    /// Names every colour once, in rows of at most `width`.
    pub(crate) fn new(curves: &[Curve], categories: &[usize], width: f64) -> Self {
        let mut rows: Vec<Vec<(f64, usize)>> = Vec::new();
        let mut end = f64::INFINITY;
        for (index, curve) in curves.iter().enumerate() {
            if curve.label.is_empty() || categories[..index].contains(&categories[index]) {
                continue;
            }
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
        Self { rows }
    }

    /// The height that it takes.
    pub(crate) fn height(&self) -> f64 {
        self.rows.len() as f64 * ROW
    }

    /// Draws it in `area`, which has its height.
    pub(crate) fn draw(
        &self,
        drawing: &mut Drawing,
        area: Area,
        curves: &[Curve],
        categories: &[usize],
        theme: Theme,
    ) {
        for (row, entries) in self.rows.iter().enumerate() {
            let y = area.top + row as f64 * ROW + ROW / 2.0;
            for (start, index) in entries {
                let (x, curve) = (area.left + start, &curves[*index]);
                let color = theme.category(categories[*index]);
                drawing.path(vec![[x + 1.0, y], [x + SWATCH - 8.0, y]], 2.0, color, 1.0);
                if curve.look == Look::Marked {
                    let middle = [x + (SWATCH - 7.0) / 2.0, y];
                    drawing.path(vec![middle, middle], 6.0, color, 1.0);
                }
                let label = font::fit(&curve.label, LABEL, area.width - SWATCH);
                let at = [x + SWATCH, y + TICK * 0.37];
                drawing.text(at, &label, LABEL, theme.ink(), Anchor::Start);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(label: &str, panel: usize) -> Curve {
        Curve {
            label: label.to_owned(),
            panel,
            points: Vec::new(),
            look: Look::Line,
        }
    }

    #[test]
    fn legends_wrap_and_never_overlap() {
        let curves: Vec<Curve> = (0..12)
            .map(|i| curve(&format!("a solver named {i}"), 0))
            .collect();
        let legend = Legend::new(&curves, &categories(&curves), 400.0);
        assert!(legend.rows.len() > 1);
        assert_eq!(legend.rows.iter().map(Vec::len).sum::<usize>(), 12);
        for row in legend.rows {
            for pair in row.windows(2) {
                let end = pair[0].0 + SWATCH + font::width(&curves[pair[0].1].label, LABEL);
                assert!(end < pair[1].0);
            }
        }
    }

    #[test]
    fn a_name_keeps_its_colour_from_panel_to_panel_and_stands_in_the_legend_once() {
        let curves = [
            curve("a", 0),
            curve("b", 0),
            curve("b", 1),
            curve("c", 1),
            curve("", 1),
        ];
        let categories = categories(&curves);
        assert_eq!(categories, [0, 1, 1, 2, 3]);
        let legend = Legend::new(&curves, &categories, 400.0);
        assert_eq!(
            legend
                .rows
                .iter()
                .flatten()
                .map(|(_, index)| *index)
                .collect::<Vec<_>>(),
            [0, 1, 3]
        );
    }

    #[test]
    fn two_curves_of_one_name_in_one_panel_are_told_apart() {
        assert_eq!(categories(&[curve("a", 0), curve("a", 0)]), [0, 1]);
    }
}
