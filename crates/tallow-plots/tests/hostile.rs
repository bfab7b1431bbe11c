//! Inputs that no picture expects give a valid file or a typed error: no panic, no NaN on an axis, no endless file.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use tallow_plots::{
    Animation, Curves, Density, Drawing, Error, Result, Scatter, Strip, Style, Trajectories, VectorField,
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

#[test]
fn values_that_are_not_finite_are_left_out_not_drawn() {
    let wild = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        -1e300,
        1e-320,
        0.0,
        1.0,
    ];
    let points: Vec<[f64; 2]> = wild.iter().flat_map(|x| wild.map(|y| [*x, y])).collect();
    let only = [[f64::NAN; 2]; 3];
    let none: [[f64; 2]; 0] = [];
    for points in [
        &points[..],
        &only,
        &none,
        &[[7.0, 7.0]; 5],
        &[[-1e99, 1e99], [1e99, 0.0]],
        &[[1e-60, 0.0], [3e-60, -1e-60]],
        &[[-1e100; 2], [1e100; 2]],
    ] {
        for drawing in all_kinds(points) {
            let svg = drawing.unwrap().to_svg().unwrap();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{points:?}");
        }
    }
}

fn all_kinds(points: &[[f64; 2]]) -> Vec<Result<Drawing>> {
    let paths = [points, points];
    vec![
        Scatter::new("t").panel("a", points).style(small()).drawing(),
        Density::new("t").panel("a", points).style(small()).drawing(),
        VectorField::new("t")
            .panel("a", points, points)
            .trajectories(&paths)
            .style(small())
            .drawing(),
        Trajectories::new("t").panel("a", &paths).style(small()).drawing(),
        Trajectories::new("t")
            .panel_of_states("a", &paths)
            .times(&[f64::NAN, 1.0])
            .style(small())
            .drawing(),
        Strip::new("t")
            .at_with_estimate("a", points, points)
            .style(small())
            .drawing(),
        Curves::new("t")
            .line("a", points)
            .smoothed("b", points, 3)
            .style(small())
            .drawing(),
    ]
}

#[test]
fn points_lost_are_counted_in_the_title() {
    let scatter = Scatter::new("").panel("samples", &[[0.0, 1.0], [f64::NAN, 0.0], [2.0, f64::INFINITY]]);
    assert!(
        scatter
            .drawing()
            .unwrap()
            .to_svg()
            .unwrap()
            .contains("samples (2 not finite)")
    );
}

#[test]
fn impossible_requests_are_typed_errors() {
    let points = spiral(5);
    let scatter = || Scatter::new("t").panel("a", &points);
    assert!(matches!(Scatter::new("t").drawing(), Err(Error::Empty { .. })));
    assert!(matches!(Animation::new().to_gif(), Err(Error::Empty { .. })));
    for (width, height) in [(0, 0), (u32::MAX, 5), (16_000, 16_000)] {
        let sized = scatter()
            .style(Style::light().panel_size(width, height))
            .drawing();
        assert!(matches!(sized, Err(Error::Size { .. })), "{width} x {height}");
    }
    assert!(matches!(
        scatter().style(Style::light().scale(0)).drawing(),
        Err(Error::Parameter { .. })
    ));
    assert!(matches!(
        scatter().style(Style::light().columns(0)).drawing(),
        Err(Error::Parameter { .. })
    ));
    assert!(matches!(
        scatter().style(Style::light().dots(f64::NAN, 0.5)).drawing(),
        Err(Error::Parameter { .. })
    ));
    assert!(matches!(
        scatter().bounds(1.0..0.0, 0.0..1.0).drawing(),
        Err(Error::Bounds { axis: "x", .. })
    ));
    let classes = Scatter::new("t").panel_by_class("a", &points, &[1]).drawing();
    assert!(matches!(
        classes,
        Err(Error::Length {
            expected: 5,
            got: 1,
            ..
        })
    ));
    let vectors = VectorField::new("t").panel("a", &points, &points[..2]).drawing();
    assert!(matches!(
        vectors,
        Err(Error::Length {
            expected: 5,
            got: 2,
            ..
        })
    ));
    let times = Trajectories::new("t")
        .panel("a", &[&points])
        .times(&[0.0])
        .drawing();
    assert!(matches!(
        times,
        Err(Error::Length {
            expected: 1,
            got: 5,
            ..
        })
    ));
    assert!(matches!(
        Density::new("t").panel("a", &points).bins(0).drawing(),
        Err(Error::Parameter { .. })
    ));
    assert!(matches!(
        Curves::new("t").smoothed("a", &points, 0).drawing(),
        Err(Error::Parameter { .. })
    ));
}

#[test]
fn ten_million_points_make_a_picture_of_usual_size() {
    let points: Vec<[f32; 2]> = (0..10_000_000u32)
        .map(|i| i.wrapping_mul(2_654_435_761))
        .map(|h| [(h >> 16) as f32 / 65_536.0, (h & 0xffff) as f32 / 65_536.0])
        .collect();
    let drawing = Scatter::new("many").panel("a", &points).drawing().unwrap();
    assert!(drawing.to_svg().unwrap().len() < 2_000_000);
    assert!(drawing.to_png().unwrap().len() < 2_000_000);
    Density::new("many").panel("a", &points).drawing().unwrap();
}

#[test]
fn ten_million_steps_of_a_loss_make_a_small_file() {
    let loss: Vec<[f32; 2]> = (0..10_000_000u32)
        .map(|i| [i as f32, (i.wrapping_mul(2_654_435_761) >> 8) as f32])
        .collect();
    let svg = Curves::new("loss")
        .smoothed("train", &loss, 1000)
        .drawing()
        .unwrap()
        .to_svg()
        .unwrap();
    assert!(svg.len() < 500_000, "{} bytes", svg.len());
}
