//! Rankings that are shaped: groups and diversity.

use std::collections::HashMap;

use super::harness::{DENSE_DIM, Fixture, Random, dense_request, exact_records, plain};
use crate::request::QueryRequest;
use crate::shape::GroupBy;
use crate::{CostModel, QueryError, Resources, search};

fn fixture() -> Fixture {
    let random = &mut Random::new(21);
    let fixture = Fixture::new(plain());
    let mut records = exact_records(500, random);
    for (number, record) in (0u64..).zip(&mut records) {
        // A few values have nearly all of the documents.
        let shop = if number.is_multiple_of(50) {
            number
        } else {
            number % 3
        };
        record.payload.insert("shop".to_owned(), shop.into());
        if number % 100 == 7 {
            record.payload.remove("shop");
        }
    }
    let (segment, memtable) = records.split_at(300);
    fixture.bulk(segment);
    fixture.upsert(memtable);
    fixture
}

fn request(limit: usize) -> QueryRequest {
    let mut dense = Random::new(4).wholes(DENSE_DIM);
    dense[0] = 1.0;
    dense_request(dense, limit)
}

#[test]
fn groups_are_the_best_of_each_value_and_as_many_as_there_are() {
    let fixture = fixture();
    let all = fixture.hits(&request(500));
    let shop = |id: &latewood_storage::DocumentId| {
        let record = fixture.collection.get(id).unwrap().unwrap();
        record.payload.get("shop").map(ToString::to_string)
    };
    for (size, limit, offset) in [(1, 5, 0), (2, 8, 3), (1, 100, 0), (3, 100, 0)] {
        let mut counts: HashMap<String, usize> = HashMap::new();
        let expected: Vec<_> = all
            .iter()
            .filter(|hit| {
                shop(&hit.id).is_none_or(|shop| {
                    let count = counts.entry(shop).or_insert(0);
                    *count += 1;
                    *count <= size
                })
            })
            .skip(offset)
            .take(limit)
            .cloned()
            .collect();
        let field = "shop".to_owned();
        let grouped = QueryRequest {
            offset,
            group_by: Some(GroupBy { field, size }),
            ..request(limit)
        };
        let found = fixture.hits(&grouped);
        assert_eq!(found, expected, "size {size}, limit {limit}, offset {offset}");
    }
}

#[test]
fn diversity_is_maximal_marginal_relevance() {
    let fixture = fixture();
    let first = fixture.hits(&request(100));
    let vector = |id: &latewood_storage::DocumentId| {
        let dense = fixture.collection.get(id).unwrap().unwrap().dense.unwrap();
        let length = dense.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        dense
            .into_iter()
            .map(|x| f64::from(x) / length)
            .collect::<Vec<f64>>()
    };
    let cosine = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for lambda in [0.0, 0.3, 0.7] {
        let diverse = QueryRequest {
            diversity: Some(lambda),
            ..request(10)
        };
        let found = fixture.hits(&diverse);
        assert_eq!((found.len(), &found[0].id), (10, &first[0].id));
        let (best, worst) = (f64::from(first[0].score), f64::from(first[99].score));
        let value = |hit: &crate::Hit, before: &[crate::Hit]| {
            let near = before
                .iter()
                .map(|other| cosine(&vector(&hit.id), &vector(&other.id)));
            lambda * (f64::from(hit.score) - worst) / (best - worst)
                - (1.0 - lambda) * near.fold(f64::NEG_INFINITY, f64::max)
        };
        for at in 1..10 {
            let taken = value(&found[at], &found[..at]);
            for other in first
                .iter()
                .filter(|hit| found[..at].iter().all(|f| f.id != hit.id))
            {
                assert!(
                    value(other, &found[..at]) <= taken + 1e-5,
                    "lambda {lambda}, rank {at}"
                );
            }
        }
    }
    let same = QueryRequest {
        diversity: Some(1.0),
        ..request(10)
    };
    assert_eq!(fixture.hits(&same), first[..10]);
}

#[test]
fn shapes_that_make_no_sense_are_refused() {
    let fixture = fixture();
    let refused = |request: QueryRequest| {
        search(
            &fixture.snapshot(),
            &request,
            &CostModel::default(),
            Resources::default(),
        )
        .unwrap_err()
    };
    for bad in [-0.1, 1.1, f64::NAN] {
        let diversity = Some(bad);
        assert!(matches!(
            refused(QueryRequest {
                diversity,
                ..request(10)
            }),
            QueryError::Diversity { .. }
        ));
    }
    let group_by = Some(GroupBy {
        field: "shop".to_owned(),
        size: 0,
    });
    assert!(matches!(
        refused(QueryRequest {
            group_by,
            ..request(10)
        }),
        QueryError::Tunable { .. }
    ));
}
