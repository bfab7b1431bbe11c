//! The U-Net of the comparison: three resolutions of a 28 × 28 image, one residual block each way, no attention.

use candle_core::{Result, Tensor};
use tallow::denoisers::{Call, Network};
use tallow::nn::{
    Conv2d, Conv2dConfig, Interpolation, Linear, ResidualBlock, ResidualBlockConfig, Resize, Scope,
    join_channels,
};

/// Channels c, 2c, 2c at 28, 14 and 7; what goes up takes what came down beside it.
#[derive(Debug)]
pub(crate) struct UNet {
    time: Linear,
    stem: Conv2d,
    down1: ResidualBlock,
    shrink1: Conv2d,
    down2: ResidualBlock,
    shrink2: Conv2d,
    mid: ResidualBlock,
    up2: ResidualBlock,
    up1: ResidualBlock,
    head: Conv2d,
}

impl UNet {
    /// With `c` channels at the first resolution.
    ///
    /// # Errors
    ///
    /// When a parameter exists already or does not fit.
    pub(crate) fn new(scope: &Scope<'_>, c: usize) -> tallow::nn::Result<Self> {
        let block = |name: &str, inputs, outputs| {
            let config = ResidualBlockConfig {
                groups: 8,
                ..ResidualBlockConfig::new(inputs, outputs, 4 * c)
            };
            ResidualBlock::new(&scope.at(name), config)
        };
        let same = Conv2dConfig::same([3, 3]);
        let conv = |name: &str, inputs, outputs, config| {
            Conv2d::new(&scope.at(name), inputs, outputs, [3, 3], config)
        };
        Ok(Self {
            time: Linear::new(&scope.at("time"), 1, 4 * c)?,
            stem: conv("stem", 1, c, same)?,
            down1: block("down1", c, c)?,
            shrink1: conv("shrink1", c, 2 * c, same.strided([2, 2]))?,
            down2: block("down2", 2 * c, 2 * c)?,
            shrink2: conv("shrink2", 2 * c, 2 * c, same.strided([2, 2]))?,
            mid: block("mid", 2 * c, 2 * c)?,
            up2: block("up2", 4 * c, 2 * c)?,
            up1: block("up1", 3 * c, c)?,
            head: conv("head", c, 1, same)?,
        })
    }
}

impl Network for UNet {
    fn forward(&self, call: &Call<'_>) -> Result<Tensor> {
        let t = self
            .time
            .forward(&call.time()?.to_dtype(call.x.dtype())?.unsqueeze(1)?)?;
        let h1 = self.down1.forward(&self.stem.forward(call.x)?, &t)?;
        let h2 = self.down2.forward(&self.shrink1.forward(&h1)?, &t)?;
        let h = self.mid.forward(&self.shrink2.forward(&h2)?, &t)?;
        let h = self.up2.forward(&beside(&h, &h2)?, &t)?;
        let h = self.up1.forward(&beside(&h, &h1)?, &t)?;
        Ok(self.head.forward(&h)?)
    }
}

/// `h` at the size of `skip`, and `skip` beside it.
fn beside(h: &Tensor, skip: &Tensor) -> Result<Tensor> {
    let (_, _, height, width) = skip.dims4()?;
    let grown = Resize::to([height, width], Interpolation::Nearest).forward(h)?;
    Ok(join_channels(&grown, skip)?)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use tallow::nn::Parameters;

    use super::*;

    #[test]
    fn it_has_as_many_parameters_as_the_other_side() {
        let parameters = Parameters::new(0, DType::F32, &Device::Cpu);
        UNet::new(&parameters.scope(), 32).unwrap();
        assert_eq!(parameters.count(), 415_809);
    }
}
