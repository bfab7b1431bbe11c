//! Classifier-free guidance in the plane: what it gives and what it takes, against data whose classes have a formula.
//!
//! cargo run --example cfg_2d

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use clap::Parser;
use tallow::datasets::Gaussians;
use tallow::denoisers::guidance::Scale;
use tallow::denoisers::{Condition, Dataset, Guided, LABELS, Parameterization, Seeded};
use tallow::metrics::{Points, Statistic, energy_distance};
use tallow::models::{Mlp, MlpConfig};
use tallow::objectives::{LabelDropout, Regression, TimeSampling};
use tallow::plots::{Curves, Scatter};
use tallow::schedules::{RectifiedFlow, Schedule, TimeGrid};
use tallow::solvers::{Heun, Sampler, start};
use tallow_examples::device::DeviceName;
use tallow_examples::output::OutputFolder;
use tallow_examples::points::points;
use tallow_examples::training::{Budget, train};
use tallow_examples::{Failure, Outcome};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains a conditional flow with 10 % of its labels dropped, and samples it under guidance of several scales.
///
/// The classes overlap: of the data itself, some points are likelier of another class. Guidance draws samples nearer to the
/// middle of their class, and away from the data. Writes pictures, and ends with one line of figures.
#[derive(Debug, Parser)]
#[command(name = "cfg_2d")]
struct Options {
    /// Training steps.
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Points in a training batch.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    batch: u64,
    /// The share of labels dropped in training.
    #[arg(long, default_value_t = 0.1)]
    dropout: f64,
    /// Seed of everything random: the same seed gives the same files.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceName,
    /// Folder for the results.
    #[arg(long, value_name = "DIR", default_value = "target/cfg_2d")]
    out: PathBuf,
    /// A few seconds of everything, to see that it works.
    #[arg(long)]
    quick: bool,
}

const CLASSES: u32 = 6;
/// The label of none: one class more.
const NULL: u32 = CLASSES;
const SCALES: [f64; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0];
/// The scales whose samples are shown.
const SHOWN: [f64; 4] = [0.0, 1.0, 2.0, 5.0];
const STEPS: usize = 30;
/// Samples and data over which distances are taken.
const POINTS: usize = 3072;
/// The same under `--quick`.
const FEW_POINTS: usize = 768;

fn model_config() -> MlpConfig {
    MlpConfig {
        width: 128,
        classes: CLASSES as usize + 1,
        ..MlpConfig::new(2).with_waves(4.0)
    }
}

fn main() -> Outcome {
    let started = Instant::now();
    let options = Options::parse();
    let out = OutputFolder::create(&options.out)?;
    let device = options.device.open()?;
    let data = Gaussians::new(CLASSES, 1.5, 0.3)?;
    let path: Arc<dyn Schedule> = Arc::new(RectifiedFlow::default());
    let parameterization = Parameterization::flow_matching();
    let regression = Regression::new(path.clone(), parameterization).with_times(TimeSampling::stratified());
    let objective = LabelDropout::new(regression, options.dropout, NULL)?;
    let budget = Budget {
        steps: if options.quick {
            options.steps.min(150)
        } else {
            options.steps
        },
        batch: options.batch as usize,
        seed: options.seed,
    };
    let (weights, _) = train("with labels", model_config(), &objective, &data, budget, &device)?;
    let network = Mlp::new(&weights.scope(), model_config())?;

    let count = if options.quick { FEW_POINTS } else { POINTS };
    let real = data.draw(count, &mut Seeded::stream(options.seed, 3))?;
    let classes: Vec<u32> = real.condition.tensor(LABELS)?.to_vec1()?;
    let cloud = points(&real.x0)?;
    let other = data.draw(count, &mut Seeded::stream(options.seed, 4))?;
    let of_other: Vec<u32> = other.condition.tensor(LABELS)?.to_vec1()?;
    let of_data = Quality::of(&data, &points(&other.x0)?, &of_other, &cloud, &classes)?;
    println!("{:>5}: {of_data}", "data");

    let mut picture = Scatter::new("Six classes that overlap: the data, and samples at four guidance scales")
        .panel_by_class("data", &cloud, &colours(&classes));
    let (mut right, mut spread, mut distance) = (Vec::new(), Vec::new(), Vec::new());
    let mut figures = Vec::new();
    for scale in SCALES {
        let told = |labels: Vec<u32>| -> Result<Condition, Failure> {
            Ok(Condition::labels(
                Tensor::new(labels, &Device::Cpu)?.to_device(&device)?,
            ))
        };
        let model = Guided::batched(
            parameterization.denoiser(&network),
            told(classes.clone())?,
            &told(vec![NULL; count])?,
            Scale::Imagen(scale),
        )?;
        let grid = TimeGrid::uniform(path.clone(), STEPS)?;
        let mut noise = Seeded::stream(options.seed, 2);
        let x = start(&grid, (count, 2), DType::F32, &device, &mut noise)?;
        let sampled =
            Heun::default().run(&model, &grid, &x, &mut noise, &mut |_| ControlFlow::Continue(()))?;
        let samples = points(&sampled.x)?;
        let quality = Quality::of(&data, &samples, &classes, &cloud, &classes)?;
        println!("{scale:>5}: {quality}");
        if SHOWN.contains(&scale) {
            let label = format!(
                "scale {scale}: {:.0} % of their class",
                100.0 * quality.of_their_class
            );
            picture = picture.panel_by_class(label, &samples, &colours(&classes));
        }
        right.push([scale, quality.of_their_class]);
        spread.push([scale, quality.spread / of_data.spread]);
        distance.push([scale, quality.distance]);
        figures.push(format!(
            "energy_{scale}={:.5} class_{scale}={:.4}",
            quality.distance, quality.of_their_class
        ));
    }
    picture
        .bounds(-4.0..4.0, -4.0..4.0)
        .save(out.file("samples.png"))?;
    let flat = |value: f64| [[SCALES[0], value], [SCALES[SCALES.len() - 1], value]];
    Curves::new("What guidance gives: samples of their class; what it takes: their spread")
        .x("guidance scale (0: no label, 1: no guidance)")
        .y("share; ratio to the data")
        .marked("samples likeliest of their class", &right)
        .line("data likeliest of their class", &flat(of_data.of_their_class))
        .marked("spread within a class, over the data's", &spread)
        .y_bounds(0.0..2.3)
        .save(out.file("class_and_spread.png"))?;
    Curves::new("Energy distance to the data of the same class, mean of six classes")
        .x("guidance scale (0: no label, 1: no guidance)")
        .y_log("energy distance")
        .marked("samples", &distance)
        .line("another draw of the data", &flat(of_data.distance))
        .save(out.file("energy.png"))?;
    println!(
        "{} class_data={:.4} energy_data={:.5} seconds={:.1} seed={}",
        figures.join(" "),
        of_data.of_their_class,
        of_data.distance,
        started.elapsed().as_secs_f64(),
        options.seed
    );
    Ok(())
}

/// How samples of asked classes compare with the data.
struct Quality {
    /// The share that is likelier of its class than of any other: nearest to its centre.
    of_their_class: f64,
    /// The root mean square distance to the mean of the class's samples.
    spread: f64,
    /// The energy distance to the data of the class, mean over the classes.
    distance: f64,
}

impl Quality {
    fn of(
        data: &Gaussians,
        samples: &[[f32; 2]],
        asked: &[u32],
        real: &[[f32; 2]],
        labels: &[u32],
    ) -> Result<Self, Failure> {
        let centres: Vec<[f64; 2]> = data.centres().collect();
        let square =
            |x: &[f32; 2], c: &[f64; 2]| (f64::from(x[0]) - c[0]).powi(2) + (f64::from(x[1]) - c[1]).powi(2);
        let nearest = |x: &[f32; 2]| {
            let mut order: Vec<usize> = (0..centres.len()).collect();
            order.sort_by(|a, b| square(x, &centres[*a]).total_cmp(&square(x, &centres[*b])));
            order[0] as u32
        };
        let right = samples
            .iter()
            .zip(asked)
            .filter(|(x, class)| nearest(x) == **class)
            .count();
        let (mut squares, mut distance) = (0.0, 0.0);
        for class in 0..CLASSES {
            let own = |points: &[[f32; 2]], labels: &[u32]| -> Vec<f64> {
                let of_class = points.iter().zip(labels).filter(|(_, label)| **label == class);
                of_class.flat_map(|(point, _)| point.map(f64::from)).collect()
            };
            let (mine, theirs) = (own(samples, asked), own(real, labels));
            let count = mine.len() as f64 / 2.0;
            let axis = |axis: usize| mine.iter().skip(axis).step_by(2).copied();
            for which in 0..2 {
                let mean = axis(which).sum::<f64>() / count;
                squares += axis(which).map(|x| (x - mean).powi(2)).sum::<f64>();
            }
            distance += energy_distance(&Points::new(&mine, 2)?, &Points::new(&theirs, 2)?, Statistic::V)?;
        }
        Ok(Self {
            of_their_class: right as f64 / samples.len() as f64,
            spread: (squares / samples.len() as f64).sqrt(),
            distance: distance / f64::from(CLASSES),
        })
    }
}

impl std::fmt::Display for Quality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.1} % likeliest of their class, spread {:.3}, energy distance {:.5}",
            100.0 * self.of_their_class,
            self.spread,
            self.distance
        )
    }
}

fn colours(classes: &[u32]) -> Vec<usize> {
    classes.iter().map(|class| *class as usize).collect()
}
