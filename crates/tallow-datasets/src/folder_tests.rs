use std::io::Cursor;

use image::{ExtendedColorType, ImageFormat, Rgb, RgbImage};

use super::*;

/// Left red, right blue; green rises from top to bottom.
fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let green = (y * 255 / height) as u8;
        Rgb(if x < width / 2 {
            [200, green, 0]
        } else {
            [0, green, 100]
        })
    })
}

fn encoded(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A folder of two classes with two pictures each, and things that are none.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let picture = picture(8, 8);
    write("b/1.JPG", &encoded(&picture, ImageFormat::Jpeg));
    write("b/2.png", &encoded(&picture, ImageFormat::Png));
    // The content decides, not the ending.
    write("a/10.jpeg", &encoded(&picture, ImageFormat::Png));
    write("a/9.png", &encoded(&picture, ImageFormat::Png));
    write("a/notes.txt", b"nothing");
    write(".hidden/1.png", b"nothing");
    write("readme.md", b"nothing");
    folder
}

fn load(folder: &ImageFolder) -> Result<Pictures> {
    folder.load(Limits::default())
}

#[test]
fn sorted_folders_are_the_classes_and_sorted_names_the_order() {
    let folder = folder();
    let read = load(&ImageFolder::new(folder.path(), [8, 8])).unwrap();
    assert_eq!(
        (read.images.shape(), read.images.labels()),
        ([3, 8, 8], &[0, 0, 1, 1][..])
    );
    assert_eq!(read.images.classes(), ["a", "b"]);
    let names = read
        .files
        .iter()
        .map(|path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["a/10.jpeg", "a/9.png", "b/1.JPG", "b/2.png"]
    );
    // PNG is exact: planes of red, green, blue.
    let planes = &read.images.pixels()[..192];
    assert_eq!(
        [
            planes[0],
            planes[7],
            planes[64],
            planes[64 + 56],
            planes[128],
            planes[128 + 7]
        ],
        [200, 0, 0, 223, 0, 100]
    );
    // JPEG is not, but close where no edge is.
    let jpeg = &read.images.pixels()[2 * 192..3 * 192];
    assert!(
        jpeg[0].abs_diff(200) < 40 && jpeg[135].abs_diff(100) < 40,
        "{jpeg:?}"
    );
}

#[test]
fn a_flat_folder_has_no_labels_and_classes_have_no_pictures_beside_them() {
    let folder = folder();
    let flat = load(&ImageFolder::new(folder.path().join("a"), [4, 4]).with_layout(Layout::Flat)).unwrap();
    assert_eq!((flat.images.rows(), flat.images.labels().len()), (2, 0));
    let message = |folder: &ImageFolder| load(folder).unwrap_err().to_string();
    let of = |path: &Path| ImageFolder::new(path, [4, 4]);
    assert!(message(&of(folder.path()).with_layout(Layout::Flat)).contains("*.png"));
    assert!(message(&of(&folder.path().join("a"))).contains("Layout::Flat"));
    fs::create_dir(folder.path().join("c")).unwrap();
    assert!(message(&of(folder.path())).contains("c holds none of"));
    assert!(message(&of(&folder.path().join("nowhere"))).contains("nowhere"));
    assert!(matches!(
        load(&ImageFolder::new(folder.path(), [4, 0])),
        Err(Error::Pixels { .. } | Error::Missing { .. })
    ));
}

#[test]
fn other_ratios_are_cut_at_both_sides_or_stretched() {
    let wide = encoded(&picture(64, 16), ImageFormat::Png);
    let read = |fit, colour, size| {
        let wanted = Wanted { size, colour, fit };
        wanted.read(Path::new("wide"), &wide, Limits::default()).unwrap()
    };
    // The middle 16 × 16 as it is: half red, half blue.
    let cut = read(Fit::CentreCrop, Colour::Rgb, [16, 16]);
    assert_eq!(
        (&cut[..16], &cut[512..528]),
        (&[[200; 8], [0; 8]].concat()[..], &[[0; 8], [100; 8]].concat()[..])
    );
    // All 64 columns in 16: the edge is as sharp.
    let stretched = read(Fit::Stretch, Colour::Rgb, [16, 16]);
    assert_eq!(
        (stretched[0], stretched[15], stretched[512], stretched[527]),
        (200, 0, 0, 100)
    );
    assert_eq!(cut[256], 0);
    assert_eq!(read(Fit::Stretch, Colour::Grey, [16, 64]).len(), 1024);
    // Brightness of (200, 0, 0): 0.2126 · 200 = 42.5, as ITU-R BT.709 has it.
    assert_eq!(read(Fit::Stretch, Colour::Grey, [16, 64])[0], 43);
}

#[test]
fn a_broken_picture_is_named_or_skipped_if_that_is_asked_for() {
    let folder = folder();
    let whole = fs::read(folder.path().join("a/9.png")).unwrap();
    fs::write(folder.path().join("a/9.png"), &whole[..whole.len() / 2]).unwrap();
    let all = ImageFolder::new(folder.path(), [8, 8]);
    let message = load(&all).unwrap_err().to_string();
    assert!(message.contains("9.png"), "{message}");
    let read = load(&all.clone().with_broken(Broken::Skip)).unwrap();
    assert_eq!(
        (read.images.labels(), read.files.len(), read.skipped.len()),
        (&[0, 1, 1][..], 3, 1)
    );
    assert!(read.skipped[0].to_string().contains("9.png"));
    for name in ["a/10.jpeg", "b/1.JPG", "b/2.png"] {
        fs::write(folder.path().join(name), b"no picture").unwrap();
    }
    assert!(
        load(&all)
            .unwrap_err()
            .to_string()
            .contains("10.jpeg: the content is something else")
    );
    assert!(matches!(
        load(&all.with_broken(Broken::Skip)),
        Err(Error::Missing { .. })
    ));
}

#[test]
fn what_is_cut_off_is_an_error_at_every_length() {
    let wanted = Wanted {
        size: [8, 8],
        colour: Colour::Rgb,
        fit: Fit::Stretch,
    };
    for format in [ImageFormat::Png, ImageFormat::Jpeg] {
        let whole = encoded(&picture(20, 20), format);
        assert!(wanted.read(Path::new("whole"), &whole, Limits::default()).is_ok());
        // A PNG's last chunk, of 12 bytes, holds nothing, nor does the checksum before it.
        let needed = if format == ImageFormat::Png {
            whole.len() - 20
        } else {
            whole.len()
        };
        for length in 0..needed {
            let read = wanted.read(Path::new("part"), &whole[..length], Limits::default());
            assert!(read.is_err(), "{format:?} of {length} bytes");
        }
    }
}

#[test]
fn a_declared_size_is_refused_before_memory_is_taken() {
    let wanted = Wanted {
        size: [8, 8],
        colour: Colour::Rgb,
        fit: Fit::Stretch,
    };
    let mut png = encoded(&picture(20, 20), ImageFormat::Png);
    png[16..24].copy_from_slice(&[0xff; 8]);
    let refused = |bytes: &[u8], max_bytes| {
        let read = wanted.read(Path::new("large.png"), bytes, Limits { max_bytes });
        read.unwrap_err().to_string()
    };
    assert!(
        refused(&png, 1 << 30).contains("large.png declares"),
        "{}",
        refused(&png, 1 << 30)
    );
    let jpeg = encoded(&picture(200, 200), ImageFormat::Jpeg);
    let work = 8 * 224 * 224;
    assert!(refused(&jpeg, work - 1).contains(&format!("declares {work} bytes")));
    assert!(
        wanted
            .read(Path::new("jpeg"), &jpeg, Limits { max_bytes: work })
            .is_ok()
    );
    // The result counts, too.
    let folder = folder();
    let all = ImageFolder::new(folder.path(), [1000, 1000]);
    assert!(matches!(
        all.load(Limits {
            max_bytes: 4 * 3_000_004 - 1
        }),
        Err(Error::AboveLimit { .. })
    ));
}

#[test]
fn sixteen_bits_grey_and_transparency_become_the_channels_that_were_asked_for() {
    let grey: Vec<u8> = [0x1234_u16, 0xffff, 0x8000, 0]
        .iter()
        .flat_map(|value| value.to_ne_bytes())
        .collect();
    let clear = [10, 20, 30, 0, 40, 50, 60, 255, 70, 80, 90, 0, 1, 2, 3, 4];
    let png = |bytes: &[u8], colour| {
        let mut png = Vec::new();
        let encoder = image::codecs::png::PngEncoder::new(&mut png);
        image::ImageEncoder::write_image(encoder, bytes, 2, 2, colour).unwrap();
        png
    };
    let read = |bytes: &[u8], colour| {
        let wanted = Wanted {
            size: [2, 2],
            colour,
            fit: Fit::Stretch,
        };
        wanted.read(Path::new("png"), bytes, Limits::default()).unwrap()
    };
    let deep = png(&grey, ExtendedColorType::L16);
    assert_eq!(read(&deep, Colour::Grey), [0x12, 0xff, 0x80, 0]);
    assert_eq!(read(&deep, Colour::Rgb), [0x12, 0xff, 0x80, 0].repeat(3));
    let transparent = png(&clear, ExtendedColorType::Rgba8);
    assert_eq!(
        read(&transparent, Colour::Rgb),
        [10, 40, 70, 1, 20, 50, 80, 2, 30, 60, 90, 3]
    );
}

#[test]
fn a_jpeg_in_several_passes_is_read_as_it_was_drawn() {
    // Pixel (x, y) is (8 x, 12 y, 100), but for the losses of quality 90 and of halved colours.
    let bytes = include_bytes!("../tests/data/progressive.jpg");
    let wanted = Wanted {
        size: [16, 24],
        colour: Colour::Rgb,
        fit: Fit::Stretch,
    };
    let planes = wanted
        .read(Path::new("progressive.jpg"), bytes, Limits::default())
        .unwrap();
    for (y, x) in (0..16).flat_map(|y| (0..24).map(move |x| (y, x))) {
        for (channel, drawn) in [8 * x, 12 * y, 100].into_iter().enumerate() {
            let read = usize::from(planes[channel * 384 + y * 24 + x]);
            assert!(
                read.abs_diff(drawn) <= 24,
                "({x}, {y}): channel {channel} is {read} for {drawn}"
            );
        }
    }
}
