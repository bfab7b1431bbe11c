//! The divergence of a velocity by backward passes.
//!
//! ```text
//! div v̂ = Σ ∂v̂ᵢ/∂xᵢ        exact: row i of the Jacobian is the gradient of v̂ᵢ
//! div v̂ ≈ zᵀ (∂v̂/∂x) z        estimated: zᵀ (∂v̂/∂x) is the gradient of ⟨z, v̂⟩; E[zzᵀ] = I
//! ```

use candle_core::{Tensor, Var};
use tallow_denoisers::{Denoiser, Levels};

use crate::Result;
use crate::watched::Watched;

/// The trace of a Jacobian: exact, or probed with tensors shaped like x.
#[derive(Clone, Debug)]
pub enum Trace {
    /// One backward pass a coordinate.
    Exact,
    /// One a probe; the mean of zᵀJz over the probes.
    Probed(Vec<Tensor>),
}

/// dx/dt at `x`, (B, …), and its divergence in each row, (B,).
///
/// # Errors
///
/// When the model fails, returns a value that is not finite, or does not lead gradients back to `x`.
pub fn divergence(
    model: &dyn Denoiser,
    x: &Tensor,
    at: Levels<'_>,
    trace: &Trace,
) -> Result<(Tensor, Tensor)> {
    check_graph(model, x, at)?;
    let model = Watched::begin(model);
    both(&model, x, at, trace).map_err(|error| model.take_failure().unwrap_or(error))
}

/// Velocity and divergence, both cut off from the graph.
pub(super) fn both<M: Denoiser>(
    model: &Watched<M>,
    x: &Tensor,
    at: Levels<'_>,
    trace: &Trace,
) -> Result<(Tensor, Tensor)> {
    let (rows, size) = rows_and_size(x)?;
    let var = Var::from_tensor(&x.detach())?;
    let velocity = model.estimate_with_graph(var.as_tensor(), at)?.velocity()?;
    let pulled = |of: &Tensor| -> Result<Tensor> {
        let gradient = of.sum_all()?.backward()?.get(&var).map(Tensor::detach);
        let gradient = gradient.ok_or_else(cut_graph)?;
        Ok(gradient.reshape((rows, size))?)
    };
    let flat = velocity.reshape((rows, size))?;
    let mut total = Tensor::zeros((rows, 1), x.dtype(), x.device())?;
    match trace {
        Trace::Exact => {
            for i in 0..size {
                total = (total + pulled(&flat.narrow(1, i, 1)?)?.narrow(1, i, 1)?)?;
            }
        }
        Trace::Probed(probes) => {
            for probe in probes {
                tallow_denoisers::check_like("a probe", probe, x)?;
                let probe = probe.reshape((rows, size))?;
                let along = (pulled(&(&flat * &probe)?)? * &probe)?.sum_keepdim(1)?;
                total = (total + (along / probes.len() as f64)?)?;
            }
        }
    }
    Ok((velocity.detach(), total.reshape(rows)?))
}

/// Refuses a model whose output does not lead back to x: its divergence would be that of the other terms alone.
pub(super) fn check_graph(model: &dyn Denoiser, x: &Tensor, at: Levels<'_>) -> Result<()> {
    if x.elem_count() == 0 {
        return Ok(());
    }
    let var = Var::from_tensor(&x.detach())?;
    let estimate = model.estimate(var.as_tensor(), at)?;
    for output in estimate.outputs() {
        if output.sum_all()?.backward()?.get(&var).is_none() {
            return Err(cut_graph().into());
        }
    }
    Ok(())
}

fn cut_graph() -> tallow_denoisers::Error {
    tallow_denoisers::Error::NoDerivative {
        what: "the model's output",
        way_out: "the network must be made of operations with a backward, and must not detach its input",
    }
}

pub(super) fn rows_and_size(x: &Tensor) -> Result<(usize, usize)> {
    let rows = x
        .dims()
        .first()
        .copied()
        .ok_or_else(|| tallow_denoisers::Error::NoRows { what: "x".to_owned() })?;
    Ok((rows, x.dims()[1..].iter().product()))
}
