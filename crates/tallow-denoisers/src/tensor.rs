//! The only tensor helpers: sums of scaled tensors, with one factor for the batch or one for each row.
//!
//! Both have a backward. Where no gradient is recorded, on a CPU, they are one pass over memory.

use candle_core::{CpuStorage, DType, Layout, Storage, Tensor, WithDType};
use tallow_kernels::{Float, Scaled};
use tallow_schedules::NoiseLevel;

use crate::{Error, Levels, Result};

/// `Σ cᵢ tᵢ`, for tensors of one shape. A term with the factor 0 is left out, so that its tensor may be anything there.
///
/// # Errors
///
/// When there is no term, or shapes, types or devices differ.
pub fn lincomb<const N: usize>(terms: [(f64, &Tensor); N]) -> Result<Tensor> {
    combine(&terms)
}

/// [`lincomb`] for a number of terms known at run time.
///
/// # Errors
///
/// As [`lincomb`].
pub fn combine(terms: &[(f64, &Tensor)]) -> Result<Tensor> {
    let Some((_, first)) = terms.first() else {
        return Err(Error::EmptyBatch {
            what: "a linear combination",
        });
    };
    check_alike(terms.iter().map(|(_, tensor)| *tensor))?;
    let kept: Vec<_> = terms
        .iter()
        .filter(|(factor, _)| *factor != 0.0)
        .copied()
        .collect();
    match kept.as_slice() {
        [] => Ok(first.zeros_like()?),
        [(factor, tensor)] if *factor == 1.0 => Ok((*tensor).clone()),
        kept => {
            let tensors: Vec<_> = kept.iter().map(|(_, tensor)| *tensor).collect();
            let factors: Vec<_> = kept
                .iter()
                .map(|(factor, _)| std::slice::from_ref(factor))
                .collect();
            if let Some(sum) = on_cpu(&tensors, 1, &factors)? {
                return Ok(sum);
            }
            let mut sum = (kept[0].1 * kept[0].0)?;
            for (factor, tensor) in &kept[1..] {
                sum = (sum + (*tensor * *factor)?)?;
            }
            Ok(sum)
        }
    }
}

/// `a(level) x + b(level) y`, with the level of each row: the one place where per-row coefficients meet tensors.
///
/// `x`, `y`: (B, …), of one shape.
///
/// # Errors
///
/// When shapes, types or devices differ, or the levels are not one for each row.
pub fn mix(
    x: &Tensor,
    y: &Tensor,
    at: Levels<'_>,
    coefficients: impl Fn(NoiseLevel) -> (f64, f64),
) -> Result<Tensor> {
    match at {
        Levels::Shared(level) => {
            let (a, b) = coefficients(level);
            lincomb([(a, x), (b, y)])
        }
        Levels::PerRow(levels) => {
            let rows: Vec<_> = levels.iter().map(|level| coefficients(*level)).collect();
            let (a, b): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
            combine_rows(&[(&a, x), (&b, y)])
        }
    }
}

/// `Σ cᵢ[row] tᵢ[row]`, with one factor for each row.
///
/// # Shapes
///
/// Every `tᵢ`: (B, …), of one shape, which the sum has; every `cᵢ`: B numbers.
///
/// # Errors
///
/// When there is no term, shapes, types or devices differ, the terms are scalars, or a term does not have one factor for each
/// row.
pub fn combine_rows(terms: &[(&[f64], &Tensor)]) -> Result<Tensor> {
    let Some((_, first)) = terms.first() else {
        return Err(Error::EmptyBatch {
            what: "a linear combination",
        });
    };
    check_alike(terms.iter().map(|(_, tensor)| *tensor))?;
    let rows = first
        .dims()
        .first()
        .copied()
        .ok_or_else(|| Error::NoRows { what: "x".to_owned() })?;
    for (factors, _) in terms {
        Levels::check_count(factors.len(), rows)?;
    }
    let tensors: Vec<_> = terms.iter().map(|(_, tensor)| *tensor).collect();
    let factors: Vec<_> = terms.iter().map(|(factors, _)| *factors).collect();
    if let Some(sum) = on_cpu(&tensors, rows, &factors)? {
        return Ok(sum);
    }
    let mut shape = vec![1; first.rank()];
    shape[0] = rows;
    let mut sum: Option<Tensor> = None;
    for (factors, tensor) in terms {
        let factors = Tensor::new(*factors, &candle_core::Device::Cpu)?
            .to_dtype(first.dtype())?
            .to_device(first.device())?
            .reshape(shape.as_slice())?;
        let term = tensor.broadcast_mul(&factors)?;
        sum = Some(match sum {
            Some(sum) => (sum + term)?,
            None => term,
        });
    }
    sum.ok_or(Error::EmptyBatch {
        what: "a linear combination",
    })
}

/// The rows of `yes` where `rows` says so, those of `no` elsewhere; what is not chosen may be anything, NaN included.
///
/// # Errors
///
/// When shapes, types or devices differ, or there is not one choice for each row.
pub fn choose_rows(rows: &[bool], yes: &Tensor, no: &Tensor) -> Result<Tensor> {
    check_like("the rows to choose from", yes, no)?;
    let count = yes
        .dims()
        .first()
        .copied()
        .ok_or_else(|| Error::NoRows { what: "x".to_owned() })?;
    Levels::check_count(rows.len(), count)?;
    if rows.iter().all(|chosen| *chosen) {
        return Ok(yes.clone());
    }
    if !rows.contains(&true) {
        return Ok(no.clone());
    }
    let mut shape = vec![1; yes.rank()];
    shape[0] = count;
    let mask: Vec<u8> = rows.iter().map(|chosen| u8::from(*chosen)).collect();
    let mask = Tensor::from_vec(mask, shape, &candle_core::Device::Cpu)?.to_device(yes.device())?;
    Ok(mask
        .broadcast_as(yes.shape())?
        .contiguous()?
        .where_cond(&yes.contiguous()?, &no.contiguous()?)?)
}

impl Levels<'_> {
    fn check_count(got: usize, expected: usize) -> Result<()> {
        if got == expected {
            Ok(())
        } else {
            Err(Error::Rows {
                what: "levels".to_owned(),
                expected,
                got,
            })
        }
    }
}

/// Refuses tensors that differ in shape, type or device.
fn check_alike<'a>(mut tensors: impl Iterator<Item = &'a Tensor>) -> Result<()> {
    let Some(first) = tensors.next() else {
        return Ok(());
    };
    tensors.try_for_each(|tensor| check_like("a term of the sum", tensor, first))
}

/// Refuses a tensor that is not like `expected` in shape, type and device.
///
/// # Errors
///
/// Names both sides of what differs.
pub fn check_like(what: &str, got: &Tensor, expected: &Tensor) -> Result<()> {
    let what = || what.to_owned();
    if got.shape() != expected.shape() {
        let (expected, got) = (expected.shape().clone(), got.shape().clone());
        return Err(Error::Shape {
            what: what(),
            expected,
            got,
        });
    }
    if got.dtype() != expected.dtype() {
        return Err(Error::DType {
            what: what(),
            expected: expected.dtype(),
            got: got.dtype(),
        });
    }
    if !got.device().same_device(expected.device()) {
        let (expected, got) = (expected.device().location(), got.device().location());
        return Err(Error::Device {
            what: what(),
            expected,
            got,
        });
    }
    Ok(())
}

/// The sum in one pass over memory, where no gradient is recorded and the elements lie on the CPU in one piece each.
/// `factors` has one number, or one for each row, for each tensor.
fn on_cpu(tensors: &[&Tensor], rows: usize, factors: &[&[f64]]) -> Result<Option<Tensor>> {
    let plain = |tensor: &&Tensor| tensor.device().is_cpu() && tensor.is_contiguous() && !tensor.track_op();
    if !tensors.iter().all(plain) {
        return Ok(None);
    }
    match tensors[0].dtype() {
        DType::F32 => sum_rows::<f32>(tensors, rows, factors).map(Some),
        DType::F64 => sum_rows::<f64>(tensors, rows, factors).map(Some),
        _ => Ok(None),
    }
}

fn sum_rows<T: WithDType + Float>(tensors: &[&Tensor], rows: usize, factors: &[&[f64]]) -> Result<Tensor> {
    let guards: Vec<_> = tensors.iter().map(|tensor| tensor.storage_and_layout()).collect();
    let narrow =
        |factors: &&[f64]| -> Vec<T> { factors.iter().map(|c| <T as WithDType>::from_f64(*c)).collect() };
    let factors: Vec<Vec<T>> = factors.iter().map(narrow).collect();
    let mut terms = Vec::with_capacity(tensors.len());
    for ((storage, layout), factors) in guards.iter().zip(&factors) {
        let values = elements::<T>(storage, layout)?;
        terms.push(Scaled { factors, values });
    }
    let sum = tallow_kernels::combine(&terms, rows).map_err(candle_core::Error::wrap)?;
    Ok(Tensor::from_vec(sum, tensors[0].shape(), tensors[0].device())?)
}

/// A contiguous CPU tensor's elements.
pub(crate) fn elements<'a, T: WithDType>(storage: &'a Storage, layout: &Layout) -> Result<&'a [T]> {
    let Storage::Cpu(storage) = storage else {
        return Err(candle_core::Error::Msg("expected a CPU tensor".to_owned()).into());
    };
    slice_of(storage, layout)
}

/// A contiguous layout's part of CPU storage.
pub(crate) fn slice_of<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let all = storage.as_slice::<T>()?;
    layout
        .contiguous_offsets()
        .and_then(|(start, end)| all.get(start..end))
        .ok_or_else(|| candle_core::Error::Msg("expected a contiguous tensor".to_owned()).into())
}
