//! Search by the dense vectors of named fields, which not every document has.

use std::collections::BTreeMap;

use latewood_codecs::{DenseCodec, Metric};
use latewood_storage::{DenseSpec, Record, Schema, VectorKind, VectorSpec, VectorValue, Vectors};
use proptest::prelude::*;

use super::harness::{Fixture, Random, exact_records, indexes_only, plain};
use crate::filter::Filter;
use crate::hits::Hit;
use crate::request::QueryRequest;

const FIELD: &str = "title";
const DIM: usize = 12;

fn with_title() -> Schema {
    Schema {
        vectors: vec![VectorSpec {
            name: FIELD.to_owned(),
            kind: VectorKind::Dense(DenseSpec {
                dim: DIM,
                metric: Metric::InnerProduct,
                codec: DenseCodec::F32,
            }),
        }],
        ..plain()
    }
}

fn request(query: &[f32], limit: usize) -> QueryRequest {
    QueryRequest {
        vectors: Vectors::from([(FIELD.to_owned(), VectorValue::Dense(query.to_vec()))]),
        plan: "dense:title".parse().unwrap(),
        limit,
        ..QueryRequest::default()
    }
}

/// The documents that `pass`, by their inner products; of equal ones any may be first.
fn scores(titles: &BTreeMap<u64, Vec<f32>>, query: &[f32], passes: impl Fn(u64) -> bool) -> Vec<(u64, f32)> {
    let own = titles.iter().filter(|(id, _)| passes(**id));
    let score = |title: &[f32]| title.iter().zip(query).map(|(a, b)| a * b).sum();
    let mut scores: Vec<(u64, f32)> = own.map(|(id, title)| (*id, score(title))).collect();
    scores.sort_by(|a, b| b.1.total_cmp(&a.1));
    scores
}

fn assert_best(hits: &[Hit], expected: &[(u64, f32)], limit: usize, about: &str) {
    assert_eq!(hits.len(), expected.len().min(limit), "{about}");
    for (hit, (_, best)) in hits.iter().zip(expected) {
        let own = expected.iter().find(|(id, _)| hit.id == (*id).into());
        let (_, own) =
            own.unwrap_or_else(|| panic!("{about}: {} has no such vector, or does not match", hit.id));
        assert_eq!((hit.score, hit.score), (*own, *best), "{about}: {}", hit.id);
    }
}

/// Records of which some have a title, and the titles.
fn titled(count: u64, random: &mut Random, whole: bool) -> (Vec<Record>, BTreeMap<u64, Vec<f32>>) {
    let mut records = exact_records(count, random);
    let mut titles = BTreeMap::new();
    for (id, record) in (0..).zip(&mut records) {
        if whole || random.below(3) > 0 {
            let title = random.wholes(DIM);
            record.vectors = Vectors::from([(FIELD.to_owned(), VectorValue::Dense(title.clone()))]);
            titles.insert(id, title);
        }
    }
    (records, titles)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_nearest_of_those_that_have_one_are_found(seed in any::<u64>(), count in 1u64..700, whole in any::<bool>()) {
        let random = &mut Random::new(seed);
        let fixture = Fixture::new(with_title());
        let (records, mut titles) = titled(count, random, whole);
        let (a, rest) = records.split_at(records.len() / 2);
        let (b, c) = rest.split_at(rest.len() / 2);
        fixture.bulk(a);
        fixture.bulk(b);
        fixture.upsert(c);
        let deleted: Vec<u64> = (0..count).filter(|_| random.below(6) == 0).collect();
        fixture.delete(&deleted);
        titles.retain(|id, _| !deleted.contains(id));
        let years: BTreeMap<u64, i64> = (0..)
            .zip(&records)
            .filter_map(|(id, record)| Some((id, record.payload.get("year")?.as_i64()?)))
            .collect();
        for round in 0..2 {
            for limit in [1, 9, 2_000] {
                let query = random.wholes(DIM);
                let hits = fixture.hits(&request(&query, limit));
                assert_best(&hits, &scores(&titles, &query, |_| true), limit, &format!("round {round}"));
                for from in [2_000, 2_025] {
                    let mut request = request(&query, limit);
                    request.filter = Some(Filter::parse(&format!("year >= {from}")).unwrap());
                    let passes = |id: u64| years.get(&id).is_some_and(|year| *year >= from);
                    let about = format!("round {round}, from {from}");
                    assert_best(&fixture.hits(&request), &scores(&titles, &query, passes), limit, &about);
                }
            }
            fixture.optimize();
        }
    }
}

/// Through a graph over those that there are, under a filter and beside deleted documents.
#[test]
fn a_graph_of_a_field_finds_what_is_there() {
    let random = &mut Random::new(3);
    let fixture = Fixture::new(with_title());
    let (mut records, mut titles) = titled(4_000, random, false);
    for (id, record) in (0_u64..).zip(&mut records) {
        if let Some(VectorValue::Dense(title)) = record.vectors.get_mut(FIELD) {
            *title = random.floats(DIM);
            titles.insert(id, title.clone());
        }
    }
    fixture.bulk(&records);
    fixture.optimize();
    let deleted: Vec<u64> = (0..4_000).filter(|id| id % 5 == 2).collect();
    fixture.delete(&deleted);
    titles.retain(|id, _| !deleted.contains(id));
    let (mut found, mut wanted) = (0, 0);
    for round in 0..30 {
        let query = random.floats(DIM);
        let mut request = request(&query, 10);
        let passes =
            |id: u64| round % 2 == 0 || records[usize::try_from(id).unwrap()].payload.contains_key("open");
        if round % 2 == 1 {
            request.filter = Some(Filter::parse("exists(open)").unwrap());
        }
        let (plan, outcome) = fixture.search_with(&request, &indexes_only());
        assert!(
            plan.to_string().contains("dense graph (title, ef_search"),
            "{plan}"
        );
        assert!(
            outcome
                .profile
                .stages
                .iter()
                .any(|stage| stage.name == "dense graph:title")
        );
        let best = scores(&titles, &query, passes);
        let best: Vec<u64> = best.iter().take(10).map(|(id, _)| *id).collect();
        wanted += best.len();
        found += outcome
            .hits
            .iter()
            .filter(|hit| best.iter().any(|id| hit.id == (*id).into()))
            .count();
        let all = outcome
            .hits
            .iter()
            .all(|hit| titles.keys().any(|id| hit.id == (*id).into()));
        assert!(
            all && outcome.hits.len() == 10,
            "they have one, live, and are enough"
        );
    }
    assert!(found * 100 >= wanted * 97, "{found} of {wanted}");
}
