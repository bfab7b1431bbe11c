//! The readers of checkpoints and configurations under 200,000 mutations each of small files: no panic, no loop, no memory
//! beyond what the bytes account for.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tallow_train::{Checkpoint, Configuration, Part, Unreadable, fuzzing};

const EXECUTIONS: usize = 200_000;

#[global_allocator]
static ALLOCATOR: tallow_allocations::Counted = tallow_allocations::Counted;

fn seeds() -> Vec<Vec<u8>> {
    let values = Tensor::arange(0f32, 4.0, &Device::Cpu).unwrap();
    let tensors = [DType::F64, DType::F32, DType::F16, DType::U8]
        .map(|dtype| (format!("{dtype:?}"), values.to_dtype(dtype).unwrap()));
    let mut checkpoint =
        Checkpoint::new(3).with_configuration(Configuration::parse(r#"{"a": [1, 0.5]}"#).unwrap());
    checkpoint
        .insert(
            "weights",
            Part::of_tensors(BTreeMap::from(tensors)).with_count("n", 1u64),
        )
        .unwrap();
    vec![
        checkpoint.to_bytes().unwrap(),
        Checkpoint::new(0).to_bytes().unwrap(),
    ]
}

/// What headers are made of, and what breaks their readers.
const WORDS: [&[u8]; 24] = [
    b"0",
    b"18446744073709551615",
    b"9223372036854775807",
    b"4294967296",
    b"-1",
    b"1e999",
    b"[",
    b"]",
    b"{",
    b"}",
    b"[[[[[[[[",
    b"\"",
    b",",
    b":",
    b"\\u0000",
    b"\"F32\"",
    b"\"F4\"",
    b"\"shape\":[0]",
    b"\"data_offsets\":[0,0]",
    b"__metadata__",
    b"weights/F64",
    b"crc32 ",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b" ",
];

/// Changes some of the bytes behind the first `kept`.
fn mutate(bytes: &mut Vec<u8>, kept: usize, rng: &mut ChaCha8Rng) {
    for _ in 0..rng.random_range(1..4) {
        let place = rng.random_range(kept..=bytes.len().max(kept)).min(bytes.len());
        let end = bytes.len().min(place + rng.random_range(0..20));
        match rng.random_range(0..7) {
            0 if place < bytes.len() => bytes[place] ^= 1 << rng.random_range(0..8),
            1 if place < bytes.len() => bytes[place] = rng.random(),
            2 if rng.random_range(0..4) == 0 => bytes.truncate(place),
            3 => drop(bytes.drain(place..end)),
            4 => {
                let copy = bytes[place..end].to_vec();
                let to = rng.random_range(place..=bytes.len());
                bytes.splice(to..to, copy);
            }
            5 => {
                let word = WORDS[rng.random_range(0..WORDS.len())];
                bytes.splice(place..place, word.iter().copied());
            }
            _ => {
                let word = WORDS[rng.random_range(0..WORDS.len())];
                bytes.splice(place..end, word.iter().copied());
            }
        }
    }
    // Mostly the header's length is made right again.
    if rng.random_range(0..8) > 0 && bytes.len() >= 8 {
        let brace = bytes.iter().rposition(|byte| *byte == b'}').unwrap_or(8).max(8);
        let length = (brace + 1).saturating_sub(8) as u64;
        bytes[..8].copy_from_slice(&length.to_le_bytes());
    }
}

/// Runs `body` on mutations of the seeds that keep their first bytes; returns how often bytes were refused, by reason, or
/// read.
fn drive(
    seeds: &[Vec<u8>],
    kept: usize,
    body: fn(&[u8]) -> Result<(), Unreadable>,
    seed: u64,
) -> BTreeMap<String, usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut census = BTreeMap::new();
    for execution in 0..EXECUTIONS {
        let mut bytes = seeds[execution % seeds.len()].clone();
        mutate(&mut bytes, kept, &mut rng);
        let allowed = 8 * bytes.len() + (1 << 16);
        let mut outcome = String::new();
        let peak = tallow_allocations::peak(|| {
            outcome = body(&bytes).map_or_else(|error| format!("{error:?}"), |()| "Read".to_owned());
        });
        assert!(peak <= allowed, "{peak} bytes for {} of input", bytes.len());
        let reason = outcome.split(['(', ' ']).next().unwrap_or_default().to_owned();
        *census.entry(reason).or_default() += 1;
    }
    println!("{census:?}");
    census
}

#[test]
fn no_bytes_disturb_the_reader_of_checkpoints() {
    let census = drive(&seeds(), 0, fuzzing::checkpoint, 1);
    assert!(census["HeaderChecksum"] > 10_000);
}

#[test]
fn no_bytes_disturb_the_reader_behind_its_first_checksum() {
    // The opening of the header and its checksum, without which nothing is looked at.
    let kept = 8 + 73;
    let census = drive(&seeds(), kept, fuzzing::sealed_checkpoint, 2);
    for (reason, least) in [
        ("Header", 10_000),
        ("Entry", 1000),
        ("Length", 1000),
        ("TensorChecksum", 300),
        ("Configuration", 100),
        ("Read", 300),
    ] {
        assert!(census[reason] >= least, "{reason}");
    }
}

#[test]
fn no_bytes_disturb_the_reader_of_configurations() {
    let seeds = [
        r#"{"model": {"width": 256, "rate": 0.003}, "list": [true, null, "x\u00e9"]}"#,
        "[]",
    ];
    let seeds = seeds.map(|text| text.as_bytes().to_vec());
    let census = drive(&seeds, 0, fuzzing::configuration, 3);
    assert!(census["Read"] > 1000);
}
