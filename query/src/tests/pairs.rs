//! The most similar pairs, against a comparison of all.

use latewood_storage::Schema;

use super::harness::*;
use crate::{Filter, PositionPair, QueryError, pairs};

/// Two segments, one with a graph, and a memtable, with documents deleted in each.
fn fixture() -> Fixture {
    let fixture = Fixture::new(plain());
    let records = natural_records(400, &mut Random::new(5));
    fixture.bulk(&records[..250]);
    fixture.optimize();
    fixture.bulk(&records[250..330]);
    fixture.upsert(&records[330..]);
    fixture.delete(&(0..400).step_by(9).collect::<Vec<_>>());
    fixture
}

/// The scores of all pairs of live documents with a year, or of all, best first.
fn all(fixture: &Fixture, with_year: bool) -> Vec<f32> {
    let snapshot = fixture.snapshot();
    let live: Vec<_> = (0..400u64)
        .filter_map(|id| snapshot.get(&id.into()).unwrap())
        .filter(|record| !with_year || record.payload.contains_key("year"))
        .collect();
    let mut scores = Vec::new();
    for (at, a) in live.iter().enumerate() {
        for b in &live[at + 1..] {
            let (a, b) = (a.dense.as_ref().unwrap(), b.dense.as_ref().unwrap());
            scores.push(a.iter().zip(b).map(|(x, y)| x * y).sum());
        }
    }
    scores.sort_by(|a: &f32, b| b.total_cmp(a));
    scores
}

fn scores(pairs: &[PositionPair]) -> Vec<f32> {
    pairs.iter().map(|pair| pair.score).collect()
}

#[test]
fn exact_pairs_are_the_best_of_all() {
    let fixture = fixture();
    let snapshot = fixture.snapshot();
    let filter = Filter::exists("year");
    for (filter, k) in [(None, 1), (None, 50), (Some(&filter), 300), (None, 10_000)] {
        let found = pairs(&snapshot, filter, (k, true), None).unwrap();
        let expected = all(&fixture, filter.is_some());
        assert_eq!(found.len(), k);
        for (got, expected) in scores(&found).iter().zip(expected) {
            assert!((got - expected).abs() < 1e-3, "{got} {expected}");
        }
        assert!(found.iter().all(|pair| pair.first < pair.second));
        let mut places: Vec<_> = found.iter().map(|pair| (pair.first, pair.second)).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), k);
    }
}

#[test]
fn the_index_finds_nearly_all_of_them() {
    let fixture = fixture();
    let snapshot = fixture.snapshot();
    let filter = Filter::exists("year");
    for filter in [None, Some(&filter)] {
        let exact = pairs(&snapshot, filter, (40, true), None).unwrap();
        let found = pairs(&snapshot, filter, (40, false), None).unwrap();
        let both = found.iter().filter(|pair| {
            let same = |other: &&PositionPair| (other.first, other.second) == (pair.first, pair.second);
            exact.iter().any(|other| same(&other))
        });
        let both = both.count();
        assert!(found.len() == 40 && both >= 36, "{both} of 40");
    }
}

#[test]
fn no_pairs_and_too_many() {
    let fixture = Fixture::new(plain());
    let found = |k, exact| pairs(&fixture.snapshot(), None, (k, exact), None);
    assert!(matches!(found(0, true), Err(QueryError::Tunable { .. })));
    assert!(matches!(
        found(crate::MAX_WINDOW + 1, true),
        Err(QueryError::Tunable { .. })
    ));
    assert!(found(5, true).unwrap().is_empty() && found(5, false).unwrap().is_empty());
    fixture.upsert(&natural_records(1, &mut Random::new(1)));
    assert!(found(5, true).unwrap().is_empty() && found(5, false).unwrap().is_empty());
    let without = Fixture::new(Schema {
        dense: None,
        ..plain()
    });
    let refused = pairs(&without.snapshot(), None, (5, false), None);
    assert!(matches!(refused, Err(QueryError::PlanNeeds { .. })));
}
