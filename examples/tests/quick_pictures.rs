//! The pictures of the examples under `--quick` are those that somebody looked at.
//!
//! Golden pictures are a fifth as wide and high, each pixel a mean of 25; the difference is the mean over pixels and
//! channels, of 255. What exact denoisers draw differs between processors by rounding, what trained networks draw by more.
//! After looking at new pictures: `TALLOW_BLESS=1 cargo test -p tallow-examples`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::Command;

use image::RgbImage;

/// Pixels of a picture, along a side, for one of its golden picture.
const SHRINK: u32 = 5;
/// Mean differences that are allowed: between denoisers that are formulas, and between trained networks. Another seed
/// makes one of 1.0 or more, and of 3.4 or more.
const EXACT: f64 = 0.25;
const TRAINED: f64 = 1.2;

/// Example, picture, tolerance.
const PICTURES: [(&str, &str, f64); 20] = [
    ("there_and_back", "swiss_roll", EXACT),
    ("there_and_back", "spiral", EXACT),
    ("score_and_velocity", "fields", EXACT),
    ("score_and_velocity", "density", EXACT),
    ("ddim_vs_dpm_solver", "samples", EXACT),
    ("ddim_vs_dpm_solver", "error", EXACT),
    ("x0_convergence", "estimates", EXACT),
    ("x0_convergence", "convergence", EXACT),
    ("stochastic_vs_deterministic", "paths", EXACT),
    ("one_solver_four_paths", "paths", EXACT),
    ("swiss_roll_ddpm", "forward_process", EXACT),
    ("digits", "data", EXACT),
    ("one_network_six_solvers", "samples", TRAINED),
    ("benchmark_2d", "benchmark_2d", TRAINED),
    ("checkerboard_fm", "samples", TRAINED),
    ("checkerboard_fm", "velocity_field", TRAINED),
    ("compare_schedules", "samples", TRAINED),
    ("fm_vs_diffusion", "samples", TRAINED),
    ("cfg_2d", "samples", TRAINED),
    ("ot_cfm", "8gaussians_moons", TRAINED),
];

/// Runs an example, as `cargo test` built it beside this test.
fn run(example: &str, out: &Path, seed: &str) {
    let exe = std::env::current_exe().unwrap();
    let built = exe.parent().and_then(Path::parent).unwrap().join("examples");
    let program = built.join(format!("{example}{}", std::env::consts::EXE_SUFFIX));
    let arguments = ["--quick", "--seed", seed, "--out"];
    let done = Command::new(&program)
        .args(arguments)
        .arg(out)
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}; cargo build --workspace --examples makes it",
                program.display()
            )
        });
    assert!(
        done.status.success(),
        "{example}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// Means of squares of pixels; a rest at the right and the foot is left out.
fn shrunk(picture: &RgbImage) -> RgbImage {
    RgbImage::from_fn(picture.width() / SHRINK, picture.height() / SHRINK, |x, y| {
        let mut sums = [0u32; 3];
        for (dx, dy) in (0..SHRINK).flat_map(|dy| (0..SHRINK).map(move |dx| (dx, dy))) {
            let pixel = picture.get_pixel(x * SHRINK + dx, y * SHRINK + dy);
            (0..3).for_each(|channel| sums[channel] += u32::from(pixel.0[channel]));
        }
        image::Rgb(sums.map(|sum| (sum / (SHRINK * SHRINK)) as u8))
    })
}

/// The mean difference of two pictures; infinite where they differ in size.
fn difference(a: &RgbImage, b: &RgbImage) -> f64 {
    if a.dimensions() != b.dimensions() {
        return f64::INFINITY;
    }
    let sum: f64 = a
        .as_raw()
        .iter()
        .zip(b.as_raw())
        .map(|(a, b)| f64::from(a.abs_diff(*b)))
        .sum();
    sum / a.as_raw().len() as f64
}

fn golden(example: &str, picture: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{example}_{picture}.png"))
}

/// What is in the file of a picture, shrunk.
fn drawn(out: &Path, example: &str, picture: &str) -> RgbImage {
    shrunk(
        &image::open(out.join(example).join(format!("{picture}.png")))
            .unwrap()
            .to_rgb8(),
    )
}

#[test]
fn the_quick_pictures_are_those_that_were_looked_at() {
    let out = tempfile::tempdir().unwrap();
    let bless = std::env::var_os("TALLOW_BLESS").is_some();
    let mut different = Vec::new();
    let mut last = "";
    for (example, picture, tolerance) in PICTURES {
        if example != last {
            run(example, &out.path().join(example), "0");
            last = example;
        }
        let (now, golden) = (drawn(out.path(), example, picture), golden(example, picture));
        if bless {
            now.save(&golden).unwrap();
        }
        let before = image::open(&golden).map_err(|error| format!("{}: {error}", golden.display()));
        let apart = difference(&now, &before.unwrap().to_rgb8());
        println!("{example}/{picture}: {apart:.4}");
        if apart > tolerance {
            different.push(format!(
                "{example}/{picture}.png differs by {apart:.3}, allowed is {tolerance}"
            ));
        }
    }
    assert!(
        different.is_empty(),
        "look at them before they are blessed: {different:#?}"
    );
}

#[test]
fn another_seed_is_seen() {
    let out = tempfile::tempdir().unwrap();
    for (example, picture, tolerance) in [
        ("stochastic_vs_deterministic", "paths", EXACT),
        ("one_network_six_solvers", "samples", TRAINED),
    ] {
        run(example, &out.path().join(example), "1");
        let before = image::open(golden(example, picture)).unwrap().to_rgb8();
        let apart = difference(&drawn(out.path(), example, picture), &before);
        println!("{example}/{picture}, seed 1: {apart:.4}");
        assert!(apart > 1.5 * tolerance, "{example}/{picture}: {apart}");
    }
}
