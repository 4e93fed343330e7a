//! The small files of an index: metadata, lengths, codebook.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::import::error::{ImportError, shorten};
use crate::import::npy::NpyReader;

pub(super) const METADATA: &str = "metadata.json";
pub(super) const CENTROIDS: &str = "centroids.npy";
pub(super) const CUTOFFS: &str = "bucket_cutoffs.npy";
pub(super) const WEIGHTS: &str = "bucket_weights.npy";

/// What is needed of `metadata.json`.
pub(super) struct Metadata {
    pub(super) bits: u8,
    pub(super) chunks: usize,
    /// Versions that do not write it leave it to the lengths.
    pub(super) documents: Option<u64>,
}

/// As fast-plaid and next-plaid write it, with what tells other indexes apart.
#[derive(Deserialize)]
struct Raw {
    nbits: Option<u64>,
    num_chunks: Option<u64>,
    num_documents: Option<u64>,
    #[serde(default)]
    binary: bool,
    config: Option<serde_json::Value>,
}

impl Metadata {
    pub(super) fn read(folder: &Path) -> Result<Self, ImportError> {
        let path = folder.join(METADATA);
        let raw: Raw = read_json(&path, "an object with nbits and num_chunks")?;
        let wrong = |expected: &str, got: String| ImportError::Index {
            path: path.clone(),
            expected: expected.to_owned(),
            got,
        };
        if raw.config.is_some() && raw.nbits.is_none() {
            let got = "the metadata of an index of ColBERT, whose arrays are PyTorch files";
            return Err(wrong("an index of fast-plaid or next-plaid", got.to_owned()));
        }
        if raw.binary {
            let got = "binary: true, an index of signs without residuals";
            return Err(wrong("residual codes of 1, 2 or 4 bits", got.to_owned()));
        }
        let show = |n: Option<u64>| n.map_or_else(|| "none".to_owned(), |n| n.to_string());
        let bits = match raw.nbits {
            Some(1) => 1,
            Some(2) => 2,
            Some(4) => 4,
            other => return Err(wrong("nbits of 1, 2 or 4", show(other))),
        };
        const MOST_CHUNKS: u64 = 1 << 24;
        let chunks = raw
            .num_chunks
            .filter(|&n| n <= MOST_CHUNKS)
            .and_then(|n| usize::try_from(n).ok())
            .ok_or_else(|| wrong("num_chunks, a number of chunks", show(raw.num_chunks)))?;
        Ok(Self {
            bits,
            chunks,
            // next-plaid writes 0 where it does not know.
            documents: raw.num_documents.filter(|&n| n > 0),
        })
    }
}

/// A JSON file of a known form.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path, expected: &str) -> Result<T, ImportError> {
    let bytes = std::fs::read(path).map_err(|source| ImportError::Io {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&bytes).map_err(|error| ImportError::Index {
        path: path.to_owned(),
        expected: expected.to_owned(),
        got: shorten(&error.to_string()),
    })
}

/// Rows of finite numbers, and how many are in a row.
pub(super) fn read_rows(path: &Path) -> Result<(Vec<f32>, usize), ImportError> {
    let reader = NpyReader::open(path)?;
    if reader.header().shape.len() != 2 {
        return Err(shape(&reader, "rows x dimensions".to_owned()));
    }
    let dim = reader.row_len();
    Ok((read_finite(reader)?, dim))
}

/// So many finite numbers on one axis.
pub(super) fn read_numbers(path: &Path, count: usize) -> Result<Vec<f32>, ImportError> {
    let reader = NpyReader::open(path)?;
    if reader.header().shape.as_slice() != [count as u64] {
        return Err(shape(&reader, format!("{count} numbers on one axis")));
    }
    read_finite(reader)
}

fn read_finite(mut reader: NpyReader) -> Result<Vec<f32>, ImportError> {
    let rows = usize::try_from(reader.rows()).unwrap_or(usize::MAX);
    let mut numbers = Vec::new();
    reader.read_f32(rows, &mut numbers)?;
    match numbers.iter().position(|number| !number.is_finite()) {
        None => Ok(numbers),
        Some(at) => Err(ImportError::Index {
            path: reader.path().to_owned(),
            expected: "finite numbers".to_owned(),
            got: format!("{} at place {at}", numbers[at]),
        }),
    }
}

/// An array of another shape than it should have.
pub(super) fn shape(reader: &NpyReader, expected: String) -> ImportError {
    ImportError::Index {
        path: reader.path().to_owned(),
        expected,
        got: format!("{:?} of shape {:?}", reader.header().dtype, reader.header().shape),
    }
}
