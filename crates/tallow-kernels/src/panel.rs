//! Products of matrices whose columns lie in panels: [panel][row][lane], the layout that a chain of layers works in.
//!
//! A panel is two vectors of AVX-512 wide, 32 columns in f32 and 16 in f64, and its rows follow one another. Eight rows of
//! a result by one panel stay in registers while the sum runs, each element in the order of the sum alone: its bytes do not
//! depend on how many rows there are.

use std::mem::MaybeUninit;

use crate::dispatch::{Isa, Kernel};
use crate::error::{Result, check_length};
use crate::float::Float;

/// Rows of a tile.
pub(crate) const TILE: usize = 8;

/// Panels of `columns` columns.
pub(crate) fn panels<T: Float>(columns: usize) -> usize {
    columns.div_ceil(T::PANEL)
}

/// `columns` rounded up to whole panels.
pub(crate) fn padded<T: Float>(columns: usize) -> usize {
    columns.next_multiple_of(T::PANEL)
}

/// The length of a sum over `columns`: what a single panel holds, or whole panels, whose padding is zeros.
pub(crate) fn depth<T: Float>(columns: usize) -> usize {
    if columns <= T::PANEL {
        columns
    } else {
        padded::<T>(columns)
    }
}

/// Where the left factor of a tile is: term (o, i) of row m of tile t at
/// `(t / per) * far + (t % per) * near + o * outer_step + i * inner_step + m * row_step`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk {
    per: usize,
    far: usize,
    near: usize,
    outer: usize,
    outer_step: usize,
    inner: usize,
    inner_step: usize,
    row_step: usize,
}

impl Walk {
    /// Tiles of eight rows; the sum runs over `columns` columns of panels of `height` rows.
    pub(crate) fn rows<T: Float>(height: usize, columns: usize) -> Self {
        let inner = columns.min(T::PANEL);
        Self {
            per: usize::MAX,
            far: 0,
            near: TILE * T::PANEL,
            outer: panels::<T>(columns),
            outer_step: height * T::PANEL,
            inner,
            inner_step: 1,
            row_step: T::PANEL,
        }
    }

    /// Tiles of eight columns of panels of `height` rows, which become rows of the result; the sum runs over the first
    /// `rows` rows.
    pub(crate) fn columns<T: Float>(height: usize, rows: usize) -> Self {
        Self {
            per: T::PANEL / TILE,
            far: height * T::PANEL,
            near: TILE,
            outer: 1,
            outer_step: 0,
            inner: rows,
            inner_step: T::PANEL,
            row_step: 1,
        }
    }

    fn start(&self, tile: usize) -> usize {
        tile / self.per * self.far + tile % self.per * self.near
    }

    /// One more than the largest index that a tile reads.
    fn end(&self, tile: usize) -> usize {
        let last = |count: usize, step: usize| count.saturating_sub(1) * step;
        self.start(tile)
            + last(self.outer, self.outer_step)
            + last(self.inner, self.inner_step)
            + last(TILE, self.row_step)
            + 1
    }
}

/// What a sum starts from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start<'a, T> {
    /// 0.
    Zero,
    /// The same row, one panel wide, for all rows of the result: a bias.
    Row(&'a [T]),
    /// What the target holds.
    Stored,
}

/// One panel of a product: target[row][lane] = start + Σ left[row][i] right[i][lane].
pub(crate) struct Strip<'a, T> {
    left: &'a [T],
    walk: Walk,
    right: &'a [T],
    start: Start<'a, T>,
    target: &'a mut [MaybeUninit<T>],
}

impl<'a, T: Float> Strip<'a, T> {
    /// `right` is one panel, as long as the sum; `target` one panel of whole tiles.
    ///
    /// # Safety
    ///
    /// With [`Start::Stored`] the target has been written.
    pub(crate) unsafe fn new(
        left: &'a [T],
        walk: Walk,
        right: &'a [T],
        start: Start<'a, T>,
        target: &'a mut [MaybeUninit<T>],
    ) -> Result<Self> {
        let tiles = target.len() / (TILE * T::PANEL);
        check_length("target of a strip", target.len(), tiles * TILE * T::PANEL)?;
        check_length(
            "right side of a strip",
            right.len(),
            walk.outer * walk.inner * T::PANEL,
        )?;
        if let Start::Row(row) = start {
            check_length("start of a strip", row.len(), T::PANEL)?;
        }
        let reach = (0..tiles).map(|tile| walk.end(tile)).max().unwrap_or(0);
        if reach > left.len() && !right.is_empty() {
            check_length("left side of a strip", left.len(), reach)?;
        }
        Ok(Self {
            left,
            walk,
            right,
            start,
            target,
        })
    }
}

impl<T: Float> Kernel for Strip<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for (index, target) in self.target.chunks_exact_mut(TILE * T::PANEL).enumerate() {
            match self.start {
                Start::Stored => {}
                Start::Zero => target.fill(MaybeUninit::new(T::default())),
                Start::Row(row) => {
                    for target in target.chunks_exact_mut(T::PANEL) {
                        for (target, &value) in target.iter_mut().zip(row) {
                            target.write(value);
                        }
                    }
                }
            }
            if self.right.is_empty() {
                continue;
            }
            let tile = Tile {
                left: self.left[self.walk.start(index)..].as_ptr(),
                right: self.right.as_ptr(),
                target: target.as_mut_ptr().cast::<T>(),
                walk: self.walk,
            };
            // SAFETY: `new` has checked that every term of both sides lies inside their slices, the target holds a whole
            // tile, and it has been written by the lines above or as `new` asks for.
            unsafe { T::add_tile::<I>(tile) };
        }
    }
}

/// Eight rows by one panel, by address.
#[derive(Clone, Copy, Debug)]
#[allow(unreachable_pub, reason = "an argument of the sealed trait `Element`")]
pub struct Tile<T> {
    left: *const T,
    right: *const T,
    target: *mut T,
    walk: Walk,
}

impl<T: Float> Tile<T> {
    /// Adds the product of `M` rows by `W` columns, from row `row` and column `column` of the tile on; `PANEL` is
    /// [`Element::PANEL`](crate::float::Element::PANEL).
    ///
    /// # Safety
    ///
    /// Every term that the walk leads to, for these rows and columns, can be read, and the target read and written.
    #[inline(always)]
    pub(crate) unsafe fn add<I: Isa, const M: usize, const W: usize, const PANEL: usize>(
        self,
        row: usize,
        column: usize,
    ) {
        // With steps that are constants, the addresses are offsets of one register.
        // SAFETY: the caller's promise.
        unsafe {
            if self.walk.row_step == 1 {
                self.add_by::<I, M, W, 1, PANEL>(row, column);
            } else {
                self.add_by::<I, M, W, PANEL, 1>(row, column);
            }
        }
    }

    /// # Safety
    ///
    /// As for [`add`](Self::add), with the steps of the walk.
    #[inline(always)]
    unsafe fn add_by<I: Isa, const M: usize, const W: usize, const ROW: usize, const INNER: usize>(
        self,
        row: usize,
        column: usize,
    ) {
        let walk = self.walk;
        // SAFETY: the caller's promise; every address below is one of those.
        unsafe {
            let target = self.target.add(row * T::PANEL + column);
            let mut sums = [[T::default(); W]; M];
            for (m, sums) in sums.iter_mut().enumerate() {
                *sums = target.add(m * T::PANEL).cast::<[T; W]>().read();
            }
            let mut right = self.right.add(column);
            for outer in 0..walk.outer {
                let mut left = self.left.add(row * ROW + outer * walk.outer_step);
                for _ in 0..walk.inner {
                    let values = right.cast::<[T; W]>().read();
                    for (m, sums) in sums.iter_mut().enumerate() {
                        let factor = left.add(m * ROW).read();
                        for (sum, &value) in sums.iter_mut().zip(&values) {
                            *sum = I::mul_add(factor, value, *sum);
                        }
                    }
                    left = left.add(INNER);
                    right = right.add(T::PANEL);
                }
            }
            for (m, sums) in sums.iter().enumerate() {
                target.add(m * T::PANEL).cast::<[T; W]>().write(*sums);
            }
        }
    }
}

/// Rows to panels: `values`, (rows, columns), to [panel][`height`][lane], with zeros around them.
pub(crate) fn to_panels<T: Float>(values: &[T], columns: usize, height: usize, out: &mut [MaybeUninit<T>]) {
    for (panel, out) in out.chunks_exact_mut((height * T::PANEL).max(1)).enumerate() {
        to_panel(values, columns, panel, out);
    }
}

/// One panel of [`to_panels`], as high as `out`.
pub(crate) fn to_panel<T: Float>(values: &[T], columns: usize, panel: usize, out: &mut [MaybeUninit<T>]) {
    let first = panel * T::PANEL;
    let width = T::PANEL.min(columns - first);
    let mut rows = values.chunks_exact(columns);
    for out in out.chunks_exact_mut(T::PANEL) {
        let row = rows.next().map_or(&[][..], |row| &row[first..][..width]);
        for (out, &value) in out.iter_mut().zip(row) {
            out.write(value);
        }
        out[row.len()..].fill(MaybeUninit::new(T::default()));
    }
}

/// The reverse, for as many rows as `out` has.
pub(crate) fn from_panels<T: Float>(panels: &[T], columns: usize, height: usize, out: &mut [MaybeUninit<T>]) {
    for (panel, values) in panels.chunks_exact((height * T::PANEL).max(1)).enumerate() {
        let first = panel * T::PANEL;
        let width = T::PANEL.min(columns - first);
        for (out, row) in out.chunks_exact_mut(columns).zip(values.chunks_exact(T::PANEL)) {
            for (out, &value) in out[first..][..width].iter_mut().zip(row) {
                out.write(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::as_place;
    use crate::dispatch::{Path, run};

    fn values(n: usize, phase: f64) -> Vec<f64> {
        (0..n).map(|i| (i as f64 * 0.37 + phase).sin()).collect()
    }

    fn check<T: Float>(tolerance: f64) {
        let narrow = |v: &[f64]| -> Vec<T> { v.iter().map(|&x| T::from_f64(x)).collect() };
        for (rows, inner) in [(8, 3), (24, T::PANEL), (16, 2 * T::PANEL + 5)] {
            let (a, b) = (
                values(rows * inner, 0.0),
                values(depth::<T>(inner) * T::PANEL, 1.0),
            );
            let mut left = vec![T::default(); rows * padded::<T>(inner)];
            to_panels(&narrow(&a), inner, rows, as_place(&mut left));
            let (right, bias) = (narrow(&b), narrow(&values(T::PANEL, 2.0)));
            for path in Path::available() {
                let mut out = vec![T::default(); rows * T::PANEL];
                let walk = Walk::rows::<T>(rows, inner);
                // SAFETY: nothing is stored.
                let strip = unsafe { Strip::new(&left, walk, &right, Start::Row(&bias), as_place(&mut out)) };
                run(path, strip.unwrap());
                for row in 0..rows {
                    for lane in 0..T::PANEL {
                        let sum: f64 = (0..inner)
                            .map(|i| a[row * inner + i] * b[i * T::PANEL + lane])
                            .sum();
                        let error = out[row * T::PANEL + lane].to_f64() - sum - bias[lane].to_f64();
                        assert!(error.abs() < tolerance, "{}: {error:e}", path.name());
                    }
                }
            }
        }
    }

    #[test]
    fn a_strip_is_the_product_on_every_path() {
        check::<f32>(3e-5);
        check::<f64>(1e-13);
    }

    #[test]
    fn a_strip_over_rows_is_the_product_of_the_transpose_added_to_what_is_there() {
        let (rows, columns) = (16, 40);
        let a = values(rows * columns, 0.5);
        let mut left = vec![0.0; rows * padded::<f64>(columns)];
        to_panels(&a, columns, rows, as_place(&mut left));
        let right = values(rows * 16, 3.0);
        for path in Path::available() {
            let mut out = vec![1.0; columns * 16];
            let walk = Walk::columns::<f64>(rows, rows);
            // SAFETY: the target is initialised.
            let strip = unsafe { Strip::new(&left, walk, &right, Start::Stored, as_place(&mut out)) };
            run(path, strip.unwrap());
            for column in 0..columns {
                for lane in 0..16 {
                    let sum: f64 = (0..rows)
                        .map(|row| a[row * columns + column] * right[row * 16 + lane])
                        .sum();
                    assert!((out[column * 16 + lane] - 1.0 - sum).abs() < 1e-13);
                }
            }
        }
    }

    #[test]
    fn rows_survive_the_way_to_panels_and_back() {
        for columns in [1, 31, 32, 33, 70] {
            let values: Vec<f32> = (0..5 * columns).map(|i| i as f32).collect();
            let mut panels = vec![9.0; 8 * padded::<f32>(columns)];
            to_panels(&values, columns, 8, as_place(&mut panels));
            assert_eq!(panels.iter().sum::<f32>(), values.iter().sum::<f32>());
            let mut back = vec![0.0; values.len()];
            from_panels(&panels, columns, 8, as_place(&mut back));
            assert_eq!(back, values);
        }
    }

    #[test]
    fn a_side_that_is_too_short_is_refused() {
        let (left, right, mut out) = ([0.0f32; 100], [0.0f32; 320], [0.0f32; 256]);
        let walk = Walk::rows::<f32>(8, 10);
        // SAFETY: nothing is stored.
        let strip = unsafe { Strip::new(&left, walk, &right, Start::Zero, as_place(&mut out)) };
        assert!(strip.is_err());
    }
}
