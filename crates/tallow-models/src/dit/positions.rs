//! Where a patch lies, as sines and cosines that are never trained.
//!
//! ```text
//! p[(i, j)] = [waves(j), waves(i)]        waves(k) = [sin kω_m, cos kω_m],   ω_m = 10 000^(−m/n),   m = 0 … n − 1,   n = width/4
//! ```
//!
//! Columns come first, as in the tables of MAE, DiT and diffusers.
//!
//! Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5; He et al. 2021, arXiv:2111.06377 (in two dimensions).

use candle_core::{DType, Device, Result, Tensor};

/// The table (1, side · side, width) of a square of patches, row after row; `width` is a multiple of 4.
pub(super) fn positions(side: usize, width: usize, dtype: DType, device: &Device) -> Result<Tensor> {
    let quarter = width / 4;
    let waves = |place: usize| {
        let angle = move |m: usize| place as f64 * 10_000f64.powf(-(m as f64) / quarter as f64);
        let sines = (0..quarter).map(move |m| angle(m).sin());
        sines.chain((0..quarter).map(move |m| angle(m).cos()))
    };
    let table: Vec<Vec<f64>> = (0..side).map(|place| waves(place).collect()).collect();
    let mut values = Vec::with_capacity(side * side * width);
    for row in &table {
        for column in &table {
            values.extend_from_slice(column);
            values.extend_from_slice(row);
        }
    }
    Tensor::from_vec(values, (1, side * side, width), &Device::Cpu)?
        .to_dtype(dtype)?
        .to_device(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_first_and_then_rows() {
        let table = positions(3, 8, DType::F64, &Device::Cpu).unwrap();
        let table = table.squeeze(0).unwrap().to_vec2::<f64>().unwrap();
        // Row 2, column 1; frequencies 1 and 10 000^(−1/2) = 0.01.
        let want = [
            1f64.sin(),
            0.01f64.sin(),
            1f64.cos(),
            0.01f64.cos(),
            2f64.sin(),
            0.02f64.sin(),
            2f64.cos(),
            0.02f64.cos(),
        ];
        for (got, want) in table[2 * 3 + 1].iter().zip(want) {
            assert!((got - want).abs() < 1e-15, "{got} {want}");
        }
        assert_eq!(table.len(), 9);
    }
}
