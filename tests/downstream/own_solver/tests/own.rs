//! The solver obeys the laws of the catalogue's; the network learns a cloud and is sampled by both.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use own_solver::{Ralston, TwoLayers};
use tallow_solvers::denoisers::{Noise, Parameterization, Seeded};
use tallow_solvers::schedules::{RectifiedFlow, TimeGrid};
use tallow_solvers::{Claim, Sampler, by_name, start, testing};

#[test]
fn ralstons_method_passes_the_checks_of_the_testing_module() {
    let report = testing::check(&Ralston::default(), Claim::Order(2.0));
    assert!(report.passed(), "{report}");
}

#[test]
fn a_wrong_claim_is_found() {
    assert!(!testing::check(&Ralston::default(), Claim::Order(3.0)).passed());
}

const CENTRE: [f32; 2] = [1.0, -0.5];
const SPREAD: f64 = 0.3;

#[test]
fn a_network_of_ones_own_is_trained_and_sampled() -> Result<(), Box<dyn std::error::Error>> {
    let network = TwoLayers::new(24)?;
    let mut noise = Seeded::new(1);
    let like = Tensor::zeros((256, 2), DType::F32, &Device::Cpu)?;
    let centre = Tensor::new(&[CENTRE], &Device::Cpu)?;
    for _ in 0..600 {
        let x0 = (noise.fresh(&like)? * SPREAD)?.broadcast_add(&centre)?;
        let x1 = noise.fresh(&like)?;
        // Times are spread evenly: the batch is large, and its order random.
        let times: Vec<f32> = (0..256).map(|row| (row as f32 + 0.5) / 256.0).collect();
        let times = Tensor::new(times, &Device::Cpu)?;
        let t = times.unsqueeze(1)?;
        let x = (x0.broadcast_mul(&(1.0 - &t)?)? + x1.broadcast_mul(&t)?)?;
        let loss = (network.velocity(&x, &times)? - (x1 - x0)?)?.sqr()?.mean_all()?;
        network.descend(&loss, 0.2)?;
    }
    let model = Parameterization::flow_matching().denoiser(network);
    let grid = TimeGrid::uniform(Arc::new(RectifiedFlow::default()), 20)?;
    for sampler in [
        Box::new(Ralston::default()) as Box<dyn Sampler>,
        by_name("dpmpp_2m")?,
    ] {
        let mut noise = Seeded::new(2);
        let x = start(&grid, (2000, 2), DType::F32, &Device::Cpu, &mut noise)?;
        let samples = sampler.sample(&model, &grid, &x, &mut noise)?;
        let mean = samples.mean(0)?.to_vec1::<f32>()?;
        for (mean, centre) in mean.iter().zip(CENTRE) {
            assert!(
                (mean - centre).abs() < 0.1,
                "{sampler:?}: mean {mean}, centre {centre}"
            );
        }
        let spread = samples
            .broadcast_sub(&samples.mean_keepdim(0)?)?
            .sqr()?
            .mean_all()?
            .to_scalar::<f32>()?
            .sqrt();
        assert!(
            (f64::from(spread) - SPREAD).abs() < 0.15,
            "{sampler:?}: spread {spread}"
        );
    }
    Ok(())
}
