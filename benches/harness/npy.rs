//! `.npy` files as numpy writes them, row by row: arrays that do not fit into memory can be written.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use half::f16;
use half::slice::HalfFloatSliceExt;

/// A file that is being written.
pub struct NpyWriter {
    out: BufWriter<File>,
    promised: u64,
    written: u64,
    scratch: Vec<u8>,
}

impl NpyWriter {
    /// Begins a file of this shape, C order. `descr` is numpy's name of the type: `<f2`, `<f4` or `<i4`.
    ///
    /// # Errors
    /// What creating and writing a file can fail with.
    pub fn create(path: &Path, descr: &str, shape: &[u64]) -> io::Result<Self> {
        const FRAME: usize = 10;
        const ALIGN: usize = 64;
        let axes: Vec<String> = shape.iter().map(ToString::to_string).collect();
        let comma = if shape.len() == 1 { "," } else { "" };
        let axes = format!("({}{comma})", axes.join(", "));
        let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {axes}, }}");
        let end = (FRAME + header.len() + 1).next_multiple_of(ALIGN) - FRAME - 1;
        header.extend(std::iter::repeat_n(' ', end - header.len()));
        header.push('\n');
        let length = u16::try_from(header.len()).map_err(io::Error::other)?;
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        out.write_all(b"\x93NUMPY\x01\x00")?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        Ok(Self {
            out,
            promised: shape.iter().product(),
            written: 0,
            scratch: Vec::new(),
        })
    }

    /// Appends numbers as `<f2`, rounded to the nearest.
    ///
    /// # Errors
    /// What writing a file can fail with.
    pub fn f16(&mut self, numbers: &[f32]) -> io::Result<()> {
        let mut narrow = vec![f16::ZERO; numbers.len()];
        narrow.convert_from_f32_slice(numbers);
        self.append(narrow.iter().map(|n| n.to_le_bytes()))
    }

    /// Appends numbers as `<f4`.
    ///
    /// # Errors
    /// What writing a file can fail with.
    pub fn f32(&mut self, numbers: &[f32]) -> io::Result<()> {
        self.append(numbers.iter().map(|n| n.to_le_bytes()))
    }

    /// Appends numbers as `<i4`.
    ///
    /// # Errors
    /// What writing a file can fail with, and a number of more than 31 bits.
    pub fn i32(&mut self, numbers: &[u32]) -> io::Result<()> {
        let signed: Result<Vec<i32>, _> = numbers.iter().map(|&n| i32::try_from(n)).collect();
        let signed = signed.map_err(io::Error::other)?;
        self.append(signed.iter().map(|n| n.to_le_bytes()))
    }

    fn append<const N: usize>(&mut self, numbers: impl Iterator<Item = [u8; N]>) -> io::Result<()> {
        self.scratch.clear();
        self.scratch.extend(numbers.flatten());
        self.written += (self.scratch.len() / N) as u64;
        self.out.write_all(&self.scratch)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// What writing a file can fail with, and another count of numbers than the shape promised.
    pub fn finish(mut self) -> io::Result<()> {
        if self.written != self.promised {
            let message = format!("{} numbers for a shape of {}", self.written, self.promised);
            return Err(io::Error::other(message));
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use latewood::import::{NpyReader, read_lengths};

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        for (descr, exact) in [("<f2", [0.5, -2.0, 0.25, 3.0]), ("<f4", [0.1, -2.0, 0.3, 1e-20])] {
            let mut writer = NpyWriter::create(&path, descr, &[2, 2]).unwrap();
            for row in exact.chunks(2) {
                let written = if descr == "<f2" {
                    writer.f16(row)
                } else {
                    writer.f32(row)
                };
                written.unwrap();
            }
            writer.finish().unwrap();
            let mut reader = NpyReader::open(&path).unwrap();
            assert_eq!(reader.header().shape, [2, 2]);
            assert_eq!(reader.header().data_offset % 64, 0);
            let mut back = Vec::new();
            reader.read_f32(2, &mut back).unwrap();
            assert_eq!(back, exact);
        }
        let mut writer = NpyWriter::create(&path, "<i4", &[3]).unwrap();
        writer.i32(&[7, 0, 9]).unwrap();
        writer.finish().unwrap();
        assert_eq!(read_lengths(&path).unwrap(), [7, 0, 9]);
    }

    #[test]
    fn another_count_than_promised_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = NpyWriter::create(&folder.path().join("a.npy"), "<f4", &[3]).unwrap();
        writer.f32(&[1.0, 2.0]).unwrap();
        assert!(writer.finish().unwrap_err().to_string().contains("2 numbers"));
    }
}
