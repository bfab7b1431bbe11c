//! The path that a case names.

use std::sync::Arc;

use serde_json::{Value, json};
use tallow::schedules::{NamedSchedule, Schedule};

/// Builds the path of a case's `schedule`; `tables` is the file's object of that name.
///
/// # Errors
///
/// When the name is unknown, a parameter or table is missing, or a value is out of its range.
pub fn schedule_of(schedule: &Value, tables: &Value) -> Result<Arc<dyn Schedule>, String> {
    let mut named = schedule.clone();
    match schedule["name"].as_str().ok_or("the schedule has no name")? {
        "discrete_table" => {
            let table = schedule["table"]
                .as_str()
                .ok_or("discrete_table names no table")?;
            named["betas"] = tables
                .get(table)
                .cloned()
                .ok_or(format!("the file has no table {table:?}"))?;
        }
        // The format's clock has no end.
        "edm" if schedule.get("t_max").is_none() => named["t_max"] = json!(1e6),
        _ => {}
    }
    let named: NamedSchedule = serde_json::from_value(named).map_err(|error| error.to_string())?;
    named.build().map_err(|error| error.to_string())
}
