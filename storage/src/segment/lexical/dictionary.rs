//! The terms of a segment, ascending by bytes, in blocks of 16 that share prefixes (front coding), each with where its
//! posting list is.

use bytemuck::{Pod, Zeroable};

use super::varint::{put, take, take_u32};
use crate::text::MAX_TERM_BYTES;

/// Terms in a block.
pub(super) const BLOCK: usize = 16;

/// Where a block's terms begin, and the posting lists and positions of its first term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct TermBlock {
    pub(super) terms: u64,
    pub(super) postings: u64,
    pub(super) positions: u64,
}

/// What is known of a term: where its list is, and what bounds its scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TermInfo {
    /// Documents with the term, deleted ones included; at least 1.
    pub documents: u32,
    /// The most often that it stands in one of them.
    pub most: u32,
    /// The length, in terms, of the shortest of them.
    pub shortest: u32,
    pub(super) postings: (u64, u64),
    pub(super) positions: (u64, u64),
}

/// Writes a dictionary, terms ascending.
#[derive(Debug, Default)]
pub(super) struct DictionaryWriter {
    pub(super) terms: Vec<u8>,
    pub(super) blocks: Vec<TermBlock>,
    last: Vec<u8>,
    count: u64,
    postings: u64,
    positions: u64,
}

impl DictionaryWriter {
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Appends a term; of `info` the places are left out, and the lengths of list and positions given instead.
    pub(super) fn push(&mut self, term: &[u8], info: TermInfo, postings: usize, positions: usize) {
        let shared = if self.count.is_multiple_of(BLOCK as u64) {
            self.blocks.push(TermBlock {
                terms: self.terms.len() as u64,
                postings: self.postings,
                positions: self.positions,
            });
            0
        } else {
            let pairs = self.last.iter().zip(term);
            pairs.take_while(|(a, b)| a == b).count()
        };
        let suffix = term.get(shared..).unwrap_or_default();
        put(shared as u64, &mut self.terms);
        put(suffix.len() as u64, &mut self.terms);
        self.terms.extend_from_slice(suffix);
        let numbers = [
            u64::from(info.documents),
            postings as u64,
            positions as u64,
            u64::from(info.most),
            u64::from(info.shortest),
        ];
        numbers
            .into_iter()
            .for_each(|number| put(number, &mut self.terms));
        self.last.clear();
        self.last.extend_from_slice(term);
        self.count += 1;
        self.postings += postings as u64;
        self.positions += positions as u64;
    }
}

/// A dictionary in place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dictionary<'a> {
    pub(super) terms: &'a [u8],
    pub(super) blocks: &'a [TermBlock],
    pub(super) count: u64,
}

/// Goes through terms in order.
#[derive(Debug)]
pub(super) struct Terms<'a> {
    dictionary: Dictionary<'a>,
    next: u64,
    /// The block that `rest` is of has as many terms left.
    left: usize,
    block: TermBlock,
    rest: &'a [u8],
    pub(super) term: Vec<u8>,
    pub(super) info: TermInfo,
}

impl<'a> Dictionary<'a> {
    /// The terms from the beginning of a block on.
    pub(super) fn from(self, block: usize) -> Terms<'a> {
        Terms {
            dictionary: self,
            next: (block as u64).saturating_mul(BLOCK as u64),
            left: 0,
            block: TermBlock::default(),
            rest: &[],
            term: Vec::new(),
            info: TermInfo::default(),
        }
    }

    /// What is known of a term; an inner `None` when there is no such term, an outer one when the bytes are no dictionary.
    #[expect(clippy::option_option, reason = "damage is not absence")]
    pub(super) fn find(self, term: &[u8]) -> Option<Option<TermInfo>> {
        let (mut low, mut high) = (0, self.blocks.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.first(middle)? <= term {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let Some(block) = low.checked_sub(1) else {
            return Some(None);
        };
        let mut terms = self.from(block);
        for _ in 0..BLOCK {
            if !terms.advance()? {
                break;
            }
            match terms.term.as_slice().cmp(term) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Some(Some(terms.info)),
                std::cmp::Ordering::Greater => break,
            }
        }
        Some(None)
    }

    /// The first term of a block, which shares nothing with the one before.
    fn first(self, block: usize) -> Option<&'a [u8]> {
        let start = usize::try_from(self.blocks.get(block)?.terms).ok()?;
        let mut bytes = self.terms.get(start..)?;
        take(&mut bytes).filter(|shared| *shared == 0)?;
        let length = usize::try_from(take(&mut bytes)?).ok()?;
        bytes.get(..length)
    }
}

impl Terms<'_> {
    /// Goes to the next term; whether there is one. `None` when the bytes are no dictionary.
    pub(super) fn advance(&mut self) -> Option<bool> {
        if self.next >= self.dictionary.count {
            return Some(false);
        }
        if self.left == 0 {
            let block = usize::try_from(self.next).ok()? / BLOCK;
            self.block = *self.dictionary.blocks.get(block)?;
            let start = usize::try_from(self.block.terms).ok()?;
            self.rest = self.dictionary.terms.get(start..)?;
            self.left = BLOCK;
            self.term.clear();
        }
        let bytes = &mut self.rest;
        let shared = usize::try_from(take(bytes)?).ok()?;
        let suffix = usize::try_from(take(bytes)?).ok()?;
        let (suffix, rest) = bytes.split_at_checked(suffix)?;
        *bytes = rest;
        if shared > self.term.len() || shared + suffix.len() > MAX_TERM_BYTES {
            return None;
        }
        self.term.truncate(shared);
        self.term.extend_from_slice(suffix);
        let documents = take_u32(bytes)?;
        let (postings, positions) = (take(bytes)?, take(bytes)?);
        self.info = TermInfo {
            documents,
            most: take_u32(bytes)?,
            shortest: take_u32(bytes)?,
            postings: (self.block.postings, postings),
            positions: (self.block.positions, positions),
        };
        self.block.postings = self.block.postings.checked_add(postings)?;
        self.block.positions = self.block.positions.checked_add(positions)?;
        self.next += 1;
        self.left -= 1;
        // A term without documents is not one that was written.
        (documents > 0).then_some(true)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_term_is_found_and_no_other(terms in prop::collection::btree_set("[a-c]{0,6}", 0..120), others in prop::collection::vec("[a-d]{0,6}", 0..50)) {
            let mut writer = DictionaryWriter::default();
            let mut expected = Vec::new();
            let (mut postings, mut positions) = (0, 0);
            for (term, number) in terms.iter().zip(1u32..) {
                let (p, q) = (number as usize % 7, number as usize % 300);
                let info = TermInfo { documents: number, most: 2, shortest: 3, ..TermInfo::default() };
                writer.push(term.as_bytes(), info, p, q);
                expected.push(TermInfo { postings: (postings, p as u64), positions: (positions, q as u64), ..info });
                postings += p as u64;
                positions += q as u64;
            }
            let dictionary = Dictionary { terms: &writer.terms, blocks: &writer.blocks, count: writer.count() };
            for (term, info) in terms.iter().zip(&expected) {
                prop_assert_eq!(dictionary.find(term.as_bytes()), Some(Some(*info)));
            }
            let known: BTreeSet<&str> = terms.iter().map(String::as_str).collect();
            for other in others.iter().filter(|other| !known.contains(other.as_str())) {
                prop_assert_eq!(dictionary.find(other.as_bytes()), Some(None));
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(terms in prop::collection::vec(any::<u8>(), 0..300), starts in prop::collection::vec(0u64..300, 0..4), count in 0u64..80) {
            let blocks: Vec<TermBlock> = starts.into_iter().map(|terms| TermBlock { terms, ..TermBlock::default() }).collect();
            let dictionary = Dictionary { terms: &terms, blocks: &blocks, count };
            let _ = dictionary.find(b"abc");
            let mut all = dictionary.from(0);
            while all.advance() == Some(true) {}
        }
    }
}
