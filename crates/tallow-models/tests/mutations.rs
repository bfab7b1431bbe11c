//! The readers of configurations under 200,000 mutations of small ones: no panic, no loop, no memory beyond a bound.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;

use tallow_models::diffusers::{Pretrained, fuzzing};
use tallow_models::dit::TimeWaves;
use tallow_models::{AutoencoderKl, AutoencoderKlConfig, Dit, DitConfig, UNet, UNetConfig};

const EXECUTIONS: usize = 200_000;
/// Tables have 100,000 entries at most, plans of the target sixteen thousand numbers.
const MAX_BYTES: usize = 32 << 20;

#[global_allocator]
static ALLOCATOR: tallow_allocations::Counted = tallow_allocations::Counted;

/// Steele, Lea & Flood 2014 (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let dit = DitConfig {
        width: 4,
        heads: 1,
        depth: 1,
        time: TimeWaves::diffusers(),
        ..DitConfig::small(8, 3)
    };
    let unet = UNetConfig {
        groups: 4,
        ..UNetConfig::new(1, &[4, 4])
    };
    let schedulers = [
        r#"{"_class_name": "DDPMScheduler", "num_train_timesteps": 20, "beta_schedule": "linear", "variance_type": "fixed_small"}"#,
        r#"{"_class_name": "DPMSolverMultistepScheduler", "num_train_timesteps": 50, "beta_schedule": "squaredcos_cap_v2",
            "lambda_min_clipped": -Infinity, "use_karras_sigmas": true, "timestep_spacing": "trailing", "steps_offset": 1}"#,
        r#"{"_class_name": "DDIMScheduler", "num_train_timesteps": 8, "trained_betas": [0.1, 0.2, 0.3, 0.1, 0.1, 0.1, 0.1, 0.1], "thresholding": true,
            "rescale_betas_zero_snr": true, "prediction_type": "v_prediction", "sample_max_value": 2.0}"#,
        r#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0, "use_dynamic_shifting": true, "base_shift": 0.5}"#,
    ];
    let autoencoder = AutoencoderKlConfig {
        groups: 4,
        size: Some([8, 8]),
        ..AutoencoderKlConfig::new(1, 2, &[4])
    };
    let networks = [
        Dit::to_config(&dit).unwrap(),
        UNet::to_config(&unet).unwrap(),
        AutoencoderKl::to_config(&autoencoder).unwrap(),
    ];
    let networks = networks.iter().map(ToString::to_string);
    let texts = schedulers.iter().map(|&text| text.to_owned()).chain(networks);
    texts.map(String::into_bytes).collect()
}

const WORDS: [&[u8]; 22] = [
    b"0",
    b"1",
    b"7",
    b"18446744073709551615",
    b"4294967296",
    b"-1",
    b"1e999",
    b"1e-300",
    b"NaN",
    b"-Infinity",
    b"null",
    b"true",
    b"false",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\"",
    b",",
    b"[[[[[[[[",
    b"\"sample\"",
    b"\xff",
];

/// Changes some of the bytes, or the value of a key.
fn mutate(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..1 + numbers.below(3) {
        let place = numbers.below(bytes.len() + 1);
        let end = bytes.len().min(place + numbers.below(12));
        let word = WORDS[numbers.below(WORDS.len())];
        match numbers.below(6) {
            0 if place < bytes.len() => bytes[place] ^= 1 << numbers.below(8),
            1 => drop(bytes.drain(place..end)),
            2 => drop(bytes.splice(place..end, word.iter().copied())),
            3 => drop(bytes.splice(place..place, word.iter().copied())),
            _ => {
                let colons: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at] == b':').collect();
                let Some(&colon) = colons.get(numbers.below(colons.len())) else {
                    continue;
                };
                let rest = &bytes[colon + 1..];
                let length = rest
                    .iter()
                    .position(|byte| matches!(byte, b',' | b'}'))
                    .unwrap_or(rest.len());
                drop(bytes.splice(colon + 1..colon + 1 + length, word.iter().copied()));
            }
        }
    }
}

#[test]
fn no_bytes_disturb_the_readers_of_configurations() {
    let seeds = seeds();
    for seed in &seeds {
        assert_eq!(
            fuzzing::configuration(seed),
            Ok(()),
            "{}",
            String::from_utf8_lossy(seed)
        );
    }
    let mut numbers = Numbers(1);
    let mut census: BTreeMap<&str, usize> = BTreeMap::new();
    for execution in 0..EXECUTIONS {
        let mut bytes = seeds[execution % seeds.len()].clone();
        mutate(&mut bytes, &mut numbers);
        let mut outcome = Ok(());
        let peak = tallow_allocations::peak(|| outcome = fuzzing::configuration(&bytes));
        assert!(
            peak <= MAX_BYTES,
            "{peak} bytes for {}",
            String::from_utf8_lossy(&bytes)
        );
        let reason = match &outcome {
            Ok(()) => "read",
            Err(words) if words.contains("cannot be built") => "key",
            Err(words) if words.contains("line") => "text",
            Err(_) => "size",
        };
        *census.entry(reason).or_default() += 1;
    }
    println!("{census:?}");
    assert!(
        ["read", "key", "text", "size"]
            .iter()
            .all(|reason| census[reason] > 500),
        "{census:?}"
    );
}
