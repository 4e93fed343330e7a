//! Posting lists: for each term the documents that have it, how often, and where in them.
//!
//! A list of more than one block begins with a table of its blocks: the last document, and where the block ends among the
//! list's bytes and among its positions (u32 each). A block is up to 128 documents as packed differences, then their
//! frequencies less one, packed. Positions are differences as variable-length numbers, document after document.

use super::super::packing::{BLOCK, pack_block, unpack_ordinals, unpack_values};
use super::varint::{put, take_u32};

const ENTRY: usize = 12;

/// A posting list that is written, its documents ascending.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) documents: Vec<u32>,
    pub(super) frequencies: Vec<u32>,
    /// The positions of all documents.
    pub(super) positions: Vec<u8>,
    /// Where those of each document end.
    pub(super) ends: Vec<usize>,
}

impl Draft {
    pub(super) fn clear(&mut self) {
        self.documents.clear();
        self.frequencies.clear();
        self.positions.clear();
        self.ends.clear();
    }

    /// Appends a document with its positions, ascending.
    pub(super) fn push(&mut self, document: u32, positions: impl IntoIterator<Item = u32>) {
        let (mut next, mut frequency) = (0, 0);
        for position in positions {
            put(u64::from(position.saturating_sub(next)), &mut self.positions);
            next = position.saturating_add(1);
            frequency += 1;
        }
        self.documents.push(document);
        self.frequencies.push(frequency);
        self.ends.push(self.positions.len());
    }

    /// Appends a document with the bytes of its positions.
    pub(super) fn copy(&mut self, document: u32, frequency: u32, positions: &[u8]) {
        self.documents.push(document);
        self.frequencies.push(frequency);
        self.positions.extend_from_slice(positions);
        self.ends.push(self.positions.len());
    }

    /// Appends the list to `out`; `None` when it is too long for its table.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Option<()> {
        let blocks = self.documents.len().div_ceil(BLOCK);
        let table = out.len();
        if blocks > 1 {
            out.resize(table + blocks * ENTRY, 0);
        }
        let body = out.len();
        let (mut next, mut gaps) = (0u32, [0u32; BLOCK]);
        let pairs = self.documents.chunks(BLOCK).zip(self.frequencies.chunks(BLOCK));
        for (number, (documents, frequencies)) in pairs.enumerate() {
            for (gap, &document) in gaps.iter_mut().zip(documents) {
                *gap = document.wrapping_sub(next);
                next = document.wrapping_add(1);
            }
            pack_block(gaps.get(..documents.len())?, out);
            for (less, &frequency) in gaps.iter_mut().zip(frequencies) {
                *less = frequency.wrapping_sub(1);
            }
            pack_block(gaps.get(..documents.len())?, out);
            if blocks > 1 {
                let last = number * BLOCK + documents.len() - 1;
                let end = u32::try_from(out.len() - body).ok()?;
                let positions = u32::try_from(*self.ends.get(last)?).ok()?;
                let entry = [next.wrapping_sub(1), end, positions];
                let at = table + number * ENTRY;
                out.get_mut(at..at + ENTRY)?
                    .copy_from_slice(bytemuck::cast_slice(&entry));
            }
        }
        Some(())
    }
}

/// A posting list in place.
#[derive(Clone, Copy, Debug)]
pub struct Postings<'a> {
    count: usize,
    /// The rows of the segment: every document is below.
    limit: u32,
    table: &'a [u8],
    /// The blocks, and what must follow them.
    body: &'a [u8],
    positions: &'a [u8],
}

/// One block of a posting list, decoded.
#[derive(Debug, Default)]
pub struct PostingsBlock {
    /// The documents, ascending.
    pub documents: Vec<u32>,
    /// How often each has the term; at least 1.
    pub frequencies: Vec<u32>,
}

impl<'a> Postings<'a> {
    /// The list of `count` documents at the beginning of `bytes`, behind whose end at least eight more bytes stand.
    pub(super) fn new(count: u32, limit: u32, bytes: &'a [u8], positions: &'a [u8]) -> Option<Self> {
        let count = count as usize;
        let blocks = count.div_ceil(BLOCK);
        let table = if blocks > 1 { blocks * ENTRY } else { 0 };
        let (table, body) = bytes.split_at_checked(table)?;
        Some(Self {
            count,
            limit,
            table,
            body,
            positions,
        })
    }

    /// Number of documents.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Number of blocks.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.count.div_ceil(BLOCK)
    }

    /// The first block at `from` or behind it that may hold `document` or a later one; [`Self::blocks`] when none does.
    #[must_use]
    pub fn seek(&self, from: usize, document: u32) -> usize {
        if self.table.is_empty() {
            return from;
        }
        let (mut low, mut high) = (from, self.blocks());
        // What is looked for is near more often than not.
        let mut step = 1;
        while low + step < high && self.entry(low + step - 1).is_some_and(|e| e[0] < document) {
            low += step;
            step *= 2;
        }
        high = high.min(low + step);
        while low < high {
            let middle = low.midpoint(high);
            if self.entry(middle).is_some_and(|entry| entry[0] < document) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Reads a block into `out`; `None` when the bytes are none, or there is no such block.
    pub fn read(&self, block: usize, out: &mut PostingsBlock) -> Option<()> {
        out.documents.clear();
        out.frequencies.clear();
        let left = self.count.checked_sub(block * BLOCK).filter(|left| *left > 0)?;
        let values = left.min(BLOCK);
        let (next, start) = match block.checked_sub(1) {
            None => (0, 0),
            Some(before) => {
                let [last, end, _] = self.entry(before)?;
                (u64::from(last) + 1, end as usize)
            }
        };
        let bytes = self.body.get(start..)?;
        let (next, bytes) = unpack_ordinals(bytes, values, next, &mut out.documents)?;
        unpack_values(bytes, values, &mut out.frequencies)?;
        out.frequencies.iter_mut().for_each(|f| *f = f.saturating_add(1));
        (next <= u64::from(self.limit)).then_some(())
    }

    /// The bytes of a block's positions.
    #[must_use]
    pub fn positions(&self, block: usize) -> Option<Positions<'a>> {
        let start = match block.checked_sub(1) {
            None => 0,
            Some(before) => self.entry(before)?[2] as usize,
        };
        self.positions.get(start..).map(Positions)
    }

    fn entry(&self, block: usize) -> Option<[u32; 3]> {
        let bytes = self.table.get(block * ENTRY..)?.first_chunk::<ENTRY>()?;
        Some(bytemuck::pod_read_unaligned(bytes))
    }
}

/// The positions of a block's documents, one after another.
#[derive(Clone, Copy, Debug)]
pub struct Positions<'a>(&'a [u8]);

impl<'a> Positions<'a> {
    /// Appends the positions of the next document, which has so many.
    pub fn take(&mut self, frequency: u32, out: &mut Vec<u32>) -> Option<()> {
        let mut next = 0u32;
        for _ in 0..frequency {
            let position = next.checked_add(take_u32(&mut self.0)?)?;
            out.push(position);
            next = position.saturating_add(1);
        }
        Some(())
    }

    /// Passes over the next document, which has so many; returns its bytes.
    pub fn skip(&mut self, frequency: u32) -> Option<&'a [u8]> {
        let (mut ends, mut at) = (0, 0);
        while ends < frequency {
            ends += u32::from(*self.0.get(at)? < 0x80);
            at += 1;
        }
        let (bytes, rest) = self.0.split_at_checked(at)?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn encoded(list: &BTreeMap<u32, Vec<u32>>) -> (Vec<u8>, Vec<u8>) {
        let mut draft = Draft::default();
        for (document, positions) in list {
            draft.push(*document, positions.iter().copied());
        }
        let mut bytes = Vec::new();
        draft.encode(&mut bytes).unwrap();
        bytes.extend_from_slice(&[0; 8]);
        (bytes, draft.positions)
    }

    fn lists() -> impl Strategy<Value = BTreeMap<u32, Vec<u32>>> {
        let positions = prop::collection::btree_set(0u32..1000, 1..6);
        prop::collection::btree_map(
            0u32..3000,
            positions.prop_map(|set| set.into_iter().collect()),
            1..500,
        )
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(list in lists(), sought in 0u32..3001) {
            let (bytes, positions) = encoded(&list);
            let count = u32::try_from(list.len()).unwrap();
            let postings = Postings::new(count, 3000, &bytes, &positions).unwrap();
            let mut read = BTreeMap::new();
            let mut block = PostingsBlock::default();
            for number in 0..postings.blocks() {
                postings.read(number, &mut block).unwrap();
                let mut places = postings.positions(number).unwrap();
                let mut skipped = places;
                for (document, frequency) in block.documents.iter().zip(&block.frequencies) {
                    let mut at = Vec::new();
                    places.take(*frequency, &mut at).unwrap();
                    skipped.skip(*frequency).unwrap();
                    prop_assert_eq!(places.0.len(), skipped.0.len());
                    read.insert(*document, at);
                }
            }
            prop_assert_eq!(&read, &list);
            let found = postings.seek(0, sought);
            let documents: Vec<u32> = list.keys().copied().collect();
            let expected = documents.chunks(BLOCK).position(|chunk| chunk[chunk.len() - 1] >= sought);
            if postings.blocks() > 1 {
                prop_assert_eq!(found, expected.unwrap_or(postings.blocks()));
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), count in 1u32..600) {
            let Some(postings) = Postings::new(count, 1000, &bytes, &bytes) else { return Ok(()) };
            let mut block = PostingsBlock::default();
            for number in 0..postings.blocks() + 1 {
                if postings.read(number, &mut block).is_some() {
                    prop_assert!(block.documents.iter().all(|d| *d < 1000));
                }
                if let Some(mut places) = postings.positions(number) {
                    let _ = places.take(3, &mut Vec::new());
                    let _ = places.skip(3);
                }
            }
            let _ = postings.seek(0, 500);
        }
    }
}
