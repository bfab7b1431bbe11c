//! The transpose of a square of sixteen by sixteen words in the registers of AVX-512.

use std::arch::x86_64::{
    __m512i, _mm512_shuffle_i32x4, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64,
};

/// Rows and columns exchanged: pairs of words, pairs of those, and then quarters of a vector change places.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn transposed(rows: [__m512i; 16]) -> [__m512i; 16] {
    // `fours[4g + c]` holds, for each quarter q of a vector, column 4q + c of the rows 4g to 4g + 3.
    let mut fours = rows;
    for g in [0, 4, 8, 12] {
        let (low01, high01) = interleaved(rows[g], rows[g + 1]);
        let (low23, high23) = interleaved(rows[g + 2], rows[g + 3]);
        fours[g] = _mm512_unpacklo_epi64(low01, low23);
        fours[g + 1] = _mm512_unpackhi_epi64(low01, low23);
        fours[g + 2] = _mm512_unpacklo_epi64(high01, high23);
        fours[g + 3] = _mm512_unpackhi_epi64(high01, high23);
    }
    let mut columns = rows;
    for c in 0..4 {
        let (even01, odd01) = quarters(fours[c], fours[4 + c]);
        let (even23, odd23) = quarters(fours[8 + c], fours[12 + c]);
        (columns[c], columns[8 + c]) = quarters(even01, even23);
        (columns[4 + c], columns[12 + c]) = quarters(odd01, odd23);
    }
    columns
}

#[inline]
#[target_feature(enable = "avx512f")]
fn interleaved(a: __m512i, b: __m512i) -> (__m512i, __m512i) {
    (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b))
}

/// Quarters 0 and 2 of `a` and of `b`, and quarters 1 and 3 of them.
#[inline]
#[target_feature(enable = "avx512f")]
fn quarters(a: __m512i, b: __m512i) -> (__m512i, __m512i) {
    (
        _mm512_shuffle_i32x4::<0b10_00_10_00>(a, b),
        _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b),
    )
}
