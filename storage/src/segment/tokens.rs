//! Token matrices: the tokens of all documents one after another, raw or as residual codes, and where each document's
//! end.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use half::f16;
use latewood_codecs::{Codes, ResidualCodes, ResidualRows};

use super::codebook::{Codebook, known_distortion};
use super::component::Component;
use super::distortion::Distortion;
use super::ends::{Ends, write_ends};
use super::reader::ComponentFile;
use super::writer::{ComponentWriter, Finished};
use crate::backend::StorageBackend;
use crate::error::{Result, StorageError};

/// Raw tokens, or the packed residuals: what is most of the file comes first and is written straight through.
const VALUES: u32 = 1;
const ENDS: u32 = 2;
const CODES: u32 = 3;
const FACTORS: u32 = 4;
const DISTORTION: u32 = 5;

const RAW: u64 = 0;
const RESIDUAL: u64 = 1;

/// Centroids up to which a code takes two bytes.
const NARROW: usize = 1 << 16;

/// Writes the tokens of a segment.
#[derive(Debug)]
pub(crate) struct TokensWriter<'a> {
    writer: ComponentWriter<'a>,
    codebook: Option<&'a Arc<Codebook>>,
    dim: usize,
    tokens: u64,
    /// Of the tokens written so far, as long as it is known of all of them.
    distortion: Option<Distortion>,
}

impl<'a> TokensWriter<'a> {
    /// Creates the file: of residual codes with a codebook, of raw tokens without.
    pub(crate) fn create(
        backend: &'a dyn StorageBackend,
        dir: &Path,
        dim: usize,
        codebook: Option<&'a Arc<Codebook>>,
    ) -> Result<Self> {
        let path = dir.join(Component::Tokens.name());
        let tags: &[u32] = if codebook.is_some() {
            &[VALUES, ENDS, CODES, FACTORS, DISTORTION]
        } else {
            &[VALUES, ENDS]
        };
        let writer = ComponentWriter::create(backend, &path, Component::Tokens.kind(), tags)?;
        Ok(Self {
            writer,
            codebook,
            dim,
            tokens: 0,
            distortion: Some(Distortion::default()),
        })
    }

    /// Appends raw tokens, to a file without a codebook.
    pub(crate) fn push_raw(&mut self, tokens: &[f16]) -> Result<()> {
        self.tokens += (tokens.len() / self.dim.max(1)) as u64;
        self.writer.append(VALUES, bytemuck::cast_slice(tokens))
    }

    /// Appends residual codes of this file's codebook, and how far their tokens are from their centroids, if that is known.
    pub(crate) fn push_codes(
        &mut self,
        rows: ResidualRows<'_>,
        distortion: Option<Distortion>,
    ) -> Result<()> {
        self.tokens += rows.len() as u64;
        match (&mut self.distortion, distortion) {
            (Some(sum), Some(more)) => sum.add(more),
            (sum, _) => *sum = None,
        }
        self.writer.append(VALUES, rows.residuals)?;
        let narrow = self.codebook.is_none_or(|c| c.codec.len() <= NARROW);
        match rows.codes {
            Codes::U16(codes) if narrow => self.writer.append(CODES, bytemuck::cast_slice(codes))?,
            Codes::U32(codes) if !narrow => self.writer.append(CODES, bytemuck::cast_slice(codes))?,
            Codes::U16(codes) => {
                let wide: Vec<u32> = codes.iter().map(|&c| u32::from(c)).collect();
                self.writer.append(CODES, bytemuck::cast_slice(&wide))?;
            }
            Codes::U32(codes) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "a codebook of at most 65,536 centroids"
                )]
                let codes: Vec<u16> = codes.iter().map(|&c| c as u16).collect();
                self.writer.append(CODES, bytemuck::cast_slice(&codes))?;
            }
        }
        self.writer.append(FACTORS, bytemuck::cast_slice(rows.factors))
    }

    /// Appends the codes that one task has made.
    pub(crate) fn push_encoded(
        &mut self,
        codes: &ResidualCodes,
        distortion: Option<Distortion>,
    ) -> Result<()> {
        self.push_codes(codes.rows(), distortion)
    }

    /// Ends the file; `lengths` are the documents' numbers of tokens.
    pub(crate) fn finish(mut self, lengths: &[u32]) -> Result<Finished> {
        write_ends(
            &mut self.writer,
            ENDS,
            lengths.iter().map(|&l| l as usize),
            self.tokens,
        )?;
        let distortion = self.distortion.and_then(Distortion::mean);
        if let Some(distortion) = distortion.filter(|_| self.codebook.is_some()) {
            self.writer.append(DISTORTION, bytemuck::bytes_of(&distortion))?;
        }
        let layout = if self.codebook.is_some() { RESIDUAL } else { RAW };
        let (id, bits) = self
            .codebook
            .map_or((0, 0), |c| (c.id, u64::from(c.codec.bits())));
        self.writer.finish([
            lengths.len() as u64,
            self.tokens,
            self.dim as u64,
            layout,
            bits,
            id,
        ])
    }
}

/// The tokens of a segment, in place.
#[derive(Clone, Copy, Debug)]
pub struct TokensView<'a> {
    pub(super) ends: Ends<'a>,
    pub(super) documents: usize,
    /// Numbers in a token.
    pub dim: usize,
    /// The tokens of all documents, one after another.
    pub rows: TokenRows<'a>,
    /// The mean squared distance of coded tokens to their centroids, deleted ones included; none where it is not known.
    pub distortion: Option<f32>,
    /// The file, where residuals of single documents are better copied than brought into memory.
    pub(super) copied_from: Option<&'a ComponentFile>,
}

/// Stored tokens.
#[derive(Clone, Copy, Debug)]
pub enum TokenRows<'a> {
    /// As they came: rows of [`TokensView::dim`] numbers.
    Raw(&'a [f16]),
    /// Residual codes.
    Residual {
        /// What they are codes of.
        codebook: &'a Arc<Codebook>,
        /// The codes.
        rows: ResidualRows<'a>,
    },
}

impl<'a> TokensView<'a> {
    /// Number of documents.
    pub fn len(&self) -> usize {
        self.documents
    }

    /// Whether there are no documents.
    pub fn is_empty(&self) -> bool {
        self.documents == 0
    }

    /// Number of tokens of all documents.
    pub fn num_tokens(&self) -> usize {
        match self.rows {
            TokenRows::Raw(values) => values.len() / self.dim.max(1),
            TokenRows::Residual { rows, .. } => rows.len(),
        }
    }

    /// Which tokens are those of a document.
    #[inline]
    pub fn range(&self, ordinal: u32) -> Range<usize> {
        self.ends.range(ordinal as usize)
    }

    /// Which tokens are those of consecutive documents.
    pub fn ranges(&self, documents: Range<u32>) -> Range<usize> {
        if documents.is_empty() {
            return 0..0;
        }
        self.range(documents.start).start..self.range(documents.end - 1).end
    }

    /// The raw tokens of a document, when they are stored raw.
    pub fn raw(&self, ordinal: u32) -> Option<&'a [f16]> {
        let Range { start, end } = self.range(ordinal);
        match self.rows {
            TokenRows::Raw(values) => values.get(start * self.dim..end * self.dim),
            TokenRows::Residual { .. } => None,
        }
    }

    /// The centroids of a document's tokens, when they are stored so.
    pub fn codes(&self, ordinal: u32) -> Option<Codes<'a>> {
        let TokenRows::Residual { rows, .. } = self.rows else {
            return None;
        };
        let range = self.range(ordinal);
        match rows.codes {
            Codes::U16(codes) => codes.get(range).map(Codes::U16),
            Codes::U32(codes) => codes.get(range).map(Codes::U32),
        }
    }

    /// The residual codes of a document, when they are stored so.
    pub fn residual(&self, ordinal: u32) -> Option<ResidualRows<'a>> {
        self.residual_of(self.range(ordinal))
    }

    /// The residual codes of consecutive documents, when they are stored so.
    pub fn residuals(&self, documents: Range<u32>) -> Option<ResidualRows<'a>> {
        self.residual_of(self.ranges(documents))
    }

    /// Those residual codes, copied into `buffer` where the memory budget takes pages of files away about as fast as they come.
    pub fn fetch<'b>(&self, rows: ResidualRows<'b>, buffer: &'b mut Vec<u8>) -> ResidualRows<'b> {
        match self.copied_from {
            Some(file) => ResidualRows {
                residuals: file.copy(rows.residuals, buffer),
                ..rows
            },
            None => rows,
        }
    }

    /// The residual codes of a range of tokens, when they are stored so.
    pub(super) fn residual_of(&self, Range { start, end }: Range<usize>) -> Option<ResidualRows<'a>> {
        let TokenRows::Residual { rows, .. } = self.rows else {
            return None;
        };
        let bytes = self.dim * usize::from(self.bits()) / 8;
        Some(ResidualRows {
            codes: match rows.codes {
                Codes::U16(codes) => Codes::U16(codes.get(start..end)?),
                Codes::U32(codes) => Codes::U32(codes.get(start..end)?),
            },
            residuals: rows.residuals.get(start * bytes..end * bytes)?,
            factors: rows.factors.get(start..end)?,
        })
    }

    /// Bits of residual a dimension; 0 for raw tokens.
    pub fn bits(&self) -> u8 {
        match self.rows {
            TokenRows::Raw(_) => 0,
            TokenRows::Residual { codebook, .. } => codebook.codec.bits(),
        }
    }

    /// Decodes tokens from `first` until `out`, whole rows, is full: the raw tokens, or reconstructions from their codes.
    pub fn decode(&self, first: usize, out: &mut [f32]) {
        match self.rows {
            TokenRows::Raw(values) => {
                let source = values.get(first * self.dim..).unwrap_or_default();
                out.iter_mut()
                    .zip(source)
                    .for_each(|(to, from)| *to = from.to_f32());
            }
            TokenRows::Residual { codebook, rows } => {
                let bytes = codebook.codec.residual_bytes();
                let residuals = rows.residuals.chunks_exact(bytes).skip(first);
                for (at, (to, residual)) in out.chunks_exact_mut(self.dim).zip(residuals).enumerate() {
                    let factors = rows.factors[first + at];
                    codebook
                        .codec
                        .decode(rows.codes.get(first + at), residual, factors, to);
                }
            }
        }
    }
}

/// Reads the tokens of a segment of `documents` documents of `dim` numbers a token. The first time, `check` asks for
/// every end and code to be looked at.
pub(crate) fn open<'a>(
    file: &'a ComponentFile,
    documents: u32,
    dim: usize,
    codebook: Option<&'a Arc<Codebook>>,
    check: bool,
) -> Result<TokensView<'a>> {
    let [file_documents, tokens, file_dim, layout, ..] = file.params();
    if (file_documents, file_dim) != (u64::from(documents), dim as u64) {
        let found = format!("{file_documents} documents of dimension {file_dim}");
        return Err(file.corruption(0, format!("{documents} documents of dimension {dim}"), found));
    }
    let documents = documents as usize;
    let too_many = || file.corruption(0, "a number of tokens that fits in memory", tokens.to_string());
    let count = usize::try_from(tokens).map_err(|_| too_many())?;
    let ends = if check { Ends::open } else { Ends::trusted };
    let ends = ends(file, ENDS, documents, count)?;
    let rows = match (layout, codebook) {
        (RAW, _) => TokenRows::Raw(file.exactly(VALUES, count.checked_mul(dim).ok_or_else(too_many)?)?),
        (RESIDUAL, Some(codebook)) => TokenRows::Residual {
            codebook,
            rows: residual_rows(file, count, codebook, check)?,
        },
        (RESIDUAL, None) => return Err(missing_codebook(file)),
        (other, _) => {
            return Err(file.corruption(0, "raw tokens (0) or residual codes (1)", other.to_string()));
        }
    };
    Ok(TokensView {
        ends,
        documents,
        dim,
        rows,
        copied_from: file.is_tight().then_some(file),
        distortion: match layout {
            RESIDUAL => known_distortion(file, DISTORTION)?,
            _ => None,
        },
    })
}

/// Where the documents' tokens end.
pub(crate) fn ends(file: &ComponentFile, documents: usize, tokens: usize) -> Result<Ends<'_>> {
    Ends::trusted(file, ENDS, documents, tokens)
}

fn missing_codebook(file: &ComponentFile) -> StorageError {
    let [.., id] = file.params();
    file.corruption(0, format!("codebook {id} beside the segments"), "none")
}

fn residual_rows<'a>(
    file: &'a ComponentFile,
    tokens: usize,
    codebook: &Codebook,
    check: bool,
) -> Result<ResidualRows<'a>> {
    let codec = &codebook.codec;
    let [.., bits, id] = file.params();
    if (bits, id) != (u64::from(codec.bits()), codebook.id) {
        let expected = format!("codes of codebook {} at {} bits", codebook.id, codec.bits());
        return Err(file.corruption(0, expected, format!("codebook {id} at {bits} bits")));
    }
    let codes = if codec.len() <= NARROW {
        Codes::U16(file.exactly(CODES, tokens)?)
    } else {
        Codes::U32(file.exactly(CODES, tokens)?)
    };
    if check {
        let largest = match codes {
            Codes::U16(codes) => codes.iter().copied().max().map(u32::from),
            Codes::U32(codes) => codes.iter().copied().max(),
        };
        if let Some(largest) = largest.filter(|&c| c as usize >= codec.len()) {
            return Err(file.corruption_in(
                CODES,
                0,
                format!("codes below {}", codec.len()),
                largest.to_string(),
            ));
        }
    }
    Ok(ResidualRows {
        codes,
        residuals: file.exactly(VALUES, tokens.saturating_mul(codec.residual_bytes()))?,
        factors: file.exactly(FACTORS, tokens)?,
    })
}
