//! Making a lexical index of texts.

use std::collections::HashMap;

use super::encoded::LexicalIndex;
use super::postings::Draft;
use crate::error::Result;
use crate::text::Analyzer;

/// Occurrences that are held, uncompressed, before they become an index of their own.
pub(super) const AT_ONCE: usize = 1 << 20;

/// Texts on their way to an index, row after row.
#[derive(Debug)]
pub(crate) struct IndexBuilder<'a> {
    analyzer: &'a Analyzer,
    numbers: HashMap<Box<str>, u32>,
    /// Term, row and position of each occurrence, in order of rows and positions.
    occurrences: Vec<(u32, u32, u32)>,
    index: LexicalIndex,
}

impl<'a> IndexBuilder<'a> {
    pub(crate) fn new(analyzer: &'a Analyzer) -> Self {
        Self {
            analyzer,
            numbers: HashMap::new(),
            occurrences: Vec::new(),
            index: LexicalIndex::default(),
        }
    }

    /// Appends the next row.
    pub(crate) fn push(&mut self, text: Option<&str>) -> Result<()> {
        let row = crate::wire::to_u32(self.index.lengths.len())?;
        let mut position = 0;
        let (numbers, occurrences) = (&mut self.numbers, &mut self.occurrences);
        self.analyzer.each_term(text.unwrap_or_default(), |term| {
            let number = match numbers.get(term) {
                Some(number) => *number,
                None => {
                    let number = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
                    numbers.insert(term.into(), number);
                    number
                }
            };
            occurrences.push((number, row, position));
            position += 1;
        });
        self.index.push_row(position);
        Ok(())
    }

    /// Whether so much is held that it should become an index.
    pub(crate) fn is_full(&self) -> bool {
        self.occurrences.len() >= AT_ONCE
    }

    /// The index of the rows so far.
    pub(crate) fn finish(self) -> Result<LexicalIndex> {
        let Self {
            numbers,
            occurrences,
            mut index,
            ..
        } = self;
        let mut terms: Vec<(Box<str>, u32)> = numbers.into_iter().collect();
        terms.sort_unstable();
        let sorted = by_term(&occurrences, terms.len());
        let mut list = Draft::default();
        for (term, number) in &terms {
            list.clear();
            let range = sorted.range(*number);
            let own = sorted.occurrences.get(range).unwrap_or_default();
            for document in own.chunk_by(|a, b| a.0 == b.0) {
                let row = document.first().map_or(0, |first| first.0);
                list.push(row, document.iter().map(|occurrence| occurrence.1));
            }
            index.push_term(term.as_bytes(), &list)?;
        }
        index.close();
        Ok(index)
    }
}

/// Occurrences in order of terms, and within each as they came.
struct ByTerm {
    ends: Vec<usize>,
    /// Row and position.
    occurrences: Vec<(u32, u32)>,
}

impl ByTerm {
    fn range(&self, term: u32) -> std::ops::Range<usize> {
        let term = term as usize;
        let end = |at: usize| self.ends.get(at).copied().unwrap_or(0);
        let start = if term == 0 { 0 } else { end(term - 1) };
        start..end(term)
    }
}

/// A counting sort.
fn by_term(occurrences: &[(u32, u32, u32)], terms: usize) -> ByTerm {
    let mut next = vec![0usize; terms + 1];
    for (term, ..) in occurrences {
        next[*term as usize + 1] += 1;
    }
    for at in 1..next.len() {
        next[at] += next[at - 1];
    }
    let mut sorted = vec![(0, 0); occurrences.len()];
    for (term, row, position) in occurrences {
        let at = &mut next[*term as usize];
        sorted[*at] = (*row, *position);
        *at += 1;
    }
    // Each start has moved to its term's end.
    next.pop();
    ByTerm {
        ends: next,
        occurrences: sorted,
    }
}
