//! The lexical index as a file of a segment.

use std::path::Path;

use super::super::component::Component;
use super::super::packing::SLACK;
use super::super::reader::ComponentFile;
use super::super::writer::{ComponentWriter, Finished};
use super::dictionary::{BLOCK, Dictionary, TermBlock};
use super::encoded::LexicalIndex;
use super::postings::PostingsBlock;
use super::view::{Lengths, LexicalView, ascending, width};
use crate::backend::StorageBackend;
use crate::error::{Result, StorageError};
use crate::text::LexicalSpec;

const POSTINGS: u32 = 1;
const POSITIONS: u32 = 2;
const TERMS: u32 = 3;
const BLOCKS: u32 = 4;
const LENGTHS: u32 = 5;
const SPEC: u32 = 6;

/// Writes an index.
pub(crate) fn write(
    backend: &dyn StorageBackend,
    dir: &Path,
    spec: &LexicalSpec,
    index: &LexicalIndex,
) -> Result<Finished> {
    let path = dir.join(Component::Lexical.name());
    let tags = [POSTINGS, POSITIONS, TERMS, BLOCKS, LENGTHS, SPEC];
    let mut writer = ComponentWriter::create(backend, &path, Component::Lexical.kind(), &tags)?;
    writer.append(POSTINGS, &index.postings)?;
    writer.append(POSITIONS, &index.positions)?;
    writer.append(TERMS, &index.dictionary.terms)?;
    writer.append(BLOCKS, bytemuck::cast_slice(&index.dictionary.blocks))?;
    let longest = index.lengths.iter().copied().max().unwrap_or(0);
    let width = width(longest);
    for length in &index.lengths {
        writer.append(LENGTHS, length.to_le_bytes().get(..width).unwrap_or_default())?;
    }
    writer.append(SPEC, spec_json(spec)?.as_bytes())?;
    writer.finish([
        index.lengths.len() as u64,
        index.dictionary.count(),
        index.documents,
        index.total,
        width as u64,
        0,
    ])
}

fn spec_json(spec: &LexicalSpec) -> Result<String> {
    serde_json::to_string(spec).map_err(|error| StorageError::InvalidSchema {
        reason: format!("it has no JSON form: {error}"),
    })
}

/// Reads the index of a segment of so many rows; `check` compares what the checksums cannot.
pub(crate) fn open<'a>(
    file: &'a ComponentFile,
    rows: u32,
    spec: Option<&LexicalSpec>,
    check: bool,
) -> Result<LexicalView<'a>> {
    let [own_rows, count, documents, total, width, _] = file.params();
    if own_rows != u64::from(rows) {
        return Err(file.corruption(0, format!("an index of {rows} rows"), own_rows.to_string()));
    }
    if let Some(spec) = spec.filter(|_| check) {
        let own = serde_json::from_slice::<LexicalSpec>(file.section(SPEC)?);
        if own.ok().as_ref() != Some(spec) {
            return Err(file.corruption_in(SPEC, 0, format!("terms of {spec:?}"), "others"));
        }
    }
    let rows = rows as usize;
    let lengths = match width {
        1 => Lengths::Bytes(file.exactly(LENGTHS, rows)?),
        2 => Lengths::Shorts(file.exactly(LENGTHS, rows)?),
        4 => Lengths::Words(file.exactly(LENGTHS, rows)?),
        _ => return Err(file.corruption(0, "lengths of 1, 2 or 4 bytes", width.to_string())),
    };
    let blocks = usize::try_from(count.div_ceil(BLOCK as u64)).unwrap_or(usize::MAX);
    let view = LexicalView {
        path: file.path(),
        dictionary: Dictionary {
            terms: file.section(TERMS)?,
            blocks: file.exactly(BLOCKS, blocks)?,
            count,
        },
        postings: file.section(POSTINGS)?,
        positions: file.section(POSITIONS)?,
        lengths,
        documents,
        total,
        ahead: file.read_ahead(),
    };
    if check {
        let ends = TermBlock {
            terms: view.dictionary.terms.len() as u64,
            postings: view.postings.len().saturating_sub(SLACK) as u64,
            positions: view.positions.len() as u64,
        };
        if !ascending(view.dictionary.blocks, ends) {
            return Err(file.corruption_in(BLOCKS, 0, "ascending places", "others"));
        }
    }
    Ok(view)
}

/// Reads every list and every position.
pub(crate) fn verify(view: &LexicalView<'_>) -> Result<()> {
    let mut terms = view.terms();
    let (mut block, mut at, mut seen) = (PostingsBlock::default(), Vec::new(), 0);
    let damaged = || view.corruption("a lexical index");
    let mut before: Option<Vec<u8>> = None;
    while terms.advance().ok_or_else(damaged)? {
        if before.is_some_and(|before| before >= terms.term) {
            return Err(view.corruption("ascending terms"));
        }
        before = Some(terms.term.clone());
        let postings = view.postings(&terms.info)?;
        for number in 0..postings.blocks() {
            postings.read(number, &mut block).ok_or_else(damaged)?;
            let mut positions = postings.positions(number).ok_or_else(damaged)?;
            for frequency in &block.frequencies {
                at.clear();
                positions.take(*frequency, &mut at).ok_or_else(damaged)?;
                seen += u64::from(*frequency);
            }
        }
    }
    if seen == view.total_length() {
        return Ok(());
    }
    let expected = format!("an index of {} terms", view.total_length());
    Err(StorageError::corruption(view.path, 0, expected, seen.to_string()))
}
