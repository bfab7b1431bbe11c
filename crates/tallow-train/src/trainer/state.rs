//! All that a run needs to go on, in a checkpoint and out of it.

use std::collections::BTreeMap;

use candle_core::Tensor;
use rand::RngCore;

use super::Trainer;
use crate::loss_file::LossFile;
use crate::{Checkpoint, Error, Part, Result};

/// Where a run goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "warnings tell of damaged checkpoints and lost rows"]
pub struct Resumed {
    /// How many steps had been made.
    pub step: u64,
    /// What was not as it should have been: newer checkpoints that are damaged, rows of the loss file that are gone.
    pub warnings: Vec<String>,
}

impl Trainer<'_> {
    /// Goes on from the newest checkpoint that is whole; nothing where there is none. The run is then the one that was saved,
    /// bit for bit, or, where there is an error, as it was.
    ///
    /// # Errors
    ///
    /// When the run has no checkpoints, none of those there can be read, the configuration was another, or the parts are not
    /// those that were saved.
    pub fn resume(&mut self) -> Result<Option<Resumed>> {
        let Some((checkpoints, _)) = &mut self.checkpoints else {
            return Err(Error::NoCheckpoints);
        };
        let Some(latest) = checkpoints.latest()? else {
            return Ok(None);
        };
        let mut resumed = self.restore(&latest.checkpoint)?;
        self.saved = Some(self.step);
        let skipped = latest.skipped.iter().map(ToString::to_string);
        resumed.warnings.splice(0..0, skipped);
        Ok(Some(resumed))
    }

    /// The state of the run, for a checkpoint.
    ///
    /// # Errors
    ///
    /// When a step failed half-way, or a tensor cannot be copied.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        self.state(self.parameters.detached().tensors().clone())
    }

    /// Takes up a state, and cuts the loss file back to it.
    ///
    /// # Errors
    ///
    /// When the configuration was another, or the parts are not those that were saved: the run is then as it was. When the loss
    /// file cannot be written: it then goes no step on before it is restored again.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<Resumed> {
        let differences = self.configuration.differences(checkpoint.configuration());
        if !differences.is_empty() {
            return Err(Error::OtherConfiguration { differences });
        }
        // A copy of the weights, which are restored in place. A run that is broken has nothing to go back to.
        let before = match self.broken {
            true => None,
            false => Some(self.state(self.parameters.snapshot()?)?),
        };
        self.take(checkpoint).inspect_err(|_| {
            // It came from these very parts.
            let back = before.map(|before| self.take(&before));
            self.broken = !matches!(back, Some(Ok(())));
        })?;
        let mut warnings = Vec::new();
        if let Some(losses) = &mut self.losses {
            // Until the file is at the same step, the run must not go on.
            self.broken = true;
            let bytes = checkpoint.part(RUN)?.number(RUN, "loss file bytes")?;
            warnings.extend(losses.resume(bytes)?);
        }
        self.broken = false;
        Ok(Resumed {
            step: self.step,
            warnings,
        })
    }

    fn state(&self, weights: BTreeMap<String, Tensor>) -> Result<Checkpoint> {
        if self.broken {
            return Err(Error::Broken { step: self.step });
        }
        let mut checkpoint = Checkpoint::new(self.step).with_configuration(self.configuration.clone());
        checkpoint.insert("weights", Part::of_tensors(weights))?;
        checkpoint.insert("optimizer", Part::of_tensors(self.optimizer.state()?))?;
        for (index, average) in self.averages.iter().enumerate() {
            checkpoint.insert(&average_name(index), average.state()?)?;
        }
        checkpoint.insert("objective", Part::of_tensors(self.objective.state()?))?;
        let data = Part {
            counts: self.data.position(),
            ..Part::default()
        };
        checkpoint.insert("data", data)?;
        let noise = Part::of_count("position", self.noise.position());
        checkpoint.insert("noise", noise.with_count("stream", self.stream()))?;
        checkpoint.insert(RUN, self.counters())?;
        Ok(checkpoint)
    }

    fn counters(&self) -> Part {
        let bytes = self.losses.as_ref().map_or(0, LossFile::bytes);
        let mut part = Part::of_count("skipped", self.skipped.into())
            .with_count("loss file bytes", bytes)
            .with_count("averages", self.averages.len() as u64);
        if let Some(precision) = &self.precision {
            part = part
                .with_count("loss scale exponent", precision.scale.exponent)
                .with_count("loss scale steady", precision.scale.steady);
        }
        for name in &self.audit.waiting {
            part = part.with_count(&format!("{WAITING}{name}"), 1_u64);
        }
        part
    }

    fn take(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let run = checkpoint.part(RUN)?;
        let averages = run.number(RUN, "averages")?;
        if averages != self.averages.len() as u64 {
            return Err(content(
                RUN,
                format!("has {averages} averages, this one has {}", self.averages.len()),
            ));
        }
        let noise = checkpoint.part("noise")?;
        if noise.number("noise", "stream")? != self.stream() {
            return Err(content("noise", "was drawn from another seed".to_owned()));
        }
        let Some(position) = noise.counts.get("position") else {
            return Err(content("noise", "has no position".to_owned()));
        };
        self.parameters.restore(&checkpoint.part("weights")?.tensors)?;
        self.optimizer.restore(&checkpoint.part("optimizer")?.tensors)?;
        for (index, average) in self.averages.iter_mut().enumerate() {
            average.restore(checkpoint.part(&average_name(index))?)?;
        }
        // An objective that keeps nothing has no part in a file.
        let nothing = Part::default();
        let learned = checkpoint.part("objective").unwrap_or(&nothing);
        self.objective.restore(&learned.tensors)?;
        self.data.seek(&checkpoint.part("data")?.counts)?;
        if let Some(precision) = &mut self.precision {
            precision.scale.exponent = run.number(RUN, "loss scale exponent")?.min(1023);
            precision.scale.steady = run.number(RUN, "loss scale steady")?;
        }
        self.skipped = run.number(RUN, "skipped")?;
        let waiting = run.counts.keys().filter_map(|name| name.strip_prefix(WAITING));
        self.audit.waiting = waiting.map(str::to_owned).collect();
        self.noise.seek(*position);
        self.step = checkpoint.step();
        Ok(())
    }

    /// The first number of the noise: tells generators of other seeds apart.
    fn stream(&self) -> u64 {
        let mut start = self.noise.clone();
        start.seek(0);
        start.next_u64()
    }
}

/// The part with the run's own counters.
const RUN: &str = "run";
/// Before the names of parameters that have seen no gradient yet.
const WAITING: &str = "waiting ";

fn average_name(index: usize) -> String {
    format!("average.{index}")
}

fn content(part: &str, problem: String) -> Error {
    Error::PartContent {
        part: part.to_owned(),
        problem,
    }
}
