//! Axes: where a value lies, which ticks to show, how to write them.

use std::ops::Range;

use crate::{Error, Result};

/// Values farther from zero than this are treated as missing: differences of two could overflow later.
const FARTHEST: f64 = 1e100;
/// Shorter ranges are none: the density in a cell of one could overflow.
const SHORTEST: f64 = 1e-40;
/// Smaller values have no place on a logarithmic axis.
const SMALLEST: f64 = 1e-100;

/// Whether a value can be placed on an axis at all.
pub(crate) fn plottable(value: f64) -> bool {
    value.abs() <= FARTHEST
}

/// Whether both coordinates of a point can be placed.
pub(crate) fn placeable(point: &[f64; 2]) -> bool {
    plottable(point[0]) && plottable(point[1])
}

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spacing {
    Linear,
    Log,
}

/// A stretch of values, finite and rising.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Axis {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) spacing: Spacing,
}

/// A labelled place on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    pub(crate) value: f64,
    pub(crate) label: String,
}

impl Axis {
    /// The axis that the caller asked for.
    pub(crate) fn given(axis: &'static str, range: &Range<f64>, spacing: Spacing) -> Result<Self> {
        let (from, to) = (range.start, range.end);
        let (positive, shortest) = match spacing {
            Spacing::Linear => (true, SHORTEST),
            Spacing::Log => (from >= SMALLEST, 0.0),
        };
        if !plottable(from) || !plottable(to) || to - from < shortest || to <= from || !positive {
            return Err(Error::Bounds { axis, from, to });
        }
        Ok(Self { from, to, spacing })
    }

    /// An axis around all `values` that can be placed, with a little room at both ends; `None` if there are none.
    pub(crate) fn around(values: impl Iterator<Item = f64>, spacing: Spacing) -> Option<Self> {
        let usable = |v: &f64| plottable(*v) && (spacing == Spacing::Linear || *v >= SMALLEST);
        let (low, high) = values
            .filter(usable)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
                (low.min(v), high.max(v))
            });
        if low > high {
            return None;
        }
        let (from, to) = match spacing {
            Spacing::Linear => roomy(low, high, 0.05 * low.abs().max(high.abs())),
            Spacing::Log => {
                let (from, to) = roomy(low.log10(), high.log10(), 0.3);
                (10f64.powf(from), 10f64.powf(to))
            }
        };
        Some(Self { from, to, spacing })
    }

    /// The axis of the same middle that spans `length`.
    pub(crate) fn stretched(self, length: f64) -> Self {
        let middle = self.from + (self.to - self.from) / 2.0;
        Self {
            from: middle - length / 2.0,
            to: middle + length / 2.0,
            ..self
        }
    }

    /// 0 at the start, 1 at the end, beyond outside; NaN for what the axis cannot show.
    pub(crate) fn fraction(self, value: f64) -> f64 {
        if !value.is_finite() {
            return f64::NAN;
        }
        match self.spacing {
            Spacing::Linear => (value - self.from) / (self.to - self.from),
            Spacing::Log if value < SMALLEST => f64::NAN,
            Spacing::Log => (value.log10() - self.from.log10()) / (self.to.log10() - self.from.log10()),
        }
    }

    /// About `count` ticks at round values.
    pub(crate) fn ticks(self, count: usize) -> Vec<Tick> {
        match self.spacing {
            Spacing::Linear => self.linear_ticks(count),
            Spacing::Log => self.log_ticks(count),
        }
    }

    fn linear_ticks(self, count: usize) -> Vec<Tick> {
        let rough = (self.to - self.from) / count.max(1) as f64;
        let exponent = rough.log10().floor() as i32;
        let (digit, exponent) = match rough / ten(exponent) {
            r if r <= 1.0 => (1.0, exponent),
            r if r <= 2.0 => (2.0, exponent),
            r if r <= 5.0 => (5.0, exponent),
            _ => (1.0, exponent + 1),
        };
        // Multiples of a power of ten are exact to the last bit only when divided by its inverse.
        let at = |k: f64| {
            if exponent < 0 {
                k * digit / ten(-exponent)
            } else {
                k * digit * ten(exponent)
            }
        };
        let first = (self.from / at(1.0)).ceil();
        let places = (0..=2 * count).map(|i| at(first + i as f64));
        let largest = self.from.abs().max(self.to.abs());
        places
            .filter(|v| *v >= self.from && *v <= self.to)
            .map(|value| Tick {
                value,
                label: written(value, exponent, largest),
            })
            .collect()
    }

    fn log_ticks(self, count: usize) -> Vec<Tick> {
        let (low, high) = (self.from.log10(), self.to.log10());
        let decades = low.floor() as i32..=high.ceil() as i32;
        let stride = (((high - low) / count.max(1) as f64).ceil() as i32).max(1);
        let digits: &[f64] = if high - low > 2.0 {
            &[1.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        let ticks: Vec<Tick> = decades
            .filter(|e| e.rem_euclid(stride) == 0)
            .flat_map(|e| digits.iter().map(move |digit| (*digit, e)))
            .map(|(digit, e)| Tick {
                value: digit * ten(e),
                label: decade(digit, e),
            })
            .filter(|tick| tick.value >= self.from && tick.value <= self.to)
            .collect();
        // A stretch too short for two round values of a logarithm has round values of its own.
        if ticks.len() < 2 {
            self.linear_ticks(count)
        } else {
            ticks
        }
    }
}

/// `low..high` with room at both ends; a constant gets `spare` on either side, or a half if that is nothing.
fn roomy(low: f64, high: f64, spare: f64) -> (f64, f64) {
    let constant = high - low <= 1e-9 * low.abs().max(high.abs()) || high - low < SHORTEST;
    let room = match constant {
        false => 0.04 * (high - low),
        true if spare > SHORTEST => spare,
        true => 0.5,
    };
    (low - room, high + room)
}

/// A power of ten, correctly rounded on every platform.
fn ten(exponent: i32) -> f64 {
    format!("1e{exponent}").parse().unwrap_or(f64::INFINITY)
}

/// A tick of a linear axis whose steps are multiples of 10^exponent.
fn written(value: f64, exponent: i32, largest: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = largest.log10().floor() as i32;
    if (-4..6).contains(&magnitude) {
        return signed(value, (-exponent).clamp(0, 15));
    }
    let mantissa = if magnitude < 0 {
        value * ten(-magnitude)
    } else {
        value / ten(magnitude)
    };
    let decimals = (magnitude - exponent).clamp(0, 15);
    format!("{}×10{}", signed(mantissa, decimals), raised(magnitude))
}

/// A tick of a logarithmic axis: digit · 10^exponent.
fn decade(digit: f64, exponent: i32) -> String {
    match exponent {
        -2..=3 => signed(digit * ten(exponent), (-exponent).max(0)),
        _ if digit == 1.0 => format!("10{}", raised(exponent)),
        _ => format!("{digit}×10{}", raised(exponent)),
    }
}

fn signed(value: f64, decimals: i32) -> String {
    format!("{value:.*}", decimals.max(0) as usize).replace('-', "−")
}

fn raised(exponent: i32) -> String {
    let sign = |c| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '0' | '4'..='9' => char::from_u32(0x2070 + (c as u32 - '0' as u32)).unwrap_or(c),
        c => c,
    };
    exponent.to_string().chars().map(sign).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(from: f64, to: f64, spacing: Spacing) -> Vec<String> {
        let axis = Axis::given("x", &(from..to), spacing).unwrap();
        axis.ticks(5).into_iter().map(|t| t.label).collect()
    }

    #[test]
    fn ticks_are_round_and_written_with_the_digits_they_need() {
        assert_eq!(labels(-2.5, 2.5, Spacing::Linear), ["−2", "−1", "0", "1", "2"]);
        assert_eq!(labels(0.0, 0.3, Spacing::Linear), ["0", "0.1", "0.2", "0.3"]);
        assert_eq!(
            labels(0.0, 20_000.0, Spacing::Linear),
            ["0", "5000", "10000", "15000", "20000"]
        );
        assert_eq!(
            labels(0.0, 3e-7, Spacing::Linear),
            ["0", "1×10⁻⁷", "2×10⁻⁷", "3×10⁻⁷"]
        );
        assert_eq!(labels(1.0, 1e6, Spacing::Log), ["1", "100", "10⁴", "10⁶"]);
        assert_eq!(
            labels(0.03, 1.0, Spacing::Log),
            ["0.05", "0.1", "0.2", "0.5", "1"]
        );
    }

    #[test]
    fn no_range_has_ticks_that_are_not_finite_or_endless() {
        for from in [-1e100, -1e9, -1.0, 0.0, 1e-90, 1.0, 1e99] {
            for length in [1e-99, 1e-15, 1.0, 1e12, 1e100] {
                let Ok(axis) = Axis::given("x", &(from..(from + length)), Spacing::Linear) else {
                    continue;
                };
                let ticks = axis.ticks(6);
                assert!(ticks.len() <= 13, "{axis:?}");
                assert!(
                    ticks.iter().all(|t| t.value.is_finite() && t.label.len() < 40),
                    "{axis:?} {ticks:?}"
                );
            }
        }
    }

    #[test]
    fn constants_get_an_axis_around_them() {
        for value in [0.0, 3.0, -1e99, 1e-99] {
            let axis = Axis::around([value; 4].into_iter(), Spacing::Linear).unwrap();
            assert!(axis.from < value && value < axis.to, "{axis:?}");
        }
        assert_eq!(
            Axis::around([f64::NAN, f64::INFINITY].into_iter(), Spacing::Linear),
            None
        );
        assert_eq!(Axis::around([-1.0, 0.0].into_iter(), Spacing::Log), None);
    }

    #[test]
    fn bounds_that_enclose_nothing_are_refused() {
        for range in [1.0..1.0, 2.0..1.0, f64::NAN..1.0, 0.0..f64::INFINITY] {
            assert!(matches!(
                Axis::given("x", &range, Spacing::Linear),
                Err(Error::Bounds { .. })
            ));
        }
        assert!(Axis::given("y", &(0.0..1.0), Spacing::Log).is_err());
    }
}
