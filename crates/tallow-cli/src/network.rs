//! The network of a recipe.

use tallow::denoisers::{Batch, Condition, Dataset, Network};
use tallow::models::{Dit, DitConfig, Mlp, MlpConfig, UNet, UNetClasses, UNetConfig, UNetStart};
use tallow::nn::Scope;

use crate::error::{Blame, Error, Result};
use crate::recipe::{Model, Recipe};

/// Builds the network: its parameters are made in the scope, or read from a view.
pub(crate) fn build(recipe: &Recipe, scope: &Scope<'_>) -> Result<Box<dyn Network>> {
    Ok(match &recipe.model {
        Model::Mlp { width, depth, waves } => {
            Box::new(Mlp::new(scope, mlp(recipe, *width, *depth, *waves)?).input()?)
        }
        Model::Unet {
            channels,
            blocks,
            attention,
            groups,
        } => {
            let [inputs, side] = image(recipe)?;
            let mut config = UNetConfig {
                size: Some([side; 2]),
                blocks: *blocks,
                groups: *groups,
                start: UNetStart::ZeroLast,
                classes: match labels(recipe) {
                    0 => UNetClasses::None,
                    count => UNetClasses::Table { count },
                },
                ..UNetConfig::new(inputs, channels)
            };
            for level in attention {
                config.attend(*level);
            }
            if !side.is_multiple_of(config.divisor()) {
                return Err(Error::input(format!(
                    "`channels` of [model] has {} levels, which halve the images' side {} times, but the images have {side} pixels, no multiple of {}: take fewer levels",
                    channels.len(),
                    channels.len() - 1,
                    config.divisor()
                )));
            }
            Box::new(UNet::new(scope, config).input_of("[model]")?)
        }
        Model::Dit {
            width,
            depth,
            heads,
            patch,
        } => {
            let [channels, side] = image(recipe)?;
            let mut config = DitConfig {
                channels,
                outputs: channels,
                width: *width,
                depth: *depth,
                heads: *heads,
                patch: *patch,
                ..DitConfig::small(side, recipe.data.classes.len())
            };
            // Times come in thousands already.
            config.time.scale = 1.0;
            if !side.is_multiple_of(*patch) {
                return Err(Error::input(format!(
                    "`patch` of [model] is {patch}, but the images have {side} pixels a side: take a divisor of {side}"
                )));
            }
            Box::new(Dit::new(scope, config).input_of("[model]")?)
        }
    })
}

fn mlp(recipe: &Recipe, width: usize, depth: usize, waves: Option<f64>) -> Result<MlpConfig> {
    let shape = &recipe.data.shape;
    let values = shape
        .iter()
        .try_fold(1usize, |product, side| product.checked_mul(*side));
    let values = values
        .ok_or_else(|| Error::input(format!("items of {shape:?} values are too large for any memory")))?;
    let config = MlpConfig {
        width,
        depth,
        classes: labels(recipe),
        ..MlpConfig::new(values)
    };
    Ok(match waves {
        Some(extent) => config.with_waves(extent),
        None => config,
    })
}

/// Rows of a table of labels: one more than there are classes, for none.
fn labels(recipe: &Recipe) -> usize {
    match recipe.data.classes.len() {
        0 => 0,
        classes => classes + 1,
    }
}

/// Channels and side of the images.
fn image(recipe: &Recipe) -> Result<[usize; 2]> {
    match recipe.data.shape.as_slice() {
        [channels, height, width] if height == width => Ok([*channels, *height]),
        [_, height, width] => Err(Error::input(format!(
            "the networks of images take square ones, these have {height} x {width} pixels: read a folder with `side`"
        ))),
        _ => Err(Error::input(format!(
            "the data {:?} are points, for which `name` of [model] must be \"mlp\": \"unet\" and \"dit\" are networks of images",
            recipe.data.name
        ))),
    }
}

/// Data without their labels, for models that are told none.
#[derive(Debug)]
pub(crate) struct Unlabelled<D>(pub(crate) D);

impl<D: Dataset> Dataset for Unlabelled<D> {
    fn item_shape(&self) -> &[usize] {
        self.0.item_shape()
    }

    fn draw(&self, count: usize, rng: &mut dyn tallow::nn::RngCore) -> tallow::denoisers::Result<Batch> {
        let batch = self.0.draw(count, rng)?;
        let condition = Condition::none();
        batch.with_condition(condition)
    }
}
