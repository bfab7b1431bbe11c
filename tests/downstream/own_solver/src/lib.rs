//! A solver and a network that tallow does not know.

use candle_core::{DType, Device, Result, Tensor, Var};
use tallow_solvers::denoisers::{Call, Denoiser, Network, Noise, lincomb};
use tallow_solvers::schedules::Step;
use tallow_solvers::{FinalStep, Point, Solver};

/// Ralston's method: the slope two thirds into the step counts three times the one at its start; order 2.
///
/// ```text
/// m = t + ⅔(s − t)      x_m = x_t + (m − t) v̂(x_t, t)      x_s = x_t + (s − t) (¼ v̂(x_t, t) + ¾ v̂(x_m, m))
/// ```
///
/// Source: Ralston 1962, Runge-Kutta methods with minimum error bounds.
#[derive(Debug, Default)]
pub struct Ralston {
    /// How the last step ends.
    pub final_step: FinalStep,
}

impl Solver for Ralston {
    type History = ();

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        _history: &mut (),
        _noise: &mut dyn Noise,
    ) -> tallow_solvers::Result<Point> {
        let estimate = self.final_step.estimate(model, x, step.from)?;
        if let Some(x) = self.final_step.jump(&estimate, step)? {
            return Ok(Point { x, estimate });
        }
        let (start, dt) = (estimate.velocity()?, step.to.t - step.from.t);
        let within = step.schedule.level(step.from.t + dt * 2.0 / 3.0);
        let there = lincomb([(1.0, x), (dt * 2.0 / 3.0, &start)])?;
        let slope = model.estimate(&there, within.into())?.velocity()?;
        let x = lincomb([(1.0, x), (dt / 4.0, &start), (dt * 0.75, &slope)])?;
        Ok(Point { x, estimate })
    }
}

/// Two layers on (x, y, t), written with nothing but candle.
#[derive(Debug)]
pub struct TwoLayers {
    /// Weight and bias of the first layer, then of the second.
    pub variables: [Var; 4],
}

impl TwoLayers {
    /// Weights on a lattice of angles: seeded by nothing, since there is nothing to seed.
    pub fn new(width: usize) -> Result<Self> {
        let wave = |rows: usize, columns: usize, size: f64| {
            let values = (0..rows * columns).map(|i| (size * (1.7 * i as f64 + 0.3).sin()) as f32);
            Var::from_tensor(&Tensor::from_vec(
                values.collect::<Vec<_>>(),
                (rows, columns),
                &Device::Cpu,
            )?)
        };
        Ok(Self {
            variables: [
                wave(3, width, 0.8)?,
                wave(1, width, 0.5)?,
                wave(width, 2, 0.1)?,
                wave(1, 2, 0.0)?,
            ],
        })
    }

    /// One step of plain gradient descent.
    pub fn descend(&self, loss: &Tensor, rate: f64) -> Result<()> {
        let gradients = loss.backward()?;
        for variable in &self.variables {
            if let Some(gradient) = gradients.get(variable.as_tensor()) {
                variable.set(&(variable.as_tensor() - (gradient * rate)?)?.detach())?;
            }
        }
        Ok(())
    }

    /// The velocity at (N, 2) points and (N,) times.
    pub fn velocity(&self, x: &Tensor, times: &Tensor) -> Result<Tensor> {
        let [w1, b1, w2, b2] = &self.variables;
        let inputs = Tensor::cat(&[x, &times.unsqueeze(1)?.to_dtype(DType::F32)?], 1)?;
        let hidden = inputs.matmul(w1)?.broadcast_add(b1)?.tanh()?;
        hidden.matmul(w2)?.broadcast_add(b2)
    }
}

impl Network for TwoLayers {
    fn forward(&self, call: &Call<'_>) -> Result<Tensor> {
        self.velocity(call.x, call.time()?)
    }
}
