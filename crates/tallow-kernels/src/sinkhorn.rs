//! Entropic transport: the plan that moves one set of masses onto another and stays as spread out as it can.
//!
//! ```text
//! min Σ P_ij C_ij + ε Σ P_ij (ln P_ij − 1),  P 1 = a, Pᵀ 1 = b            P_ij = exp((f_i + g_j − C_ij)/ε)
//! f_i = τ ε (ln a_i − ln Σ_j exp((g_j − C_ij)/ε))    and likewise g       τ = 1, or ρ/(ρ + ε) with relaxed marginals
//! ```
//!
//! Relaxed marginals are not equations but cost ρ KL(P 1 | a) + ρ KL(Pᵀ 1 | b). The potentials live in the log domain, so
//! no ε is too small for the exponent; between two visits there, steps are products with the kernel matrix and scalings
//! near 1, which are absorbed into the potentials before they leave the range.
//!
//! Sources: Cuturi 2013, arXiv:1306.0895; stabilised scalings: Schmitzer 2019, arXiv:1610.06519, algorithm 2; relaxed
//! marginals: Chizat et al. 2018, arXiv:1607.05816.

mod side;

use side::Side;

use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Error, Result, area, check_length};
use crate::float::exp;

/// What is asked of the sums of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Marginals {
    /// Rows sum to a and columns to b.
    #[default]
    Fixed,
    /// Rows and columns may differ from a and b, at a cost of this strength ρ times their divergence.
    Relaxed(f64),
}

/// An entropic transport problem and when to stop.
///
/// Sources: Cuturi 2013, arXiv:1306.0895; stabilised scalings: Schmitzer 2019, arXiv:1610.06519, algorithm 2; relaxed
/// marginals: Chizat et al. 2018, arXiv:1607.05816.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sinkhorn {
    /// ε > 0, in the units of the costs: the larger, the more a plan is spread out.
    pub regularization: f64,
    /// Fixed or relaxed sums.
    pub marginals: Marginals,
    /// The most iterations, each an update of all rows and all columns.
    pub iterations: usize,
    /// Stop when the columns are off by less than this in total (relaxed: when no potential moves by more than this
    /// part of ε).
    pub tolerance: f64,
}

/// A transport plan with what proves it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The mass that each row sends to each column, (rows, columns).
    pub plan: Vec<f64>,
    /// The potential f of each row.
    pub row_potentials: Vec<f64>,
    /// The potential g of each column.
    pub column_potentials: Vec<f64>,
    /// How many iterations were made.
    pub iterations: usize,
    /// What the stopping rule measured last; above the tolerance if the iterations ran out.
    pub residual: f64,
}

impl Sinkhorn {
    /// Fixed marginals, run until the columns are right to 1e-12 of the mass or 10,000 iterations are over.
    #[must_use]
    pub fn new(regularization: f64) -> Self {
        Self {
            regularization,
            marginals: Marginals::Fixed,
            iterations: 10_000,
            tolerance: 1e-12,
        }
    }

    /// The plan from masses `a` (rows) to `b` (columns) under `costs`, (rows, columns) row by row.
    ///
    /// # Errors
    ///
    /// When a setting is out of its range, `costs` has another length or a cost is not finite, a mass is negative or not
    /// finite or all are zero, or fixed marginals have different totals (beyond rounding).
    pub fn plan(&self, costs: &[f64], a: &[f64], b: &[f64]) -> Result<Plan> {
        self.check(costs, a, b)?;
        let mut run = dispatch::run(
            Path::best(),
            Start {
                settings: self,
                costs,
                a,
                b,
            },
        );
        let mut residual = f64::INFINITY;
        let mut iterations = 0;
        while iterations < self.iterations && residual > self.tolerance {
            residual = dispatch::run(Path::best(), Iterate(&mut run));
            iterations += 1;
        }
        run.absorb();
        dispatch::run(Path::best(), Fill(&mut run));
        let potential = |logs: &[f64]| logs.iter().map(|log| log * self.regularization).collect();
        Ok(Plan {
            plan: run.kernel,
            row_potentials: potential(&run.rows.log),
            column_potentials: potential(&run.columns.log),
            iterations,
            residual,
        })
    }

    fn check(&self, costs: &[f64], a: &[f64], b: &[f64]) -> Result<()> {
        let positive = |name, value: f64| {
            if value > 0.0 && value.is_finite() {
                return Ok(());
            }
            Err(Error::Setting {
                name,
                value,
                allowed: "a finite number above 0",
            })
        };
        positive("regularization", self.regularization)?;
        if let Marginals::Relaxed(strength) = self.marginals {
            positive("marginal strength", strength)?;
        }
        if !(self.tolerance >= 0.0) {
            let (name, value) = ("tolerance", self.tolerance);
            return Err(Error::Setting {
                name,
                value,
                allowed: "0 or more",
            });
        }
        check_costs(costs, a, b)?;
        if self.marginals == Marginals::Fixed {
            check_totals(a, b)?;
        }
        Ok(())
    }
}

/// Refuses costs and masses that no transport can have.
pub(crate) fn check_costs(costs: &[f64], a: &[f64], b: &[f64]) -> Result<()> {
    check_length("costs", costs.len(), area(a.len(), b.len())?)?;
    let refuse =
        |name, values: &[f64], allowed, fine: fn(f64) -> bool| match values.iter().position(|&v| !fine(v)) {
            None => Ok(()),
            Some(index) => Err(Error::Value {
                name,
                index,
                value: values[index],
                allowed,
            }),
        };
    refuse("costs", costs, "a finite number", f64::is_finite)?;
    for (name, masses) in [("a", a), ("b", b)] {
        refuse(name, masses, "a finite mass of 0 or more", |mass| {
            mass >= 0.0 && mass.is_finite()
        })?;
        // An empty sum is −0.
        let total = masses.iter().sum::<f64>() + 0.0;
        if !(total > 0.0 && total.is_finite()) {
            return Err(Error::Setting {
                name,
                value: total,
                allowed: "a finite total mass above 0",
            });
        }
    }
    Ok(())
}

/// Refuses totals that differ by more than rounding.
pub(crate) fn check_totals(a: &[f64], b: &[f64]) -> Result<()> {
    let (rows, columns) = (a.iter().sum::<f64>(), b.iter().sum::<f64>());
    if (rows - columns).abs() > 1e-9 * rows.max(columns) {
        return Err(Error::Totals { rows, columns });
    }
    Ok(())
}

struct Run<'a> {
    costs: &'a [f64],
    epsilon: f64,
    tau: f64,
    rows: Side,
    columns: Side,
    column_masses: &'a [f64],
    /// exp((f + g − C)/ε) at the absorbed potentials.
    kernel: Vec<f64>,
}

impl Run<'_> {
    fn absorb(&mut self) {
        self.rows.absorb();
        self.columns.absorb();
    }

    /// One update in the log domain, safe from any potentials, and the kernel anew.
    #[inline(always)]
    fn refresh<I: Isa>(&mut self) {
        self.absorb();
        let (n, m) = (self.rows.log.len(), self.columns.log.len());
        let mut logs = vec![0.0; m];
        for i in 0..n {
            let costs = &self.costs[i * m..(i + 1) * m];
            for ((log, &g), &cost) in logs.iter_mut().zip(&self.columns.log).zip(costs) {
                *log = g - cost / self.epsilon;
            }
            self.rows.log[i] = self.tau * (self.rows.log_mass[i] - log_sum_exp::<I>(&logs));
        }
        let mut largest = vec![f64::NEG_INFINITY; m];
        for (row, &f) in self.costs.chunks_exact(m).zip(&self.rows.log) {
            for (largest, &cost) in largest.iter_mut().zip(row) {
                let log = f - cost / self.epsilon;
                *largest = if log > *largest { log } else { *largest };
            }
        }
        let mut sums = vec![0.0; m];
        for (row, &f) in self.costs.chunks_exact(m).zip(&self.rows.log) {
            for ((sum, &cost), &largest) in sums.iter_mut().zip(row).zip(&largest) {
                *sum += exp::<f64, I>(f - cost / self.epsilon - largest);
            }
        }
        for (((g, &mass), &largest), &sum) in self
            .columns
            .log
            .iter_mut()
            .zip(&self.columns.log_mass)
            .zip(&largest)
            .zip(&sums)
        {
            *g = self.tau * (mass - (largest + sum.ln()));
        }
        self.fill_kernel::<I>();
    }

    #[inline(always)]
    fn fill_kernel<I: Isa>(&mut self) {
        let m = self.columns.log.len();
        for ((kernel, costs), &f) in self
            .kernel
            .chunks_exact_mut(m)
            .zip(self.costs.chunks_exact(m))
            .zip(&self.rows.log)
        {
            for ((kernel, &cost), &g) in kernel.iter_mut().zip(costs).zip(&self.columns.log) {
                *kernel = exp::<f64, I>(f + g - cost / self.epsilon);
            }
        }
    }
}

/// ln Σ exp(log), without overflow.
#[inline(always)]
fn log_sum_exp<I: Isa>(logs: &[f64]) -> f64 {
    const LANES: usize = 8;
    let largest = logs
        .iter()
        .fold(f64::NEG_INFINITY, |a, &b| if b > a { b } else { a });
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    let mut lanes = [0.0; LANES];
    let mut chunks = logs.chunks_exact(LANES);
    for chunk in chunks.by_ref() {
        for (lane, &log) in lanes.iter_mut().zip(chunk) {
            *lane += exp::<f64, I>(log - largest);
        }
    }
    for (lane, &log) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane += exp::<f64, I>(log - largest);
    }
    largest + lanes.iter().sum::<f64>().ln()
}

struct Start<'a> {
    settings: &'a Sinkhorn,
    costs: &'a [f64],
    a: &'a [f64],
    b: &'a [f64],
}

impl<'a> Kernel for Start<'a> {
    type Output = Run<'a>;

    #[inline(always)]
    fn run<I: Isa>(self) -> Run<'a> {
        let epsilon = self.settings.regularization;
        let tau = match self.settings.marginals {
            Marginals::Fixed => 1.0,
            Marginals::Relaxed(strength) => strength / (strength + epsilon),
        };
        let mut run = Run {
            costs: self.costs,
            epsilon,
            tau,
            rows: Side::new(self.a),
            columns: Side::new(self.b),
            column_masses: self.b,
            kernel: vec![0.0; self.costs.len()],
        };
        run.refresh::<I>();
        run
    }
}

/// Rows, then columns; returns what the stopping rule measures.
struct Iterate<'r, 'a>(&'r mut Run<'a>);

impl Kernel for Iterate<'_, '_> {
    type Output = f64;

    #[inline(always)]
    fn run<I: Isa>(self) -> f64 {
        let run = self.0;
        let m = run.columns.log.len();
        let mut sums = vec![0.0; run.rows.log.len()];
        for (sum, kernel) in sums.iter_mut().zip(run.kernel.chunks_exact(m)) {
            *sum = dot::<I>(kernel, &run.columns.scaling);
        }
        let (moved_rows, rows_tame) = run.rows.scale(&sums, run.tau);
        let mut sums = vec![0.0; m];
        for (&scaling, kernel) in run.rows.scaling.iter().zip(run.kernel.chunks_exact(m)) {
            for (sum, &kernel) in sums.iter_mut().zip(kernel) {
                *sum = I::mul_add(scaling, kernel, *sum);
            }
        }
        let columns = run.columns.scaling.iter().zip(&sums).zip(run.column_masses);
        let off: f64 = columns
            .map(|((scaling, sum), mass)| (scaling * sum - mass).abs())
            .sum();
        let (moved_columns, columns_tame) = run.columns.scale(&sums, run.tau);
        if !(rows_tame && columns_tame) {
            // A scaling from a sum that underflowed is not finite: forget it, the log domain finds the way.
            for side in [&mut run.rows, &mut run.columns] {
                for scaling in &mut side.scaling {
                    if !(scaling.is_finite() && *scaling > 0.0) {
                        *scaling = 1.0;
                    }
                }
            }
            run.refresh::<I>();
            return f64::INFINITY;
        }
        if run.tau < 1.0 {
            moved_rows.max(moved_columns)
        } else {
            off
        }
    }
}

#[inline(always)]
fn dot<I: Isa>(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 16;
    let mut lanes = [0.0; LANES];
    let (mut xs, mut ys) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (x, y) in xs.by_ref().zip(ys.by_ref()) {
        for i in 0..LANES {
            lanes[i] = I::mul_add(x[i], y[i], lanes[i]);
        }
    }
    for ((lane, &x), &y) in lanes.iter_mut().zip(xs.remainder()).zip(ys.remainder()) {
        *lane = I::mul_add(x, y, *lane);
    }
    lanes.iter().sum()
}

/// The kernel at the potentials as they are: the plan, once all scalings are absorbed.
struct Fill<'r, 'a>(&'r mut Run<'a>);

impl Kernel for Fill<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        self.0.fill_kernel::<I>();
    }
}

#[cfg(test)]
#[path = "sinkhorn_tests.rs"]
mod tests;
