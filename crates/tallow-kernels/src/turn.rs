//! A square of values with rows and columns exchanged, in registers.

use crate::dispatch::Isa;
use crate::float::Float;

/// Rows and columns of a square.
pub(crate) const SIDE: usize = 16;

/// A square of values, row by row.
pub(crate) type Square<T> = [[T; SIDE]; SIDE];

/// Exchanges rows and columns.
#[inline(always)]
pub(crate) fn turn<T: Float, I: Isa>(square: &mut Square<T>) {
    #[cfg(target_arch = "x86_64")]
    if I::WIDE && size_of::<T>() == 4 {
        // SAFETY: only AVX-512 is wide, and only f32 among the floats has four bytes.
        unsafe { turn_avx512(std::ptr::from_mut(square).cast()) };
        return;
    }
    for row in 1..SIDE {
        let (above, below) = square.split_at_mut(row);
        for (column, above) in above.iter_mut().enumerate() {
            std::mem::swap(&mut above[row], &mut below[0][column]);
        }
    }
}

/// # Safety
///
/// The processor must have AVX-512 F, and `square` must be a valid square that nobody else uses.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn turn_avx512(square: *mut Square<f32>) {
    use std::arch::x86_64::{_mm512_loadu_si512, _mm512_setzero_si512, _mm512_storeu_si512};
    let mut rows = [_mm512_setzero_si512(); SIDE];
    // SAFETY: every load and store is one row of the square.
    unsafe {
        for (i, row) in rows.iter_mut().enumerate() {
            *row = _mm512_loadu_si512(square.cast::<[f32; SIDE]>().add(i).cast());
        }
        for (i, row) in crate::square::transposed(rows).into_iter().enumerate() {
            _mm512_storeu_si512(square.cast::<[f32; SIDE]>().add(i).cast(), row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::{Kernel, Path, run};

    struct Turn<T>(Square<T>);

    impl<T: Float> Kernel for Turn<T> {
        type Output = Square<T>;

        #[inline(always)]
        fn run<I: Isa>(mut self) -> Square<T> {
            turn::<T, I>(&mut self.0);
            self.0
        }
    }

    #[test]
    fn rows_become_columns_on_every_path() {
        fn law<T: Float>() {
            let mut square = [[T::default(); SIDE]; SIDE];
            for (row, values) in square.iter_mut().enumerate() {
                for (column, value) in values.iter_mut().enumerate() {
                    *value = T::from_f64((100 * row + column) as f64);
                }
            }
            for path in Path::available() {
                let turned = run(path, Turn(square));
                for row in 0..SIDE {
                    for column in 0..SIDE {
                        assert_eq!(turned[column][row], square[row][column], "{}", path.name());
                    }
                }
            }
        }
        law::<f32>();
        law::<f64>();
    }
}
