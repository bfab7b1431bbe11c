//! Laws of guidance, on exact models.

use candle_core::{DType, Device, Tensor};
use tallow_schedules::{NoiseLevel, Prediction, RectifiedFlow, Schedule, VpCosine};

use super::*;
use crate::{Clamped, Counted, Error, ExactMixture, Parameterization, Threshold, Variance, network};

fn mixture(shift: f64) -> ExactMixture {
    let means = vec![vec![-1.0 + shift, 0.4], vec![1.5, 0.2 - shift]];
    ExactMixture::new(&[1.0, 2.0], means, vec![0.35, 0.6]).unwrap()
}

fn x() -> Tensor {
    Tensor::new(&[[0.3f64, 0.1], [-1.5, -2.0], [0.2, -0.7]], &Device::Cpu).unwrap()
}

fn level(t: f64) -> NoiseLevel {
    VpCosine::default().level(t)
}

fn values(x: &Tensor) -> Vec<f64> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

fn apart(a: &Tensor, b: &Tensor) -> f64 {
    values(a)
        .iter()
        .zip(values(b))
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

/// A denoiser in another form than its own.
struct As(ExactMixture, Prediction);

impl Denoiser for As {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> crate::Result<Estimate> {
        let own = self.0.estimate(x, at)?;
        let output = match self.1 {
            Prediction::Data => own.x0()?,
            Prediction::Velocity => own.velocity()?,
            Prediction::Score => own.score()?,
            _ => own.noise()?,
        };
        Estimate::new(x, output, self.1, at)
    }
}

const FORMS: [Prediction; 4] = [
    Prediction::Data,
    Prediction::Noise,
    Prediction::Velocity,
    Prediction::Score,
];

#[test]
fn both_conventions_are_one_guidance_in_every_form() {
    let (c, u) = (mixture(0.0), mixture(0.7));
    let (cond, uncond) = (
        c.estimate(&x(), level(0.6).into()).unwrap(),
        u.estimate(&x(), level(0.6).into()).unwrap(),
    );
    let by_hand =
        ((cond.noise().unwrap() * 3.0).unwrap() - (uncond.noise().unwrap() * 2.0).unwrap()).unwrap();
    for first in FORMS {
        for second in FORMS {
            for scale in [Scale::Ho(2.0), Scale::Imagen(3.0)] {
                let guided = Guided::new(As(c.clone(), first), As(u.clone(), second), scale).unwrap();
                let noise = guided.estimate(&x(), level(0.6).into()).unwrap().noise().unwrap();
                assert!(apart(&noise, &by_hand) < 1e-12, "{first:?} {second:?} {scale:?}");
            }
        }
    }
}

#[test]
fn outside_of_the_interval_nothing_is_paid_for_the_other_model() {
    let (main, other) = (Counted::new(mixture(0.0)), Counted::new(mixture(0.7)));
    let interval = Interval::new(0.2, 1.0).unwrap();
    let guided = Guided::new(&main, &other, Scale::Imagen(4.0))
        .unwrap()
        .within(interval);
    for t in [0.05, 0.3, 0.9] {
        other.reset();
        let inside = interval.contains(level(t));
        guided.estimate(&x(), level(t).into()).unwrap();
        assert_eq!(other.count(), usize::from(inside));
        assert_eq!(guided.cost(level(t)), 1 + usize::from(inside));
    }
    let off = Guided::new(&main, &other, Scale::Imagen(1.0)).unwrap();
    assert_eq!(off.cost(level(0.3)), 1);
}

#[test]
fn rows_at_their_own_levels_are_guided_each_as_if_alone() {
    let levels = [level(0.05), level(0.3), level(0.9)];
    let interval = Interval::new(0.2, 1.0).unwrap();
    let guided = Guided::new(mixture(0.0), mixture(0.7), Rescaled::new(Scale::Imagen(4.0), 0.7))
        .unwrap()
        .within(interval);
    let together = guided
        .estimate(&x(), Levels::PerRow(&levels))
        .unwrap()
        .x0()
        .unwrap();
    for (row, level) in levels.into_iter().enumerate() {
        let alone = guided
            .estimate(&x().narrow(0, row, 1).unwrap(), level.into())
            .unwrap()
            .x0()
            .unwrap();
        assert!(
            apart(&alone, &together.narrow(0, row, 1).unwrap()) < 1e-12,
            "row {row}"
        );
    }
}

#[test]
fn one_doubled_batch_is_two_evaluations() {
    let net = || {
        network(|call| {
            let labels = call
                .condition
                .tensor("labels")?
                .to_dtype(DType::F64)?
                .reshape(((), 1))?;
            call.x.tanh()?.broadcast_mul(&labels)
        })
    };
    let labels = |label: u32| Condition::labels(Tensor::full(label, 3, &Device::Cpu).unwrap());
    let flow = Parameterization::flow_matching;
    let batched = Guided::batched(flow().denoiser(net()), labels(3), &labels(7), Scale::Imagen(2.5)).unwrap();
    let with = |label| flow().denoiser(net()).with_condition(labels(label));
    let separate = Guided::new(with(3), with(7), Scale::Imagen(2.5)).unwrap();
    let levels: Vec<_> = [0.2, 0.5, 0.8]
        .map(|t| RectifiedFlow::default().level(t))
        .to_vec();
    for at in [Levels::Shared(levels[1]), Levels::PerRow(&levels)] {
        let (one, two) = (
            batched.estimate(&x(), at).unwrap(),
            separate.estimate(&x(), at).unwrap(),
        );
        assert_eq!(values(&one.x0().unwrap()), values(&two.x0().unwrap()));
    }
}

#[test]
fn variance_channels_are_never_guided() {
    let net = |range: f64| {
        network(move |call| Tensor::cat(&[&(call.x * (1.0 + range))?, &call.x.affine(0.0, range)?], 1))
    };
    let learned = Parameterization::new(Prediction::Noise).with_learned_range();
    assert_eq!(learned.variance, Variance::LearnedRange);
    let (c, u) = (|| learned.denoiser(net(0.25)), || learned.denoiser(net(-0.5)));
    let range_of = |estimate: Estimate| values(estimate.range().unwrap());
    let at = Levels::Shared(level(0.5));
    let estimates = [
        Guided::new(c(), u(), Scale::Imagen(5.0))
            .unwrap()
            .estimate(&x(), at),
        Guided::new(c(), u(), Rescaled::new(Scale::Imagen(5.0), 0.7))
            .unwrap()
            .estimate(&x(), at),
        Guided::new(c(), u(), Projected::new(Scale::Imagen(5.0)))
            .unwrap()
            .estimate(&x(), at),
        Guided::new(c(), u(), ZeroStar::new(Scale::Imagen(5.0)))
            .unwrap()
            .estimate(&x(), at),
        Guided::new(c(), u(), PlusPlus { lambda: 0.6 })
            .unwrap()
            .estimate(&x(), at),
        Clamped::new(c(), Threshold::Static { range: 1.0 })
            .unwrap()
            .estimate(&x(), at),
    ];
    for estimate in estimates {
        assert!(range_of(estimate.unwrap()).iter().all(|range| *range == 0.25));
    }
}

#[test]
fn rescaling_in_full_has_the_spread_of_the_conditional_estimate() {
    let (c, u) = (mixture(0.0), mixture(0.7));
    let guided = Guided::new(&c, &u, Rescaled::new(Scale::Imagen(6.0), 1.0)).unwrap();
    let spread = |model: &dyn Denoiser| {
        values(&rows::std(&model.estimate(&x(), level(0.5).into()).unwrap().x0().unwrap()).unwrap())
    };
    for (got, expected) in spread(&guided).iter().zip(spread(&c)) {
        assert!((got - expected).abs() < 1e-12);
    }
}

#[test]
fn projected_guidance_that_keeps_both_parts_is_plain_guidance() {
    let rule = Projected {
        along: 1.0,
        ..Projected::new(Scale::Imagen(3.0))
    };
    let projected = Guided::new(mixture(0.0), mixture(0.7), rule).unwrap();
    let plain = Guided::new(mixture(0.0), mixture(0.7), Scale::Imagen(3.0)).unwrap();
    let x0 = |model: &dyn Denoiser| model.estimate(&x(), level(0.5).into()).unwrap().x0().unwrap();
    assert!(apart(&x0(&projected), &x0(&plain)) < 1e-12);
}

#[test]
fn momentum_lasts_over_a_run_and_no_longer() {
    let rule = Projected {
        momentum: -0.5,
        ..Projected::new(Scale::Imagen(3.0))
    };
    // Wrapped and counted: the wrappers pass the run on.
    let guided = Guided::new(mixture(0.0), mixture(0.7), rule).unwrap();
    let model = Counted::new(Clamped::new(guided, Threshold::Static { range: 50.0 }).unwrap());
    let twice = || {
        let run = model.begin().unwrap();
        let once = || run.estimate(&x(), level(0.5).into()).unwrap().x0().unwrap();
        (once(), once())
    };
    let ((first, second), (again, _)) = (twice(), twice());
    assert!(
        apart(&first, &second) > 1e-3,
        "the second estimate remembers the first"
    );
    assert_eq!(values(&first), values(&again));
    let outside = || model.estimate(&x(), level(0.5).into()).unwrap().x0().unwrap();
    assert_eq!(values(&outside()), values(&first));
    assert_eq!(values(&outside()), values(&first));
    assert_eq!(model.count(), 6);
}

#[test]
fn zero_star_does_not_mind_the_scale_of_the_unconditional_velocity() {
    let velocity = |factor: f64| {
        Parameterization::flow_matching().denoiser(network(move |call| (call.x + 1.0)? * factor))
    };
    let c = Parameterization::flow_matching().denoiser(network(|call| call.x.sqr()));
    let at = RectifiedFlow::default().level(0.5);
    let rule = ZeroStar {
        floor: 0.0,
        ..ZeroStar::new(Scale::Imagen(4.0))
    };
    let v = |factor: f64| {
        let guided = Guided::new(&c, velocity(factor), rule).unwrap();
        guided.estimate(&x(), at.into()).unwrap().velocity().unwrap()
    };
    assert!(apart(&v(1.0), &v(17.0)) < 1e-12);
    let rule = ZeroStar {
        still_above: 0.9,
        ..ZeroStar::new(Scale::Imagen(4.0))
    };
    let still = Guided::new(&c, velocity(1.0), rule)
        .unwrap()
        .estimate(&x(), at.into())
        .unwrap();
    assert!(values(&still.velocity().unwrap()).iter().all(|v| *v == 0.0));
}

#[test]
fn plus_plus_guides_the_data_and_keeps_the_unconditional_noise() {
    let guided = Guided::new(mixture(0.0), mixture(0.7), PlusPlus { lambda: 0.6 }).unwrap();
    let plain = Guided::new(mixture(0.0), mixture(0.7), Scale::Imagen(0.6)).unwrap();
    let at = Levels::Shared(level(0.5));
    let estimate = guided.estimate(&x(), at).unwrap();
    assert!(!estimate.adds_up());
    assert!(
        apart(
            &estimate.x0().unwrap(),
            &plain.estimate(&x(), at).unwrap().x0().unwrap()
        ) < 1e-12
    );
    let noise = mixture(0.7).estimate(&x(), at).unwrap().noise().unwrap();
    assert!(apart(&estimate.noise().unwrap(), &noise) < 1e-12);
}

/// log p(y | x_t) of a class that has some of a mixture's components is a difference of log-densities; the score of the
/// class alone follows, in every form.
#[test]
fn an_exact_classifier_makes_the_exact_conditional_model() {
    let class = ExactMixture::new(&[1.0], vec![vec![-1.0, 0.4]], vec![0.35]).unwrap();
    let log_p = |x: &Tensor, at: Levels<'_>| {
        // ∇ log p(y|x) = score of the class − score of all: as the product with x, whose gradient that is.
        let inner = x.detach();
        let of = |model: &ExactMixture| Ok::<_, Error>(model.estimate(&inner, at)?.score()?.detach());
        let gradient = (of(&class)? - of(&mixture(0.0))?)?;
        (x * gradient)?.sum(1)
    };
    for form in FORMS {
        let guided = ClassifierGuided::new(As(mixture(0.0), form), 1.0, log_p).unwrap();
        let levels = [level(0.2), level(0.5), level(0.8)];
        let got = guided.estimate(&x(), Levels::PerRow(&levels)).unwrap();
        let expected = class.estimate(&x(), Levels::PerRow(&levels)).unwrap();
        assert!(
            apart(&got.x0().unwrap(), &expected.x0().unwrap()) < 1e-10,
            "{form:?}"
        );
        assert!(
            apart(&got.velocity().unwrap(), &expected.velocity().unwrap()) < 1e-10,
            "{form:?}"
        );
    }
}

#[test]
fn a_classifier_has_nothing_to_say_without_signal_unless_told_where() {
    let log_p = |x: &Tensor, _: Levels<'_>| x.sum(1);
    let guided = ClassifierGuided::new(mixture(0.0), 1.0, log_p).unwrap();
    let end = Levels::Shared(RectifiedFlow::default().level(1.0));
    let message = guided.estimate(&x(), end).unwrap_err().to_string();
    assert!(message.contains("cannot see the data at t = 1"), "{message}");
    let guided = guided.within(Interval::new(0.0, 100.0).unwrap());
    assert!(guided.estimate(&x(), end).is_ok());
    let deaf =
        ClassifierGuided::new(mixture(0.0), 1.0, |x: &Tensor, _: Levels<'_>| x.detach().sum(1)).unwrap();
    assert!(matches!(
        deaf.estimate(&x(), level(0.5).into()),
        Err(Error::NoDerivative { .. })
    ));
}

#[test]
fn rules_that_make_no_guidance_are_refused() {
    fn refused<R: Rule>(rule: R) -> bool {
        Guided::new(mixture(0.0), mixture(0.7), rule).is_err()
    }
    assert!(refused(Scale::Imagen(f64::NAN)) && refused(Scale::Ho(f64::INFINITY)));
    assert!(refused(Rescaled::new(Scale::Ho(1.0), 1.5)) && refused(Rescaled::new(Scale::Ho(1.0), f64::NAN)));
    let projected = Projected::new(Scale::Ho(1.0));
    assert!(
        refused(Projected {
            longest: 0.0,
            ..projected
        }) && refused(Projected {
            momentum: 1.0,
            ..projected
        })
    );
    assert!(
        refused(PlusPlus { lambda: 1.1 })
            && refused(ZeroStar {
                still_above: 0.0,
                ..ZeroStar::new(Scale::Ho(1.0))
            })
    );
}
