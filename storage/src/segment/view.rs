//! An open segment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use latewood_codecs::{DenseRows, OriginalRows};

use super::codebook::Codebook;
use super::columns::{ColumnView, Columns};
use super::component::Component;
use super::dense::{self, Dense, NamedRows};
use super::documents::Documents;
use super::graph::{self, GraphView};
use super::ids::{Finder, Ids};
use super::ivf::{self, IvfView};
use super::kept::KeptBitmaps;
use super::lexical::{self, LexicalIndex, LexicalView};
use super::meta::{Beside, Layout, SegmentMeta};
use super::origin::Origin;
use super::original;
use super::reader::ComponentFile;
use super::sparse::{self, SparseIndexView, SparseRows};
use super::tokens::{self, TokenRows, TokensView};
use crate::backend::StorageBackend;
use crate::document::{DocumentId, Payload};
use crate::error::{Result, StorageError};
use crate::read_ahead::ReadAhead;
use crate::schema::{DenseSpec, Schema, VectorKind};
use crate::tombstones::Tombstones;

/// An open segment. Reading needs no lock; views borrow the mappings.
#[derive(Debug)]
pub struct Segment {
    dir: PathBuf,
    meta: SegmentMeta,
    pub(super) meta_file: ComponentFile,
    origin: Origin,
    pub(super) schema: Schema,
    pub(super) codebook: Option<Arc<Codebook>>,
    pub(super) files: BTreeMap<Component, Slot>,
    /// Rows that filters have let through before.
    kept: KeptBitmaps,
    /// Stands in for a lexical index that is damaged.
    lexical: OnceLock<Result<LexicalIndex>>,
}

/// A file of the segment, or why it cannot be used, and what its first use has found.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) file: Result<ComponentFile>,
    pub(super) bytes: u64,
    pub(super) checked: OnceLock<Result<()>>,
}

impl Segment {
    /// Opens a segment: maps its files and checks their frames, whatever their size. A file that is damaged there is
    /// reported when it is needed.
    ///
    /// # Errors
    /// [`StorageError::Corruption`] when the meta file is damaged, or describes a segment of another schema.
    pub fn open(
        backend: &dyn StorageBackend,
        dir: &Path,
        schema: &Schema,
        codebooks: &dyn Fn(u64) -> Option<Arc<Codebook>>,
    ) -> Result<Self> {
        let (meta, meta_file) = SegmentMeta::open(backend, dir)?;
        let layout = Layout::of(schema);
        if meta.layout != layout {
            let path = dir.join(Component::Meta.name());
            let (expected, found) = (format!("a segment of {layout:?}"), format!("{:?}", meta.layout));
            return Err(StorageError::corruption(&path, 0, expected, found));
        }
        let mut files = BTreeMap::new();
        for file_meta in &meta.files {
            let Some(component) = file_meta.component() else {
                continue;
            };
            let path = dir.join(component.name());
            let file = ComponentFile::open(backend, &path, component.kind());
            let file = file.and_then(|file| file.expect(file_meta.written()).map(|()| file));
            let bytes = file_meta.written().bytes;
            files.insert(
                component,
                Slot {
                    file,
                    bytes,
                    checked: OnceLock::new(),
                },
            );
        }
        let codebook = meta.codebook.and_then(codebooks);
        Ok(Self {
            dir: dir.to_owned(),
            meta,
            origin: Beside::origin(&meta_file),
            meta_file,
            schema: schema.clone(),
            codebook,
            files,
            kept: KeptBitmaps::default(),
            lexical: OnceLock::new(),
        })
    }

    /// The segment's number in its collection.
    pub fn id(&self) -> u64 {
        self.meta.id
    }

    /// Where the documents come from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Rows, deleted ones included.
    pub fn len(&self) -> u32 {
        self.meta.rows
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.meta.rows == 0
    }

    /// Tokens of all rows, deleted ones included.
    pub fn num_tokens(&self) -> u64 {
        self.meta.tokens
    }

    /// The codebook of the residual codes; `None` when the tokens are raw.
    pub fn codebook_id(&self) -> Option<u64> {
        self.meta.codebook
    }

    /// The schema that the segment was opened with.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The id of a row.
    ///
    /// # Errors
    /// Damage to the ids; an ordinal that is not below [`Self::len`] is damage to whoever gave it.
    pub fn document_id(&self, ordinal: u32) -> Result<DocumentId> {
        self.ids()?.get(ordinal)
    }

    /// Begins to fetch the ids of some rows, without waiting for them.
    pub fn fetch_ids(&self, ordinals: impl Iterator<Item = u32> + Clone) {
        if let Ok(ids) = self.ids() {
            ids.fetch(ordinals);
        }
    }

    /// The row of an id, deleted or not.
    ///
    /// # Errors
    /// Damage to the ids.
    pub fn find(&self, id: &DocumentId) -> Result<Option<u32>> {
        self.ids()?.find(id)
    }

    /// Finds the rows of many ids, as [`find`](Self::find) does that of one.
    pub(crate) fn finder(&self) -> Result<Finder<'_>> {
        self.ids()?.finder()
    }

    /// The text of a row.
    ///
    /// # Errors
    /// Damage to the block of documents that holds it.
    pub fn text(&self, ordinal: u32) -> Result<Option<String>> {
        self.documents()?
            .read(ordinal, |document| Ok(document.text.map(str::to_owned)))
    }

    /// The payload of a row.
    ///
    /// # Errors
    /// Damage to the block of documents that holds it.
    pub fn payload(&self, ordinal: u32) -> Result<Payload> {
        self.documents()?.payload(ordinal)
    }

    /// Reads the payloads of ascending rows, each block of documents once, until `visit` says no.
    ///
    /// # Errors
    /// Damage to a block of documents that holds one of them.
    pub fn payloads(
        &self,
        ordinals: impl Iterator<Item = u32>,
        visit: impl FnMut(u32, Payload) -> bool,
    ) -> Result<()> {
        self.documents()?.payloads(ordinals, visit)
    }

    /// The dense vectors; `None` when the schema has none.
    ///
    /// # Errors
    /// Damage to them.
    pub fn dense(&self) -> Result<Option<DenseRows<'_>>> {
        self.dense_file()?.map(Dense::rows).transpose()
    }

    /// Of the dense vectors what a graph is walked by, where it is not in the graph. Vectors that are damaged are told by
    /// themselves.
    pub(super) fn coarse(&self) -> Option<&[u8]> {
        // Every query asks, and most collections have none.
        let has = self.schema.dense.as_ref()?.codec.has_coarse();
        has.then(|| self.dense().ok()??.coarse())?
    }

    /// The graph over the dense vectors; `None` when none was built, or when it is damaged, which is logged once and
    /// reported by [`Self::health`]: the vectors can be scanned without it.
    ///
    /// # Errors
    /// None at present.
    pub fn graph(&self) -> Result<Option<GraphView<'_>>> {
        let (rows, spec) = (self.len(), self.schema.dense.as_ref());
        let coarse = self.coarse();
        Ok(self.derived(Component::Graph, |file, check| {
            graph::open(file, (spec, coarse), rows, check)
        }))
    }

    /// The token matrices; `None` when the schema has none.
    ///
    /// # Errors
    /// Damage to them, or a missing codebook.
    pub fn tokens(&self) -> Result<Option<TokensView<'_>>> {
        let Some(spec) = &self.schema.tokens else {
            return Ok(None);
        };
        let open = |file, check| tokens::open(file, self.len(), spec.dim, self.codebook.as_ref(), check);
        let (slot, file) = self.file(Component::Tokens)?;
        slot.checked.get_or_init(|| open(file, true).map(drop)).clone()?;
        open(file, false).map(Some)
    }

    /// The tokens as they came, beside residual codes; `None` when the schema keeps none, and when the tokens are stored
    /// raw, which are then the original ones themselves.
    ///
    /// # Errors
    /// Damage to them.
    pub fn original(&self) -> Result<Option<OriginalRows<'_>>> {
        let spec = self
            .schema
            .tokens
            .as_ref()
            .filter(|_| self.meta.codebook.is_some());
        let Some((spec, codec)) = spec.and_then(|s| Some((s, s.original?))) else {
            return Ok(None);
        };
        let (_, file) = self.file(Component::Original)?;
        let tokens = usize::try_from(self.meta.tokens).unwrap_or(usize::MAX);
        original::open(file, codec, spec.dim, tokens).map(Some)
    }

    /// The posting lists; `None` when the tokens are raw, or when the lists are damaged, which is logged once and
    /// reported by [`Self::health`]: the codes can be scanned without them.
    ///
    /// # Errors
    /// None at present; damage inside a list shows when it is read.
    pub fn ivf(&self) -> Result<Option<IvfView<'_>>> {
        let Some(codebook) = &self.codebook else {
            return Ok(None);
        };
        let centroids = codebook.codec.len();
        Ok(self.derived(Component::Ivf, |file, _| ivf::open(file, self.len(), centroids)))
    }

    /// The lexical index of the texts; `None` when the schema has none. One that is damaged is logged, reported by
    /// [`Self::health`], and made anew in memory from the texts, once; merging writes it again.
    ///
    /// # Errors
    /// Damage to the index and to the texts as well; damage inside a list shows when it is read.
    pub fn lexical(&self) -> Result<Option<LexicalView<'_>>> {
        let Some(spec) = &self.schema.lexical else {
            return Ok(None);
        };
        let open = |file, check| lexical::open(file, self.len(), Some(spec), check);
        if let Some(view) = self.derived(Component::Lexical, open) {
            return Ok(Some(view));
        }
        let make = || lexical::index_texts(self.documents()?, spec, None);
        let made = self.lexical.get_or_init(make).as_ref();
        made.map(|index| Some(index.view())).map_err(Clone::clone)
    }

    /// The dense vectors of the named field of this number; `None` when it is no field of such vectors.
    ///
    /// # Errors
    /// Damage to them.
    pub fn named(&self, field: usize) -> Result<Option<NamedRows<'_>>> {
        Ok(self.named_file(field)?.map(|(rows, _)| rows))
    }

    /// The same, to be copied.
    pub(super) fn named_file(&self, field: usize) -> Result<Option<(NamedRows<'_>, Dense<'_>)>> {
        let Some((number, spec)) = self.named_spec(field) else {
            return Ok(None);
        };
        let (slot, file) = self.file(Component::Vectors(number))?;
        let open = |check| dense::open_some(file, spec, self.len(), check);
        slot.checked.get_or_init(|| open(true).map(drop)).clone()?;
        open(false).map(Some)
    }

    /// The graph over them, by place; `None` also when none was built, and when it is damaged, which is logged once and
    /// reported by [`Self::health`].
    pub fn named_graph(&self, field: usize) -> Option<GraphView<'_>> {
        let (number, spec) = self.named_spec(field)?;
        let named = self.named(field).ok()??;
        let coarse = named.rows().coarse();
        self.derived(Component::VectorGraph(number), |file, check| {
            graph::open(file, (Some(spec), coarse), named.len(), check)
        })
    }

    pub(super) fn named_spec(&self, field: usize) -> Option<(u8, &DenseSpec)> {
        match &self.schema.vectors.get(field)?.kind {
            VectorKind::Dense(spec) => Some((u8::try_from(field).ok()?, spec)),
            VectorKind::Sparse => None,
        }
    }

    /// The sparse vectors of the named field of this number; `None` when it is no field of such vectors.
    ///
    /// # Errors
    /// Damage to them.
    pub fn sparse(&self, field: usize) -> Result<Option<SparseRows<'_>>> {
        let Some(component) = self.sparse_component(field, Component::Sparse) else {
            return Ok(None);
        };
        let open = |file, check| sparse::open_rows(file, self.len(), check);
        let (slot, file) = self.file(component)?;
        slot.checked.get_or_init(|| open(file, true).map(drop)).clone()?;
        open(file, false).map(Some)
    }

    /// The inverted index over them; `None` also when it is damaged, which is logged once and reported by
    /// [`Self::health`]: the vectors can be scanned without it.
    pub fn sparse_index(&self, field: usize) -> Option<SparseIndexView<'_>> {
        let component = self.sparse_component(field, Component::Postings)?;
        self.derived(component, |file, check| {
            sparse::open_index(file, self.len(), check)
        })
    }

    fn sparse_component(&self, field: usize, of: impl Fn(u8) -> Component) -> Option<Component> {
        let spec = self.schema.vectors.get(field)?;
        matches!(spec.kind, VectorKind::Sparse).then_some(())?;
        u8::try_from(field).ok().map(of)
    }

    /// The column of a payload field; `None` when the schema declares no such field.
    ///
    /// # Errors
    /// Damage to it.
    pub fn column(&self, name: &str) -> Result<Option<ColumnView<'_>>> {
        let Some(index) = self.schema.fields.iter().position(|f| f.name == name) else {
            return Ok(None);
        };
        self.column_at(index).map(Some)
    }

    pub(super) fn column_at(&self, index: usize) -> Result<ColumnView<'_>> {
        let (_, file) = self.file(Component::Columns)?;
        match self.schema.fields.get(index) {
            Some(field) => Columns::new(file, self.len()).get(index, field),
            None => Err(file.corruption(0, format!("a field {index} of the schema"), "none")),
        }
    }

    /// One bit a row, made by `make` or, where it was made under this key before and is still kept, as it was then. A segment
    /// never changes, so that it cannot be out of date; up to 2 MiB are kept, those that were asked for last.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn bitmap<E>(
        &self,
        key: &str,
        make: impl FnOnce() -> std::result::Result<Vec<u64>, E>,
    ) -> std::result::Result<Arc<[u64]>, E> {
        self.kept.get(key, make)
    }

    /// Bytes on disk, by component.
    pub fn bytes(&self) -> BTreeMap<&'static str, u64> {
        let files = self
            .files
            .iter()
            .map(|(component, slot)| (component.name(), slot.bytes));
        files
            .chain([(Component::Meta.name(), self.meta_file.written().bytes)])
            .collect()
    }

    /// Bytes of all files.
    pub(crate) fn total_bytes(&self) -> u64 {
        let files = self.files.values().map(|slot| slot.bytes);
        files.sum::<u64>() + self.meta_file.written().bytes
    }

    /// Whether pages of the files are worth asking for before they are read.
    #[must_use]
    pub fn read_ahead(&self) -> ReadAhead {
        self.meta_file.read_ahead()
    }

    /// Keeps the pages of mapped files in this process within their share of the memory budget. To be called every few
    /// hundred kilobytes read.
    #[inline]
    pub fn relieve(&self) {
        self.meta_file.relieve();
    }

    pub(super) fn ids(&self) -> Result<Ids<'_>> {
        self.file(Component::Ids)
            .map(|(_, file)| Ids::new(file, self.len()))
    }

    pub(super) fn documents(&self) -> Result<Documents<'_>> {
        self.file(Component::Documents)
            .map(|(_, file)| Documents::new(file, self.len()))
    }

    pub(super) fn dense_file(&self) -> Result<Option<Dense<'_>>> {
        let Some(spec) = &self.schema.dense else {
            return Ok(None);
        };
        self.file(Component::Dense)
            .map(|(_, file)| Some(Dense::new(file, spec, self.len())))
    }

    /// The coded original tier, to be copied.
    pub(super) fn original_coded(&self) -> Result<Option<(&[u8], &[f32])>> {
        let Some((spec, codec)) = self.schema.tokens.as_ref().and_then(|s| Some((s, s.original?))) else {
            return Ok(None);
        };
        let (_, file) = self.file(Component::Original)?;
        let tokens = usize::try_from(self.meta.tokens).unwrap_or(usize::MAX);
        original::coded(file, codec, spec.dim, tokens).map(Some)
    }

    /// Whether the tokens are codes of this codebook.
    pub(super) fn is_coded_with(&self, codebook: &Codebook) -> bool {
        let own = self.tokens().ok().flatten().map(|t| t.rows);
        matches!(own, Some(TokenRows::Residual { codebook: own, .. }) if own.id == codebook.id)
    }

    /// Which tokens are those of a row, whether or not their codes can be read.
    pub(crate) fn token_range(&self, ordinal: u32) -> Result<std::ops::Range<usize>> {
        let (_, file) = self.file(Component::Tokens)?;
        let [_, tokens, ..] = file.params();
        let tokens = usize::try_from(tokens).unwrap_or(usize::MAX);
        Ok(tokens::ends(file, self.len() as usize, tokens)?.range(ordinal as usize))
    }

    fn file(&self, component: Component) -> Result<(&Slot, &ComponentFile)> {
        match self.files.get(&component) {
            Some(slot) => slot.file.as_ref().map(|file| (slot, file)).map_err(Clone::clone),
            None => {
                let path = self.dir.join(Component::Meta.name());
                Err(StorageError::corruption(
                    &path,
                    0,
                    format!("a file {}", component.name()),
                    "none",
                ))
            }
        }
    }

    /// A derived component, unless it is missing or damaged.
    fn derived<'a, V>(
        &'a self,
        component: Component,
        open: impl Fn(&'a ComponentFile, bool) -> Result<V>,
    ) -> Option<V> {
        let slot = self.files.get(&component)?;
        let check = || {
            let checked = slot
                .file
                .as_ref()
                .map_err(Clone::clone)
                .and_then(|file| open(file, true).map(drop));
            if let Err(error) = &checked {
                tracing::warn!(%error, component = component.name(), segment = self.id(), "searched without it");
            }
            checked
        };
        slot.checked.get_or_init(check).as_ref().ok()?;
        open(slot.file.as_ref().ok()?, false).ok()
    }
}

/// A segment and the rows of it that are deleted, as a snapshot sees them.
#[derive(Clone, Debug)]
pub struct SegmentView {
    /// The segment.
    pub segment: Arc<Segment>,
    /// The ordinals of deleted rows.
    pub tombstones: Arc<Tombstones>,
}

impl SegmentView {
    /// Rows that are not deleted.
    pub fn live_len(&self) -> u64 {
        let deleted = self.tombstones.range_cardinality(0..self.segment.len());
        u64::from(self.segment.len()).saturating_sub(deleted)
    }

    /// The rows that are not deleted, a bit each, from the lowest of the first word upwards; made once, and again by no delete.
    pub fn live_words(&self) -> &Arc<[u64]> {
        self.tombstones.live(self.segment.len())
    }

    /// Whether a row exists and is not deleted.
    #[inline]
    pub fn is_live(&self, ordinal: u32) -> bool {
        ordinal < self.segment.len() && !self.tombstones.contains(ordinal)
    }

    /// The ranges of rows that are not deleted, ascending, none empty.
    pub fn live_runs(&self) -> Vec<std::ops::Range<u32>> {
        let rows = self.segment.len();
        let mut runs = Vec::new();
        let mut start = 0;
        for deleted in self.tombstones.iter().take_while(|&d| d < rows).chain([rows]) {
            if start < deleted {
                runs.push(start..deleted);
            }
            start = deleted.saturating_add(1);
        }
        runs
    }
}
