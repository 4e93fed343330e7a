//! How often each value of a field is there.

use std::collections::BTreeMap;

use latewood_storage::Snapshot;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::for_each;
use crate::error::QueryError;
use crate::filter::{Filter, Matches};

/// A value, and how many documents have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facet {
    /// The value; of a datetime field as RFC 3339 in UTC.
    pub value: Json,
    /// Documents that have it; one that has several values counts for each.
    pub count: u64,
}

/// The values of a field over the documents that match, counted exactly.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FacetCounts {
    /// All different values: most documents first, and among equals the lesser value.
    pub values: Vec<Facet>,
    /// Documents that match.
    pub documents: u64,
    /// Those of them that have no value of the field.
    pub missing: u64,
    /// What is worth knowing of how it was counted: that the field is not indexed, and how many payloads were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Counts the values of a field over all documents that match. Objects and places are no values.
///
/// # Errors
/// A filter that does not fit, a field that is not declared and that no document has, a field of places, a segment that
/// cannot be read.
pub fn facets(snapshot: &Snapshot, field: &str, filter: Option<&Filter>) -> Result<FacetCounts, QueryError> {
    let matches = Matches::evaluate(snapshot, filter)?;
    let mut counts = BTreeMap::new();
    let mut missing = 0;
    let note = for_each(snapshot, &matches, field, |_, values| {
        missing += u64::from(values.is_empty());
        for value in values {
            *counts.entry(value).or_insert(0u64) += 1;
        }
    })?;
    let mut values: Vec<Facet> = counts
        .iter()
        .map(|(value, &count)| Facet {
            value: value.to_json(),
            count,
        })
        .collect();
    // Stable: equals stay in the order of their values.
    values.sort_by_key(|facet| std::cmp::Reverse(facet.count));
    Ok(FacetCounts {
        values,
        documents: matches.count(),
        missing,
        note,
    })
}
