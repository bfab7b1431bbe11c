//! A table of a model's parameters.

use std::collections::BTreeMap;
use std::fmt;

use candle_core::Shape;

/// Names, shapes, numbers and bytes of a model's parameters, as a table that prints itself.
///
/// ```
/// use candle_core::{DType, Device};
/// use tallow_nn::{Linear, Parameters};
///
/// let parameters = Parameters::new(0, DType::F32, &Device::Cpu);
/// let scope = parameters.scope();
/// Linear::new(&scope.at("layers.0"), 2, 64)?;
/// Linear::new(&scope.at("layers.1"), 64, 2)?;
/// assert_eq!(
///     parameters.summary().grouped(2).to_string(),
///     "\
/// parameters      shape  numbers  bytes
/// layers.0    2 tensors      192    768
/// layers.1    2 tensors      130    520
/// all         4 tensors      322   1288"
/// );
/// # Ok::<(), tallow_nn::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Name, shape and bytes of a number.
    parameters: Vec<(String, Shape, usize)>,
    /// How many parts of a name make a row.
    depth: usize,
}

/// What the parameters of one row come to.
#[derive(Default)]
struct Row {
    tensors: usize,
    /// Of the last tensor; shown where it is the only one.
    shape: String,
    count: usize,
    bytes: usize,
}

impl Summary {
    pub(crate) fn new(parameters: Vec<(String, Shape, usize)>) -> Self {
        let depth = usize::MAX;
        Self { parameters, depth }
    }

    /// The same with one row for all parameters whose names begin with the same `depth` parts: 1 for the largest groups.
    #[must_use]
    pub fn grouped(self, depth: usize) -> Self {
        let depth = depth.max(1);
        Self { depth, ..self }
    }

    /// How many numbers there are in all.
    #[must_use]
    pub fn count(&self) -> usize {
        self.parameters
            .iter()
            .map(|(_, shape, _)| shape.elem_count())
            .sum()
    }

    /// How many bytes they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let bytes = self
            .parameters
            .iter()
            .map(|(_, shape, size)| shape.elem_count().saturating_mul(*size));
        bytes.fold(0, usize::saturating_add)
    }

    /// The rows in the order in which their first names come.
    fn rows(&self) -> Vec<(String, Row)> {
        let mut places = BTreeMap::new();
        let mut rows: Vec<(String, Row)> = Vec::new();
        for (name, shape, size) in &self.parameters {
            let prefix = name.split('.').take(self.depth).collect::<Vec<_>>().join(".");
            let place = *places.entry(prefix.clone()).or_insert(rows.len());
            if place == rows.len() {
                rows.push((prefix, Row::default()));
            }
            if let Some((_, row)) = rows.get_mut(place) {
                row.add(shape, *size);
            }
        }
        rows
    }
}

impl Row {
    fn add(&mut self, shape: &Shape, size: usize) {
        self.tensors += 1;
        self.shape = format!("{:?}", shape.dims());
        self.count = self.count.saturating_add(shape.elem_count());
        self.bytes = self.bytes.saturating_add(shape.elem_count().saturating_mul(size));
    }

    fn shape(&self) -> String {
        match self.tensors {
            1 => self.shape.clone(),
            several => format!("{several} tensors"),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = Row::default();
        for (_, shape, size) in &self.parameters {
            all.add(shape, *size);
        }
        let mut lines = vec![["parameters", "shape", "numbers", "bytes"].map(str::to_string)];
        let mut rows = self.rows();
        rows.push(("all".to_string(), all));
        for (name, row) in &rows {
            lines.push([
                name.clone(),
                row.shape(),
                row.count.to_string(),
                row.bytes.to_string(),
            ]);
        }
        let widths = [0, 1, 2, 3].map(|column| {
            let cells = lines.iter().map(|line| line[column].chars().count());
            cells.max().unwrap_or(0)
        });
        for (index, [name, shape, count, bytes]) in lines.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let [first, second, third, fourth] = widths;
            write!(
                f,
                "{name:<first$}  {shape:>second$}  {count:>third$}  {bytes:>fourth$}"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        let parameter = |name: &str, shape: &[usize]| (name.to_string(), Shape::from(shape), 4);
        Summary::new(vec![
            parameter("a.bias", &[3]),
            parameter("a.weight", &[3, 2]),
            parameter("b", &[]),
        ])
    }

    #[test]
    fn every_parameter_has_a_row_and_the_last_row_is_their_sum() {
        let text = summary().to_string();
        let cells = |line: &str| line.split_whitespace().map(str::to_string).collect::<Vec<_>>();
        let lines: Vec<_> = text.lines().map(cells).collect();
        assert_eq!(lines[1], ["a.bias", "[3]", "3", "12"]);
        assert_eq!(lines[2], ["a.weight", "[3,", "2]", "6", "24"]);
        assert_eq!(lines[3], ["b", "[]", "1", "4"]);
        assert_eq!(lines[4], ["all", "3", "tensors", "10", "40"]);
        assert_eq!((summary().count(), summary().bytes()), (10, 40));
        let width = text.lines().next().unwrap_or("").chars().count();
        assert!(text.lines().all(|line| line.chars().count() == width), "{text}");
    }

    #[test]
    fn groups_share_the_first_parts_of_their_names() {
        let text = summary().grouped(1).to_string();
        assert_eq!(text.lines().count(), 4);
        assert!(
            text.lines()
                .any(|line| line.starts_with("a ") && line.contains("2 tensors") && line.ends_with("36"))
        );
        let empty = Summary::new(Vec::new()).to_string();
        assert_eq!(empty.lines().count(), 2);
    }
}
