//! A chain of linear layers with their activations as one operation: a multi-layer perceptron, forward and backward.
//!
//! ```text
//! forward    zᵢ = hᵢ₋₁ Wᵢᵀ + bᵢ,   hᵢ = actᵢ(zᵢ),   kept for the way back: zᵢ
//! backward   dzᵢ = dhᵢ ⊙ actᵢ′(zᵢ),   dhᵢ₋₁ = dzᵢ Wᵢ,   dWᵢ = dzᵢᵀ hᵢ₋₁,   dbᵢ = Σ_rows dzᵢ
//! ```
//!
//! A block of rows goes through all layers before the next one starts, so that activations and gradients stay in the
//! second-level cache; the weights are packed once a call, for both directions.
//!
//! Laws, as for [`Layer`](crate::Layer): a row of the output has the same bytes in every batch; every result has the same
//! bytes on any number of threads (blocks and chunks depend on the shape alone, partial sums are added in order).

mod backward;
mod blocks;
mod forward;
mod packs;

use crate::activation::Activation;
use crate::error::{Result, area, check_length};
use crate::float::Float;

pub use backward::ChainGradients;
pub use forward::Trace;

/// One layer of a [`Chain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Values of a row of its input.
    pub inputs: usize,
    /// Values of a row of its output.
    pub outputs: usize,
    /// What follows the product.
    pub activation: Activation,
}

/// Weight, (outputs, inputs), and bias, (outputs), of a layer.
#[derive(Clone, Copy, Debug)]
pub struct LinkParameters<'a, T> {
    /// W.
    pub weight: &'a [T],
    /// b.
    pub bias: &'a [T],
}

/// Linear layers that feed one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    links: Vec<Link>,
}

impl Chain {
    /// A chain of at least one layer, each as wide as the next one takes.
    ///
    /// # Errors
    ///
    /// When there is no layer, a width is 0, or two neighbours differ.
    pub fn new(links: Vec<Link>) -> Result<Self> {
        check_length("layers of a chain", links.len().min(1), 1)?;
        for pair in links.windows(2) {
            check_length("inputs of a layer", pair[1].inputs, pair[0].outputs)?;
        }
        for link in &links {
            check_length("width of a layer", link.inputs.min(link.outputs).min(1), 1)?;
            area(link.inputs, link.outputs)?;
        }
        Ok(Self { links })
    }

    /// The layers, first to last.
    #[must_use]
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    fn inputs(&self) -> usize {
        self.links.first().map_or(0, |link| link.inputs)
    }

    fn outputs(&self) -> usize {
        self.links.last().map_or(0, |link| link.outputs)
    }

    /// Multiply-adds of one forward pass.
    fn cost(&self, rows: usize) -> usize {
        let row: usize = self
            .links
            .iter()
            .map(|link| link.inputs.saturating_mul(link.outputs))
            .sum();
        row.saturating_mul(rows)
    }

    fn check<T: Float>(&self, x: &[T], rows: usize, parameters: &[LinkParameters<'_, T>]) -> Result<()> {
        check_length("x", x.len(), area(rows, self.inputs())?)?;
        check_length("parameters", parameters.len(), self.links.len())?;
        for (link, parameters) in self.links.iter().zip(parameters) {
            check_length(
                "weight",
                parameters.weight.len(),
                area(link.outputs, link.inputs)?,
            )?;
            check_length("bias", parameters.bias.len(), link.outputs)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "chain/tests.rs"]
mod tests;
