//! Which documents of a snapshot can be hits: live, and let through by the filter.

use latewood_storage::Snapshot;

use super::evaluate::evaluate;
use super::{Filter, Predicate};
use crate::error::QueryError;

/// The documents of one snapshot that can be hits.
#[derive(Clone, Debug)]
pub struct Matches {
    segments: Vec<SegmentMatches>,
    memtable: Vec<u32>,
    filtered: bool,
}

/// The rows of one segment that can be hits.
#[derive(Clone, Debug)]
pub struct SegmentMatches {
    rows: u32,
    count: u32,
    // None: every row.
    bits: Option<Bits>,
}

impl Matches {
    /// Evaluates a filter over a snapshot; without one, all live documents match.
    ///
    /// # Errors
    /// An unknown field, a value of the wrong type, a filter nested too deep, or a segment that cannot be read.
    pub fn evaluate(snapshot: &Snapshot, filter: Option<&Filter>) -> Result<Self, QueryError> {
        let predicate = filter
            .map(|filter| Predicate::bind(filter, snapshot.schema()))
            .transpose()?;
        let mut segments = Vec::with_capacity(snapshot.segments().len());
        for view in snapshot.segments() {
            let rows = view.segment.len();
            let mut bits = predicate
                .as_ref()
                .map(|p| evaluate(p, &view.segment))
                .transpose()?;
            if !view.tombstones.is_empty() {
                let live = bits.get_or_insert_with(|| Bits::full(rows));
                for dead in view.tombstones.iter() {
                    live.clear(dead);
                }
            }
            segments.push(SegmentMatches::new(rows, bits));
        }
        let passes = |record: &latewood_storage::Record| match &predicate {
            Some(predicate) => predicate.matches(&record.payload),
            None => true,
        };
        let mut memtable: Vec<u32> = snapshot
            .memtable()
            .iter()
            .filter(|(_, record)| passes(record))
            .map(|(slot, _)| slot)
            .collect();
        memtable.sort_unstable();
        Ok(Self {
            segments,
            memtable,
            filtered: filter.is_some(),
        })
    }

    /// The matching rows of each segment, in the snapshot's order.
    pub fn segments(&self) -> &[SegmentMatches] {
        &self.segments
    }

    /// The matching slots of the memtable, ascending.
    pub fn memtable(&self) -> &[u32] {
        &self.memtable
    }

    /// Whether there is a filter.
    pub fn is_filtered(&self) -> bool {
        self.filtered
    }

    /// How many documents match.
    pub fn count(&self) -> u64 {
        self.segments
            .iter()
            .map(|segment| u64::from(segment.count))
            .sum::<u64>()
            + self.memtable.len() as u64
    }
}

impl SegmentMatches {
    fn new(rows: u32, bits: Option<Bits>) -> Self {
        let count = bits.as_ref().map_or(rows, Bits::count);
        let bits = bits.filter(|_| count < rows);
        Self { rows, count, bits }
    }

    /// Which of some rows, ascending, match; by their places among them.
    pub(crate) fn among(&self, rows: &[u32]) -> Self {
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let contains = |place: u32| rows.get(place as usize).is_some_and(|row| self.contains(*row));
        let bits = self.bits.as_ref().map(|_| Bits::from_rows(count, contains));
        Self::new(count, bits)
    }

    /// Rows of the segment, matching or not.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// How many rows match.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether every row matches.
    pub fn is_all(&self) -> bool {
        self.bits.is_none()
    }

    /// Whether a row matches.
    #[inline]
    pub fn contains(&self, ordinal: u32) -> bool {
        match &self.bits {
            Some(bits) => bits.contains(ordinal),
            None => ordinal < self.rows,
        }
    }

    /// The matching rows of a range, ascending.
    pub fn iter_in(&self, range: std::ops::Range<u32>) -> impl Iterator<Item = u32> + '_ {
        let range = range.start..range.end.min(self.rows);
        range.filter(|ordinal| self.bits.as_ref().is_none_or(|bits| bits.contains(*ordinal)))
    }

    /// The matching rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.iter_in(0..self.rows)
    }
}

/// One bit a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bits {
    rows: u32,
    words: Vec<u64>,
}

impl Bits {
    pub(super) fn empty(rows: u32) -> Self {
        Self {
            rows,
            words: vec![0; rows.div_ceil(64) as usize],
        }
    }

    pub(super) fn full(rows: u32) -> Self {
        Self::empty(rows).not()
    }

    /// The rows for which `holds` is true.
    pub(super) fn from_rows(rows: u32, holds: impl Fn(u32) -> bool) -> Self {
        let mut out = Self::empty(rows);
        for row in 0..rows {
            out.words[(row / 64) as usize] |= u64::from(holds(row)) << (row % 64);
        }
        out
    }

    fn contains(&self, row: u32) -> bool {
        self.words
            .get((row / 64) as usize)
            .is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    fn clear(&mut self, row: u32) {
        if let Some(word) = self.words.get_mut((row / 64) as usize) {
            *word &= !(1 << (row % 64));
        }
    }

    fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    pub(super) fn and(mut self, other: &Self) -> Self {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
        }
        self
    }

    pub(super) fn or(mut self, other: &Self) -> Self {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
        self
    }

    pub(super) fn not(mut self) -> Self {
        for word in &mut self.words {
            *word = !*word;
        }
        if let (Some(last), true) = (self.words.last_mut(), !self.rows.is_multiple_of(64)) {
            *last &= (1 << (self.rows % 64)) - 1;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_count_and_negate_without_touching_rows_that_are_not_there() {
        for rows in [0, 1, 63, 64, 65, 130] {
            let even = Bits::from_rows(rows, |row| row % 2 == 0);
            assert_eq!(even.count(), rows.div_ceil(2));
            assert_eq!(even.clone().not().count(), rows / 2);
            assert_eq!(Bits::full(rows).count(), rows);
            assert_eq!(even.clone().and(&even.clone().not()).count(), 0);
            assert_eq!(even.clone().or(&even.not()).count(), rows);
        }
    }

    #[test]
    fn rows_of_a_segment() {
        let some = SegmentMatches::new(100, Some(Bits::from_rows(100, |row| row >= 90)));
        assert_eq!((some.count(), some.is_all()), (10, false));
        assert_eq!(some.iter_in(0..95).collect::<Vec<_>>(), [90, 91, 92, 93, 94]);
        assert!(!some.contains(1_000));
        let all = SegmentMatches::new(3, Some(Bits::full(3)));
        assert!(all.is_all() && all.contains(2) && !all.contains(3));
        assert_eq!(all.iter().count(), 3);
    }
}
