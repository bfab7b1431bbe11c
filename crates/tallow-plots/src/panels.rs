//! Panels in rows: frames of one size on shared axes, titles above, ticks at the outer edges, a colour bar beside.

use crate::axis::{Axis, Spacing, Tick, plottable};
use crate::drawing::{Anchor, Area, Drawing};
use crate::style::{Style, viridis};
use crate::{Result, font};

/// Type sizes, in pixels per em.
pub(crate) const TITLE: f64 = 16.0;
pub(crate) const LABEL: f64 = 13.0;
pub(crate) const TICK: f64 = 12.0;

/// Space around the page.
const MARGIN: f64 = 12.0;
const BAR: f64 = 14.0;

/// What stands around the panels of a picture.
#[derive(Debug)]
pub(crate) struct Panels<'a> {
    pub(crate) style: Style,
    pub(crate) title: &'a str,
    /// One for each panel; empty ones take no room if all are.
    pub(crate) labels: Vec<String>,
    /// Width and height of a panel where the style names none.
    pub(crate) usual: (u32, u32),
    pub(crate) axes: (Axis, Axis),
    pub(crate) axis_labels: (&'a str, &'a str),
    /// Height kept free under the title, for a legend.
    pub(crate) header: f64,
    pub(crate) bar: Option<Bar<'a>>,
}

/// A scale of colours: which values viridis runs over, and what they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bar<'a> {
    pub(crate) axis: Axis,
    pub(crate) label: &'a str,
}

impl<'a> Bar<'a> {
    /// From zero to `top`.
    pub(crate) fn up_to(top: f64, label: &'a str) -> Self {
        Self {
            axis: Axis {
                from: 0.0,
                to: top,
                spacing: Spacing::Linear,
            },
            label,
        }
    }
}

/// One panel on the page, with its axes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plane {
    pub(crate) area: Area,
    axes: (Axis, Axis),
}

impl Plane {
    /// Where a point lies on the page; NaN where an axis cannot show it.
    pub(crate) fn place(self, point: [f64; 2]) -> [f64; 2] {
        let [x, y] = point.map(|c| if plottable(c) { c } else { f64::NAN });
        let (u, v) = (self.axes.0.fraction(x), self.axes.1.fraction(y));
        [
            self.area.left + u * self.area.width,
            self.area.bottom() - v * self.area.height,
        ]
    }

    /// Where those of `points` lie that are inside of the panel.
    pub(crate) fn visible(self, points: &[[f64; 2]]) -> Vec<[f32; 2]> {
        let area = self.area;
        let inside = |[x, y]: &[f64; 2]| {
            (area.left..=area.right()).contains(x) && (area.top..=area.bottom()).contains(y)
        };
        points
            .iter()
            .map(|p| self.place(*p))
            .filter(inside)
            .map(|p| p.map(|c| c as f32))
            .collect()
    }
}

/// The largest of three sizes at which `text` fits, and as much of it as does.
pub(crate) fn fitted(text: &str, size: f64, room: f64) -> (String, f64) {
    let sizes = [size, size - 1.5, size - 3.0].map(|s| s.max(TICK));
    let fits = sizes
        .into_iter()
        .find(|s| font::width(text, *s) <= room)
        .unwrap_or(sizes[2]);
    (font::fit(text, fits, room), fits)
}

/// Where the panels of a page stand.
#[derive(Clone, Copy, Debug)]
struct Sheet {
    /// All panels together.
    whole: Area,
    /// One panel.
    size: (f64, f64),
    /// From one panel to the next, across and down.
    step: (f64, f64),
    page: (f64, f64),
}

impl Sheet {
    fn panel(&self, column: usize, row: usize) -> Area {
        let (left, top) = (
            self.whole.left + column as f64 * self.step.0,
            self.whole.top + row as f64 * self.step.1,
        );
        Area {
            left,
            top,
            width: self.size.0,
            height: self.size.1,
        }
    }
}

/// The widest label of `ticks`.
fn widest(ticks: &[Tick]) -> f64 {
    ticks
        .iter()
        .map(|tick| font::width(&tick.label, TICK))
        .fold(0.0, f64::max)
}

impl Panels<'_> {
    /// Draws everything but the data, and says where the data go.
    pub(crate) fn lay(&self) -> Result<(Drawing, Vec<Plane>)> {
        let (width, height) = self.style.panel_or(self.usual)?;
        let columns = self.style.columns_of(self.labels.len(), 4)?;
        let upright = |axis: Axis| axis.ticks((height / 48.0) as usize + 1);
        let ticks = (fitting(self.axes.0, width), upright(self.axes.1));
        let bar_ticks = self.bar.map(|bar| upright(bar.axis)).unwrap_or_default();
        let sheet = self.measure((width, height), columns, &ticks, &bar_ticks);

        let mut drawing = Drawing::new(sheet.page.0, sheet.page.1, self.title, self.style)?;
        let mut planes = Vec::with_capacity(self.labels.len());
        for (index, label) in self.labels.iter().enumerate() {
            let area = sheet.panel(index % columns, index / columns);
            let plane = Plane {
                area,
                axes: self.axes,
            };
            let outer = (index + columns >= self.labels.len(), index % columns == 0);
            self.frame(&mut drawing, plane, label, &ticks, outer);
            planes.push(plane);
        }
        self.titles(&mut drawing, sheet.whole);
        if let Some(bar) = self.bar {
            self.scale_of_colours(&mut drawing, sheet.whole, bar, &bar_ticks);
        }
        Ok((drawing, planes))
    }

    /// Where panels of `size` stand, so that all that is written around them has room.
    fn measure(
        &self,
        (width, height): (f64, f64),
        columns: usize,
        ticks: &(Vec<Tick>, Vec<Tick>),
        bar_ticks: &[Tick],
    ) -> Sheet {
        let rows = self.labels.len().div_ceil(columns);
        let (x_room, y_room) = (widest(&ticks.0), widest(&ticks.1));
        let room = |label: &str, room: f64| if label.is_empty() { 0.0 } else { room };
        let label_height = room(&self.labels.concat(), 22.0);
        let step = (
            (width + 18f64.max(x_room + 8.0)).ceil(),
            height + 12.0 + label_height,
        );
        let right = match self.bar {
            Some(bar) => 16.0 + BAR + 8.0 + widest(bar_ticks) + room(bar.label, 20.0) + MARGIN,
            None => MARGIN.max(x_room / 2.0 + 4.0),
        };
        let bottom = 22.0 + room(self.axis_labels.0, 20.0) + MARGIN - 4.0;
        let whole = Area {
            left: (MARGIN + room(self.axis_labels.1, 20.0) + y_room + 8.0).ceil(),
            top: MARGIN + room(self.title, 26.0) + self.header + label_height,
            width: step.0 * (columns as f64 - 1.0) + width,
            height: step.1 * (rows as f64 - 1.0) + height,
        };
        Sheet {
            whole,
            size: (width, height),
            step,
            page: (whole.right() + right, whole.bottom() + bottom),
        }
    }

    /// The title above and the labels of both axes, centred on the panels.
    fn titles(&self, drawing: &mut Drawing, whole: Area) {
        let ink = self.style.theme().ink();
        let [middle, half_way] = whole.middle();
        let (title, size) = fitted(self.title, TITLE, f64::from(drawing.width) - 2.0 * MARGIN);
        // A title wider than the panels is centred on the page.
        let over = if font::width(&title, size) <= whole.width {
            middle
        } else {
            f64::from(drawing.width) / 2.0
        };
        drawing.text([over, MARGIN + TITLE - 2.0], &title, size, ink, Anchor::Middle);
        let (x_label, size) = fitted(self.axis_labels.0, LABEL, f64::from(drawing.width) - 2.0 * MARGIN);
        drawing.text(
            [middle, f64::from(drawing.height) - MARGIN],
            &x_label,
            size,
            ink,
            Anchor::Middle,
        );
        let (y_label, size) = fitted(
            self.axis_labels.1,
            LABEL,
            f64::from(drawing.height) - 2.0 * MARGIN,
        );
        drawing.upward([MARGIN + 10.0, half_way], &y_label, size, ink);
    }

    /// Frame, grid lines and title of one panel; tick labels only `outer`: at the foot, at the left.
    fn frame(
        &self,
        drawing: &mut Drawing,
        plane: Plane,
        label: &str,
        ticks: &(Vec<Tick>, Vec<Tick>),
        outer: (bool, bool),
    ) {
        let theme = self.style.theme();
        let area = plane.area;
        // Hairlines lie in the middle of pixels.
        let crisp = |v: f64| v.floor() + 0.5;
        for tick in &ticks.0 {
            let x = crisp(area.left + plane.axes.0.fraction(tick.value) * area.width);
            drawing.path(vec![[x, area.top], [x, area.bottom()]], 1.0, theme.grid(), 1.0);
            if outer.0 {
                let at = [x, area.bottom() + 16.0];
                drawing.text(at, &tick.label, TICK, theme.ink(), Anchor::Middle);
            }
        }
        for tick in &ticks.1 {
            let y = crisp(area.bottom() - plane.axes.1.fraction(tick.value) * area.height);
            drawing.path(vec![[area.left, y], [area.right(), y]], 1.0, theme.grid(), 1.0);
            if outer.1 {
                drawing.text(
                    [area.left - 6.0, y + 4.5],
                    &tick.label,
                    TICK,
                    theme.ink(),
                    Anchor::End,
                );
            }
        }
        outline(drawing, area, self.style);
        let (label, size) = fitted(label, LABEL, area.width);
        drawing.text(
            [area.middle()[0], area.top - 7.0],
            &label,
            size,
            theme.ink(),
            Anchor::Middle,
        );
    }

    fn scale_of_colours(&self, drawing: &mut Drawing, whole: Area, bar: Bar<'_>, ticks: &[Tick]) {
        let ink = self.style.theme().ink();
        let area = Area {
            left: whole.right() + 16.0,
            width: BAR,
            ..whole
        };
        let pixels = (0..256).rev().map(|i| viridis(f64::from(i) / 255.0)).collect();
        drawing.shapes.push(crate::drawing::Shape::Image {
            area,
            columns: 1,
            pixels,
        });
        outline(drawing, area, self.style);
        for tick in ticks {
            let y = area.bottom() - bar.axis.fraction(tick.value) * area.height;
            drawing.text(
                [area.right() + 6.0, y + 4.5],
                &tick.label,
                TICK,
                ink,
                Anchor::Start,
            );
        }
        let (label, size) = fitted(bar.label, LABEL, f64::from(drawing.height) - 2.0 * MARGIN);
        drawing.upward(
            [f64::from(drawing.width) - MARGIN, area.middle()[1]],
            &label,
            size,
            ink,
        );
    }
}

/// A thin frame around `area`.
pub(crate) fn outline(drawing: &mut Drawing, area: Area, style: Style) {
    let theme = style.theme();
    let color = theme.background().towards(theme.ink(), 0.55);
    let (left, top) = (area.left - 0.5, area.top - 0.5);
    let (right, bottom) = (area.right() + 0.5, area.bottom() + 0.5);
    let corners = vec![
        [left, top],
        [right, top],
        [right, bottom],
        [left, bottom],
        [left, top],
    ];
    drawing.path(corners, 1.0, color, 1.0);
}

/// As many ticks as leave a gap between their labels on `width` pixels.
fn fitting(axis: Axis, width: f64) -> Vec<Tick> {
    let mut count = (width / 55.0) as usize + 1;
    loop {
        let ticks = axis.ticks(count);
        let used: f64 = ticks.iter().map(|t| font::width(&t.label, TICK) + 14.0).sum();
        if count <= 1 || used <= width {
            return ticks;
        }
        count -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_ticks_keep_their_distance() {
        for (from, to) in [(0.0, 1e5), (-1e-9, 1e-9), (123_456.0, 123_457.0)] {
            for width in [40.0, 120.0, 300.0, 900.0] {
                let axis = Axis::given("x", &(from..to), Spacing::Linear).unwrap();
                let ticks = fitting(axis, width);
                let end = |t: &Tick, side: f64| {
                    axis.fraction(t.value) * width + side * font::width(&t.label, TICK) / 2.0
                };
                for pair in ticks.windows(2) {
                    assert!(
                        ticks.len() == 2 || end(&pair[0], 1.0) < end(&pair[1], -1.0),
                        "{from}..{to} on {width}"
                    );
                }
            }
        }
    }
}
