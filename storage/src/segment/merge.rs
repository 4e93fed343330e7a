//! Merging segments into one, without their deleted rows.
//!
//! Order is kept: the sources' order, then that of their rows. Coded vectors are copied, compressed blocks of documents
//! too when all their rows live on; residual codes are made anew only where the codebook is another. A graph goes on from that
//! of the largest source. Posting lists are built again from what was written, and so is a graph that is damaged: merging
//! repairs them.

use std::path::Path;
use std::sync::Arc;

use latewood_codecs::DenseParts;

use super::codebook::Codebook;
use super::columns::{ColumnView, ColumnsWriter};
use super::component::Component;
use super::dense::DenseWriter;
use super::distortion::Distortion;
use super::documents::{DocumentsWriter, parse_payload};
use super::encode::Encoder;
use super::ids::IdsWriter;
use super::lexical;
use super::lineage::Lineage;
use super::options::{ProgressFn, SegmentInfo, SegmentOptions, Stage};
use super::original::OriginalWriter;
use super::sparse::SparseWriter;
use super::tokens::{TokensView, TokensWriter};
use super::view::{Segment, SegmentView};
use super::write::Draft;
use crate::backend::StorageBackend;
use crate::error::Result;
use crate::schema::{DenseSpec, Schema, TokensSpec, VectorKind};
use crate::wire::to_u32;

/// Rows between two reports of progress.
const BLOCK: u32 = 4096;
/// The same where each has many tokens.
const TOKENS_BLOCK: u32 = 256;
/// Compressed blocks below this many rows' worth of bytes are not worth keeping as they are.
const WHOLE_BLOCK_BYTES: u32 = 8 << 10;

/// Where the rows of one source have gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remap(Vec<u32>);

impl Remap {
    const GONE: u32 = u32::MAX;

    /// The new ordinal of an old one; `None` when that row was deleted, or never was.
    #[inline]
    pub fn get(&self, ordinal: u32) -> Option<u32> {
        self.0
            .get(ordinal as usize)
            .copied()
            .filter(|&new| new != Self::GONE)
    }

    /// Number of old rows.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there were no rows.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Merges segments of one schema into a new one in `dir`, which must not exist, leaving out deleted rows. Residual codes
/// of `codebook` are copied; raw tokens are encoded with it; those of another codebook are encoded again from the
/// original tier, or else from their reconstructions. Without a codebook all tokens become raw. Reads from the mappings,
/// block by block. The second value says, for each source, where its rows have gone.
///
/// # Errors
/// Damage to a source file that is needed, what the backend says, [`crate::StorageError::Cancelled`]. Nothing is left in `dir`
/// then.
pub fn merge_segments(
    backend: &dyn StorageBackend,
    dir: &Path,
    schema: &Schema,
    codebook: Option<&Arc<Codebook>>,
    sources: &[SegmentView],
    options: &SegmentOptions,
    progress: &ProgressFn<'_>,
) -> Result<(SegmentInfo, Vec<Remap>)> {
    let (remaps, rows) = remaps(sources)?;
    let info = Draft::write(backend, dir, schema, codebook, options, progress, |draft| {
        draft.rows = rows;
        draft.lineage = Some(Lineage {
            sources,
            remaps: &remaps,
        });
        merge_ids(draft, sources)?;
        merge_documents(draft, sources)?;
        merge_columns(draft, sources)?;
        merge_dense(draft, sources)?;
        merge_vectors(draft, sources, &remaps)?;
        merge_lexical(draft, sources, &remaps)?;
        merge_tokens(draft, sources)
    })?;
    Ok((info, remaps))
}

fn remaps(sources: &[SegmentView]) -> Result<(Vec<Remap>, u32)> {
    let mut next = 0u64;
    let mut remaps = Vec::with_capacity(sources.len());
    for source in sources {
        let mut new = vec![Remap::GONE; source.segment.len() as usize];
        for run in source.live_runs() {
            for slot in new.iter_mut().take(run.end as usize).skip(run.start as usize) {
                *slot = u32::try_from(next).unwrap_or(Remap::GONE);
                next += 1;
            }
        }
        remaps.push(Remap(new));
    }
    // The last ordinal must stay below the mark of a row that is gone.
    let rows = to_u32(usize::try_from(next).unwrap_or(usize::MAX))?;
    Ok((remaps, rows))
}

fn merge_ids(draft: &mut Draft<'_>, sources: &[SegmentView]) -> Result<()> {
    let mut writer = IdsWriter::create(draft.backend, draft.dir)?;
    for source in sources {
        let ids = source.segment.ids()?;
        for ordinal in source.live_runs().into_iter().flatten() {
            writer.push(&ids.get(ordinal)?)?;
        }
    }
    draft.add(Component::Ids, writer.finish()?);
    Ok(())
}

fn merge_documents(draft: &mut Draft<'_>, sources: &[SegmentView]) -> Result<()> {
    let mut writer = DocumentsWriter::create(draft.backend, draft.dir, &draft.options.pool)?;
    let mut done = 0;
    for source in sources {
        let documents = source.segment.documents()?;
        for index in 0..documents.blocks()?.len() {
            let rows = documents.rows_of(index)?;
            let live = rows.clone().filter(|&row| source.is_live(row)).count();
            if live == 0 {
                continue;
            }
            done += live;
            let (block, compressed) = documents.compressed(index)?;
            if live == rows.len() && block.raw >= WHOLE_BLOCK_BYTES {
                writer.push_block(block, to_u32(live)?, compressed)?;
            } else {
                let decompressed = documents.block(index)?;
                for row in rows.filter(|&row| source.is_live(row)) {
                    writer.push(
                        decompressed
                            .get(row)
                            .ok_or_else(|| documents.bad_row(index, row))?,
                    )?;
                }
            }
            draft.report(Stage::Documents, done, draft.rows as usize)?;
        }
    }
    draft.add(Component::Documents, writer.finish()?);
    Ok(())
}

fn merge_columns(draft: &mut Draft<'_>, sources: &[SegmentView]) -> Result<()> {
    let mut writer = ColumnsWriter::new(&draft.schema.fields);
    for source in sources {
        let segment = &source.segment;
        let columns: Result<Vec<ColumnView<'_>>> = (0..draft.schema.fields.len())
            .map(|i| segment.column_at(i))
            .collect();
        match columns {
            Ok(columns) => {
                for ordinal in source.live_runs().into_iter().flatten() {
                    writer.copy(&columns, ordinal)?;
                }
            }
            Err(_) => columns_from_payloads(&mut writer, source)?,
        }
    }
    draft.add(Component::Columns, writer.finish(draft.backend, draft.dir)?);
    Ok(())
}

/// Merges the lexical indexes; what one has lost is made anew from its texts.
fn merge_lexical(draft: &mut Draft<'_>, sources: &[SegmentView], remaps: &[Remap]) -> Result<()> {
    if draft.schema.lexical.is_none() {
        return Ok(());
    }
    draft.report(Stage::Terms, 0, draft.rows as usize)?;
    let mut indexes = Vec::with_capacity(sources.len());
    for (source, remap) in sources.iter().zip(remaps) {
        if let Some(view) = source.segment.lexical()? {
            let row = Box::new(|row| remap.get(row));
            indexes.push(lexical::Source { view, row });
        }
    }
    draft.write_lexical(&lexical::merge(&indexes)?)
}

/// Makes damaged columns again from the payloads.
fn columns_from_payloads(writer: &mut ColumnsWriter, source: &SegmentView) -> Result<()> {
    let documents = source.segment.documents()?;
    for index in 0..documents.blocks()?.len() {
        let mut rows = documents
            .rows_of(index)?
            .filter(|&row| source.is_live(row))
            .peekable();
        if rows.peek().is_none() {
            continue;
        }
        let block = documents.block(index)?;
        for row in rows {
            let payload = block.get(row).and_then(|d| parse_payload(d.payload));
            writer.push(&payload.ok_or_else(|| documents.bad_row(index, row))?)?;
        }
    }
    Ok(())
}

fn merge_dense(draft: &mut Draft<'_>, sources: &[SegmentView]) -> Result<()> {
    let Some(spec) = &draft.schema.dense else {
        return Ok(());
    };
    let mut writer = DenseWriter::create(draft.backend, draft.dir, spec)?;
    let mut done = 0;
    for source in sources {
        let Some(dense) = source.segment.dense_file()? else {
            continue;
        };
        for run in source.live_runs() {
            for start in run.clone().step_by(BLOCK as usize) {
                let end = start.saturating_add(BLOCK).min(run.end);
                let rows = start as usize..end as usize;
                done += rows.len();
                writer.copy(asked_for(source, dense.coded(rows.clone())?), rows.len())?;
                draft.report(Stage::Dense, done, draft.rows as usize)?;
            }
        }
    }
    draft.add(Component::Dense, writer.finish()?);
    Ok(())
}

/// Rows that are copied next, which the disk is asked for.
fn asked_for<'a>(source: &SegmentView, coded: DenseParts<'a>) -> DenseParts<'a> {
    let ahead = source.segment.read_ahead();
    ahead.of(coded.codes);
    ahead.of(coded.fine);
    coded
}

/// Copies the vectors of named fields; their indexes are made of the copies.
fn merge_vectors(draft: &mut Draft<'_>, sources: &[SegmentView], remaps: &[Remap]) -> Result<()> {
    let schema = draft.schema;
    for (field, spec) in (0_u8..).zip(&schema.vectors) {
        match &spec.kind {
            VectorKind::Dense(spec) => merge_named(draft, sources, remaps, field, spec)?,
            VectorKind::Sparse => merge_sparse(draft, sources, field)?,
        }
    }
    Ok(())
}

fn merge_named(
    draft: &mut Draft<'_>,
    sources: &[SegmentView],
    remaps: &[Remap],
    field: u8,
    spec: &DenseSpec,
) -> Result<()> {
    let component = Component::Vectors(field);
    let mut writer = DenseWriter::create_as(draft.backend, draft.dir, component, spec)?;
    for (source, remap) in sources.iter().zip(remaps) {
        let Some((named, dense)) = source.segment.named_file(usize::from(field))? else {
            continue;
        };
        for run in source.live_runs() {
            let places = named.places(run.clone());
            for start in places.clone().step_by(BLOCK as usize) {
                let block = start..(start + BLOCK as usize).min(places.end);
                writer.copy(asked_for(source, dense.coded(block.clone())?), block.len())?;
            }
            match named.documents() {
                Some(documents) => {
                    let own = documents.get(places).unwrap_or_default();
                    writer.of_documents(own.iter().filter_map(|row| remap.get(*row)));
                }
                None => writer.of_documents(run.filter_map(|row| remap.get(row))),
            }
        }
        source.segment.relieve();
    }
    draft.add(component, writer.finish_some(draft.rows)?);
    Ok(())
}

fn merge_sparse(draft: &mut Draft<'_>, sources: &[SegmentView], field: u8) -> Result<()> {
    let component = Component::Sparse(field);
    let mut writer = SparseWriter::create(draft.backend, draft.dir, component)?;
    for source in sources {
        let Some(rows) = source.segment.sparse(usize::from(field))? else {
            continue;
        };
        for run in source.live_runs() {
            for start in run.clone().step_by(BLOCK as usize) {
                writer.copy(&rows, start..start.saturating_add(BLOCK).min(run.end))?;
            }
            source.segment.relieve();
        }
    }
    draft.add(component, writer.finish()?);
    Ok(())
}

/// The writers of the token files of a merged segment.
struct TokenFiles<'w> {
    tokens: TokensWriter<'w>,
    original: Option<OriginalWriter<'w>>,
    lengths: Vec<u32>,
    done: usize,
    total: usize,
}

fn merge_tokens(draft: &mut Draft<'_>, sources: &[SegmentView]) -> Result<u64> {
    let Some(spec) = &draft.schema.tokens else {
        return Ok(0);
    };
    let tokens = TokensWriter::create(draft.backend, draft.dir, spec.dim, draft.codebook)?;
    let original = spec.original.filter(|_| draft.codebook.is_some());
    let original = original.map(|codec| OriginalWriter::create(draft.backend, draft.dir, codec, spec.dim));
    let mut files = TokenFiles {
        tokens,
        original: original.transpose()?,
        lengths: Vec::new(),
        done: 0,
        total: 0,
    };
    for source in sources {
        let Some(view) = source.segment.tokens()? else {
            continue;
        };
        for ordinal in source.live_runs().into_iter().flatten() {
            let tokens = view.range(ordinal).len();
            files.total += tokens;
            files.lengths.push(to_u32(tokens)?);
        }
    }
    for source in sources {
        let Some(view) = source.segment.tokens()? else {
            continue;
        };
        match draft.codebook {
            Some(codebook) if source.segment.is_coded_with(codebook) => {
                copy_codes(draft, &mut files, source, &view)?
            }
            Some(codebook) => encode_tokens(draft, &mut files, source, &view, codebook)?,
            None => copy_raw(draft, &mut files, source, &view)?,
        }
    }
    let (lengths, total) = (files.lengths, files.total as u64);
    draft.add(Component::Tokens, files.tokens.finish(&lengths)?);
    if let Some(original) = files.original {
        draft.add(Component::Original, original.finish()?);
    }
    Ok(total)
}

/// Copies residual codes of the same codebook, and the original tier with them.
fn copy_codes(
    draft: &Draft<'_>,
    files: &mut TokenFiles<'_>,
    source: &SegmentView,
    view: &TokensView<'_>,
) -> Result<()> {
    let coded = match files.original {
        Some(_) => source.segment.original_coded()?,
        None => None,
    };
    for run in source.live_runs() {
        for start in run.clone().step_by(TOKENS_BLOCK as usize) {
            let documents = start..start.saturating_add(TOKENS_BLOCK).min(run.end);
            let range = view.ranges(documents);
            if let Some(rows) = view.residual_of(range.clone()) {
                source.segment.read_ahead().of(rows.residuals);
                let known = view
                    .distortion
                    .map(|mean| Distortion::known(mean, rows.len() as u64));
                files.tokens.push_codes(rows, known)?;
            }
            if let (Some(original), Some((codes, factors)), Some(spec)) =
                (&mut files.original, coded, &draft.schema.tokens)
            {
                let (bytes, numbers) = original_row(spec);
                let codes = codes
                    .get(range.start * bytes..range.end * bytes)
                    .unwrap_or_default();
                source.segment.read_ahead().of(codes);
                let factors = factors
                    .get(range.start * numbers..range.end * numbers)
                    .unwrap_or_default();
                original.push(codes, factors)?;
            }
            files.done += range.len();
            draft.report(Stage::Tokens, files.done, files.total)?;
        }
    }
    Ok(())
}

/// Bytes and factors of a token in the original tier.
fn original_row(spec: &TokensSpec) -> (usize, usize) {
    spec.original
        .map_or((0, 0), |codec| (codec.row_bytes(spec.dim), codec.row_factors()))
}

/// Encodes raw tokens, and codes of another codebook.
fn encode_tokens(
    draft: &Draft<'_>,
    files: &mut TokenFiles<'_>,
    source: &SegmentView,
    view: &TokensView<'_>,
    codebook: &Arc<Codebook>,
) -> Result<()> {
    let original = source.segment.original()?;
    let fill = |&ordinal: &u32, out: &mut [f32]| {
        let first = view.range(ordinal).start;
        match &original {
            Some(original) => original.decode(first, out),
            None => view.decode(first, out),
        }
    };
    let kept = draft.schema.tokens.as_ref().and_then(|t| t.original);
    let mut encoder = Encoder::new(&draft.options.pool, codebook, kept, fill);
    for ordinal in source.live_runs().into_iter().flatten() {
        let tokens = view.range(ordinal).len();
        encoder.push(ordinal, tokens);
        files.done += tokens;
        if encoder.is_full() {
            encoder.write(&mut files.tokens, files.original.as_mut())?;
            draft.report(Stage::Tokens, files.done, files.total)?;
        }
    }
    encoder.write(&mut files.tokens, files.original.as_mut())?;
    draft.report(Stage::Tokens, files.done, files.total)
}

/// Copies raw tokens; reconstructs those that are coded.
fn copy_raw(
    draft: &Draft<'_>,
    files: &mut TokenFiles<'_>,
    source: &SegmentView,
    view: &TokensView<'_>,
) -> Result<()> {
    for ordinal in source.live_runs().into_iter().flatten() {
        match view.raw(ordinal) {
            Some(raw) => files.tokens.push_raw(raw)?,
            None => {
                let matrix = decoded(&source.segment, ordinal)?;
                files.tokens.push_raw(&matrix)?;
            }
        }
        files.done += view.range(ordinal).len();
        if ordinal % TOKENS_BLOCK == 0 {
            draft.report(Stage::Tokens, files.done, files.total)?;
        }
    }
    Ok(())
}

fn decoded(segment: &Segment, ordinal: u32) -> Result<Vec<half::f16>> {
    Ok(segment
        .token_matrix(ordinal)?
        .map(|m| m.as_f16().to_vec())
        .unwrap_or_default())
}
