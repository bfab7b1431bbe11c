//! The readers of IDX, gzip, CIFAR and pictures under 200,000 mutations each of small files: no panic, no loop, no memory
//! beyond twice what was declared and passed the limit, and 1 MiB.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;
use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use image::{ImageFormat, Rgb, RgbImage};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tallow_datasets::{Error, fuzzing};

const EXECUTIONS: usize = 200_000;
const MIB: usize = 1 << 20;

#[global_allocator]
static ALLOCATOR: tallow_allocations::Counted = tallow_allocations::Counted;

/// What breaks readers of numbers, and what the formats are made of.
const WORDS: [&[u8]; 16] = [
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"\x00\x00\x00\x00",
    b"\x00\x01\x00\x00",
    b"\x00\x00\x08\x03",
    b"\x00\x00\x08\x01",
    b"\x1f\x8b\x08\x00",
    b"\x1f\x8b\x08\x1c\x00\x00\x00\x00",
    b"IHDR",
    b"IDAT",
    b"iCCP",
    b"zTXt",
    b"\xff\xda",
    b"\xff\xc2",
    b"\xff\xd9",
];

/// Changes some of the bytes.
fn mutate(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    for _ in 0..rng.random_range(1..4) {
        // Half of the changes are near the start, where headers are.
        let reach = if rng.random() {
            bytes.len().min(64)
        } else {
            bytes.len()
        };
        let place = rng.random_range(0..=reach);
        let end = bytes.len().min(place + rng.random_range(0..20));
        let word = WORDS[rng.random_range(0..WORDS.len())];
        let covered = bytes.len().min(place + word.len());
        match rng.random_range(0..8) {
            0 | 1 if place < bytes.len() => bytes[place] ^= 1 << rng.random_range(0..8),
            2 if place < bytes.len() => bytes[place] = rng.random(),
            3 if rng.random_range(0..4) == 0 => bytes.truncate(place),
            4 => drop(bytes.drain(place..end)),
            5 => {
                let copy = bytes[place..end].to_vec();
                let to = rng.random_range(place..=bytes.len());
                bytes.splice(to..to, copy);
            }
            6 => drop(bytes.splice(place..place, word.iter().copied())),
            _ => drop(bytes.splice(place..covered, word.iter().copied())),
        }
    }
}

/// Runs `body` on mutations of the seeds, each of which it reads; returns how often bytes were refused, by reason, or read.
/// `declared` is the most that bytes of a length can declare and have checked.
fn drive(
    seeds: &[Vec<u8>],
    body: fn(&[u8]) -> Result<usize, Error>,
    declared: fn(usize) -> usize,
    seed: u64,
) -> BTreeMap<String, usize> {
    seeds.iter().for_each(|bytes| assert!(body(bytes).unwrap() > 0));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut census, mut most) = (BTreeMap::new(), 0);
    for execution in 0..EXECUTIONS {
        let mut bytes = seeds[execution % seeds.len()].clone();
        mutate(&mut bytes, &mut rng);
        let mut outcome = None;
        let peak = tallow_allocations::peak(|| outcome = Some(body(&bytes)));
        let declared = declared(bytes.len()).min(fuzzing::LIMITS.max_bytes as usize);
        assert!(
            peak <= 2 * declared + MIB,
            "{peak} bytes for {} of input",
            bytes.len()
        );
        most = most.max(peak);
        let reason = match outcome.unwrap() {
            Ok(_) => "Read".to_owned(),
            Err(error) => format!("{error:?}")
                .split([' ', '('])
                .next()
                .unwrap_or_default()
                .to_owned(),
        };
        *census.entry(reason).or_default() += 1;
    }
    println!("{census:?}, at most {most} bytes");
    census
}

fn check(census: &BTreeMap<String, usize>, expected: &[(&str, usize)]) {
    for (reason, least) in expected {
        let count = census.get(*reason).copied().unwrap_or_default();
        assert!(count >= *least, "{reason}: {count}");
    }
}

/// The two files of three images, compressed to a level if there is one.
fn idx(level: Option<Compression>) -> Vec<u8> {
    let pack = |content: Vec<u8>| match level {
        None => content,
        Some(level) => {
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(&content).unwrap();
            encoder.finish().unwrap()
        }
    };
    let numbers = |numbers: &[u32]| {
        numbers
            .iter()
            .flat_map(|number| number.to_be_bytes())
            .collect::<Vec<u8>>()
    };
    let images = pack([numbers(&[0x803, 3, 4, 5]), (0..60).collect()].concat());
    let labels = pack([numbers(&[0x801, 3]), vec![7, 0, 9]].concat());
    [(images.len() as u16).to_be_bytes().to_vec(), images, labels].concat()
}

fn pictures(format: ImageFormat) -> Vec<Vec<u8>> {
    let encoded = |side: u32| {
        let picture = RgbImage::from_fn(side, side + 3, |x, y| {
            Rgb([x * 9, y * 9, x * y].map(|value| value as u8))
        });
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    vec![encoded(6), encoded(20)]
}

#[test]
fn no_bytes_disturb_the_reader_of_idx() {
    let census = drive(&[idx(None)], fuzzing::idx, |length| 5 * length, 1);
    check(
        &census,
        &[
            ("Malformed", 10_000),
            ("Truncated", 10_000),
            ("AboveLimit", 1000),
            ("Read", 10_000),
        ],
    );
}

#[test]
fn no_bytes_disturb_the_reader_of_gzip() {
    let seeds = [Compression::best(), Compression::none()].map(|level| idx(Some(level)));
    let census = drive(&seeds, fuzzing::idx, |length| (5 * 1032 * length).min(1 << 24), 2);
    check(
        &census,
        &[
            ("File", 10_000),
            ("Malformed", 10_000),
            ("AboveLimit", 100),
            ("Read", 1000),
        ],
    );
}

#[test]
fn no_bytes_disturb_the_reader_of_cifar() {
    let record: Vec<u8> = [3, 4]
        .into_iter()
        .chain((0..3072).map(|value| value as u8))
        .collect();
    let census = drive(
        &[record.clone(), record.repeat(2)],
        fuzzing::cifar,
        |length| 2 * length,
        3,
    );
    check(&census, &[("Malformed", 10_000), ("Read", 10_000)]);
}

#[test]
fn no_bytes_disturb_the_reader_of_pictures() {
    let progressive = include_bytes!("data/progressive.jpg").to_vec();
    let seeds = [
        pictures(ImageFormat::Png),
        pictures(ImageFormat::Jpeg),
        vec![progressive],
    ]
    .concat();
    let census = drive(&seeds, fuzzing::picture, |_| 1 << 18, 4);
    check(
        &census,
        &[
            ("Picture", 10_000),
            ("Malformed", 10_000),
            ("AboveLimit", 1000),
            ("Read", 10_000),
        ],
    );
}

#[test]
fn no_bytes_disturb_the_reader_of_pictures_behind_their_checksums() {
    let census = drive(
        &pictures(ImageFormat::Png),
        fuzzing::sealed_picture,
        |_| 1 << 18,
        5,
    );
    check(
        &census,
        &[("Picture", 10_000), ("AboveLimit", 1000), ("Read", 10_000)],
    );
}
