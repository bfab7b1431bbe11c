//! Family "guidance": rules on arrays, through the wrappers that users hold.
//!
//! An array of a case stands for a model that returns it whatever it is asked; the level is any at which the arrays' form is
//! the model's own.

use candle_core::{Device, Tensor};
use serde_json::Value;
use tallow::denoisers::guidance::{
    ClassifierGuided, Interval, Pair, Projected, Rescaled, Rule, Scale, Separate, Space, ZeroStar,
    guided_mean,
};
use tallow::denoisers::{
    Clamped, Denoiser, Estimate, Guided, Levels, Limit, Parameterization, Prediction, Threshold, network,
};
use tallow::schedules::{NoiseLevel, RectifiedFlow, Schedule};

use super::solvers::{Verdict, Worst, numbers};

/// Checks one case of the family.
#[must_use]
pub fn check(case: &Value, _tables: &Value) -> Verdict {
    let case = Case(case);
    case.check().unwrap_or_else(Verdict::Failed)
}

type Told<T> = Result<T, String>;

/// One case.
struct Case<'a>(&'a Value);

impl Case<'_> {
    fn check(&self) -> Told<Verdict> {
        let name = self.0["rule"]["name"].as_str().ok_or("the case names no rule")?;
        match name {
            "cfg" => self.plain(),
            "cfg_rescale" => {
                let rule = Rescaled {
                    space: Space::Output,
                    ..Rescaled::new(self.scale()?, self.number("phi")?)
                };
                self.guided(rule, Prediction::Noise, Estimate::noise)
            }
            "cfg_interval" => self.interval(),
            "autoguidance" => self.compare(
                &self
                    .estimates("main", "weak", self.scale()?, Prediction::Data)?
                    .x0(),
            ),
            "classifier_guidance_epsilon" => self.classifier(),
            "classifier_guidance_mean" => {
                let (variance, scale) = (self.number("variance")?, self.number("scale")?);
                let gradient = self.input("grad_log_p")?;
                self.compare(&guided_mean(&self.input("mean")?, variance, scale, &gradient))
            }
            "dynamic_threshold" => self.dynamic(),
            "static_threshold" => {
                let x0 = Threshold::Static {
                    range: self.number("range")?,
                }
                .apply(&self.input("x0")?);
                self.compare_all(&[("x0", x0.map_err(told)?)])
            }
            "clip_then_epsilon" => self.clipped(),
            "apg" => self.projected(),
            "cfg_zero_star" => {
                let zero_star = |scale| -> Told<ZeroStar> {
                    let floor = self.number("eps")?;
                    Ok(ZeroStar {
                        floor,
                        ..ZeroStar::new(scale)
                    })
                };
                let rule = zero_star(self.scale()?)?;
                let estimate = self.estimates("cond", "uncond", rule, Prediction::Velocity)?;
                // The projection itself is what scale 0 leaves of the unconditional velocity.
                let fitted = zero_star(Scale::Imagen(0.0))?;
                let fitted = self
                    .estimates("cond", "uncond", fitted, Prediction::Velocity)?
                    .velocity()
                    .map_err(told)?;
                let uncond = self.input("uncond")?;
                let product = |a: &Tensor| (a * &uncond).and_then(|a| a.sum(1)).map_err(told);
                let projection = (product(&fitted)? / product(&uncond)?).map_err(told)?;
                self.compare_all(&[
                    ("guided", estimate.velocity().map_err(told)?),
                    ("projection", projection),
                ])
            }
            "mean_flow_cfg" => Ok(Verdict::Unsupported(
                "average velocities are guided in training only".to_owned(),
            )),
            other => Ok(Verdict::Unsupported(format!("no rule answers to {other}"))),
        }
    }

    /// The same case in both conventions, and in three forms of prediction.
    fn plain(&self) -> Told<Verdict> {
        let (scale, weight) = (self.scale()?, Scale::Ho(self.number("weight")?));
        let of = |rule, form| self.estimates("cond", "uncond", rule, form);
        let mut worst = Worst::of(self.0);
        let expected = numbers(&self.0["expected"])?;
        worst.compare(
            "scale",
            &of(scale, Prediction::Noise)?.noise().map_err(told)?,
            &expected,
        );
        worst.compare(
            "weight",
            &of(weight, Prediction::Noise)?.noise().map_err(told)?,
            &expected,
        );
        worst.compare(
            "data",
            &of(scale, Prediction::Data)?.x0().map_err(told)?,
            &expected,
        );
        worst.compare(
            "velocity",
            &of(weight, Prediction::Velocity)?.velocity().map_err(told)?,
            &expected,
        );
        Ok(worst.verdict())
    }

    fn guided<R: Rule>(
        &self,
        rule: R,
        form: Prediction,
        read: impl Fn(&Estimate) -> tallow::denoisers::Result<Tensor>,
    ) -> Told<Verdict> {
        self.compare(&read(&self.estimates("cond", "uncond", rule, form)?))
    }

    fn interval(&self) -> Told<Verdict> {
        let interval = Interval::new(self.number("sigma_lo")?, self.number("sigma_hi")?).map_err(told)?;
        let sigmas = numbers(&self.0["inputs"]["sigma_over_alpha"])?;
        let (needs, scales) = (
            &self.0["expected"]["needs_uncond"],
            numbers(&self.0["expected"]["scale"])?,
        );
        let mut worst = Worst::of(self.0);
        let pair = |of: f64| model(Tensor::full(of, (1, 1), &Device::Cpu)?, Prediction::Data);
        let told_both = |of: f64| pair(of).map_err(told);
        let guided = Guided::new(told_both(1.0)?, told_both(0.0)?, self.scale()?)
            .map_err(told)?
            .within(interval);
        for (index, sigma) in sigmas.into_iter().enumerate() {
            let at = NoiseLevel {
                t: sigma,
                alpha: 1.0,
                sigma,
                alpha_dot: 0.0,
                sigma_dot: 1.0,
            };
            let x = Tensor::zeros((1, 1), candle_core::DType::F64, &Device::Cpu).map_err(told)?;
            // 0 + s (1 − 0) is the scale itself.
            let scale = guided
                .estimate(&x, at.into())
                .and_then(|estimate| estimate.x0())
                .map_err(told)?;
            worst.compare(&format!("scale[{index}]"), &scale, &scales[index..=index]);
            if needs[index].as_bool() != Some(guided.cost(at) == 2) {
                worst.fail(format!("at {sigma} an estimate costs {}", guided.cost(at)));
            }
        }
        Ok(worst.verdict())
    }

    fn classifier(&self) -> Told<Verdict> {
        let sigma = self.number("sigma")?;
        let gradient = self.input("grad_log_p")?;
        let log_p = |x: &Tensor, _: Levels<'_>| (x * &gradient)?.sum(1);
        let epsilon = self.input("epsilon")?;
        let guided = ClassifierGuided::new(
            model(epsilon.clone(), Prediction::Noise).map_err(told)?,
            self.number("scale")?,
            log_p,
        );
        let at = NoiseLevel {
            t: 0.5,
            alpha: (1.0 - sigma * sigma).sqrt(),
            sigma,
            alpha_dot: -1.0,
            sigma_dot: 1.0,
        };
        let estimate = guided.and_then(|guided| guided.estimate(&epsilon, at.into()));
        self.compare(&estimate.and_then(|estimate| estimate.noise()))
    }

    fn dynamic(&self) -> Told<Verdict> {
        let form = self.0["rule"]["form"].as_str().ok_or("rule.form is missing")?;
        let most = self.number("max_val")?;
        let limit = match form {
            form if form.starts_with("s = max(") => Limit::AtLeast(most),
            form if form.starts_with("s = clamp(") => Limit::OneTo(most),
            other => {
                return Ok(Verdict::Unsupported(format!(
                    "no threshold has the form {other:?}"
                )));
            }
        };
        let threshold = Threshold::Dynamic {
            quantile: self.number("quantile")?,
            limit,
        };
        let x0 = self.input("x0")?;
        let model =
            Clamped::new(model(x0.clone(), Prediction::Data).map_err(told)?, threshold).map_err(told)?;
        let estimate = model.estimate(&x0, level().into()).map_err(told)?;
        let of_rows = threshold.of_rows(&x0).map_err(told)?;
        let of_rows = Tensor::new(of_rows, &Device::Cpu).map_err(told)?;
        self.compare_all(&[("x0", estimate.x0().map_err(told)?), ("threshold", of_rows)])
    }

    fn clipped(&self) -> Told<Verdict> {
        let (alpha, sigma) = (self.number("alpha")?, self.number("sigma")?);
        let at = NoiseLevel {
            t: 0.5,
            alpha,
            sigma,
            alpha_dot: -1.0,
            sigma_dot: 1.0,
        };
        let model = model(self.input("epsilon")?, Prediction::Noise).map_err(told)?;
        let model = Clamped::new(
            model,
            Threshold::Static {
                range: self.number("range")?,
            },
        )
        .map_err(told)?;
        let estimate = model.estimate(&self.input("x_t")?, at.into()).map_err(told)?;
        let (x0, noise) = (estimate.x0().map_err(told)?, estimate.noise().map_err(told)?);
        self.compare_all(&[("x0", x0), ("epsilon", noise)])
    }

    /// Consecutive steps of one run.
    fn projected(&self) -> Told<Verdict> {
        let option = |name: &str| self.0["rule"][name].as_f64().unwrap_or(0.0);
        let threshold = option("norm_threshold");
        let rule = Projected {
            scale: self.scale()?,
            along: option("eta"),
            longest: if threshold > 0.0 { threshold } else { f64::INFINITY },
            momentum: option("momentum"),
        };
        let mut memory = <Projected as Rule>::Memory::default();
        let mut worst = Worst::of(self.0);
        let count = self.0["inputs"]["cond"].as_array().map_or(0, Vec::len);
        for step in 0..count {
            let part = |name: &str| rows(&self.0["inputs"][name][step]);
            let (cond, uncond) = (part("cond")?, part("uncond")?);
            let models = (
                model(cond.clone(), Prediction::Data),
                model(uncond, Prediction::Data),
            );
            let pair = Separate::new(models.0.map_err(told)?, models.1.map_err(told)?);
            let (main, other) = pair.both(&cond, level().into()).map_err(told)?;
            let x0 = rule
                .guide(&main, &other, &mut memory)
                .and_then(|estimate| estimate.x0());
            let expected = numbers(&self.0["expected"]["guided"][step])?;
            worst.compare(&format!("guided[{step}]"), &x0.map_err(told)?, &expected);
        }
        if count == 0 {
            worst.fail("the case has no steps".to_owned());
        }
        Ok(worst.verdict())
    }

    /// The guided estimate of two arrays that stand for predictions of a form.
    fn estimates<R: Rule>(&self, main: &str, other: &str, rule: R, form: Prediction) -> Told<Estimate> {
        let (main, other) = (self.input(main)?, self.input(other)?);
        let x = main.zeros_like().map_err(told)?;
        let guided = Guided::new(
            model(main, form).map_err(told)?,
            model(other, form).map_err(told)?,
            rule,
        );
        guided
            .and_then(|guided| guided.estimate(&x, level().into()))
            .map_err(told)
    }

    fn compare(&self, got: &tallow::denoisers::Result<Tensor>) -> Told<Verdict> {
        let mut worst = Worst::of(self.0);
        match got {
            Ok(got) => worst.compare("expected", got, &numbers(&self.0["expected"])?),
            Err(error) => worst.fail(error.to_string()),
        }
        Ok(worst.verdict())
    }

    fn compare_all(&self, got: &[(&str, Tensor)]) -> Told<Verdict> {
        let mut worst = Worst::of(self.0);
        for (name, got) in got {
            worst.compare(name, got, &numbers(&self.0["expected"][*name])?);
        }
        Ok(worst.verdict())
    }

    fn scale(&self) -> Told<Scale> {
        self.number("scale").map(Scale::Imagen)
    }

    fn number(&self, option: &str) -> Told<f64> {
        self.0["rule"][option]
            .as_f64()
            .ok_or_else(|| format!("rule.{option} is missing"))
    }

    fn input(&self, name: &str) -> Told<Tensor> {
        rows(&self.0["inputs"][name]).map_err(|why| format!("inputs.{name}: {why}"))
    }
}

/// A level in the middle of a path.
fn level() -> NoiseLevel {
    RectifiedFlow::default().level(0.5)
}

/// A model that returns one array.
fn model(output: Tensor, form: Prediction) -> candle_core::Result<impl Denoiser> {
    Ok(Parameterization::new(form).denoiser(network(move |_| Ok(output.clone()))))
}

/// A nested list [rows][d] as a tensor of f64.
fn rows(value: &Value) -> Told<Tensor> {
    let count = value
        .as_array()
        .map(Vec::len)
        .ok_or("a list of rows is missing")?;
    let flat = numbers(value)?;
    let d = flat.len() / count.max(1);
    Tensor::from_vec(flat, (count, d), &Device::Cpu).map_err(told)
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
