//! Draws one picture of every kind: `cargo run -p tallow-plots --example gallery -- FOLDER`.
//!
//! The data are eight Gaussians on a circle, dissolved by the rectified flow x_t = (1 − t) x_0 + t ε; the velocity and
//! the estimate of x_0 are exact, so the pictures show what a perfect model would do.

use std::f64::consts::TAU;
use std::path::PathBuf;

use tallow_plots::{
    Animation, Curves, Density, ImageGrid, Result, Scatter, Strip, Style, Trajectories, VectorField,
};

const SPREAD: f64 = 0.12;

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| ".".to_owned()));
    let path = |name: &str| folder.join(name);
    let mut noise = Noise(7);
    let (data, modes) = noise.eight_gaussians(20_000);
    let start = noise.cloud(2_000);
    let states = flow(&start, 60);
    let samples = &states[60].1;

    Scatter::new("eight Gaussians")
        .panel("data", &data)
        .panel("samples, 60 steps", samples)
        .panel("noise", &start)
        .bounds(-2.5..2.5, -2.5..2.5)
        .save(path("scatter.png"))?;
    Scatter::new("by class")
        .panel_by_class("data", &data, &modes)
        .style(Style::dark().scale(2))
        .save(path("classes.png"))?;
    Density::new("density")
        .panel("data", &data)
        .panel("samples", samples)
        .save(path("density.svg"))?;
    fields(&states).save(path("field.png"))?;
    Trajectories::new("from noise to data")
        .panel_of_states(
            "Euler, 60 steps",
            &states.iter().map(|(_, x)| &x[..150]).collect::<Vec<_>>(),
        )
        .times(&states.iter().map(|(t, _)| *t).collect::<Vec<_>>())
        .save(path("trajectories.png"))?;
    strip(&states).save(path("strip.png"))?;
    images().save(path("images.png"))?;
    losses(&mut noise).save(path("loss.png"))?;
    orders().save(path("orders.svg"))?;

    let mut animation = Animation::new()
        .bounds(-2.5..2.5, -2.5..2.5)
        .backdrop(&data[..3_000]);
    for (t, x) in states.iter().skip(1) {
        animation = animation.frame(format!("t = {t:.2}"), x);
    }
    animation.save(path("sampling.gif"))
}

/// Box and Muller's normal numbers from a small generator: enough for pictures.
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> [f64; 2] {
        let (radius, angle) = ((-2.0 * self.uniform().ln()).sqrt(), TAU * self.uniform());
        [radius * angle.cos(), radius * angle.sin()]
    }

    fn cloud(&mut self, count: usize) -> Vec<[f64; 2]> {
        (0..count).map(|_| self.normal()).collect()
    }

    fn eight_gaussians(&mut self, count: usize) -> (Vec<[f64; 2]>, Vec<usize>) {
        let modes: Vec<usize> = (0..count).map(|i| i % 8).collect();
        let points = modes.iter().map(|mode| (center(*mode), self.normal()));
        (
            points
                .map(|(c, z)| [c[0] + SPREAD * z[0], c[1] + SPREAD * z[1]])
                .collect(),
            modes,
        )
    }
}

fn center(mode: usize) -> [f64; 2] {
    let angle = TAU * mode as f64 / 8.0;
    [1.7 * angle.cos(), 1.7 * angle.sin()]
}

/// E[x_0 | x_t] of the mixture.
fn estimate(x: [f64; 2], t: f64) -> [f64; 2] {
    let (alpha, sigma) = (1.0 - t, t);
    let variance = alpha * alpha * SPREAD * SPREAD + sigma * sigma;
    let off = |mode: usize| center(mode).map(|c| alpha * c);
    let energy = |m: [f64; 2]| -((x[0] - m[0]).powi(2) + (x[1] - m[1]).powi(2)) / (2.0 * variance);
    let energies: Vec<f64> = (0..8).map(|mode| energy(off(mode))).collect();
    let top = energies.iter().copied().fold(f64::MIN, f64::max);
    let (mut sum, mut total) = ([0.0; 2], 0.0);
    for (mode, energy) in energies.into_iter().enumerate() {
        let (weight, m) = ((energy - top).exp(), off(mode));
        let gain = alpha * SPREAD * SPREAD / variance;
        for axis in 0..2 {
            sum[axis] += weight * (center(mode)[axis] + gain * (x[axis] - m[axis]));
        }
        total += weight;
    }
    sum.map(|s| s / total)
}

/// dx/dt = (x − x̂_0)/t.
fn velocity(x: [f64; 2], t: f64) -> [f64; 2] {
    let x0 = estimate(x, t);
    [(x[0] - x0[0]) / t, (x[1] - x0[1]) / t]
}

type States = Vec<(f64, Vec<[f64; 2]>)>;

fn flow(start: &[[f64; 2]], steps: u32) -> States {
    let mut states = vec![(1.0, start.to_vec())];
    for step in 0..steps {
        let (from, to) = (
            1.0 - f64::from(step) / f64::from(steps),
            1.0 - f64::from(step + 1) / f64::from(steps),
        );
        let moved = |x: &[f64; 2]| {
            let v = velocity(*x, from);
            [x[0] + (to - from) * v[0], x[1] + (to - from) * v[1]]
        };
        let last = states
            .last()
            .map(|(_, x)| x.iter().map(moved).collect())
            .unwrap_or_default();
        states.push((to, last));
    }
    states
}

fn fields(states: &States) -> VectorField {
    let side = |i: usize| -2.4 + 4.8 * i as f64 / 18.0;
    let grid: Vec<[f64; 2]> = (0..19 * 19).map(|i| [side(i % 19), side(i / 19)]).collect();
    let paths: Vec<Vec<[f64; 2]>> = (0..12)
        .map(|i| states.iter().map(|(_, x)| x[i]).collect())
        .collect();
    let mut field = VectorField::new("velocity of the rectified flow")
        .magnitude("speed")
        .trajectories(&paths);
    for t in [0.9, 0.6, 0.3] {
        let vectors: Vec<[f64; 2]> = grid.iter().map(|x| velocity(*x, t).map(|v| -v)).collect();
        field = field.panel(format!("t = {t}"), &grid, &vectors);
    }
    field
}

fn strip(states: &States) -> Strip {
    let mut strip = Strip::new("what the model sees, and what it takes it for").bounds(-2.5..2.5, -2.5..2.5);
    for index in [0, 12, 24, 36, 48, 59] {
        let (t, x) = &states[index];
        let x0: Vec<[f64; 2]> = x.iter().map(|x| estimate(*x, *t)).collect();
        strip = strip.at_with_estimate(format!("t = {t:.2}"), x, &x0);
    }
    strip
}

fn images() -> ImageGrid {
    let mut values = Vec::new();
    for row in 0..3 {
        for column in 0..8 {
            values.extend((0..28 * 28).map(|i| {
                let (x, y) = (f64::from(i % 28) - 13.5, f64::from(i / 28) - 13.5);
                let angle = y.atan2(x) * f64::from(column + 1);
                ((x * x + y * y).sqrt() / f64::from(row + 2) + angle).sin() as f32
            }));
        }
    }
    ImageGrid::gray(28, 28)
        .title("spirals")
        .images(&values)
        .range(-1.0..1.0)
        .row_labels(&["wide", "wider", "widest of all"])
        .column_labels(&["1", "2", "3", "4", "5", "6", "7", "8"])
}

fn losses(noise: &mut Noise) -> Curves {
    let mut curve = |floor: f64, speed: f64| -> Vec<[f64; 2]> {
        let clean = |i: f64| floor + (-i * speed).exp();
        (1..20_000)
            .map(f64::from)
            .map(|i| [i, clean(i) * (0.25 * noise.normal()[0]).exp()])
            .collect()
    };
    let (train, test) = (curve(0.02, 1e-3), curve(0.035, 8e-4));
    Curves::new("loss")
        .x("step")
        .y_log("loss")
        .smoothed("train", &train, 200)
        .smoothed("test", &test, 200)
}

fn orders() -> Curves {
    let errors = |order: i32, scale: f64| -> Vec<[f64; 2]> {
        [5.0, 10.0, 20.0, 40.0, 80.0, 160.0]
            .map(|nfe: f64| [nfe, scale * nfe.powi(-order)])
            .to_vec()
    };
    Curves::new("error against evaluations")
        .x_log("network evaluations")
        .y_log("root mean square of x − x̂")
        .marked("Euler", &errors(1, 2.0))
        .marked("Heun", &errors(2, 5.0))
        .marked("DPM-Solver++(2M)", &errors(2, 2.0))
        .marked("RK4", &errors(4, 300.0))
}
