//! The family "optim": paths of optimisers on ½ pᵀA p − bᵀp, clipped gradients, and learning rates.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use tallow::nn::{
    Adam, AdamConfig, AdamW, AdamWConfig, Decay, Gradients, Init, Momentum, Optimizer, Parameters, RAdam,
    RAdamConfig, Sgd, SgdConfig,
};

use super::rule::{flag, only, refused};
use super::{Comparison, Fields, Obstacle, learning_rates};

/// Checks a case by the name of its rule.
pub(super) fn check(case: &Fields<'_>) -> Result<Comparison, Obstacle> {
    let rule = case.object("rule")?;
    match rule.text("name")? {
        "adam" | "adamw" | "radam" | "sgd" => path(case, &rule),
        "clip_global_norm" => clipped(case, &rule),
        name => learning_rates::check(case, &rule, name),
    }
}

/// The parameter after each step, and what the optimiser saw and remembers.
fn path(case: &Fields<'_>, rule: &Fields<'_>) -> Result<Comparison, Obstacle> {
    let expected = case.object("expected")?;
    let known = [
        "p",
        "gradient_used",
        "gradient_norm_before_clip",
        "exp_avg",
        "exp_avg_sq",
        "momentum_buffer",
    ];
    only(&expected, &known)?;
    let inputs = case.object("inputs")?;
    let parameters = Parameters::new(0, DType::F64, &Device::Cpu);
    let start = Tensor::new(inputs.numbers("p0")?, &Device::Cpu).map_err(refused)?;
    let run = || -> tallow::nn::Result<Tensor> {
        let p = parameters
            .scope()
            .parameter("p", start.elem_count(), Init::ZEROS)?;
        parameters.restore(&BTreeMap::from([("p".to_owned(), start.clone())]))?;
        Ok(p)
    };
    let p = run().map_err(refused)?;
    let problem = Problem::of(&inputs, p)?;
    let mut optimizer = optimizer(rule, &parameters)?;
    let max_norm = rule
        .has("max_grad_norm")
        .then(|| rule.number("max_grad_norm"))
        .transpose()?;
    let rates = inputs
        .has("lr_per_step")
        .then(|| inputs.numbers("lr_per_step"))
        .transpose()?;
    let mut seen: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for step in 0..expected.rows("p")?.len() {
        if let Some(rates) = &rates {
            let Some(&rate) = rates.get(step) else {
                return Err(Obstacle::Wrong(
                    "\"lr_per_step\" is shorter than the path".to_owned(),
                ));
            };
            optimizer.set_learning_rate(rate).map_err(refused)?;
        }
        let numbers = problem.step(optimizer.as_mut(), max_norm).map_err(refused)?;
        for (name, numbers) in numbers {
            seen.entry(name).or_default().extend(numbers);
        }
    }
    let mut comparison = Comparison::of(case)?;
    for name in known.into_iter().filter(|name| expected.has(name)) {
        let Some(numbers) = seen.get(name) else {
            return Err(Obstacle::Unsupported(format!("the optimiser has no {name:?}")));
        };
        comparison.field(&expected, name, numbers)?;
    }
    Ok(comparison)
}

struct Problem {
    matrix: Tensor,
    vector: Tensor,
    p: Tensor,
}

impl Problem {
    fn of(inputs: &Fields<'_>, p: Tensor) -> Result<Self, Obstacle> {
        let matrix = Tensor::new(inputs.rows("A")?, &Device::Cpu).map_err(refused)?;
        let vector = Tensor::new(inputs.numbers("b")?, &Device::Cpu).map_err(refused)?;
        Ok(Self { matrix, vector, p })
    }

    /// ½ pᵀA p − bᵀp.
    fn loss(&self) -> candle_core::Result<Tensor> {
        let p = self.p.unsqueeze(1)?;
        let square = (self.matrix.matmul(&p)?.squeeze(1)? * &self.p)?.sum_all()?;
        (square * 0.5)? - (&self.vector * &self.p)?.sum_all()?
    }

    /// One step; what there is to see of it.
    fn step(
        &self,
        optimizer: &mut dyn Optimizer,
        max_norm: Option<f64>,
    ) -> tallow::nn::Result<Vec<(&'static str, Vec<f64>)>> {
        let mut gradients = optimizer.collect(&self.loss()?.backward()?)?;
        let norm = match max_norm {
            Some(max_norm) => gradients.clip_norm(max_norm)?,
            None => gradients.norm()?,
        };
        optimizer.apply(&gradients)?;
        let mut seen = vec![
            ("p", self.p.to_vec1()?),
            ("gradient_norm_before_clip", vec![norm]),
        ];
        if let Some(gradient) = gradients.gradient("p")? {
            seen.push(("gradient_used", gradient.to_vec1()?));
        }
        let state = optimizer.state()?;
        for (ours, theirs) in [
            ("p.first", "exp_avg"),
            ("p.second", "exp_avg_sq"),
            ("p.momentum", "momentum_buffer"),
        ] {
            if let Some(tensor) = state.get(ours) {
                seen.push((theirs, tensor.to_vec1()?));
            }
        }
        Ok(seen)
    }
}

fn optimizer(rule: &Fields<'_>, parameters: &Parameters) -> Result<Box<dyn Optimizer>, Obstacle> {
    if rule.text("name")? == "sgd" {
        return sgd(rule, parameters);
    }
    only(
        rule,
        &[
            "lr",
            "beta_1",
            "beta_2",
            "eps",
            "weight_decay",
            "decoupled",
            "decoupled_weight_decay",
            "max_grad_norm",
        ],
    )?;
    let name = rule.text("name")?;
    let learning_rate = rule.number("lr")?;
    let beta1 = rule.number_or("beta_1", 0.9)?;
    let beta2 = rule.number_or("beta_2", 0.999)?;
    let epsilon = rule.number_or("eps", 1e-8)?;
    let decoupled = flag(rule, "decoupled_weight_decay", name == "adamw")?;
    let decoupled = flag(rule, "decoupled", decoupled)?;
    // PyTorch's AdamW decays by 0.01 if nothing is said; a case that says nothing means none.
    let weight_decay = rule.number_or("weight_decay", 0.0)?;
    Ok(match (name, decoupled) {
        ("radam", _) => {
            let decay = if decoupled { Decay::Decoupled } else { Decay::L2 };
            let config = RAdamConfig {
                learning_rate,
                beta1,
                beta2,
                epsilon,
                weight_decay,
                decay,
                ..RAdamConfig::default()
            };
            Box::new(RAdam::new(parameters, config).map_err(refused)?)
        }
        (_, true) => {
            let config = AdamWConfig {
                learning_rate,
                beta1,
                beta2,
                epsilon,
                weight_decay,
                ..AdamWConfig::default()
            };
            Box::new(AdamW::new(parameters, config).map_err(refused)?)
        }
        (_, false) => {
            let config = AdamConfig {
                learning_rate,
                beta1,
                beta2,
                epsilon,
                weight_decay,
                ..AdamConfig::default()
            };
            Box::new(Adam::new(parameters, config).map_err(refused)?)
        }
    })
}

fn sgd(rule: &Fields<'_>, parameters: &Parameters) -> Result<Box<dyn Optimizer>, Obstacle> {
    only(
        rule,
        &[
            "lr",
            "momentum",
            "dampening",
            "nesterov",
            "weight_decay",
            "max_grad_norm",
        ],
    )?;
    let kind = if flag(rule, "nesterov", false)? {
        Momentum::Nesterov
    } else {
        Momentum::Classic
    };
    let config = SgdConfig {
        learning_rate: rule.number("lr")?,
        momentum: rule.number_or("momentum", 0.0)?,
        dampening: rule.number_or("dampening", 0.0)?,
        weight_decay: rule.number_or("weight_decay", 0.0)?,
        kind,
        ..SgdConfig::default()
    };
    Ok(Box::new(Sgd::new(parameters, config).map_err(refused)?))
}

/// The norm over all tensors, and the tensors after clipping.
fn clipped(case: &Fields<'_>, rule: &Fields<'_>) -> Result<Comparison, Obstacle> {
    only(rule, &["max_norm"])?;
    let max_norm = rule.number("max_norm")?;
    let lists = case.object("inputs")?.lists("gradients")?;
    // Names that sort as the list does.
    let names: Vec<String> = (0..lists.len()).map(|index| format!("{index:06}")).collect();
    let run = || -> tallow::nn::Result<(f64, Vec<f64>)> {
        let mut tensors = BTreeMap::new();
        for (name, list) in names.iter().zip(lists) {
            tensors.insert(name.clone(), Tensor::new(list, &Device::Cpu)?);
        }
        let mut gradients = Gradients::new(tensors);
        let norm = gradients.clip_norm(max_norm)?;
        let mut all = Vec::new();
        for name in &names {
            if let Some(gradient) = gradients.gradient(name)? {
                all.extend(gradient.to_vec1::<f64>()?);
            }
        }
        Ok((norm, all))
    };
    let (norm, all) = run().map_err(refused)?;
    let mut comparison = Comparison::of(case)?;
    let expected = case.object("expected")?;
    comparison.field(&expected, "norm", &[norm])?;
    comparison.field(&expected, "clipped", &all)?;
    Ok(comparison)
}
