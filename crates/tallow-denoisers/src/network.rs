//! A network as the rest of the library sees it: one call with x, the times and the condition.

use std::cell::OnceCell;
use std::sync::Arc;

use candle_core::Tensor;

use crate::{Condition, Error, Result};

/// What a network is called with. Fields are added as models come to need them.
#[derive(Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// The state, (B, …), scaled as the parameterization says.
    pub x: &'a Tensor,
    /// The time of each row in the network's own units, on the host: a network that wants the number needs no device sync.
    pub times: &'a [f64],
    /// What the model is told besides.
    pub condition: &'a Condition,
    /// Where an average velocity ends, for models of it; one time for each row.
    pub end_times: Option<&'a [f64]>,
    /// The model's own last estimate of the data, for self-conditioning; shaped like x.
    pub self_condition: Option<&'a Tensor>,
    time: OnceCell<Tensor>,
}

impl<'a> Call<'a> {
    /// A call on the state `x`, (B, …), at one time for each row.
    ///
    /// # Errors
    ///
    /// When `x` is a scalar, or the times or a condition do not have one entry for each row.
    pub fn new(x: &'a Tensor, times: &'a [f64], condition: &'a Condition) -> Result<Self> {
        let rows = x
            .dims()
            .first()
            .copied()
            .ok_or_else(|| Error::NoRows { what: "x".to_owned() })?;
        if times.len() != rows {
            return Err(Error::Rows {
                what: "times".to_owned(),
                expected: rows,
                got: times.len(),
            });
        }
        condition.check_rows(rows)?;
        Ok(Self {
            x,
            times,
            condition,
            end_times: None,
            self_condition: None,
            time: OnceCell::new(),
        })
    }

    /// The same with the times at which average velocities end.
    ///
    /// # Errors
    ///
    /// When there is not one for each row.
    pub fn with_end_times(mut self, end_times: &'a [f64]) -> Result<Self> {
        if end_times.len() != self.times.len() {
            let (expected, got) = (self.times.len(), end_times.len());
            return Err(Error::Rows {
                what: "end_times".to_owned(),
                expected,
                got,
            });
        }
        self.end_times = Some(end_times);
        Ok(self)
    }

    /// The same with the model's own last estimate of the data.
    ///
    /// # Errors
    ///
    /// When it is not shaped like x.
    pub fn with_self_condition(mut self, x0: &'a Tensor) -> Result<Self> {
        if x0.shape() != self.x.shape() {
            let (expected, got) = (self.x.shape().clone(), x0.shape().clone());
            return Err(Error::Shape {
                what: "self_condition".to_owned(),
                expected,
                got,
            });
        }
        self.self_condition = Some(x0);
        Ok(self)
    }

    /// The times as a tensor, (B,), with the type and on the device of x; made once.
    ///
    /// # Errors
    ///
    /// When the device refuses it.
    pub fn time(&self) -> candle_core::Result<&Tensor> {
        if self.time.get().is_none() {
            let time = Tensor::new(self.times, &candle_core::Device::Cpu)?;
            let time = time.to_dtype(self.x.dtype())?.to_device(self.x.device())?;
            // Nobody else can have set it: the cell is not shared between threads.
            let _ = self.time.set(time);
        }
        self.time
            .get()
            .ok_or_else(|| candle_core::Error::Msg("the time tensor was not kept".to_owned()))
    }
}

/// Anything that maps a state and its time to a prediction: candle modules, closures, other people's models.
///
/// A closure becomes a network by [`network`]; references, boxes and `Arc`s of networks are networks.
pub trait Network {
    /// The prediction, shaped like `call.x` (or with twice its channels where the variance is learned).
    ///
    /// # Errors
    ///
    /// Whatever the network's own operations return.
    fn forward(&self, call: &Call<'_>) -> candle_core::Result<Tensor>;
}

/// A closure as a network; made by [`network`].
#[derive(Clone, Copy)]
pub struct FromFn<F>(F);

impl<F> std::fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("network(|call| …)")
    }
}

/// Makes a network of a closure.
///
/// ```
/// use tallow_denoisers::{Parameterization, network};
///
/// let model = Parameterization::flow_matching().denoiser(network(|call| call.x * 0.5));
/// # let _ = model;
/// ```
pub fn network<F>(f: F) -> FromFn<F>
where
    F: Fn(&Call<'_>) -> candle_core::Result<Tensor>,
{
    FromFn(f)
}

impl<F> Network for FromFn<F>
where
    F: Fn(&Call<'_>) -> candle_core::Result<Tensor>,
{
    fn forward(&self, call: &Call<'_>) -> candle_core::Result<Tensor> {
        (self.0)(call)
    }
}

impl<N: Network + ?Sized> Network for &N {
    fn forward(&self, call: &Call<'_>) -> candle_core::Result<Tensor> {
        (**self).forward(call)
    }
}

impl<N: Network + ?Sized> Network for Box<N> {
    fn forward(&self, call: &Call<'_>) -> candle_core::Result<Tensor> {
        (**self).forward(call)
    }
}

impl<N: Network + ?Sized> Network for Arc<N> {
    fn forward(&self, call: &Call<'_>) -> candle_core::Result<Tensor> {
        (**self).forward(call)
    }
}
