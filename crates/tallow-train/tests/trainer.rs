//! What a run does when things go wrong, and when it is told to end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod choices;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use candle_core::{DType, Device, Tensor};
use choices::{Choices, DATA, OBJECTIVES, OPTIMIZERS, same};
use tallow_denoisers::{Batch, Batches, Call, network};
use tallow_models::{Mlp, MlpConfig};
use tallow_nn::{Init, Parameters, Sgd, SgdConfig};
use tallow_train::{Average, Checkpoint, Checkpoints, Configuration, Error, NonFinite, Trainer};

const SIMPLE: Choices = Choices {
    objective: 0,
    coupling: 0,
    average: 1,
    optimizer: 0,
    data: 0,
};

fn bytes(trainer: &Trainer<'_>) -> Vec<u8> {
    trainer.checkpoint().unwrap().to_bytes().unwrap()
}

/// Batches of which some hold a NaN.
#[derive(Debug)]
struct Poisoned {
    batches: Box<dyn Batches>,
    drawn: u64,
    at: &'static [u64],
}

impl Poisoned {
    fn new(at: &'static [u64]) -> Self {
        Self {
            batches: DATA[0].1(),
            drawn: 0,
            at,
        }
    }
}

impl Batches for Poisoned {
    fn next_batch(&mut self) -> tallow_denoisers::Result<Batch> {
        self.drawn += 1;
        let batch = self.batches.next_batch()?;
        if !self.at.contains(&self.drawn) {
            return Ok(batch);
        }
        Ok(Batch::new((batch.x0 * f64::NAN)?))
    }

    fn position(&self) -> BTreeMap<String, u128> {
        let mut position = self.batches.position();
        position.insert("drawn".to_owned(), self.drawn.into());
        position
    }

    fn seek(&mut self, position: &BTreeMap<String, u128>) -> tallow_denoisers::Result<()> {
        self.batches.seek(position)?;
        self.drawn = position["drawn"] as u64;
        Ok(())
    }
}

/// A small run on poisoned data.
fn poisoned<R>(at: &'static [u64], policy: NonFinite, work: impl FnOnce(Trainer<'_>) -> R) -> R {
    let parameters = Parameters::new(5, DType::F32, &Device::Cpu);
    let config = MlpConfig {
        width: 8,
        depth: 1,
        ..MlpConfig::new(2)
    };
    let network = Mlp::new(&parameters.scope(), config).unwrap();
    let objective = OBJECTIVES[0].1();
    let optimizer = OPTIMIZERS[0].1(&parameters);
    let average = choices::AVERAGES[1].1(&parameters).pop().unwrap();
    work(
        Trainer::new(
            &parameters,
            &network,
            objective.as_ref(),
            Poisoned::new(at),
            optimizer,
        )
        .with_average(average)
        .on_non_finite(policy),
    )
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_as_it_was_before_the_step() {
    let before = poisoned(&[], NonFinite::Stop, |mut trainer| {
        trainer.run(3).unwrap();
        bytes(&trainer)
    });
    poisoned(&[4], NonFinite::Stop, |mut trainer| {
        let error = trainer.run(9).unwrap_err();
        let Error::NotFiniteStep {
            step: 4,
            loss,
            parameter,
            gradient,
            ..
        } = &error
        else {
            panic!("{error}");
        };
        assert!(loss.is_nan() && gradient.is_nan());
        assert!(
            parameter.ends_with("weight") || parameter.ends_with("bias"),
            "{parameter}"
        );
        assert_eq!(trainer.step(), 3);
        assert!(bytes(&trainer) == before);
        // It is the same step that fails again.
        assert!(trainer.run(9).is_err());
        assert!(bytes(&trainer) == before);
    });
}

#[test]
fn steps_that_may_be_skipped_change_nothing_but_the_place_and_only_so_many_may() {
    let weights = |trainer: &Trainer<'_>| trainer.checkpoint().unwrap().part("weights").unwrap().clone();
    poisoned(&[3, 5, 8], NonFinite::Skip { at_most: 2 }, |mut trainer| {
        trainer.run(2).unwrap();
        let before = weights(&trainer);
        let checkpoint = trainer.checkpoint().unwrap();
        assert!(trainer.run(3).unwrap().loss.unwrap().is_nan());
        for (name, tensor) in weights(&trainer).tensors {
            let copy = &Checkpoint::from_bytes(&checkpoint.to_bytes().unwrap()).unwrap();
            assert!(same(&tensor, &copy.part("weights").unwrap().tensors[&name]));
            assert!(same(&tensor, &before.tensors[&name]));
        }
        trainer.run(7).unwrap();
        assert_eq!(trainer.skipped(), 2);
        let error = trainer.run(9).unwrap_err();
        assert!(
            matches!(
                error,
                Error::NotFiniteStep {
                    step: 8,
                    skipped: 2,
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(trainer.step(), 7);
    });
}

fn sgd(parameters: &Parameters) -> Sgd {
    let config = SgdConfig {
        learning_rate: 0.1,
        ..SgdConfig::default()
    };
    Sgd::new(parameters, config).unwrap()
}

#[test]
fn parameters_that_no_gradient_reaches_are_named() {
    let run = |excused: &[&str], form: fn(&[Tensor], &Call<'_>) -> candle_core::Result<Tensor>| {
        let parameters = Parameters::new(5, DType::F32, &Device::Cpu);
        let scope = parameters.scope();
        let ones = Init::Constant(1.0);
        let tensors = [("first", ones), ("last", Init::ZEROS), ("other", ones)]
            .map(|(name, init)| scope.parameter(name, 2, init).unwrap());
        let network = network(move |call| form(&tensors, call));
        Trainer::new(
            &parameters,
            &network,
            OBJECTIVES[0].1().as_ref(),
            DATA[0].1(),
            sgd(&parameters),
        )
        .excusing(excused.iter().copied())
        .run(12)
    };
    // A layer that starts at zero holds the gradient of the one before it back for a step.
    let gated = |t: &[Tensor], call: &Call<'_>| {
        let hidden = call.x.broadcast_mul(&t[0])?.broadcast_add(&t[2])?;
        hidden.broadcast_mul(&t[1])
    };
    assert!(run(&[], gated).is_ok());
    // Times zero: a gradient, but of zeros for ever.
    let dead = |t: &[Tensor], call: &Call<'_>| {
        let hidden = call
            .x
            .broadcast_mul(&t[0])?
            .broadcast_add(&(&t[2] * t[2].zeros_like()?)?)?;
        hidden.broadcast_mul(&t[1])
    };
    let error = run(&[], dead).unwrap_err();
    assert!(
        matches!(&error, Error::NoGradient { names } if names == &["other"]),
        "{error}"
    );
    assert!(run(&["other"], dead).is_ok());
    // Not in the graph at all.
    let cut = |t: &[Tensor], call: &Call<'_>| call.x.broadcast_mul(&t[0])?.broadcast_mul(&t[1]);
    let error = run(&[], cut).unwrap_err();
    assert!(error.to_string().contains("no gradient reached other"), "{error}");
}

#[test]
fn a_callback_ends_a_run_with_a_checkpoint_and_a_run_does_not_start_before_one() {
    let folder = tempfile::tempdir().unwrap();
    SIMPLE.with_run(50, |trainer| {
        let checkpoints = Checkpoints::open(folder.path()).unwrap();
        let outcome = trainer
            .with_checkpoints(checkpoints, 20)
            .unwrap()
            .with_callback(|report| {
                assert_eq!(report.saved, report.step == 20);
                match report.step {
                    33 => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            })
            .run(50)
            .unwrap();
        assert!(outcome.stopped && outcome.step == 33);
    });
    SIMPLE.with_run(50, |trainer| {
        let checkpoints = Checkpoints::open(folder.path()).unwrap();
        assert_eq!(checkpoints.steps().unwrap(), [20, 33]);
        let mut trainer = trainer.with_checkpoints(checkpoints, 20).unwrap();
        let error = trainer.run(50).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Order {
                    step: 0,
                    newest: 33,
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(trainer.resume().unwrap().unwrap().step, 33);
        assert!(!trainer.run(50).unwrap().stopped);
    });
    SIMPLE.with_run(50, |mut trainer| {
        assert!(matches!(trainer.resume(), Err(Error::NoCheckpoints)));
    });
}

#[test]
fn a_checkpoint_of_another_run_is_refused_and_changes_nothing() {
    let saved = SIMPLE.with_run(50, |mut trainer| {
        trainer.run(7).unwrap();
        trainer.checkpoint().unwrap().to_bytes().unwrap()
    });
    let saved = Checkpoint::from_bytes(&saved).unwrap();
    let others = [
        Choices {
            optimizer: 3,
            ..SIMPLE
        },
        Choices { average: 0, ..SIMPLE },
        Choices { average: 3, ..SIMPLE },
        Choices { data: 1, ..SIMPLE },
    ];
    for other in others {
        other.with_run(50, |mut trainer| {
            trainer.run(3).unwrap();
            let before = bytes(&trainer);
            assert!(trainer.restore(&saved).is_err());
            assert!(bytes(&trainer) == before, "{}", other.names());
            trainer.run(5).unwrap();
        });
    }
    SIMPLE.with_run(50, |trainer| {
        let before = bytes(&trainer);
        let mut trainer = trainer.with_noise(tallow_denoisers::Seeded::new(9));
        let error = trainer.restore(&saved).unwrap_err().to_string();
        assert!(error.contains("another seed"), "{error}");
        assert!(bytes(&trainer) != before);
    });
    SIMPLE.with_run(50, |trainer| {
        let configuration = Configuration::parse(r#"{"width": 9}"#).unwrap();
        let mut trainer = trainer.with_configuration(configuration);
        let error = trainer.restore(&saved).unwrap_err().to_string();
        assert!(error.contains("width: 9, was absent"), "{error}");
    });
}

/// An average that fails in its third update.
#[derive(Debug)]
struct Failing(u64);

impl Average for Failing {
    fn update(&mut self) -> tallow_train::Result<()> {
        self.0 += 1;
        if self.0 == 3 {
            return Err(candle_core::Error::Msg("full".to_owned()).into());
        }
        Ok(())
    }

    fn state(&self) -> tallow_train::Result<tallow_train::Part> {
        Ok(tallow_train::Part::of_count("updates", self.0.into()))
    }

    fn restore(&mut self, state: &tallow_train::Part) -> tallow_train::Result<()> {
        self.0 = state.counts["updates"] as u64 + 1;
        Ok(())
    }
}

#[test]
fn a_step_that_failed_half_way_is_not_saved_and_a_checkpoint_mends_the_run() {
    SIMPLE.with_run(50, |trainer| {
        let mut trainer = trainer.with_average(Failing(0));
        trainer.run(1).unwrap();
        let saved = Checkpoint::from_bytes(&bytes(&trainer)).unwrap();
        assert!(trainer.run(9).is_err());
        assert!(matches!(trainer.checkpoint(), Err(Error::Broken { step: 2 })));
        assert!(matches!(trainer.run(9), Err(Error::Broken { step: 2 })));
        assert_eq!(trainer.restore(&saved).unwrap().step, 1);
        assert_eq!(trainer.step(), 1);
    });
}
