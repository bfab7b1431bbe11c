//! The losses of a run as a CSV file that goes on where a checkpoint says.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::PathBuf;

use crate::{Error, Report, Result};

const HEADER: &str = "step,loss,gradient_norm,learning_rate,validation\n";

/// A CSV file with one row a step. Numbers are written so that they are read as the same bits; no clock is.
#[derive(Debug)]
pub(crate) struct LossFile {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    bytes: u64,
}

impl LossFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            bytes: 0,
        }
    }

    /// Starts the file, unless it is open.
    pub(crate) fn start(&mut self) -> Result<()> {
        if self.file.is_none() {
            let file = File::create(&self.path).map_err(|source| self.failed(source))?;
            self.file = Some(BufWriter::new(file));
            self.bytes = 0;
            self.write(HEADER)?;
        }
        Ok(())
    }

    /// Cuts the file back to the `bytes` that it had, and goes on there; a warning where it has fewer.
    pub(crate) fn resume(&mut self, bytes: u64) -> Result<Option<String>> {
        let resume = || -> std::io::Result<(File, u64)> {
            let mut options = OpenOptions::new();
            let mut file = options
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&self.path)?;
            let mut whole = file.metadata()?.len().min(bytes);
            if whole < bytes {
                whole = whole_lines(&mut file, whole)?;
            }
            file.set_len(whole)?;
            file.seek(SeekFrom::Start(whole))?;
            Ok((file, whole))
        };
        let (file, whole) = resume().map_err(|source| self.failed(source))?;
        self.file = Some(BufWriter::new(file));
        self.bytes = whole;
        if whole == 0 {
            self.write(HEADER)?;
        }
        Ok((whole < bytes).then(|| {
            format!(
                "{} has lost rows: it should hold {bytes} bytes and has {whole}; new rows follow them",
                self.path.display()
            )
        }))
    }

    pub(crate) fn row(&mut self, report: &Report) -> Result<()> {
        let Report {
            step,
            loss,
            gradient_norm,
            learning_rate,
            ..
        } = report;
        let validation = report.validation.map(|loss| loss.to_string()).unwrap_or_default();
        self.write(&format!(
            "{step},{loss},{gradient_norm},{learning_rate},{validation}\n"
        ))
    }

    /// Makes the rows durable; returns how many bytes there are.
    pub(crate) fn sync(&mut self) -> Result<u64> {
        if let Some(file) = &mut self.file {
            let synced = file.flush().and_then(|()| file.get_ref().sync_all());
            synced.map_err(|source| self.failed(source))?;
        }
        Ok(self.bytes)
    }

    /// How many bytes have been written.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn write(&mut self, text: &str) -> Result<()> {
        if let Some(file) = &mut self.file {
            file.write_all(text.as_bytes())
                .map_err(|source| self.failed(source))?;
            self.bytes += text.len() as u64;
        }
        Ok(())
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::io("writing", &self.path, source)
    }
}

/// How many of the first `bytes` bytes are whole lines.
fn whole_lines(file: &mut File, bytes: u64) -> std::io::Result<u64> {
    let mut reader = BufReader::new(file);
    let (mut whole, mut line) = (0, Vec::new());
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line)? as u64;
        if line.last() != Some(&b'\n') || whole + length > bytes {
            return Ok(whole);
        }
        whole += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(step: u64) -> Report {
        Report {
            step,
            steps: 9,
            loss: 0.1 + 0.2,
            gradient_norm: 1e-300,
            learning_rate: 0.5,
            skipped: false,
            validation: (step == 2).then_some(f64::NAN),
            saved: false,
        }
    }

    #[test]
    fn a_file_goes_on_where_it_was_told_and_says_what_it_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loss.csv");
        let mut file = LossFile::new(path.clone());
        file.start().unwrap();
        file.row(&report(1)).unwrap();
        let bytes = file.sync().unwrap();
        file.row(&report(2)).unwrap();
        file.row(&report(3)).unwrap();
        file.sync().unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            whole.lines().nth(1),
            Some(format!("1,0.30000000000000004,{},0.5,", 1e-300f64).as_str())
        );
        assert!(whole.contains(",NaN\n"));

        let mut again = LossFile::new(path.clone());
        assert_eq!(again.resume(bytes).unwrap(), None);
        again.row(&report(2)).unwrap();
        again.row(&report(3)).unwrap();
        again.sync().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);

        // Half of the second row is gone: the first stays, and it is said.
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(bytes + 5)
            .unwrap();
        let warning = LossFile::new(path.clone()).resume(bytes + 20).unwrap().unwrap();
        assert!(warning.contains("loss.csv has lost rows"), "{warning}");
        assert_eq!(std::fs::read_to_string(&path).unwrap().len() as u64, bytes);
        std::fs::remove_file(&path).unwrap();
        let mut anew = LossFile::new(path.clone());
        assert!(anew.resume(bytes).unwrap().is_some());
        anew.sync().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), HEADER);
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named() {
        let error = LossFile::new(PathBuf::from("/nowhere/loss.csv"))
            .start()
            .unwrap_err();
        assert!(error.to_string().contains("/nowhere/loss.csv"), "{error}");
    }
}
