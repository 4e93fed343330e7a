//! A `.npy` file read in blocks of rows, so that a file of gigabytes never lies in memory whole.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::f16;

use super::error::ImportError;
use super::npy_header::{NpyHeader, NpyType};

/// Rows of a `.npy` file, one block after the other. A row is what the last axis spans; a three-dimensional array of
/// documents x tokens x dimensions reads as documents * tokens rows.
#[derive(Debug)]
pub struct NpyReader {
    path: PathBuf,
    header: NpyHeader,
    input: BufReader<File>,
    bytes: Vec<u8>,
    next_row: u64,
}

impl NpyReader {
    /// Opens a file and checks that it holds all the numbers that its header promises.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ImportError> {
        const BUFFER_BYTES: usize = 1 << 20;
        let path = path.into();
        let io = |source| ImportError::Io {
            path: path.clone(),
            source,
        };
        let file = File::open(&path).map_err(io)?;
        let file_bytes = file.metadata().map_err(io)?.len();
        let mut input = BufReader::with_capacity(BUFFER_BYTES, file);
        let header = NpyHeader::read(&mut input).map_err(|(expected, got)| ImportError::Npy {
            path: path.clone(),
            expected,
            got,
        })?;
        let promised = header
            .count()
            .and_then(|n| n.checked_mul(u64::try_from(header.dtype.bytes()).unwrap_or(8)))
            .and_then(|n| n.checked_add(header.data_offset));
        if promised.is_none_or(|bytes| bytes > file_bytes) {
            return Err(ImportError::Npy {
                expected: match promised {
                    Some(bytes) => format!("{bytes} bytes for shape {:?}", header.shape),
                    None => "a shape that fits into memory".to_owned(),
                },
                got: format!("a file of {file_bytes} bytes"),
                path,
            });
        }
        Ok(Self {
            path,
            header,
            input,
            bytes: Vec::new(),
            next_row: 0,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Type and shape.
    pub fn header(&self) -> &NpyHeader {
        &self.header
    }

    /// Numbers in a row: the last axis, or 1 for a one-dimensional array.
    pub fn row_len(&self) -> usize {
        match self.header.shape.as_slice() {
            [] | [_] => 1,
            [.., last] => usize::try_from(*last).unwrap_or(usize::MAX),
        }
    }

    /// Rows of the whole file.
    pub fn rows(&self) -> u64 {
        match self.header.shape.as_slice() {
            [] => 1,
            [only] => *only,
            [before @ .., _] => before.iter().product(),
        }
    }

    /// Rows not read yet.
    pub fn remaining(&self) -> u64 {
        self.rows() - self.next_row
    }

    /// Goes past `rows` rows without reading them.
    pub fn skip(&mut self, rows: u64) -> Result<(), ImportError> {
        let rows = rows.min(self.remaining());
        self.next_row += rows;
        let row_bytes = self.row_len().saturating_mul(self.header.dtype.bytes());
        let row_bytes = u64::try_from(row_bytes).unwrap_or(u64::MAX);
        let position = self.next_row.saturating_mul(row_bytes);
        let position = position.saturating_add(self.header.data_offset);
        self.input
            .seek(SeekFrom::Start(position))
            .map_err(|source| ImportError::Io {
                path: self.path.clone(),
                source,
            })?;
        Ok(())
    }

    /// Appends the next `rows` rows to `out` as f16; numbers of f32 are rounded to the nearest.
    pub fn read_f16(&mut self, rows: usize, out: &mut Vec<f16>) -> Result<(), ImportError> {
        let dtype = self.fill(rows)?;
        match dtype {
            NpyType::F16 => out.extend(self.bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b))),
            NpyType::F32 => {
                out.extend(
                    self.bytes
                        .as_chunks()
                        .0
                        .iter()
                        .map(|&b| f16::from_f32(f32::from_le_bytes(b))),
                );
            }
            _ => return Err(self.not("float16 or float32")),
        }
        Ok(())
    }

    /// Appends the next `rows` rows to `out` as f32.
    pub fn read_f32(&mut self, rows: usize, out: &mut Vec<f32>) -> Result<(), ImportError> {
        let dtype = self.fill(rows)?;
        match dtype {
            NpyType::F16 => out.extend(
                self.bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&b| f16::from_le_bytes(b).to_f32()),
            ),
            NpyType::F32 => out.extend(self.bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b))),
            _ => return Err(self.not("float16 or float32")),
        }
        Ok(())
    }

    /// Appends the next `rows` rows to `out` as counts; a negative one is an error.
    pub(crate) fn read_counts(&mut self, rows: usize, out: &mut Vec<u64>) -> Result<(), ImportError> {
        let dtype = self.fill(rows)?;
        let first = out.len();
        match dtype {
            NpyType::I32 => {
                out.extend(
                    self.bytes
                        .as_chunks()
                        .0
                        .iter()
                        .map(|&b| u64::try_from(i32::from_le_bytes(b)).unwrap_or(u64::MAX)),
                );
            }
            NpyType::I64 => {
                out.extend(
                    self.bytes
                        .as_chunks()
                        .0
                        .iter()
                        .map(|&b| u64::try_from(i64::from_le_bytes(b)).unwrap_or(u64::MAX)),
                );
            }
            NpyType::U32 => out.extend(
                self.bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&b| u64::from(u32::from_le_bytes(b))),
            ),
            NpyType::U64 => out.extend(self.bytes.as_chunks().0.iter().map(|&b| u64::from_le_bytes(b))),
            _ => return Err(self.not("int32 or int64")),
        }
        match out.iter().skip(first).position(|&n| n > u64::from(u32::MAX)) {
            Some(row) => Err(ImportError::Npy {
                path: self.path.clone(),
                expected: "integers of 0 to 4,294,967,295".to_owned(),
                got: format!("another number in row {row}"),
            }),
            None => Ok(()),
        }
    }

    /// Appends the bytes of the next `rows` rows to `out`.
    pub(crate) fn read_bytes(&mut self, rows: usize, out: &mut Vec<u8>) -> Result<(), ImportError> {
        match self.fill(rows)? {
            NpyType::U8 => out.extend(&self.bytes),
            _ => return Err(self.not("uint8")),
        }
        Ok(())
    }

    fn fill(&mut self, rows: usize) -> Result<NpyType, ImportError> {
        // A file without rows may say that they are of any length.
        let left = self.rows().saturating_sub(self.next_row);
        let row_bytes = self.row_len().saturating_mul(self.header.dtype.bytes());
        if rows > 0 && u64::try_from(rows).unwrap_or(u64::MAX) > left {
            return Err(ImportError::Io {
                path: self.path.clone(),
                source: std::io::ErrorKind::UnexpectedEof.into(),
            });
        }
        self.bytes.resize(rows.saturating_mul(row_bytes), 0);
        self.input
            .read_exact(&mut self.bytes)
            .map_err(|source| ImportError::Io {
                path: self.path.clone(),
                source,
            })?;
        self.next_row += u64::try_from(rows).unwrap_or(u64::MAX);
        Ok(self.header.dtype)
    }

    fn not(&self, expected: &str) -> ImportError {
        ImportError::Npy {
            path: self.path.clone(),
            expected: expected.to_owned(),
            got: format!("{:?}", self.header.dtype),
        }
    }
}

/// Reads a one-dimensional file of lengths (tokens of each document), whole: 8 bytes a document.
pub fn read_lengths(path: impl Into<PathBuf>) -> Result<Vec<u64>, ImportError> {
    let mut reader = NpyReader::open(path)?;
    if reader.header.shape.len() != 1 {
        return Err(ImportError::Npy {
            path: reader.path,
            expected: "one axis, one length a document".to_owned(),
            got: format!("shape {:?}", reader.header.shape),
        });
    }
    let rows = usize::try_from(reader.rows()).unwrap_or(usize::MAX);
    let mut lengths = Vec::new();
    reader.read_counts(rows, &mut lengths)?;
    Ok(lengths)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Writes a file as numpy.save does.
    pub(crate) fn write_npy(path: &Path, descr: &str, shape: &str, data: &[u8]) {
        let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
        while (10 + header.len() + 1) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        std::fs::write(path, bytes).unwrap();
    }

    fn f32_bytes(numbers: &[f32]) -> Vec<u8> {
        numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    #[test]
    fn blocks_of_rows_come_in_order_and_rows_can_be_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let numbers: Vec<f32> = (0_u8..12).map(f32::from).collect();
        write_npy(&path, "<f4", "(2, 3, 2)", &f32_bytes(&numbers));
        let mut reader = NpyReader::open(&path).unwrap();
        assert_eq!((reader.rows(), reader.row_len()), (6, 2));
        let mut out = Vec::new();
        reader.read_f32(2, &mut out).unwrap();
        reader.skip(1).unwrap();
        reader.read_f32(3, &mut out).unwrap();
        assert_eq!(out, [0., 1., 2., 3., 6., 7., 8., 9., 10., 11.]);
        assert_eq!(reader.remaining(), 0);
        assert!(reader.read_f32(1, &mut out).is_err());
    }

    #[test]
    fn f16_and_f32_agree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let halves: Vec<u8> = [0.5_f32, -2.0]
            .iter()
            .flat_map(|&n| f16::from_f32(n).to_le_bytes())
            .collect();
        write_npy(&path, "<f2", "(1, 2)", &halves);
        let mut out = Vec::new();
        NpyReader::open(&path).unwrap().read_f32(1, &mut out).unwrap();
        assert_eq!(out, [0.5, -2.0]);
        let mut out = Vec::new();
        NpyReader::open(&path).unwrap().read_f16(1, &mut out).unwrap();
        assert_eq!(out, [f16::from_f32(0.5), f16::from_f32(-2.0)]);
    }

    #[test]
    fn a_short_file_and_wrong_types_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        write_npy(&path, "<f4", "(2, 3)", &f32_bytes(&[0.0; 5]));
        assert!(matches!(NpyReader::open(&path), Err(ImportError::Npy { .. })));
        write_npy(&path, "<f4", "(18446744073709551615, 3)", &[]);
        assert!(matches!(NpyReader::open(&path), Err(ImportError::Npy { .. })));
        write_npy(&path, "<f4", "(0, 14219365223484446036)", &[]);
        let mut endless = NpyReader::open(&path).unwrap();
        endless.read_f32(0, &mut Vec::new()).unwrap();
        assert!(endless.read_f32(1, &mut Vec::new()).is_err(), "there is no row");
        write_npy(&path, "<i4", "(2,)", &[1, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(read_lengths(&path).unwrap(), [1, 2]);
        assert!(
            NpyReader::open(&path)
                .unwrap()
                .read_f32(1, &mut Vec::new())
                .is_err()
        );
        write_npy(&path, "<i4", "(1,)", &(-1_i32).to_le_bytes());
        assert!(read_lengths(&path).is_err());
        assert!(matches!(
            NpyReader::open(folder.path().join("none.npy")),
            Err(ImportError::Io { .. })
        ));
    }
}
