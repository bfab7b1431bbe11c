//! What can be wrong with the arguments of a kernel: lengths, settings, and data that has no answer.

use thiserror::Error;

/// Why a kernel refused its arguments.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A slice does not hold as many values as the shape asks for.
    #[error("`{name}` holds {got} values where {wanted} are needed: pass a slice of that length")]
    Length {
        /// The argument.
        name: &'static str,
        /// How many values it holds.
        got: usize,
        /// How many it must hold.
        wanted: usize,
    },
    /// A shape whose number of values does not fit the address space.
    #[error("a matrix of {rows} x {columns} values is larger than memory can address: split the batch")]
    TooLarge {
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        columns: usize,
    },
    /// A setting outside its range.
    #[error("`{name}` is {value}, allowed is {allowed}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// The values that it may have, in words.
        allowed: &'static str,
    },
    /// An element of the data that has no answer.
    #[error("`{name}[{index}]` is {value}, allowed is {allowed}")]
    Value {
        /// The argument.
        name: &'static str,
        /// Which element.
        index: usize,
        /// Its value.
        value: f64,
        /// The values that it may have, in words.
        allowed: &'static str,
    },
    /// Masses that cannot be moved onto each other because their totals differ.
    #[error(
        "the rows hold {rows} in total and the columns {columns}: scale one side, or relax the marginals"
    )]
    Totals {
        /// Total mass of the rows.
        rows: f64,
        /// Total mass of the columns.
        columns: f64,
    },
    /// Channels that cannot be split into equal groups.
    #[error(
        "{groups} groups do not split {inputs} input and {outputs} output channels evenly: choose a divisor of both"
    )]
    Groups {
        /// The groups.
        groups: usize,
        /// Channels of x.
        inputs: usize,
        /// Channels of y.
        outputs: usize,
    },
    /// A kernel that does not fit into the image.
    #[error(
        "a kernel that spans {span} values does not fit a padded {name} of {padded}: pad more or shrink the kernel"
    )]
    Kernel {
        /// Height or width.
        name: &'static str,
        /// Values from the kernel's first to its last, dilation included.
        span: usize,
        /// Values of the image along the axis, padding included.
        padded: usize,
    },
    /// An assignment that would leave rows without a column.
    #[error("{rows} rows cannot each have one of {columns} columns: transpose the costs")]
    TooManyRows {
        /// Rows of the costs.
        rows: usize,
        /// Columns of the costs.
        columns: usize,
    },
}

/// The result of a kernel.
pub type Result<T> = std::result::Result<T, Error>;

/// Refuses a slice of the wrong length.
pub(crate) fn check_length(name: &'static str, got: usize, wanted: usize) -> Result<()> {
    if got == wanted {
        Ok(())
    } else {
        Err(Error::Length { name, got, wanted })
    }
}

/// `rows * columns`, refused when it overflows.
pub(crate) fn area(rows: usize, columns: usize) -> Result<usize> {
    rows.checked_mul(columns).ok_or(Error::TooLarge { rows, columns })
}
