//! Which entries of a T-step table a sampler of N steps visits.
//!
//! ```text
//! leading         k ⌊T/N⌋ + offset           never visits the last entry (unless N = T)
//! linspace        round(linspace(0, T−1, N))    visits the first and the last
//! linspace_n+1    the same with N + 1 points, the data's end dropped
//! trailing        round(T − k T/N) − 1       visits the last entry, as training did
//! quadratic       ⌊(i √c/(N−1))²⌋            c = fraction · T
//! ```
//!
//! Rounding is to nearest, ties to even. All answers run from noise to data.
//!
//! Source: Lin et al. 2023, arXiv:2305.08891, Table 2; Song et al. 2021, arXiv:2010.02502, appendix D.2 (quadratic).

use std::sync::Arc;

use super::{MAX_STEPS, TimeGrid};
use crate::error::check;
use crate::{Error, Result, Table};

/// Multiples of ⌊T/N⌋, shifted by `offset`; 0 in DDIM, 1 in Stable Diffusion's configuration.
///
/// Source: Lin et al. 2023, arXiv:2305.08891, Table 2.
///
/// # Errors
///
/// When N is 0 or above T, T above 10⁷, or the offset moves the first step off the table.
pub fn leading_steps(table_len: usize, count: usize, offset: usize) -> Result<Vec<usize>> {
    check_count(table_len, count)?;
    let stride = table_len / count;
    let last = table_len - 1;
    let index = ((count - 1) * stride).saturating_add(offset);
    if index > last {
        return Err(Error::Index { index, last });
    }
    Ok((0..count).rev().map(|k| k * stride + offset).collect())
}

/// N entries evenly from the last to the first, both visited.
///
/// Source: Lin et al. 2023, arXiv:2305.08891, Table 2.
///
/// # Errors
///
/// When N is below 2 or above T, or T above 10⁷.
pub fn linspace_steps(table_len: usize, count: usize) -> Result<Vec<usize>> {
    check_count(table_len, count)?;
    check_two("linspace_steps", count)?;
    Ok(linspace(table_len, count).rev().collect())
}

/// N entries evenly from the last towards the first, which is the (N + 1)-st and dropped.
///
/// Source: Lin et al. 2023, arXiv:2305.08891, Table 2.
///
/// # Errors
///
/// When N is 0 or above T − 1 (for a table of more than one entry), or T above 10⁷.
pub fn linspace_n_plus_1_steps(table_len: usize, count: usize) -> Result<Vec<usize>> {
    check_count(table_len, count)?;
    let max = (table_len - 1).max(1);
    if count > max {
        return Err(Error::Steps { steps: count, max });
    }
    Ok(linspace(table_len, count + 1).skip(1).rev().collect())
}

/// N entries backwards from the last in strides of T/N, rounded.
///
/// Source: Lin et al. 2023, arXiv:2305.08891, Table 2.
///
/// # Errors
///
/// When N is 0 or above T, or T above 10⁷.
pub fn trailing_steps(table_len: usize, count: usize) -> Result<Vec<usize>> {
    check_count(table_len, count)?;
    Ok((0..count)
        .map(|k| round_ratio((count - k) as u128 * table_len as u128, count as u128) - 1)
        .collect())
}

/// N entries whose distances grow linearly, from 0 up to `fraction` of the table; 0.8 in DDIM.
///
/// Computed in double precision as the square of i · (√c/(N − 1)), which is what decides where that is close to a whole
/// number. For many steps on a short table the first entries coincide.
///
/// Source: Song et al. 2021, arXiv:2010.02502, appendix D.2.
///
/// # Errors
///
/// When N is below 2 or above T, T above 10⁷, or the fraction is outside (0, 1) or takes the last step off the table.
pub fn quadratic_steps(table_len: usize, count: usize, fraction: f64) -> Result<Vec<usize>> {
    const OWNER: &str = "quadratic_steps";
    check_count(table_len, count)?;
    check_two(OWNER, count)?;
    check(
        OWNER,
        "fraction",
        fraction,
        "in (0, 1)",
        fraction > 0.0 && fraction < 1.0,
    )?;
    let end = (fraction * table_len as f64).sqrt();
    let step = end / (count - 1) as f64;
    let root = |i: usize| if i + 1 == count { end } else { i as f64 * step };
    Ok((0..count)
        .rev()
        .map(|i| root(i).powi(2).floor() as usize)
        .collect())
}

/// Evenly spaced entries from 0 to T − 1, rising.
fn linspace(table_len: usize, count: usize) -> impl DoubleEndedIterator<Item = usize> + ExactSizeIterator {
    let (last, parts) = (table_len - 1, count - 1);
    let step = last as f64 / parts as f64;
    (0..count).map(move |i| {
        if i == parts {
            last
        } else {
            (i as f64 * step).round_ties_even() as usize
        }
    })
}

/// numerator/denominator to the nearest whole number, ties to even, without going through floating point.
fn round_ratio(numerator: u128, denominator: u128) -> usize {
    let (whole, rest) = (numerator / denominator, numerator % denominator);
    let up = 2 * rest > denominator || (2 * rest == denominator && whole % 2 == 1);
    (whole + u128::from(up)) as usize
}

fn check_count(table_len: usize, count: usize) -> Result<()> {
    let allowed = "between 1 and 10000000";
    check(
        "a grid of table steps",
        "a table length",
        table_len as f64,
        allowed,
        (1..=MAX_STEPS).contains(&table_len),
    )?;
    if (1..=table_len).contains(&count) {
        Ok(())
    } else {
        Err(Error::Steps {
            steps: count,
            max: table_len,
        })
    }
}

fn check_two(owner: &'static str, count: usize) -> Result<()> {
    check(
        owner,
        "a number of steps",
        count as f64,
        "of at least 2, to visit both ends",
        count >= 2,
    )
}

impl TimeGrid {
    /// The entries given, from noise to data, then the clean end.
    ///
    /// A run that is to end at an entry instead takes [`TimeGrid::new`] with [`Table::time_of_index`].
    ///
    /// # Errors
    ///
    /// When there is no entry, one is not in the table, or they do not fall strictly.
    pub fn table_steps(table: Arc<Table>, steps: &[usize]) -> Result<Self> {
        let last = table.len() - 1;
        if let Some(&index) = steps.iter().find(|&&index| index > last) {
            return Err(Error::Index { index, last });
        }
        if steps.is_empty() {
            return Err(Error::TooShort { count: 0 });
        }
        let times = steps
            .iter()
            .map(|&index| table.time_of_index(index))
            .chain([0.0])
            .collect();
        Self::new(table, times)
    }

    /// Every entry of the table, then the clean end: the grid of training, on which ancestral sampling is DDPM's.
    ///
    /// # Errors
    ///
    /// Never for a table that exists; the type is that of the other grids.
    pub fn every_table_step(table: Arc<Table>) -> Result<Self> {
        let count = table.len();
        Self::leading(table, count, 0)
    }

    /// Multiples of ⌊T/N⌋, shifted by `offset`, then the clean end.
    ///
    /// # Errors
    ///
    /// As [`leading_steps`].
    pub fn leading(table: Arc<Table>, count: usize, offset: usize) -> Result<Self> {
        let steps = leading_steps(table.len(), count, offset)?;
        Self::table_steps(table, &steps)
    }

    /// N entries evenly from the last to the first, then the clean end.
    ///
    /// # Errors
    ///
    /// As [`linspace_steps`].
    pub fn linspace(table: Arc<Table>, count: usize) -> Result<Self> {
        let steps = linspace_steps(table.len(), count)?;
        Self::table_steps(table, &steps)
    }

    /// N entries evenly from the last towards the first, which is left out, then the clean end.
    ///
    /// # Errors
    ///
    /// As [`linspace_n_plus_1_steps`].
    pub fn linspace_n_plus_1(table: Arc<Table>, count: usize) -> Result<Self> {
        let steps = linspace_n_plus_1_steps(table.len(), count)?;
        Self::table_steps(table, &steps)
    }

    /// N entries backwards from the last in equal strides, then the clean end; the one to choose for a zero terminal SNR.
    ///
    /// # Errors
    ///
    /// As [`trailing_steps`].
    pub fn trailing(table: Arc<Table>, count: usize) -> Result<Self> {
        let steps = trailing_steps(table.len(), count)?;
        Self::table_steps(table, &steps)
    }

    /// DDIM's quadratic entries up to `fraction` of the table, then the clean end. The noisiest entries are not visited.
    ///
    /// # Errors
    ///
    /// As [`quadratic_steps`], and when so many steps are asked for that entries coincide.
    pub fn quadratic(table: Arc<Table>, count: usize, fraction: f64) -> Result<Self> {
        let steps = quadratic_steps(table.len(), count, fraction)?;
        Self::table_steps(table, &steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_steps_of_a_thousand_are_those_of_the_paper() {
        assert_eq!(
            leading_steps(1000, 10, 1).unwrap(),
            [901, 801, 701, 601, 501, 401, 301, 201, 101, 1]
        );
        assert_eq!(
            linspace_steps(1000, 10).unwrap(),
            [999, 888, 777, 666, 555, 444, 333, 222, 111, 0]
        );
        assert_eq!(
            trailing_steps(1000, 10).unwrap(),
            [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]
        );
        assert_eq!(
            linspace_n_plus_1_steps(1000, 10).unwrap(),
            [999, 899, 799, 699, 599, 500, 400, 300, 200, 100]
        );
        assert_eq!(
            quadratic_steps(1000, 10, 0.8).unwrap(),
            [800, 632, 483, 355, 246, 158, 88, 39, 9, 0]
        );
    }

    #[test]
    fn ties_go_to_even() {
        assert_eq!(
            [(5, 2), (7, 2), (1, 2), (3, 2), (10, 4)].map(|(n, d)| round_ratio(n, d)),
            [2, 4, 0, 2, 2]
        );
        // T/N = 62.5: 937.5 is 938, 812.5 is 812.
        assert_eq!(trailing_steps(1000, 16).unwrap()[1..4], [937, 874, 811]);
    }

    #[test]
    fn asking_for_every_step_gives_every_step() {
        let all: Vec<usize> = (0..100).rev().collect();
        assert_eq!(leading_steps(100, 100, 0).unwrap(), all);
        assert_eq!(linspace_steps(100, 100).unwrap(), all);
        assert_eq!(trailing_steps(100, 100).unwrap(), all);
        let table = Arc::new(Table::linear_beta(100, 1e-4, 0.02).unwrap());
        let grid = TimeGrid::every_table_step(table.clone()).unwrap();
        assert_eq!(
            (grid.step_count(), grid.first().t, grid.last().t),
            (100, 1.0, 0.0)
        );
    }

    #[test]
    fn any_count_is_an_error_or_strictly_monotone_in_the_table() {
        for len in [1, 2, 7, 50, 333] {
            for count in 0..=len + 1 {
                let mut all = vec![
                    trailing_steps(len, count),
                    leading_steps(len, count, 0),
                    leading_steps(len, count, 1),
                ];
                all.extend([linspace_steps(len, count), linspace_n_plus_1_steps(len, count)]);
                for steps in all.into_iter().flatten() {
                    assert_eq!(steps.len(), count);
                    assert!(
                        steps[0] < len && steps.windows(2).all(|pair| pair[0] > pair[1]),
                        "{len} {count} {steps:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn counts_beyond_the_table_are_refused() {
        assert_eq!(trailing_steps(1000, 0), Err(Error::Steps { steps: 0, max: 1000 }));
        assert_eq!(
            trailing_steps(1000, 1001),
            Err(Error::Steps {
                steps: 1001,
                max: 1000
            })
        );
        assert_eq!(
            leading_steps(100, 100, 1),
            Err(Error::Index { index: 100, last: 99 })
        );
        assert!(leading_steps(100, 10, usize::MAX).is_err());
        assert!(leading_steps(usize::MAX, usize::MAX, 0).is_err());
        assert!(linspace_steps(1000, 1).is_err() && quadratic_steps(1000, 1, 0.8).is_err());
        assert!(quadratic_steps(1000, 10, f64::NAN).is_err());
        let table = Arc::new(Table::linear_beta(100, 1e-4, 0.02).unwrap());
        assert!(matches!(
            TimeGrid::quadratic(table.clone(), 100, 0.8),
            Err(Error::NotMonotone { .. })
        ));
        assert!(
            TimeGrid::table_steps(table.clone(), &[]).is_err()
                && TimeGrid::table_steps(table, &[100, 3]).is_err()
        );
    }
}
