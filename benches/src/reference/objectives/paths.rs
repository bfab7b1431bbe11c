//! Conditional paths from a source to a target, whose time runs against ours.

use std::sync::Arc;

use candle_core::Tensor;
use tallow::objectives::Bridge;
use tallow::schedules::{NoiseLevel, RectifiedFlow, Schedule, Trigonometric};

use super::{Comparison, Fields, Obstacle, Told, flat, only, tensor, told};

pub(super) fn check(case: &Fields<'_>, rule: &Fields<'_>) -> Told<Comparison> {
    let sigma = rule.number("sigma")?;
    let backwards = match if rule.has("time") {
        rule.text("time")?
    } else {
        "t=0 source"
    } {
        time if time.starts_with("t=0 source") => true,
        time if time.starts_with("t=0 target") || time.starts_with("t=0 data") => false,
        other => return Err(Obstacle::Unsupported(format!("no clock runs {other:?}"))),
    };
    let inputs = case.object("inputs")?;
    let [source, target, noise] = ["x_source", "x_target", "noise"].map(|name| tensor(&inputs, name));
    let (target, noise) = (target?, noise?);
    let straight = || Arc::new(RectifiedFlow::default());
    // The path, the bridge on it, and what stands at its noisy end.
    let (path, bridge, source): (Arc<dyn Schedule>, _, Tensor) = match rule.text("kind")? {
        "independent" => (straight(), Bridge::Constant { sigma }, source?),
        "schrodinger_bridge" => (straight(), Bridge::Schrodinger { sigma }, source?),
        "variance_preserving" => (Arc::new(Trigonometric), Bridge::Constant { sigma }, source?),
        "target" => {
            let path = RectifiedFlow::with_sigma_min(sigma)?;
            (Arc::new(path), Bridge::Constant { sigma: 0.0 }, noise.clone())
        }
        other => return Err(Obstacle::Unsupported(format!("no path is of the kind {other:?}"))),
    };
    bridge.check().map_err(told)?;
    let levels = inputs
        .numbers("t")?
        .into_iter()
        .map(|t| Ok(path.checked_level(if backwards { 1.0 - t } else { t })?))
        .collect::<Told<Vec<NoiseLevel>>>()?;
    let crossing = bridge
        .cross([&target, &source, &noise], &levels, path.t_max())
        .map_err(told)?;
    let sign = if backwards { -1.0 } else { 1.0 };
    let velocity: Vec<f64> = flat(&crossing.velocity)?.into_iter().map(|v| sign * v).collect();
    let expected = only(case, &["x_t", "velocity"])?;
    let mut comparison = Comparison::of(case)?;
    comparison.field(&expected, "x_t", &flat(&crossing.x)?)?;
    comparison.field(&expected, "velocity", &velocity)?;
    Ok(comparison)
}
