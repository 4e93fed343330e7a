//! Writing a segment from documents in memory, and the steps that writing and merging share.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use half::slice::HalfFloatSliceExt;
use latewood_codecs::{DenseRows, TokenMatrix};

use super::codebook::Codebook;
use super::columns::ColumnsWriter;
use super::component::Component;
use super::dense::{self, Dense, DenseWriter};
use super::documents::{Documents, DocumentsWriter, StoredDocument};
use super::encode::Encoder;
use super::graph;
use super::guard::Guard;
use super::ids::IdsWriter;
use super::ivf;
use super::lexical::{self, LexicalIndex};
use super::lineage::Lineage;
use super::meta::{Beside, FileMeta, Layout, SegmentMeta};
use super::options::{ProgressFn, SegmentInfo, SegmentOptions, Stage, report};
use super::original::OriginalWriter;
use super::reader::ComponentFile;
use super::sparse::{self, SparseWriter};
use super::tokens::{self, TokensWriter};
use super::writer::Finished;
use crate::backend::StorageBackend;
use crate::document::{Record, VectorValue};
use crate::error::{IoContext, RecordFault, Result, StorageError};
use crate::schema::{Schema, TokensSpec, VectorKind};
use crate::wire::to_u32;

/// Documents between two reports of progress.
const BLOCK: usize = 4096;

/// Writes a new segment into `dir`, which must not exist. With a codebook, tokens become residual codes with posting
/// lists; without one they are stored raw. All files and the folder are synced; the caller makes the segment part of the
/// collection.
///
/// # Errors
/// [`StorageError::InvalidRecord`] when a document does not fit the schema, and what the backend says. Nothing is left
/// in `dir` then.
pub fn write_segment(
    backend: &dyn StorageBackend,
    dir: &Path,
    schema: &Schema,
    codebook: Option<&Arc<Codebook>>,
    records: &[Arc<Record>],
    options: &SegmentOptions,
) -> Result<SegmentInfo> {
    write_segment_with(backend, dir, schema, codebook, records, options, &|_| {
        ControlFlow::Continue(())
    })
}

/// As [`write_segment`], and tells how far it is.
///
/// # Errors
/// As [`write_segment`], and [`StorageError::Cancelled`].
pub fn write_segment_with(
    backend: &dyn StorageBackend,
    dir: &Path,
    schema: &Schema,
    codebook: Option<&Arc<Codebook>>,
    records: &[Arc<Record>],
    options: &SegmentOptions,
    progress: &ProgressFn<'_>,
) -> Result<SegmentInfo> {
    refuse_repeated_ids(records)?;
    Draft::write(backend, dir, schema, codebook, options, progress, |draft| {
        draft.rows = to_u32(records.len())?;
        write_documents(draft, records)?;
        write_dense(draft, records)?;
        write_vectors(draft, records)?;
        write_tokens(draft, records)
    })
}

pub(super) fn refuse_repeated_ids(records: &[Arc<Record>]) -> Result<()> {
    let mut seen = HashSet::with_capacity(records.len());
    match records.iter().find(|r| !seen.insert(&r.id)) {
        Some(twice) => Err(StorageError::InvalidRecord {
            id: twice.id.clone(),
            reason: RecordFault::DuplicateId,
        }),
        None => Ok(()),
    }
}

/// A segment while its files are written.
pub(crate) struct Draft<'d> {
    pub(crate) backend: &'d dyn StorageBackend,
    pub(crate) dir: &'d Path,
    pub(crate) schema: &'d Schema,
    pub(crate) codebook: Option<&'d Arc<Codebook>>,
    pub(crate) options: &'d SegmentOptions,
    pub(crate) progress: &'d ProgressFn<'d>,
    pub(crate) rows: u32,
    /// What is merged.
    pub(crate) lineage: Option<Lineage<'d>>,
    files: Vec<FileMeta>,
    guards: Vec<(String, Guard)>,
    bytes: u64,
}

impl<'d> Draft<'d> {
    /// Creates the folder, lets `fill` write the sources, derives graph and posting lists, and ends with the meta file.
    /// What fails leaves nothing behind.
    pub(crate) fn write(
        backend: &'d dyn StorageBackend,
        dir: &'d Path,
        schema: &'d Schema,
        codebook: Option<&'d Arc<Codebook>>,
        options: &'d SegmentOptions,
        progress: &'d ProgressFn<'d>,
        fill: impl FnOnce(&mut Self) -> Result<u64>,
    ) -> Result<SegmentInfo> {
        if backend.exists(dir).at("look for", dir)? {
            return Err(StorageError::io(
                "create",
                dir,
                std::io::ErrorKind::AlreadyExists.into(),
            ));
        }
        backend.create_dir_all(dir).at("create", dir)?;
        let (files, codebook) = (Vec::new(), codebook.filter(|_| schema.tokens.is_some()));
        let mut draft = Self {
            backend,
            dir,
            schema,
            codebook,
            options,
            progress,
            rows: 0,
            lineage: None,
            files,
            guards: Vec::new(),
            bytes: 0,
        };
        let written = fill(&mut draft).and_then(|tokens| draft.finish(tokens));
        if written.is_err() {
            // The first error is the one to tell; what cannot be removed is swept when the database is opened again.
            let _ = backend.remove_dir_all(dir);
        }
        written
    }

    pub(crate) fn add(&mut self, component: Component, finished: Finished) {
        self.bytes += finished.written.bytes;
        self.files.push(FileMeta::new(component, finished.written));
        self.guards.push((component.name().to_owned(), finished.guard));
    }

    pub(crate) fn report(&self, stage: Stage, done: usize, total: usize) -> Result<()> {
        report(self.progress, stage, done, total)
    }

    fn open(&self, component: Component) -> Result<ComponentFile> {
        ComponentFile::open(self.backend, &self.dir.join(component.name()), component.kind())
    }

    fn finish(mut self, tokens: u64) -> Result<SegmentInfo> {
        self.build_graph()?;
        self.build_ivf()?;
        self.build_lexical()?;
        self.build_named()?;
        let meta = SegmentMeta {
            id: self.options.id,
            rows: self.rows,
            tokens,
            codebook: self.codebook.map(|c| c.id),
            layout: Layout::of(self.schema),
            files: self.files,
        };
        let beside = Beside {
            origin: self.options.origin.clone(),
            schema: self.schema.to_json()?,
            guards: self.guards,
        };
        let bytes = self.bytes + meta.write(self.backend, self.dir, &beside)?.bytes;
        self.backend.sync_dir(self.dir).at("sync", self.dir)?;
        Ok(SegmentInfo {
            id: meta.id,
            rows: meta.rows,
            tokens,
            bytes,
        })
    }

    fn build_graph(&mut self) -> Result<()> {
        let Some(spec) = &self.schema.dense else {
            return Ok(());
        };
        let file = self.open(Component::Dense)?;
        let dense = Dense::new(&file, spec, self.rows).rows()?;
        self.build_graph_of(dense, self.rows, Component::Graph, None)
    }

    /// Builds a graph over so many vectors, those of the named field of this number or of the schema's dense field.
    fn build_graph_of(
        &mut self,
        dense: DenseRows<'_>,
        count: u32,
        component: Component,
        field: Option<usize>,
    ) -> Result<()> {
        let total = count as usize;
        if total < self.options.graph_min_rows {
            return Ok(());
        }
        let parts = self.lineage.map(|lineage| lineage.parts(field)).transpose()?;
        let parts = parts.unwrap_or_default();
        // Building compares rows a few thousand times each, at random: in four bits a number they stay near the processor,
        // and the links come out as good (docs/decisions/0010-dense-graph.md).
        let codes = graph::GraphCodes::of(dense, &parts, &self.options.pool);
        let rows = codes.rows()?;
        let space = graph::Space {
            score: |a: u32, b: u32| rows.pair_score(a as usize, b as usize),
            stands_for: |score: f32| codes.stands_for(score),
            fetch: |row: u32| rows.prefetch(row as usize),
        };
        let cancelled = |done: usize| match self.report(Stage::Graph, done, total) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        };
        let options = self.options;
        let built = graph::build(
            &options.pool,
            count,
            &parts,
            (options.graph, options.seed),
            &space,
            &cancelled,
        );
        let ControlFlow::Continue(graph) = built else {
            return Err(StorageError::Cancelled);
        };
        let cells = graph::partition(dense, &parts, options.seed, &options.pool, &|| cancelled(total));
        let ControlFlow::Continue(cells) = cells else {
            return Err(StorageError::Cancelled);
        };
        let graph = (&graph, options.graph.m);
        let written = graph::write(self.backend, self.dir, component, graph, &codes, cells.as_ref())?;
        self.add(component, written);
        Ok(())
    }

    fn build_ivf(&mut self) -> Result<()> {
        let (Some(spec), Some(codebook)) = (&self.schema.tokens, self.codebook) else {
            return Ok(());
        };
        let file = self.open(Component::Tokens)?;
        let view = tokens::open(&file, self.rows, spec.dim, Some(codebook), true)?;
        self.report(Stage::Postings, 0, self.rows as usize)?;
        let written = ivf::write(self.backend, self.dir, &view, self.options.postings_at_once())?;
        self.add(Component::Ivf, written);
        self.report(Stage::Postings, self.rows as usize, self.rows as usize)
    }
}

impl Draft<'_> {
    /// Indexes the texts, unless a merge has brought the index with it.
    fn build_lexical(&mut self) -> Result<()> {
        let Some(spec) = &self.schema.lexical else {
            return Ok(());
        };
        if self.has(Component::Lexical) {
            return Ok(());
        }
        self.report(Stage::Terms, 0, self.rows as usize)?;
        let file = self.open(Component::Documents)?;
        let documents = Documents::new(&file, self.rows);
        let index = lexical::index_texts(documents, spec, Some(&self.options.pool))?;
        self.write_lexical(&index)
    }

    /// Writes the lexical index.
    pub(super) fn write_lexical(&mut self, index: &LexicalIndex) -> Result<()> {
        if let Some(spec) = &self.schema.lexical {
            let written = lexical::write(self.backend, self.dir, spec, index)?;
            self.add(Component::Lexical, written);
        }
        self.report(Stage::Terms, self.rows as usize, self.rows as usize)
    }

    /// Makes the indexes of the vectors of named fields: graphs of dense ones, posting lists of sparse ones.
    fn build_named(&mut self) -> Result<()> {
        let schema = self.schema;
        for (field, spec) in (0_u8..).zip(&schema.vectors) {
            match &spec.kind {
                VectorKind::Dense(spec) => {
                    let file = self.open(Component::Vectors(field))?;
                    let (named, _) = dense::open_some(&file, spec, self.rows, true)?;
                    let (component, number) = (Component::VectorGraph(field), Some(usize::from(field)));
                    self.build_graph_of(named.rows(), named.len(), component, number)?;
                }
                VectorKind::Sparse => self.build_postings(field)?,
            }
        }
        Ok(())
    }

    /// Makes the inverted index of the sparse vectors of a field.
    fn build_postings(&mut self, field: u8) -> Result<()> {
        self.report(Stage::Postings, 0, self.rows as usize)?;
        let file = self.open(Component::Sparse(field))?;
        let rows = sparse::open_rows(&file, self.rows, true)?;
        let (component, at_once) = (Component::Postings(field), self.options.postings_at_once() / 2);
        let written = sparse::write_index(self.backend, self.dir, component, &rows, at_once)?;
        self.add(component, written);
        self.report(Stage::Postings, self.rows as usize, self.rows as usize)
    }

    fn has(&self, component: Component) -> bool {
        self.files.iter().any(|file| file.component() == Some(component))
    }
}

pub(super) fn write_documents(draft: &mut Draft<'_>, records: &[Arc<Record>]) -> Result<()> {
    let mut ids = IdsWriter::create(draft.backend, draft.dir)?;
    let mut documents = DocumentsWriter::create(draft.backend, draft.dir, &draft.options.pool)?;
    let mut columns = ColumnsWriter::new(&draft.schema.fields);
    let mut payload = Vec::new();
    for (done, block) in records.chunks(BLOCK).enumerate() {
        for record in block {
            ids.push(&record.id)?;
            payload.clear();
            serde_json::to_writer(&mut payload, &record.payload)
                .map_err(std::io::Error::from)
                .at("write a payload to", draft.dir)?;
            documents.push(StoredDocument {
                text: record.text.as_deref(),
                payload: &payload,
            })?;
            columns.push(&record.payload)?;
        }
        draft.report(
            Stage::Documents,
            (done * BLOCK + block.len()).min(records.len()),
            records.len(),
        )?;
    }
    draft.add(Component::Ids, ids.finish()?);
    draft.add(Component::Documents, documents.finish()?);
    draft.add(Component::Columns, columns.finish(draft.backend, draft.dir)?);
    Ok(())
}

fn write_dense(draft: &mut Draft<'_>, records: &[Arc<Record>]) -> Result<()> {
    let Some(spec) = &draft.schema.dense else {
        return Ok(());
    };
    let mut writer = DenseWriter::create(draft.backend, draft.dir, spec)?;
    for (done, block) in records.chunks(BLOCK).enumerate() {
        let vectors: Vec<&[f32]> = block
            .iter()
            .map(|r| match r.dense.as_deref() {
                Some(vector) if vector.len() == spec.dim => Ok(vector),
                Some(vector) => {
                    let reason = RecordFault::Dimension {
                        field: "dense",
                        expected: spec.dim,
                        got: vector.len(),
                    };
                    Err(StorageError::InvalidRecord {
                        id: r.id.clone(),
                        reason,
                    })
                }
                None => {
                    let expected = format!("a dense vector of dimension {}", spec.dim);
                    Err(StorageError::InvalidRecord {
                        id: r.id.clone(),
                        reason: RecordFault::MissingVector { expected },
                    })
                }
            })
            .collect::<Result<_>>()?;
        writer.push(&draft.options.pool, &vectors)?;
        draft.report(
            Stage::Dense,
            (done * BLOCK + block.len()).min(records.len()),
            records.len(),
        )?;
    }
    draft.add(Component::Dense, writer.finish()?);
    Ok(())
}

/// Writes the vectors of named fields.
pub(super) fn write_vectors(draft: &mut Draft<'_>, records: &[Arc<Record>]) -> Result<()> {
    let schema = draft.schema;
    for (field, spec) in (0_u8..).zip(&schema.vectors) {
        let values = records.iter().map(|record| record.vectors.get(&spec.name));
        match &spec.kind {
            VectorKind::Dense(spec) => {
                let component = Component::Vectors(field);
                let mut writer = DenseWriter::create_as(draft.backend, draft.dir, component, spec)?;
                let there = (0_u32..)
                    .zip(values)
                    .filter_map(|(row, value)| Some((row, value?.dense()?)));
                let (documents, vectors): (Vec<u32>, Vec<&[f32]>) = there.unzip();
                for block in vectors.chunks(BLOCK) {
                    writer.push(&draft.options.pool, block)?;
                }
                writer.of_documents(documents);
                draft.add(component, writer.finish_some(draft.rows)?);
            }
            VectorKind::Sparse => {
                let component = Component::Sparse(field);
                let mut writer = SparseWriter::create(draft.backend, draft.dir, component)?;
                for value in values {
                    writer.push(value.and_then(VectorValue::sparse))?;
                }
                draft.add(component, writer.finish()?);
            }
        }
    }
    Ok(())
}

/// The token matrix of a document, of the schema's dimension.
fn matrix<'r>(record: &'r Record, spec: &TokensSpec) -> Result<&'r TokenMatrix> {
    let reason = match &record.tokens {
        Some(tokens) if tokens.dim() == spec.dim => return Ok(tokens),
        Some(tokens) => RecordFault::Dimension {
            field: "tokens",
            expected: spec.dim,
            got: tokens.dim(),
        },
        None => RecordFault::MissingVector {
            expected: format!("a token matrix of dimension {}", spec.dim),
        },
    };
    Err(StorageError::InvalidRecord {
        id: record.id.clone(),
        reason,
    })
}

fn write_tokens(draft: &mut Draft<'_>, records: &[Arc<Record>]) -> Result<u64> {
    let Some(spec) = &draft.schema.tokens else {
        return Ok(0);
    };
    let matrices: Vec<&TokenMatrix> = records.iter().map(|r| matrix(r, spec)).collect::<Result<_>>()?;
    let lengths: Vec<u32> = matrices.iter().map(|m| to_u32(m.len())).collect::<Result<_>>()?;
    let total: usize = matrices.iter().map(|m| m.len()).sum();
    let mut writer = TokensWriter::create(draft.backend, draft.dir, spec.dim, draft.codebook)?;
    let Some(codebook) = draft.codebook else {
        let mut done = 0;
        for block in matrices.chunks(BLOCK) {
            for matrix in block {
                writer.push_raw(matrix.as_f16())?;
                done += matrix.len();
            }
            draft.report(Stage::Tokens, done, total)?;
        }
        draft.add(Component::Tokens, writer.finish(&lengths)?);
        return Ok(total as u64);
    };
    let mut original = spec
        .original
        .map(|codec| OriginalWriter::create(draft.backend, draft.dir, codec, spec.dim));
    let mut original = original.take().transpose()?;
    let fill = |m: &&TokenMatrix, out: &mut [f32]| m.as_f16().convert_to_f32_slice(out);
    let mut encoder = Encoder::new(&draft.options.pool, codebook, spec.original, fill);
    let mut done = 0;
    for matrix in matrices {
        encoder.push(matrix, matrix.len());
        done += matrix.len();
        if encoder.is_full() {
            encoder.write(&mut writer, original.as_mut())?;
            draft.report(Stage::Tokens, done, total)?;
        }
    }
    encoder.write(&mut writer, original.as_mut())?;
    draft.report(Stage::Tokens, done, total)?;
    draft.add(Component::Tokens, writer.finish(&lengths)?);
    if let Some(original) = original {
        draft.add(Component::Original, original.finish()?);
    }
    Ok(total as u64)
}
