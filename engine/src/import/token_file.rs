//! The tokens of a `.npy` file, read one at a time from wherever they lie.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use half::f16;
use latewood_storage::AwaitedTokens;

use super::error::ImportError;
use super::npy::NpyReader;
use super::npy_header::NpyType;

/// Token matrices that are going to be loaded, for a codebook to be trained on before they are.
#[derive(Debug)]
pub(crate) struct TokenFile {
    path: PathBuf,
    file: Mutex<File>,
    dim: usize,
    dtype: NpyType,
    data_offset: u64,
    /// Tokens of each document.
    lengths: Vec<u32>,
    /// The first token of each document.
    starts: Vec<u64>,
}

impl TokenFile {
    /// Opens the file of a reader that has checked it, with the tokens of each document.
    pub(super) fn open(reader: &NpyReader, lengths: &[u64]) -> Result<Self, ImportError> {
        let path = reader.path().to_owned();
        let file = File::open(&path).map_err(|source| ImportError::Io {
            path: path.clone(),
            source,
        })?;
        let mut first = 0;
        let starts = lengths.iter().map(|length| {
            first += length;
            first - length
        });
        Ok(Self {
            starts: starts.collect(),
            // A document of more tokens than that is refused when it is read.
            lengths: lengths
                .iter()
                .map(|&length| u32::try_from(length).unwrap_or(0))
                .collect(),
            dim: reader.row_len(),
            dtype: reader.header().dtype,
            data_offset: reader.header().data_offset,
            file: Mutex::new(file),
            path,
        })
    }

    /// Calls `train` with all that a training needs.
    pub(crate) fn with_tokens<T>(&self, train: impl FnOnce(&AwaitedTokens<'_>) -> T) -> T {
        train(&AwaitedTokens {
            path: &self.path,
            lengths: &self.lengths,
            read: &|document, token, out| self.read(document, token, out),
        })
    }

    /// Numbers of a token.
    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// Tokens of all documents.
    pub(crate) fn tokens(&self) -> u64 {
        self.lengths.iter().map(|&length| u64::from(length)).sum()
    }

    fn read(&self, document: usize, token: usize, out: &mut [f32]) -> std::io::Result<()> {
        let row = self.starts.get(document).copied().unwrap_or(0) + token as u64;
        let mut bytes = vec![0; out.len() * self.dtype.bytes()];
        let position = self.data_offset + row * bytes.len() as u64;
        {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(position))?;
            file.read_exact(&mut bytes)?;
        }
        if self.dtype == NpyType::F16 {
            let numbers = bytes
                .as_chunks()
                .0
                .iter()
                .map(|&b| f16::from_le_bytes(b).to_f32());
            out.iter_mut().zip(numbers).for_each(|(to, from)| *to = from);
        } else {
            let numbers = bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b));
            out.iter_mut().zip(numbers).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::npy::tests::write_npy;
    use super::*;

    #[test]
    fn tokens_are_found_by_document_and_place_in_either_precision() {
        let folder = tempfile::tempdir().unwrap();
        let numbers: Vec<f32> = (0_u8..12).map(f32::from).collect();
        let wide: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        let narrow: Vec<u8> = numbers
            .iter()
            .flat_map(|&n| f16::from_f32(n).to_le_bytes())
            .collect();
        for (name, descr, bytes) in [("wide.npy", "<f4", wide), ("narrow.npy", "<f2", narrow)] {
            let path = folder.path().join(name);
            write_npy(&path, descr, "(6, 2)", &bytes);
            let file = TokenFile::open(&NpyReader::open(&path).unwrap(), &[1, 3, 2]).unwrap();
            assert_eq!((file.tokens(), file.dim()), (6, 2));
            let mut token = [0.0; 2];
            let mut read = |document, place| {
                file.with_tokens(|tokens| (tokens.read)(document, place, &mut token))
                    .map(|()| token)
            };
            assert_eq!(read(0, 0).unwrap(), [0.0, 1.0]);
            assert_eq!(read(1, 2).unwrap(), [6.0, 7.0]);
            assert_eq!(read(2, 1).unwrap(), [10.0, 11.0]);
            assert!(read(2, 2).is_err(), "past the end of the file");
        }
    }
}
