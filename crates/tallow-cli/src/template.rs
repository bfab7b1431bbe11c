//! The configurations that `tallow init` writes.

use crate::data;

pub(crate) const MODELS: [&str; 3] = ["mlp", "unet", "dit"];
pub(crate) const OBJECTIVES: [&str; 5] = ["flow", "noise", "data", "v", "edm"];

/// A configuration with a comment for every key.
pub(crate) fn configuration(data: &str, model: &str, objective: &str) -> String {
    let images = data::is_images(data);
    let (steps, batch, peak) = match (images, model) {
        (false, _) => (3000, 512, "3e-3"),
        (true, "mlp") => (2000, 128, "1e-3"),
        (true, _) => (1200, 128, "1e-3"),
    };
    let labels = images && data != "folder";
    format!(
        "\
# A training run of tallow: `tallow train FILE` starts it, Ctrl-C stops it, `tallow train FILE --resume` goes on.
# A line that begins with # is a comment; a key that is left out has the value that its comment calls the default.
# Relative paths start from this file's folder.

steps = {steps}                # training steps
batch = {batch}                 # rows in a batch
seed = 0                    # of everything random: the same seed gives the same bytes (default 0)
device = \"cpu\"              # cpu, cuda or metal (default \"cpu\")
output = \"runs/{data}\"      # folder for checkpoints and loss.csv
checkpoint_every = 250      # steps between checkpoints (default 250)
keep = 3                    # checkpoints that are kept (default 3)
validate_every = {validate}        # steps between validations, 0 for none (default 0)

[data]
# digits, mnist, fashion_mnist, cifar10, folder, or a set of points: {points}
name = \"{data}\"
{data_keys}
[model]
# mlp (points and small images), unet or dit (images)
name = \"{model}\"
{model_keys}
[objective]
# flow (velocity of a straight path), noise (DDPM), data, v, edm
name = \"{objective}\"
# schedule = \"vp_cosine\"    # another path than the objective's own: see `tallow schedules`
# weighting = \"min_snr\"     # own (default), uniform, snr, min_snr, soft_min_snr, sigmoid, likelihood
# gamma = 5.0               # of min_snr and soft_min_snr (default 5)
# bias = 0.0                # of sigmoid (default 0)
# times = \"logit_normal\"    # uniform, logit_normal, log_normal_sigma, table_steps
# mean = 0.0                # of logit_normal (default 0) and log_normal_sigma (default -1.2)
# deviation = 1.0           # of logit_normal (default 1) and log_normal_sigma (default 1.2)
label_dropout = {dropout}         # part of the labels that is dropped, for guidance (default 0)
{objective_keys}
[coupling]
# independent (default), optimal_transport, sinkhorn, immiscible_noise
name = \"independent\"
# regularization = 0.05     # of sinkhorn, as a part of the mean cost (default 0.05)

[optimizer]
name = \"adamw\"              # adamw (default), adam, radam, sgd
# beta1 = 0.9               # of adamw, adam and radam (default 0.9)
# beta2 = 0.999             # of adamw, adam and radam (default 0.999)
# momentum = 0.9            # of sgd (default 0.9)
weight_decay = 0.0          # (default 0)
clip = 1.0                  # largest norm of the gradients (default none)
micro_batches = 1           # batches of one step (default 1)

[learning_rate]
name = \"cosine\"             # constant, cosine (default), linear, inverse_square_root
peak = {peak}                 # (default 1e-3)
warm_up = 100               # steps of its rise (default 0)
floor = 0.0                 # where it ends (default 0)

[average]
# warm_up (default), constant, power (with gamma), none: of the weights, which samples are drawn with
name = \"warm_up\"
decay = 0.999               # (default 0.999)
# gamma = 6.94              # of power, in place of decay (default 6.94)
",
        validate = 250,
        points = tallow::datasets::NAMES.join(", "),
        data_keys = data_keys(data),
        model_keys = model_keys(data, model),
        dropout = if labels { "0.1" } else { "0.0" },
        objective_keys = objective_keys(data, objective),
    )
}

fn data_keys(name: &str) -> &'static str {
    match name {
        "digits" => {
            "held_out_every = 10         # every tenth image is kept for `tallow evaluate` (default 10)
# labels = true             # whether the model is told the labels (default true)
"
        }
        "mnist" => {
            "path = \"data/mnist\"         # folder with train-images-idx3-ubyte and its like, also as .gz
# labels = true             # whether the model is told the labels (default true)
"
        }
        "fashion_mnist" => {
            "path = \"data/fashion\"       # folder with train-images-idx3-ubyte and its like, also as .gz
# labels = true             # whether the model is told the labels (default true)
"
        }
        "cifar10" => {
            "path = \"data/cifar10\"       # folder of the binary version: data_batch_1.bin and its like
# labels = true             # whether the model is told the labels (default true)
"
        }
        "folder" => {
            "path = \"data/pictures\"      # folder of .png and .jpg files
side = 32                   # pixels that each picture is brought to
colour = \"rgb\"              # rgb (default) or grey
classes = false             # true (default): one folder for each class; false: all pictures in one
held_out_every = 10         # every tenth picture is kept for `tallow evaluate` (default 10)
# labels = true             # whether the model is told the classes (default: where there are any)
"
        }
        _ => {
            "labels = false              # whether the model is told the labels (default: where there are any)\n"
        }
    }
}

fn model_keys(data: &str, model: &str) -> String {
    match model {
        "mlp" => {
            let (width, waves) = match data {
                _ if data::is_images(data) => (512, None),
                "checkerboard" => (256, Some("2.0")),
                "swiss_roll" => (256, Some("16.0")),
                "gaussians" => (256, Some("8.0")),
                _ => (256, Some("4.0")),
            };
            let waves = match waves {
                Some(extent) => format!(
                    "waves = {extent}                 # half-width of the data, whose sines and cosines sharpen edges (default none)\n"
                ),
                None => "# waves = 1.0               # half-width of the data, whose sines and cosines sharpen edges (default none)\n".to_owned(),
            };
            format!(
                "width = {width}                 # values of a hidden layer (default 256)\ndepth = 4                   # hidden layers (default 4)\n{waves}"
            )
        }
        "unet" => "\
channels = [16, 32, 64]     # of each resolution, the finest first; each level halves the side (default [16, 32, 64])
blocks = 1                  # residual blocks of a level (default 1)
attention = [2]             # levels that attend, counted from 0 (default the coarsest)
groups = 8                  # of the norms; divides all channels (default 8)
"
        .to_owned(),
        _ => format!(
            "\
width = 128                 # values of a token (default 128)
depth = 6                   # transformer blocks (default 6)
heads = 4                   # of the attention; divides the width (default 4)
patch = {}                   # pixels of a patch's side; divides the images' (default 4)
",
            if data == "digits" { 1 } else { 4 }
        ),
    }
}

fn objective_keys(data: &str, objective: &str) -> &'static str {
    match (objective, data::is_images(data)) {
        ("edm", true) => "sigma_data = 0.5            # standard deviation of the data (default 0.5)\n",
        ("edm", false) => "sigma_data = 1.5            # standard deviation of the data (default 0.5)\n",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::Settings;
    use crate::toml_file::TomlFile;

    #[test]
    fn every_configuration_that_is_written_can_be_read() {
        for data in data::names() {
            for model in MODELS {
                if model != "mlp" && !data::is_images(data) {
                    continue;
                }
                for objective in OBJECTIVES {
                    let text = configuration(data, model, objective);
                    let file = TomlFile::new(Path::new("tallow.toml"), text.clone());
                    let settings = Settings::of(&file)
                        .map_err(|error| format!("{error}\n{text}"))
                        .unwrap();
                    assert_eq!(settings.recipe.data.name, data);
                    assert_eq!(settings.labels, (!data::is_images(data)).then_some(false));
                }
            }
        }
    }

    #[test]
    fn keys_of_comments_are_keys_too() {
        for (name, replaced) in [
            ("# schedule", "schedule"),
            ("# weighting", "weighting"),
            ("# times", "times"),
            ("# labels", "labels"),
            ("# beta1", "beta1"),
            ("# beta2", "beta2"),
            (
                "# weighting = \"min_snr\" ",
                "weighting = \"min_snr\"\ngamma = 4.0 ",
            ),
            (
                "# weighting = \"min_snr\" ",
                "weighting = \"sigmoid\"\nbias = 1.0 ",
            ),
            (
                "# times = \"logit_normal\" ",
                "times = \"logit_normal\"\nmean = 0.5\ndeviation = 2.0 ",
            ),
            (
                "name = \"independent\"",
                "name = \"sinkhorn\"\nregularization = 0.1",
            ),
            ("name = \"adamw\" ", "name = \"sgd\"\nmomentum = 0.5 "),
            (
                "name = \"warm_up\"\ndecay = 0.999 ",
                "name = \"power\"\ngamma = 7.0 ",
            ),
        ] {
            let text = configuration("digits", "unet", "noise").replace(name, replaced);
            let file = TomlFile::new(Path::new("tallow.toml"), text);
            Settings::of(&file).unwrap();
        }
    }
}
