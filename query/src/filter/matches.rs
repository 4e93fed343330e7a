//! Which documents of a snapshot can be hits: live, and let through by the filter.

use std::sync::Arc;

use latewood_storage::{SegmentView, Snapshot};

use super::bits::Bits;
use super::evaluate::evaluate;
use super::undeclared::Undeclared;
use super::{Filter, Predicate};
use crate::error::QueryError;

/// The documents of one snapshot that can be hits.
#[derive(Clone, Debug)]
pub struct Matches {
    segments: Vec<SegmentMatches>,
    memtable: Vec<u32>,
    filtered: bool,
    note: Option<String>,
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
    /// A field that is not declared and that no document has, a value of the wrong type, a filter nested too deep, or a
    /// segment that cannot be read.
    pub fn evaluate(snapshot: &Snapshot, filter: Option<&Filter>) -> Result<Self, QueryError> {
        let predicate = filter
            .map(|filter| Predicate::bind(filter, snapshot.schema()))
            .transpose()?;
        let key = filter.map(ToString::to_string);
        let mut undeclared = predicate.as_ref().and_then(Undeclared::of);
        let mut segments = Vec::with_capacity(snapshot.segments().len());
        for view in snapshot.segments() {
            let mut bits = match &predicate {
                Some(predicate) => {
                    let key = key.as_deref().filter(|_| undeclared.is_none());
                    Some(matching((predicate, key), view, undeclared.as_mut())?)
                }
                None => None,
            };
            let rows = view.segment.len();
            if !view.tombstones.is_empty() {
                let live = Bits::shared(rows, Arc::clone(view.live_words()));
                bits = Some(match bits {
                    Some(bits) => bits.and(&live),
                    None => live,
                });
            }
            segments.push(SegmentMatches::new(rows, bits));
        }
        let mut memtable = Vec::new();
        for (slot, record) in snapshot.memtable().iter() {
            if let Some(undeclared) = &mut undeclared {
                undeclared.see(&record.payload);
            }
            let passes = predicate.as_ref().is_none_or(|p| p.matches(&record.payload));
            memtable.extend(passes.then_some(slot));
        }
        memtable.sort_unstable();
        if let Some(undeclared) = &mut undeclared {
            undeclared.check(snapshot)?;
        }
        Ok(Self {
            segments,
            memtable,
            filtered: filter.is_some(),
            note: undeclared.map(|undeclared| undeclared.note()),
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

    /// What is worth knowing of how it was evaluated: fields that are not indexed, and how many payloads were read for them.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
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

/// The rows of a segment that satisfy a predicate, which are kept under the key if there is one. Payloads are read where the
/// columns leave it open.
fn matching(
    (predicate, key): (&Predicate, Option<&str>),
    view: &SegmentView,
    undeclared: Option<&mut Undeclared>,
) -> Result<Bits, QueryError> {
    if let Some(key) = key {
        let make = || Ok::<_, QueryError>(evaluate(predicate, &view.segment)?.yes.into_words());
        let words = view.segment.bitmap(key, make)?;
        return Ok(Bits::shared(view.segment.len(), words));
    }
    let known = evaluate(predicate, &view.segment)?;
    let mut bits = known.yes;
    if let Some((maybe, undeclared)) = known.maybe.zip(undeclared) {
        const RELIEVE: u64 = 1 << 12;
        let open = maybe.and(&bits.clone().not());
        let live = open
            .iter_in(0..view.segment.len())
            .filter(|row| view.is_live(*row));
        let mut read = 0u64;
        view.segment.payloads(live, |row, payload| {
            read += 1;
            if read.is_multiple_of(RELIEVE) {
                view.segment.relieve();
            }
            undeclared.see(&payload);
            if predicate.matches(&payload) {
                bits.set(row);
            }
            true
        })?;
        undeclared.count(read);
    }
    Ok(bits)
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

    /// About one in `many` of the matching rows, as if drawn by chance; always the same.
    pub(crate) fn one_in(&self, many: u32) -> Self {
        // The high bits of a product with the golden ratio (Knuth, "The Art of Computer Programming", 6.4).
        let drawn = |row: u32| (row.wrapping_mul(0x9e37_79b9) >> 8).is_multiple_of(many.max(1));
        let bits = Bits::from_rows(self.rows, |row| drawn(row) && self.contains(row));
        Self::new(self.rows, Some(bits))
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
        let all = match self.bits {
            Some(_) => 0..0,
            None => range.start..range.end.min(self.rows),
        };
        let some = self.bits.iter().flat_map(move |bits| bits.iter_in(range.clone()));
        all.chain(some)
    }

    /// About so many matching rows, from all over the segment: the first from each of as many places.
    pub(crate) fn spread(&self, count: u32) -> impl Iterator<Item = u32> + '_ {
        let width = self.rows.div_ceil(count.max(1)).max(1);
        (0..count).filter_map(move |at| {
            let start = at.saturating_mul(width);
            self.iter_in(start..start.saturating_add(width)).next()
        })
    }

    /// Appends the matching rows, ascending.
    pub(crate) fn append_to(&self, rows: &mut Vec<u32>) {
        rows.reserve(self.count as usize);
        match &self.bits {
            Some(bits) => bits.append_to(rows),
            None => rows.extend(0..self.rows),
        }
    }

    /// Those of some rows that match, in their order, behind those that are there.
    pub(crate) fn append_of(&self, some: &[u32], rows: &mut Vec<u32>) {
        match &self.bits {
            Some(bits) => bits.append_of(some, rows),
            None => rows.extend_from_slice(some),
        }
    }

    /// The matching rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.iter_in(0..self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
