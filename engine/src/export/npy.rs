//! Writing `.npy` files (numpy/lib/format.py, version 1.0), row after row.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// A new `.npy` file, its numbers written row after row.
#[derive(Debug)]
pub(crate) struct NpyWriter {
    path: PathBuf,
    output: BufWriter<File>,
}

/// A new `.npy` file of rows whose number is known when the last is written.
#[derive(Debug)]
pub(crate) struct NpyRows {
    writer: NpyWriter,
    descr: &'static str,
    columns: u64,
    rows: u64,
}

impl NpyRows {
    /// Creates a file of rows of so many numbers of type `descr`; it must not exist.
    pub(crate) fn create(path: PathBuf, descr: &'static str, columns: usize) -> Result<Self, Error> {
        let columns = columns as u64;
        Ok(Self {
            writer: NpyWriter::create(path, descr, &[0, columns])?,
            descr,
            columns,
            rows: 0,
        })
    }

    /// Appends rows, little-endian.
    pub(crate) fn write(&mut self, rows: usize, bytes: &[u8]) -> Result<(), Error> {
        self.rows += rows as u64;
        self.writer.write(bytes)
    }

    /// Puts the number of rows into the header, ends and syncs the file.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let Self { mut writer, .. } = self;
        let header = header(self.descr, &[self.rows, self.columns]);
        writer
            .output
            .seek(SeekFrom::Start(0))
            .map_err(|source| Error::Write {
                path: writer.path.clone(),
                source,
            })?;
        writer.write(&header)?;
        writer.finish()
    }
}

impl NpyWriter {
    /// Creates a file of numbers of type `descr`, such as `<i8`; it must not exist.
    pub(crate) fn create(path: PathBuf, descr: &str, shape: &[u64]) -> Result<Self, Error> {
        const BUFFER_BYTES: usize = 1 << 18;
        let file = File::create_new(&path).map_err(|source| Error::Write {
            path: path.clone(),
            source,
        })?;
        let mut writer = Self {
            path,
            output: BufWriter::with_capacity(BUFFER_BYTES, file),
        };
        writer.write(&header(descr, shape))?;
        Ok(writer)
    }

    /// Appends numbers, little-endian.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.output.write_all(bytes).map_err(|source| Error::Write {
            path: self.path.clone(),
            source,
        })
    }

    /// Ends and syncs the file.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        let synced = self
            .output
            .flush()
            .and_then(|()| self.output.get_ref().sync_all());
        synced.map_err(|source| Error::Write {
            path: self.path,
            source,
        })
    }
}

/// Writes a whole array.
pub(crate) fn write_array(path: &Path, descr: &str, shape: &[u64], bytes: &[u8]) -> Result<(), Error> {
    let mut writer = NpyWriter::create(path.to_owned(), descr, shape)?;
    writer.write(bytes)?;
    writer.finish()
}

/// Magic, version, length, dictionary; the numbers begin at byte 128, whatever the shape's numbers are.
fn header(descr: &str, shape: &[u64]) -> Vec<u8> {
    let axes: String = shape.iter().map(|axis| format!("{axis},")).collect();
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({axes}), }}");
    const PREFIX: usize = 10;
    while !(PREFIX + text.len() + 1).is_multiple_of(128) {
        text.push(' ');
    }
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    // A shape has a few axes of at most 20 digits.
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    header.extend(length.to_le_bytes());
    header.extend(text.into_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::{NpyReader, NpyType, read_lengths};

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let bytes: Vec<u8> = [3_i64, 0, 70_000].iter().flat_map(|n| n.to_le_bytes()).collect();
        write_array(&path, "<i8", &[3], &bytes).unwrap();
        assert_eq!(read_lengths(&path).unwrap(), [3, 0, 70_000]);
        let header = NpyReader::open(&path).unwrap().header().clone();
        assert_eq!((header.dtype, header.data_offset % 64), (NpyType::I64, 0));
        assert!(
            matches!(write_array(&path, "<i8", &[3], &bytes), Err(Error::Write { .. })),
            "never overwritten"
        );
        let path = folder.path().join("c.npy");
        let mut rows = NpyRows::create(path.clone(), "<f2", 1).unwrap();
        (0..3).for_each(|_| rows.write(1, &[0, 60]).unwrap());
        rows.finish().unwrap();
        let mut halves = Vec::new();
        let mut reader = NpyReader::open(&path).unwrap();
        reader.read_f32(3, &mut halves).unwrap();
        assert_eq!((reader.remaining(), halves), (0, vec![1.0; 3]));
        let path = folder.path().join("b.npy");
        write_array(&path, "<f4", &[1, 2], &[0, 0, 128, 63, 0, 0, 0, 192]).unwrap();
        let mut reader = NpyReader::open(&path).unwrap();
        let mut out = Vec::new();
        reader.read_f32(1, &mut out).unwrap();
        assert_eq!(
            (reader.header().shape.as_slice(), out.as_slice()),
            ([1, 2].as_slice(), [1.0, -2.0].as_slice())
        );
    }
}
