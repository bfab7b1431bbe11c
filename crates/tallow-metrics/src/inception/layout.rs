//! The blocks of Inception-v3 under the names of pytorch-fid's state.
//!
//! Source: Szegedy et al. 2015, arXiv:1512.00567, table 1 and figures 5 to 7.

use candle_core::Device;

use crate::Result;
use crate::inception::layers::{Convolution, Step};
use crate::weights::Weights;

/// The first `parts` of the network's four parts, one step after the other.
pub(super) fn steps(weights: &Weights, parts: usize, device: &Device) -> Result<Vec<Step>> {
    let file = File { weights, device };
    let mut steps = file.first()?;
    if parts > 1 {
        steps.extend(file.second()?);
    }
    if parts > 2 {
        steps.extend(file.third()?);
    }
    if parts > 3 {
        steps.extend(file.fourth()?);
    }
    Ok(steps)
}

/// A block of the file: its tensors begin with its name.
struct Block<'a> {
    file: &'a File<'a>,
    name: &'a str,
    inputs: usize,
}

struct File<'a> {
    weights: &'a Weights,
    device: &'a Device,
}

impl File<'_> {
    fn convolution(&self, name: &str, shape: [usize; 4], stride: usize, padding: [usize; 2]) -> Result<Step> {
        let read = Convolution::read(self.weights, name, shape, stride, padding, self.device);
        read.map(Step::Convolution)
    }

    fn block<'a>(&'a self, name: &'a str, inputs: usize) -> Block<'a> {
        Block {
            file: self,
            name,
            inputs,
        }
    }

    fn first(&self) -> Result<Vec<Step>> {
        Ok(vec![
            self.convolution("Conv2d_1a_3x3", [32, 3, 3, 3], 2, [0, 0])?,
            self.convolution("Conv2d_2a_3x3", [32, 32, 3, 3], 1, [0, 0])?,
            self.convolution("Conv2d_2b_3x3", [64, 32, 3, 3], 1, [1, 1])?,
            Step::LargestOfEveryOther,
        ])
    }

    fn second(&self) -> Result<Vec<Step>> {
        Ok(vec![
            self.convolution("Conv2d_3b_1x1", [80, 64, 1, 1], 1, [0, 0])?,
            self.convolution("Conv2d_4a_3x3", [192, 80, 3, 3], 1, [0, 0])?,
            Step::LargestOfEveryOther,
        ])
    }

    fn third(&self) -> Result<Vec<Step>> {
        Ok(vec![
            self.block("Mixed_5b", 192).five(32)?,
            self.block("Mixed_5c", 256).five(64)?,
            self.block("Mixed_5d", 288).five(64)?,
            self.block("Mixed_6a", 288).to_six()?,
            self.block("Mixed_6b", 768).six(128)?,
            self.block("Mixed_6c", 768).six(160)?,
            self.block("Mixed_6d", 768).six(160)?,
            self.block("Mixed_6e", 768).six(192)?,
        ])
    }

    fn fourth(&self) -> Result<Vec<Step>> {
        Ok(vec![
            self.block("Mixed_7a", 768).to_seven()?,
            self.block("Mixed_7b", 1280).seven(Step::Mean)?,
            self.block("Mixed_7c", 2048).seven(Step::Largest)?,
        ])
    }
}

impl Block<'_> {
    /// A convolution that keeps the size.
    fn keep(&self, name: &str, inputs: usize, outputs: usize, [rows, columns]: [usize; 2]) -> Result<Step> {
        let name = format!("{}.{name}", self.name);
        let shape = [outputs, inputs, rows, columns];
        self.file.convolution(&name, shape, 1, [rows / 2, columns / 2])
    }

    /// A convolution of 3 × 3 at every other pixel.
    fn halve(&self, name: &str, inputs: usize, outputs: usize) -> Result<Step> {
        let name = format!("{}.{name}", self.name);
        self.file.convolution(&name, [outputs, inputs, 3, 3], 2, [0, 0])
    }

    /// A convolution of 1 × 1 of what comes into the block.
    fn mix(&self, name: &str, outputs: usize) -> Result<Step> {
        self.keep(name, self.inputs, outputs, [1, 1])
    }

    /// On 35 × 35 pixels.
    fn five(&self, pooled: usize) -> Result<Step> {
        Ok(Step::Branches(vec![
            vec![self.mix("branch1x1", 64)?],
            vec![
                self.mix("branch5x5_1", 48)?,
                self.keep("branch5x5_2", 48, 64, [5, 5])?,
            ],
            vec![
                self.mix("branch3x3dbl_1", 64)?,
                self.keep("branch3x3dbl_2", 64, 96, [3, 3])?,
                self.keep("branch3x3dbl_3", 96, 96, [3, 3])?,
            ],
            vec![Step::Mean, self.mix("branch_pool", pooled)?],
        ]))
    }

    /// From 35 × 35 to 17 × 17 pixels.
    fn to_six(&self) -> Result<Step> {
        Ok(Step::Branches(vec![
            vec![self.halve("branch3x3", self.inputs, 384)?],
            vec![
                self.mix("branch3x3dbl_1", 64)?,
                self.keep("branch3x3dbl_2", 64, 96, [3, 3])?,
                self.halve("branch3x3dbl_3", 96, 96)?,
            ],
            vec![Step::LargestOfEveryOther],
        ]))
    }

    /// On 17 × 17 pixels, through `inner` channels.
    fn six(&self, inner: usize) -> Result<Step> {
        Ok(Step::Branches(vec![
            vec![self.mix("branch1x1", 192)?],
            vec![
                self.mix("branch7x7_1", inner)?,
                self.keep("branch7x7_2", inner, inner, [1, 7])?,
                self.keep("branch7x7_3", inner, 192, [7, 1])?,
            ],
            vec![
                self.mix("branch7x7dbl_1", inner)?,
                self.keep("branch7x7dbl_2", inner, inner, [7, 1])?,
                self.keep("branch7x7dbl_3", inner, inner, [1, 7])?,
                self.keep("branch7x7dbl_4", inner, inner, [7, 1])?,
                self.keep("branch7x7dbl_5", inner, 192, [1, 7])?,
            ],
            vec![Step::Mean, self.mix("branch_pool", 192)?],
        ]))
    }

    /// From 17 × 17 to 8 × 8 pixels.
    fn to_seven(&self) -> Result<Step> {
        Ok(Step::Branches(vec![
            vec![
                self.mix("branch3x3_1", 192)?,
                self.halve("branch3x3_2", 192, 320)?,
            ],
            vec![
                self.mix("branch7x7x3_1", 192)?,
                self.keep("branch7x7x3_2", 192, 192, [1, 7])?,
                self.keep("branch7x7x3_3", 192, 192, [7, 1])?,
                self.halve("branch7x7x3_4", 192, 192)?,
            ],
            vec![Step::LargestOfEveryOther],
        ]))
    }

    /// On 8 × 8 pixels, with the block's own pool.
    fn seven(&self, pool: Step) -> Result<Step> {
        let fork = |name: &str| -> Result<Step> {
            Ok(Step::Branches(vec![
                vec![self.keep(&format!("{name}a"), 384, 384, [1, 3])?],
                vec![self.keep(&format!("{name}b"), 384, 384, [3, 1])?],
            ]))
        };
        Ok(Step::Branches(vec![
            vec![self.mix("branch1x1", 320)?],
            vec![self.mix("branch3x3_1", 384)?, fork("branch3x3_2")?],
            vec![
                self.mix("branch3x3dbl_1", 448)?,
                self.keep("branch3x3dbl_2", 448, 384, [3, 3])?,
                fork("branch3x3dbl_3")?,
            ],
            vec![pool, self.mix("branch_pool", 192)?],
        ]))
    }
}
