//! Convolution and its transpose by candle's operations: for other devices and types than the kernels take.
//!
//! candle's own convolution is taken where its gradients are right. They are wrong on Metal, and for strides above 1 where
//! height and width leave different remainders; and its settings are the same for both axes. Everything else selects what
//! each output reads, and is one matrix product: selection and products have right gradients.

use candle_core::{Device, Result, Tensor};
use tallow_kernels::Convolution;

/// Whether candle's convolution can do this one, and its gradients are right.
pub(crate) fn candle_is_right(device: &Device, sizes: &Convolution, output: [usize; 2]) -> bool {
    let square = [sizes.stride, sizes.padding, sizes.dilation]
        .iter()
        .all(|[vertical, horizontal]| vertical == horizontal);
    // What the way back reaches along an axis, before padding is cut off.
    let reach = |axis: usize| {
        (output[axis] - 1) * sizes.stride[axis] + sizes.dilation[axis] * (sizes.kernel[axis] - 1) + 1
    };
    let even = sizes.height + reach(1) == sizes.width + reach(0);
    square && even && reach(0) >= 2 * sizes.padding[0] && sizes.batch > 0 && !device.is_metal()
}

/// candle's own convolution, without a bias.
pub(crate) fn convolution(x: &Tensor, weight: &Tensor, sizes: &Convolution) -> Result<Tensor> {
    let ([padding, _], [stride, _], [dilation, _]) = (sizes.padding, sizes.stride, sizes.dilation);
    x.conv2d(weight, padding, stride, dilation, sizes.groups)
}

/// candle's own transposed convolution, a group at a time, without a bias; `sizes` is the convolution it transposes.
pub(crate) fn transposed(
    x: &Tensor,
    weight: &Tensor,
    sizes: &Convolution,
    output: [usize; 2],
) -> Result<Tensor> {
    let ([padding, _], [stride, _], [dilation, _]) = (sizes.padding, sizes.stride, sizes.dilation);
    let reach = (output[0] - 1) * stride + dilation * (sizes.kernel[0] - 1) + 1;
    let extra = sizes.height + 2 * padding - reach;
    let parts = x
        .chunk(sizes.groups, 1)?
        .into_iter()
        .zip(weight.chunk(sizes.groups, 0)?);
    let parts = parts.map(|(x, weight)| {
        x.contiguous()?
            .conv_transpose2d(&weight.contiguous()?, padding, extra, stride, dilation)
    });
    Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 1)
}

/// Which input each output reads under each value of the kernel.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// For each axis, for each kernel value, for each output: the input, or the size of the axis for a zero.
    inputs: [Vec<u32>; 2],
    output: [usize; 2],
    groups: usize,
    order: Order,
}

/// Where a weight has its channels.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// (outputs, inputs/groups, …)
    OutputsFirst,
    /// (inputs, outputs/groups, …)
    InputsFirst,
}

impl Reading {
    /// Of a convolution: output o reads o s − p + k d.
    pub(crate) fn of(sizes: &Convolution, output: [usize; 2]) -> Self {
        let size = [sizes.height, sizes.width];
        let read = |axis: usize, kernel: usize, output: usize| {
            let place = output * sizes.stride[axis] + kernel * sizes.dilation[axis];
            place
                .checked_sub(sizes.padding[axis])
                .filter(|&place| place < size[axis])
        };
        Self {
            inputs: [0, 1].map(|axis| {
                table(sizes.kernel[axis], output[axis], size[axis], |k, o| {
                    read(axis, k, o)
                })
            }),
            output,
            groups: sizes.groups,
            order: Order::OutputsFirst,
        }
    }

    /// Of the transpose of a convolution, whose outputs are this one's inputs: o reads i where i s − p + k d = o.
    pub(crate) fn of_transpose(sizes: &Convolution, inputs: [usize; 2]) -> Self {
        let output = [sizes.height, sizes.width];
        let read = |axis: usize, kernel: usize, output: usize| {
            let place = (output + sizes.padding[axis]).checked_sub(kernel * sizes.dilation[axis])?;
            let on_the_grid = place.is_multiple_of(sizes.stride[axis]);
            Some(place / sizes.stride[axis]).filter(|&place| on_the_grid && place < inputs[axis])
        };
        Self {
            inputs: [0, 1].map(|axis| {
                table(sizes.kernel[axis], output[axis], inputs[axis], |k, o| {
                    read(axis, k, o)
                })
            }),
            output,
            groups: sizes.groups,
            order: Order::InputsFirst,
        }
    }
}

fn table(
    kernel: usize,
    outputs: usize,
    zero: usize,
    read: impl Fn(usize, usize) -> Option<usize>,
) -> Vec<u32> {
    let places = (0..kernel).flat_map(|k| (0..outputs).map(move |o| (k, o)));
    places.map(|(k, o)| read(k, o).unwrap_or(zero) as u32).collect()
}

/// The product of the weight with what each output reads, without a bias: (N, inputs, H, W) to (N, outputs, H′, W′).
pub(crate) fn gathered(x: &Tensor, weight: &Tensor, reading: &Reading) -> Result<Tensor> {
    let (batch, inputs, _, _) = x.dims4()?;
    let (first, second, kernel_height, kernel_width) = weight.dims4()?;
    let ([height, width], groups) = (reading.output, reading.groups);
    let outputs = match reading.order {
        Order::OutputsFirst => first,
        Order::InputsFirst => second * groups,
    };
    if batch == 0 {
        return Tensor::zeros((0, outputs, height, width), x.dtype(), x.device());
    }
    let [rows, columns] = &reading.inputs;
    let rows = Tensor::new(rows.as_slice(), x.device())?;
    let columns = Tensor::new(columns.as_slice(), x.device())?;
    let read = x
        .pad_with_zeros(2, 0, 1)?
        .pad_with_zeros(3, 0, 1)?
        .contiguous()?
        .index_select(&rows, 2)?
        .index_select(&columns, 3)?
        .reshape(&[batch, inputs, kernel_height, height, kernel_width, width])?
        .permute([0, 1, 2, 4, 3, 5])?
        .contiguous()?;
    let depth = inputs / groups * kernel_height * kernel_width;
    let read = read.reshape((batch, groups, depth, height * width))?;
    let weight = match reading.order {
        Order::OutputsFirst => weight.reshape((1, groups, outputs / groups, depth))?,
        Order::InputsFirst => weight
            .reshape((
                groups,
                inputs / groups,
                outputs / groups,
                kernel_height * kernel_width,
            ))?
            .transpose(1, 2)?
            .contiguous()?
            .reshape((1, groups, outputs / groups, depth))?,
    };
    weight
        .broadcast_matmul(&read)?
        .reshape((batch, outputs, height, width))
}
