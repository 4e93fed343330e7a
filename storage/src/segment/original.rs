//! The tokens as they came, beside residual codes, for exact rescoring.

use std::path::Path;

use latewood_codecs::{OriginalCodec, OriginalRows};

use super::component::Component;
use super::reader::ComponentFile;
use super::writer::{ComponentWriter, Finished};
use crate::backend::StorageBackend;
use crate::error::Result;

const CODES: u32 = 1;
const FACTORS: u32 = 2;

/// Writes the original tier of a segment.
#[derive(Debug)]
pub(crate) struct OriginalWriter<'a> {
    writer: ComponentWriter<'a>,
    codec: OriginalCodec,
    dim: usize,
    tokens: u64,
}

impl<'a> OriginalWriter<'a> {
    pub(crate) fn create(
        backend: &'a dyn StorageBackend,
        dir: &Path,
        codec: OriginalCodec,
        dim: usize,
    ) -> Result<Self> {
        let path = dir.join(Component::Original.name());
        let writer = ComponentWriter::create(backend, &path, Component::Original.kind(), &[CODES, FACTORS])?;
        Ok(Self {
            writer,
            codec,
            dim,
            tokens: 0,
        })
    }

    /// Appends coded tokens: what [`OriginalCodec::encode`] has made, or rows of another segment of the same schema.
    pub(crate) fn push(&mut self, codes: &[u8], factors: &[f32]) -> Result<()> {
        self.tokens += (codes.len() / self.codec.row_bytes(self.dim).max(1)) as u64;
        self.writer.append(CODES, codes)?;
        self.writer.append(FACTORS, bytemuck::cast_slice(factors))
    }

    pub(crate) fn finish(self) -> Result<Finished> {
        self.writer
            .finish([self.tokens, self.dim as u64, self.codec as u64, 0, 0, 0])
    }
}

/// The codes and the factors of all tokens.
pub(crate) fn coded(
    file: &ComponentFile,
    codec: OriginalCodec,
    dim: usize,
    tokens: usize,
) -> Result<(&[u8], &[f32])> {
    let codes = file.exactly(CODES, tokens.saturating_mul(codec.row_bytes(dim)))?;
    Ok((
        codes,
        file.exactly(FACTORS, tokens.saturating_mul(codec.row_factors()))?,
    ))
}

/// Reads the original tier of a segment of so many tokens.
pub(crate) fn open(
    file: &ComponentFile,
    codec: OriginalCodec,
    dim: usize,
    tokens: usize,
) -> Result<OriginalRows<'_>> {
    let (codes, factors) = coded(file, codec, dim, tokens)?;
    OriginalRows::new(codec, dim, codes, factors)
        .map_err(|error| file.corruption_in(CODES, 0, "whole rows of tokens", error.to_string()))
}
