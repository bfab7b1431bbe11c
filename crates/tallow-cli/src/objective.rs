//! What the network is asked for: the path, the prediction, the training times, and the steps of its samples.

use std::sync::Arc;

use tallow::denoisers::{Parameterization, TimeInput};
use tallow::objectives::{LabelDropout, Objective, Regression, TimeSampling};
use tallow::schedules::{NamedSchedule, Prediction, Schedule, TimeGrid, Weighting};

use crate::error::{Blame, Error, Result};
use crate::recipe::{Goal, GoalName, Model, Recipe, Times};
use crate::toml_file::Section;

/// The part of a path that is left out at an end where the model cannot be asked.
const MARGIN: f64 = 1e-3;
/// The least noise of EDM's samples.
const SIGMA_MIN: f64 = 0.002;
/// The bend of EDM's steps.
const RHO: f64 = 7.0;

/// Reads the section [objective].
pub(crate) fn settings(section: &Section<'_>, labels: Option<bool>) -> Result<Goal> {
    section.allow(&["name", "schedule", "weighting", "times", "label_dropout"]);
    let names = ["flow", "noise", "data", "v", "edm"];
    let kinds = [
        (GoalName::Flow, "linear_flow"),
        (GoalName::Noise, "vp_linear"),
        (GoalName::Data, "vp_cosine"),
        (GoalName::V, "trigonometric"),
        (GoalName::Edm, "edm"),
    ];
    let (name, usual) = kinds[section.choice("name", &names, None)?];
    if name == GoalName::Edm {
        section.allow(&["sigma_data"]);
    }
    let usual = NamedSchedule::NAMES.iter().position(|known| *known == usual);
    let schedule = NamedSchedule::NAMES[section.choice("schedule", &NamedSchedule::NAMES, usual)?];
    let schedule = NamedSchedule::from_name(schedule).input()?;
    let (weighting, times) = (weighting(section)?, times(section, name, &schedule)?);
    section.check()?;
    let label_dropout = section.number("label_dropout", 0.0..=1.0, Some(0.0))?;
    if label_dropout > 0.0 && labels == Some(false) {
        return Err(section.refuse(
            "label_dropout",
            "there are no labels to drop, since `labels` of [data] is false",
        ));
    }
    let goal = Goal {
        name,
        schedule,
        weighting,
        times,
        label_dropout,
        sigma_data: section.number("sigma_data", 1e-6..=1e6, Some(0.5))?,
    };
    goal.check().map_err(|error| section.refuse("name", error))?;
    Ok(goal)
}

fn weighting(section: &Section<'_>) -> Result<Option<Weighting>> {
    let names = [
        "own",
        "uniform",
        "snr",
        "min_snr",
        "soft_min_snr",
        "sigmoid",
        "likelihood",
    ];
    let choice = section.choice("weighting", &names, Some(0))?;
    if let 3 | 4 = choice {
        section.allow(&["gamma"]);
    } else if choice == 5 {
        section.allow(&["bias"]);
    }
    let gamma = || section.number("gamma", 1e-6..=1e6, Some(5.0));
    Ok(match choice {
        0 => None,
        1 => Some(Weighting::Uniform),
        2 => Some(Weighting::Snr),
        3 => Some(Weighting::MinSnr { gamma: gamma()? }),
        4 => Some(Weighting::SoftMinSnr { gamma: gamma()? }),
        5 => Some(Weighting::Sigmoid {
            bias: section.number("bias", -100.0..=100.0, Some(0.0))?,
        }),
        _ => Some(Weighting::Likelihood),
    })
}

fn times(section: &Section<'_>, goal: GoalName, schedule: &NamedSchedule) -> Result<Times> {
    let names = ["uniform", "logit_normal", "log_normal_sigma", "table_steps"];
    let table = schedule.build_table().is_ok();
    let usual = match goal {
        GoalName::Edm => 2,
        _ if table => 3,
        _ => 0,
    };
    let choice = section.choice("times", &names, Some(usual))?;
    if let 1 | 2 = choice {
        section.allow(&["mean", "deviation"]);
    }
    let of = |mean, deviation| -> Result<(f64, f64)> {
        Ok((
            section.number("mean", -100.0..=100.0, Some(mean))?,
            section.number("deviation", 1e-6..=100.0, Some(deviation))?,
        ))
    };
    Ok(match choice {
        0 => Times::Uniform,
        1 => {
            let (mean, deviation) = of(0.0, 1.0)?;
            Times::LogitNormal { mean, deviation }
        }
        2 => {
            let (mean, deviation) = of(-1.2, 1.2)?;
            Times::LogNormalSigma { mean, deviation }
        }
        _ if table => Times::TableSteps,
        _ => {
            return Err(section.refuse(
                "times",
                "this schedule is no table: take times = \"uniform\", or a table such as \"linear_beta\"",
            ));
        }
    })
}

impl Goal {
    pub(crate) fn path(&self) -> Result<Arc<dyn Schedule>> {
        self.schedule.build().input()
    }

    pub(crate) fn prediction(&self) -> Prediction {
        match self.name {
            GoalName::Flow => Prediction::Velocity,
            GoalName::Noise => Prediction::Noise,
            GoalName::Data => Prediction::Data,
            GoalName::V => Prediction::V,
            GoalName::Edm => Prediction::Edm {
                sigma_data: self.sigma_data,
            },
        }
    }

    /// How the network is called. Networks of images see times in thousands, as their embeddings of sines expect.
    pub(crate) fn parameterization(&self, model: &Model) -> Result<Parameterization> {
        if self.name == GoalName::Edm {
            return Parameterization::edm(self.sigma_data).input();
        }
        let mut parameterization = Parameterization::new(self.prediction());
        parameterization.time = match model {
            Model::Mlp { .. } => TimeInput::Time,
            Model::Unet { .. } | Model::Dit { .. } => TimeInput::Scaled(1000.0),
        };
        Ok(parameterization)
    }

    /// The times between which the model is trained and asked.
    fn ends(&self, path: &dyn Schedule) -> [f64; 2] {
        let t_max = path.t_max();
        let flow = matches!(
            self.schedule,
            NamedSchedule::LinearFlow | NamedSchedule::LinearFlowSigmaMin { .. }
        );
        match flow && self.name == GoalName::Flow {
            true => [0.0, t_max],
            false => [MARGIN * t_max, (1.0 - MARGIN) * t_max],
        }
    }

    fn sampling(&self, path: &dyn Schedule) -> Result<TimeSampling> {
        let [low, high] = self.ends(path);
        Ok(match self.times {
            Times::Uniform if low == 0.0 => TimeSampling::stratified(),
            Times::Uniform => TimeSampling::stratified().within(low, high).input()?,
            Times::LogitNormal { mean, deviation } => TimeSampling::logit_normal(mean, deviation).input()?,
            Times::LogNormalSigma { mean, deviation } => TimeSampling::log_normal_sigma(mean, deviation)
                .input()?
                .in_strata(),
            Times::TableSteps => TimeSampling::steps(self.schedule.build_table().input()?.len()).input()?,
        })
    }

    /// What is descended. Labels are dropped where there are any.
    pub(crate) fn objective(&self, recipe: &Recipe) -> Result<Box<dyn Objective>> {
        let regression = self.regression(recipe)?;
        Ok(match recipe.conditional() {
            true => Box::new(LabelDropout::new(regression, self.label_dropout, recipe.null()).input()?),
            false => Box::new(regression),
        })
    }

    /// The same without dropped labels, for a validation.
    pub(crate) fn regression(&self, recipe: &Recipe) -> Result<Regression> {
        let path = self.path()?;
        let times = self.sampling(path.as_ref())?;
        let regression = Regression::new(path, self.parameterization(&recipe.model)?).with_times(times);
        match self.weighting {
            Some(weighting) => regression.with_weighting(weighting).input(),
            None => Ok(regression),
        }
    }

    /// The levels that a sample visits in `steps` steps.
    pub(crate) fn grid(&self, steps: usize) -> Result<TimeGrid> {
        let path = self.path()?;
        if let Ok(table) = self.schedule.build_table() {
            return TimeGrid::trailing(Arc::new(table), steps).input();
        }
        let [low, high] = self.ends(path.as_ref());
        let sigmas = match self.schedule {
            NamedSchedule::Edm { t_max } => Some([SIGMA_MIN, t_max]),
            NamedSchedule::VeGeometric { sigma_min, sigma_max } => Some([sigma_min, sigma_max]),
            _ => None,
        };
        match sigmas {
            Some([low, high]) => TimeGrid::karras(path, low, high, RHO, steps),
            None if low == 0.0 => TimeGrid::uniform(path, steps),
            None if steps == 1 => TimeGrid::new(path, vec![high, 0.0]),
            None => TimeGrid::uniform_between(path, high, low, steps - 1).and_then(TimeGrid::then_clean),
        }
        .input()
    }

    /// Refuses a prediction that cannot see the data where training asks for it.
    fn check(&self) -> Result<()> {
        let path = self.path()?;
        let [_, high] = self.ends(path.as_ref());
        if self.times == Times::TableSteps {
            return self.prediction().check(path.level(path.t_max())).input();
        }
        self.prediction().check(path.level(high)).input()?;
        // Where samples begin, which may be further out than training goes.
        let start = self.grid(1)?.first();
        if self.name == GoalName::Edm && start.alpha == 0.0 {
            return Err(Error::input(
                "edm asks the network by the logarithm of sigma/alpha, which this schedule leaves infinite at its end: take the schedule \"edm\", or name = \"v\"",
            ));
        }
        self.prediction().check(start).input()
    }

    /// The solver that suits its samples.
    pub(crate) fn usual_solver(&self) -> &'static str {
        match self.name {
            GoalName::Flow | GoalName::Edm => "heun",
            GoalName::Noise | GoalName::Data | GoalName::V => "dpmpp_2m",
        }
    }

    /// One line that says what it is.
    pub(crate) fn told(&self) -> Result<String> {
        let name = serde_json::to_value(self.name).run()?;
        let schedule = serde_json::to_value(&self.schedule).run()?;
        Ok(format!(
            "{} on {}",
            name.as_str().unwrap_or_default(),
            parameters(&schedule)
        ))
    }
}

/// A value with a name and numbers, as `name(key = value, …)`.
pub(crate) fn parameters(value: &serde_json::Value) -> String {
    let Some(map) = value.as_object() else {
        return value.to_string();
    };
    let name = map
        .get("name")
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default();
    let rest = map.iter().filter(|(key, _)| *key != "name");
    let rest: Vec<String> = rest
        .map(|(key, value)| format!("{key} = {}", parameters(value)))
        .collect();
    match rest.is_empty() {
        true => name.to_owned(),
        false => format!("{name}({})", rest.join(", ")),
    }
}

/// Solver steps, in words that a user can act on.
pub(crate) fn check_steps(steps: u64) -> Result<usize> {
    match usize::try_from(steps) {
        Ok(steps) if (1..=100_000).contains(&steps) => Ok(steps),
        _ => Err(Error::input(format!("--steps {steps}: allowed are 1 to 100000"))),
    }
}
