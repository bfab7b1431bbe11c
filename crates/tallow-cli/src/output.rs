//! What a command says: text for people, JSON for scripts, on standard output.

use std::io::{ErrorKind, Write};

use serde::Serialize;

use crate::error::{Blame, Error, Result};

/// Prints a line, or several. A reader who has gone away (`| head`) is no error.
pub(crate) fn say(text: &str) -> Result<()> {
    write(&format!("{text}\n"))
}

/// Prints a value as one line of JSON.
pub(crate) fn say_json<T: Serialize + ?Sized>(value: &T) -> Result<()> {
    say(&serde_json::to_string(value).run()?)
}

/// Prints text as it is.
pub(crate) fn write(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Error::Run(format!("standard output cannot be written: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Lines of cells, each column as wide as its widest cell; numbers of a column end where they end.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let heads = header.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    let lines = || std::iter::once(&heads).chain(rows);
    let widths: Vec<usize> = (0..heads.len())
        .map(|column| {
            let cells = lines().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in lines() {
        let cells = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_a_table_begin_at_one_place() {
        let rows = [["a", "12"], ["long", "3"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&["x", "n"], &rows), "x     n\na     12\nlong  3\n");
    }
}
