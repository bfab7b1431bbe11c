//! The laws of fetching, on a server that answers as the Hub does.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use super::*;

fn listed(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn only_what_is_read_is_needed() {
    let pipeline = listed(&[
        "README.md",
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "transformer/config.json",
        "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
        "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
        "transformer/diffusion_pytorch_model.safetensors.index.json",
        "vae/config.json",
        "vae/diffusion_pytorch_model.bin",
        "vae/diffusion_pytorch_model.safetensors",
    ]);
    let needed = needed(&pipeline).unwrap();
    assert_eq!(needed.len(), 8, "{needed:?}");
    assert!(
        needed
            .iter()
            .all(|file| !file.ends_with(".bin") && !file.starts_with("text"))
    );
}

#[test]
fn a_repository_without_safetensors_says_the_way_out() {
    let pickled = listed(&[
        "transformer/config.json",
        "transformer/diffusion_pytorch_model.bin",
    ]);
    assert!(needed(&pickled).unwrap_err().contains("save_pretrained"));
    assert!(
        needed(&listed(&["README.md"]))
            .unwrap_err()
            .contains("no network")
    );
}

const COMMIT: &str = "0123456789012345678901234567890123456789";

/// Answers every request with one of the files, until the test ends; the address it listens at.
fn server(files: BTreeMap<&'static str, &'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let files = Arc::new(files);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let files = files.clone();
            std::thread::spawn(move || answer(stream.unwrap(), &files));
        }
    });
    address
}

fn answer(mut stream: TcpStream, files: &BTreeMap<&str, &str>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let request = lines.next().unwrap().unwrap();
    let mut range = None;
    for line in lines
        .map_while(std::result::Result::ok)
        .take_while(|line| !line.is_empty())
    {
        if let Some(bytes) = line.to_lowercase().strip_prefix("range: bytes=") {
            let (from, to) = bytes.split_once('-').unwrap();
            range = Some((from.parse::<usize>().unwrap(), to.parse::<usize>().ok()));
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, body, length) = match files.iter().find(|(name, _)| path.ends_with(*name)) {
        None => ("404 Not Found", "", 0),
        Some((_, body)) => match range {
            Some((from, to)) => {
                let to = to.unwrap_or(body.len() - 1).min(body.len() - 1);
                ("206 Partial Content", &body[from..=to], body.len())
            }
            None => ("200 OK", *body, body.len()),
        },
    };
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Range: bytes 0-{}/{length}\r\nx-repo-commit: {COMMIT}\r\n\
         etag: \"{path}\"\r\nx-linked-etag: \"{}\"\r\nConnection: close\r\n\r\n{body}",
        body.len(),
        body.len().saturating_sub(1),
        path.replace('/', "-"),
    );
}

#[test]
fn the_needed_files_come_into_one_folder_and_what_fails_is_named() {
    let list = r#"{"sha": "0123456789012345678901234567890123456789", "siblings":
        [{"rfilename": "model_index.json"}, {"rfilename": "unet/config.json"}, {"rfilename": "unet/model.safetensors"}]}"#;
    let files = [
        ("/api/models/someone/something/revision/main", list),
        ("/resolve/main/model_index.json", "{}"),
        ("/resolve/main/unet/config.json", "{\"a\": 1}"),
        ("/resolve/main/unet/model.safetensors", "tensors"),
    ];
    let cache = tempfile::tempdir().unwrap();
    let folder = fetch_from(&server(files.into()), cache.path(), "someone/something", "main").unwrap();
    for (file, content) in [
        ("model_index.json", "{}"),
        ("unet/config.json", "{\"a\": 1}"),
        ("unet/model.safetensors", "tensors"),
    ] {
        assert_eq!(
            std::fs::read_to_string(folder.join(file)).unwrap(),
            content,
            "{file}"
        );
    }
    let cache = tempfile::tempdir().unwrap();
    let without = server(files[..3].iter().copied().collect());
    let message = fetch_from(&without, cache.path(), "someone/something", "main")
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("`unet/model.safetensors` of someone/something at main"),
        "{message}"
    );
}

#[test]
fn a_hub_that_does_not_answer_is_an_error_with_a_way_out() {
    let cache = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let message = fetch_from(&format!("http://{closed}"), cache.path(), "a/b", "main")
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("a/b at main") && message.contains("read its folder"),
        "{message}"
    );
}
