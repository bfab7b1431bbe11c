//! A case's fields, read with words for what is missing or of the wrong kind.

use serde_json::Value;

use super::Obstacle;

/// A JSON object and where it stands.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    value: &'a Value,
    place: String,
}

impl<'a> Fields<'a> {
    /// A case, known by its id or its number.
    #[must_use]
    pub fn of_case(value: &'a Value, index: usize) -> Self {
        let id = value
            .get("id")
            .and_then(Value::as_str)
            .map_or_else(|| format!("case {index}"), str::to_owned);
        Self { value, place: id }
    }

    /// The tables of a file.
    pub(super) fn of_tables(value: &'a Value) -> Self {
        Self {
            value,
            place: "\"tables\" of the file".to_owned(),
        }
    }

    /// The id of the case, or the path of fields to this object.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The object itself.
    #[must_use]
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// Whether there is a field of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.value.get(name).is_some_and(|value| !value.is_null())
    }

    /// The object in a field.
    ///
    /// # Errors
    ///
    /// When the field is missing or no object.
    pub fn object(&self, name: &str) -> Result<Fields<'a>, Obstacle> {
        self.nested(name, self.field(name)?)
    }

    /// The object in a field, if the field is there.
    ///
    /// # Errors
    ///
    /// When the field is there and no object.
    pub fn optional(&self, name: &str) -> Result<Option<Fields<'a>>, Obstacle> {
        if self.has(name) {
            self.object(name).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The objects of a list.
    ///
    /// # Errors
    ///
    /// When the field is missing, no list, or an entry no object.
    pub fn objects(&self, name: &str) -> Result<Vec<Fields<'a>>, Obstacle> {
        let list = self
            .field(name)?
            .as_array()
            .ok_or_else(|| self.wrong(name, "a list"))?;
        list.iter()
            .enumerate()
            .map(|(i, value)| self.nested(&format!("{name}[{i}]"), value))
            .collect()
    }

    /// The number in a field.
    ///
    /// # Errors
    ///
    /// When the field is missing or no number.
    pub fn number(&self, name: &str) -> Result<f64, Obstacle> {
        self.field(name)?
            .as_f64()
            .ok_or_else(|| self.wrong(name, "a number"))
    }

    /// The number in a field, or another if there is no such field.
    ///
    /// # Errors
    ///
    /// When the field is there and no number.
    pub fn number_or(&self, name: &str, otherwise: f64) -> Result<f64, Obstacle> {
        if self.has(name) {
            self.number(name)
        } else {
            Ok(otherwise)
        }
    }

    /// The whole number of at least 0 in a field.
    ///
    /// # Errors
    ///
    /// When the field is missing or holds something else.
    pub fn count(&self, name: &str) -> Result<usize, Obstacle> {
        count(self.field(name)?).ok_or_else(|| self.wrong(name, "a whole number of at least 0"))
    }

    /// The whole numbers in a list.
    ///
    /// # Errors
    ///
    /// When the field is missing or holds something else.
    pub fn counts(&self, name: &str) -> Result<Vec<usize>, Obstacle> {
        let list = self.field(name)?.as_array();
        list.and_then(|list| list.iter().map(count).collect())
            .ok_or_else(|| self.wrong(name, "a list of whole numbers of at least 0"))
    }

    /// The text in a field.
    ///
    /// # Errors
    ///
    /// When the field is missing or no text.
    pub fn text(&self, name: &str) -> Result<&'a str, Obstacle> {
        self.field(name)?
            .as_str()
            .ok_or_else(|| self.wrong(name, "a text"))
    }

    /// All numbers of a field: one, a list, or nested lists in row-major order.
    ///
    /// # Errors
    ///
    /// When the field is missing or holds anything but numbers.
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>, Obstacle> {
        let mut numbers = Vec::new();
        if flatten(self.field(name)?, &mut numbers) {
            Ok(numbers)
        } else {
            Err(self.wrong(name, "numbers or nested lists of numbers"))
        }
    }

    /// The rows of a list of lists of numbers, all of one length.
    ///
    /// # Errors
    ///
    /// When the field is missing or holds something else.
    pub fn rows(&self, name: &str) -> Result<Vec<Vec<f64>>, Obstacle> {
        let wrong = || self.wrong(name, "a list of rows of numbers, all of one length");
        let list = self.field(name)?.as_array().ok_or_else(wrong)?;
        let row = |value: &Value| {
            value
                .as_array()?
                .iter()
                .map(Value::as_f64)
                .collect::<Option<Vec<f64>>>()
        };
        let rows: Vec<Vec<f64>> = list.iter().map(row).collect::<Option<_>>().ok_or_else(wrong)?;
        if rows.windows(2).all(|pair| pair[0].len() == pair[1].len()) {
            Ok(rows)
        } else {
            Err(wrong())
        }
    }

    /// The entries of a list, each with all its numbers in row-major order.
    ///
    /// # Errors
    ///
    /// When the field is missing, no list, or holds anything but numbers.
    pub fn lists(&self, name: &str) -> Result<Vec<Vec<f64>>, Obstacle> {
        let list = self.field(name)?.as_array().into_iter().flatten();
        let entry = |value: &Value| {
            let mut numbers = Vec::new();
            flatten(value, &mut numbers).then_some(numbers)
        };
        let entries: Option<Vec<_>> = list.map(entry).collect();
        entries
            .filter(|_| self.field(name).is_ok_and(Value::is_array))
            .ok_or_else(|| self.wrong(name, "a list of numbers or lists"))
    }

    fn field(&self, name: &str) -> Result<&'a Value, Obstacle> {
        self.value
            .get(name)
            .ok_or_else(|| Obstacle::Wrong(format!("{} has no field {name:?}", self.place)))
    }

    fn nested(&self, name: &str, value: &'a Value) -> Result<Fields<'a>, Obstacle> {
        if value.is_object() {
            Ok(Fields {
                value,
                place: format!("{}.{name}", self.place),
            })
        } else {
            Err(self.wrong(name, "an object"))
        }
    }

    fn wrong(&self, name: &str, kind: &str) -> Obstacle {
        Obstacle::Wrong(format!("{name:?} of {} should be {kind}", self.place))
    }
}

fn count(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|count| usize::try_from(count).ok())
}

fn flatten(value: &Value, into: &mut Vec<f64>) -> bool {
    if let Some(list) = value.as_array() {
        return list.iter().all(|value| flatten(value, into));
    }
    let number = value.as_f64();
    into.extend(number);
    number.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_read_in_row_major_order() {
        let value = json!({"id": "a", "x": [[1, 2.5], [3e0, 4]], "y": 7});
        let case = Fields::of_case(&value, 0);
        assert_eq!(case.numbers("x"), Ok(vec![1.0, 2.5, 3.0, 4.0]));
        assert_eq!(case.numbers("y"), Ok(vec![7.0]));
        assert_eq!(case.rows("x"), Ok(vec![vec![1.0, 2.5], vec![3.0, 4.0]]));
    }

    #[test]
    fn what_is_missing_or_of_another_kind_is_named() {
        let value =
            json!({"id": "a", "x": "seven", "n": -1, "rows": [[1.0], [1.0, 2.0]], "deep": [1.0, [null]]});
        let case = Fields::of_case(&value, 0);
        assert_eq!(
            case.number("z"),
            Err(Obstacle::Wrong("a has no field \"z\"".into()))
        );
        assert_eq!(
            case.number("x"),
            Err(Obstacle::Wrong("\"x\" of a should be a number".into()))
        );
        assert!(case.count("n").is_err() && case.rows("rows").is_err() && case.numbers("deep").is_err());
        assert!(case.object("x").is_err() && case.objects("x").is_err() && case.counts("x").is_err());
    }
}
