//! Paths by the names of the reference format.

use std::sync::Arc;

use tallow::schedules::{NamedSchedule, Schedule, Table, Ve};

use super::{Fields, File, Obstacle};

/// The path that an object `{name, parameters}` describes.
///
/// # Errors
///
/// When the name is not known, a parameter is missing, or one is refused.
pub fn schedule(of: &Fields<'_>, file: &File) -> Result<Arc<dyn Schedule>, Obstacle> {
    match of.text("name")? {
        // The format's clock has no end.
        "edm" => Ok(Arc::new(Ve::with_t_max(of.number_or("t_max", 1e9)?)?)),
        "discrete_table" | "zero_terminal_snr" => Ok(Arc::new(table(of, file)?)),
        _ => Ok(named(of)?.build()?),
    }
}

/// The table that an object `{name, T, parameters}` describes.
///
/// # Errors
///
/// As [`schedule`], and when the object describes a continuous path.
pub fn table(of: &Fields<'_>, file: &File) -> Result<Table, Obstacle> {
    match of.text("name")? {
        "discrete_table" => Ok(Table::from_betas(file.table(of.text("table")?)?)?),
        "zero_terminal_snr" => {
            let mut base = of.value().clone();
            base["name"] = of.text("base")?.into();
            Ok(named(&Fields::of_case(&base, 0))?
                .build_table()?
                .zero_terminal_snr()?)
        }
        _ => Ok(named(of)?.build_table()?),
    }
}

fn named(of: &Fields<'_>) -> Result<NamedSchedule, Obstacle> {
    let name = of.text("name")?;
    if !NamedSchedule::NAMES.contains(&name) {
        return Err(Obstacle::Unsupported(format!("no schedule is named {name:?}")));
    }
    serde_json::from_value(of.value().clone())
        .map_err(|error| Obstacle::Wrong(format!("the schedule {name:?} cannot be read: {error}")))
}
