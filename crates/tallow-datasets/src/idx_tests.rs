use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

const NAMES: [&str; 3] = ["a", "b", "c"];

fn header(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// The files of `rows` images of 2 × 3.
fn files(rows: u32) -> [Vec<u8>; 2] {
    let mut images = header(&[IMAGES, rows, 2, 3]);
    images.extend((0..rows * 6).map(|value| (7 * value) as u8));
    let mut labels = header(&[LABELS, rows]);
    labels.extend((0..rows).map(|row| (row % 3) as u8));
    [images, labels]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn parse(images: &[u8], labels: &[u8], limits: Limits) -> Result<Images> {
    let file = |name, bytes: &'static [u8]| Declared::new(Path::new(name), bytes, bytes.len() as u64);
    // Tests are short: what they read may stay.
    let leak = |bytes: &[u8]| &*bytes.to_vec().leak();
    read(
        file("images", leak(images))?,
        file("labels", leak(labels))?,
        &NAMES,
        limits,
    )
}

fn refused(images: &[u8], labels: &[u8]) -> String {
    parse(images, labels, Limits::default()).unwrap_err().to_string()
}

#[test]
fn what_was_written_is_read_raw_or_compressed() {
    let [images, labels] = files(50);
    let raw = parse(&images, &labels, Limits::default()).unwrap();
    assert_eq!((raw.rows(), raw.shape()), (50, [1, 2, 3]));
    assert_eq!((raw.pixels(), raw.classes().len()), (&images[16..], 3));
    assert!(
        raw.labels()
            .iter()
            .zip(&labels[8..])
            .all(|(read, written)| *read == u32::from(*written))
    );
    let compressed = parse(&gzip(&images), &gzip(&labels), Limits::default()).unwrap();
    assert_eq!(compressed.checksum(), raw.checksum());
    // Two members one after the other are one file.
    let parts = [gzip(&images[..30]), gzip(&images[30..])].concat();
    assert_eq!(
        parse(&parts, &labels, Limits::default()).unwrap().checksum(),
        raw.checksum()
    );
}

#[test]
fn any_of_the_usual_names_is_found_and_none_is_an_error_that_lists_them() {
    let [images, labels] = files(3);
    for (prefix, split) in [("train", Split::Train), ("t10k", Split::Test)] {
        for (separator, ending) in [("-", ""), ("-", ".gz"), (".", ""), (".", ".gz")] {
            let folder = tempfile::tempdir().unwrap();
            for (name, bytes) in [("images", &images), ("labels", &labels)] {
                let dimensions = if name == "images" { 3 } else { 1 };
                let name = format!("{prefix}-{name}{separator}idx{dimensions}-ubyte{ending}");
                let bytes = if ending.is_empty() {
                    bytes.clone()
                } else {
                    gzip(bytes)
                };
                std::fs::write(folder.path().join(name), bytes).unwrap();
            }
            let read = Images::mnist(folder.path(), split, Limits::default()).unwrap();
            assert_eq!((read.rows(), read.classes().len()), (3, 10));
            let fashion = Images::fashion_mnist(folder.path(), split, Limits::default()).unwrap();
            assert_eq!(
                (fashion.checksum(), fashion.classes()[9].as_str()),
                (read.checksum(), "Ankle boot")
            );
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let message = Images::mnist(folder.path(), Split::Test, Limits::default())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("t10k-images-idx3-ubyte, t10k-images-idx3-ubyte.gz, t10k-images.idx3-ubyte"),
        "{message}"
    );
}

#[test]
fn headers_that_lie_are_refused_with_what_they_say() {
    let [images, labels] = files(3);
    let lying = |numbers: &[u32]| [header(numbers), images[16..].to_vec()].concat();
    let most = u32::MAX;
    let cases = [
        (
            lying(&[LABELS, 3, 2, 3]),
            "the magic number is 0x00000801, it must be 0x00000803",
        ),
        (lying(&[0x0803 << 16, 3, 2, 3]), "the magic number is 0x08030000"),
        (lying(&[IMAGES, 0, 2, 3]), "the number of images is 0"),
        (lying(&[IMAGES, 3, 0, 3]), "the height is 0"),
        (lying(&[IMAGES, 3, 2, 0]), "the width is 0"),
        (
            lying(&[IMAGES, 2, 3, 3]),
            "the number of labels is 3, it must be 2",
        ),
        (lying(&[IMAGES, 3, most, most]), "the limit is 1073741824"),
        (
            lying(&[IMAGES, 3, 1000, 1000]),
            "should have 3000000 bytes, there can be 18 at most",
        ),
        (lying(&[IMAGES, 3, 1, 3]), "the file is longer"),
        (images[..20].to_vec(), "should have 18 bytes, there can be 4"),
        (
            images[..7].to_vec(),
            "the header should have 4 bytes, there can be 3",
        ),
        (Vec::new(), "the header should have 4 bytes, there can be 0"),
    ];
    for (bytes, expected) in cases {
        let message = refused(&bytes, &labels);
        assert!(
            message.contains(expected) && message.contains("images"),
            "{message}"
        );
        let message = refused(&gzip(&bytes), &labels);
        let said = message.contains(expected) || message.contains("there can be");
        assert!(said, "compressed: {message}");
    }
    // As many labels as images, both near 2³².
    let message = refused(&header(&[IMAGES, most, most, most]), &header(&[LABELS, most]));
    assert!(
        message.contains(&format!(
            "declares {}",
            u128::from(most).pow(3) + 4 * u128::from(most)
        )),
        "{message}"
    );
}

#[test]
fn labels_are_checked_like_images() {
    let [images, labels] = files(3);
    let mut outside = labels.clone();
    outside[9] = 3;
    let message = refused(&images, &outside);
    assert!(
        message.contains("labels: a label is 3, it must be below 3") && message.contains("row 1"),
        "{message}"
    );
    assert!(refused(&images, &labels[..10]).contains("the labels should have 3 bytes, there can be 2"));
    assert!(refused(&images, &[labels.clone(), vec![0]].concat()).contains("the file is longer"));
    assert!(refused(&images, &images).contains("the magic number is 0x00000803"));
}

#[test]
fn a_bomb_is_refused_by_what_is_declared_or_found_by_its_first_byte() {
    let [images, labels] = files(3);
    let bomb = gzip(&[images.clone(), vec![0; 1 << 24]].concat());
    assert!(bomb.len() < 1 << 15);
    assert!(refused(&bomb, &labels).contains("the file is longer"));
    // Declared within the limit, but beyond what so few bytes can hold.
    let small = gzip(&header(&[IMAGES, 3, 10_000, 10_000]));
    assert!(refused(&small, &labels).contains("should have 300000000 bytes"));
    // The caller's limit counts pixels and labels.
    let most = |max_bytes| parse(&images, &labels, Limits { max_bytes });
    assert!(most(18 + 12).is_ok());
    assert!(matches!(
        most(18 + 11),
        Err(Error::AboveLimit {
            bytes: 30,
            max_bytes: 29,
            ..
        })
    ));
}

#[test]
fn broken_compression_is_refused() {
    let [images, labels] = files(3);
    let whole = gzip(&images);
    for length in 2..whole.len() {
        assert!(
            parse(&whole[..length], &labels, Limits::default()).is_err(),
            "{length} bytes"
        );
    }
    let mut checksum = whole.clone();
    let place = checksum.len() - 6;
    checksum[place] ^= 1;
    assert!(refused(&checksum, &labels).contains("cannot read images"));
    assert!(parse(&[whole, vec![1, 2, 3]].concat(), &labels, Limits::default()).is_err());
}

#[test]
fn mnist_is_read_where_it_is_at_hand() {
    let Ok(folder) = std::env::var("TALLOW_MNIST") else {
        return;
    };
    for (split, rows, zeros) in [(Split::Train, 60_000, 5923), (Split::Test, 10_000, 980)] {
        let mnist = Images::mnist(&folder, split, Limits::default()).unwrap();
        assert_eq!((mnist.rows(), mnist.shape()), (rows, [1, 28, 28]));
        assert_eq!(mnist.labels().iter().filter(|label| **label == 0).count(), zeros);
    }
}
