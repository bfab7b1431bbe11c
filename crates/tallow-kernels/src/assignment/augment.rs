//! Shortest augmenting paths: Dijkstra's search from one free row, in the reduced costs.

use super::{BLOCK, FREE, LANES, Matching, Problem, smaller};

/// A row of Dijkstra's tree: how it was reached, and what is taken off its reduced costs.
#[derive(Clone, Copy)]
struct Reached {
    row: usize,
    column: usize,
    distance: f64,
    offset: f64,
}

/// The state of one search, kept to save allocations.
pub(super) struct Search {
    /// The distance of each column; −∞ for those in the tree, which nothing improves.
    distances: Vec<f64>,
    /// The smallest distance outside the tree of each block.
    minima: Vec<f64>,
    tree: Vec<Reached>,
}

impl Search {
    #[inline(always)]
    pub(super) fn new(columns: usize) -> Self {
        let minima = vec![f64::INFINITY; columns.div_ceil(BLOCK)];
        Self {
            distances: vec![f64::INFINITY; columns],
            minima,
            tree: Vec::new(),
        }
    }

    /// Assigns `start` along the shortest path to a free column.
    #[inline(always)]
    pub(super) fn augment(&mut self, problem: Problem<'_>, matching: &mut Matching, start: usize) {
        self.distances.fill(f64::INFINITY);
        self.tree.clear();
        self.tree.push(Reached {
            row: start,
            column: FREE,
            distance: 0.0,
            offset: 0.0,
        });
        relax(
            problem.row(start),
            &matching.v,
            0.0,
            &mut self.distances,
            &mut self.minima,
        );
        let (end, distance) = loop {
            let (column, distance) = self.nearest();
            let row = matching.row_of[column];
            if row == FREE {
                break (column, distance);
            }
            let costs = problem.row(row);
            let offset = costs[column] - matching.v[column] - distance;
            self.tree.push(Reached {
                row,
                column,
                distance,
                offset,
            });
            self.distances[column] = f64::NEG_INFINITY;
            relax(costs, &matching.v, offset, &mut self.distances, &mut self.minima);
        };
        self.trace(problem, matching, end, distance);
        for reached in &self.tree[1..] {
            matching.v[reached.column] += reached.distance - distance;
        }
    }

    /// The column outside the tree with the smallest distance. There is one: the tree holds fewer columns than rows.
    #[inline(always)]
    fn nearest(&self) -> (usize, f64) {
        let (mut block, mut smallest) = (0, f64::INFINITY);
        for (b, minimum) in self.minima.iter().enumerate() {
            if *minimum < smallest {
                (block, smallest) = (b, *minimum);
            }
        }
        let start = block * BLOCK;
        let inside = self.distances[start..]
            .iter()
            .take(BLOCK)
            .position(|d| *d == smallest);
        (start + inside.unwrap_or(0), smallest)
    }

    /// Flips the path that ends in `column`, before any v changes.
    #[inline(always)]
    fn trace(&self, problem: Problem<'_>, matching: &mut Matching, mut column: usize, mut distance: f64) {
        let mut reached = self.tree.len();
        while reached > 0 {
            // The same operations on the same numbers as in `relax`, so some earlier row gives the same bits.
            let v = matching.v[column];
            let gave = |from: &Reached| problem.row(from.row)[column] - v - from.offset == distance;
            reached = self.tree[..reached].iter().position(gave).unwrap_or(0);
            let from = self.tree[reached];
            matching.row_of[column] = from.row;
            matching.column_of[from.row] = column;
            (column, distance) = (from.column, from.distance);
        }
    }
}

/// Lowers the columns' distances to those by way of a row, and finds each block's smallest.
#[inline(always)]
fn relax(row: &[f64], v: &[f64], offset: f64, distances: &mut [f64], minima: &mut [f64]) {
    let blocks = row
        .chunks(BLOCK)
        .zip(v.chunks(BLOCK))
        .zip(distances.chunks_mut(BLOCK));
    for (((row, v), distances), minimum) in blocks.zip(minima) {
        for ((cost, v), distance) in row.iter().zip(v).zip(distances.iter_mut()) {
            *distance = smaller(cost - v - offset, *distance);
        }
        let outside = |d: f64| if d == f64::NEG_INFINITY { f64::INFINITY } else { d };
        let mut lanes = [f64::INFINITY; LANES];
        let (whole, rest) = distances.as_chunks::<LANES>();
        for chunk in whole {
            for (lane, distance) in lanes.iter_mut().zip(chunk) {
                *lane = smaller(outside(*distance), *lane);
            }
        }
        let all = lanes.iter().copied().chain(rest.iter().map(|d| outside(*d)));
        *minimum = all.fold(f64::INFINITY, smaller);
    }
}
