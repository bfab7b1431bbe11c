//! Claimed orders are measured: two non-linear problems, three paths, f64.

use super::every_solver;
use crate::Claim;
use crate::testing::{Path, Problem, WEAK_STEPS, order, steps_for, weak_order};

/// How far a measured order may be from the claimed one.
const TOLERANCE: f64 = 0.15;

#[test]
fn every_claimed_order_is_measured() {
    let problems = Problem::nonlinear().unwrap();
    every_solver(|entry| {
        let Claim::Order(claimed) = entry.claim else {
            return Ok(());
        };
        for problem in &problems {
            let order =
                order(&*entry.sampler(), problem, steps_for(claimed)).map_err(|error| error.to_string())?;
            println!("{} {claimed} on {problem:?}: {order}", entry.name);
            if !order.supports(claimed, TOLERANCE) {
                return Err(format!("order {claimed} on {problem:?}: {order}"));
            }
        }
        Ok(())
    });
}

#[test]
fn every_claimed_weak_order_is_measured() {
    every_solver(|entry| {
        let Claim::WeakOrder(claimed) = entry.claim else {
            return Ok(());
        };
        for path in Path::ALL {
            let order =
                weak_order(&*entry.sampler(), path, &WEAK_STEPS).map_err(|error| error.to_string())?;
            println!("{} {claimed} on {}: {order}", entry.name, path.name());
            if !order.agrees(claimed, 0.1) {
                return Err(format!("weak order {claimed} on {}: {order}", path.name()));
            }
        }
        Ok(())
    });
}

#[test]
fn every_deterministic_solver_solves_the_gaussian_too() {
    let problems = Path::ALL.map(|path| Problem::gaussian(path).unwrap());
    every_solver(|entry| {
        let Claim::Order(claimed) = entry.claim else {
            return Ok(());
        };
        for problem in &problems {
            let order =
                order(&*entry.sampler(), problem, steps_for(claimed)).map_err(|error| error.to_string())?;
            // On a linear ODE some methods are better than in general.
            if !order.reaches(claimed.min(3.0), 0.4) {
                return Err(format!("order {claimed} on {problem:?}: {order}"));
            }
        }
        Ok(())
    });
}
