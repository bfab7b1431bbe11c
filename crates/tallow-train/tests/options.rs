//! What a run's options mean: batches added up, clipped gradients, half precision.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod choices;

use std::cell::RefCell;
use std::ops::ControlFlow;

use candle_core::{DType, Device, Tensor};
use choices::{DATA, OBJECTIVES, OPTIMIZERS};
use rand::RngCore;
use tallow_datasets::{Shuffled, TensorDataset};
use tallow_denoisers::{Batch, Call, Network};
use tallow_models::{Mlp, MlpConfig};
use tallow_nn::{Parameters, Sgd, SgdConfig};
use tallow_objectives::{Loss, Objective};
use tallow_train::{Checkpoint, Trainer};

/// ‖network(x0)‖², the mean over all entries: no randomness.
#[derive(Debug)]
struct Square(f64);

impl Objective for Square {
    fn loss(
        &self,
        network: &dyn Network,
        batch: &Batch,
        _: &mut dyn RngCore,
    ) -> tallow_objectives::Result<Loss> {
        let times = vec![0.5; batch.rows()?];
        let call = Call::new(&batch.x0, &times, &batch.condition)?;
        let square = network.forward(&call)?.sqr()?.mean(1)?;
        Ok(Loss {
            mean: (square.mean_all()? * self.0)?,
            per_row: square.detach(),
            levels: Vec::new(),
        })
    }
}

fn twelve_rows(batch: usize) -> Shuffled {
    let rows: Vec<f32> = (0..24).map(|n| (n as f32 * 0.7).sin()).collect();
    let data = TensorDataset::new(&Tensor::from_vec(rows, (12, 2), &Device::Cpu).unwrap()).unwrap();
    Shuffled::new(data, batch, 1).unwrap()
}

fn sgd(parameters: &Parameters) -> Sgd {
    let config = SgdConfig {
        learning_rate: 0.1,
        ..SgdConfig::default()
    };
    Sgd::new(parameters, config).unwrap()
}

/// The weights and the gradient norms after some steps on twelve rows, in batches of `batch`, `micro` a step.
fn on_twelve_rows(batch: usize, micro: usize, factor: f64, clipping: f64) -> (Vec<f64>, Vec<f64>) {
    let parameters = Parameters::new(5, DType::F64, &Device::Cpu);
    let config = MlpConfig {
        width: 8,
        depth: 1,
        ..MlpConfig::new(2)
    };
    let network = Mlp::new(&parameters.scope(), config).unwrap();
    let norms = RefCell::new(Vec::new());
    Trainer::new(
        &parameters,
        &network,
        &Square(factor),
        twelve_rows(batch),
        sgd(&parameters),
    )
    .with_micro_batches(micro)
    .unwrap()
    .with_clipping(clipping)
    .unwrap()
    .excusing(parameters.names())
    .with_callback(|report| {
        norms.borrow_mut().push(report.gradient_norm);
        ControlFlow::Continue(())
    })
    .run(4)
    .unwrap();
    let values = parameters.named().into_iter().flat_map(|(_, variable)| {
        let values = variable.flatten_all().unwrap();
        values.to_vec1::<f64>().unwrap()
    });
    (values.collect(), norms.into_inner())
}

#[test]
fn micro_batches_of_any_size_descend_as_their_union_would() {
    let (whole, _) = on_twelve_rows(12, 1, 1.0, 1e9);
    // 5 + 5 + 2 rows, which differ in number, and 4 + 4 + 4.
    for (batch, micro) in [(5, 3), (4, 3)] {
        let (parts, _) = on_twelve_rows(batch, micro, 1.0, 1e9);
        let error = whole.iter().zip(&parts).map(|(a, b)| (a - b).abs());
        let error = error.fold(0.0, f64::max);
        assert!(error < 1e-12, "{error}");
    }
    let (other, _) = on_twelve_rows(4, 2, 1.0, 1e9);
    assert!(whole.iter().zip(&other).any(|(a, b)| (a - b).abs() > 1e-6));
}

#[test]
fn clipping_bounds_a_step_and_the_report_tells_the_norm_before_it() {
    let start: Vec<f64> = {
        let parameters = Parameters::new(5, DType::F64, &Device::Cpu);
        let config = MlpConfig {
            width: 8,
            depth: 1,
            ..MlpConfig::new(2)
        };
        Mlp::new(&parameters.scope(), config).unwrap();
        let named = parameters.named().into_iter();
        named
            .flat_map(|(_, variable)| variable.flatten_all().unwrap().to_vec1::<f64>().unwrap())
            .collect()
    };
    let (clipped, norms) = on_twelve_rows(12, 1, 100.0, 0.5);
    assert!(norms[0] > 0.5, "{norms:?}");
    let square: f64 = start.iter().zip(&clipped).map(|(a, b)| (a - b) * (a - b)).sum();
    // Four steps of a rate of 0.1 along gradients of a norm of 0.5.
    assert!(square.sqrt() <= 4.0 * 0.1 * 0.5 + 1e-9, "{}", square.sqrt());
}

#[test]
fn half_precision_learns_as_single_precision_does_and_goes_on_bit_for_bit() {
    let config = MlpConfig {
        width: 8,
        depth: 1,
        ..MlpConfig::new(2)
    };
    let run = |dtype: Option<DType>, factor: f64, stops: &[u64]| {
        let mut saved: Option<Vec<u8>> = None;
        let mut losses = Vec::new();
        for stop in stops {
            let parameters = Parameters::new(5, DType::F32, &Device::Cpu);
            let network = Mlp::new(&parameters.scope(), config).unwrap();
            let objective = Square(factor);
            let losses = RefCell::new(&mut losses);
            let mut trainer = Trainer::new(
                &parameters,
                &network,
                &objective,
                twelve_rows(4),
                OPTIMIZERS[0].1(&parameters),
            )
            .excusing(parameters.names())
            .with_callback(|report| {
                losses.borrow_mut().push((report.loss, report.gradient_norm));
                ControlFlow::Continue(())
            });
            if let Some(dtype) = dtype {
                trainer = trainer
                    .with_mixed_precision(dtype, |scope| Mlp::new(scope, config))
                    .unwrap();
            }
            if let Some(saved) = &saved {
                let saved = Checkpoint::from_bytes(saved).unwrap();
                assert!(trainer.restore(&saved).unwrap().warnings.is_empty());
            }
            trainer.run(*stop).unwrap();
            saved = Some(trainer.checkpoint().unwrap().to_bytes().unwrap());
        }
        (saved.unwrap(), losses)
    };
    // The second loss is so large that gradients overflow until the scale is lowered.
    for factor in [1.0, 300.0] {
        let (_, single) = run(None, factor, &[30]);
        let (whole, half) = run(Some(DType::F16), factor, &[30]);
        for ((loss, norm), (half_loss, half_norm)) in single.iter().zip(&half) {
            // Eleven bits, and their errors added up over thirty steps.
            assert!((loss - half_loss).abs() < 0.02 * loss, "{loss} {half_loss}");
            assert!((norm - half_norm).abs() < 0.02 * norm, "{norm} {half_norm}");
        }
        assert_ne!(single, half);
        assert!(run(Some(DType::F16), factor, &[13, 30]).0 == whole);
        let exponent = Checkpoint::from_bytes(&whole)
            .unwrap()
            .part("run")
            .unwrap()
            .counts["loss scale exponent"];
        assert_eq!(exponent == 16, factor == 1.0, "{exponent}");
    }
}

#[test]
fn types_that_the_device_cannot_compute_in_are_refused() {
    let parameters = Parameters::new(5, DType::F32, &Device::Cpu);
    let network = Mlp::new(&parameters.scope(), MlpConfig::new(2)).unwrap();
    let objective = OBJECTIVES[0].1();
    for (dtype, expected) in [(DType::BF16, "on the CPU"), (DType::F64, "not a half precision")] {
        let trainer = Trainer::new(
            &parameters,
            &network,
            objective.as_ref(),
            DATA[0].1(),
            OPTIMIZERS[0].1(&parameters),
        );
        let built = trainer.with_mixed_precision(dtype, |scope| Mlp::new(scope, MlpConfig::new(2)));
        let error = built.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
