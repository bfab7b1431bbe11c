//! What a run was started with, as JSON: kept in its checkpoints, and compared when it goes on.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// The longest text of a configuration, in bytes.
const MAX_TEXT: usize = 1 << 20;

/// A JSON text, read strictly: at most a mebibyte, 127 levels deep, no key twice in a map.
///
/// ```
/// use tallow_train::Configuration;
///
/// let now = Configuration::parse(r#"{"width": 256, "rate": 3e-3}"#)?;
/// let then = Configuration::parse(r#"{"rate": 0.003, "width": 128}"#)?;
/// assert_eq!(now.differences(&then), ["width: 256, was 128"]);
/// # Ok::<(), tallow_train::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configuration(Value);

impl Configuration {
    /// Reads a text.
    ///
    /// # Errors
    ///
    /// When it is too long or deep, is not JSON, or has a key twice.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_TEXT {
            return Err(Error::Configuration {
                problem: format!("{} bytes, at most {MAX_TEXT} are allowed", text.len()),
            });
        }
        match serde_json::from_str::<Strict>(text) {
            Ok(value) => Ok(Self(value.0)),
            Err(error) => Err(Error::Configuration {
                problem: error.to_string(),
            }),
        }
    }

    /// The configuration that a value is written as.
    ///
    /// # Errors
    ///
    /// When the value has no form in JSON, or too long a one.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        Self::parse(&serde_json::to_string(value)?)
    }

    /// The value that was written.
    ///
    /// # Errors
    ///
    /// When this is not the form of such a value.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(&self.0).map_err(|error| Error::Configuration {
            problem: error.to_string(),
        })
    }

    /// Where this one differs from an older one: one phrase for each value, by its path.
    #[must_use]
    pub fn differences(&self, older: &Self) -> Vec<String> {
        let (mut now, mut then) = (BTreeMap::new(), BTreeMap::new());
        leaves("", &self.0, &mut now);
        leaves("", &older.0, &mut then);
        let mut differences = Vec::new();
        for (path, value) in &now {
            match then.get(path) {
                None => differences.push(format!("{path}: {value}, was absent")),
                Some(old) if old != value => differences.push(format!("{path}: {value}, was {old}")),
                Some(_) => {}
            }
        }
        let gone = then.iter().filter(|(path, _)| !now.contains_key(*path));
        differences.extend(gone.map(|(path, old)| format!("{path}: absent, was {old}")));
        differences
    }
}

/// The text; the same value gives the same text.
impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Every value that is not a map with anything in it, by its path.
fn leaves<'v>(path: &str, value: &'v Value, found: &mut BTreeMap<String, &'v Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                leaves(&path, value, found);
            }
        }
        _ => {
            found.insert(path.to_owned(), value);
        }
    }
}

/// A JSON value in whose maps no key appears twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Strict(value))) = entries.next_entry::<String, Strict>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("{key:?} appears twice")));
            }
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_read_and_written_is_the_same_configuration() {
        for text in [
            "null",
            "[1, -2, 0.1, 1e-300]",
            r#"{"b": {"c": [true, "x"]}, "a": 18446744073709551615}"#,
        ] {
            let read = Configuration::parse(text).unwrap();
            assert_eq!(Configuration::parse(&read.to_string()).unwrap(), read);
        }
        let value = BTreeMap::from([("rate".to_owned(), 0.1 + 0.2)]);
        let read: BTreeMap<String, f64> = Configuration::of(&value).unwrap().read().unwrap();
        assert_eq!(read, value);
        assert!(Configuration::of(&value).unwrap().read::<u32>().is_err());
    }

    #[test]
    fn twice_the_same_key_great_depth_and_great_length_are_refused() {
        let twice = Configuration::parse(r#"{"a": {"b": 1, "b": 2}}"#)
            .unwrap_err()
            .to_string();
        assert!(twice.contains("\"b\" appears twice"), "{twice}");
        assert!(Configuration::parse(&"[".repeat(1_000_000)).is_err());
        assert!(Configuration::parse(&format!("{}{}", "[".repeat(128), "]".repeat(128))).is_err());
        assert!(Configuration::parse(&format!("\"{}\"", "x".repeat(MAX_TEXT))).is_err());
        assert!(Configuration::parse("{} {}").is_err());
    }

    #[test]
    fn differences_are_told_by_path() {
        let now = Configuration::parse(r#"{"model": {"width": 2, "depth": 3}, "new": 1}"#).unwrap();
        let then = Configuration::parse(r#"{"model": {"width": 4, "depth": 3}, "old": []}"#).unwrap();
        let expected = [
            "model.width: 2, was 4",
            "new: 1, was absent",
            "old: absent, was []",
        ];
        assert_eq!(now.differences(&then), expected);
        assert!(now.differences(&now).is_empty());
    }
}
