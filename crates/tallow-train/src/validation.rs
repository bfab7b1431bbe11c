//! The loss on data that training does not see.

use tallow_denoisers::{Dataset, Network, Seeded};
use tallow_nn::Parameters;
use tallow_objectives::Objective;

use crate::{Error, Result};

/// A validation at an interval: the mean loss over a number of batches, always of the same draws.
///
/// It has a generator of its own, so that training is the same with it and without; data, times and noise are drawn alike
/// each time, so that its values differ by the weights alone.
#[derive(Debug)]
pub struct Validation<'a> {
    data: Box<dyn Dataset + 'a>,
    rows: usize,
    batches: usize,
    every: u64,
    seed: u64,
    network: Option<Networked<'a>>,
}

/// The stream of a seed that validations draw from; training takes lower ones.
const STREAM: u64 = 1 << 32;

impl<'a> Validation<'a> {
    /// One batch of `rows` draws from `data`, after every `every` steps.
    ///
    /// # Errors
    ///
    /// When `rows` or `every` is 0.
    pub fn new(data: impl Dataset + 'a, rows: usize, every: u64) -> Result<Self> {
        positive("rows", rows as u64)?;
        positive("every", every)?;
        Ok(Self {
            data: Box::new(data),
            rows,
            batches: 1,
            every,
            seed: 0,
            network: None,
        })
    }

    /// The same over `batches` batches.
    ///
    /// # Errors
    ///
    /// When `batches` is 0.
    pub fn with_batches(mut self, batches: usize) -> Result<Self> {
        positive("batches", batches as u64)?;
        self.batches = batches;
        Ok(self)
    }

    /// The same with another seed of data, times and noise.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The same of another network than the one that is trained: one built from the view of an average.
    #[must_use]
    pub fn of(mut self, network: &'a dyn Network) -> Self {
        self.network = Some(Networked(network));
        self
    }

    /// The mean loss, if one is due after `step` steps.
    pub(crate) fn after(
        &self,
        step: u64,
        network: &dyn Network,
        objective: &dyn Objective,
        parameters: &Parameters,
    ) -> Result<Option<f64>> {
        if !step.is_multiple_of(self.every) {
            return Ok(None);
        }
        let network = self.network.as_ref().map_or(network, |own| own.0);
        let mut rng = Seeded::stream(self.seed, STREAM);
        let mut sum = 0.0;
        for _ in 0..self.batches {
            let batch = self.data.draw(self.rows, &mut rng)?;
            let batch = batch.to(parameters.device(), parameters.dtype())?;
            let loss = objective.loss(network, &batch, &mut rng)?.mean;
            sum += loss.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
        }
        Ok(Some(sum / self.batches as f64))
    }
}

struct Networked<'a>(&'a dyn Network);

impl std::fmt::Debug for Networked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("network")
    }
}

fn positive(name: &'static str, value: u64) -> Result<()> {
    if value > 0 {
        return Ok(());
    }
    Err(Error::Parameter {
        owner: "Validation",
        name,
        value: 0.0,
        allowed: "at least 1",
    })
}
