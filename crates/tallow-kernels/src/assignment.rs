//! Exact linear assignment: every row gets a column of its own so that the sum of the costs is smallest.
//!
//! ```text
//! min Σ_i c(i, π(i)),  π injective        dual: max Σ_i u_i + Σ_j v_j,  u_i + v_j ≤ c(i, j),  v_j ≤ 0 where n < m
//! ```
//!
//! Column reduction, reduction transfer and augmenting row reduction find most of the answer; each row that is still free
//! then follows a shortest augmenting path in the reduced costs `c(i, j) − v_j`. Two departures from the paper: row
//! reduction queues a displaced row (following it at once starts price wars on point clouds), and Dijkstra's loop keeps
//! no predecessors: a path is traced back by finding the row that gave a distance, bit for bit. That leaves a loop of
//! one subtraction, one subtraction and one minimum for each column, in vectors.
//!
//! Source: Jonker & Volgenant 1987, doi:10.1007/BF02278710; for n < m: Crouse 2016, doi:10.1109/TAES.2016.140952.

mod augment;
mod reduce;

use augment::Search;
use reduce::{reduce_columns, reduce_rows};

use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Error, Result, area, check_length};

/// The largest cost in size: sums of 2⁶⁰ of them do not overflow.
const LARGEST: f64 = 1e290;

/// Rounds of augmenting row reduction; more save less time than they take.
const ROUNDS: usize = 4;

/// Columns whose smallest distance is kept together.
const BLOCK: usize = 128;

/// Independent minima in a loop.
const LANES: usize = 16;

const FREE: usize = usize::MAX;

/// A cheapest assignment, with the dual solution that proves it.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The column of each row.
    pub columns: Vec<usize>,
    /// The dual potential u of each row: u_i + v_j ≤ c(i, j), with equality on the assignment, up to rounding.
    pub row_potentials: Vec<f64>,
    /// The dual potential v of each column; with more columns than rows none is above 0, and those left over have 0.
    pub column_potentials: Vec<f64>,
    /// The sum of the assigned costs.
    pub cost: f64,
}

/// Assigns every row a column of its own, at the smallest sum of `costs`, (rows, columns) row by row.
///
/// Exact up to rounding; time O(rows² columns) at worst. Equal costs are resolved in one way, on every processor.
///
/// Source: Jonker & Volgenant 1987, doi:10.1007/BF02278710; for n < m: Crouse 2016, doi:10.1109/TAES.2016.140952.
///
/// ```
/// let found = tallow_kernels::assign(&[4.0, 1.0, 3.0, 2.0, 0.0, 5.0, 3.0, 2.0, 2.0], 3, 3)?;
/// assert_eq!(found.columns, [1, 0, 2]);
/// assert_eq!(found.cost, 5.0);
/// # Ok::<(), tallow_kernels::Error>(())
/// ```
///
/// # Errors
///
/// When `costs` has another length, there are more rows than columns, or a cost is not finite or beyond ±1e290.
pub fn assign(costs: &[f64], rows: usize, columns: usize) -> Result<Assignment> {
    check_length("costs", costs.len(), area(rows, columns)?)?;
    if rows > columns {
        return Err(Error::TooManyRows { rows, columns });
    }
    // NaN fails the comparison, too.
    if let Some(index) = costs.iter().position(|cost| !(-LARGEST..=LARGEST).contains(cost)) {
        return Err(Error::Value {
            name: "costs",
            index,
            value: costs[index],
            allowed: "a number between -1e290 and 1e290",
        });
    }
    Ok(dispatch::run(
        Path::best(),
        Solve(Problem { costs, rows, columns }),
    ))
}

#[derive(Clone, Copy)]
struct Problem<'a> {
    costs: &'a [f64],
    rows: usize,
    columns: usize,
}

impl<'a> Problem<'a> {
    #[inline(always)]
    fn row(&self, i: usize) -> &'a [f64] {
        &self.costs[i * self.columns..(i + 1) * self.columns]
    }
}

/// A partial assignment whose pairs have the smallest reduced cost of their row.
struct Matching {
    column_of: Vec<usize>,
    row_of: Vec<usize>,
    v: Vec<f64>,
}

struct Solve<'a>(Problem<'a>);

impl Kernel for Solve<'_> {
    type Output = Assignment;

    #[inline(always)]
    fn run<I: Isa>(self) -> Assignment {
        let Self(problem) = self;
        let mut matching = Matching {
            column_of: vec![FREE; problem.rows],
            row_of: vec![FREE; problem.columns],
            v: vec![0.0; problem.columns],
        };
        // A column that stays free must keep v = 0, so only a square problem may begin with the columns' minima.
        let mut free: Vec<usize> = (0..problem.rows).collect();
        if problem.rows == problem.columns && problem.rows > 0 {
            free = reduce_columns(problem, &mut matching);
        }
        // A single column has no second smallest cost, and its only row is assigned by now.
        if problem.columns > 1 {
            for _ in 0..ROUNDS {
                free = reduce_rows(problem, &mut matching, &free);
            }
        }
        let mut search = Search::new(problem.columns);
        for row in free {
            search.augment(problem, &mut matching, row);
        }
        finish(problem, matching)
    }
}

#[inline(always)]
fn finish(problem: Problem<'_>, matching: Matching) -> Assignment {
    let Matching {
        column_of: columns,
        v,
        ..
    } = matching;
    let assigned = |i: usize| problem.row(i)[columns[i]];
    let row_potentials = (0..problem.rows).map(|i| assigned(i) - v[columns[i]]).collect();
    let cost = (0..problem.rows).map(assigned).sum();
    Assignment {
        columns,
        row_potentials,
        column_potentials: v,
        cost,
    }
}

#[inline(always)]
fn smaller(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in [0, 1), so that the tests need no generator.
    fn uniforms(n: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let word = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (z ^ (z >> 27)) >> 11
        };
        std::iter::repeat_with(word)
            .take(n)
            .map(|word| word as f64 / (1_u64 << 53) as f64)
            .collect()
    }

    /// The smallest cost over all injections, by trying each.
    fn brute_force(costs: &[f64], rows: usize, columns: usize, used: u32) -> f64 {
        if rows == 0 {
            return 0.0;
        }
        let (row, rest) = costs.split_at(columns);
        (0..columns)
            .filter(|j| used & (1 << j) == 0)
            .map(|j| row[j] + brute_force(rest, rows - 1, columns, used | (1 << j)))
            .fold(f64::INFINITY, f64::min)
    }

    fn check_certificate(costs: &[f64], rows: usize, columns: usize, tolerance: f64) {
        let found = assign(costs, rows, columns).unwrap();
        let mut taken = vec![false; columns];
        for (i, &j) in found.columns.iter().enumerate() {
            assert!(
                !std::mem::replace(&mut taken[j], true),
                "column {j} is given twice"
            );
            let slack = costs[i * columns + j] - found.row_potentials[i] - found.column_potentials[j];
            assert!(
                slack.abs() <= tolerance,
                "assigned pair {i}, {j} has slack {slack}"
            );
        }
        for (k, cost) in costs.iter().enumerate() {
            let slack = cost - found.row_potentials[k / columns] - found.column_potentials[k % columns];
            assert!(slack >= -tolerance, "pair {k} has slack {slack}");
        }
        for (j, &v) in found
            .column_potentials
            .iter()
            .enumerate()
            .filter(|_| rows < columns)
        {
            assert!(
                v <= 0.0 && (taken[j] || v == 0.0),
                "column {j} has the potential {v}"
            );
        }
    }

    #[test]
    fn every_small_problem_is_solved_as_well_as_by_trying_all() {
        let mut seed = 0;
        for rows in 0..=7 {
            for columns in rows.max(1)..=7 {
                for levels in [2.0, 3.0, 10.0, 1e9] {
                    for _ in 0..if rows < 6 { 20 } else { 4 } {
                        seed += 1;
                        // Few levels make ties and duplicate rows; shifted, half of the costs are negative.
                        let costs: Vec<f64> = uniforms(rows * columns, seed)
                            .iter()
                            .map(|u| (u * levels).floor() - levels / 2.0)
                            .collect();
                        let found = assign(&costs, rows, columns).unwrap();
                        let best = brute_force(&costs, rows, columns, 0);
                        assert!(
                            (found.cost - best).abs() <= 1e-15 * levels * 7.0,
                            "{} against {best}: {costs:?}",
                            found.cost
                        );
                        check_certificate(&costs, rows, columns, 1e-14 * levels);
                    }
                }
            }
        }
    }

    #[test]
    fn the_dual_certificate_proves_300_random_rows_optimal() {
        check_certificate(&uniforms(300 * 300, 1), 300, 300, 1e-13);
        check_certificate(&uniforms(300 * 431, 2), 300, 431, 1e-13);
        let ties: Vec<f64> = uniforms(300 * 300, 3).iter().map(|u| (u * 5.0).floor()).collect();
        check_certificate(&ties, 300, 300, 1e-12);
        let huge: Vec<f64> = uniforms(100 * 100, 4).iter().map(|u| (u - 0.5) * 2e290).collect();
        check_certificate(&huge, 100, 100, 1e277);
    }

    #[test]
    fn sorted_points_on_a_line_are_matched_in_order() {
        let (mut x, mut y) = (uniforms(333, 5), uniforms(333, 6));
        x.sort_by(f64::total_cmp);
        y.sort_by(f64::total_cmp);
        let costs: Vec<f64> = x
            .iter()
            .flat_map(|x| y.iter().map(move |y| (x - y).powi(2)))
            .collect();
        assert_eq!(
            assign(&costs, 333, 333).unwrap().columns,
            (0..333).collect::<Vec<_>>()
        );
    }

    #[test]
    fn every_instruction_set_gives_the_same_assignment_and_bits() {
        let costs = uniforms(150 * 170, 7);
        let problem = Problem {
            costs: &costs,
            rows: 150,
            columns: 170,
        };
        let reference = dispatch::run(Path::available()[0], Solve(problem));
        for path in Path::available() {
            assert_eq!(dispatch::run(path, Solve(problem)), reference, "{}", path.name());
        }
    }

    #[test]
    fn bad_arguments_are_refused() {
        assert_eq!(
            assign(&[1.0; 6], 3, 2),
            Err(Error::TooManyRows { rows: 3, columns: 2 })
        );
        assert!(matches!(
            assign(&[1.0; 5], 2, 3),
            Err(Error::Length {
                got: 5,
                wanted: 6,
                ..
            })
        ));
        for bad in [f64::NAN, f64::INFINITY, -1e300] {
            assert!(matches!(
                assign(&[0.0, bad, 0.0, 0.0], 2, 2),
                Err(Error::Value { index: 1, .. })
            ));
        }
        assert!(matches!(assign(&[], usize::MAX, 3), Err(Error::TooLarge { .. })));
    }

    #[test]
    #[ignore = "a timing, not a law"]
    fn time_of_point_clouds() {
        for n in [128, 512, 1024, 2048, 4096] {
            let (u, w) = (uniforms(2 * n, 8), uniforms(4 * n, 9));
            let board = |i: usize| {
                let (x, y) = (4.0 * u[2 * i] - 2.0, u[2 * i + 1]);
                (x, y - 2.0 * (i % 2) as f64 + x.floor().rem_euclid(2.0))
            };
            let normal = |i: usize| {
                let (radius, turn) = (
                    (-2.0 * (1.0 - w[2 * i]).ln()).sqrt(),
                    std::f64::consts::TAU * w[2 * i + 1],
                );
                (radius * turn.cos(), radius * turn.sin())
            };
            let costs: Vec<f64> = (0..n * n)
                .map(|k| (board(k / n), normal(k % n)))
                .map(|((a, b), (c, d))| (a - c).powi(2) + (b - d).powi(2))
                .collect();
            let start = std::time::Instant::now();
            let found = assign(&costs, n, n).unwrap();
            println!(
                "{n}: {:.2} ms, cost {}",
                start.elapsed().as_secs_f64() * 1e3,
                found.cost
            );
        }
    }
}
