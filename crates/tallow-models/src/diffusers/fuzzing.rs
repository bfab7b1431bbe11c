//! The body of the fuzz target: what must hold of any bytes at all. For tests; no part of the interface.

#![allow(
    clippy::panic_in_result_fn,
    reason = "a refusal is expected, a broken law is not"
)]

use candle_core::DType;
use serde_json::Value;
use tallow_nn::Plan;

use super::json_file::parse;
use super::{Pretrained, Scheduler};
use crate::{AutoencoderKl, Dit, UNet};

/// Bytes of a configuration of a network or scheduler are refused, or read; and what is read is written and read again as
/// the same.
///
/// # Errors
///
/// Why the bytes were refused.
///
/// # Panics
///
/// When that does not hold.
pub fn configuration(bytes: &[u8]) -> Result<(), String> {
    let value = parse(bytes).map_err(|error| error.to_string())?;
    let class = value
        .get("_class_name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if Dit::CLASSES.contains(&class) {
        network::<Dit>(&value)
    } else if UNet::CLASSES.contains(&class) {
        network::<UNet>(&value)
    } else if AutoencoderKl::CLASSES.contains(&class) {
        network::<AutoencoderKl>(&value)
    } else {
        scheduler(&value)
    }
}

/// A network of at most sixteen thousand numbers.
fn network<M: Pretrained>(value: &Value) -> Result<(), String> {
    let words = |error: crate::Error| error.to_string();
    let config = M::from_config(value).map_err(words)?;
    let plan = Plan::new(DType::F32, 1 << 14);
    M::build(&plan.scope(), &config).map_err(words)?;
    let written = M::to_config(&config).map_err(words)?;
    let again = M::from_config(&written).map(|config| format!("{config:?}"));
    assert!(
        again.as_ref().is_ok_and(|again| *again == format!("{config:?}")),
        "{config:?} became {again:?}"
    );
    Ok(())
}

fn scheduler(value: &Value) -> Result<(), String> {
    let words = |error: crate::Error| error.to_string();
    let read = Scheduler::from_config(value).map_err(words)?;
    let parsed = parse(read.config().to_string().as_bytes()).map_err(|error| error.to_string())?;
    let again = Scheduler::from_config(&parsed).map_err(words);
    assert!(
        again
            .as_ref()
            .is_ok_and(|again| again.prediction() == read.prediction()),
        "{read:?} became {again:?}"
    );
    let grid = read.grid_of_sequence(7, 1024).map_err(words)?;
    assert!(grid.step_count() <= 7);
    Ok(())
}
