//! A term of a query in one source, as a list of rows with BM25 scores.

use latewood_storage::{Lengths, LexicalView, Postings, PostingsBlock, TermInfo};

use super::bm25::Weighting;
use crate::error::QueryError;
use crate::maxscore::List;

/// A term in one source.
pub(super) struct Term<'a> {
    view: &'a LexicalView<'a>,
    lengths: Lengths<'a>,
    weighting: &'a Weighting,
    postings: Postings<'a>,
    weight: f64,
    bound: f64,
    documents: u32,
    block: usize,
    read: usize,
    at: usize,
    decoded: PostingsBlock,
}

const NOTHING: usize = usize::MAX;

impl<'a> Term<'a> {
    /// A term that stands in the query so many times.
    pub(super) fn new(
        view: &'a LexicalView<'a>,
        info: &TermInfo,
        times: f64,
        number: usize,
        weighting: &'a Weighting,
    ) -> Result<Self, QueryError> {
        let weight = weighting.weight(number) * times;
        Ok(Self {
            view,
            lengths: view.lengths(),
            weighting,
            postings: view.postings(info)?,
            weight,
            bound: weight * weighting.bound(info),
            documents: info.documents,
            block: 0,
            read: NOTHING,
            at: 0,
            decoded: PostingsBlock::default(),
        })
    }
}

impl List for Term<'_> {
    fn len(&self) -> u64 {
        u64::from(self.documents)
    }

    fn bound(&self) -> f64 {
        self.bound
    }

    fn seek(&mut self, row: u32) -> Result<Option<u32>, QueryError> {
        loop {
            if self.read != self.block {
                self.block = self.postings.seek(self.block, row);
                if self.block >= self.postings.blocks() {
                    return Ok(None);
                }
                self.postings
                    .read(self.block, &mut self.decoded)
                    .ok_or_else(|| self.view.corruption("a posting list"))?;
                (self.read, self.at) = (self.block, 0);
            }
            let documents = &self.decoded.documents;
            if documents.last().is_none_or(|last| *last < row) {
                self.block += 1;
                continue;
            }
            while let Some(&document) = documents.get(self.at) {
                if document >= row {
                    return Ok(Some(document));
                }
                self.at += 1;
            }
            self.block += 1;
        }
    }

    fn score(&self) -> f64 {
        let row = self.decoded.documents.get(self.at).copied().unwrap_or(0);
        let frequency = self.decoded.frequencies.get(self.at).copied().unwrap_or(0);
        self.weight * self.weighting.share(frequency, self.lengths.get(row))
    }

    fn pass(&mut self, end: u32, mut tell: impl FnMut(u32, f64)) -> usize {
        let rows = self.decoded.documents.get(self.at..).unwrap_or_default();
        let rows = match rows.last() {
            Some(last) if *last >= end => &rows[..rows.partition_point(|row| *row < end)],
            _ => rows,
        };
        let frequencies = self.decoded.frequencies.get(self.at..).unwrap_or_default();
        for (row, frequency) in rows.iter().zip(frequencies) {
            let share = self.weighting.share(*frequency, self.lengths.get(*row));
            tell(*row, self.weight * share);
        }
        self.at += rows.len();
        rows.len()
    }
}
