//! The `.npy` arrays of a data folder: C order, little-endian, float16, float32 or int32.

use std::error::Error;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use half::f16;

/// An array on the disk.
pub struct Npy {
    file: File,
    descr: String,
    data: u64,
    /// The length of each axis.
    pub shape: Vec<usize>,
}

impl Npy {
    /// Opens a file of format version 1.
    pub fn open(path: &Path) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let mut file = File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut frame = [0; 10];
        file.read_exact(&mut frame)?;
        if !frame.starts_with(b"\x93NUMPY\x01") {
            return Err(format!("{}: not a .npy file of version 1", path.display()).into());
        }
        let length = u16::from_le_bytes([frame[8], frame[9]]);
        let mut header = vec![0; usize::from(length)];
        file.read_exact(&mut header)?;
        let header = String::from_utf8(header)?;
        let descr = between(&header, "'descr': '", "'").ok_or("no dtype")?.to_owned();
        let axes = between(&header, "'shape': (", ")").ok_or("no shape")?;
        let axes = axes.split(',').map(str::trim).filter(|axis| !axis.is_empty());
        Ok(Self {
            file,
            descr,
            data: 10 + u64::from(length),
            shape: axes.map(str::parse).collect::<Result<_, _>>()?,
        })
    }

    /// Numbers `first..first + count` as float32.
    pub fn floats(&mut self, first: usize, count: usize) -> Result<Vec<f32>, Box<dyn Error + Send + Sync>> {
        match self.descr.as_str() {
            "<f2" => Ok(self.read(first, count, |b| f16::from_le_bytes(b).to_f32())?),
            "<f4" => Ok(self.read(first, count, f32::from_le_bytes)?),
            other => Err(format!("expected float16 or float32, got {other}").into()),
        }
    }

    /// Numbers `first..first + count` as counts.
    pub fn counts(&mut self, first: usize, count: usize) -> Result<Vec<usize>, Box<dyn Error + Send + Sync>> {
        if self.descr != "<i4" {
            return Err(format!("expected int32, got {}", self.descr).into());
        }
        let numbers = self.read(first, count, i32::from_le_bytes)?;
        Ok(numbers
            .into_iter()
            .map(usize::try_from)
            .collect::<Result<_, _>>()?)
    }

    fn read<const N: usize, T>(
        &mut self,
        first: usize,
        count: usize,
        decode: impl Fn([u8; N]) -> T,
    ) -> std::io::Result<Vec<T>> {
        let mut bytes = vec![0; N * count];
        self.file.seek(SeekFrom::Start(self.data + (N * first) as u64))?;
        self.file.read_exact(&mut bytes)?;
        Ok(bytes.as_chunks().0.iter().map(|&b| decode(b)).collect())
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}
