//! The network learns, its weights survive a file, and its average samples without a graph.

use candle_core::{DType, Device};
use own_network::{Bars, data};
use tallow_nn::{AdamW, AdamWConfig, Ema, EmaDecay, Parameters};

#[test]
fn a_network_of_ones_own_learns_and_is_read_back() -> Result<(), Box<dyn std::error::Error>> {
    let parameters = Parameters::new(7, DType::F32, &Device::Cpu);
    let network = Bars::new(&parameters.scope())?;
    let config = AdamWConfig {
        learning_rate: 1e-2,
        ..AdamWConfig::default()
    };
    let mut optimizer = AdamW::new(&parameters, config)?;
    let mut average = Ema::new(&parameters, EmaDecay::WarmUp(0.9))?;
    let (images, answers) = data()?;
    for _ in 0..60 {
        let loss = (network.forward(&images)? - &answers)?.sqr()?.mean_all()?;
        optimizer.backward_step(&loss)?;
        average.update()?;
    }
    let averaged = Bars::new(&average.detached().scope())?;
    for network in [&network, &averaged] {
        let right = (network.forward(&images)? * &answers)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        assert!(right.iter().all(|product| *product > 0.5), "{right:?}");
    }
    let path = std::env::temp_dir().join(format!("own-network-{}.safetensors", std::process::id()));
    parameters.save(&path, "{}")?;
    let other = Parameters::new(8, DType::F32, &Device::Cpu);
    let read = Bars::new(&other.scope())?;
    other.load(&path)?;
    std::fs::remove_file(&path)?;
    let of = |network: &Bars| -> Result<Vec<f32>, Box<dyn std::error::Error>> {
        Ok(network.forward(&images)?.flatten_all()?.to_vec1()?)
    };
    assert_eq!(of(&read)?, of(&network)?);
    Ok(())
}
