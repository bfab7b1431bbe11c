//! Laws of likelihoods, on exact models.

use std::sync::Arc;

use candle_core::Device;
use tallow_denoisers::{ExactMixture, Parameterization, Seeded, network};
use tallow_schedules::{RectifiedFlow, Ve, VpCosine, VpLinear};

use super::*;
use crate::Dopri5Adaptive;

fn mixture() -> ExactMixture {
    let means = vec![vec![-1.0, 0.4, 0.3], vec![1.5, 0.2, -0.7], vec![0.1, -2.0, 0.5]];
    ExactMixture::new(&[1.0, 2.0, 0.5], means, vec![0.35, 0.6, 0.2]).unwrap()
}

fn x() -> Tensor {
    Tensor::new(
        &[
            [-0.9f64, 0.1, 0.3],
            [1.5, 0.9, -1.0],
            [0.2, -1.7, 0.6],
            [0.4, 0.2, 0.0],
        ],
        &Device::Cpu,
    )
    .unwrap()
}

fn values(x: &Tensor) -> Vec<f64> {
    x.flatten_all()
        .unwrap()
        .to_dtype(DType::F64)
        .unwrap()
        .to_vec1()
        .unwrap()
}

fn apart(a: &Tensor, b: &Tensor) -> f64 {
    values(a)
        .iter()
        .zip(values(b))
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

#[test]
fn the_exact_trace_finds_the_mixture_s_own_density_on_every_path() {
    let paths: [Arc<dyn Schedule>; 4] = [
        Arc::new(RectifiedFlow::default()),
        Arc::new(VpCosine::default()),
        Arc::new(VpLinear::default()),
        Arc::new(Ve::default()),
    ];
    let model = mixture();
    let density = |x: &Tensor, at: NoiseLevel| model.log_density(x, at);
    for path in paths {
        let (from, to) = (0.02, 0.99 * path.t_max());
        let told = Likelihood::default()
            .log_density(
                &model,
                path.as_ref(),
                (from, to),
                &x(),
                &Prior::LogDensity(&density),
                &mut Seeded::new(0),
            )
            .unwrap();
        let off = apart(
            &told.log_density,
            &model.log_density(&x(), path.level(from)).unwrap(),
        );
        assert!(
            off < 1e-3,
            "{path:?}: off by {off} nats after {} steps",
            told.steps
        );
    }
}

#[test]
fn probes_are_right_on_average_and_kept_along_the_trajectory() {
    let path = RectifiedFlow::default();
    let model = mixture();
    let one = x().narrow(0, 3, 1).unwrap();
    let many = one.repeat((600, 1)).unwrap();
    let density = |x: &Tensor, at: NoiseLevel| model.log_density(x, at);
    let exact = values(&model.log_density(&one, path.level(0.02)).unwrap())[0];
    for probes in [Probes::Rademacher, Probes::Gaussian] {
        let divergence = Divergence::Estimated { probes, count: 2 };
        let likelihood = Likelihood {
            divergence,
            control: Control::new(1e-4, 1e-4).unwrap(),
        };
        let run = |seed| {
            let told = likelihood.log_density(
                &model,
                &path,
                (0.02, 1.0),
                &many,
                &Prior::LogDensity(&density),
                &mut Seeded::new(seed),
            );
            values(&told.unwrap().log_density)
        };
        let drawn = run(7);
        assert_eq!(drawn, run(7));
        assert_ne!(drawn, run(8));
        let n = drawn.len() as f64;
        let mean = drawn.iter().sum::<f64>() / n;
        let error = (drawn.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (n * (n - 1.0))).sqrt();
        // Six standard errors, and what the tolerance allows.
        assert!(
            (mean - exact).abs() < 6.0 * error + 1e-3,
            "{probes:?}: {mean} for {exact}, error {error}"
        );
        assert!(error > 1e-6, "random probes spread");
    }
}

#[test]
fn the_divergence_is_the_trace_of_the_difference_quotients() {
    let level = VpCosine::default().level(0.4);
    let model = mixture();
    let (velocity, exact) = divergence(&model, &x(), level.into(), &Trace::Exact).unwrap();
    assert!(
        apart(
            &velocity,
            &model.estimate(&x(), level.into()).unwrap().velocity().unwrap()
        ) == 0.0
    );
    let h = 1e-5;
    for (row, exact) in values(&exact).into_iter().enumerate() {
        let mut trace = 0.0;
        for axis in 0..3 {
            let mut moved = [[0.0f64; 3]; 4];
            moved[row][axis] = h;
            let moved = Tensor::new(&moved, &Device::Cpu).unwrap();
            let v = |x: Tensor| {
                values(&model.estimate(&x, level.into()).unwrap().velocity().unwrap())[3 * row + axis]
            };
            trace += (v((x() + &moved).unwrap()) - v((x() - &moved).unwrap())) / (2.0 * h);
        }
        assert!((trace - exact).abs() < 1e-6, "{trace} {exact}");
    }
    // Unit vectors times √D are probes with E[zzᵀ] = I, over which the mean is the trace itself.
    let axes = (0..3).map(|axis| {
        let mut probe = [[0.0f64; 3]; 4];
        probe.iter_mut().for_each(|row| row[axis] = 3f64.sqrt());
        Tensor::new(&probe, &Device::Cpu).unwrap()
    });
    let (_, probed) = divergence(&model, &x(), level.into(), &Trace::Probed(axes.collect())).unwrap();
    assert!(apart(&probed, &exact) < 1e-12);
}

#[test]
fn a_code_is_what_encoding_finds_and_decodes_to_the_data() {
    let path: Arc<dyn Schedule> = Arc::new(VpLinear::default());
    let told = Likelihood::default()
        .log_density(
            &mixture(),
            path.as_ref(),
            (1e-3, 1.0),
            &x(),
            &Prior::Gaussian { std: 1.0 },
            &mut Seeded::new(0),
        )
        .unwrap();
    let solver = Dopri5Adaptive::new(1e-7, 1e-7).unwrap();
    let code = solver
        .transport(&mixture(), path.clone(), (1e-3, 1.0), &x())
        .unwrap();
    assert!(apart(&code, &told.code) < 1e-3);
    let back = solver.transport(&mixture(), path, (1.0, 1e-3), &code).unwrap();
    assert!(apart(&back, &x()) < 1e-5);
}

#[test]
fn a_single_precision_model_is_integrated_in_double() {
    let x = x().to_dtype(DType::F32).unwrap();
    let model = mixture();
    let path = RectifiedFlow::default();
    let density = |x: &Tensor, at: NoiseLevel| model.log_density(x, at);
    let prior = Prior::LogDensity(&density);
    let told = Likelihood::default()
        .log_density(&model, &path, (0.05, 0.99), &x, &prior, &mut Seeded::new(0))
        .unwrap();
    assert_eq!(
        (told.code.dtype(), told.log_density.dtype()),
        (DType::F32, DType::F64)
    );
    assert!(
        apart(
            &told.log_density,
            &model.log_density(&x, path.level(0.05)).unwrap()
        ) < 2e-3
    );
}

#[test]
fn bits_count_the_size_of_a_level() {
    // Uniform on [−1, 1]: ln p = −ln 2 a dimension; 8 bits for 256 levels of size 1/128.
    let uniform = Tensor::new(&[-6.0 * std::f64::consts::LN_2], &Device::Cpu).unwrap();
    assert!((values(&bits_per_dim(&uniform, 6, 1.0 / 128.0).unwrap())[0] - 8.0).abs() < 1e-12);
    assert!(bits_per_dim(&uniform, 0, 1.0).is_err() && bits_per_dim(&uniform, 6, 0.0).is_err());
}

#[test]
fn what_has_no_likelihood_is_refused() {
    let path = RectifiedFlow::default();
    let try_it = |model: &dyn Denoiser, between, std| {
        let prior = Prior::Gaussian { std };
        let told =
            Likelihood::default().log_density(model, &path, between, &x(), &prior, &mut Seeded::new(0));
        told.unwrap_err().to_string()
    };
    let model = mixture();
    assert!(try_it(&model, (0.0, 1.0), 1.0).contains("where σ > 0"));
    assert!(try_it(&model, (0.5, 0.1), 1.0).contains("above the first"));
    assert!(try_it(&model, (0.1, 1.5), 1.0).contains("1.5"));
    assert!(try_it(&model, (0.1, 1.0), 0.0).contains("positive and finite"));
    let cut = Parameterization::flow_matching().denoiser(network(|call| Ok(call.x.detach())));
    assert!(try_it(&cut, (0.1, 1.0), 1.0).contains("must not detach"));
}
