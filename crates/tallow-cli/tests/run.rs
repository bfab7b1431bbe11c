//! A whole run: trained, interrupted, resumed, sampled, evaluated, inspected; the same bytes as one that nobody stopped.
#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]
#![cfg(unix)]

#[allow(dead_code, reason = "each test file uses a part")]
mod command;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use command::{configuration, refused, tallow, well};
use serde_json::Value;

const STEPS: u64 = 1200;

/// Starts the run, presses Ctrl-C when its fifth step is told, and returns the step after which it stopped.
fn interrupt(folder: &Path) -> u64 {
    let mut command = tallow(folder, &["train", "run.toml", "--json", "--every", "1"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    // What is not read fills the pipe, so that the run cannot end before it is told to.
    let mut line = String::new();
    while !line.contains("\"step\":5,") {
        line.clear();
        assert!(
            lines.read_line(&mut line).unwrap() > 0,
            "the run ended before its fifth step"
        );
    }
    let status = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{error}");
    assert!(
        error.contains("interrupted: after step ") && error.contains("--resume"),
        "{error}"
    );
    let end: Value = serde_json::from_str(rest.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&end["event"], &end["stopped"]),
        (&Value::from("end"), &Value::from(true))
    );
    end["step"].as_u64().unwrap()
}

#[test]
fn a_run_that_is_interrupted_and_resumed_ends_with_the_bytes_of_one_that_is_not() {
    let [stopped, straight] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    for folder in [&stopped, &straight] {
        std::fs::write(folder.path().join("run.toml"), configuration(STEPS)).unwrap();
    }
    let step = interrupt(stopped.path());
    assert!((5..STEPS).contains(&step), "stopped after step {step}");
    let said = refused(stopped.path(), &["train", "run.toml"]);
    assert!(said.contains(&format!("has made {step} steps")), "{said}");
    let said = well(stopped.path(), &["train", "run.toml", "--resume"]);
    assert!(said.contains(&format!("going on after step {step}")), "{said}");
    well(straight.path(), &["train", "run.toml"]);
    for file in ["run/checkpoints/step-000000001200.safetensors", "run/loss.csv"] {
        let [a, b] = [&stopped, &straight].map(|folder| std::fs::read(folder.path().join(file)).unwrap());
        assert!(a == b, "{file} differs");
    }
    used(stopped.path());
}

/// Samples, evaluation and inspection of a finished run.
fn used(folder: &Path) {
    let draw = |count: &str, file: &str| {
        well(
            folder,
            &[
                "sample",
                "run",
                "-n",
                count,
                "--solver",
                "dpmpp_2m",
                "--steps",
                "5",
                "--guidance",
                "3",
                "--class",
                "7",
                "-o",
                file,
            ],
        )
    };
    assert!(draw("4", "grid.png").contains("4 samples of digits after step 1200: dpmpp_2m in 5 steps"));
    assert!(
        std::fs::read(folder.join("grid.png"))
            .unwrap()
            .starts_with(b"\x89PNG")
    );
    draw("3", "way.gif");
    assert!(
        std::fs::read(folder.join("way.gif"))
            .unwrap()
            .starts_with(b"GIF89a")
    );
    // The third sample of a seed is the same among three and among seventy.
    draw("3", "three.npy");
    draw("70", "many.npy");
    let [three, many] = ["three.npy", "many.npy"].map(|file| std::fs::read(folder.join(file)).unwrap());
    let values = |bytes: &[u8], rows: usize| bytes[bytes.len() - rows * 64 * 4..].to_vec();
    assert_eq!(values(&three, 3), values(&many, 70)[..3 * 64 * 4]);

    let evaluated: Value = serde_json::from_str(&well(folder, &["evaluate", "run", "--json"])).unwrap();
    assert_eq!(evaluated["count"], 180);
    let loss = evaluated["validation_loss"].as_f64().unwrap();
    // A network that answers nothing has a loss of E|x₀|² + 1, above 1.5 on the digits.
    assert!((0.05..1.3).contains(&loss), "{loss}");
    let inspected: Value = serde_json::from_str(&well(folder, &["inspect", "run", "--json"])).unwrap();
    assert_eq!(
        (&inspected["kind"], &inspected["step"]),
        (&"checkpoint".into(), &1200.into())
    );
    assert_eq!(
        inspected["recipe"]["objective"]["schedule"]["name"],
        "linear_flow"
    );
    let text = well(folder, &["inspect", "run", "--parameters"]);
    assert!(
        text.contains("step 1200 of 1200 (finished)") && text.contains("layers.0.weight"),
        "{text}"
    );
}

#[test]
fn points_are_trained_on_compared_with_data_and_written_as_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (name, extra) in [
        ("flow", "[coupling]\nname = \"optimal_transport\"\n"),
        ("noise", "schedule = \"linear_beta\"\n"),
        ("edm", "[optimizer]\nname = \"sgd\"\n[average]\nname = \"none\"\n"),
    ] {
        let text = format!(
            "steps = 30\nbatch = 32\noutput = \"{name}\"\n[data]\nname = \"moons\"\n[model]\nname = \"mlp\"\nwidth = 32\n\
             depth = 2\nwaves = 4.0\n[objective]\nname = \"{name}\"\n{extra}"
        );
        std::fs::write(folder.join("run.toml"), text).unwrap();
        well(folder, &["train", "run.toml"]);
        let line = well(folder, &["evaluate", name, "-n", "64", "--steps", "4", "--json"]);
        let evaluated: Value = serde_json::from_str(&line).unwrap();
        let number = |key: &str| evaluated[key].as_f64().unwrap();
        assert!(number("wasserstein2") > number("data_wasserstein2"), "{line}");
        well(
            folder,
            &["sample", name, "-n", "10", "--class", "1", "-o", "points.csv"],
        );
        assert_eq!(
            std::fs::read_to_string(folder.join("points.csv"))
                .unwrap()
                .lines()
                .count(),
            11
        );
        well(
            folder,
            &[
                "sample",
                name,
                "-n",
                "10",
                "--solver",
                "adaptive_dopri5",
                "-o",
                "way.gif",
            ],
        );
    }
    let said = refused(folder, &["sample", "flow", "--solver", "ddpm", "-o", "a.png"]);
    assert!(said.contains("coupling \"independent\""), "{said}");
    let said = refused(folder, &["sample", "flow", "--guidance", "2", "-o", "a.png"]);
    assert!(said.contains("label_dropout = 0.1"), "{said}");
}
