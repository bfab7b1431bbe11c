//! The keys of a configuration that another program wrote, read strictly: what is not known is refused by name.

use serde_json::{Map, Value};

use crate::{Error, Result};

/// The object of a `config.json`, for one class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys<'a> {
    class: &'static str,
    object: &'a Map<String, Value>,
}

impl<'a> Keys<'a> {
    /// Refuses values that are no objects, another `_class_name`, and keys that are not `known`; those that start with an
    /// underscore are notes.
    pub(crate) fn new(class: &'static str, value: &'a Value, known: &[&str]) -> Result<Self> {
        let Value::Object(object) = value else {
            return Err(Error::Configuration {
                class,
                key: String::new(),
                value: value.to_string(),
                allowed: "an object of keys and values".to_owned(),
            });
        };
        let keys = Self { class, object };
        if object.get("_class_name").is_some_and(|name| name != class) {
            return Err(keys.refuse("_class_name", &format!("{class:?}")));
        }
        let unknown = |key: &&String| !key.starts_with('_') && !known.contains(&key.as_str());
        match object.keys().find(unknown) {
            Some(key) => Err(keys.refuse(key, &format!("no such key; known are {}", known.join(", ")))),
            None => Ok(keys),
        }
    }

    /// The error of a key whose value is not `allowed`.
    pub(crate) fn refuse(&self, key: &str, allowed: &str) -> Error {
        Error::Configuration {
            class: self.class,
            key: key.to_owned(),
            value: self.object.get(key).unwrap_or(&Value::Null).to_string(),
            allowed: allowed.to_owned(),
        }
    }

    /// A whole number; `default` where the key is missing, `None` where it is null.
    pub(crate) fn count_or(&self, key: &str, default: Option<usize>) -> Result<Option<usize>> {
        self.read(key, default, "a whole number from 0 to 2²⁴", whole)
    }

    /// A whole number that cannot be null.
    pub(crate) fn count(&self, key: &str, default: usize) -> Result<usize> {
        let count = self.count_or(key, Some(default))?;
        count.ok_or_else(|| self.refuse(key, "a whole number from 0 to 2²⁴"))
    }

    /// A number that cannot be null.
    pub(crate) fn number(&self, key: &str, default: f64) -> Result<f64> {
        let number = self.number_or(key, Some(default))?;
        number.ok_or_else(|| self.refuse(key, "a number"))
    }

    /// A number; `default` where the key is missing, `None` where it is null.
    pub(crate) fn number_or(&self, key: &str, default: Option<f64>) -> Result<Option<f64>> {
        self.read(key, default, "a number", Value::as_f64)
    }

    /// A truth value that cannot be null.
    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool> {
        let flag = self.read(key, Some(default), "true or false", Value::as_bool)?;
        flag.ok_or_else(|| self.refuse(key, "true or false"))
    }

    /// A truth value; `None` where the key is missing or null.
    pub(crate) fn flag_or(&self, key: &str) -> Result<Option<bool>> {
        self.read(key, None, "true, false or null", Value::as_bool)
    }

    /// A list of numbers; `None` where the key is missing or null.
    pub(crate) fn numbers_or(&self, key: &str) -> Result<Option<Vec<f64>>> {
        let read = |value: &'a Value| value.as_array()?.iter().map(Value::as_f64).collect();
        self.read(key, None, "a list of numbers or null", read)
    }

    /// A word; `default` where the key is missing, `None` where it is null.
    pub(crate) fn word_or(&self, key: &str, default: Option<&'a str>) -> Result<Option<&'a str>> {
        self.read(key, default, "a string", Value::as_str)
    }

    /// A list of whole numbers.
    pub(crate) fn counts(&self, key: &str, default: &[usize]) -> Result<Vec<usize>> {
        let read = |value: &'a Value| value.as_array()?.iter().map(whole).collect();
        let counts = self.read(
            key,
            Some(default.to_vec()),
            "a list of whole numbers up to 2²⁴",
            read,
        )?;
        counts.ok_or_else(|| self.refuse(key, "a list of whole numbers up to 2²⁴"))
    }

    /// A list of words.
    pub(crate) fn words(&self, key: &str, default: &[&'static str]) -> Result<Vec<&'a str>> {
        let read = |value: &'a Value| value.as_array()?.iter().map(Value::as_str).collect();
        let words = self.read(key, Some(default.to_vec()), "a list of strings", read)?;
        words.ok_or_else(|| self.refuse(key, "a list of strings"))
    }

    /// Whether the key is missing or null.
    pub(crate) fn is_null(&self, key: &str) -> bool {
        self.object.get(key).is_none_or(Value::is_null)
    }

    /// Height and width: one number for both, two, or null.
    pub(crate) fn size_or(&self, key: &str, default: Option<[usize; 2]>) -> Result<Option<[usize; 2]>> {
        let read = |value: &'a Value| match value {
            Value::Array(both) => match both.as_slice() {
                [height, width] => Some([whole(height)?, whole(width)?]),
                _ => None,
            },
            one => whole(one).map(|side| [side; 2]),
        };
        self.read(key, default, "a whole number or two of them", read)
    }

    fn read<T>(
        &self,
        key: &str,
        default: Option<T>,
        allowed: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.object.get(key) {
            None => Ok(default),
            Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.refuse(key, allowed)),
        }
    }
}

/// Height and width as [`Keys::size_or`] reads them.
pub(crate) fn written_size(size: Option<[usize; 2]>) -> Value {
    match size {
        None => Value::Null,
        Some([height, width]) if height == width => height.into(),
        Some([height, width]) => vec![height, width].into(),
    }
}

/// A whole number; larger ones are no sizes of a network, and their products could not be counted.
fn whole(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?)
        .ok()
        .filter(|&number| number <= 1 << 24)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_unknown_or_of_another_kind_is_refused_with_key_and_value() {
        let known = ["a", "b"];
        let error = |value: Value| match Keys::new("Net", &value, &known) {
            Ok(keys) => keys.count("a", 1).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(error(json!({"a": "x"})).contains("`a` = \"x\""));
        assert!(error(json!({"a": null})).contains("null"));
        assert!(error(json!({"a": -1})).contains("-1"));
        assert!(error(json!({"c": 3})).contains("known are a, b"));
        assert!(error(json!({"_class_name": "Other"})).contains("\"Net\""));
        assert!(error(json!(3)).contains("object"));
    }

    #[test]
    fn a_missing_key_is_the_default_and_null_is_nothing() {
        let value = json!({"a": null, "_note": 1, "size": [3, 4]});
        let keys = Keys::new("Net", &value, &["a", "b", "size"]).unwrap();
        assert_eq!(keys.count_or("a", Some(8)).unwrap(), None);
        assert_eq!(keys.count_or("b", Some(8)).unwrap(), Some(8));
        assert_eq!(keys.size_or("size", None).unwrap(), Some([3, 4]));
        assert_eq!(keys.counts("b", &[1, 2]).unwrap(), [1, 2]);
    }
}
