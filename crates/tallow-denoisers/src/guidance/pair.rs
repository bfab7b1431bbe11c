//! Where the two estimates of a guidance come from: two denoisers, or one network asked twice in one batch.

use candle_core::Tensor;
use tallow_schedules::NoiseLevel;

use crate::{Condition, Denoiser, Estimate, Levels, Network, Parameterized, Result};

/// Two models of the same data.
pub trait Pair {
    /// The estimates of both at `x`, (B, …): the one to follow, and the one to move away from.
    ///
    /// # Errors
    ///
    /// When a model fails.
    fn both(&self, x: &Tensor, at: Levels<'_>) -> Result<(Estimate, Estimate)>;

    /// The estimate of the one to follow alone.
    ///
    /// # Errors
    ///
    /// When the model fails.
    fn main(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate>;

    /// Network evaluations of both.
    fn cost(&self, at: NoiseLevel) -> usize;

    /// Network evaluations of the one to follow.
    fn cost_of_main(&self, at: NoiseLevel) -> usize;

    /// The same models for one run, where one of them remembers something ([`Denoiser::begin`]).
    fn begin<'s>(&'s self) -> Option<Box<dyn Pair + 's>> {
        None
    }
}

impl<P: Pair + ?Sized> Pair for &P {
    fn both(&self, x: &Tensor, at: Levels<'_>) -> Result<(Estimate, Estimate)> {
        (**self).both(x, at)
    }

    fn main(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        (**self).main(x, at)
    }

    fn cost(&self, at: NoiseLevel) -> usize {
        (**self).cost(at)
    }

    fn cost_of_main(&self, at: NoiseLevel) -> usize {
        (**self).cost_of_main(at)
    }

    fn begin<'s>(&'s self) -> Option<Box<dyn Pair + 's>> {
        (**self).begin()
    }
}

/// Two denoisers, evaluated one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Separate<D, E> {
    main: D,
    other: E,
}

impl<D: Denoiser, E: Denoiser> Separate<D, E> {
    /// The one to follow, and the one to move away from.
    pub fn new(main: D, other: E) -> Self {
        Self { main, other }
    }
}

impl<D: Denoiser, E: Denoiser> Pair for Separate<D, E> {
    fn both(&self, x: &Tensor, at: Levels<'_>) -> Result<(Estimate, Estimate)> {
        Ok((self.main.estimate(x, at)?, self.other.estimate(x, at)?))
    }

    fn main(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        self.main.estimate(x, at)
    }

    fn cost(&self, at: NoiseLevel) -> usize {
        self.main.cost(at) + self.other.cost(at)
    }

    fn cost_of_main(&self, at: NoiseLevel) -> usize {
        self.main.cost(at)
    }

    fn begin<'s>(&'s self) -> Option<Box<dyn Pair + 's>> {
        let (main, other) = (self.main.begin(), self.other.begin());
        if main.is_none() && other.is_none() {
            return None;
        }
        Some(Box::new(Separate {
            main: main.unwrap_or_else(|| Box::new(&self.main)),
            other: other.unwrap_or_else(|| Box::new(&self.other)),
        }))
    }
}

/// One network under two conditions, in one call on a doubled batch.
#[derive(Clone, Debug)]
pub struct Batched<N> {
    model: Parameterized<N>,
    condition: Condition,
    stacked: Condition,
}

impl<N: Network> Batched<N> {
    /// The condition to follow, and the one to move away from.
    ///
    /// # Errors
    ///
    /// When `null` lacks a name of `condition`, or two tensors do not join.
    pub fn new(model: Parameterized<N>, condition: Condition, null: &Condition) -> Result<Self> {
        let stacked = condition.stacked(null)?;
        Ok(Self {
            model,
            condition,
            stacked,
        })
    }
}

impl<N: Network> Pair for Batched<N> {
    fn both(&self, x: &Tensor, at: Levels<'_>) -> Result<(Estimate, Estimate)> {
        let twice = Tensor::cat(&[x, x], 0)?;
        let rows = x.dim(0)?;
        let estimate = match at {
            Levels::Shared(_) => self.model.estimate_under(&self.stacked, &twice, at)?,
            Levels::PerRow(levels) => {
                at.check_rows(rows)?;
                let levels = levels.repeat(2);
                self.model
                    .estimate_under(&self.stacked, &twice, Levels::PerRow(&levels))?
            }
        };
        Ok((estimate.rows(0, rows)?, estimate.rows(rows, rows)?))
    }

    fn main(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        self.model.estimate_under(&self.condition, x, at)
    }

    fn cost(&self, _at: NoiseLevel) -> usize {
        2
    }

    fn cost_of_main(&self, _at: NoiseLevel) -> usize {
        1
    }
}
