//! Documents that are in the log and in memory, not yet in a segment.
//!
//! A view is persistent in the functional sense: cloning it costs a few hundred reference counts, and a commit copies
//! only the block and the index shards that it touches. So every commit can hand readers a view that never changes.

use std::mem::size_of;
use std::sync::{Arc, OnceLock};

use roaring::RoaringBitmap;
use xxhash_rust::xxh3::xxh3_64;

use crate::document::{DocumentId, Record, vectors_bytes};
use crate::error::Result;
use crate::segment::{IndexBuilder, LexicalIndex, LexicalView};
use crate::text::{Analyzer, LexicalSpec};
use crate::validate::payload_bytes;

/// Records in a block: what a commit copies at most, as pointers.
const BLOCK: usize = 256;
/// Shards of the index from ids to slots: one for each value of a byte of the hash.
const SHARDS: usize = 256;

/// The documents of a memtable at one moment. A slot is a document's place in it, counted from 0 in order of arrival;
/// slots of replaced and deleted documents stay empty.
#[derive(Clone, Debug)]
pub struct MemtableView {
    blocks: Vec<Arc<Block>>,
    dead: Arc<RoaringBitmap>,
    index: Arc<Vec<Arc<Shard>>>,
    slots: u32,
    live_tokens: u64,
    bytes: u64,
}

/// Some neighbouring slots.
#[derive(Debug, Default)]
struct Block {
    records: Vec<Arc<Record>>,
    /// Of all of them, once someone has asked.
    lexical: OnceLock<Result<LexicalIndex>>,
}

impl Clone for Block {
    fn clone(&self) -> Self {
        Self::of(self.records.clone())
    }
}

impl Block {
    fn of(records: Vec<Arc<Record>>) -> Self {
        let lexical = OnceLock::new();
        Self { records, lexical }
    }

    fn push(&mut self, record: Arc<Record>) {
        self.records.push(record);
        self.lexical = OnceLock::new();
    }

    fn lexical(&self, analyzer: &Analyzer) -> Result<LexicalView<'_>> {
        let make = || {
            let mut builder = IndexBuilder::new(analyzer);
            for record in &self.records {
                builder.push(record.text.as_deref())?;
            }
            builder.finish()
        };
        let made = self.lexical.get_or_init(make).as_ref();
        made.map(LexicalIndex::view).map_err(Clone::clone)
    }
}

/// Slots by the upper halves of their ids' hashes, sorted. Copied as a whole, so it holds numbers and no references.
type Shard = Vec<Place>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    hash: u32,
    slot: u32,
}

impl Default for MemtableView {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            dead: Arc::default(),
            index: Arc::new(vec![Arc::default(); SHARDS]),
            slots: 0,
            live_tokens: 0,
            bytes: 0,
        }
    }
}

impl MemtableView {
    /// The live documents with their slots, in order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Arc<Record>)> {
        let records = self.blocks.iter().flat_map(|block| block.records.iter());
        (0..self.slots)
            .zip(records)
            .filter(|(slot, _)| !self.dead.contains(*slot))
    }

    /// The live document of a slot.
    #[must_use]
    pub fn get(&self, slot: u32) -> Option<&Arc<Record>> {
        if self.dead.contains(slot) {
            return None;
        }
        self.record(slot)
    }

    /// The document of a slot, live or not.
    fn record(&self, slot: u32) -> Option<&Arc<Record>> {
        let slot = slot as usize;
        self.blocks.get(slot / BLOCK)?.records.get(slot % BLOCK)
    }

    /// Where a live document is: the shard, the place in it, and the slot.
    fn place(&self, id: &DocumentId) -> Option<(usize, usize, u32)> {
        let (shard, hash) = hashed(id);
        let places = self.index.get(shard)?;
        let first = places.partition_point(|place| place.hash < hash);
        let same = places
            .iter()
            .enumerate()
            .skip(first)
            .take_while(|(_, place)| place.hash == hash);
        same.map(|(at, place)| (shard, at, place.slot))
            .find(|(_, _, slot)| self.record(*slot).is_some_and(|record| record.id == *id))
    }

    /// The slot of a document.
    #[must_use]
    pub fn find(&self, id: &DocumentId) -> Option<u32> {
        self.place(id).map(|(_, _, slot)| slot)
    }

    /// Lexical indexes of the texts, each with the slot of its first row; replaced and deleted documents included. They are
    /// made when they are first asked for, and kept: a commit leaves all but that of the last 256 slots as they are.
    ///
    /// # Errors
    /// None at present.
    pub fn lexical(&self, spec: &LexicalSpec) -> Result<Vec<(u32, LexicalView<'_>)>> {
        let analyzer = Analyzer::new(spec);
        let starts = (0..self.slots).step_by(BLOCK);
        starts
            .zip(&self.blocks)
            .map(|(start, block)| Ok((start, block.lexical(&analyzer)?)))
            .collect()
    }

    /// Live documents.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots as usize - usize::try_from(self.dead.len()).unwrap_or_default()
    }

    /// Whether no document lives here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One more than the highest slot, live or not.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// Tokens of the live documents.
    #[must_use]
    pub fn num_tokens(&self) -> u64 {
        self.live_tokens
    }

    /// Memory held by all documents, replaced and deleted ones included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes a document, replacing the one of its id.
    pub(crate) fn upsert(&mut self, record: Arc<Record>) {
        self.remove(&record.id);
        let slot = self.slots;
        self.slots += 1;
        self.bytes += record_bytes(&record);
        self.live_tokens += tokens_of(&record);
        let (shard, hash) = hashed(&record.id);
        if let Some(shard) = Arc::make_mut(&mut self.index).get_mut(shard) {
            let shard = Arc::make_mut(shard);
            let at = shard.partition_point(|place| place.hash <= hash);
            shard.insert(at, Place { hash, slot });
        }
        match self.blocks.last_mut() {
            Some(block) if block.records.len() < BLOCK => Arc::make_mut(block).push(record),
            _ => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(record);
                self.blocks.push(Arc::new(Block::of(block)));
            }
        }
    }

    /// Removes the document of an id; whether there was one.
    pub(crate) fn remove(&mut self, id: &DocumentId) -> bool {
        let Some((shard, at, slot)) = self.place(id) else {
            return false;
        };
        self.live_tokens -= self.record(slot).map_or(0, |record| tokens_of(record));
        if let Some(shard) = Arc::make_mut(&mut self.index).get_mut(shard) {
            Arc::make_mut(shard).remove(at);
        }
        Arc::make_mut(&mut self.dead).insert(slot);
        true
    }

    /// A memtable of the live documents from `slot` on.
    pub(crate) fn rest(&self, slot: u32) -> Self {
        let mut rest = Self::default();
        for (_, record) in self.iter().filter(|(at, _)| *at >= slot) {
            rest.upsert(Arc::clone(record));
        }
        rest
    }
}

/// The shard of an id, and its hash in it.
fn hashed(id: &DocumentId) -> (usize, u32) {
    let hash = match id {
        DocumentId::U64(id) => xxh3_64(&id.to_le_bytes()),
        DocumentId::Str(id) => xxh3_64(id.as_bytes()),
    };
    let [shard, .., a, b, c, d] = hash.to_le_bytes();
    (usize::from(shard), u32::from_le_bytes([a, b, c, d]))
}

fn tokens_of(record: &Record) -> u64 {
    record.tokens.as_ref().map_or(0, |tokens| tokens.len() as u64)
}

/// The memory that a document takes, within some per cent.
pub(crate) fn record_bytes(record: &Record) -> u64 {
    let id = match &record.id {
        DocumentId::U64(_) => 0,
        DocumentId::Str(s) => s.len(),
    };
    let text = record.text.as_ref().map_or(0, String::len);
    let dense = record
        .dense
        .as_ref()
        .map_or(0, |vector| size_of::<f32>() * vector.len());
    // In half precision, and in bytes once a query has looked at them.
    let tokens = record
        .tokens
        .as_ref()
        .map_or(0, |tokens| 3 * tokens.as_f16().len());
    let vectors = vectors_bytes(&record.vectors);
    (size_of::<Record>() + 96 + id + text + 2 * payload_bytes(&record.payload) + dense + tokens + vectors)
        as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Payload;

    fn record(id: u64, text: &str) -> Arc<Record> {
        let text = Some(text.to_owned());
        Arc::new(Record {
            id: id.into(),
            text,
            payload: Payload::new(),
            dense: None,
            tokens: None,
            vectors: crate::document::Vectors::new(),
        })
    }

    #[test]
    fn a_replaced_document_leaves_an_empty_slot() {
        let mut table = MemtableView::default();
        table.upsert(record(1, "a"));
        table.upsert(record(2, "b"));
        table.upsert(record(1, "c"));
        assert_eq!((table.len(), table.slots()), (2, 3));
        assert_eq!(table.find(&1.into()), Some(2));
        assert!(table.get(0).is_none());
        let order: Vec<_> = table
            .iter()
            .map(|(slot, r)| (slot, r.text.clone().unwrap()))
            .collect();
        assert_eq!(order, [(1, "b".to_owned()), (2, "c".to_owned())]);
    }

    #[test]
    fn a_view_does_not_see_later_writes() {
        let mut table = MemtableView::default();
        for id in 0..600 {
            table.upsert(record(id, "old"));
        }
        let view = table.clone();
        for id in 0..600 {
            table.upsert(record(id, "new"));
        }
        assert!(table.remove(&7.into()));
        assert!(!table.remove(&7.into()));
        assert_eq!((view.len(), table.len()), (600, 599));
        assert!(view.iter().all(|(_, r)| r.text.as_deref() == Some("old")));
        assert!(table.iter().all(|(_, r)| r.text.as_deref() == Some("new")));
        assert!(view.find(&7.into()).is_some() && table.find(&7.into()).is_none());
    }

    #[test]
    fn the_rest_keeps_what_came_after_a_slot() {
        let mut table = MemtableView::default();
        for id in 0..300 {
            table.upsert(record(id, "x"));
        }
        let flushed = table.slots();
        table.upsert(record(5, "again"));
        table.upsert(record(1000, "new"));
        let rest = table.rest(flushed);
        assert_eq!(rest.len(), 2);
        assert_eq!(
            rest.get(rest.find(&5.into()).unwrap()).unwrap().text.as_deref(),
            Some("again")
        );
    }
}
