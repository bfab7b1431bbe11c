//! The cheap part: columns and rows that can have their own smallest costs.

use super::{BLOCK, FREE, LANES, Matching, Problem, smaller};

/// Sets v to the columns' minima, assigns where the rows of those differ, and lowers v of rows with one column to the
/// least that keeps the pair tight. Returns the rows that are free.
#[inline(always)]
pub(super) fn reduce_columns(problem: Problem<'_>, matching: &mut Matching) -> Vec<usize> {
    let Matching { column_of, row_of, v } = matching;
    let mut cheapest = vec![0_u64; problem.columns];
    v.copy_from_slice(problem.row(0));
    for i in 1..problem.rows {
        for ((cost, v), cheapest) in problem.row(i).iter().zip(v.iter_mut()).zip(&mut cheapest) {
            let less = *cost < *v;
            *v = if less { *cost } else { *v };
            *cheapest = if less { i as u64 } else { *cheapest };
        }
    }
    let mut minima = vec![0_u32; problem.rows];
    for j in (0..problem.columns).rev() {
        let i = cheapest[j] as usize;
        minima[i] += 1;
        if column_of[i] == FREE {
            (column_of[i], row_of[j]) = (j, i);
        }
    }
    for i in (0..problem.rows).filter(|i| minima[*i] == 1 && problem.columns > 1) {
        let j = column_of[i];
        // Out of the way while the others' minimum is taken.
        let own = std::mem::replace(&mut v[j], f64::NEG_INFINITY);
        v[j] = own - two_smallest(problem.row(i), v).0;
    }
    (0..problem.rows).filter(|i| minima[*i] == 0).collect()
}

/// Gives each free row its cheapest column, lowering that column's v until the row's second choice costs the same.
/// Returns the rows that were displaced.
#[inline(always)]
pub(super) fn reduce_rows(problem: Problem<'_>, matching: &mut Matching, free: &[usize]) -> Vec<usize> {
    let Matching { column_of, row_of, v } = matching;
    let mut displaced = Vec::new();
    for &i in free {
        let row = problem.row(i);
        let (first, second) = two_smallest(row, v);
        let mut j = find(row, v, first, FREE);
        let lowered = v[j] - (second - first);
        if lowered < v[j] {
            v[j] = lowered;
        } else if row_of[j] != FREE {
            j = find(row, v, second, j);
        }
        let before = std::mem::replace(&mut row_of[j], i);
        column_of[i] = j;
        if before != FREE {
            column_of[before] = FREE;
            displaced.push(before);
        }
    }
    displaced
}

/// The two smallest reduced costs of a row.
#[inline(always)]
fn two_smallest(row: &[f64], v: &[f64]) -> (f64, f64) {
    let insert = |(first, second): (f64, f64), x: f64| {
        let larger = if first > x { first } else { x };
        (smaller(x, first), smaller(larger, second))
    };
    let (mut first, mut second) = ([f64::INFINITY; LANES], [f64::INFINITY; LANES]);
    let ((row, row_rest), (v, v_rest)) = (row.as_chunks::<LANES>(), v.as_chunks::<LANES>());
    for (row, v) in row.iter().zip(v) {
        for l in 0..LANES {
            (first[l], second[l]) = insert((first[l], second[l]), row[l] - v[l]);
        }
    }
    let rest = row_rest.iter().zip(v_rest).map(|(cost, v)| cost - v);
    first
        .into_iter()
        .chain(second)
        .chain(rest)
        .fold((f64::INFINITY, f64::INFINITY), insert)
}

/// The first column other than `except` with a reduced cost; `except` if there is none.
#[inline(always)]
fn find(row: &[f64], v: &[f64], reduced: f64, except: usize) -> usize {
    for (block, (costs, v)) in row.chunks(BLOCK).zip(v.chunks(BLOCK)).enumerate() {
        let mut any = false;
        for (cost, v) in costs.iter().zip(v) {
            any |= cost - v == reduced;
        }
        if any {
            let mut inside = costs.iter().zip(v).enumerate();
            let hit = inside.find(|(l, (cost, v))| **cost - **v == reduced && block * BLOCK + l != except);
            if let Some((l, _)) = hit {
                return block * BLOCK + l;
            }
        }
    }
    except
}
