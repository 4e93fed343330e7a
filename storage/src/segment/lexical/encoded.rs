//! A lexical index in memory: what is written to a file, what stands in for a damaged one, and what the memtable has.

use std::path::Path;

use super::super::packing::SLACK;
use super::dictionary::{Dictionary, DictionaryWriter, TermInfo};
use super::postings::Draft;
use super::view::{Lengths, LexicalView};
use crate::error::{Result, StorageError};
use crate::read_ahead::ReadAhead;

/// A lexical index in memory.
#[derive(Debug, Default)]
pub struct LexicalIndex {
    pub(super) dictionary: DictionaryWriter,
    pub(super) postings: Vec<u8>,
    pub(super) positions: Vec<u8>,
    pub(super) lengths: Vec<u32>,
    pub(super) documents: u64,
    pub(super) total: u64,
}

impl LexicalIndex {
    /// The index as it is read.
    #[must_use]
    pub fn view(&self) -> LexicalView<'_> {
        LexicalView {
            path: Path::new("(in memory)"),
            dictionary: Dictionary {
                terms: &self.dictionary.terms,
                blocks: &self.dictionary.blocks,
                count: self.dictionary.count(),
            },
            postings: &self.postings,
            positions: &self.positions,
            lengths: Lengths::Words(&self.lengths),
            documents: self.documents,
            total: self.total,
            ahead: ReadAhead::default(),
        }
    }

    /// Memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let numbers = size_of_val(self.lengths.as_slice()) + size_of_val(self.dictionary.blocks.as_slice());
        self.dictionary.terms.len() + self.postings.len() + self.positions.len() + numbers
    }

    /// Appends a row of so many terms.
    pub(super) fn push_row(&mut self, length: u32) {
        self.lengths.push(length);
        self.documents += u64::from(length > 0);
        self.total += u64::from(length);
    }

    /// Appends a term with its list, once all rows are there; terms ascending.
    pub(super) fn push_term(&mut self, term: &[u8], list: &Draft) -> Result<()> {
        let start = self.postings.len();
        let encoded = list.encode(&mut self.postings);
        let documents = u32::try_from(list.documents.len()).ok();
        let (Some(()), Some(documents)) = (encoded, documents) else {
            let reason = "a term stands more than four billion times in one segment".to_owned();
            return Err(StorageError::InvalidSchema { reason });
        };
        let length = |document: &u32| self.lengths.get(*document as usize).copied().unwrap_or(0);
        let info = TermInfo {
            documents,
            most: list.frequencies.iter().copied().max().unwrap_or(0),
            shortest: list.documents.iter().map(length).min().unwrap_or(0),
            ..TermInfo::default()
        };
        let postings = self.postings.len() - start;
        self.dictionary.push(term, info, postings, list.positions.len());
        self.positions.extend_from_slice(&list.positions);
        Ok(())
    }

    /// Ends the last list with what a reader may load behind it.
    pub(super) fn close(&mut self) {
        self.postings.extend_from_slice(&[0; SLACK]);
    }
}
