//! A run that is killed, again and again, at any moment, loses nothing that it was told to be safe, and ends as one that was
//! never killed.
//!
//! The test starts itself as a child that trains, reads from its output which steps are safe, and kills it.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod choices;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use choices::{Choices, with_files};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tallow_train::Checkpoints;

const STEPS: u64 = 120;
const EVERY: u64 = 3;

const CHOICES: Choices = Choices {
    objective: 0,
    coupling: 1,
    average: 1,
    optimizer: 0,
    data: 1,
};

/// `TALLOW_KILLS=10000` kills more often.
fn kills() -> usize {
    std::env::var("TALLOW_KILLS").map_or(300, |kills| kills.parse().unwrap())
}

/// Trains in a folder until `STEPS`, from where it is, and says after each checkpoint that it is safe.
fn train(folder: &Path) {
    CHOICES.with_run(STEPS, |trainer| {
        let checkpoints = Checkpoints::open(folder.join("checkpoints")).unwrap();
        let mut trainer = with_files(trainer, folder)
            .with_checkpoints(checkpoints.keep(2).unwrap(), EVERY)
            .unwrap()
            .with_callback(|report| {
                if report.saved {
                    say(&format!("safe {}", report.step));
                }
                ControlFlow::Continue(())
            });
        trainer.resume().unwrap();
        say("ready");
        let stop = std::env::var("TALLOW_VICTIM_STEPS").map_or(STEPS, |steps| steps.parse().unwrap());
        trainer.run(stop).unwrap();
        say("done");
    });
}

/// One line, whole and at once.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

#[test]
#[ignore = "the child that the other tests start and kill"]
fn victim() {
    if let Some(folder) = std::env::var_os("TALLOW_VICTIM") {
        train(Path::new(&folder));
    }
}

/// This program as the child, behind the words of `wrapper`.
fn victim_command(wrapper: &[&str], folder: &Path) -> Command {
    let own = std::env::current_exe().unwrap();
    let mut command = match wrapper.split_first() {
        None => Command::new(own),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(own);
            command
        }
    };
    command
        .args([
            "--ignored",
            "--exact",
            "victim",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("TALLOW_VICTIM", folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// The checkpoint of every safe step of a run that nobody disturbs, and its loss file.
fn undisturbed() -> (BTreeMap<u64, Vec<u8>>, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut safe = BTreeMap::new();
    CHOICES.with_run(STEPS, |trainer| {
        let mut trainer = with_files(trainer, folder.path());
        for step in (EVERY..=STEPS).step_by(EVERY as usize) {
            trainer.run(step).unwrap();
            safe.insert(step, trainer.checkpoint().unwrap().to_bytes().unwrap());
        }
    });
    let losses = fs::read_to_string(folder.path().join("loss.csv")).unwrap();
    (safe, losses)
}

/// Opens the folder that a child left: what it said to be safe is there, whole, and nothing unfinished.
fn check(folder: &Path, promised: u64, expected: &BTreeMap<u64, Vec<u8>>) -> u64 {
    let checkpoints = folder.join("checkpoints");
    let mut opened = Checkpoints::open(&checkpoints).unwrap();
    let names = fs::read_dir(&checkpoints).unwrap();
    let names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(!names.iter().any(|name| name.contains("unfinished")), "{names:?}");
    // The lock, two checkpoints, and one more for each kill in a row between a renaming and the removal after it.
    assert!(names.len() <= 8, "{names:?}");
    let Some(latest) = opened.latest().unwrap() else {
        assert_eq!(promised, 0);
        return 0;
    };
    let step = latest.checkpoint.step();
    assert!(step >= promised, "found step {step}, promised was {promised}");
    assert!(latest.skipped.is_empty());
    assert!(fs::read(latest.path).unwrap() == expected[&step], "step {step}");
    step
}

/// The newest step that a child's output calls safe.
fn promised(output: &str) -> u64 {
    let steps = output.lines().filter_map(|line| line.strip_prefix("safe "));
    steps.map(|step| step.parse().unwrap()).max().unwrap_or(0)
}

/// Kills a child after a while: from its start, or from when it is ready. What it said, and whether it was in time to end.
fn kill_after(mut child: Child, delay: Duration, from_ready: bool) -> (String, bool) {
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut output = String::new();
    while from_ready && !output.contains("ready") {
        if reader.read_line(&mut output).unwrap() == 0 {
            break;
        }
    }
    sleep(delay);
    child.kill().unwrap();
    reader.read_to_string(&mut output).unwrap();
    let ended = child.wait().unwrap().success();
    (output, ended)
}

#[test]
fn three_hundred_kills_lose_nothing_and_the_end_is_that_of_a_run_never_killed() {
    let (expected, losses) = undisturbed();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut folder = tempfile::tempdir().unwrap();
    let (all, mut kills, mut whole_runs, mut newest) = (self::kills(), 0, 0, 0);
    while kills < all || whole_runs == 0 {
        let child = victim_command(&[], folder.path()).spawn().unwrap();
        let delay = Duration::from_micros(rng.random_range(0..30_000));
        // After the last kill it may run.
        let (delay, from_ready) = match kills < all {
            true => (delay, rng.random_range(0..4) > 0),
            false => (Duration::from_secs(20), true),
        };
        let (output, ended) = kill_after(child, delay, from_ready);
        kills += usize::from(!ended);
        newest = check(folder.path(), promised(&output).max(newest), &expected);
        if newest == STEPS {
            if output.contains("done") {
                assert_eq!(
                    fs::read_to_string(folder.path().join("loss.csv")).unwrap(),
                    losses
                );
            }
            whole_runs += 1;
            (folder, newest) = (tempfile::tempdir().unwrap(), 0);
        }
    }
    println!("{kills} kills, {whole_runs} runs reached their end");
}

/// Whether children can be traced here; says so where they cannot.
fn can_trace() -> bool {
    let tried = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .output();
    let reason = match tried {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    println!("skipped, strace does not work here: {reason}");
    false
}

#[test]
fn faults_of_the_kernel_itself_lose_nothing() {
    if !can_trace() {
        return;
    }
    let (expected, _) = undisturbed();
    let (mut runs, mut disturbed) = (0, 0);
    for call in ["fsync", "rename", "unlink", "ftruncate", "write"] {
        for effect in ["error=EIO", "error=ENOSPC", "error=EACCES", "signal=SIGKILL"] {
            for nth in [1, 2, 3, 5, 8, 13] {
                let folder = tempfile::tempdir().unwrap();
                let inject = format!("inject={call}:{effect}:when={nth}");
                let trace = format!("trace={call}");
                let wrapper = [
                    "strace",
                    "-f",
                    "-qq",
                    "-o",
                    "/dev/null",
                    "-e",
                    &trace,
                    "-e",
                    &inject,
                ];
                let mut command = victim_command(&wrapper, folder.path());
                let output = command.env("TALLOW_VICTIM_STEPS", "12").output().unwrap();
                let text = String::from_utf8_lossy(&output.stdout);
                let found = check(folder.path(), promised(&text), &expected);
                runs += 1;
                disturbed += usize::from(!text.contains("done"));
                assert!(found == 12 || !text.contains("done"), "{inject}: {found}");
            }
        }
    }
    println!("{runs} runs, {disturbed} of them disturbed");
    assert!(disturbed > runs / 4, "{disturbed} of {runs} were disturbed");
}
