//! A TOML file whose values are asked for one by one, so that each error can name the line, the key and what is allowed.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Blame, Error, Result, advice, listed};
use crate::toml_value::{kind, shown, told, whole};

/// A file that could be parsed.
#[derive(Clone, Debug)]
pub(crate) struct TomlFile {
    path: PathBuf,
    text: String,
}

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

impl TomlFile {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let length = std::fs::metadata(path).input_of(path.display())?.len();
        if length > MAX_BYTES {
            return Err(Error::input(format!(
                "{} has {length} bytes, a configuration at most {MAX_BYTES}: is it the right file?",
                path.display()
            )));
        }
        let text = std::fs::read_to_string(path).input_of(path.display())?;
        Ok(Self::new(path, text))
    }

    pub(crate) fn new(path: &Path, text: String) -> Self {
        Self {
            path: path.to_owned(),
            text,
        }
    }

    /// The folder that relative paths in the file start from.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// Parses the file and hands its top level to `read`.
    pub(crate) fn top<T>(&self, read: impl FnOnce(&Section<'_>) -> Result<T>) -> Result<T> {
        let table = DeTable::parse(&self.text).map_err(|error| {
            let message = error.message().lines().collect::<Vec<_>>().join(" ");
            self.error(error.span(), format!("this is no TOML: {message}"))
        })?;
        read(&Section {
            file: self,
            name: "",
            table: table.get_ref(),
            span: None,
            known: RefCell::default(),
        })
    }

    /// An error that was found later, at the place of the key that its message begins with.
    pub(crate) fn placed(&self, error: Error) -> Error {
        let Error::Input(message) = &error else {
            return error;
        };
        let Some((section, key)) = subject(message) else {
            return error;
        };
        let Ok(table) = DeTable::parse(&self.text) else {
            return error;
        };
        let place = match (section, find(table.get_ref(), section)) {
            ("", _) => find(table.get_ref(), key).map(Spanned::span),
            (_, Some(section)) => match section.get_ref() {
                DeValue::Table(table) => find(table, key).map(Spanned::span).or(Some(section.span())),
                _ => None,
            },
            _ => None,
        };
        self.error(place, message)
    }

    /// An error at a place, which is shown.
    fn error(&self, span: Option<Range<usize>>, message: impl Display) -> Error {
        let path = self.path.display();
        let Some(span) = span else {
            return Error::input(format!("{path}: {message}"));
        };
        let start = span.start.min(self.text.len());
        let before = self.text.get(..start).unwrap_or_default();
        let number = before.matches('\n').count() + 1;
        let begin = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text.get(begin..).unwrap_or_default();
        let line = line.lines().next().unwrap_or_default();
        let column = before.get(begin..).unwrap_or_default().chars().count();
        let room = line.chars().count().saturating_sub(column).max(1);
        let width = span.end.saturating_sub(span.start).clamp(1, room);
        let margin = " ".repeat(number.to_string().len());
        Error::input(format!(
            "{path}:{number}: {message}\n{margin} |\n{number} | {line}\n{margin} | {}{}",
            " ".repeat(column),
            "^".repeat(width)
        ))
    }
}

/// A table of the file, or the file's top level.
#[derive(Debug)]
pub(crate) struct Section<'f> {
    file: &'f TomlFile,
    name: &'static str,
    table: &'f DeTable<'f>,
    /// Where its header is; nowhere for the top level and for a table that is left out.
    span: Option<Range<usize>>,
    known: RefCell<Vec<&'static str>>,
}

impl<'f> Section<'f> {
    /// Says which keys there may be, besides those said before; refuses all others.
    pub(crate) fn allow(&self, keys: &[&'static str]) {
        self.known.borrow_mut().extend(keys);
    }

    /// Refuses keys that were not allowed.
    pub(crate) fn check(&self) -> Result<()> {
        let known = self.known.borrow();
        for key in self.table.keys() {
            if !known.contains(&key.get_ref().as_ref()) {
                let message = format!(
                    "unknown key `{}`{}: {}",
                    key.get_ref(),
                    self.place(),
                    advice(key.get_ref(), &known)
                );
                return Err(self.file.error(Some(key.span()), message));
            }
        }
        Ok(())
    }

    /// A table within this one; an empty one where it is left out.
    pub(crate) fn section(&self, name: &'static str) -> Result<Section<'f>> {
        static EMPTY: std::sync::LazyLock<DeTable<'static>> = std::sync::LazyLock::new(DeTable::new);
        let (table, span) = match self.find(name) {
            None => (&*EMPTY, None),
            Some(value) => match value.get_ref() {
                DeValue::Table(table) => (table, Some(value.span())),
                other => {
                    let message = format!(
                        "`{name}` is a table: write [{name}] and its keys below, not {}",
                        kind(other)
                    );
                    return Err(self.file.error(Some(value.span()), message));
                }
            },
        };
        Ok(Section {
            file: self.file,
            name,
            table,
            span,
            known: RefCell::default(),
        })
    }

    /// Whether a key is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// One of some words, by its place among them.
    pub(crate) fn choice(
        &self,
        key: &'static str,
        allowed: &[&str],
        default: Option<usize>,
    ) -> Result<usize> {
        let Some(value) = self.find(key) else {
            let missing = || self.missing(key, &format!("one of {}", listed(allowed)));
            return default.ok_or_else(missing);
        };
        let DeValue::String(word) = value.get_ref() else {
            return Err(self.wrong(key, value, &format!("needs one of the words {}", listed(allowed))));
        };
        let found = allowed.iter().position(|known| known == word);
        found.ok_or_else(|| self.wrong(key, value, &advice(word, allowed)))
    }

    /// A text.
    pub(crate) fn text(&self, key: &'static str, what: &str) -> Result<Option<String>> {
        let Some(value) = self.find(key) else {
            return Ok(None);
        };
        match value.get_ref() {
            DeValue::String(text) if !text.is_empty() => Ok(Some(text.clone().into_owned())),
            _ => Err(self.wrong(key, value, &format!("needs {what}, in quotes"))),
        }
    }

    /// A path that is left as it is if absolute, and otherwise starts from the file's folder.
    pub(crate) fn path(&self, key: &'static str) -> Result<Option<PathBuf>> {
        let path = self.text(key, "a path")?;
        Ok(path.map(|path| self.file.folder().join(path)))
    }

    /// Yes or no.
    pub(crate) fn flag(&self, key: &'static str) -> Result<Option<bool>> {
        let Some(value) = self.find(key) else {
            return Ok(None);
        };
        match value.get_ref() {
            DeValue::Boolean(flag) => Ok(Some(*flag)),
            _ => Err(self.wrong(key, value, "needs true or false")),
        }
    }

    /// A whole number within a range.
    pub(crate) fn whole(
        &self,
        key: &'static str,
        range: RangeInclusive<u64>,
        default: Option<u64>,
    ) -> Result<u64> {
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        let Some(value) = self.find(key) else {
            return default.ok_or_else(|| self.missing(key, &allowed));
        };
        let number = whole(value.get_ref()).filter(|number| range.contains(number));
        number.ok_or_else(|| self.wrong(key, value, &format!("needs {allowed}")))
    }

    /// A number of things in memory.
    pub(crate) fn count(
        &self,
        key: &'static str,
        range: RangeInclusive<usize>,
        default: Option<usize>,
    ) -> Result<usize> {
        let (low, high) = (*range.start() as u64, *range.end() as u64);
        Ok(self.whole(key, low..=high, default.map(|count| count as u64))? as usize)
    }

    /// A number within a range.
    pub(crate) fn number(
        &self,
        key: &'static str,
        range: RangeInclusive<f64>,
        default: Option<f64>,
    ) -> Result<f64> {
        let allowed = format!("a number from {} to {}", told(*range.start()), told(*range.end()));
        let Some(value) = self.find(key) else {
            return default.ok_or_else(|| self.missing(key, &allowed));
        };
        let number = match value.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
            other => whole(other).map(|number| number as f64),
        };
        let number = number.filter(|number: &f64| range.contains(number));
        number.ok_or_else(|| self.wrong(key, value, &format!("needs {allowed}")))
    }

    /// A list of whole numbers.
    pub(crate) fn counts(
        &self,
        key: &'static str,
        range: RangeInclusive<u64>,
        default: &[usize],
    ) -> Result<Vec<usize>> {
        let Some(value) = self.find(key) else {
            return Ok(default.to_vec());
        };
        let needs = format!(
            "needs a list of whole numbers from {} to {}, such as [16, 32]",
            range.start(),
            range.end()
        );
        let DeValue::Array(items) = value.get_ref() else {
            return Err(self.wrong(key, value, &needs));
        };
        let number = |item: &Spanned<DeValue<'_>>| match whole(item.get_ref()) {
            Some(number) if range.contains(&number) => Ok(number as usize),
            _ => Err(self.wrong(key, item, &needs)),
        };
        items.iter().map(number).collect()
    }

    /// An error about a key's value, or about the section where the key is left out.
    pub(crate) fn refuse(&self, key: &str, message: impl Display) -> Error {
        let span = self.find(key).map(Spanned::span).or(self.span.clone());
        self.file
            .error(span, format!("`{key}`{}: {message}", self.place()))
    }

    fn find(&self, key: &str) -> Option<&'f Spanned<DeValue<'f>>> {
        find(self.table, key)
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue<'_>>, needs: &str) -> Error {
        let message = format!("`{key}`{} is {}: {needs}", self.place(), shown(value.get_ref()));
        // `needs …` reads as a sentence with the key, `did you mean …` after what was found.
        self.file
            .error(Some(value.span()), message.replace(": needs ", ", it needs "))
    }

    fn missing(&self, key: &str, allowed: &str) -> Error {
        let message = format!("`{key}`{} is missing: give it {allowed}", self.place());
        self.file.error(self.span.clone(), message)
    }

    fn place(&self) -> String {
        match self.name {
            "" => String::new(),
            name => format!(" of [{name}]"),
        }
    }
}

fn find<'t>(table: &'t DeTable<'t>, name: &str) -> Option<&'t Spanned<DeValue<'t>>> {
    let found = table.iter().find(|(key, _)| key.get_ref() == name);
    found.map(|(_, value)| value)
}

/// The key and the section that a message begins with: `` `key` of [section] … ``, `` `key` … `` or `[section] …`.
fn subject(message: &str) -> Option<(&str, &str)> {
    if let Some(rest) = message.strip_prefix('[') {
        return rest.split_once(']').map(|(section, _)| (section, ""));
    }
    let (key, rest) = message.strip_prefix('`')?.split_once('`')?;
    let section = rest.strip_prefix(" of [").and_then(|rest| rest.split_once(']'));
    Some((section.map_or("", |(section, _)| section), key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of<T>(text: &str, read: impl FnOnce(&Section<'_>) -> Result<T>) -> String {
        let file = TomlFile::new(Path::new("run.toml"), text.to_owned());
        file.top(read).err().unwrap().to_string()
    }

    #[test]
    fn an_unknown_key_is_shown_with_its_line_and_the_nearest_one() {
        let error = error_of("seed = 1\n[model]\n  widht = 3\n", |top| {
            let model = top.section("model")?;
            model.allow(&["width", "depth"]);
            model.check()
        });
        assert_eq!(
            error,
            "run.toml:3: unknown key `widht` of [model]: did you mean \"width\"? (allowed are width, depth)\n  |\n3 |   widht = 3\n  |   ^^^^^"
        );
    }

    #[test]
    fn numbers_out_of_range_and_of_other_kinds_are_refused_in_words() {
        let steps = |top: &Section<'_>| top.whole("steps", 1..=10, None);
        assert!(
            error_of("steps = 0", steps)
                .starts_with("run.toml:1: `steps` is 0, it needs a whole number from 1 to 10\n")
        );
        assert!(error_of("steps = -3", steps).contains("is -3,"));
        assert!(error_of("steps = \"many\"", steps).contains("is \"many\","));
        assert!(error_of("steps = [1]", steps).contains("is a list,"));
        assert_eq!(
            error_of("", steps),
            "run.toml: `steps` is missing: give it a whole number from 1 to 10"
        );
        let rate = |top: &Section<'_>| top.number("rate", 0.0..=1.0, None);
        assert!(error_of("rate = nan", rate).contains("is nan, it needs a number from 0 to 1"));
        let file = TomlFile::new(Path::new("run.toml"), "rate = 0x10".to_owned());
        let sixteen = file.top(|top| top.number("rate", 0.0..=1e3, None)).unwrap();
        assert!((sixteen - 16.0).abs() < 1e-9);
    }

    #[test]
    fn text_that_is_no_toml_is_shown_with_its_line() {
        let error = error_of("a = 1\nb = = 2\n", |_| Ok(()));
        assert!(error.starts_with("run.toml:2: this is no TOML: "), "{error}");
        let error = error_of("a = 1\na = 2\n", |_| Ok(()));
        assert!(
            error.starts_with("run.toml:2: this is no TOML: duplicate key"),
            "{error}"
        );
    }
}
