//! The laws of schedulers; what diffusers visits is made by scripts/fixtures/schedulers.py.

use super::*;
use crate::diffusers::json_file::parse;

fn cases() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/schedulers.json");
    let cases: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    cases.as_array().unwrap().clone()
}

fn config(case: &Value) -> Value {
    parse(case["config"].as_str().unwrap().as_bytes()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap())
        .collect()
}

/// Equal neighbours once: a method with two evaluations a step visits some twice.
fn once(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.dedup();
    numbers
}

/// Whether the network is told a number that diffusers rounds.
fn rounds(config: &Value) -> f64 {
    let is = |key: &str| config[key] == true;
    let multistep = config["_class_name"].as_str().unwrap().starts_with("DPM");
    match () {
        // Cut off to a whole number.
        () if is("use_flow_sigmas") => 1.0,
        // Rounded, and found in a table whose ln σ is linear between entries.
        () if multistep && (is("use_karras_sigmas") || is("use_lu_lambdas")) => 0.55,
        // Below the first entries, where ln σ is far from linear in ln ᾱ.
        () if is("use_karras_sigmas") || is("use_exponential_sigmas") => 0.1,
        () => 1e-4,
    }
}

#[test]
fn grids_and_what_the_network_is_told_are_those_of_diffusers() {
    for case in cases() {
        let config = config(&case);
        let scheduler = Scheduler::from_config(&config).unwrap();
        let told = scheduler.parameterization().time;
        // Single precision; at ᾱ near 0 it has few digits left, and between entries σ is interpolated otherwise.
        let zero = config["rescale_betas_zero_snr"] == true;
        let between = config["timestep_spacing"] == "linspace"
            && scheduler.class().counting() == class::Counting::Places;
        let tolerance = if zero || between { 5e-3 } else { 3e-4 };
        for run in case["runs"].as_array().unwrap() {
            let count = run["count"].as_u64().unwrap() as usize;
            let grid = match case["mu"].is_null() {
                true => scheduler.grid(count).unwrap(),
                // μ = 0.63 of the default line through (256, 0.5) and (4096, 1.15).
                false => scheduler.grid_of_sequence(count, 1024).unwrap(),
            };
            let levels: Vec<_> = grid.times().iter().map(|&t| grid.schedule().level(t)).collect();
            let wanted = once(numbers(&run["timesteps"]));
            let place = format!("{config} in {count} steps: {:?}", grid.times());
            // Rounding makes some timesteps equal that are none.
            if rounds(&config) < 0.5 {
                assert_eq!(levels.len(), wanted.len() + 1, "{place}");
            }
            let timesteps = numbers(&run["timesteps"]);
            let timesteps = if rounds(&config) < 0.5 { wanted } else { timesteps };
            for (level, want) in levels.iter().zip(&timesteps) {
                let got = told.of(*level);
                assert!(
                    (got - want).abs() <= rounds(&config),
                    "{place}: told {got}, not {want}"
                );
            }
            if let Some(sigmas) = run.get("sigmas").map(numbers) {
                let sigmas = if scheduler.class() == SchedulerClass::Heun {
                    once(sigmas)
                } else {
                    sigmas
                };
                assert_eq!(sigmas.len(), levels.len(), "{place}");
                for (level, want) in levels.iter().zip(&sigmas) {
                    let got = match scheduler.table() {
                        Some(_) => level.noise_to_signal(),
                        None => level.t,
                    };
                    assert!(
                        (got - want).abs() <= tolerance * want,
                        "{place}: σ {got}, not {want}"
                    );
                }
            }
        }
        if let (Some(table), Some(bars)) = (scheduler.table(), case.get("alpha_bars")) {
            let ours = table.alpha_bars();
            let ours = [ours[0], ours[ours.len() / 2], ours[ours.len() - 2]];
            for (got, want) in ours.iter().zip(numbers(bars)) {
                assert!(
                    (got - want).abs() <= tolerance * want,
                    "{config}: ᾱ {got}, not {want}"
                );
            }
        }
    }
}

#[test]
fn what_ddpm_and_stable_diffusion_say_is_read() {
    let ddpm =
        Scheduler::from_config(&json!({"_class_name": "DDPMScheduler", "variance_type": "learned_range"}))
            .unwrap();
    assert_eq!(
        ddpm.parameterization(),
        Parameterization::ddpm(1000).with_learned_range()
    );
    assert_eq!(ddpm.threshold(), Some(Threshold::Static { range: 1.0 }));
    let video = json!({
        "_class_name": "DDIMScheduler", "_diffusers_version": "0.6.0", "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "beta_start": 0.00085, "clip_sample": false, "num_train_timesteps": 1000, "prediction_type": "v_prediction",
        "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1, "trained_betas": null,
    });
    let diffusion = Scheduler::from_config(&video).unwrap();
    assert_eq!(diffusion.parameterization(), Parameterization::v(1000));
    assert_eq!(diffusion.threshold(), None);
    let grid = diffusion.grid(50).unwrap();
    // 981, 961, …, 1 and the first entry, 0.
    assert_eq!(
        (grid.step_count(), grid.first().t, grid.last().t),
        (50, 0.982, 0.001)
    );
    let flow = Scheduler::flow(3.0).unwrap();
    assert_eq!(flow.parameterization().time, TimeInput::Scaled(1000.0));
    assert_eq!(
        (flow.prediction(), flow.trained_steps()),
        (Prediction::Velocity, 1000)
    );
}

#[test]
fn a_scheduler_of_ours_is_written_and_read_as_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let table = Table::cosine(100, 0.008, 0.999).unwrap();
    for prediction in [Prediction::Noise, Prediction::Data, Prediction::V] {
        let ours = Scheduler::ddim(&table, prediction).unwrap();
        ours.write(folder.path().join("scheduler")).unwrap();
        let read = Scheduler::read(folder.path()).unwrap();
        assert_eq!(read.parameterization(), ours.parameterization());
        assert_eq!((read.threshold(), read.class()), (None, SchedulerClass::Ddim));
        // A number of JSON is read to the last digit or the one before.
        for (a, b) in read.table().unwrap().betas().iter().zip(table.betas()) {
            assert!((a - b).abs() <= 3e-16 * b, "{a} {b}");
        }
        assert_eq!(read.grid(10).unwrap().times(), ours.grid(10).unwrap().times());
    }
    assert!(Scheduler::ddim(&table, Prediction::Velocity).is_err());
    let message = Scheduler::read(tempfile::tempdir().unwrap().path())
        .unwrap_err()
        .to_string();
    assert!(message.contains("scheduler_config.json"), "{message}");
}

#[test]
fn a_denoiser_of_the_data_is_recovered_whatever_is_predicted() {
    use candle_core::{Device, Tensor};
    use tallow_denoisers::{Denoiser, network};

    // The data is one point, so every prediction is known.
    for (name, prediction) in [
        ("epsilon", Prediction::Noise),
        ("sample", Prediction::Data),
        ("v_prediction", Prediction::V),
    ] {
        let scheduler =
            Scheduler::from_config(&json!({"_class_name": "DDIMScheduler", "prediction_type": name}))
                .unwrap();
        let level = scheduler.grid(10).unwrap().first();
        let (point, x) = (0.4, 1.3);
        let noise = (x - level.alpha * point) / level.sigma;
        let (a, b) = prediction.target(level);
        let answer = a * point + b * noise;
        // The first of ten steps is 900.
        let model = scheduler.denoiser(network(move |call| {
            assert!((call.times[0] - 900.0).abs() < 1e-9);
            call.x.affine(0.0, answer)
        }));
        let x = Tensor::new(&[[x]], &Device::Cpu).unwrap();
        let x0 = model.estimate(&x, level.into()).unwrap().x0().unwrap();
        assert!(
            (x0.to_vec2::<f64>().unwrap()[0][0] - point).abs() < 1e-12,
            "{name}"
        );
    }
}

#[test]
fn what_cannot_be_is_refused_with_key_value_and_way_out() {
    let broken = [
        (json!({}), "DDPMScheduler, DDIMScheduler"),
        (json!({"_class_name": "EDMEulerScheduler"}), "EDMEulerScheduler"),
        (
            json!({"_class_name": "DDPMScheduler", "beta_shedule": "linear"}),
            "beta_shedule",
        ),
        (
            json!({"_class_name": "DDPMScheduler", "beta_schedule": "laplace"}),
            "trained_betas",
        ),
        (
            json!({"_class_name": "DDPMScheduler", "num_train_timesteps": 1e9 as u64}),
            "100000",
        ),
        (
            json!({"_class_name": "DDPMScheduler", "prediction_type": "flow_prediction"}),
            "use_flow_sigmas",
        ),
        (
            json!({"_class_name": "DDPMScheduler", "trained_betas": [0.1, 0.2]}),
            "as many as",
        ),
        (
            json!({"_class_name": "DDPMScheduler", "beta_end": 2.0}),
            "beta_end",
        ),
        (
            json!({"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": true}),
            "cannot see the data",
        ),
        (
            json!({"_class_name": "DDPMScheduler", "variance_type": "learned"}),
            "learned_range",
        ),
        (
            json!({"_class_name": "DDPMScheduler", "timestep_spacing": "odd"}),
            "trailing",
        ),
        (
            json!({"_class_name": "DDIMScheduler", "clip_sample_range": 0.0}),
            "positive",
        ),
        (
            json!({"_class_name": "EulerDiscreteScheduler", "use_beta_sigmas": true}),
            "use_beta_sigmas",
        ),
        (
            json!({"_class_name": "EulerDiscreteScheduler", "timestep_type": "continuous"}),
            "discrete",
        ),
        (
            json!({"_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": true, "use_exponential_sigmas": true}),
            "only one",
        ),
        (
            json!({"_class_name": "DPMSolverMultistepScheduler", "use_flow_sigmas": true}),
            "flow_prediction",
        ),
        (
            json!({"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": 90.0}),
            "lambda_min_clipped",
        ),
        (
            json!({"_class_name": "DEISMultistepScheduler", "use_flow_sigmas": true}),
            "use_flow_sigmas",
        ),
        (
            json!({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 0.0}),
            "1e6",
        ),
        (
            json!({"_class_name": "FlowMatchEulerDiscreteScheduler", "invert_sigmas": true}),
            "invert_sigmas",
        ),
        (
            json!({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift_terminal": 0.1}),
            "shift_terminal",
        ),
    ];
    for (config, words) in broken {
        let message = Scheduler::from_config(&config).unwrap_err().to_string();
        assert!(message.contains(words), "{config}: {message}");
    }
    let dynamic = json!({"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": true});
    let dynamic = Scheduler::from_config(&dynamic).unwrap();
    assert!(
        dynamic
            .grid(10)
            .unwrap_err()
            .to_string()
            .contains("grid_of_sequence")
    );
    assert!(dynamic.grid_of_sequence(10, 0).is_err() && dynamic.grid_of_sequence(0, 1024).is_err());
    let ddpm = Scheduler::from_config(&json!({"_class_name": "DDPMScheduler"})).unwrap();
    assert!(ddpm.grid(0).is_err() && ddpm.grid(1001).is_err());
}
