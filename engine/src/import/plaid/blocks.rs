//! Where the codes and residuals of each chunk are, and reading them block by block.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use latewood_codecs::ResidualCodec;
use latewood_storage::CodedBlock;
use serde::Deserialize;

use super::files::{self, Metadata};
use crate::error::Error;
use crate::import::error::ImportError;
use crate::import::npy::NpyReader;
use crate::import::npy_header::NpyType;

/// Tokens that are read at once.
const BLOCK_TOKENS: u64 = 1 << 14;

/// The documents of a chunk, and where their tokens are.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) lengths: Vec<u32>,
    codes: Part,
    residuals: Part,
}

impl Chunk {
    pub(super) fn tokens(&self) -> u64 {
        self.lengths.iter().map(|&length| u64::from(length)).sum()
    }
}

/// Rows of a file: the chunk's own, or its part of the merged one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    path: PathBuf,
    first_row: u64,
}

/// An entry of `merged_*.manifest.json`.
#[derive(Deserialize)]
struct Merged {
    rows: u64,
}

/// Finds the parts of all chunks, and checks shapes and numbers of rows.
pub(super) fn chunks(
    folder: &Path,
    metadata: &Metadata,
    codec: &ResidualCodec,
) -> Result<Vec<Chunk>, ImportError> {
    let lengths = (0..metadata.chunks)
        .map(|i| {
            files::read_json(
                &folder.join(format!("doclens.{i}.json")),
                "a list of document lengths",
            )
        })
        .collect::<Result<Vec<Vec<u32>>, _>>()?;
    let rows: Vec<u64> = lengths
        .iter()
        .map(|chunk| chunk.iter().map(|&n| u64::from(n)).sum())
        .collect();
    let codes = parts(folder, "codes", &rows, &|reader| check_codes(reader))?;
    let residuals = parts(folder, "residuals", &rows, &|reader| {
        check_residuals(reader, codec)
    })?;
    let chunks = lengths.into_iter().zip(codes).zip(residuals);
    Ok(chunks
        .map(|((lengths, codes), residuals)| Chunk {
            lengths,
            codes,
            residuals,
        })
        .collect())
}

/// Where the rows of each chunk are; `rows` is how many each has.
fn parts(
    folder: &Path,
    what: &str,
    rows: &[u64],
    check: &dyn Fn(&NpyReader) -> Result<(), ImportError>,
) -> Result<Vec<Part>, ImportError> {
    let manifest_path = folder.join(format!("merged_{what}.manifest.json"));
    let manifest = read_manifest(&manifest_path)?;
    let merged_path = folder.join(format!("merged_{what}.npy"));
    let mut merged: Option<NpyReader> = None;
    let mut parts = Vec::with_capacity(rows.len());
    let mut next_merged = 0_u64;
    for (i, &expected) in rows.iter().enumerate() {
        let name = format!("{i}.{what}.npy");
        // Without a manifest the merged file has exactly the documents' rows.
        let entry = manifest
            .as_ref()
            .map_or(Some(expected), |m| m.get(&name).map(|entry| entry.rows));
        let first_row = next_merged;
        next_merged = next_merged.saturating_add(entry.unwrap_or(0));
        let own = folder.join(&name);
        if own.exists() || !merged_path.exists() {
            let reader = NpyReader::open(&own)?;
            check(&reader)?;
            agree(&own, folder, i, reader.rows(), expected)?;
            parts.push(Part {
                path: own,
                first_row: 0,
            });
            continue;
        }
        let reader = match merged.take() {
            Some(reader) => reader,
            None => NpyReader::open(&merged_path).and_then(|reader| check(&reader).map(|()| reader))?,
        };
        let there = entry.unwrap_or(0).min(reader.rows().saturating_sub(first_row));
        agree(&merged_path, folder, i, there, expected)?;
        merged = Some(reader);
        parts.push(Part {
            path: merged_path.clone(),
            first_row,
        });
    }
    Ok(parts)
}

/// How many rows each chunk has in a merged file, if there is a manifest. next-plaid wraps it into `chunks`.
fn read_manifest(path: &Path) -> Result<Option<HashMap<String, Merged>>, ImportError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Manifest {
        Wrapped { chunks: HashMap<String, Merged> },
        Plain(HashMap<String, Merged>),
    }
    if !path.exists() {
        return Ok(None);
    }
    match files::read_json(path, "an object of chunks with their rows")? {
        Manifest::Wrapped { chunks } | Manifest::Plain(chunks) => Ok(Some(chunks)),
    }
}

fn agree(path: &Path, folder: &Path, chunk: usize, rows: u64, expected: u64) -> Result<(), ImportError> {
    if rows == expected {
        return Ok(());
    }
    Err(ImportError::Disagree {
        first: path.to_owned(),
        second: folder.join(format!("doclens.{chunk}.json")),
        reason: format!("{rows} tokens of chunk {chunk}, and lengths that add up to {expected}"),
    })
}

fn check_codes(reader: &NpyReader) -> Result<(), ImportError> {
    let header = reader.header();
    if header.shape.len() == 1 && !header.dtype.is_float() && header.dtype != NpyType::U8 {
        return Ok(());
    }
    Err(files::shape(
        reader,
        "integers on one axis, a code a token".to_owned(),
    ))
}

fn check_residuals(reader: &NpyReader, codec: &ResidualCodec) -> Result<(), ImportError> {
    let (header, bytes) = (reader.header(), codec.residual_bytes());
    let fits = header.shape.len() == 2 && reader.row_len() == bytes && header.dtype == NpyType::U8;
    if fits {
        return Ok(());
    }
    let (dim, bits) = (codec.dim(), codec.bits());
    let expected = format!("U8, tokens x {bytes}, as {dim} numbers at {bits} bits take");
    Err(files::shape(reader, expected))
}

/// The codes of an index, in the order of documents.
#[derive(Debug)]
pub(crate) struct Blocks {
    chunks: std::vec::IntoIter<Chunk>,
    centroids: usize,
    current: Option<Current>,
}

/// The chunk that is being read.
#[derive(Debug)]
struct Current {
    codes: NpyReader,
    residuals: NpyReader,
    left: u64,
    /// Tokens of the file before the next one.
    position: u64,
}

impl Blocks {
    pub(super) fn new(chunks: Vec<Chunk>, codec: &ResidualCodec) -> Self {
        Self {
            chunks: chunks.into_iter(),
            centroids: codec.len(),
            current: None,
        }
    }

    fn read(&mut self) -> Result<Option<CodedBlock>, ImportError> {
        loop {
            match &mut self.current {
                Some(current) if current.left > 0 => return current.read(self.centroids).map(Some),
                _ => match self.chunks.next() {
                    Some(chunk) => self.current = Some(Current::open(&chunk)?),
                    None => return Ok(None),
                },
            }
        }
    }
}

impl Iterator for Blocks {
    type Item = Result<CodedBlock, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().map_err(Error::from).transpose()
    }
}

impl Current {
    fn open(chunk: &Chunk) -> Result<Self, ImportError> {
        let open = |part: &Part| {
            let mut reader = NpyReader::open(&part.path)?;
            reader.skip(part.first_row)?;
            Ok(reader)
        };
        Ok(Self {
            codes: open(&chunk.codes)?,
            residuals: open(&chunk.residuals)?,
            left: chunk.tokens(),
            position: chunk.codes.first_row,
        })
    }

    fn read(&mut self, centroids: usize) -> Result<CodedBlock, ImportError> {
        let tokens = self.left.min(BLOCK_TOKENS);
        let rows = usize::try_from(tokens).unwrap_or(usize::MAX);
        let (mut wide, mut residuals) = (Vec::with_capacity(rows), Vec::new());
        self.codes.read_counts(rows, &mut wide)?;
        self.residuals.read_bytes(rows, &mut residuals)?;
        let mut codes = Vec::with_capacity(rows);
        for (token, code) in (self.position..).zip(wide) {
            match u32::try_from(code) {
                Ok(code) if (code as usize) < centroids => codes.push(code),
                _ => {
                    return Err(ImportError::Index {
                        path: self.codes.path().to_owned(),
                        expected: format!("codes below {centroids}, the number of centroids"),
                        got: format!("{code} for token {token}"),
                    });
                }
            }
        }
        self.left -= tokens;
        self.position += tokens;
        Ok(CodedBlock { codes, residuals })
    }
}
