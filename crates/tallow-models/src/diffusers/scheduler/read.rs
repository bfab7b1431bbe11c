//! From the keys of `scheduler_config.json` to a scheduler.

use std::sync::Arc;

use serde_json::Value;
use tallow_denoisers::{Limit, Threshold, Variance};
use tallow_schedules::{Prediction, Schedule, Table};

use super::class::{Counting, KEYS, SchedulerClass};
use super::flow::{FlowBase, FlowRise, FlowShift, FlowSteps};
use super::steps::{End, SpacedIn, Spacing, TableSteps};
use super::{Scheduler, Steps};
use crate::blocks::Keys;
use crate::{Error, Result};

/// The longest table that a configuration may ask for.
const MAX_STEPS: usize = 100_000;

/// What stands for ᾱ = 0 in the classes that divide by it.
const ALMOST_ZERO: f64 = 1.0 / (1 << 24) as f64;

pub(super) fn scheduler(config: &Value) -> Result<Scheduler> {
    let name = config
        .get("_class_name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let Some(class) = SchedulerClass::of_name(name) else {
        let known: Vec<_> = SchedulerClass::ALL.iter().map(|class| class.name()).collect();
        return Err(Error::Configuration {
            class: "a scheduler",
            key: "_class_name".to_owned(),
            value: config.get("_class_name").unwrap_or(&Value::Null).to_string(),
            allowed: known.join(", "),
        });
    };
    let keys = Keys::new(class.name(), config, &KEYS)?;
    let trained = keys.count("num_train_timesteps", 1000)?;
    if !(1..=MAX_STEPS).contains(&trained) {
        return Err(keys.refuse("num_train_timesteps", "between 1 and 100000"));
    }
    for key in ["use_beta_sigmas", "invert_sigmas"] {
        if flag(&keys, key)? {
            return Err(keys.refuse(key, "false"));
        }
    }
    let flows = class == SchedulerClass::FlowMatchEuler || flag(&keys, "use_flow_sigmas")?;
    let (steps, prediction) = if flows {
        (Steps::Flow(flow(&keys, class, trained)?), Prediction::Velocity)
    } else {
        let prediction = prediction(&keys)?;
        (
            Steps::Table(table(&keys, class, trained, prediction)?),
            prediction,
        )
    };
    Ok(Scheduler {
        class,
        config: config.clone(),
        prediction,
        threshold: threshold(&keys, class, flows)?,
        variance: variance(&keys)?,
        steps,
    })
}

fn prediction(keys: &Keys<'_>) -> Result<Prediction> {
    match keys.word_or("prediction_type", Some("epsilon"))? {
        Some("epsilon") => Ok(Prediction::Noise),
        Some("sample") => Ok(Prediction::Data),
        Some("v_prediction") => Ok(Prediction::V),
        _ => Err(keys.refuse(
            "prediction_type",
            "\"epsilon\", \"sample\" or \"v_prediction\", and \"flow_prediction\" with `use_flow_sigmas`",
        )),
    }
}

fn table(
    keys: &Keys<'_>,
    class: SchedulerClass,
    trained: usize,
    prediction: Prediction,
) -> Result<TableSteps> {
    let counting = class.counting();
    let table = Arc::new(zero_terminal(
        keys,
        counting,
        prediction,
        betas(keys, class, trained)?,
    )?);
    let lambda_min = keys
        .number_or("lambda_min_clipped", None)?
        .unwrap_or(f64::NEG_INFINITY);
    let visited = match class {
        SchedulerClass::DpmSolverMultistep | SchedulerClass::DpmSolverSinglestep => {
            let seen = |&n: &usize| table.lambda(table.time_of_index(n)) >= lambda_min;
            (0..table.len()).take_while(seen).count()
        }
        _ => table.len(),
    };
    if visited == 0 {
        return Err(keys.refuse("lambda_min_clipped", "below the largest λ of the table"));
    }
    let spacing = match class {
        SchedulerClass::DpmSolverSinglestep => Spacing::Linspace,
        _ => spacing(keys, counting)?,
    };
    Ok(TableSteps {
        end: end(keys, class)?,
        spacing,
        spaced_in: spaced_in(keys)?,
        sigma_min: keys.number_or("sigma_min", None)?,
        sigma_max: keys.number_or("sigma_max", None)?,
        table,
        counting,
        visited,
    })
}

fn betas(keys: &Keys<'_>, class: SchedulerClass, trained: usize) -> Result<Table> {
    if let Some(betas) = keys.numbers_or("trained_betas")? {
        if betas.len() != trained {
            let allowed = format!("a list of {trained} numbers, as many as `num_train_timesteps`, or null");
            return Err(keys.refuse("trained_betas", &allowed));
        }
        return Ok(Table::from_betas(betas)?);
    }
    let (start, end) = class.default_betas();
    let (start, end) = (keys.number("beta_start", start)?, keys.number("beta_end", end)?);
    Ok(match keys.word_or("beta_schedule", Some("linear"))? {
        Some("linear") => Table::linear_beta(trained, start, end)?,
        Some("scaled_linear") => Table::scaled_linear_beta(trained, start, end)?,
        Some("squaredcos_cap_v2") => Table::cosine(trained, 0.008, 0.999)?,
        Some("sigmoid") => Table::geodiff_sigmoid_beta(trained, start, end)?,
        _ => {
            return Err(keys.refuse(
                "beta_schedule",
                "\"linear\", \"scaled_linear\", \"squaredcos_cap_v2\" or \"sigmoid\", or give `trained_betas`",
            ));
        }
    })
}

/// The table with ᾱ = 0 at its end, if it is to be so.
fn zero_terminal(keys: &Keys<'_>, counting: Counting, prediction: Prediction, table: Table) -> Result<Table> {
    if !flag(keys, "rescale_betas_zero_snr")? {
        return Ok(table);
    }
    let table = table.zero_terminal_snr()?;
    if counting == Counting::Entries {
        if prediction == Prediction::Noise {
            return Err(keys.refuse(
                "prediction_type",
                "\"v_prediction\" or \"sample\" with `rescale_betas_zero_snr`: at ᾱ = 0 noise prediction cannot see the data",
            ));
        }
        return Ok(table);
    }
    let mut alpha_bars = table.alpha_bars();
    if let Some(last) = alpha_bars.last_mut() {
        *last = ALMOST_ZERO;
    }
    Ok(Table::from_alpha_bars(&alpha_bars)?)
}

fn spacing(keys: &Keys<'_>, counting: Counting) -> Result<Spacing> {
    let default = match counting {
        Counting::Entries => "leading",
        _ => "linspace",
    };
    match keys.word_or("timestep_spacing", Some(default))? {
        Some("leading") => Ok(Spacing::Leading {
            offset: keys.count("steps_offset", 0)?,
        }),
        Some("linspace") => Ok(Spacing::Linspace),
        Some("trailing") => Ok(Spacing::Trailing),
        _ => Err(keys.refuse("timestep_spacing", "\"leading\", \"linspace\" or \"trailing\"")),
    }
}

fn spaced_in(keys: &Keys<'_>) -> Result<SpacedIn> {
    let asked = [
        ("use_karras_sigmas", SpacedIn::Karras),
        ("use_exponential_sigmas", SpacedIn::LogSigma),
        ("use_lu_lambdas", SpacedIn::LogSigma),
    ];
    let mut chosen = SpacedIn::Steps;
    for (key, spaced_in) in asked {
        if flag(keys, key)? {
            if chosen != SpacedIn::Steps {
                return Err(keys.refuse(key, "false beside another spacing in σ: only one can be used"));
            }
            chosen = spaced_in;
        }
    }
    if !matches!(
        keys.word_or("interpolation_type", Some("linear"))?,
        None | Some("linear")
    ) {
        return Err(keys.refuse("interpolation_type", "\"linear\""));
    }
    if !matches!(
        keys.word_or("timestep_type", Some("discrete"))?,
        None | Some("discrete")
    ) {
        return Err(keys.refuse("timestep_type", "\"discrete\""));
    }
    Ok(chosen)
}

fn end(keys: &Keys<'_>, class: SchedulerClass) -> Result<End> {
    let one = |default: bool| match keys.flag("set_alpha_to_one", default)? {
        true => Ok(End::Clean),
        false => Ok(End::FirstEntry),
    };
    match class {
        SchedulerClass::Ddim => one(true),
        SchedulerClass::Pndm => one(false),
        SchedulerClass::Deis => Ok(End::FirstEntry),
        SchedulerClass::Euler
        | SchedulerClass::DpmSolverMultistep
        | SchedulerClass::DpmSolverSinglestep
        | SchedulerClass::UniPc => match keys.word_or("final_sigmas_type", Some("zero"))? {
            Some("zero") => Ok(End::Clean),
            Some("sigma_min") => Ok(End::FirstEntry),
            _ => Err(keys.refuse("final_sigmas_type", "\"zero\" or \"sigma_min\"")),
        },
        _ => Ok(End::Clean),
    }
}

fn flow(keys: &Keys<'_>, class: SchedulerClass, trained: usize) -> Result<FlowSteps> {
    for key in ["use_karras_sigmas", "use_exponential_sigmas", "use_lu_lambdas"] {
        if flag(keys, key)? {
            return Err(keys.refuse(key, "false for flows"));
        }
    }
    if keys
        .number_or("shift_terminal", None)?
        .is_some_and(|end| end != 0.0)
    {
        return Err(keys.refuse("shift_terminal", "null"));
    }
    let dynamic = flag(keys, "use_dynamic_shifting")?;
    let fixed = |key: &str| {
        let shift = keys.number(key, 1.0)?;
        match (1e-6..=1e6).contains(&shift) {
            true => Ok(FlowShift::Fixed(shift)),
            false => Err(keys.refuse(key, "in [1e-6, 1e6]")),
        }
    };
    let (shift, base) = match class {
        SchedulerClass::FlowMatchEuler if dynamic => (of_sequence(keys)?, FlowBase::BothEnds),
        SchedulerClass::FlowMatchEuler => (fixed("shift")?, FlowBase::BothEnds),
        SchedulerClass::DpmSolverMultistep | SchedulerClass::DpmSolverSinglestep | SchedulerClass::UniPc => {
            if keys.word_or("prediction_type", Some("epsilon"))? != Some("flow_prediction") {
                return Err(keys.refuse("prediction_type", "\"flow_prediction\" with `use_flow_sigmas`"));
            }
            if dynamic {
                return Err(keys.refuse(
                    "use_dynamic_shifting",
                    "false: give the image's own factor as `flow_shift`",
                ));
            }
            if keys.word_or("final_sigmas_type", Some("zero"))? != Some("zero") {
                return Err(keys.refuse("final_sigmas_type", "\"zero\" with `use_flow_sigmas`"));
            }
            let base = match class {
                SchedulerClass::UniPc => FlowBase::AboveData,
                _ => FlowBase::BelowNoise,
            };
            (fixed("flow_shift")?, base)
        }
        _ => return Err(keys.refuse("use_flow_sigmas", "false for this class")),
    };
    Ok(FlowSteps { trained, shift, base })
}

fn of_sequence(keys: &Keys<'_>) -> Result<FlowShift> {
    let low = (
        keys.number("base_image_seq_len", 256.0)?,
        keys.number("base_shift", 0.5)?,
    );
    let high = (
        keys.number("max_image_seq_len", 4096.0)?,
        keys.number("max_shift", 1.15)?,
    );
    let rise = match keys.word_or("time_shift_type", Some("exponential"))? {
        Some("exponential") => FlowRise::Exponential,
        Some("linear") => FlowRise::Linear,
        _ => return Err(keys.refuse("time_shift_type", "\"exponential\" or \"linear\"")),
    };
    Ok(FlowShift::OfSequence { low, high, rise })
}

/// Only some classes hold x̂₀ within a range, whatever keys a configuration keeps.
fn threshold(keys: &Keys<'_>, class: SchedulerClass, flows: bool) -> Result<Option<Threshold>> {
    let (clips, default, dynamic) = match class {
        SchedulerClass::Ddpm | SchedulerClass::Ddim => (true, true, true),
        SchedulerClass::Heun => (true, false, false),
        SchedulerClass::DpmSolverMultistep
        | SchedulerClass::DpmSolverSinglestep
        | SchedulerClass::UniPc
        | SchedulerClass::Deis => (false, false, true),
        _ => (false, false, false),
    };
    if dynamic && !flows && flag(keys, "thresholding")? {
        let quantile = keys.number("dynamic_thresholding_ratio", 0.995)?;
        let largest = keys.number("sample_max_value", 1.0)?;
        if !(0.0..=1.0).contains(&quantile) {
            return Err(keys.refuse("dynamic_thresholding_ratio", "in [0, 1]"));
        }
        if !(largest >= 1.0 && largest.is_finite()) {
            return Err(keys.refuse("sample_max_value", "at least 1"));
        }
        let limit = Limit::OneTo(largest);
        return Ok(Some(Threshold::Dynamic { quantile, limit }));
    }
    if clips && keys.flag("clip_sample", default)? {
        let range = keys.number("clip_sample_range", 1.0)?;
        if !(range > 0.0 && range.is_finite()) {
            return Err(keys.refuse("clip_sample_range", "a positive number"));
        }
        return Ok(Some(Threshold::Static { range }));
    }
    Ok(None)
}

/// A learned variance that is no range is not known here; the other types belong to the update rule.
fn variance(keys: &Keys<'_>) -> Result<Variance> {
    match keys.word_or("variance_type", None)? {
        Some("learned_range") => Ok(Variance::LearnedRange),
        Some("learned") => Err(keys.refuse(
            "variance_type",
            "\"learned_range\", or a fixed one: variances that are learned as logarithms are not supported",
        )),
        _ => Ok(Variance::Fixed),
    }
}

/// A truth value that may be null.
fn flag(keys: &Keys<'_>, key: &str) -> Result<bool> {
    Ok(keys.flag_or(key)?.unwrap_or(false))
}
