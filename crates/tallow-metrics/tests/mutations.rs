//! The reader of statistics under 200,000 mutations of small files, and of the arrays behind right checksums: no panic, no
//! loop, no memory beyond what the bytes account for and 1 MiB.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tallow_metrics::fuzzing;

#[global_allocator]
static ALLOCATOR: tallow_allocations::Counted = tallow_allocations::Counted;

const EXECUTIONS: usize = 200_000;
const MIB: usize = 1 << 20;

/// What the formats are made of, and what breaks their readers.
const WORDS: [&[u8]; 20] = [
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\x7f\xff\xff\xff",
    b"PK\x01\x02",
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"PK\x06\x06",
    b"\x93NUMPY\x02\x00",
    b"'<f4'",
    b"'>f8'",
    b"'|O'",
    b"True",
    b"(2,)",
    b"(2, 2)",
    b"(1000, 1000)",
    b"(4294967296, 4294967296)",
    b"()",
    b"{",
    b"}",
    b"\x00\x00\x00\x00\x00\x00\xf8\x7f",
];

/// Changes some of the bytes.
fn mutate(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    for _ in 0..rng.random_range(1..4) {
        let place = rng.random_range(0..=bytes.len());
        let end = bytes.len().min(place + rng.random_range(0..20));
        let word = WORDS[rng.random_range(0..WORDS.len())];
        let covered = bytes.len().min(place + word.len());
        match rng.random_range(0..7) {
            0 | 1 if place < bytes.len() => bytes[place] ^= 1 << rng.random_range(0..8),
            2 if place < bytes.len() => bytes[place] = rng.random(),
            3 if rng.random_range(0..4) == 0 => bytes.truncate(place),
            4 => drop(bytes.drain(place..end)),
            5 => drop(bytes.splice(place..place, word.iter().copied())),
            _ => drop(bytes.splice(place..covered, word.iter().copied())),
        }
    }
}

/// Runs `body` on mutations of the seeds, each of which it reads; returns how often bytes were read or refused, by a word of
/// the reason.
fn drive(
    seeds: &[Vec<u8>],
    body: fn(&[u8]) -> Result<usize, String>,
    seed: u64,
) -> BTreeMap<&'static str, usize> {
    seeds
        .iter()
        .for_each(|bytes| assert!(body(bytes).is_ok_and(|dimension| dimension > 0)));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut census, mut most) = (BTreeMap::new(), 0);
    for execution in 0..EXECUTIONS {
        let mut bytes = seeds[execution % seeds.len()].clone();
        mutate(&mut bytes, &mut rng);
        let mut outcome = Ok(0);
        let peak = tallow_allocations::peak(|| outcome = body(&bytes));
        assert!(
            peak <= 16 * bytes.len() + MIB,
            "{peak} bytes for {} of input",
            bytes.len()
        );
        most = most.max(peak);
        let reason = match &outcome {
            Ok(_) => "read",
            Err(words) => {
                let known = [
                    "archive", "overlap", "declares", "shape", "header", "holds", "NaN", "array `",
                    "checksum",
                ];
                known
                    .into_iter()
                    .find(|word| words.contains(word))
                    .unwrap_or("other")
            }
        };
        *census.entry(reason).or_default() += 1;
    }
    println!("{census:?}, at most {most} bytes");
    census
}

fn check(census: &BTreeMap<&str, usize>, expected: &[(&str, usize)]) {
    for (reason, least) in expected {
        let count = census.get(reason).copied().unwrap_or_default();
        assert!(count >= *least, "{reason}: {count}");
    }
}

/// What NumPy wrote: see `scripts/fixtures/statistics.py`.
const SAVED: [&[u8]; 2] = [
    include_bytes!("data/statistics_deflated.npz"),
    include_bytes!("data/statistics_stored_single.npz"),
];

#[test]
fn no_bytes_disturb_the_reader_of_statistics() {
    let census = drive(&SAVED.map(<[u8]>::to_vec), fuzzing::statistics, 1);
    check(
        &census,
        &[
            ("archive", 10_000),
            ("array `", 100),
            ("overlap", 100),
            ("read", 10_000),
        ],
    );
}

#[test]
fn no_bytes_disturb_the_reader_of_statistics_behind_their_checksums() {
    let array = |descr: &str, shape: &str, numbers: &[f64]| -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let numbers = numbers.iter().flat_map(|x| x.to_le_bytes());
        let opening = [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes()].concat();
        opening
            .into_iter()
            .chain(header.into_bytes())
            .chain(numbers)
            .collect()
    };
    let (mean, covariance) = (
        array("<f8", "(2,)", &[0.5, 1.0]),
        array("<f8", "(2, 2)", &[2.0, 0.5, 0.5, 1.0]),
    );
    let seeds = [0, 1].map(|method| {
        let length = (mean.len() as u16).to_be_bytes();
        [&[method][..], &length, &mean, &covariance].concat()
    });
    let census = drive(&seeds, fuzzing::sealed_statistics, 2);
    check(
        &census,
        &[
            ("header", 10_000),
            ("shape", 10_000),
            ("holds", 300),
            ("NaN", 100),
            ("read", 10_000),
        ],
    );
}
