//! A norm with its affine map, modulation and activation as one operation of the graph, on the kernels of the host.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp3, DType, Error, Layout, Result, Shape, Tensor, bail};
use tallow_kernels::{Affine, GroupNorm, Modulation, NormGradients, RowNorm, Statistics};

use crate::modulation::Columns;
use crate::slices::{Element, rows, values, with_rows, with_values};

/// The sizes of either kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sizes {
    Group(GroupNorm),
    Row(RowNorm),
}

/// x (contiguous), γ and β in one vector, and the modulation, a matrix whose rows are contiguous; the last two are empty
/// tensors where the norm has none.
#[derive(Clone, Debug)]
pub(crate) struct NormOp {
    pub(crate) sizes: Sizes,
    pub(crate) scaled: bool,
    pub(crate) shifted: bool,
    pub(crate) columns: Option<Columns>,
    pub(crate) kept: Arc<Mutex<Option<Statistics>>>,
}

/// Gradients of x, parameters and modulation.
type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

impl Sizes {
    fn forward<T: Element>(&self, x: &[T], affine: Affine<'_, T>) -> Result<(Vec<T>, Statistics)> {
        let result = match self {
            Self::Group(norm) => norm.forward(x, affine),
            Self::Row(norm) => norm.forward(x, affine),
        };
        result.map_err(Error::wrap)
    }

    fn backward<T: Element>(
        &self,
        x: &[T],
        statistics: &Statistics,
        affine: Affine<'_, T>,
        dy: &[T],
    ) -> Result<NormGradients<T>> {
        let result = match self {
            Self::Group(norm) => norm.backward(x, statistics, affine, dy),
            Self::Row(norm) => norm.backward(x, statistics, affine, dy),
        };
        result.map_err(Error::wrap)
    }

    fn tangent<T: Element>(
        &self,
        x: &[T],
        statistics: &Statistics,
        affine: Affine<'_, T>,
        x_tangent: Option<&[T]>,
        modulation_tangent: Option<Modulation<'_, T>>,
    ) -> Result<Vec<T>> {
        let result = match self {
            Self::Group(norm) => norm.tangent(x, statistics, affine, x_tangent, modulation_tangent),
            Self::Row(norm) => norm.tangent(x, statistics, affine, x_tangent, modulation_tangent),
        };
        result.map_err(Error::wrap)
    }

    fn width(&self) -> usize {
        match self {
            Self::Group(norm) => norm.channels,
            Self::Row(norm) => norm.width,
        }
    }
}

impl NormOp {
    fn affine<'a, T: Element>(
        &self,
        parameters: &'a [T],
        (values, stride): (&'a [T], usize),
    ) -> Affine<'a, T> {
        let split = if self.scaled { self.sizes.width() } else { 0 };
        let (gamma, beta) = parameters.split_at(split.min(parameters.len()));
        Affine {
            gamma: self.scaled.then_some(gamma),
            beta: self.shifted.then_some(beta),
            modulation: self.modulation((values, stride)),
        }
    }

    fn modulation<'a, T>(&self, (values, stride): (&'a [T], usize)) -> Option<Modulation<'a, T>> {
        self.columns.map(|Columns { shift, scale }| Modulation {
            values,
            stride,
            shift,
            scale,
        })
    }

    fn statistics(&self) -> Result<Statistics> {
        match &*self.kept.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(statistics) => Ok(statistics.clone()),
            None => bail!("a norm is differentiated before it is computed"),
        }
    }

    fn forward<T: Element>(
        &self,
        (x, x_layout): (&CpuStorage, &Layout),
        (parameters, layout): (&CpuStorage, &Layout),
        (modulation, modulation_layout): (&CpuStorage, &Layout),
    ) -> Result<CpuStorage> {
        let affine = self.affine::<T>(values(parameters, layout)?, rows(modulation, modulation_layout)?);
        let (y, statistics) = self.sizes.forward(values(x, x_layout)?, affine)?;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(statistics);
        Ok(T::to_cpu_storage_owned(y))
    }

    fn backward<T: Element>(
        &self,
        x: &Tensor,
        parameters: &Tensor,
        modulation: &Tensor,
        dy: &Tensor,
    ) -> Result<Gradients> {
        let statistics = self.statistics()?;
        let gradients = with_values::<T, _>(x, |x| {
            with_values::<T, _>(parameters, |parameters| {
                with_rows::<T, _>(modulation, |modulation| {
                    with_values::<T, _>(dy, |dy| {
                        let affine = self.affine(parameters, modulation);
                        self.sizes.backward(x, &statistics, affine, dy)
                    })
                })
            })
        })?;
        let mut learned = Vec::new();
        if self.scaled {
            learned.extend(gradients.gamma);
        }
        if self.shifted {
            learned.extend(gradients.beta);
        }
        let tensor = |values: Vec<T>, like: &Tensor| {
            let made = || Tensor::from_vec(values, like.shape(), like.device());
            like.track_op().then(made).transpose()
        };
        let placed = match (gradients.modulation, self.columns) {
            (Some(parts), Some(columns)) => {
                let width = self.sizes.width();
                let places = [(columns.shift, parts.shift), (columns.scale, parts.scale)];
                tensor(placed(modulation.dims2()?, width, places), modulation)?
            }
            _ => None,
        };
        Ok((tensor(gradients.x, x)?, tensor(learned, parameters)?, placed))
    }

    /// ẏ after [`CustomOp3::cpu_fwd`] of the same x, parameters and modulation.
    pub(crate) fn tangent(
        &self,
        [x, parameters, modulation]: [&Tensor; 3],
        x_tangent: Option<&Tensor>,
        modulation_tangent: Option<&Tensor>,
    ) -> Result<Tensor> {
        match x.dtype() {
            DType::F64 => self.tangent_of::<f64>([x, parameters, modulation], x_tangent, modulation_tangent),
            _ => self.tangent_of::<f32>([x, parameters, modulation], x_tangent, modulation_tangent),
        }
    }

    fn tangent_of<T: Element>(
        &self,
        [x, parameters, modulation]: [&Tensor; 3],
        x_tangent: Option<&Tensor>,
        modulation_tangent: Option<&Tensor>,
    ) -> Result<Tensor> {
        let statistics = self.statistics()?;
        let x_tangent = x_tangent.map(Tensor::contiguous).transpose()?;
        let modulation_tangent = modulation_tangent.map(with_contiguous_rows).transpose()?;
        let out = with_values::<T, _>(x, |x| {
            with_values::<T, _>(parameters, |parameters| {
                with_rows::<T, _>(modulation, |modulation| {
                    let affine = self.affine(parameters, modulation);
                    let run = |direction: Option<&[T]>| match &modulation_tangent {
                        Some(tangent) => with_rows::<T, _>(tangent, |tangent| {
                            let tangent = self.modulation(tangent);
                            self.sizes.tangent(x, &statistics, affine, direction, tangent)
                        }),
                        None => self.sizes.tangent(x, &statistics, affine, direction, None),
                    };
                    match &x_tangent {
                        Some(tangent) => with_values::<T, _>(tangent, |tangent| run(Some(tangent))),
                        None => run(None),
                    }
                })
            })
        })?;
        Tensor::from_vec(out, x.shape(), x.device())
    }
}

/// A matrix of zeros but for some blocks of columns.
fn placed<T: Element>((batch, columns): (usize, usize), width: usize, parts: [(usize, Vec<T>); 2]) -> Vec<T> {
    let mut values = vec![T::default(); batch * columns];
    for (first, part) in parts {
        let rows = values.chunks_exact_mut(columns.max(1));
        for (row, part) in rows.zip(part.chunks_exact(width.max(1))) {
            row[first..first + width].copy_from_slice(part);
        }
    }
    values
}

/// The same matrix, with rows that kernels can read; copied only if it must be.
pub(crate) fn with_contiguous_rows(matrix: &Tensor) -> Result<Tensor> {
    match matrix.stride() {
        [_, 1] => Ok(matrix.clone()),
        _ => matrix.contiguous(),
    }
}

impl CustomOp3 for NormOp {
    fn name(&self) -> &'static str {
        match self.sizes {
            Sizes::Group(_) => "group norm",
            Sizes::Row(_) => "row norm",
        }
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        parameters: &CpuStorage,
        layout: &Layout,
        modulation: &CpuStorage,
        modulation_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (parameters, modulation) = ((parameters, layout), (modulation, modulation_layout));
        let y = match x {
            CpuStorage::F64(_) => self.forward::<f64>((x, x_layout), parameters, modulation)?,
            _ => self.forward::<f32>((x, x_layout), parameters, modulation)?,
        };
        Ok((y, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        parameters: &Tensor,
        modulation: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<Gradients> {
        let dy = dy.contiguous()?;
        match dy.dtype() {
            DType::F64 => self.backward::<f64>(x, parameters, modulation, &dy),
            _ => self.backward::<f32>(x, parameters, modulation, &dy),
        }
    }
}
