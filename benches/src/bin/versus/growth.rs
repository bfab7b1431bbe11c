//! Time and peak memory of a training step against the batch, each batch in a process of its own.

use std::process::Command;

use crate::dit::Dit;
use crate::images;
use crate::unet::UNet;
use crate::{Failure, Work, mlp_train, time};

/// A network, the batches of its table, and a training step at a batch.
struct Growth {
    network: &'static str,
    batches: &'static [usize],
    step: fn(usize) -> Result<Work, Failure>,
}

const GROWTHS: &[Growth] = &[
    Growth {
        network: "mlp",
        batches: &[64, 256, 1024, 4096, 16384],
        step: mlp_train,
    },
    Growth {
        network: "unet",
        batches: &[1, 4, 16, 64],
        step: |batch| images::train(|scope| UNet::new(scope, 32), batch),
    },
    Growth {
        network: "dit",
        batches: &[1, 4, 16, 64],
        step: |batch| images::train(Dit::new, batch),
    },
];

/// Steps that are counted at each batch.
const RUNS: usize = 10;

/// What follows `--grow`: a network for its whole table, or a network and one batch.
pub(crate) fn grow(arguments: &[String]) -> Result<(), Failure> {
    let known = || {
        GROWTHS
            .iter()
            .map(|growth| growth.network)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (name, batch) = match arguments {
        [name] => (name, None),
        [name, batch] => (name, Some(batch.parse::<usize>()?)),
        _ => return Err(format!("--grow takes a network ({}) and, if wanted, one batch", known()).into()),
    };
    let Some(growth) = GROWTHS.iter().find(|growth| growth.network == name.as_str()) else {
        return Err(format!("no growth is measured of {name:?}: the networks are {}", known()).into());
    };
    match batch {
        Some(batch) => growth.print(batch),
        None => growth.batches.iter().try_for_each(|batch| growth.child(*batch)),
    }
}

impl Growth {
    fn child(&self, batch: usize) -> Result<(), Failure> {
        let program = std::env::current_exe()?;
        let arguments = ["--grow", self.network, &batch.to_string()];
        let status = Command::new(program).args(arguments).status()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("{} at a batch of {batch}: {status}", self.network).into())
        }
    }

    fn print(&self, batch: usize) -> Result<(), Failure> {
        let (ms, _) = time(RUNS, || (self.step)(batch))?;
        let peak = peak_megabytes().map_or("null".to_owned(), |peak| format!("{peak:.1}"));
        let name = self.network;
        println!("{{\"task\": \"{name}_train\", \"batch\": {batch}, \"ms\": {ms:.4}, \"peak_mb\": {peak}}}");
        Ok(())
    }
}

/// The largest resident size of this process so far, where the system tells it in `/proc`.
fn peak_megabytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes / 1024.0)
}
