//! Counts and orders of fields, indexed or not, against a naive reading of the payloads.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::harness::*;
use super::language::{made, seconds};
use crate::{Filter, OrderBy, QueryError, facets, ordered};

const FILTER: &str = "open = true or exists(tags)";

/// The live documents that the filter lets through, with their numbers.
fn passing() -> Vec<(u64, &'static Json)> {
    let made = made();
    let tags = |p: &Json| {
        matches!(&p["tags"], Json::String(_)) || p["tags"].as_array().is_some_and(|t| !t.is_empty())
    };
    let all = (0u64..).zip(&made.payloads);
    let live = all.filter(|(id, _)| !made.deleted.contains(id));
    live.filter(|(_, p)| p["open"] == true || tags(p)).collect()
}

fn distinct(value: &Json) -> Vec<String> {
    let mut all: Vec<String> = match value {
        Json::Null => vec![],
        Json::Array(items) => items.iter().map(ToString::to_string).collect(),
        one => vec![one.to_string()],
    };
    all.sort();
    all.dedup();
    all
}

#[test]
fn facets_count_every_value() {
    let snapshot = made().fixture.snapshot();
    let filter = Filter::parse(FILTER).unwrap();
    for (field, indexed) in [
        ("tags", true),
        ("year", true),
        ("price", true),
        ("open", true),
        ("free_tags", false),
        ("free_year", false),
        ("mixed", false),
    ] {
        let counted = facets(&snapshot, field, Some(&filter)).unwrap();
        let mut expected = BTreeMap::new();
        for (_, payload) in passing() {
            for value in distinct(&payload[field]) {
                *expected.entry(value).or_insert(0) += 1;
            }
        }
        let got: BTreeMap<String, u64> = counted
            .values
            .iter()
            .map(|facet| (facet.value.to_string(), facet.count))
            .collect();
        assert_eq!(got, expected, "{field}");
        assert!(counted.values.is_sorted_by(|a, b| a.count >= b.count));
        assert_eq!(counted.documents, passing().len() as u64);
        let missing = passing()
            .iter()
            .filter(|(_, p)| distinct(&p[field]).is_empty())
            .count();
        assert_eq!(counted.missing, missing as u64, "{field}");
        assert_eq!(counted.note.is_none(), indexed, "{field}");
    }
    let when = facets(&snapshot, "when", None).unwrap();
    assert!(
        when.values
            .iter()
            .all(|facet| facet.value.as_str().unwrap().ends_with(":00Z"))
    );
}

/// What stands for a document in an order, and its number behind it.
fn key(field: &str, payload: &Json, descending: bool) -> Option<(f64, String)> {
    let one = |value: &Json| match value {
        Json::String(text) if field == "when" => (seconds(text) as f64, String::new()),
        Json::String(text) => (0.0, text.clone()),
        number => (number.as_f64().unwrap(), String::new()),
    };
    let values: Vec<_> = match &payload[field] {
        Json::Null => vec![],
        Json::Array(items) => items.iter().map(one).collect(),
        value => vec![one(value)],
    };
    let better = |a: &(f64, String), b: &(f64, String)| (a.partial_cmp(b).unwrap().is_lt()) != descending;
    values
        .into_iter()
        .reduce(|a, b| if better(&b, &a) { b } else { a })
}

#[test]
fn documents_come_in_the_order_of_a_field() {
    let snapshot = made().fixture.snapshot();
    let filter = Filter::parse(FILTER).unwrap();
    for field in ["tags", "year", "price", "when", "free_tags", "free_year"] {
        for descending in [false, true] {
            let by = OrderBy {
                field: field.to_owned(),
                descending,
            };
            let (places, _) = ordered(&snapshot, Some(&filter), &by, (0, 1_000)).unwrap();
            let mut expected: Vec<_> = passing()
                .into_iter()
                .map(|(id, payload)| (key(field, payload, descending), id))
                .collect();
            // Documents are stored in the order of their numbers here, which is that of equals.
            expected.sort_by(|(a, _), (b, _)| match (a, b) {
                (Some(a), Some(b)) if descending => b.partial_cmp(a).unwrap(),
                (Some(a), Some(b)) => a.partial_cmp(b).unwrap(),
                (a, b) => b.is_some().cmp(&a.is_some()),
            });
            let ids: Vec<u64> = places
                .iter()
                .map(|at| match snapshot.segments().get(at.segment as usize) {
                    Some(view) => view.segment.document_id(at.ordinal).unwrap(),
                    None => snapshot.memtable().get(at.ordinal).unwrap().id.clone(),
                })
                .map(|id| id.to_string().parse().unwrap())
                .collect();
            let expected: Vec<u64> = expected.into_iter().map(|(_, id)| id).collect();
            assert_eq!(ids, expected, "{field}, descending {descending}");
            let (middle, _) = ordered(&snapshot, Some(&filter), &by, (7, 5)).unwrap();
            assert_eq!(middle, places[7..12]);
        }
    }
}

#[test]
fn hits_in_the_order_of_a_field_are_the_same_hits() {
    let mut request = dense_request(Random::new(3).floats(DENSE_DIM), 20);
    let mut by_score = ids(&made().fixture.hits(&request));
    request.order_by = Some(OrderBy {
        field: "year".to_owned(),
        descending: true,
    });
    let mut by_year = ids(&made().fixture.hits(&request));
    let year = |id: &latewood_storage::DocumentId| {
        let id: usize = id.to_string().parse().unwrap();
        made().payloads[id]["year"].as_i64().unwrap_or(i64::MIN)
    };
    assert!(by_year.is_sorted_by(|a, b| year(a) >= year(b)));
    assert_ne!(by_score, by_year);
    by_score.sort();
    by_year.sort();
    assert_eq!(by_score, by_year);
}

#[test]
fn fields_without_values_or_order_are_refused() {
    let snapshot = made().fixture.snapshot();
    assert!(matches!(
        facets(&snapshot, "at", None),
        Err(QueryError::NoOrder { .. })
    ));
    assert!(matches!(
        facets(&snapshot, "nowhere", None),
        Err(QueryError::UnknownField { .. })
    ));
}
