//! Every kind of picture: the same pixels on every run and machine, in files that parse again.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;
use std::time::Duration;

use tallow_plots::{
    Animation, Curves, Density, Drawing, Error, ImageGrid, Looping, Result, Scatter, Strip, Style,
    Trajectories, VectorField,
};

fn spiral(count: usize) -> Vec<[f64; 2]> {
    let radius = |i: usize| (i + 1) as f64 / count as f64;
    // Rotation by a fixed angle without a platform's sine.
    let mut turn = [1.0f64, 0.0];
    (0..count)
        .map(|i| {
            turn = [0.8 * turn[0] - 0.6 * turn[1], 0.6 * turn[0] + 0.8 * turn[1]];
            [radius(i) * turn[0], radius(i) * turn[1]]
        })
        .collect()
}

fn small() -> Style {
    Style::light().panel_size(80, 60)
}

/// One small picture of each kind.
fn pictures() -> Result<Vec<(&'static str, Drawing)>> {
    let points = spiral(60);
    let paths: Vec<&[[f64; 2]]> = points.chunks(6).collect();
    let scatter = Scatter::new("Scatter")
        .panel("a", &points)
        .panel_by_class("b", &points, &[3; 60]);
    let dark = scatter.clone();
    let density = Density::new("Density").panel("a", &points).bins(8);
    let field = VectorField::new("Field")
        .panel("t = 0.5", &points, &points)
        .trajectories(&paths);
    let trajectories = Trajectories::new("Paths").panel("Heun", &paths);
    let strip = Strip::new("Strip")
        .at_with_estimate("t = 0", &points, &points)
        .at("t = 1", &points);
    let curves = Curves::new("Curves")
        .x("step")
        .y("loss")
        .line("a", &points)
        .marked("b", &points[..3]);
    let side_by_side = Curves::new("Panels")
        .x_log("n")
        .y_log("error")
        .panel("one")
        .marked("a", &[[1.0, 1.0], [10.0, 0.1]])
        .line("b", &[[1.0, 2.0], [10.0, 1.0]])
        .panel("two")
        .marked("a", &[[1.0, 0.5], [10.0, 0.2]]);
    let images = ImageGrid::gray(3, 2)
        .title("Images")
        .images(&[0.25; 24])
        .row_labels(&["one", "two"])
        .upscale(4);
    Ok(vec![
        ("scatter", scatter.style(small()).drawing()?),
        (
            "dark scatter",
            dark.style(Style::dark().panel_size(40, 40).scale(2)).drawing()?,
        ),
        ("density", density.style(small()).drawing()?),
        ("field", field.style(small()).drawing()?),
        ("trajectories", trajectories.style(small()).drawing()?),
        ("strip", strip.style(small()).drawing()?),
        ("curves", curves.style(small()).drawing()?),
        ("curves in panels", side_by_side.style(small()).drawing()?),
        ("images", images.drawing()?),
    ])
}

/// Fowler, Noll and Vo's hash, variant 1a, of 64 bits.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[test]
fn pixels_are_those_of_the_golden_pictures() {
    let got: Vec<(&str, u32, u32, u64)> = pictures()
        .unwrap()
        .into_iter()
        .map(|(name, drawing)| {
            let rgb = drawing.to_rgb();
            (name, rgb.width(), rgb.height(), fnv(rgb.as_raw()))
        })
        .collect();
    let golden = [
        ("scatter", 228, 150, 0xd4ef_1c08_390e_87f1),
        ("dark scatter", 276, 260, 0x5423_c41f_3f51_d0f4),
        ("density", 196, 150, 0x6bb6_39bb_598d_a6a1),
        ("field", 186, 150, 0xffd3_f268_d0fc_de19),
        ("trajectories", 208, 150, 0xa028_0b68_44bb_35e5),
        ("strip", 248, 244, 0x818d_f6f9_5b12_2456),
        ("curves", 150, 194, 0x205e_68e1_5352_beaf),
        ("curves in panels", 250, 196, 0xc0e3_ce9f_7c32_1e65),
        ("images", 85, 70, 0x7779_bf4a_1f09_b27d),
    ];
    assert_eq!(
        got, golden,
        "look at the pictures before these numbers are changed"
    );
}

#[test]
fn a_png_holds_the_pixels_that_were_drawn() {
    for (name, drawing) in pictures().unwrap() {
        let again = image::load_from_memory(&drawing.to_png().unwrap())
            .unwrap()
            .to_rgb8();
        assert_eq!(again, drawing.to_rgb(), "{name}");
        assert_eq!(
            (again.width(), again.height()),
            (drawing.width(), drawing.height()),
            "{name}"
        );
    }
}

#[test]
fn every_picture_shows_something_and_stays_on_its_page() {
    for (name, drawing) in pictures().unwrap() {
        let rgb = drawing.to_rgb();
        let corner = *rgb.get_pixel(0, 0);
        assert!(rgb.pixels().any(|pixel| *pixel != corner), "{name} is blank");
        let (right, bottom) = (rgb.width() - 1, rgb.height() - 1);
        let rim = |x: u32, y: u32| x == 0 || y == 0 || x == right || y == bottom;
        let clipped = rgb
            .enumerate_pixels()
            .filter(|(x, y, pixel)| rim(*x, *y) && **pixel != corner)
            .count();
        assert_eq!(clipped, 0, "{name}: something runs off the page");
    }
}

#[test]
fn svg_is_well_formed_and_repeats_itself() {
    let hostile = Scatter::new("<a> & \"b\" \u{1} 'c'")
        .panel("x < y\nz", &spiral(10))
        .drawing()
        .unwrap();
    for (name, drawing) in pictures().unwrap().into_iter().chain([("hostile", hostile)]) {
        let svg = drawing.to_svg().unwrap();
        assert_eq!(svg, drawing.to_svg().unwrap(), "{name}");
        assert!(!svg.contains("NaN") && !svg.contains("inf\""), "{name}");
        well_formed(&svg).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

/// Tags nest, attributes are quoted, no stray `<` or `&`, no control characters.
fn well_formed(svg: &str) -> std::result::Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = svg;
    while let Some(start) = rest.find('<') {
        entities(&rest[..start])?;
        let end = rest[start..].find('>').ok_or("a tag does not end")? + start;
        let tag = &rest[start + 1..end];
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or("");
        if tag.starts_with('/') {
            (open.pop() == Some(name))
                .then_some(())
                .ok_or(format!("</{name}> closes another"))?;
        } else {
            let parts: Vec<&str> = tag.split('"').collect();
            let named = parts[..parts.len() - 1]
                .iter()
                .step_by(2)
                .all(|part| part.ends_with('='));
            (parts.len() % 2 == 1 && named)
                .then_some(())
                .ok_or(format!("quotes in <{tag}>"))?;
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
        rest = &rest[end + 1..];
    }
    entities(rest)?;
    if open.is_empty() {
        Ok(())
    } else {
        Err(format!("left open: {open:?}"))
    }
}

fn entities(text: &str) -> std::result::Result<(), String> {
    let known = ["&amp;", "&lt;", "&gt;"];
    let strange = text
        .match_indices('&')
        .any(|(at, _)| !known.iter().any(|k| text[at..].starts_with(k)));
    let control = text.chars().any(|c| c.is_control() && c != '\n');
    if strange || control {
        Err(format!("text {text:?}"))
    } else {
        Ok(())
    }
}

fn moving(frames: usize, points: usize) -> Animation {
    let mut animation = Animation::new().bounds(-1.2..1.2, -1.2..1.2);
    for frame in 0..frames {
        let shrink = 1.0 - 0.5 * frame as f64 / frames as f64;
        let cloud: Vec<[f64; 2]> = spiral(points).iter().map(|p| p.map(|c| c * shrink)).collect();
        animation = animation.frame(format!("frame {frame}"), &cloud);
    }
    animation
}

#[test]
fn a_gif_plays_its_frames_with_their_delays_and_holds_the_last() {
    let bytes = moving(5, 50)
        .style(small())
        .delay(Duration::from_millis(80))
        .to_gif()
        .unwrap();
    let mut decoder = gif::DecodeOptions::new().read_info(bytes.as_slice()).unwrap();
    assert_eq!(decoder.repeat(), gif::Repeat::Infinite);
    let mut delays = Vec::new();
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        assert!(frame.palette.is_none(), "all frames share the global palette");
        delays.push(frame.delay);
    }
    assert_eq!(delays, [8, 8, 8, 8, 150]);
    let once = moving(2, 5)
        .style(small())
        .looping(Looping::Once)
        .to_gif()
        .unwrap();
    let decoder = gif::DecodeOptions::new().read_info(once.as_slice()).unwrap();
    assert_eq!(decoder.repeat(), gif::Repeat::Finite(0));
}

#[test]
fn a_gif_is_the_same_on_every_run() {
    let animation = moving(4, 80).style(small()).backdrop(&spiral(30));
    let bytes = animation.to_gif().unwrap();
    assert_eq!(bytes, animation.to_gif().unwrap());
    let mut decoder = gif::DecodeOptions::new().read_info(bytes.as_slice()).unwrap();
    let mut pixels = decoder.global_palette().unwrap().to_vec();
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        pixels.extend(frame.buffer.iter());
    }
    assert_eq!(
        fnv(&pixels),
        0x7a87_a501_cf2f_1aaf,
        "look at the animation before this number is changed"
    );
}

#[test]
fn sixty_frames_of_two_thousand_points_are_small() {
    // Points all over the panel, new ones in every frame: nothing repeats, the hardest case.
    let mut animation = Animation::new().bounds(-1.0..1.0, -1.0..1.0);
    for frame in 0..60u32 {
        let hash = |i: u32| {
            (frame * 2000 + i)
                .wrapping_mul(2_654_435_761)
                .rotate_left(7)
                .wrapping_mul(40_503)
        };
        let side = |bits: u32| f64::from(bits & 0xffff) / 32_768.0 - 1.0;
        let cloud: Vec<[f64; 2]> = (0..2000).map(hash).map(|h| [side(h >> 16), side(h)]).collect();
        animation = animation.frame(format!("t = {frame}"), &cloud);
    }
    let bytes = animation.to_gif().unwrap();
    assert!(bytes.len() < 1_500_000, "{} bytes", bytes.len());
}

#[test]
fn the_ending_of_the_name_chooses_the_format() {
    let folder = tempfile::tempdir().unwrap();
    let scatter = Scatter::new("t").panel("a", &spiral(5)).style(small());
    scatter.save(folder.path().join("a.PNG")).unwrap();
    scatter.save(folder.path().join("a.svg")).unwrap();
    assert!(
        std::fs::read(folder.path().join("a.PNG"))
            .unwrap()
            .starts_with(b"\x89PNG")
    );
    assert!(
        std::fs::read(folder.path().join("a.svg"))
            .unwrap()
            .starts_with(b"<svg")
    );
    for name in ["a.jpg", "a", "a.gif", ""] {
        let refused = scatter.save(folder.path().join(name));
        assert!(matches!(refused, Err(Error::Extension { .. })), "{name:?}");
    }
    assert!(matches!(
        moving(2, 5).save(folder.path().join("a.png")),
        Err(Error::Extension { .. })
    ));
    let nowhere = scatter.save(Path::new("/no/such/folder/a.png"));
    assert!(matches!(nowhere, Err(Error::Io { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}
