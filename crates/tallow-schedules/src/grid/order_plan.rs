//! Which orders a singlestep solver takes to spend a number of evaluations exactly.

use super::MAX_STEPS;
use crate::error::check;
use crate::{Error, Result};

/// The orders of the steps of DPM-Solver-fast: as many of `order` as fit, the rest by lower ones; they sum to `nfe`.
///
/// Third order ends in `3, 2, 1`, `3, 1` or `3, 2`, so that the last steps, close to the data, are of low order.
///
/// Source: Lu et al. 2022, arXiv:2206.00927, section 3.4.
///
/// # Errors
///
/// When `order` is not 1, 2 or 3, or `nfe` is 0 or above 10⁷.
pub fn singlestep_order_plan(order: usize, nfe: usize) -> Result<Vec<usize>> {
    check(
        "singlestep_order_plan",
        "order",
        order as f64,
        "1, 2 or 3",
        (1..=3).contains(&order),
    )?;
    if !(1..=MAX_STEPS).contains(&nfe) {
        return Err(Error::Steps {
            steps: nfe,
            max: MAX_STEPS,
        });
    }
    let (full, rest) = (nfe / order, nfe % order);
    // A multiple of 3 gives its last whole step to a second- and a first-order one.
    let (full, tail): (usize, &[usize]) = match (order, rest) {
        (3, 0) => (full - 1, &[2, 1]),
        (_, 0) => (full, &[]),
        (_, 1) => (full, &[1]),
        _ => (full, &[2]),
    };
    let mut plan = vec![order; full];
    plan.extend_from_slice(tail);
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_evaluation_is_spent() {
        for order in 1..=3 {
            for nfe in 1..=40 {
                let plan = singlestep_order_plan(order, nfe).unwrap();
                assert_eq!(plan.iter().sum::<usize>(), nfe);
                assert!(plan.windows(2).all(|pair| pair[0] >= pair[1]) && plan[0] <= order);
            }
        }
    }

    #[test]
    fn third_order_never_ends_in_a_full_step() {
        assert_eq!(singlestep_order_plan(3, 9).unwrap(), [3, 3, 2, 1]);
        assert_eq!(singlestep_order_plan(3, 10).unwrap(), [3, 3, 3, 1]);
        assert_eq!(singlestep_order_plan(3, 11).unwrap(), [3, 3, 3, 2]);
    }

    #[test]
    fn plans_of_nothing_are_refused() {
        for (order, nfe) in [(0, 5), (4, 5), (2, 0), (3, usize::MAX)] {
            assert!(singlestep_order_plan(order, nfe).is_err(), "{order} {nfe}");
        }
    }
}
