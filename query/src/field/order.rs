//! Documents in the order of a field's values.

use std::cmp::Ordering;

use latewood_storage::Snapshot;
use serde::{Deserialize, Serialize};

use super::value::FieldValue;
use super::{for_each, values_at};
use crate::error::QueryError;
use crate::filter::{Filter, Matches};
use crate::hits::{Hit, Position};

/// The field that documents are ordered by. Documents without it come last; of several values the first in the order counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderBy {
    /// The payload field.
    pub field: String,
    /// Whether the greatest comes first.
    pub descending: bool,
}

impl OrderBy {
    /// The value that stands for a document.
    fn of<'s>(&self, values: Vec<FieldValue<'s>>) -> Option<FieldValue<'s>> {
        let mut values = values.into_iter();
        if self.descending {
            values.max()
        } else {
            values.next().map(|first| values.fold(first, Ord::min))
        }
    }

    fn compare(&self, a: Option<&FieldValue<'_>>, b: Option<&FieldValue<'_>>) -> Ordering {
        match (a, b) {
            (Some(a), Some(b)) if self.descending => b.cmp(a),
            (Some(a), Some(b)) => a.cmp(b),
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    }
}

/// The documents that match, in the order of a field, `limit` of them from `offset` on; documents of equal values are in the
/// order in which they are stored. A second answer is the note of a field that is not indexed.
///
/// # Errors
/// As [`facets`](super::facets).
pub fn ordered(
    snapshot: &Snapshot,
    filter: Option<&Filter>,
    by: &OrderBy,
    (offset, limit): (usize, usize),
) -> Result<(Vec<Position>, Option<String>), QueryError> {
    let matches = Matches::evaluate(snapshot, filter)?;
    let wanted = offset.saturating_add(limit);
    // Up to twice as many as are wanted are kept before the rest is cut off: each cut is paid for by as many arrivals.
    let most = wanted.saturating_mul(2).max(1 << 10);
    let mut kept: Vec<(Option<FieldValue<'_>>, Position)> = Vec::new();
    let compare = |a: &(Option<FieldValue<'_>>, Position), b: &(Option<FieldValue<'_>>, Position)| {
        by.compare(a.0.as_ref(), b.0.as_ref()).then(a.1.cmp(&b.1))
    };
    let note = for_each(snapshot, &matches, &by.field, |at, values| {
        kept.push((by.of(values), at));
        if kept.len() >= most {
            kept.sort_unstable_by(compare);
            kept.truncate(wanted);
        }
    })?;
    kept.sort_unstable_by(compare);
    let positions = kept.into_iter().skip(offset).take(limit);
    Ok((positions.map(|(_, at)| at).collect(), note))
}

/// Puts hits in the order of a field; hits of equal values stay in the order of their scores.
pub(crate) fn sort_hits(snapshot: &Snapshot, hits: Vec<Hit>, by: &OrderBy) -> Result<Vec<Hit>, QueryError> {
    let mut keyed = Vec::with_capacity(hits.len());
    for hit in hits {
        let values = values_at(snapshot, &by.field, hit.position)?;
        keyed.push((by.of(values), hit));
    }
    keyed.sort_by(|a, b| by.compare(a.0.as_ref(), b.0.as_ref()));
    Ok(keyed.into_iter().map(|(_, hit)| hit).collect())
}
