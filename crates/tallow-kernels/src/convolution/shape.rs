//! The sizes of a convolution, checked once: arithmetic with them cannot overflow afterwards.

use super::Convolution;
use crate::error::{Error, Result, area};

/// A convolution whose sizes fit together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) sizes: Convolution,
    /// Height and width of y.
    pub(super) output: [usize; 2],
    /// Values of one image of x.
    pub(super) image_in: usize,
    /// Values of one image of y.
    pub(super) image_out: usize,
    /// Values that one value of y sums: inputs/groups × kernel.
    pub(super) depth: usize,
    pub(super) x_len: usize,
    pub(super) y_len: usize,
    pub(super) weight_len: usize,
}

impl Shape {
    pub(super) fn new(sizes: Convolution) -> Result<Self> {
        let Convolution {
            inputs,
            outputs,
            groups,
            ..
        } = sizes;
        if groups == 0 || inputs % groups != 0 || outputs % groups != 0 {
            return Err(Error::Groups {
                groups,
                inputs,
                outputs,
            });
        }
        let output = [
            axis("height", sizes.height, sizes, 0)?,
            axis("width", sizes.width, sizes, 1)?,
        ];
        let image_in = area(inputs, area(sizes.height, sizes.width)?)?;
        let positions = area(output[0], output[1])?;
        let image_out = area(outputs, positions)?;
        let depth = area(inputs / groups, area(sizes.kernel[0], sizes.kernel[1])?)?;
        // The working memory of one image.
        area(depth, positions)?;
        Ok(Self {
            sizes,
            output,
            image_in,
            image_out,
            depth,
            x_len: area(sizes.batch, image_in)?,
            y_len: area(sizes.batch, image_out)?,
            weight_len: area(outputs, depth)?,
        })
    }

    /// Values of one channel of y.
    pub(super) fn positions(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Multiply-adds of one image.
    pub(super) fn image_cost(&self) -> usize {
        self.image_out.saturating_mul(self.depth)
    }

    /// Multiply-adds of the batch.
    pub(super) fn cost(&self) -> usize {
        self.sizes.batch.saturating_mul(self.image_cost())
    }

    /// Images that are summed into one partial gradient of the weight: at most eight partials, two if they are large.
    pub(super) fn images_a_sum(&self) -> usize {
        const VALUES: usize = 1 << 22;
        let partials = (VALUES / self.weight_len.max(1)).clamp(2, 8);
        self.sizes.batch.div_ceil(partials).max(1)
    }
}

/// The size of y along one axis.
fn axis(name: &'static str, size: usize, sizes: Convolution, axis: usize) -> Result<usize> {
    let (kernel, stride) = (sizes.kernel[axis], sizes.stride[axis]);
    let (padding, dilation) = (sizes.padding[axis], sizes.dilation[axis]);
    for (name, value) in [("kernel", kernel), ("stride", stride), ("dilation", dilation)] {
        if value == 0 {
            return Err(Error::Setting {
                name,
                value: 0.0,
                allowed: "a whole number above 0",
            });
        }
    }
    let span = area(dilation, kernel - 1)?.saturating_add(1);
    let padded = area(2, padding)?.saturating_add(size);
    // Positions in the padded image are computed as signed numbers.
    if isize::try_from(padded).is_err() {
        return Err(Error::TooLarge {
            rows: size,
            columns: padding,
        });
    }
    if span > padded {
        return Err(Error::Kernel { name, span, padded });
    }
    Ok((padded - span) / stride + 1)
}
