//! What is left of a damaged segment: a copy of it that is whole, and the rows that are not.
//!
//! The guard in the segment's meta file says which blocks of a file are as they were written; without it a section is whole
//! or lost. What is lost is written as zeros, so that the copy can be read, and the rows it belonged to are told.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::codebook::Codebook;
use super::component::Component;
use super::dense::{CODES, DOCUMENTS, FACTORS, FINE};
use super::guard::Guard;
use super::header::Header;
use super::meta::{Beside, FileMeta, Layout, SegmentMeta};
use super::remains::Remains;
use super::sparse::{DIMENSIONS, ENDS, PLACES, WEIGHTS};
use super::view::Segment;
use crate::backend::StorageBackend;
use crate::error::{IoContext, Result, StorageError};
use crate::mmap::MappedFile;
use crate::schema::{DenseSpec, Schema, VectorKind};

/// A file may be so many times longer than what is left of it.
const MOST_ZEROS: usize = 1024;

/// A damaged segment, as far as it can be read.
#[derive(Debug)]
pub(crate) struct Patched {
    /// The copy; its derived files are left out.
    pub(crate) segment: Segment,
    /// Rows of which each part was lost.
    pub(crate) lost: LostRows,
    /// Bytes that were wrong and could be put right.
    pub(crate) fixed: usize,
}

/// The rows of a segment that are not whole, by what they lack.
#[derive(Clone, Debug, Default)]
pub(crate) struct LostRows {
    pub(crate) ids: RoaringBitmap,
    pub(crate) documents: RoaringBitmap,
    pub(crate) dense: RoaringBitmap,
    pub(crate) tokens: RoaringBitmap,
    pub(crate) original: RoaringBitmap,
    /// Vectors of named fields.
    pub(crate) vectors: RoaringBitmap,
}

impl LostRows {
    /// Rows that lack something that is kept nowhere else.
    pub(crate) fn gone(&self) -> RoaringBitmap {
        &self.ids | &self.documents | &self.dense | &self.vectors | (&self.tokens & &self.original)
    }

    /// Rows whose tokens are whole in one of two tiers only.
    pub(crate) fn half(&self) -> RoaringBitmap {
        (&self.tokens | &self.original) - self.gone()
    }
}

/// What is known of a damaged segment beside its files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) schema: &'a Schema,
    /// Its rows, as the manifest says.
    pub(crate) rows: Option<u32>,
}

/// Copies what is left of a segment to `copy`, a folder that does not exist, under the number `id`. `None` when nothing
/// is left that could be read.
///
/// # Errors
/// What the backend says.
pub(crate) fn patch_segment(
    backend: &dyn StorageBackend,
    known: Known<'_>,
    codebooks: &dyn Fn(u64) -> Option<Arc<Codebook>>,
    copy: &Path,
    id: u64,
) -> Result<Option<Patched>> {
    let meta = match SegmentMeta::open(backend, known.dir) {
        Err(error) if error.is_of_the_disk() => return Err(error),
        meta => meta.ok(),
    };
    let mut patcher = Patcher {
        backend,
        known,
        copy: copy.to_owned(),
        beside: meta
            .as_ref()
            .map(|(_, file)| Beside::read(file))
            .unwrap_or_default(),
        expected: meta
            .as_ref()
            .map(|(meta, _)| meta.files.clone())
            .unwrap_or_default(),
        rows: known
            .rows
            .or(meta.as_ref().map(|(meta, _)| meta.rows))
            .unwrap_or(0),
        fixed: 0,
        lost: LostRows::default(),
        files: Vec::new(),
    };
    backend.create_dir_all(copy).at("create", copy)?;
    match patcher.copy_all(id, codebooks) {
        Ok(segment) => Ok(segment.map(|segment| Patched {
            segment,
            lost: patcher.lost,
            fixed: patcher.fixed,
        })),
        // Files that contradict one another under checksums that are right.
        Err(StorageError::Corruption { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

struct Patcher<'a> {
    backend: &'a dyn StorageBackend,
    known: Known<'a>,
    copy: PathBuf,
    beside: Beside,
    expected: Vec<FileMeta>,
    rows: u32,
    lost: LostRows,
    files: Vec<FileMeta>,
    fixed: usize,
}

impl Patcher<'_> {
    fn copy_all(
        &mut self,
        id: u64,
        codebooks: &dyn Fn(u64) -> Option<Arc<Codebook>>,
    ) -> Result<Option<Segment>> {
        let Some(ids) = self.remains(Component::Ids)? else {
            self.lost.ids.insert_range(0..self.rows);
            return Ok(None);
        };
        if self.known.rows.is_none() {
            self.rows = u32::try_from(ids.params[0]).unwrap_or(0);
        }
        if !ids.has_rows(self.rows) {
            return Ok(None);
        }
        let (lost, replaced) = ids.lost_ids(self.rows);
        self.lost.ids = lost;
        self.write_with(Component::Ids, &ids, &replaced)?;
        self.copy_documents()?;
        self.copy_columns()?;
        self.copy_dense()?;
        self.copy_vectors()?;
        let (tokens, codebook) = self.copy_tokens(codebooks)?;
        let meta = SegmentMeta {
            id,
            rows: self.rows,
            tokens,
            codebook,
            layout: Layout::of(self.known.schema),
            files: self.files.clone(),
        };
        let beside = Beside {
            origin: self.beside.origin.clone(),
            ..Beside::default()
        };
        meta.write(self.backend, &self.copy, &beside)?;
        let segment = Segment::open(self.backend, &self.copy, self.known.schema, codebooks)?;
        self.lost.documents |= unreadable(&segment)?;
        for row in 0..self.rows {
            match segment.document_id(row) {
                Ok(_) => (),
                Err(error) if error.is_of_the_disk() => return Err(error),
                Err(_) => _ = self.lost.ids.insert(row),
            }
        }
        Ok(Some(segment))
    }

    fn copy_documents(&mut self) -> Result<()> {
        match self.remains(Component::Documents)? {
            Some(documents) => {
                self.lost.documents = documents.lost_blocks(self.rows);
                self.write(Component::Documents, &documents)
            }
            None => {
                self.lost.documents.insert_range(0..self.rows);
                Ok(())
            }
        }
    }

    /// Damaged columns are made again from the payloads when the copy is merged.
    fn copy_columns(&mut self) -> Result<()> {
        match self.remains(Component::Columns)? {
            Some(columns) if columns.is_whole() => self.write(Component::Columns, &columns),
            _ => Ok(()),
        }
    }

    fn copy_dense(&mut self) -> Result<()> {
        let Some(spec) = &self.known.schema.dense else {
            return Ok(());
        };
        match self.remains(Component::Dense)? {
            Some(dense) => {
                self.lost.dense = dense.lost_rows(self.rows, &dense_widths(spec));
                self.write(Component::Dense, &dense)
            }
            None => {
                self.lost.dense.insert_range(0..self.rows);
                Ok(())
            }
        }
    }

    fn copy_vectors(&mut self) -> Result<()> {
        let schema = self.known.schema;
        for (field, spec) in (0_u8..).zip(&schema.vectors) {
            match &spec.kind {
                VectorKind::Dense(spec) => self.copy_named(field, spec)?,
                VectorKind::Sparse => self.copy_sparse(field)?,
            }
        }
        Ok(())
    }

    fn copy_named(&mut self, field: u8, spec: &DenseSpec) -> Result<()> {
        let component = Component::Vectors(field);
        let Some(named) = self.remains(component)? else {
            self.lost.vectors.insert_range(0..self.rows);
            return Ok(());
        };
        let count = u32::try_from(named.params[0]).unwrap_or(0).min(self.rows);
        let places = named.lost_rows(count, &dense_widths(spec));
        if count == self.rows {
            self.lost.vectors |= places;
            return self.write(component, &named);
        }
        let (documents, lost) = named.documents(DOCUMENTS, count, self.rows);
        self.lost.vectors |= lost;
        let of = |place: u32| documents.get(place as usize).copied();
        self.lost.vectors.extend(places.iter().filter_map(of));
        let bytes = bytemuck::cast_slice(&documents).to_vec();
        self.write_with(component, &named, &[(DOCUMENTS, bytes)])
    }

    fn copy_sparse(&mut self, field: u8) -> Result<()> {
        let component = Component::Sparse(field);
        let Some(sparse) = self.remains(component)? else {
            self.lost.vectors.insert_range(0..self.rows);
            return Ok(());
        };
        let [_, entries, bytes, ..] = sparse.params;
        let places = sparse.ends_in(PLACES, self.rows, bytes);
        let ends = sparse.ends_in(ENDS, self.rows, entries);
        self.lost.vectors |= places.lost_rows(&sparse, &[(DIMENSIONS, 1)]) | &places.lost;
        self.lost.vectors |= ends.lost_rows(&sparse, &[(WEIGHTS, size_of::<f32>())]) | &ends.lost;
        self.write_with(component, &sparse, &[(PLACES, places.bytes), (ENDS, ends.bytes)])
    }

    /// Copies the tokens and their original tier; returns how many there are and the codebook of their codes.
    fn copy_tokens(
        &mut self,
        codebooks: &dyn Fn(u64) -> Option<Arc<Codebook>>,
    ) -> Result<(u64, Option<u64>)> {
        let Some(spec) = self.known.schema.tokens.clone() else {
            return Ok((0, None));
        };
        let all = 0..self.rows;
        let Some(tokens) = self.remains(Component::Tokens)? else {
            self.lost.tokens.insert_range(all.clone());
            self.lost.original.insert_range(all);
            return Ok((0, None));
        };
        let [_, count, _, layout, bits, id] = tokens.params;
        let codebook = (layout == 1).then_some(id);
        let ends = tokens.ends(self.rows, count);
        let whole = match codebook {
            None => ends.lost_rows(&tokens, &[(1, spec.dim * 2)]),
            Some(id) => {
                let opened = codebooks(id);
                let residual = spec.dim.saturating_mul(usize::try_from(bits).unwrap_or(0)) / 8;
                let code = if opened.as_ref().is_some_and(|c| c.codec.len() > 1 << 16) {
                    4
                } else {
                    2
                };
                let mut lost = ends.lost_rows(&tokens, &[(1, residual), (3, code), (4, 2)]);
                if opened.is_none() {
                    lost.insert_range(all.clone());
                }
                lost
            }
        };
        self.lost.tokens = &whole | &ends.lost;
        self.lost.original = self.copy_original(codebook.is_some(), &ends)?;
        self.write_with(Component::Tokens, &tokens, &[(2, ends.bytes)])?;
        Ok((count, codebook))
    }

    /// Copies the original tier, if there is one beside codes; returns the rows that it has no tokens of.
    fn copy_original(&mut self, coded: bool, ends: &super::remains::EndsLeft) -> Result<RoaringBitmap> {
        let spec = self
            .known
            .schema
            .tokens
            .as_ref()
            .and_then(|s| Some((s.dim, s.original?)));
        let Some((dim, codec)) = spec.filter(|_| coded) else {
            // With a single tier, what the tokens lack is kept nowhere else, and what they have is all there is.
            return Ok(self.lost.tokens.clone());
        };
        let Some(original) = self.remains(Component::Original)? else {
            return Ok((0..self.rows).collect());
        };
        let factors = codec.row_factors() * size_of::<f32>();
        let lost = ends.lost_rows(&original, &[(1, codec.row_bytes(dim)), (2, factors)]);
        self.write(Component::Original, &original)?;
        Ok(lost | &ends.lost)
    }

    /// What is left of a file; `None` when nothing of it can be told from damage.
    fn remains(&self, component: Component) -> Result<Option<Remains>> {
        let path = self.known.dir.join(component.name());
        let map = match self.backend.map(&path).at("map", &path) {
            Ok(map) => map,
            Err(error) if error.is_not_found() => MappedFile::from_bytes(&[]),
            Err(error) => return Err(error),
        };
        // What is missing is written as zeros: of a file that is all but gone, nothing is left to be written with them.
        let guard = self.beside.guard(component);
        let guard = guard.filter(|guard| guard.body().is_some_and(|body| body / MOST_ZEROS <= map.len()));
        let expected = self
            .expected
            .iter()
            .find(|file| file.component() == Some(component));
        let own = Header::parse(&path, &map, component.kind()).ok();
        let own = own.filter(|header| expected.is_none_or(|file| file.written().crc == header.crc));
        let kept = |guard: &Guard| Header::of_tail(&path, component.kind(), &guard.tail, guard.body()?).ok();
        let header = own.or_else(|| guard.and_then(kept));
        Ok(header.map(|header| Remains::new(map, header, guard)))
    }

    fn write(&mut self, component: Component, remains: &Remains) -> Result<()> {
        self.write_with(component, remains, &[])
    }

    fn write_with(
        &mut self,
        component: Component,
        remains: &Remains,
        replaced: &[(u32, Vec<u8>)],
    ) -> Result<()> {
        let path = self.copy.join(component.name());
        let written = remains.write(self.backend, &path, component.kind(), replaced)?;
        self.files.push(FileMeta::new(component, written));
        self.fixed += remains.fixed();
        Ok(())
    }
}

/// The sections of dense vectors, and their bytes a row.
fn dense_widths(spec: &DenseSpec) -> [(u32, usize); 3] {
    let [codes, fine] = spec.codec.plane_bytes(spec.dim);
    let factors = spec.codec.row_factors(spec.metric) * size_of::<f32>();
    [(CODES, codes), (FINE, fine), (FACTORS, factors)]
}

/// The rows of a segment whose text or payload cannot be read.
fn unreadable(segment: &Segment) -> Result<RoaringBitmap> {
    let mut lost = RoaringBitmap::new();
    let blocks = segment
        .documents()
        .and_then(|documents| Ok((documents, documents.blocks()?.len())));
    let (documents, blocks) = match blocks {
        Ok(blocks) => blocks,
        Err(error) if error.is_of_the_disk() => return Err(error),
        Err(_) => return Ok((0..segment.len()).collect()),
    };
    let mut seen = 0;
    for index in 0..blocks {
        let Ok(rows) = documents.rows_of(index) else {
            continue;
        };
        lost.insert_range(seen..rows.start.max(seen));
        seen = rows.end.max(seen);
        match documents.block(index) {
            Ok(block) => {
                let whole = |row: u32| {
                    let document = block.get(row)?;
                    super::documents::parse_payload(document.payload)
                };
                lost.extend(rows.filter(|row| whole(*row).is_none()));
            }
            Err(_) => lost.extend(rows),
        }
    }
    lost.insert_range(seen..segment.len().max(seen));
    Ok(lost)
}

/// Bytes `at` of a range as rows of `width` bytes: which rows it touches.
pub(super) fn rows_touched(bytes: &Range<usize>, width: usize) -> Range<usize> {
    bytes.start / width.max(1)..bytes.end.div_ceil(width.max(1))
}
