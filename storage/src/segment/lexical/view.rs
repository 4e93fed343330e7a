//! The lexical index of some documents, wherever its bytes are.

use std::path::Path;

use super::dictionary::{Dictionary, TermBlock, TermInfo, Terms};
use super::postings::Postings;
use crate::error::{Result, StorageError};
use crate::read_ahead::ReadAhead;

/// The lexical index of a segment, or of a block of the memtable: terms, posting lists with positions, lengths.
#[derive(Clone, Copy, Debug)]
pub struct LexicalView<'a> {
    /// The file, for errors.
    pub(super) path: &'a Path,
    pub(super) dictionary: Dictionary<'a>,
    pub(super) postings: &'a [u8],
    pub(super) positions: &'a [u8],
    pub(super) lengths: Lengths<'a>,
    pub(super) documents: u64,
    pub(super) total: u64,
    /// Whether lists are worth asking for before they are read.
    pub(super) ahead: ReadAhead,
}

/// The length of each document in terms, as narrow as the longest allows.
#[derive(Clone, Copy, Debug)]
pub enum Lengths<'a> {
    /// All below 256.
    Bytes(&'a [u8]),
    /// All below 65,536.
    Shorts(&'a [u16]),
    /// Any.
    Words(&'a [u32]),
}

impl Lengths<'_> {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(all) => all.len(),
            Self::Shorts(all) => all.len(),
            Self::Words(all) => all.len(),
        }
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The length of a row; 0 when there is no such row, or no text.
    #[inline]
    #[must_use]
    pub fn get(&self, row: u32) -> u32 {
        let row = row as usize;
        match self {
            Self::Bytes(all) => all.get(row).map_or(0, |&length| u32::from(length)),
            Self::Shorts(all) => all.get(row).map_or(0, |&length| u32::from(length)),
            Self::Words(all) => all.get(row).copied().unwrap_or(0),
        }
    }
}

/// Bytes a length takes in the narrowest form that holds `longest`.
pub(super) fn width(longest: u32) -> usize {
    match longest {
        0..0x100 => 1,
        0x100..0x1_0000 => 2,
        _ => 4,
    }
}

impl<'a> LexicalView<'a> {
    /// Rows, those without a text and deleted ones included.
    #[must_use]
    pub fn rows(&self) -> u32 {
        u32::try_from(self.lengths.len()).unwrap_or(u32::MAX)
    }

    /// Documents with at least one term, deleted ones included.
    #[must_use]
    pub fn documents(&self) -> u64 {
        self.documents
    }

    /// Terms of all documents, repetitions included.
    #[must_use]
    pub fn total_length(&self) -> u64 {
        self.total
    }

    /// Number of different terms.
    #[must_use]
    pub fn num_terms(&self) -> u64 {
        self.dictionary.count
    }

    /// The length of each document in terms.
    #[must_use]
    pub fn lengths(&self) -> Lengths<'a> {
        self.lengths
    }

    /// What is known of a term; `None` when no document has it.
    ///
    /// # Errors
    /// [`StorageError::Corruption`] when the bytes are no dictionary.
    pub fn find(&self, term: &str) -> Result<Option<TermInfo>> {
        self.dictionary
            .find(term.as_bytes())
            .ok_or_else(|| self.corruption("a dictionary of terms"))
    }

    /// The posting list of a term of this index.
    ///
    /// # Errors
    /// [`StorageError::Corruption`] when the bytes are no such list.
    pub fn postings(&self, info: &TermInfo) -> Result<Postings<'a>> {
        let (list, positions) = (
            from(self.postings, info.postings.0),
            within(self.positions, info.positions),
        );
        self.ahead
            .of(within(self.postings, info.postings).unwrap_or_default());
        list.zip(positions)
            .and_then(|(list, positions)| Postings::new(info.documents, self.rows(), list, positions))
            .ok_or_else(|| self.corruption("a posting list"))
    }

    /// Damage that no checksum has shown.
    #[must_use]
    pub fn corruption(&self, expected: &str) -> StorageError {
        StorageError::corruption(self.path, 0, expected, "other bytes")
    }

    pub(super) fn terms(&self) -> Terms<'a> {
        self.dictionary.from(0)
    }
}

fn from(bytes: &[u8], start: u64) -> Option<&[u8]> {
    bytes.get(usize::try_from(start).ok()?..)
}

fn within(bytes: &[u8], (start, length): (u64, u64)) -> Option<&[u8]> {
    from(bytes, start)?.get(..usize::try_from(length).ok()?)
}

/// Consecutive blocks of terms have ascending places inside the sections.
pub(super) fn ascending(blocks: &[TermBlock], ends: TermBlock) -> bool {
    let pairs = blocks.iter().zip(blocks.iter().skip(1).chain([&ends]));
    pairs
        .into_iter()
        .all(|(a, b)| a.terms <= b.terms && a.postings <= b.postings && a.positions <= b.positions)
}
