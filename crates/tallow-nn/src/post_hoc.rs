//! Averages of any width after training: snapshots of two power-function averages, combined.
//!
//! ```text
//! s(γ, t) ≈ Σ wᵢ s(γᵢ, tᵢ)/Σ wᵢ          w from the profiles alone
//! ```
//!
//! The sum is divided by that of the weights, so that a parameter which never moved comes out as it was. Source: Karras et
//! al. 2024, arXiv:2312.02696, section 3.2.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use serde_json::{Value, json};

use crate::ema::Ema;
use crate::ema_decay::EmaDecay;
use crate::error::{Error, Result};
use crate::parameters::{Parameters, check_same};
use crate::power_profile::{PowerProfile, ProfileFit, gamma_of_sigma_rel};
use crate::tensor_file::{read_note, read_tensors, write_tensors};

/// Power-function averages of a set of parameters whose snapshots give averages of other widths.
///
/// Source: Karras et al. 2024, arXiv:2312.02696, section 3.2.
///
/// ```
/// # use candle_core::{DType, Device};
/// # use tallow_nn::{Linear, Parameters, PostHocEma, PowerProfile, reconstruct};
/// # let folder = tempfile::tempdir().map_err(candle_core::Error::wrap)?;
/// # let folder = folder.path();
/// let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
/// let linear = Linear::new(&parameters.scope(), 2, 1)?;
/// let mut averages = PostHocEma::new(&parameters, &[0.05, 0.10])?;
/// let mut files = Vec::new();
/// for step in 1..=40 {
///     // … a step of the optimiser …
///     averages.update()?;
///     if step % 10 == 0 {
///         files.extend(averages.save(folder)?);
///     }
/// }
/// let weights = reconstruct(&files, PowerProfile::of_width(0.15, 40.0)?)?;
/// assert!(weights.contains_key("weight"));
/// # Ok::<(), tallow_nn::Error>(())
/// ```
#[derive(Debug)]
pub struct PostHocEma {
    averages: Vec<Ema>,
    gammas: Vec<f64>,
}

impl PostHocEma {
    /// Averages of the relative widths `sigma_rels`, as parts of the training so far; EDM2 takes 0.05 and 0.10.
    ///
    /// # Errors
    ///
    /// When a width is outside (0, 1/√12], or a tensor cannot be copied.
    pub fn new(parameters: &Parameters, sigma_rels: &[f64]) -> Result<Self> {
        let gammas: Vec<f64> = sigma_rels
            .iter()
            .map(|&width| gamma_of_sigma_rel(width))
            .collect::<Result<_>>()?;
        let of = |&gamma: &f64| Ema::new(parameters, EmaDecay::Power { gamma });
        let averages = gammas.iter().map(of).collect::<Result<_>>()?;
        Ok(Self { averages, gammas })
    }

    /// Moves the averages towards the parameters: once after every step of the optimiser.
    ///
    /// # Errors
    ///
    /// When a parameter is not finite; nothing is then changed.
    pub fn update(&mut self) -> Result<()> {
        // All follow the same parameters.
        if let Some(average) = self.averages.first() {
            average.check_finite()?;
        }
        self.averages.iter_mut().try_for_each(Ema::advance)
    }

    /// The averages, in the order of their widths when built.
    #[must_use]
    pub fn averages(&self) -> &[Ema] {
        &self.averages
    }

    /// How many updates have been made.
    #[must_use]
    pub fn updates(&self) -> u64 {
        self.averages.first().map_or(0, Ema::updates)
    }

    /// Writes a snapshot of each average to `folder`, as `average-INDEX-UPDATES.safetensors` with γ and the number of
    /// updates in its metadata; returns the paths.
    ///
    /// # Errors
    ///
    /// When no update has been made, or a file cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
        let updates = self.updates();
        let mut paths = Vec::with_capacity(self.averages.len());
        for (index, (average, &gamma)) in self.averages.iter().zip(&self.gammas).enumerate() {
            PowerProfile::new(gamma, updates as f64)?;
            let path = folder
                .as_ref()
                .join(format!("average-{index}-{updates:010}.safetensors"));
            let note = json!({"gamma": gamma, "updates": updates}).to_string();
            write_tensors(&path, average.detached().tensors(), &note)?;
            paths.push(path);
        }
        Ok(paths)
    }

    /// A deep copy of all averages, each parameter's name after the average's index: `0.net.weight`; with
    /// [`updates`](Self::updates) it is the whole state.
    ///
    /// # Errors
    ///
    /// When a tensor cannot be copied.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = BTreeMap::new();
        for (index, average) in self.averages.iter().enumerate() {
            let tensors = average.state()?.into_iter();
            state.extend(tensors.map(|(name, tensor)| (format!("{index}.{name}"), tensor)));
        }
        Ok(state)
    }

    /// Goes on from a [`state`](Self::state) after `updates` updates: all of it, or nothing is changed.
    ///
    /// # Errors
    ///
    /// When names or shapes differ; the error lists every difference.
    pub fn restore(&mut self, state: &BTreeMap<String, Tensor>, updates: u64) -> Result<()> {
        let here = self.state()?;
        let wanted = here.iter().map(|(name, tensor)| (name.as_str(), tensor.shape()));
        check_same("the state of the averages", wanted, state)?;
        for (index, average) in self.averages.iter_mut().enumerate() {
            let prefix = format!("{index}.");
            let own = state
                .iter()
                .filter_map(|(name, tensor)| Some((name.strip_prefix(&prefix)?.to_string(), tensor.clone())));
            average.restore(&own.collect(), updates)?;
        }
        Ok(())
    }
}

/// The average of profile `want`, made up of the snapshots in `files`, which [`PostHocEma::save`] wrote.
///
/// Sums in f64, one file in memory at a time; the tensors have the type of the snapshots. [`ProfileFit`] tells beforehand
/// how near the snapshots come; between their times, it takes many of them.
///
/// Source: Karras et al. 2024, arXiv:2312.02696, section 3.2.
///
/// # Errors
///
/// When a file cannot be read, is no snapshot or has other parameters than the first; when `want` is later than all
/// snapshots; or when two snapshots have nearly the same profile.
pub fn reconstruct(files: &[impl AsRef<Path>], want: PowerProfile) -> Result<BTreeMap<String, Tensor>> {
    let profiles: Vec<_> = files.iter().map(snapshot_profile).collect::<Result<_>>()?;
    let weights = ProfileFit::new(&profiles, want)?.weights;
    let total: f64 = weights.iter().sum();
    if !(total > 0.1) {
        return Err(Error::Setting {
            name: "the sum of the weights of the snapshots",
            value: total,
            allowed: "more than 0.1: take snapshots nearer to the wanted time and width",
        });
    }
    let mut sums: BTreeMap<String, Tensor> = BTreeMap::new();
    let mut types: BTreeMap<String, DType> = BTreeMap::new();
    for (file, weight) in files.iter().zip(weights) {
        let (tensors, _) = read_tensors(file)?;
        if sums.is_empty() {
            types = tensors
                .iter()
                .map(|(name, tensor)| (name.clone(), tensor.dtype()))
                .collect();
        } else {
            let wanted = sums.iter().map(|(name, sum)| (name.as_str(), sum.shape()));
            check_same(&file.as_ref().display().to_string(), wanted, &tensors)?;
        }
        for (name, tensor) in tensors {
            let part = (tensor.to_dtype(DType::F64)? * (weight / total))?;
            let sum = match sums.remove(&name) {
                Some(sum) => (sum + part)?,
                None => part,
            };
            sums.insert(name, sum);
        }
    }
    sums.into_iter()
        .map(|(name, sum)| {
            let dtype = types.get(&name).copied().unwrap_or(DType::F32);
            Ok((name, sum.to_dtype(dtype)?))
        })
        .collect()
}

/// The profile of a snapshot that [`PostHocEma::save`] wrote; reads no tensor.
///
/// # Errors
///
/// When the file cannot be read or says no profile.
pub fn snapshot_profile(file: impl AsRef<Path>) -> Result<PowerProfile> {
    let path = file.as_ref();
    let note = read_note(path)?;
    let numbers = || {
        let note: Value = serde_json::from_str(&note).ok()?;
        Some((note.get("gamma")?.as_f64()?, note.get("updates")?.as_f64()?))
    };
    let Some((gamma, updates)) = numbers() else {
        return Err(Error::NotASnapshot {
            path: path.to_path_buf(),
        });
    };
    PowerProfile::new(gamma, updates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;
    use candle_core::Device;

    /// Parameters that move, and the averages that follow; `see` is called after each update.
    fn run(updates: u64, widths: &[f64], mut see: impl FnMut(u64, &PostHocEma)) {
        let parameters = Parameters::new(1, DType::F64, &Device::Cpu);
        parameters.scope().parameter("p", 2, Init::ZEROS).unwrap();
        parameters.scope().parameter("still", 1, Init::ONES).unwrap();
        let mut averages = PostHocEma::new(&parameters, widths).unwrap();
        for n in 1..=updates {
            let x = n as f64 / 100.0;
            let value = Tensor::new(&[x.sin(), x * x], &Device::Cpu).unwrap();
            parameters.variable("p").unwrap().set(&value).unwrap();
            averages.update().unwrap();
            see(n, &averages);
        }
    }

    fn values(tensor: &Tensor) -> Vec<f64> {
        tensor.to_vec1().unwrap()
    }

    #[test]
    fn a_width_that_was_not_kept_is_reconstructed() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        run(400, &[0.05, 0.10], |n, averages| {
            if n % 20 == 0 {
                files.extend(averages.save(folder.path()).unwrap());
            }
        });
        for (width, end) in [(0.15, 400), (0.08, 400), (0.07, 310)] {
            let mut kept = Vec::new();
            run(end, &[width], |_, averages| {
                kept = values(&averages.averages()[0].state().unwrap()["p"]);
            });
            let want = PowerProfile::of_width(width, end as f64).unwrap();
            let made = reconstruct(&files, want).unwrap();
            for (a, b) in values(&made["p"]).iter().zip(&kept) {
                assert!((a - b).abs() < 3e-3 * b.abs().max(1.0), "{width} {end}: {a} {b}");
            }
            assert!((values(&made["still"])[0] - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn a_snapshot_is_reconstructed_as_itself() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        let mut wanted = Vec::new();
        run(60, &[0.05, 0.10], |n, averages| {
            if n % 20 == 0 {
                files.extend(averages.save(folder.path()).unwrap());
            }
            if n == 40 {
                wanted = values(&averages.averages()[1].state().unwrap()["p"]);
            }
        });
        let made = reconstruct(&files, PowerProfile::of_width(0.10, 40.0).unwrap()).unwrap();
        for (a, b) in values(&made["p"]).iter().zip(&wanted) {
            assert!((a - b).abs() < 1e-13);
        }
    }

    #[test]
    fn restored_averages_go_on_bit_for_bit() {
        let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
        let p = parameters.scope().parameter("p", 50, Init::ONES).unwrap();
        let go = |averages: &mut PostHocEma, n: u32| {
            for k in 0..n {
                let value = (p.ones_like().unwrap() * f64::from(k).sin()).unwrap();
                parameters.variable("p").unwrap().set(&value).unwrap();
                averages.update().unwrap();
            }
        };
        let mut first = PostHocEma::new(&parameters, &[0.05, 0.10]).unwrap();
        go(&mut first, 5);
        let state = first.state().unwrap();
        let mut second = PostHocEma::new(&parameters, &[0.05, 0.10]).unwrap();
        second.restore(&state, first.updates()).unwrap();
        go(&mut first, 5);
        go(&mut second, 5);
        let read = |averages: &PostHocEma| {
            let state = averages.state().unwrap();
            ["0.p", "1.p"].map(|name| state[name].to_vec1::<f32>().unwrap())
        };
        assert_eq!(read(&first), read(&second));
        assert_eq!(second.updates(), 10);
        assert!(second.restore(&BTreeMap::new(), 0).is_err());
    }

    #[test]
    fn files_that_are_no_snapshots_are_refused_with_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plain.safetensors");
        write_tensors(&path, &BTreeMap::new(), "").unwrap();
        let want = PowerProfile::new(1.0, 1.0).unwrap();
        let error = reconstruct(&[&path], want).unwrap_err();
        assert!(error.to_string().contains("plain.safetensors"), "{error}");
        assert!(reconstruct(&[folder.path().join("none")], want).is_err());
    }
}
