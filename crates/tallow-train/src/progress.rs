//! A progress bar for training: loss, speed and the time left; on a terminal only.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on the terminal; nothing at all where standard error is not one.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    loss: Option<f64>,
}

/// The part of a running mean of the loss that one step makes up.
const SHARE: f64 = 0.02;

impl Progress {
    /// A bar of `steps` steps under a title.
    #[must_use]
    pub fn new(title: &str, steps: u64) -> Self {
        let bar = ProgressBar::new(steps);
        let template = "{prefix} {bar:32} {pos}/{len}  {msg}  {per_sec}  {eta} left";
        // The template is a constant that indicatif accepts; if it did not, its own style would do.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(title.to_owned());
        Self { bar, loss: None }
    }

    /// The same of a run that goes on after `step` steps, which do not count for its speed.
    #[must_use]
    pub fn starting_at(self, step: u64) -> Self {
        self.bar.set_position(step);
        self.bar.reset_eta();
        self
    }

    /// One more step, with its loss; one that is not finite is left out of the mean.
    pub fn step(&mut self, loss: f64) {
        if loss.is_finite() {
            let mean = self.loss.map_or(loss, |mean| mean + SHARE * (loss - mean));
            self.loss = Some(mean);
            self.bar.set_message(format!("loss {mean:.4}"));
        }
        self.bar.inc(1);
    }

    /// One more step of something that has no loss.
    pub fn tick(&self) {
        self.bar.inc(1);
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}
