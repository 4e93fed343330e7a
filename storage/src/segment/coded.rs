//! Writing a segment of codes that are there already: an index that another program made, taken without encoding anew.

use std::path::Path;
use std::sync::Arc;

use latewood_codecs::CodecError;

use super::codebook::Codebook;
use super::component::Component;
use super::options::{ProgressFn, SegmentInfo, SegmentOptions, Stage};
use super::tokens::TokensWriter;
use super::write::{Draft, refuse_repeated_ids, write_documents, write_vectors};
use crate::backend::StorageBackend;
use crate::document::Record;
use crate::error::Result;
use crate::schema::Schema;
use crate::wire::to_u32;

/// Residual codes of some tokens, in the order of documents; a document may begin in one block and end in a later one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodedBlock {
    /// The centroid of each token.
    pub codes: Vec<u32>,
    /// The packed residuals: `dim * bits / 8` bytes a token.
    pub residuals: Vec<u8>,
}

/// Documents whose tokens are coded already, and where their codes come from.
pub(crate) struct CodedSource<'s> {
    /// The documents, without vectors.
    pub(crate) records: &'s [Arc<Record>],
    /// Tokens of each document.
    pub(crate) lengths: &'s [u32],
    /// The next codes, until there are none.
    pub(crate) next: &'s mut dyn FnMut() -> Result<Option<CodedBlock>>,
}

/// As [`write_segment`](super::write_segment), of codes of `codebook`. The schema has tokens of the codebook's shape and
/// nothing beside them that a code cannot give: no dense vector, no original tier.
pub(crate) fn write_coded_segment(
    backend: &dyn StorageBackend,
    dir: &Path,
    schema: &Schema,
    codebook: &Arc<Codebook>,
    source: CodedSource<'_>,
    options: &SegmentOptions,
    progress: &ProgressFn<'_>,
) -> Result<SegmentInfo> {
    refuse_repeated_ids(source.records)?;
    Draft::write(backend, dir, schema, Some(codebook), options, progress, |draft| {
        draft.rows = to_u32(source.records.len())?;
        write_documents(draft, source.records)?;
        write_vectors(draft, source.records)?;
        write_codes(draft, codebook, source.lengths, source.next)
    })
}

fn write_codes(
    draft: &mut Draft<'_>,
    codebook: &Arc<Codebook>,
    lengths: &[u32],
    next: &mut dyn FnMut() -> Result<Option<CodedBlock>>,
) -> Result<u64> {
    let total: usize = lengths.iter().map(|&length| length as usize).sum();
    let mut writer = TokensWriter::create(draft.backend, draft.dir, codebook.codec.dim(), Some(codebook))?;
    let mut done = 0;
    while let Some(CodedBlock { codes, residuals }) = next()? {
        done += codes.len();
        writer.push_encoded(&codebook.codec.adopt(codes, residuals)?, None)?;
        draft.report(Stage::Tokens, done.min(total), total)?;
    }
    if done != total {
        return Err(CodecError::Length {
            what: "codes, the tokens of all documents",
            expected: total,
            got: done,
        }
        .into());
    }
    draft.add(Component::Tokens, writer.finish(lengths)?);
    Ok(total as u64)
}
