//! Samples of images against images that training did not see, by the features of Inception-v3.

use std::path::Path;
use std::time::Instant;

use candle_core::{Device, Tensor};
use serde_json::json;
use tallow::datasets::Images;
use tallow::metrics::{ImageMoments, ImageRange, InceptionTap, InceptionV3};
use tallow::train::Progress;

use super::STEPS;
use crate::arguments::Evaluate;
use crate::artwork::Frames;
use crate::error::{Blame, Result};
use crate::model::{Source, Trained};
use crate::output::{say, say_json};
use crate::sample::{Plan, Request};

/// Images that go through Inception at once.
const ROWS: usize = 32;

/// As many samples as there are images, of the same labels.
pub(super) fn images(
    arguments: &Evaluate,
    trained: &Trained,
    held_out: &Images,
    weights: &Path,
    device: &Device,
) -> Result<()> {
    let began = Instant::now();
    let extractor = InceptionV3::read(weights, InceptionTap::Pool, device).input()?;
    let plan = Plan::new(trained, arguments.solver.as_deref(), arguments.steps, STEPS)?;
    let count = held_out.rows();
    let request = Request {
        labels: match trained.recipe.conditional() {
            true => held_out.labels().to_vec(),
            false => Vec::new(),
        },
        count,
        guidance: arguments.guidance.unwrap_or(1.0),
        batch: None,
        seed: arguments.seed,
    };
    let drawn = plan.draw(trained, &request, device, &mut Frames::none())?;
    let rows: Vec<u32> = (0..count as u32).collect();
    let data = held_out.select(&rows).run()?.x0;
    let progress = Progress::new("features", 2 * count.div_ceil(ROWS) as u64);
    let moments = |images: &Tensor| -> Result<ImageMoments> {
        let mut moments = ImageMoments::new(&extractor, ImageRange::MinusOneToOne);
        // What a model draws may be a little brighter than white.
        let images = images.clamp(-1.0, 1.0).run()?;
        for first in (0..count).step_by(ROWS) {
            let piece = images.narrow(0, first, ROWS.min(count - first)).run()?;
            moments.push(&extractor, &piece).run()?;
            progress.tick();
        }
        Ok(moments)
    };
    let judged = moments(&drawn.samples)?
        .frechet_distance(&moments(&data)?)
        .run()?;
    progress.finish();
    let seconds = began.elapsed().as_secs_f64();
    if arguments.json {
        return say_json(&json!({
            "data": trained.recipe.data.name, "count": count, "frechet_distance": judged.value.distance_squared,
            "rank_deficient": judged.value.rank_deficient, "protocol": judged.protocol.to_string(),
            "solver": plan.name, "evaluations": drawn.evaluations, "seed": arguments.seed,
            "step": trained.step, "checkpoint": trained.path.display().to_string(), "seconds": seconds,
        }));
    }
    let few = match judged.value.rank_deficient {
        true => "\nfewer images than features: comparable with distances over as many images only",
        false => "",
    };
    say(&format!(
        "{count} samples of {} against as many images that training did not see, {}, {seconds:.1} s\n\
         frechet_distance  {:.4}  by {}{few}",
        trained.told()?,
        plan.told(),
        judged.value.distance_squared,
        judged.protocol
    ))
}
