//! The diffusion transformer of the side-by-side benchmark: 28 × 28 pixels in 4 × 4 patches, width 128, six blocks of
//! four heads, the norms modulated by the time; 1 841 296 parameters.

use candle_core::{Result, Tensor};
use tallow::denoisers::{Call, Network};
use tallow::nn::{
    Activation, Init, LayerNorm, Linear, Modulation, Scope, TransformerBlock, TransformerBlockConfig,
    activate, add_positions,
};

const SIDE: usize = 28;
const PATCH: usize = 4;
const PATCHES: usize = SIDE / PATCH;
const TOKENS: usize = PATCHES * PATCHES;
const WIDTH: usize = 128;
const DEPTH: usize = 6;
const HEADS: usize = 4;

/// Images (B, 1, 28, 28) and times to velocities of the images' shape.
#[derive(Debug)]
pub(crate) struct Dit {
    patch: Linear,
    position: Tensor,
    time: [Linear; 2],
    blocks: Vec<(Linear, TransformerBlock)>,
    last: (Linear, LayerNorm),
    out: Linear,
}

impl Dit {
    /// A network whose parameters are those of `scope`.
    ///
    /// # Errors
    ///
    /// Those of [`Scope::parameter`].
    pub(crate) fn new(scope: &Scope<'_>) -> tallow::nn::Result<Self> {
        let linear = |name: &str, inputs, outputs| Linear::new(&scope.at(name), inputs, outputs);
        let config = TransformerBlockConfig::new(WIDTH, HEADS);
        let block = |index: usize| {
            let scope = scope.at("blocks").at(index);
            let modulation = Linear::new(&scope.at("ada"), WIDTH, 6 * WIDTH)?;
            Ok((modulation, TransformerBlock::new(&scope, config)?))
        };
        Ok(Self {
            patch: linear("patch", PATCH * PATCH, WIDTH)?,
            position: scope.parameter("pos", (1, TOKENS, WIDTH), Init::Normal { std: 0.02 })?,
            time: [
                linear("time.0", 1, WIDTH)?.activated(Activation::Silu),
                linear("time.2", WIDTH, WIDTH)?,
            ],
            blocks: (0..DEPTH).map(block).collect::<tallow::nn::Result<_>>()?,
            last: (
                linear("ada", WIDTH, 2 * WIDTH)?,
                LayerNorm::without_affine(&scope.at("norm"), WIDTH)?,
            ),
            out: linear("out", WIDTH, PATCH * PATCH)?,
        })
    }

    fn velocity(&self, x: &Tensor, times: &Tensor) -> tallow::nn::Result<Tensor> {
        let batch = x.dim(0)?;
        let [first, second] = &self.time;
        let condition = second.forward(&first.forward(&times.unsqueeze(1)?)?)?;
        let condition = activate(&condition, Activation::Silu)?;
        let patches = x.reshape((batch, PATCHES, PATCH, PATCHES, PATCH))?;
        let patches = patches
            .permute((0, 1, 3, 2, 4))?
            .reshape((batch, TOKENS, PATCH * PATCH))?;
        let mut h = add_positions(&self.patch.forward(&patches)?, &self.position)?;
        for (modulation, block) in &self.blocks {
            h = block.forward(&h, &modulation.forward(&condition)?)?;
        }
        let (modulation, norm) = &self.last;
        let modulation = Modulation::scale_then_shift(&modulation.forward(&condition)?, 0);
        let patches = self.out.forward(&norm.forward_with(&h, &modulation)?)?;
        let patches = patches.reshape((batch, PATCHES, PATCHES, PATCH, PATCH))?;
        Ok(patches
            .permute((0, 1, 3, 2, 4))?
            .reshape((batch, 1, SIDE, SIDE))?)
    }
}

impl Network for Dit {
    fn forward(&self, call: &Call<'_>) -> Result<Tensor> {
        Ok(self.velocity(call.x, call.time()?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use tallow::nn::Parameters;

    #[test]
    #[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
    fn it_has_the_parameters_of_pytorchs_and_all_have_a_gradient() {
        let parameters = Parameters::new(0, DType::F32, &Device::Cpu);
        let dit = Dit::new(&parameters.scope()).unwrap();
        let count: usize = parameters
            .named()
            .iter()
            .map(|(_, variable)| variable.elem_count())
            .sum();
        assert_eq!(count, 1_841_296);
        let x = Tensor::ones((2, 1, SIDE, SIDE), DType::F32, &Device::Cpu).unwrap();
        let times = Tensor::new(&[0.1f32, 0.7], &Device::Cpu).unwrap();
        let y = dit.velocity(&x, &times).unwrap();
        assert_eq!(y.dims(), x.dims());
        let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        for (name, variable) in parameters.named() {
            assert!(gradients.get(&variable).is_some(), "{name}");
        }
    }
}
