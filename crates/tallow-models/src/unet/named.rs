//! The U-Nets of the papers, and a small one.

use tallow_nn::{Injection, WaveOrder};

use super::{UNetClasses, UNetConfig, UNetMiddle, UNetResampling, UNetStart, UNetTime};
use crate::blocks::DownsamplePadding;

impl UNetConfig {
    /// DDPM's network for CIFAR-10: 35 746 307 parameters. Ho et al. 2020, arXiv:2006.11239, appendix B (dropout 0.1).
    #[must_use]
    pub fn ddpm_cifar10() -> Self {
        let mut config = Self::ddpm(32, &[128, 256, 256, 256]);
        config.attend(1);
        config.dropout = 0.1;
        config
    }

    /// DDPM's network for images of 256 × 256: 113 673 219 parameters. Ho et al. 2020, arXiv:2006.11239, appendix B (without
    /// dropout).
    #[must_use]
    pub fn ddpm_256() -> Self {
        let mut config = Self::ddpm(256, &[128, 128, 256, 256, 512, 512]);
        config.attend(4);
        config
    }

    /// ADM's network for ImageNet at 64 × 64: 296 million parameters. Dhariwal & Nichol 2021, arXiv:2105.05233, table 11
    /// (dropout 0.1).
    #[must_use]
    pub fn adm_imagenet64() -> Self {
        let mut config = Self::adm(64, &[192, 384, 576, 768], 3);
        (1..4).for_each(|level| config.attend(level));
        config.dropout = 0.1;
        config
    }

    /// ADM's network for ImageNet at 256 × 256: 554 million parameters. Dhariwal & Nichol 2021, arXiv:2105.05233, table 11.
    #[must_use]
    pub fn adm_imagenet256() -> Self {
        let mut config = Self::adm(256, &[256, 256, 512, 512, 1024, 1024], 2);
        (3..6).for_each(|level| config.attend(level));
        config
    }

    /// A network that trains on a CPU: three levels, the coarsest with attention, one residual block each down and two up.
    ///
    /// `size` is the side of the images, a multiple of 4; `classes` counts the labels, one for "none" included, 0 for an
    /// unconditional model.
    #[must_use]
    pub fn small(channels: usize, size: usize, classes: usize) -> Self {
        let mut config = Self {
            size: Some([size; 2]),
            blocks: 1,
            groups: 8,
            start: UNetStart::ZeroLast,
            ..Self::new(channels, &[16, 32, 64])
        };
        if classes > 0 {
            config.classes = UNetClasses::Table { count: classes };
        }
        config.attend(2);
        config
    }

    fn ddpm(size: usize, channels: &[usize]) -> Self {
        Self {
            size: Some([size; 2]),
            time: UNetTime::Sinusoidal {
                order: WaveOrder::SinesFirst,
                frequency_shift: 1.0,
            },
            epsilon: 1e-6,
            padding: DownsamplePadding::After,
            start: UNetStart::ZeroLast,
            ..Self::new(3, channels)
        }
    }

    fn adm(size: usize, channels: &[usize], blocks: usize) -> Self {
        let mut config = Self {
            outputs: 6,
            size: Some([size; 2]),
            blocks,
            middle: Some(UNetMiddle {
                groups: Some(32),
                ..UNetMiddle::default()
            }),
            classes: UNetClasses::Table { count: 1000 },
            injection: Injection::ScaleShift,
            head_width: Some(64),
            start: UNetStart::ZeroLast,
            ..Self::new(3, channels)
        };
        config.resample(UNetResampling::ResidualBlock);
        config
    }
}
