//! Convolution of images: forward, and its three gradients.
//!
//! ```text
//! y[b, o, i, j] = bias[o] + Σ_{c, k, l} w[o, c, k, l] x[b, c, i s − p + k d, j s − p + l d]
//! ```
//!
//! with stride s, padding p (zeros) and dilation d of each axis, c over the input channels of the group of o. Shapes are
//! PyTorch's: x (batch, inputs, height, width), w (outputs, inputs/groups, kernel height, kernel width), y (batch,
//! outputs, output height, output width), all row-major.
//!
//! Laws: an image of y or dx has the same bytes in every batch; every result has the same bytes on any number of threads
//! (dw and the bias gradient are summed over chunks of images that depend on the shape alone, in order).

mod choice;
mod columns;
#[cfg(target_arch = "x86_64")]
mod direct;
mod fused;
#[cfg(target_arch = "x86_64")]
mod gather;
mod general;
#[cfg(target_arch = "x86_64")]
mod lanes;
#[cfg(target_arch = "x86_64")]
mod layout;
#[cfg(target_arch = "x86_64")]
mod outer;
#[cfg(target_arch = "x86_64")]
mod pack;
#[cfg(target_arch = "x86_64")]
mod products;
#[cfg(target_arch = "x86_64")]
mod rows;
mod shape;
#[cfg(target_arch = "x86_64")]
mod tiles;
#[cfg(target_arch = "x86_64")]
mod winograd;
#[cfg(target_arch = "x86_64")]
mod write_back;

use crate::buffer::written;
use crate::dispatch::Path;
use crate::error::{Result, check_length};
use crate::float::Float;
use crate::linear::{Gradients, Wanted};
pub use fused::{Epilogue, Prologue};
use shape::Shape;

/// The sizes of a convolution; fields with two values are (vertical, horizontal).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Images.
    pub batch: usize,
    /// Channels of x.
    pub inputs: usize,
    /// Channels of y.
    pub outputs: usize,
    /// Rows of an image of x.
    pub height: usize,
    /// Columns of an image of x.
    pub width: usize,
    /// Size of the kernel.
    pub kernel: [usize; 2],
    /// Steps of the kernel from one value of y to the next.
    pub stride: [usize; 2],
    /// Zeros around the image, on each side.
    pub padding: [usize; 2],
    /// Steps between the values of x that one kernel reads; 1 is a plain convolution.
    pub dilation: [usize; 2],
    /// Parts that the channels are split into; a part of y sees only its part of x.
    pub groups: usize,
}

impl Convolution {
    /// Height and width of an image of y: ⌊(size + 2 padding − dilation (kernel − 1) − 1)/stride⌋ + 1.
    ///
    /// # Errors
    ///
    /// When kernel, stride, dilation or groups are 0, the kernel spans more than the padded image, the groups do not
    /// divide both numbers of channels, or a size overflows.
    pub fn output_size(&self) -> Result<[usize; 2]> {
        Ok(Shape::new(*self)?.output)
    }

    /// y, from x, the weight and one bias for each output channel.
    ///
    /// # Errors
    ///
    /// As [`Convolution::output_size`]; when a slice does not have the length of its shape.
    pub fn forward<T: Float>(&self, x: &[T], weight: &[T], bias: Option<&[T]>) -> Result<Vec<T>> {
        let epilogue = Epilogue {
            bias,
            ..Epilogue::default()
        };
        self.forward_on(Path::best(), x, weight, None, &epilogue)
    }

    /// y = conv(f(x)) + what the epilogue adds, in one pass over memory; f is the prologue, or nothing.
    ///
    /// # Errors
    ///
    /// As [`Convolution::forward`].
    pub fn fused_forward<T: Float>(
        &self,
        x: &[T],
        weight: &[T],
        prologue: Option<&Prologue<'_, T>>,
        epilogue: &Epilogue<'_, T>,
    ) -> Result<Vec<T>> {
        self.forward_on(Path::best(), x, weight, prologue, epilogue)
    }

    /// dx, the gradient of a loss with respect to x, from its gradient dy with respect to y.
    ///
    /// # Errors
    ///
    /// As [`Convolution::forward`].
    pub fn input_gradient<T: Float>(&self, dy: &[T], weight: &[T]) -> Result<Vec<T>> {
        self.input_gradient_on(Path::best(), dy, weight, None)
    }

    /// dw, the gradient of a loss with respect to the weight.
    ///
    /// # Errors
    ///
    /// As [`Convolution::forward`].
    pub fn weight_gradient<T: Float>(&self, x: &[T], dy: &[T]) -> Result<Vec<T>> {
        self.weight_gradient_on(Path::best(), x, dy, None)
    }

    /// The gradient of a loss with respect to the bias: the sum of each channel of dy over images and positions.
    ///
    /// # Errors
    ///
    /// As [`Convolution::forward`].
    pub fn bias_gradient<T: Float>(&self, dy: &[T]) -> Result<Vec<T>> {
        let shape = Shape::new(*self)?;
        check_length("dy", dy.len(), shape.y_len)?;
        general::bias_gradient(Path::best(), &shape, dy)
    }

    /// The gradients that are wanted, of x and of both weight and bias.
    ///
    /// # Errors
    ///
    /// As [`Convolution::forward`].
    pub fn backward<T: Float>(
        &self,
        x: &[T],
        weight: &[T],
        dy: &[T],
        x_wanted: Wanted,
        weights_wanted: Wanted,
    ) -> Result<Gradients<T>> {
        self.fused_backward(x, weight, dy, None, x_wanted, weights_wanted)
    }

    /// The gradients of [`Convolution::fused_forward`]; with a prologue, that of x is dz, the gradient with respect to
    /// z = scale x + shift. Those of shift and residual are sums of dy, and dy.
    ///
    /// # Errors
    ///
    /// As [`Convolution::forward`].
    pub fn fused_backward<T: Float>(
        &self,
        x: &[T],
        weight: &[T],
        dy: &[T],
        prologue: Option<&Prologue<'_, T>>,
        x_wanted: Wanted,
        weights_wanted: Wanted,
    ) -> Result<Gradients<T>> {
        let shape = Shape::new(*self)?;
        check_length("x", x.len(), shape.x_len)?;
        check_length("weight", weight.len(), shape.weight_len)?;
        check_length("dy", dy.len(), shape.y_len)?;
        let mut gradients = Gradients {
            x: None,
            weight: None,
            bias: None,
        };
        if x_wanted == Wanted::Yes {
            let prologue = prologue.map(|prologue| (prologue, x));
            gradients.x = Some(self.input_gradient_on(Path::best(), dy, weight, prologue)?);
        }
        if weights_wanted == Wanted::Yes {
            gradients.weight = Some(self.weight_gradient_on(Path::best(), x, dy, prologue)?);
            gradients.bias = Some(self.bias_gradient(dy)?);
        }
        Ok(gradients)
    }

    fn forward_on<T: Float>(
        &self,
        path: Path,
        x: &[T],
        weight: &[T],
        prologue: Option<&Prologue<'_, T>>,
        epilogue: &Epilogue<'_, T>,
    ) -> Result<Vec<T>> {
        let shape = Shape::new(*self)?;
        check_length("x", x.len(), shape.x_len)?;
        check_length("weight", weight.len(), shape.weight_len)?;
        prologue.map_or(Ok(()), |prologue| prologue.check(&shape))?;
        epilogue.check(&shape)?;
        let around = (prologue, epilogue);
        // SAFETY: `forward` writes y in full.
        unsafe {
            written(shape.y_len, |y| {
                choice::forward(path, &shape, x, weight, around, y)
            })
        }
    }

    fn input_gradient_on<T: Float>(
        &self,
        path: Path,
        dy: &[T],
        weight: &[T],
        prologue: Option<(&Prologue<'_, T>, &[T])>,
    ) -> Result<Vec<T>> {
        let shape = Shape::new(*self)?;
        check_length("dy", dy.len(), shape.y_len)?;
        check_length("weight", weight.len(), shape.weight_len)?;
        prologue.map_or(Ok(()), |(prologue, _)| prologue.check(&shape))?;
        // SAFETY: `input_gradient` writes dx in full.
        unsafe {
            written(shape.x_len, |dx| {
                choice::input_gradient(path, &shape, dy, weight, prologue, dx)
            })
        }
    }

    fn weight_gradient_on<T: Float>(
        &self,
        path: Path,
        x: &[T],
        dy: &[T],
        prologue: Option<&Prologue<'_, T>>,
    ) -> Result<Vec<T>> {
        let shape = Shape::new(*self)?;
        check_length("x", x.len(), shape.x_len)?;
        check_length("dy", dy.len(), shape.y_len)?;
        prologue.map_or(Ok(()), |prologue| prologue.check(&shape))?;
        choice::weight_gradient(path, &shape, x, prologue, dy)
    }
}

#[cfg(test)]
mod cases;

#[cfg(test)]
#[path = "convolution/tests.rs"]
mod tests;
