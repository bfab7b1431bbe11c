//! Exact transport of unequal masses: the cheapest plan that moves one set of masses onto another.
//!
//! ```text
//! min Σ P_ij C_ij,  P ≥ 0,  P 1 = a,  Pᵀ 1 = b        dual: max Σ a_i u_i + Σ b_j v_j,  u_i + v_j ≤ C_ij
//! ```
//!
//! Successive shortest paths: mass goes from a row that still has some to a column that still wants some along the
//! cheapest path, which may take back what was sent before, until a row, a column or a path is used up. Of equally cheap
//! paths the one with the fewest steps is taken, so that it ends for any masses. Time O((rows + columns)² paths), and
//! hardly more paths than rows and columns; equal masses are an assignment, for which [`assign`](crate::assign) is made.
//!
//! Source: Ahuja, Magnanti & Orlin 1993, Network Flows, section 9.7; Peyré & Cuturi 2019, arXiv:1803.00567, section 3.

use crate::error::Result;
use crate::sinkhorn::{check_costs, check_totals};

/// Masses below this part of the total are rounding.
const CRUMB: f64 = 1e-15;

/// A cheapest transport plan, with the dual solution that proves it.
#[derive(Clone, Debug, PartialEq)]
pub struct Transport {
    /// The mass that each row sends to each column, (rows, columns); fewer than rows + columns entries are not 0,
    /// unless costs tie.
    pub plan: Vec<f64>,
    /// The dual potential u of each row: u_i + v_j ≤ c(i, j), with equality where mass moves, up to rounding.
    pub row_potentials: Vec<f64>,
    /// The dual potential v of each column.
    pub column_potentials: Vec<f64>,
    /// Σ P_ij C_ij.
    pub cost: f64,
}

/// Moves the masses `a` of the rows onto the masses `b` of the columns at the smallest total of `costs`,
/// (rows, columns) row by row.
///
/// Source: Ahuja, Magnanti & Orlin 1993, Network Flows, section 9.7; Peyré & Cuturi 2019, arXiv:1803.00567, section
/// 3.
///
/// # Errors
///
/// When `costs` has another length or a cost is not finite, a mass is negative or not finite, all are zero, or the totals
/// of `a` and `b` differ by more than rounding.
pub fn transport(costs: &[f64], a: &[f64], b: &[f64]) -> Result<Transport> {
    check_costs(costs, a, b)?;
    check_totals(a, b)?;
    let mut search = Search::new(costs, a, b);
    while let Some((column, mass)) = search.cheapest_path() {
        search.send(column, mass);
    }
    let cost = search
        .plan
        .iter()
        .zip(costs)
        .map(|(mass, cost)| mass * cost)
        .sum();
    // A node's potential is its distance; the dual of the problem counts rows the other way.
    let row_potentials = search
        .rows
        .iter()
        .map(|node| search.shift - node.potential)
        .collect();
    let column_potentials = search.columns.iter().map(|node| node.potential).collect();
    Ok(Transport {
        plan: search.plan,
        row_potentials,
        column_potentials,
        cost,
    })
}

#[derive(Clone, Copy)]
struct Node {
    /// Mass that a row has yet to send, or a column to receive.
    left: f64,
    potential: f64,
    distance: f64,
    steps: usize,
    parent: usize,
    done: bool,
}

struct Search<'a> {
    costs: &'a [f64],
    /// The smallest cost; taken off all, so that none is negative.
    shift: f64,
    plan: Vec<f64>,
    rows: Vec<Node>,
    columns: Vec<Node>,
    crumb: f64,
}

const NOBODY: usize = usize::MAX;

impl<'a> Search<'a> {
    fn new(costs: &'a [f64], a: &[f64], b: &[f64]) -> Self {
        let node = |&left: &f64| Node {
            left,
            potential: 0.0,
            distance: 0.0,
            steps: 0,
            parent: NOBODY,
            done: false,
        };
        Self {
            costs,
            shift: costs.iter().copied().fold(f64::INFINITY, f64::min),
            plan: vec![0.0; costs.len()],
            rows: a.iter().map(node).collect(),
            columns: b.iter().map(node).collect(),
            crumb: CRUMB * a.iter().sum::<f64>(),
        }
    }

    /// Dijkstra from every row with mass left to the first column that wants some; updates the potentials. Returns that
    /// column and the mass that its path can carry, or nothing when all mass has been sent.
    fn cheapest_path(&mut self) -> Option<(usize, f64)> {
        let crumb = self.crumb;
        for row in &mut self.rows {
            let source = row.left > crumb;
            // From a common source at potential 0.
            row.distance = if source {
                (-row.potential).max(0.0)
            } else {
                f64::INFINITY
            };
            (row.steps, row.parent, row.done) = (0, NOBODY, false);
        }
        for column in &mut self.columns {
            (column.distance, column.steps, column.parent, column.done) = (f64::INFINITY, 0, NOBODY, false);
        }
        let target = loop {
            let row = nearest(&self.rows);
            let column = nearest(&self.columns);
            match (row, column) {
                (None, None) => return None,
                (Some(i), column) if column.is_none_or(|j| before(&self.rows[i], &self.columns[j])) => {
                    self.leave_row(i);
                }
                (_, Some(j)) if self.columns[j].left > crumb => break j,
                (_, Some(j)) => self.leave_column(j),
                (Some(i), None) => self.leave_row(i),
            }
        };
        let reach = self.columns[target].distance;
        for node in self.rows.iter_mut().chain(&mut self.columns) {
            node.potential += node.distance.min(reach);
        }
        Some((target, self.capacity(target)))
    }

    fn leave_row(&mut self, i: usize) {
        let from = self.rows[i];
        self.rows[i].done = true;
        let costs = &self.costs[i * self.columns.len()..][..self.columns.len()];
        for (column, &cost) in self.columns.iter_mut().zip(costs) {
            let step = (cost - self.shift + from.potential - column.potential).max(0.0);
            offer(column, from.distance + step, from.steps + 1, i);
        }
    }

    fn leave_column(&mut self, j: usize) {
        let from = self.columns[j];
        self.columns[j].done = true;
        let width = self.columns.len();
        for (i, row) in self.rows.iter_mut().enumerate() {
            if self.plan[i * width + j] > 0.0 {
                let step = (self.shift - self.costs[i * width + j] + from.potential - row.potential).max(0.0);
                offer(row, from.distance + step, from.steps + 1, j);
            }
        }
    }

    /// The smallest of what the source has, the target wants and the path takes back.
    fn capacity(&self, target: usize) -> f64 {
        let width = self.columns.len();
        let mut mass = self.columns[target].left;
        let mut row = self.columns[target].parent;
        while self.rows[row].parent != NOBODY {
            let column = self.rows[row].parent;
            mass = mass.min(self.plan[row * width + column]);
            row = self.columns[column].parent;
        }
        mass.min(self.rows[row].left)
    }

    fn send(&mut self, target: usize, mass: f64) {
        let width = self.columns.len();
        self.columns[target].left -= mass;
        let mut column = target;
        loop {
            let row = self.columns[column].parent;
            self.plan[row * width + column] += mass;
            if self.rows[row].parent == NOBODY {
                self.rows[row].left -= mass;
                return;
            }
            column = self.rows[row].parent;
            self.plan[row * width + column] -= mass;
        }
    }
}

/// The node that is still to be left, with the smallest distance and then the fewest steps.
fn nearest(nodes: &[Node]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (index, node) in nodes.iter().enumerate() {
        if !node.done && node.distance < f64::INFINITY && best.is_none_or(|b| before(node, &nodes[b])) {
            best = Some(index);
        }
    }
    best
}

fn before(a: &Node, b: &Node) -> bool {
    (a.distance, a.steps) < (b.distance, b.steps)
}

fn offer(node: &mut Node, distance: f64, steps: usize, parent: usize) {
    if !node.done && (distance, steps) < (node.distance, node.steps) {
        (node.distance, node.steps, node.parent) = (distance, steps, parent);
    }
}

#[cfg(test)]
#[path = "transport_tests.rs"]
mod tests;
