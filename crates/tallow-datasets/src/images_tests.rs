use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tallow_denoisers::{Batches, LABELS};

use super::*;
use crate::Shuffled;

/// `rows` images of 2 × 2 × 3; every value of image i is between 12 i and 12 i + 11, its label i mod 3.
fn numbered(rows: usize) -> Images {
    let pixels = (0..rows * 12).map(|index| index as u8).collect();
    let labels = (0..rows as u32).map(|row| row % 3).collect();
    Images::new(pixels, [2, 2, 3])
        .unwrap()
        .with_labels(labels, &["a", "b", "c"])
        .unwrap()
}

/// The images of a batch as the bytes they were made of, and their labels.
fn read(batch: &Batch) -> Vec<(Vec<u8>, u32)> {
    let bytes = PixelRange::Symmetric.bytes(&batch.x0).unwrap();
    let labels = batch.condition.tensor(LABELS).unwrap().to_vec1::<u32>().unwrap();
    bytes.chunks_exact(12).map(<[u8]>::to_vec).zip(labels).collect()
}

#[test]
fn an_epoch_holds_every_image_once_with_its_own_label() {
    let mut batches = Shuffled::new(numbered(20), 6, 1).unwrap();
    let mut seen: Vec<_> = (0..4)
        .flat_map(|_| read(&batches.next_batch().unwrap()))
        .collect();
    seen.sort();
    let all: Vec<u32> = (0..20).collect();
    assert_eq!(seen, read(&numbered(20).select(&all).unwrap()));
    assert!(
        seen.iter()
            .enumerate()
            .all(|(row, (_, label))| *label == row as u32 % 3)
    );
}

#[test]
fn an_interrupted_epoch_goes_on_bit_for_bit_and_only_with_the_same_images() {
    let start = |images: Images| Shuffled::new(images.with_flips(Flips::Half), 6, 2).unwrap();
    let mut whole = start(numbered(20));
    (0..6).for_each(|_| drop(whole.next_batch().unwrap()));
    let place = Batches::position(&whole);
    let mut resumed = start(numbered(20));
    Batches::seek(&mut resumed, &place).unwrap();
    for _ in 0..9 {
        assert_eq!(
            read(&whole.next_batch().unwrap()),
            read(&resumed.next_batch().unwrap())
        );
    }
    let mut pixels = numbered(20).pixels().to_vec();
    pixels[7] ^= 1;
    let labels = numbered(20).labels().to_vec();
    let other = Images::new(pixels, [2, 2, 3])
        .unwrap()
        .with_labels(labels, &["a", "b", "c"])
        .unwrap();
    assert!(Batches::seek(&mut start(other), &place).is_err());
    assert!(Batches::seek(&mut start(numbered(20).with_range(PixelRange::Unit)), &place).is_err());
    assert!(Batches::seek(&mut Shuffled::new(numbered(20), 6, 2).unwrap(), &place).is_err());
}

#[test]
fn a_flip_mirrors_each_line_keeps_the_label_and_undoes_itself() {
    let images = numbered(2);
    let flipped = images.batch(&[0, 1], |place| place == 1).unwrap();
    let bytes: Vec<u8> = read(&flipped).into_iter().flat_map(|(bytes, _)| bytes).collect();
    assert_eq!(bytes[..12], images.pixels()[..12]);
    assert_eq!(bytes[12..], [14, 13, 12, 17, 16, 15, 20, 19, 18, 23, 22, 21]);
    let again = Images::new(bytes, [2, 2, 3])
        .unwrap()
        .with_labels(vec![0, 1], &["a", "b"])
        .unwrap();
    let twice = again.batch(&[0, 1], |place| place == 1).unwrap();
    assert_eq!(read(&twice), read(&images.select(&[0, 1]).unwrap()));
}

#[test]
fn half_of_the_images_are_flipped_whatever_the_size_of_a_batch() {
    let rows = 4000;
    let pixels = (0..rows).flat_map(|row: u32| [(row % 251) as u8, 255]).collect();
    let images = Images::new(pixels, [1, 1, 2]).unwrap().with_flips(Flips::Half);
    let epoch = |batch| {
        let mut batches = Shuffled::new(images.clone(), batch, 3).unwrap();
        let count = batches.batches_per_epoch();
        let batches = batches.by_ref().take(count).map(|batch| batch.unwrap());
        let bytes = batches.flat_map(|batch| PixelRange::Symmetric.bytes(&batch.x0).unwrap());
        bytes.collect::<Vec<u8>>()
    };
    assert_eq!(epoch(7), epoch(512));
    let flipped = epoch(64).chunks_exact(2).filter(|image| image[0] == 255).count();
    // Standard deviation of the count: √(4000/4) = 32. Five of them.
    assert!(flipped.abs_diff(2000) < 158, "{flipped}");
}

#[test]
fn draws_are_seeded_and_hold_images_with_their_labels() {
    let draw = |seed| {
        let batch = numbered(20)
            .with_flips(Flips::Half)
            .draw(64, &mut ChaCha8Rng::seed_from_u64(seed));
        read(&batch.unwrap())
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    let row = |bytes: &[u8]| bytes.iter().min().unwrap() / 12;
    assert!(
        draw(3)
            .iter()
            .all(|(bytes, label)| u32::from(row(bytes) % 3) == *label)
    );
    assert!(numbered(2).draw(0, &mut ChaCha8Rng::seed_from_u64(1)).is_err());
    assert!(numbered(2).select(&[2]).is_err() && numbered(2).select(&[]).is_err());
    assert_eq!(numbered(2).item_shape(), [2, 2, 3]);
}

#[test]
fn a_sample_is_of_the_whole_without_repeats() {
    let images = numbered(21);
    let sample = images.sample(9, 4).unwrap();
    let mut rows: Vec<_> = sample.pixels().chunks_exact(12).collect();
    assert!(!rows.is_sorted() && rows.iter().any(|row| row[0] >= 9 * 12));
    rows.sort_unstable();
    rows.dedup();
    assert_eq!((rows.len(), sample.labels().len()), (9, 9));
    assert_eq!(images.sample(21, 4).unwrap().rows(), 21);
    assert!(images.sample(0, 4).is_err() && images.sample(22, 4).is_err());
}

#[test]
fn halves_are_disjoint_and_cover_and_the_seed_decides() {
    let images = numbered(21);
    let [first, second] = images.halves(4).unwrap();
    assert_eq!((first.rows(), second.rows()), (11, 10));
    let both = [&first, &second].map(|half| half.pixels().chunks_exact(12).map(<[u8]>::to_vec));
    let mut rows: Vec<_> = both.into_iter().flatten().collect();
    rows.sort();
    assert_eq!(rows.concat(), images.pixels());
    for half in [&first, &second] {
        let row = |bytes: &[u8]| u32::from(bytes[0]) / 12 % 3;
        let labels: Vec<u32> = half.pixels().chunks_exact(12).map(row).collect();
        assert_eq!(half.labels(), labels);
    }
    let [again, _] = images.halves(4).unwrap();
    let [other, _] = images.halves(5).unwrap();
    assert!(again.pixels() == first.pixels() && other.pixels() != first.pixels());
    // The first images of a half are a sample of all: sorted data would leave the last out.
    assert!(!first.pixels().is_sorted() && !second.pixels().is_sorted());
    assert!(numbered(1).halves(4).is_err());
}

#[test]
fn padding_puts_each_plane_in_the_middle_and_keeps_the_rest() {
    let padded = numbered(2).padded(3, 6, 9).unwrap();
    assert_eq!(
        (padded.shape(), padded.labels()),
        ([2, 3, 6], numbered(2).labels())
    );
    let plane = [9, 0, 1, 2, 9, 9, 9, 3, 4, 5, 9, 9, 9, 9, 9, 9, 9, 9];
    assert_eq!(padded.pixels()[..18], plane);
    let sum = |images: &Images| images.pixels().iter().map(|value| u64::from(*value)).sum::<u64>();
    assert_eq!(sum(&numbered(2).padded(32, 32, 0).unwrap()), sum(&numbered(2)));
    assert!(numbered(2).padded(1, 3, 0).is_err());
    assert!(numbered(2).padded(usize::MAX, 3, 0).is_err());
    assert!(numbered(2).padded(1 << 40, 1 << 16, 0).is_err());
}

#[test]
fn the_checksum_tells_images_labels_and_shapes_apart() {
    let images = Images::new((0..12).collect(), [1, 2, 3]).unwrap();
    let others = [
        Images::new((0..12).collect(), [1, 3, 2]).unwrap(),
        Images::new((1..13).collect(), [1, 2, 3]).unwrap(),
        images.clone().with_labels(vec![0, 1], &["a", "b"]).unwrap(),
        images.clone().with_labels(vec![1, 0], &["a", "b"]).unwrap(),
    ];
    let mut sums: Vec<u32> = others.iter().chain([&images]).map(Images::checksum).collect();
    sums.sort_unstable();
    sums.dedup();
    assert_eq!(sums.len(), 5);
}

#[test]
fn what_are_no_images_is_refused() {
    for (bytes, shape) in [
        (0, [1, 2, 2]),
        (5, [1, 2, 2]),
        (4, [1, 0, 2]),
        (4, [usize::MAX, 2, 2]),
    ] {
        let made = Images::new(vec![0; bytes], shape);
        assert!(matches!(made, Err(Error::Pixels { .. })), "{bytes} of {shape:?}");
    }
    let with = |labels| {
        Images::new(vec![0; 8], [1, 2, 2])
            .unwrap()
            .with_labels(labels, &["a", "b"])
    };
    assert!(matches!(
        with(vec![0]),
        Err(Error::LabelCount { count: 1, rows: 2 })
    ));
    assert!(matches!(
        with(vec![0, 2]),
        Err(Error::Label {
            row: 1,
            label: 2,
            classes: 2
        })
    ));
    let unlabelled = Images::new(vec![0; 8], [1, 2, 2]).unwrap();
    assert!(unlabelled.select(&[1]).unwrap().condition.is_empty());
}
