//! Folders of diffusers by name, from the Hugging Face Hub.
//!
//! Only what is read is fetched: configurations, and the safetensors of networks, never pickles, text encoders or pictures.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Repo, RepoType};

use crate::{Error, Result};

/// The folders of a pipeline whose networks are read; the first is the repository's own.
const NETWORKS: [&str; 4] = ["", "unet/", "transformer/", "vae/"];

/// Fetches the files that [`diffusers`](crate::diffusers) reads of a repository, such as `google/ddpm-cifar10-32`, at a
/// revision: a branch, a tag or a commit. The folder that comes back lies in the cache of Hugging Face's tools, and what is
/// there already is not fetched again.
///
/// The variables `HF_HOME`, `HF_ENDPOINT` and the token of these tools are heeded.
///
/// # Errors
///
/// When the Hub cannot be reached, does not know the repository or a file, or the repository holds no network as
/// safetensors.
pub fn fetch(name: &str, revision: &str) -> Result<PathBuf> {
    from(ApiBuilder::from_env(), name, revision)
}

/// [`fetch`] from another server with the same interface, into a cache of one's own.
///
/// # Errors
///
/// Those of [`fetch`].
pub fn fetch_from(endpoint: &str, cache: impl AsRef<Path>, name: &str, revision: &str) -> Result<PathBuf> {
    let builder = ApiBuilder::from_env().with_endpoint(endpoint.to_owned());
    from(builder.with_cache_dir(cache.as_ref().to_owned()), name, revision)
}

fn from(builder: ApiBuilder, name: &str, revision: &str) -> Result<PathBuf> {
    let repository = format!("{name} at {revision}");
    let refuse = |file: &str, source: ApiError| Error::Hub {
        file: file.to_owned(),
        repository: repository.clone(),
        source: Box::new(source),
    };
    let api = builder.with_progress(false).build();
    let repo = Repo::with_revision(name.to_owned(), RepoType::Model, revision.to_owned());
    let repo = api
        .map_err(|error| refuse("the list of files", error))?
        .repo(repo);
    let listed = repo.info().map_err(|error| refuse("the list of files", error))?;
    let listed: BTreeSet<String> = listed.siblings.into_iter().map(|file| file.rfilename).collect();
    let needed = needed(&listed).map_err(|problem| Error::Folder {
        path: PathBuf::from(&repository),
        problem,
    })?;
    all(&repo, &needed).map_err(|(file, error)| refuse(&file, error))
}

/// Fetches every file, and answers the folder that the first one's path leads up to.
fn all(repo: &ApiRepo, needed: &[String]) -> std::result::Result<PathBuf, (String, ApiError)> {
    let mut root = PathBuf::new();
    for file in needed {
        let path = repo.get(file).map_err(|error| (file.clone(), error))?;
        let depth = file.split('/').count();
        root = path.ancestors().nth(depth).unwrap_or(&path).to_owned();
    }
    Ok(root)
}

/// The files to fetch of those that a repository has, or why there are none.
fn needed(listed: &BTreeSet<String>) -> std::result::Result<Vec<String>, String> {
    let has = |name: &str| listed.contains(name).then(|| name.to_owned());
    let mut needed = Vec::new();
    needed.extend(has("model_index.json"));
    needed.extend(has("scheduler_config.json"));
    needed.extend(has("scheduler/scheduler_config.json"));
    let mut networks = 0;
    for folder in NETWORKS {
        let Some(config) = has(&format!("{folder}config.json")) else {
            continue;
        };
        let tensors = tensors(listed, folder);
        if tensors.is_empty() {
            return Err(format!(
                "holds no safetensors beside {config}: load it in diffusers once, write it with \
                 `save_pretrained(safe_serialization=True)`, and read that folder"
            ));
        }
        networks += 1;
        needed.push(config);
        needed.extend(tensors);
    }
    match networks {
        0 => Err(
            "holds no network of diffusers: neither config.json nor unet/, transformer/ or vae/ with one"
                .to_owned(),
        ),
        _ => Ok(needed),
    }
}

/// The tensors of a folder: in one file, or in several with their index.
fn tensors(listed: &BTreeSet<String>, folder: &str) -> Vec<String> {
    for stem in ["diffusion_pytorch_model", "model"] {
        let single = format!("{folder}{stem}.safetensors");
        if listed.contains(&single) {
            return vec![single];
        }
        let index = format!("{folder}{stem}.safetensors.index.json");
        if listed.contains(&index) {
            let part = |file: &&String| {
                let rest = file.strip_prefix(&format!("{folder}{stem}-"));
                rest.is_some_and(|rest| rest.ends_with(".safetensors") && !rest.contains('/'))
            };
            return std::iter::once(index)
                .chain(listed.iter().filter(part).cloned())
                .collect();
        }
    }
    Vec::new()
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
