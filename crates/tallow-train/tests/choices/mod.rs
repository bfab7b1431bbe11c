//! What a run can be put together from, as lists: a new objective, coupling, average or optimiser adds a line, and every test
//! of this folder takes it up.

#![allow(dead_code, reason = "each test takes the lists that it needs")]

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use tallow_datasets::{Checkerboard, LastBatch, Prefetch, Shuffled, SwissRoll, TensorDataset};
use tallow_denoisers::{Batch, Batches, Condition, Dataset, Drawn, Network, Parameterization, Seeded};
use tallow_models::{Mlp, MlpConfig};
use tallow_nn::{
    Adam, AdamConfig, AdamW, AdamWConfig, Ema, EmaDecay, Optimizer, Parameters, PostHocEma, RAdam,
    RAdamConfig, Rising, RngCore, Sgd, SgdConfig,
};
use tallow_objectives::coupling::{ImmiscibleNoise, OptimalTransport, SinkhornCoupling};
use tallow_objectives::time_sampling::LossAware;
use tallow_objectives::variational::{Chain, Decoder};
use tallow_objectives::{
    self as objectives, Bridge, Coupling, Independent, LabelDropout, LearnedRange, Loss, Objective,
    OffsetNoise, Penalty, Regression, SelfConditioning, TimeSampling,
};
use tallow_schedules::{Prediction, RectifiedFlow, Table, VpLinear, Weighting};
use tallow_train::{Average, LearningRate, Trainer, Validation};

/// The name of a choice, and how it is made.
pub(crate) type Choice<T> = (&'static str, fn() -> T);
/// The same of something made for parameters.
pub(crate) type ChoiceFor<T> = (&'static str, fn(&Parameters) -> T);

fn flow() -> Regression {
    Regression::new(
        Arc::new(RectifiedFlow::default()),
        Parameterization::flow_matching(),
    )
}

fn ddpm(times: TimeSampling) -> Regression {
    let table = Table::linear_beta(20, 1e-3, 0.2).unwrap();
    Regression::new(Arc::new(table), Parameterization::ddpm(20)).with_times(times)
}

/// What the network of these objectives differs in.
const LEARNED_RANGE: &str = "learned range";
const LABEL_DROPOUT: &str = "label dropout";
/// Labels without that of none.
const CLASSES: u32 = 3;

/// An objective whose batches have labels, which the data of these tests lacks.
#[derive(Debug)]
struct Labelled<O>(O);

impl<O: Objective> Objective for Labelled<O> {
    fn loss(&self, network: &dyn Network, batch: &Batch, rng: &mut dyn RngCore) -> objectives::Result<Loss> {
        let labels: Vec<u32> = (0..batch.rows()? as u32).map(|row| row % CLASSES).collect();
        let labels = Condition::labels(Tensor::new(labels, &Device::Cpu)?);
        self.0.loss(network, &batch.clone().with_condition(labels)?, rng)
    }
}

/// Offset noise for points, each taken as a channel of two pixels.
#[derive(Debug)]
struct OffsetPoints(OffsetNoise);

impl Coupling for OffsetPoints {
    fn pair(&self, batch: Batch, rng: &mut dyn RngCore) -> objectives::Result<Batch> {
        let pixels = Batch::new(batch.x0.unsqueeze(1)?);
        let paired = self.0.pair(pixels, rng)?;
        match paired.x1 {
            Some(noise) => Ok(batch.with_source(noise.squeeze(1)?)?),
            None => Ok(batch),
        }
    }
}

fn model(objective: &str) -> MlpConfig {
    let config = MlpConfig {
        width: 8,
        depth: 1,
        ..MlpConfig::new(2)
    };
    match objective {
        LEARNED_RANGE => MlpConfig { outputs: 4, ..config },
        LABEL_DROPOUT => MlpConfig {
            classes: CLASSES as usize + 1,
            ..config
        },
        _ => config,
    }
}

pub(crate) const OBJECTIVES: &[Choice<Box<dyn Objective>>] = &[
    ("flow matching", || Box::new(flow())),
    ("logit-normal times", || {
        Box::new(flow().with_times(TimeSampling::logit_normal(0.0, 1.0).unwrap()))
    }),
    ("pseudo-Huber", || {
        Box::new(flow().with_penalty(Penalty::ict(2)).unwrap())
    }),
    ("bridge and self-conditioning", || {
        let bridge = Bridge::Schrodinger { sigma: 0.5 };
        let told = SelfConditioning::new(0.5).unwrap();
        Box::new(flow().with_bridge(bridge).unwrap().with_self_conditioning(told))
    }),
    ("ddpm", || Box::new(ddpm(TimeSampling::steps(20).unwrap()))),
    ("min-SNR", || {
        let weighting = Weighting::MinSnr { gamma: 5.0 };
        let objective = ddpm(TimeSampling::steps(20).unwrap());
        Box::new(objective.with_weighting(weighting).unwrap())
    }),
    ("score matching", || {
        let parameterization = Parameterization::new(Prediction::Score);
        let times = TimeSampling::uniform().within(0.05, 1.0).unwrap();
        Box::new(Regression::new(Arc::new(VpLinear::default()), parameterization).with_times(times))
    }),
    (LEARNED_RANGE, || {
        let chain = Chain::new(Arc::new(Table::linear_beta(20, 1e-3, 0.2).unwrap()), 20).unwrap();
        let parameterization = Parameterization::ddpm(20).with_learned_range();
        let objective = LearnedRange::bound(chain, parameterization).unwrap();
        Box::new(objective.with_decoder(Decoder::Point).unwrap())
    }),
    (LABEL_DROPOUT, || {
        Box::new(Labelled(LabelDropout::new(flow(), 0.3, CLASSES).unwrap()))
    }),
    ("loss-aware times", || {
        let sampling = LossAware::new(20).unwrap().with_memory(2, 0.01).unwrap();
        Box::new(ddpm(TimeSampling::loss_aware(sampling)))
    }),
];

pub(crate) const COUPLINGS: &[Choice<Option<Box<dyn Coupling>>>] = &[
    ("no coupling", || None),
    ("independent", || Some(Box::new(Independent))),
    ("optimal transport", || Some(Box::new(OptimalTransport::new()))),
    ("Sinkhorn", || {
        Some(Box::new(SinkhornCoupling::schrodinger_bridge(1.0).unwrap()))
    }),
    ("offset noise", || {
        Some(Box::new(OffsetPoints(OffsetNoise::new(0.3).unwrap())))
    }),
    ("immiscible", || Some(Box::new(ImmiscibleNoise::assignment()))),
];

pub(crate) const AVERAGES: &[ChoiceFor<Vec<Box<dyn Average>>>] = &[
    ("no average", |_| Vec::new()),
    ("warm-up and power", |parameters| {
        vec![
            Box::new(Ema::new(parameters, EmaDecay::WarmUp(0.9)).unwrap()),
            Box::new(Ema::new(parameters, EmaDecay::Power { gamma: 6.0 }).unwrap()),
        ]
    }),
    ("constant and half-lives", |parameters| {
        let half_life = EmaDecay::HalfLife { updates: 20.0 };
        let ramped = EmaDecay::RampedHalfLife {
            updates: 20.0,
            ratio: 0.05,
        };
        let average = |decay| Box::new(Ema::new(parameters, decay).unwrap()) as Box<dyn Average>;
        vec![
            average(EmaDecay::Constant(0.9)),
            average(half_life),
            average(ramped),
        ]
    }),
    ("rising", |parameters| {
        vec![Box::new(
            Ema::new(parameters, EmaDecay::Rising(Rising::default())).unwrap(),
        )]
    }),
    ("post hoc", |parameters| {
        vec![Box::new(PostHocEma::new(parameters, &[0.05, 0.1]).unwrap())]
    }),
];

pub(crate) const OPTIMIZERS: &[ChoiceFor<Box<dyn Optimizer>>] = &[
    ("AdamW", |parameters| {
        let config = AdamWConfig {
            weight_decay: 0.01,
            ..AdamWConfig::default()
        };
        Box::new(AdamW::new(parameters, config).unwrap())
    }),
    ("Adam", |parameters| {
        Box::new(Adam::new(parameters, AdamConfig::default()).unwrap())
    }),
    ("RAdam", |parameters| {
        Box::new(RAdam::new(parameters, RAdamConfig::default()).unwrap())
    }),
    ("SGD", |parameters| {
        Box::new(Sgd::new(parameters, SgdConfig::default()).unwrap())
    }),
];

pub(crate) const DATA: &[Choice<Box<dyn Batches>>] = &[
    ("drawn", || {
        Box::new(Drawn::new(Checkerboard::new(), 12, Seeded::stream(3, 0)).unwrap())
    }),
    ("shuffled", || {
        let points = SwissRoll::course().draw(50, &mut Seeded::new(1)).unwrap().x0;
        let data = TensorDataset::new(&points).unwrap();
        Box::new(Shuffled::new(data, 12, 3).unwrap())
    }),
    ("prefetched", || {
        let points = SwissRoll::course().draw(50, &mut Seeded::new(1)).unwrap().x0;
        let shuffled = Shuffled::new(TensorDataset::new(&points).unwrap(), 12, 3).unwrap();
        Box::new(Prefetch::new(shuffled.with_last_batch(LastBatch::Dropped).unwrap()).unwrap())
    }),
];

/// One of each list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choices {
    pub(crate) objective: usize,
    pub(crate) coupling: usize,
    pub(crate) average: usize,
    pub(crate) optimizer: usize,
    pub(crate) data: usize,
}

impl Choices {
    pub(crate) fn names(self) -> String {
        [
            OBJECTIVES[self.objective].0,
            COUPLINGS[self.coupling].0,
            AVERAGES[self.average].0,
            OPTIMIZERS[self.optimizer].0,
            DATA[self.data].0,
        ]
        .join(", ")
    }

    /// Puts a small run together and hands it to `work`.
    pub(crate) fn with_run<R>(self, steps: u64, work: impl FnOnce(Trainer<'_>) -> R) -> R {
        let parameters = Parameters::new(5, DType::F32, &Device::Cpu);
        let (name, objective) = OBJECTIVES[self.objective];
        let network = Mlp::new(&parameters.scope(), model(name)).unwrap();
        let objective = objective();
        let optimizer = OPTIMIZERS[self.optimizer].1(&parameters);
        let mut trainer = Trainer::new(
            &parameters,
            &network,
            objective.as_ref(),
            DATA[self.data].1(),
            optimizer,
        )
        .with_learning_rate(LearningRate::cosine(1e-3, steps).unwrap().with_warm_up(5))
        .with_clipping(1.0)
        .unwrap();
        if let Some(coupling) = COUPLINGS[self.coupling].1() {
            trainer = trainer.with_coupling(coupling);
        }
        for average in AVERAGES[self.average].1(&parameters) {
            trainer = trainer.with_average(average);
        }
        work(trainer)
    }
}

/// A loss file in the folder, and a validation on another draw of the data.
pub(crate) fn with_files<'a>(trainer: Trainer<'a>, folder: &Path) -> Trainer<'a> {
    let validation = Validation::new(Checkerboard::new(), 16, 25).unwrap();
    trainer
        .with_validation(validation.with_batches(2).unwrap().with_seed(9))
        .with_loss_file(folder.join("loss.csv"))
}

/// Whether two tensors are the same bit for bit.
pub(crate) fn same(a: &Tensor, b: &Tensor) -> bool {
    let bits = |tensor: &Tensor| {
        let values = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
        let values = values.to_vec1::<f64>().unwrap();
        values.into_iter().map(f64::to_bits).collect::<Vec<_>>()
    };
    a.dims() == b.dims() && bits(a) == bits(b)
}
