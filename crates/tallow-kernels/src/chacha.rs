//! The key stream of ChaCha with eight rounds, from any place on: sixteen blocks at once, and large requests on all threads.
//!
//! ```text
//! block n = words of the state (constants, key, n, stream) after four double rounds, added to the state itself
//! quarter round   a += b; d = (d ^ a) ≪ 16;   c += d; b = (b ^ c) ≪ 12;   a += b; d = (d ^ a) ≪ 8;   c += d; b = (b ^ c) ≪ 7
//! ```
//!
//! Source: Bernstein 2008, "ChaCha, a variant of Salsa20"; the layout with a 64-bit counter and a 64-bit stream is its own.

use crate::dispatch::{self, Isa, Kernel, Path};
use crate::parallel;

/// Blocks that are worked on together: one vector of the widest set for each word of the state.
const LANES: usize = 16;
/// 32-bit words of a block.
const WORDS: usize = 16;
/// Bytes of a block.
const BLOCK: usize = 4 * WORDS;
/// Bytes that one task makes.
const PIECE: usize = 1 << 16;

/// A key and a stream: what fixes every byte of the key stream.
///
/// Source: Bernstein 2008, "ChaCha, a variant of Salsa20"; the layout with a 64-bit counter and a 64-bit stream is
/// its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChaCha8 {
    key: [u32; 8],
    stream: u64,
}

impl ChaCha8 {
    /// The key stream of a key, in little-endian bytes, and one of its 2⁶⁴ streams.
    #[must_use]
    pub fn new(key: [u8; 32], stream: u64) -> Self {
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(key.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Self { key: words, stream }
    }

    /// Fills `out` with the bytes that begin with the 32-bit word at `position`; the stream repeats after 2⁶⁸ words.
    pub fn fill(&self, position: u128, out: &mut [u8]) {
        let (block, word) = (
            (position / WORDS as u128) as u64,
            (position % WORDS as u128) as usize,
        );
        // The rest of the block that the position is in, then whole blocks.
        let head = match word {
            0 => 0,
            word => (BLOCK - 4 * word).min(out.len()),
        };
        let (first, rest) = out.split_at_mut(head);
        if head > 0 {
            let mut whole = [0; BLOCK];
            self.blocks(block, &mut whole);
            first.copy_from_slice(&whole[4 * word..][..head]);
        }
        let start = block.wrapping_add(u64::from(head > 0));
        let cost = rest.len();
        let pieces = rest.chunks_mut(PIECE).enumerate().collect();
        parallel::for_each(cost, pieces, |(index, piece)| {
            self.blocks(start.wrapping_add((index * (PIECE / BLOCK)) as u64), piece);
        });
    }

    /// Bytes from the start of `block` on.
    fn blocks(&self, block: u64, out: &mut [u8]) {
        let chacha = *self;
        dispatch::run(Path::best(), Blocks { chacha, block, out });
    }
}

struct Blocks<'a> {
    chacha: ChaCha8,
    block: u64,
    out: &'a mut [u8],
}

impl Kernel for Blocks<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let mut block = self.block;
        let (groups, rest) = self.out.as_chunks_mut::<{ LANES * BLOCK }>();
        for group in groups {
            sixteen::<I>(&self.chacha, block, group);
            block = block.wrapping_add(LANES as u64);
        }
        if !rest.is_empty() {
            let mut group = [0; LANES * BLOCK];
            sixteen::<I>(&self.chacha, block, &mut group);
            rest.copy_from_slice(&group[..rest.len()]);
        }
    }
}

/// A word of the state in each of sixteen blocks.
type Vector = [u32; LANES];

/// The blocks `block` to `block + 15`, one after the other.
#[inline(always)]
fn sixteen<I: Isa>(chacha: &ChaCha8, block: u64, out: &mut [u8; LANES * BLOCK]) {
    let start = state(chacha, block);
    #[cfg(target_arch = "x86_64")]
    if I::WIDE {
        // SAFETY: `WIDE` is true in the compilation for AVX-512 alone.
        unsafe { wide::blocks(&start, out) };
        return;
    }
    let mut v = start;
    for _ in 0..ROUNDS / 2 {
        for [a, b, c, d] in QUARTERS {
            quarter(&mut v, a, b, c, d);
        }
    }
    for (lane, block) in out.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
        for (word, bytes) in block.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            *bytes = v[word][lane].wrapping_add(start[word][lane]).to_le_bytes();
        }
    }
}

const ROUNDS: usize = 8;
/// The words that a double round mixes: four columns and four diagonals.
const QUARTERS: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];

/// Word by word, the states of sixteen blocks.
#[inline(always)]
fn state(chacha: &ChaCha8, block: u64) -> [Vector; WORDS] {
    // "expand 32-byte k".
    let constants = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];
    let mut state = [[0; LANES]; WORDS];
    for (word, value) in constants.into_iter().chain(chacha.key).enumerate() {
        state[word] = [value; LANES];
    }
    let counter = |lane: usize| block.wrapping_add(lane as u64);
    state[12] = std::array::from_fn(|lane| counter(lane) as u32);
    state[13] = std::array::from_fn(|lane| (counter(lane) >> 32) as u32);
    state[14] = [chacha.stream as u32; LANES];
    state[15] = [(chacha.stream >> 32) as u32; LANES];
    state
}

#[inline(always)]
fn quarter(v: &mut [Vector; WORDS], a: usize, b: usize, c: usize, d: usize) {
    v[a] = sum(v[a], v[b]);
    v[d] = turned::<16>(v[d], v[a]);
    v[c] = sum(v[c], v[d]);
    v[b] = turned::<12>(v[b], v[c]);
    v[a] = sum(v[a], v[b]);
    v[d] = turned::<8>(v[d], v[a]);
    v[c] = sum(v[c], v[d]);
    v[b] = turned::<7>(v[b], v[c]);
}

#[inline(always)]
fn sum(mut a: Vector, b: Vector) -> Vector {
    for i in 0..LANES {
        a[i] = a[i].wrapping_add(b[i]);
    }
    a
}

/// (a ^ b) ≪ N.
#[inline(always)]
fn turned<const N: u32>(mut a: Vector, b: Vector) -> Vector {
    for i in 0..LANES {
        a[i] = (a[i] ^ b[i]).rotate_left(N);
    }
    a
}

/// The same in registers of AVX-512, where the compiler would gather and scatter.
#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::{
        __m512i, _mm512_add_epi32, _mm512_loadu_si512, _mm512_rol_epi32, _mm512_storeu_si512,
        _mm512_xor_si512,
    };

    use super::{BLOCK, LANES, ROUNDS, Vector, WORDS};
    use crate::square::transposed;

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn blocks(start: &[Vector; WORDS], out: &mut [u8; LANES * BLOCK]) {
        // SAFETY: a vector is 64 bytes that may be read; the load asks for no alignment.
        let load = |word: &Vector| unsafe { _mm512_loadu_si512(word.as_ptr().cast()) };
        let mut v = start.each_ref().map(load);
        for _ in 0..ROUNDS / 2 {
            // One by one, with indices that are constants, so that the words stay in registers.
            quarter::<0, 4, 8, 12>(&mut v);
            quarter::<1, 5, 9, 13>(&mut v);
            quarter::<2, 6, 10, 14>(&mut v);
            quarter::<3, 7, 11, 15>(&mut v);
            quarter::<0, 5, 10, 15>(&mut v);
            quarter::<1, 6, 11, 12>(&mut v);
            quarter::<2, 7, 8, 13>(&mut v);
            quarter::<3, 4, 9, 14>(&mut v);
        }
        for (v, start) in v.iter_mut().zip(start) {
            *v = _mm512_add_epi32(*v, load(start));
        }
        for (words, block) in transposed(v).into_iter().zip(out.as_chunks_mut::<BLOCK>().0) {
            // SAFETY: a block is 64 bytes that may be written; the store asks for no alignment.
            unsafe { _mm512_storeu_si512(block.as_mut_ptr().cast(), words) };
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn quarter<const A: usize, const B: usize, const C: usize, const D: usize>(v: &mut [__m512i; WORDS]) {
        v[A] = _mm512_add_epi32(v[A], v[B]);
        v[D] = turned::<16>(v[D], v[A]);
        v[C] = _mm512_add_epi32(v[C], v[D]);
        v[B] = turned::<12>(v[B], v[C]);
        v[A] = _mm512_add_epi32(v[A], v[B]);
        v[D] = turned::<8>(v[D], v[A]);
        v[C] = _mm512_add_epi32(v[C], v[D]);
        v[B] = turned::<7>(v[B], v[C]);
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn turned<const N: i32>(a: __m512i, b: __m512i) -> __m512i {
        _mm512_rol_epi32::<N>(_mm512_xor_si512(a, b))
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngCore, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::parallel::on_threads;

    fn theirs(key: [u8; 32], stream: u64, position: u128, n: usize) -> Vec<u8> {
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(stream);
        rng.set_word_pos(position);
        let mut bytes = vec![0; n];
        rng.fill_bytes(&mut bytes);
        bytes
    }

    #[test]
    fn every_byte_is_that_of_rand_chacha_from_every_position() {
        let key = std::array::from_fn(|i| (i * 37) as u8);
        // The last starts four blocks before the lower half of the counter runs over.
        for position in [0, 1, 15, 16, 17, 1000, 16 * ((1 << 32) - 4) + 3] {
            for n in [0, 1, 3, 4, 59, 60, 61, 64, 1023, 1024, 1025, 5000] {
                let mut ours = vec![9; n];
                ChaCha8::new(key, 5 << 40).fill(position, &mut ours);
                assert_eq!(
                    ours,
                    theirs(key, 5 << 40, position, n),
                    "{n} bytes from word {position}"
                );
            }
        }
    }

    #[test]
    fn every_instruction_set_and_number_of_threads_gives_the_same_bytes() {
        let chacha = ChaCha8::new([7; 32], 1);
        let n = 3_000_001;
        let wanted = theirs([7; 32], 1, 16, n);
        for path in Path::available() {
            let mut out = vec![0; 10_000];
            let block = 1;
            dispatch::run(
                path,
                Blocks {
                    chacha,
                    block,
                    out: &mut out,
                },
            );
            assert!(out == wanted[..10_000], "{}", path.name());
        }
        for threads in [1, 2, 3] {
            let mut out = vec![0; n];
            on_threads(threads, || chacha.fill(16, &mut out));
            assert!(out == wanted, "{threads} threads");
        }
    }
}
