//! Samples on their way, as a GIF.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use gif::{DisposalMethod, Frame};

use crate::drawing::Drawing;
use crate::gif_file::{self, GifWriter, Looping, centiseconds, side};
use crate::palette::Palette;
use crate::panels::Panels;
use crate::points::{counted, equal_axes, missing, owned};
use crate::scatter::cloud;
use crate::style::Style;
use crate::{Error, Result};

/// Shows a cloud frame by frame on fixed axes, each frame with its own title.
///
/// All frames share one palette, and each stores only the rectangle that changed.
///
/// ```no_run
/// # use tallow_plots::Animation;
/// # let states: Vec<(f64, Vec<[f32; 2]>)> = Vec::new();
/// let mut animation = Animation::new().bounds(-2.5..2.5, -2.5..2.5);
/// for (t, points) in &states {
///     animation = animation.frame(format!("t = {t:.2}"), points);
/// }
/// animation.save("sampling.gif")?;
/// # Ok::<(), tallow_plots::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Animation {
    frames: Vec<(String, Vec<[f64; 2]>)>,
    backdrop: Vec<[f64; 2]>,
    bounds: Option<(Range<f64>, Range<f64>)>,
    delay: Duration,
    hold: Duration,
    looping: Looping,
    style: Style,
}

impl Default for Animation {
    fn default() -> Self {
        Self::new()
    }
}

impl Animation {
    /// An animation without frames yet: 60 ms a frame, the last held for 1.5 s, played again and again.
    #[must_use]
    pub fn new() -> Self {
        Self {
            frames: Vec::new(),
            backdrop: Vec::new(),
            bounds: None,
            delay: Duration::from_millis(60),
            hold: Duration::from_millis(1500),
            looping: Looping::Forever,
            style: Style::default(),
        }
    }

    /// Adds a frame; points that are not finite are counted in its title.
    #[must_use]
    pub fn frame<T: Copy + Into<f64>>(mut self, title: impl Into<String>, points: &[[T; 2]]) -> Self {
        self.frames.push((title.into(), owned(points)));
        self
    }

    /// Shows `points`, such as the data, faintly behind every frame.
    #[must_use]
    pub fn backdrop<T: Copy + Into<f64>>(mut self, points: &[[T; 2]]) -> Self {
        self.backdrop = owned(points);
        self
    }

    /// Shows at least these ranges; by default the axes hold every point of every frame.
    #[must_use]
    pub fn bounds(mut self, x: Range<f64>, y: Range<f64>) -> Self {
        self.bounds = Some((x, y));
        self
    }

    /// Sets how long a frame stays, from 10 ms to 60 s; the format counts in hundredths of a second.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sets how long the last frame stays, from 10 ms to 60 s.
    #[must_use]
    pub fn hold_last(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// Sets whether the animation starts again.
    #[must_use]
    pub fn looping(mut self, looping: Looping) -> Self {
        self.looping = looping;
        self
    }

    /// Sets theme, size and dots.
    #[must_use]
    pub fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    /// The bytes of the GIF file.
    ///
    /// # Errors
    ///
    /// When there is no frame, or delays, bounds or sizes cannot be drawn.
    pub fn to_gif(&self) -> Result<Vec<u8>> {
        if self.frames.is_empty() {
            return Err(Error::Empty {
                picture: "an animation",
                missing: "frame",
            });
        }
        let delays = [
            centiseconds("the delay", self.delay)?,
            centiseconds("the hold", self.hold)?,
        ];
        let theme = self.style.theme();
        let palette = Palette::new(
            theme.background(),
            theme.ink(),
            [theme.category(0), theme.category(7)],
        );
        let panels = self.panels()?;
        let first = self.drawing(&panels, 0)?;
        let (width, height) = (side(first.width())?, side(first.height())?);
        let mut writer = GifWriter::new((width, height), &palette.bytes(), self.looping)?;
        let mut shown: Vec<u8> = Vec::new();
        for index in 0..self.frames.len() {
            let indices = palette.indices(&self.drawing(&panels, index)?.to_rgb());
            let last = index + 1 == self.frames.len();
            let mut frame = changed(&shown, &indices, width);
            frame.delay = delays[usize::from(last)];
            writer.write(&frame)?;
            shown = indices;
        }
        writer.finish()
    }

    /// Writes the animation as `.gif`.
    ///
    /// # Errors
    ///
    /// When the path ends otherwise, the folder cannot be written, or [`Animation::to_gif`] refuses.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        gif_file::save(path.as_ref(), || self.to_gif())
    }

    fn panels(&self) -> Result<Panels<'_>> {
        let usual = (320, 320);
        let points = self
            .frames
            .iter()
            .flat_map(|(_, points)| points)
            .chain(&self.backdrop);
        Ok(Panels {
            style: self.style,
            title: "",
            labels: Vec::new(),
            usual,
            axes: equal_axes(self.bounds.as_ref(), points, self.style.panel_or(usual)?)?,
            axis_labels: ("", ""),
            header: 0.0,
            bar: None,
        })
    }

    fn drawing(&self, panels: &Panels<'_>, index: usize) -> Result<Drawing> {
        let (title, points) = &self.frames[index];
        // A blank keeps the room of a title, so that frames with and without one are of one size.
        let title = if title.is_empty() { " " } else { title };
        let frame = Panels {
            labels: vec![counted(title, missing(points))],
            ..*panels
        };
        let (mut drawing, planes) = frame.lay()?;
        for plane in planes {
            let theme = self.style.theme();
            let behind = theme.background().towards(theme.category(7), 0.35);
            let count = self.backdrop.len();
            cloud(&mut drawing, plane, &self.backdrop, self.style, (count, behind))?;
            cloud(
                &mut drawing,
                plane,
                points,
                self.style,
                (points.len(), theme.category(0)),
            )?;
        }
        Ok(drawing)
    }
}

/// The smallest rectangle of `now` that differs from `before`; all of it when nothing was shown yet.
fn changed(before: &[u8], now: &[u8], width: u16) -> Frame<'static> {
    let columns = usize::from(width.max(1));
    let differs = |index: &usize| before.get(*index) != now.get(*index);
    let all: Vec<usize> = (0..now.len()).filter(differs).collect();
    let xs = || all.iter().map(|index| index % columns);
    let (left, right) = (xs().min().unwrap_or(0), xs().max().unwrap_or(0));
    let top = all.first().map_or(0, |index| index / columns);
    let bottom = all.last().map_or(0, |index| index / columns);
    let buffer: Vec<u8> = (top..=bottom)
        .flat_map(|y| now[y * columns + left..=y * columns + right].iter().copied())
        .collect();
    Frame {
        left: left as u16,
        top: top as u16,
        width: (right - left + 1) as u16,
        height: (bottom - top + 1) as u16,
        dispose: DisposalMethod::Keep,
        buffer: Cow::Owned(buffer),
        ..Frame::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_stored() {
        let before = vec![0; 12];
        let mut now = before.clone();
        (now[5], now[10]) = (1, 2);
        let frame = changed(&before, &now, 4);
        assert_eq!((frame.left, frame.top, frame.width, frame.height), (1, 1, 2, 2));
        assert_eq!(*frame.buffer, [1, 0, 0, 2]);
        let still = changed(&now, &now, 4);
        assert_eq!((still.width, still.height), (1, 1));
        assert_eq!(changed(&[], &now, 4).buffer.len(), 12);
    }

    #[test]
    fn delays_outside_of_the_format_are_refused() {
        for delay in [Duration::ZERO, Duration::from_secs(3600)] {
            let animation = Animation::new().frame("", &[[0.0, 0.0]]).delay(delay);
            assert!(matches!(animation.to_gif(), Err(Error::Parameter { .. })));
        }
    }
}
