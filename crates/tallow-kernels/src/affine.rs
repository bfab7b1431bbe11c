//! What follows a normalisation: z = (x̂ γ + β)(1 + scale) + shift, with γ and β learned and scale and shift computed.
//!
//! ```text
//! z = x̂ G + H,   G = γ (1 + scale),   H = β (1 + scale) + shift      for every entry b of the batch and channel c
//! S₀ = Σ dz,  S₁ = Σ dz x̂   over the values of (b, c):
//! dshift = S₀,  dscale = γ S₁ + β S₀,  dβ = Σ_b (1 + scale) S₀,  dγ = Σ_b (1 + scale) S₁
//! ```
//!
//! Sources: Perez et al. 2018, arXiv:1709.07871 (FiLM); Dhariwal & Nichol 2021, arXiv:2105.05233 (adaptive group
//! normalisation); Peebles & Xie 2023, arXiv:2212.09748 (adaLN).

use crate::error::{Error, Result, area, check_length};
use crate::float::Float;

/// The learned and the computed factors and offsets after a normalisation; `width` is the number of channels.
///
/// Sources: Perez et al. 2018, arXiv:1709.07871 (FiLM); Dhariwal & Nichol 2021, arXiv:2105.05233 (adaptive group
/// normalisation); Peebles & Xie 2023, arXiv:2212.09748 (adaLN).
#[derive(Clone, Copy, Debug, Default)]
pub struct Affine<'a, T> {
    /// γ, (width); ones if absent.
    pub gamma: Option<&'a [T]>,
    /// β, (width); zeros if absent.
    pub beta: Option<&'a [T]>,
    /// Scale and shift for every entry of the batch.
    pub modulation: Option<Modulation<'a, T>>,
}

/// Scale and shift for every entry of the batch, as columns of a matrix that may hold more than these.
///
/// Entry b reads `values[b * stride + shift..][..width]` and `values[b * stride + scale..][..width]`.
///
/// Sources: Perez et al. 2018, arXiv:1709.07871 (FiLM); Dhariwal & Nichol 2021, arXiv:2105.05233 (adaptive group
/// normalisation); Peebles & Xie 2023, arXiv:2212.09748 (adaLN).
#[derive(Clone, Copy, Debug)]
pub struct Modulation<'a, T> {
    /// The matrix; its last row may end with the last column that is read.
    pub values: &'a [T],
    /// From one row to the next.
    pub stride: usize,
    /// The first column of the shift.
    pub shift: usize,
    /// The first column of the scale.
    pub scale: usize,
}

/// Gradients of a normalisation.
#[derive(Clone, Debug, PartialEq)]
pub struct NormGradients<T> {
    /// dx, of the shape of x.
    pub x: Vec<T>,
    /// dγ, (width).
    pub gamma: Vec<T>,
    /// dβ, (width).
    pub beta: Vec<T>,
    /// dscale and dshift, (batch, width) each, where there is a modulation.
    pub modulation: Option<ModulationGradients<T>>,
}

/// Gradients of a [`Modulation`], (batch, width) each.
#[derive(Clone, Debug, PartialEq)]
pub struct ModulationGradients<T> {
    /// dscale.
    pub scale: Vec<T>,
    /// dshift.
    pub shift: Vec<T>,
}

impl<'a, T: Float> Modulation<'a, T> {
    /// (scale, shift) of entry `b`.
    fn row(&self, b: usize, width: usize) -> (&'a [T], &'a [T]) {
        let row = &self.values[b * self.stride..];
        (&row[self.scale..][..width], &row[self.shift..][..width])
    }

    pub(crate) fn check(&self, batch: usize, width: usize) -> Result<()> {
        let Some(last) = batch.checked_sub(1) else {
            return Ok(());
        };
        let end = self.scale.max(self.shift).checked_add(width);
        let end = end.and_then(|end| area(last, self.stride).ok()?.checked_add(end));
        let wanted = end.ok_or(Error::TooLarge {
            rows: batch,
            columns: self.stride,
        })?;
        if self.values.len() < wanted {
            let (name, got) = ("modulation", self.values.len());
            return Err(Error::Length { name, got, wanted });
        }
        Ok(())
    }
}

impl<'a, T: Float> Affine<'a, T> {
    pub(crate) fn check(&self, batch: usize, width: usize) -> Result<()> {
        for (name, values) in [("gamma", self.gamma), ("beta", self.beta)] {
            if let Some(values) = values {
                check_length(name, values.len(), width)?;
            }
        }
        self.modulation.map_or(Ok(()), |m| m.check(batch, width))
    }

    fn gamma(&self, c: usize) -> T {
        self.gamma.map_or(T::from_f64(1.0), |gamma| gamma[c])
    }

    fn beta(&self, c: usize) -> T {
        self.beta.map_or(T::default(), |beta| beta[c])
    }

    /// G and H.
    pub(crate) fn folded(&self, batch: usize, width: usize) -> Folded<T> {
        let one = T::from_f64(1.0);
        let Some(modulation) = self.modulation else {
            return Folded {
                gains: (0..width).map(|c| self.gamma(c)).collect(),
                offsets: (0..width).map(|c| self.beta(c)).collect(),
                width,
                stride: 0,
            };
        };
        let (mut gains, mut offsets) = (
            Vec::with_capacity(batch * width),
            Vec::with_capacity(batch * width),
        );
        for b in 0..batch {
            let (scale, shift) = modulation.row(b, width);
            for c in 0..width {
                let scale = one + scale[c];
                gains.push(self.gamma(c) * scale);
                offsets.push(self.beta(c) * scale + shift[c]);
            }
        }
        Folded {
            gains,
            offsets,
            width,
            stride: width,
        }
    }

    /// Ġ and Ḣ for a modulation that moves along `tangent`: γ ṡcale and β ṡcale + ṡhift.
    pub(crate) fn folded_tangent(
        &self,
        tangent: Option<Modulation<'a, T>>,
        batch: usize,
        width: usize,
    ) -> Folded<T> {
        let Some(tangent) = tangent else {
            return Folded {
                gains: vec![T::default(); width],
                offsets: vec![T::default(); width],
                width,
                stride: 0,
            };
        };
        let (mut gains, mut offsets) = (
            Vec::with_capacity(batch * width),
            Vec::with_capacity(batch * width),
        );
        for b in 0..batch {
            let (scale, shift) = tangent.row(b, width);
            for c in 0..width {
                gains.push(self.gamma(c) * scale[c]);
                offsets.push(self.beta(c) * scale[c] + shift[c]);
            }
        }
        Folded {
            gains,
            offsets,
            width,
            stride: width,
        }
    }

    /// The gradients of all parts from S₀ and S₁, (batch, width) each, summed over the batch in its order.
    pub(crate) fn gradients(
        &self,
        batch: usize,
        width: usize,
        sums: &[[f64; 2]],
        x: Vec<T>,
    ) -> NormGradients<T> {
        let (mut gamma, mut beta) = (vec![0.0; width], vec![0.0; width]);
        let (mut scales, mut shifts) = (Vec::new(), Vec::new());
        for b in 0..batch {
            let sums = &sums[b * width..][..width];
            let modulation = self.modulation.map(|m| m.row(b, width));
            for c in 0..width {
                let [plain, normalised] = sums[c];
                let factor = modulation.map_or(1.0, |(scale, _)| 1.0 + scale[c].to_f64());
                gamma[c] += factor * normalised;
                beta[c] += factor * plain;
                if modulation.is_some() {
                    let scale = self.gamma(c).to_f64() * normalised + self.beta(c).to_f64() * plain;
                    scales.push(T::from_f64(scale));
                    shifts.push(T::from_f64(plain));
                }
            }
        }
        let modulation = self.modulation.map(|_| ModulationGradients {
            scale: scales,
            shift: shifts,
        });
        let rounded = |sums: Vec<f64>| sums.into_iter().map(T::from_f64).collect();
        NormGradients {
            x,
            gamma: rounded(gamma),
            beta: rounded(beta),
            modulation,
        }
    }
}

/// G and H for every entry of the batch, or one row for all.
pub(crate) struct Folded<T> {
    gains: Vec<T>,
    offsets: Vec<T>,
    width: usize,
    stride: usize,
}

impl<T> Folded<T> {
    /// (G, H) of entry `b`.
    pub(crate) fn row(&self, b: usize) -> (&[T], &[T]) {
        let start = b * self.stride;
        (
            &self.gains[start..][..self.width],
            &self.offsets[start..][..self.width],
        )
    }
}
