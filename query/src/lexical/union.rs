//! The best documents for any of some terms, without looking at all of them.
//!
//! MaxScore (Turtle and Flood, "Query evaluation: strategies and optimizations", 1995), in windows of rows: terms whose
//! largest scores together cannot lift a document among the best are looked up only for documents that other terms have
//! brought, and of those only while they can still get there.

use latewood_storage::{LexicalView, Postings, PostingsBlock, TermInfo};

use super::bm25::Weighting;
use crate::error::QueryError;

/// Rows that are scored together, so that their scores stay in the cache.
const WINDOW: u32 = 1 << 13;
/// Bounds are compared with this much room, as sums depend on their order in the last bits.
const ROOM: f64 = 1.0 - 1e-6;

/// A term in one source.
pub(super) struct Term<'a> {
    postings: Postings<'a>,
    weight: f64,
    /// The most that it adds to a score.
    bound: f64,
    block: usize,
    read: usize,
    at: usize,
    decoded: PostingsBlock,
}

const NOTHING: usize = usize::MAX;

impl<'a> Term<'a> {
    /// A term that stands in the query so many times.
    pub(super) fn new(
        view: &LexicalView<'a>,
        info: &TermInfo,
        times: f64,
        number: usize,
        weighting: &Weighting,
    ) -> Result<Self, QueryError> {
        let weight = weighting.weight(number) * times;
        Ok(Self {
            postings: view.postings(info)?,
            weight,
            bound: weight * weighting.bound(info),
            block: 0,
            read: NOTHING,
            at: 0,
            decoded: PostingsBlock::default(),
        })
    }

    /// Moves to the first document that is `row` or behind it; `None` when there is none.
    fn seek(&mut self, view: &LexicalView<'_>, row: u32) -> Result<Option<u32>, QueryError> {
        loop {
            if self.read != self.block {
                self.block = self.postings.seek(self.block, row);
                if self.block >= self.postings.blocks() {
                    return Ok(None);
                }
                self.postings
                    .read(self.block, &mut self.decoded)
                    .ok_or_else(|| view.corruption("a posting list"))?;
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

    fn score(&self, view: &LexicalView<'_>, weighting: &Weighting, row: u32) -> f64 {
        let frequency = self.decoded.frequencies.get(self.at).copied().unwrap_or(0);
        self.weight * weighting.share(frequency, view.lengths().get(row))
    }
}

/// Offers every row that has one of the terms and may be among the best, in order of rows. `offer` gets a row and its score
/// and returns the score that it takes to be among the best from there on; rows for which `wanted` does not hold are left
/// out. Returns how many postings were scored.
pub(super) fn union(
    view: &LexicalView<'_>,
    weighting: &Weighting,
    mut terms: Vec<Term<'_>>,
    threshold: f32,
    wanted: impl Fn(u32) -> bool,
    mut offer: impl FnMut(u32, f32) -> f32,
) -> Result<u64, QueryError> {
    terms.sort_by(|a, b| b.bound.total_cmp(&a.bound));
    // What all terms from one on can add.
    let mut rest = vec![0.0; terms.len() + 1];
    for (at, term) in terms.iter().enumerate().rev() {
        rest[at] = rest[at + 1] + term.bound;
    }
    let mut threshold = f64::from(threshold);
    let mut scores = vec![0.0f64; WINDOW as usize];
    let mut met = Vec::with_capacity(WINDOW as usize);
    let (mut first, mut scored) = (0, 0);
    while first < view.rows() {
        let end = first.saturating_add(WINDOW).min(view.rows());
        let floor = threshold * ROOM;
        let essential = rest
            .iter()
            .take_while(|sum| **sum >= floor && **sum > 0.0)
            .count();
        if essential == 0 {
            break;
        }
        let mut next = view.rows();
        for term in terms.iter_mut().take(essential) {
            let Some(behind) = gather(
                term,
                view,
                weighting,
                first..end,
                &mut scores,
                &mut met,
                &mut scored,
            )?
            else {
                continue;
            };
            next = next.min(behind);
        }
        met.sort_unstable();
        for row in met.drain(..) {
            let mut score = std::mem::take(&mut scores[(row - first) as usize]);
            if !wanted(row) {
                continue;
            }
            for (at, term) in terms.iter_mut().enumerate().skip(essential) {
                if score + rest[at] < threshold * ROOM {
                    break;
                }
                if term.seek(view, row)? == Some(row) {
                    score += term.score(view, weighting, row);
                    scored += 1;
                }
            }
            #[expect(clippy::cast_possible_truncation, reason = "scores are single")]
            if score >= threshold * ROOM {
                threshold = f64::from(offer(row, score as f32));
            }
        }
        first = next.max(end);
    }
    Ok(scored)
}

/// Adds a term's scores for the rows of a window; returns its first row behind it.
fn gather(
    term: &mut Term<'_>,
    view: &LexicalView<'_>,
    weighting: &Weighting,
    window: std::ops::Range<u32>,
    scores: &mut [f64],
    met: &mut Vec<u32>,
    scored: &mut u64,
) -> Result<Option<u32>, QueryError> {
    let mut row = window.start;
    let lengths = view.lengths();
    while let Some(at) = term.seek(view, row)? {
        if at >= window.end {
            return Ok(Some(at));
        }
        let documents = &term.decoded.documents[term.at..];
        let frequencies = &term.decoded.frequencies[term.at..];
        let mut taken = 0;
        for (&document, &frequency) in documents.iter().zip(frequencies) {
            if document >= window.end {
                break;
            }
            let score = &mut scores[(document - window.start) as usize];
            if *score == 0.0 {
                met.push(document);
            }
            *score += term.weight * weighting.share(frequency, lengths.get(document));
            taken += 1;
            row = document + 1;
        }
        *scored += taken as u64;
        term.at += taken;
    }
    Ok(None)
}
