//! What a reader sees: segments, tombstones and memtable of one moment. Nothing changes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::document::{DocumentId, Record};
use crate::error::Result;
use crate::memtable::MemtableView;
use crate::read_ahead::ReadAhead;
use crate::schema::Schema;
use crate::segment::{Codebook, SegmentView};

/// A collection at one moment. The position of a document counts through the segments in order, then through the
/// memtable in order of arrival.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) segments: Vec<SegmentView>,
    pub(crate) memtable: MemtableView,
    pub(crate) schema: Arc<Schema>,
    pub(crate) codebooks: Arc<BTreeMap<u64, Arc<Codebook>>>,
    pub(crate) sequence: u64,
}

/// Where the live version of a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a segment: its index in [`Snapshot::segments`] and the ordinal.
    Segment {
        /// Index of the segment.
        segment: usize,
        /// Row in it.
        ordinal: u32,
    },
    /// In the memtable.
    Memtable {
        /// Its slot.
        slot: u32,
    },
}

impl Snapshot {
    pub(crate) fn empty(schema: Arc<Schema>) -> Self {
        Self {
            segments: Vec::new(),
            memtable: MemtableView::default(),
            schema,
            codebooks: Arc::default(),
            sequence: 0,
        }
    }

    /// The segments, in order of position.
    #[must_use]
    pub fn segments(&self) -> &[SegmentView] {
        &self.segments
    }

    /// The documents that are in no segment yet.
    #[must_use]
    pub fn memtable(&self) -> &MemtableView {
        &self.memtable
    }

    /// The schema of the collection.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The codebooks that segments are coded with, by number.
    #[must_use]
    pub fn codebooks(&self) -> &BTreeMap<u64, Arc<Codebook>> {
        &self.codebooks
    }

    /// The codebook that new segments are coded with.
    #[must_use]
    pub fn codebook(&self) -> Option<&Arc<Codebook>> {
        self.codebooks.values().next_back()
    }

    /// The last commit that this snapshot holds.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Live documents.
    #[must_use]
    pub fn len(&self) -> u64 {
        let segments: u64 = self.segments.iter().map(SegmentView::live_len).sum();
        segments + self.memtable.len() as u64
    }

    /// Whether there is no live document.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Deleted and replaced documents that still take room in segments.
    #[must_use]
    pub fn num_deleted(&self) -> u64 {
        self.segments.iter().map(|view| view.tombstones.len()).sum()
    }

    /// Tokens of the segments' documents, deleted ones included, and of the memtable's live ones.
    #[must_use]
    pub fn num_tokens(&self) -> u64 {
        let segments: u64 = self.segments.iter().map(|view| view.segment.num_tokens()).sum();
        segments + self.memtable.num_tokens()
    }

    /// Where the live version of a document is.
    ///
    /// # Errors
    /// [`crate::StorageError::Corruption`] when an index of ids is damaged.
    pub fn find(&self, id: &DocumentId) -> Result<Option<Place>> {
        if let Some(slot) = self.memtable.find(id) {
            return Ok(Some(Place::Memtable { slot }));
        }
        for (segment, view) in self.segments.iter().enumerate() {
            if let Some(ordinal) = view.segment.find(id)?
                && view.is_live(ordinal)
            {
                return Ok(Some(Place::Segment { segment, ordinal }));
            }
        }
        Ok(None)
    }

    /// Whether pages of the segments' files are worth asking for before they are read.
    #[must_use]
    pub fn read_ahead(&self) -> ReadAhead {
        let first = self.segments.first();
        first.map_or_else(ReadAhead::default, |view| view.segment.read_ahead())
    }

    /// Keeps the pages of mapped files in this process within their share of the memory budget. To be called every few
    /// hundred kilobytes read.
    #[inline]
    pub fn relieve(&self) {
        if let Some(view) = self.segments.first() {
            view.segment.relieve();
        }
    }

    /// The whole document of an id, its vectors decoded.
    ///
    /// # Errors
    /// [`crate::StorageError::Corruption`] when a file is damaged.
    pub fn get(&self, id: &DocumentId) -> Result<Option<Record>> {
        match self.find(id)? {
            Some(Place::Memtable { slot }) => Ok(self.memtable.get(slot).map(|record| Record::clone(record))),
            Some(Place::Segment { segment, ordinal }) => self
                .segments
                .get(segment)
                .map(|view| view.segment.record(ordinal))
                .transpose(),
            None => Ok(None),
        }
    }
}
