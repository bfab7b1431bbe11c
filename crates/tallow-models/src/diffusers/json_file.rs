//! JSON files as Python writes them: bounded in length, with its words for numbers that JSON does not have.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::{Error, Result};

/// The longest file that is read: the index of a model of a hundred thousand tensors is shorter.
const MAX_BYTES: u64 = 16 << 20;

/// The content of a file.
pub(super) fn read_json(path: &Path) -> Result<Value> {
    let file = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    let mut text = Vec::new();
    let opened = File::open(path).map_err(file)?;
    opened.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(file)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Error::Folder {
            path: path.to_owned(),
            problem: "is longer than 16 MiB: it is no configuration".to_owned(),
        });
    }
    parse(&text).map_err(|source| Error::Json {
        path: path.to_owned(),
        source,
    })
}

/// Writes a file, and the folders above it; an older one is replaced at once or not at all.
pub(super) fn write_json(path: &Path, value: &Value) -> Result<()> {
    let file = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    let json = |source| Error::Json {
        path: path.to_owned(),
        source,
    };
    let text = serde_json::to_string_pretty(value).map_err(json)? + "\n";
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(file)?;
    }
    let mut aside = path.file_name().unwrap_or_default().to_os_string();
    aside.push(format!(".{}.tmp", std::process::id()));
    let aside = path.with_file_name(aside);
    fs::write(&aside, text)
        .and_then(|()| fs::rename(&aside, path))
        .map_err(|source| {
            // Nothing can be done about a file that cannot be removed either.
            let _ = fs::remove_file(&aside);
            file(source)
        })
}

/// JSON in which `Infinity` stands for the largest number and `NaN` for null, as Python writes them.
pub(super) fn parse(text: &[u8]) -> serde_json::Result<Value> {
    const WORDS: [(&[u8], &[u8]); 2] = [(b"Infinity", b"1.7976931348623157e308"), (b"NaN", b"null")];
    let mut standard = Vec::with_capacity(text.len());
    let (mut quoted, mut at) = (false, 0);
    while let Some(&byte) = text.get(at) {
        let rest = text.get(at..).unwrap_or_default();
        if let Some((word, number)) = WORDS.iter().find(|(word, _)| !quoted && rest.starts_with(word)) {
            standard.extend_from_slice(number);
            at += word.len();
            continue;
        }
        match byte {
            b'"' => quoted = !quoted,
            b'\\' => {
                // The escaped byte ends no string.
                standard.push(byte);
                at += 1;
            }
            _ => {}
        }
        standard.extend(text.get(at));
        at += 1;
    }
    serde_json::from_slice(&standard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pythons_words_for_numbers_are_read_outside_of_strings() {
        let text = br#"{"low": -Infinity, "high": Infinity, "none": NaN, "text \" NaN": "Infinity"}"#;
        let value = parse(text).unwrap();
        let wanted = json!({"low": f64::MIN, "high": f64::MAX, "none": null, "text \" NaN": "Infinity"});
        assert_eq!(value, wanted);
        for broken in ["", "{", "\"", "\\", "\"\\", "[NaN", "Infinit"] {
            assert!(parse(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_file_that_is_no_configuration_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/config.json");
        write_json(&path, &json!({"a": 1})).unwrap();
        assert_eq!(read_json(&path).unwrap(), json!({"a": 1}));
        fs::write(&path, "{").unwrap();
        assert!(
            read_json(&path)
                .unwrap_err()
                .to_string()
                .contains("config.json is not JSON")
        );
        fs::write(&path, vec![b' '; (MAX_BYTES + 1) as usize]).unwrap();
        assert!(read_json(&path).unwrap_err().to_string().contains("16 MiB"));
        assert!(read_json(&folder.path().join("none.json")).is_err());
    }
}
