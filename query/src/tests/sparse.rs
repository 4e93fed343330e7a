//! Search by sparse vectors against inner products computed document by document.

use std::collections::BTreeMap;

use latewood_codecs::SparseVector;
use latewood_storage::{FieldSpec, FieldType, Record, Schema, VectorKind, VectorSpec, VectorValue, Vectors};
use proptest::prelude::*;
use serde_json::json;

use super::harness::{Fixture, Random, exact_records, plain};
use crate::error::QueryError;
use crate::filter::Filter;
use crate::hits::Hit;
use crate::plan::{PlanChoice, StageName};
use crate::request::QueryRequest;
use crate::{CostModel, Resources, search};

const FIELD: &str = "splade";

fn sparse_field() -> VectorSpec {
    VectorSpec {
        name: FIELD.to_owned(),
        kind: VectorKind::Sparse,
    }
}

/// Few dimensions are in many vectors, many are in few.
fn vector(random: &mut Random, most: u64) -> SparseVector {
    let mut weights = BTreeMap::new();
    for _ in 0..random.below(most) {
        let below = 1 + random.below(3) * random.below(40) * random.below(40);
        let dimension = u32::try_from(random.below(below)).unwrap();
        weights.insert(dimension, random.float().abs() + 0.01);
    }
    let (indices, values) = weights.into_iter().unzip();
    SparseVector::new(indices, values).unwrap()
}

fn request(query: &SparseVector, plan: &str, limit: usize) -> QueryRequest {
    QueryRequest {
        vectors: Vectors::from([(FIELD.to_owned(), VectorValue::Sparse(query.clone()))]),
        plan: plan.parse().unwrap(),
        limit,
        ..QueryRequest::default()
    }
}

/// The inner product, dimension by dimension.
fn product(a: &SparseVector, b: &SparseVector) -> Option<f64> {
    let weights: BTreeMap<u32, f32> = b
        .indices()
        .iter()
        .copied()
        .zip(b.values().iter().copied())
        .collect();
    let pairs = a.indices().iter().zip(a.values());
    let common: Vec<f64> = pairs
        .filter_map(|(index, value)| Some(f64::from(*value) * f64::from(*weights.get(index)?)))
        .collect();
    (!common.is_empty()).then(|| common.iter().sum())
}

/// Every document of a map that `passes` and shares a dimension, best first.
fn expected(
    documents: &BTreeMap<u64, SparseVector>,
    query: &SparseVector,
    passes: impl Fn(u64) -> bool,
) -> Vec<(u64, f64)> {
    let own = documents.iter().filter(|(id, _)| passes(**id));
    let mut scored: Vec<(u64, f64)> = own
        .filter_map(|(id, vector)| Some((*id, product(query, vector)?)))
        .collect();
    scored.sort_by(|a, b| b.1.total_cmp(&a.1));
    scored
}

/// Hits are the best that there are, with the scores that they have.
fn assert_best(hits: &[Hit], expected: &[(u64, f64)], limit: usize, about: &str) {
    assert_eq!(hits.len(), expected.len().min(limit), "{about}");
    for (hit, (_, best)) in hits.iter().zip(expected) {
        let own = expected.iter().find(|(id, _)| hit.id == (*id).into());
        let (_, own) = own.unwrap_or_else(|| panic!("{about}: {} does not match", hit.id));
        let score = f64::from(hit.score);
        assert!(
            (score - own).abs() < 1e-5,
            "{about}: {} has {own}, not {score}",
            hit.id
        );
        assert!(
            (score - best).abs() < 1e-5,
            "{about}: {score} where {best} is the best"
        );
        assert_eq!(hit.scored_by, StageName::Sparse);
    }
    let ids: std::collections::HashSet<_> = hits.iter().map(|hit| &hit.id).collect();
    assert_eq!(ids.len(), hits.len(), "{about}: one is there twice");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_largest_inner_products_are_found(seed in any::<u64>(), count in 1u64..900) {
        let random = &mut Random::new(seed);
        let schema = Schema { vectors: vec![sparse_field()], ..plain() };
        let fixture = Fixture::new(schema);
        let mut records: Vec<Record> = exact_records(count, random);
        let mut documents = BTreeMap::new();
        for (id, record) in (0..).zip(&mut records) {
            let vector = vector(random, 60);
            if random.below(5) > 0 && !vector.is_empty() {
                record.vectors = Vectors::from([(FIELD.to_owned(), VectorValue::Sparse(vector.clone()))]);
                documents.insert(id, vector);
            }
        }
        let (a, rest) = records.split_at(records.len() / 2);
        let (b, c) = rest.split_at(rest.len() / 2);
        fixture.bulk(a);
        fixture.bulk(b);
        fixture.upsert(c);
        let deleted: Vec<u64> = (0..count).filter(|_| random.below(6) == 0).collect();
        fixture.delete(&deleted);
        documents.retain(|id, _| !deleted.contains(id));
        let years: BTreeMap<u64, i64> = (0..)
            .zip(&records)
            .filter_map(|(id, record)| Some((id, record.payload.get("year")?.as_i64()?)))
            .collect();
        for round in 0..2 {
            for limit in [1, 7, 2_000] {
                let query = SparseVector::new(vec![0, 3, 9_999_999], vec![0.5, 1.5, 9.0]).unwrap();
                for query in [vector(random, 25), query] {
                    if query.is_empty() {
                        continue;
                    }
                    let hits = fixture.hits(&request(&query, "sparse:splade", limit));
                    assert_best(&hits, &expected(&documents, &query, |_| true), limit, &format!("round {round}"));
                    for from in [2_000, 2_025] {
                        let mut request = request(&query, "sparse:splade", limit);
                        request.filter = Some(Filter::parse(&format!("year >= {from}")).unwrap());
                        let passes = |id: u64| years.get(&id).is_some_and(|year| *year >= from);
                        let about = format!("round {round}, from {from}");
                        assert_best(&fixture.hits(&request), &expected(&documents, &query, passes), limit, &about);
                    }
                }
            }
            fixture.optimize();
        }
    }
}

/// Many documents, so that lists have many blocks and the search many windows; nothing but sparse vectors.
#[test]
fn lists_that_cannot_matter_are_not_read_to_their_ends() {
    let random = &mut Random::new(5);
    let fixture = Fixture::new(Schema {
        vectors: vec![sparse_field()],
        fields: vec![FieldSpec {
            name: "even".to_owned(),
            kind: FieldType::Bool,
        }],
        ..Schema::default()
    });
    let mut documents = BTreeMap::new();
    let record = |id: u64, vector: &SparseVector| Record {
        id: id.into(),
        text: None,
        payload: json!({ "even": id.is_multiple_of(2) })
            .as_object()
            .unwrap()
            .clone(),
        dense: None,
        tokens: None,
        vectors: Vectors::from([(FIELD.to_owned(), VectorValue::Sparse(vector.clone()))]),
    };
    for id in 0..30_000 {
        // Everyone has dimension 0 with little weight; few have one of the others with much.
        let rare = u32::try_from(1 + random.below(400)).unwrap();
        let weights = vec![0.01 + random.float().abs() / 100.0, 1.0 + random.float().abs()];
        documents.insert(id, SparseVector::new(vec![0, rare], weights).unwrap());
    }
    let records: Vec<Record> = documents.iter().map(|(id, vector)| record(*id, vector)).collect();
    fixture.bulk(&records);
    let query = SparseVector::new(vec![0, 7, 90], vec![1.0, 1.0, 0.75]).unwrap();
    let (plan, outcome) = fixture.search(&request(&query, "auto", 10));
    assert_eq!(plan.name.to_string(), "sparse:splade");
    assert_best(&outcome.hits, &expected(&documents, &query, |_| true), 10, "all");
    let stage = outcome
        .profile
        .stages
        .iter()
        .find(|stage| stage.name == "sparse:splade")
        .unwrap();
    assert!(
        stage.work < 12_000,
        "of 30,000 postings of dimension 0: {}",
        stage.work
    );
    assert!(plan.to_string().contains("sparse (splade)"), "{plan}");
    let mut even = request(&query, "sparse:splade", 10);
    even.filter = Some(Filter::parse("even = true").unwrap());
    assert_best(
        &fixture.hits(&even),
        &expected(&documents, &query, |id| id.is_multiple_of(2)),
        10,
        "even",
    );
}

#[test]
fn what_cannot_be_searched_is_told() {
    let fixture = Fixture::new(Schema {
        vectors: vec![sparse_field()],
        ..plain()
    });
    fixture.upsert(&exact_records(3, &mut Random::new(1)));
    let ask = |request: &QueryRequest| {
        search(
            &fixture.snapshot(),
            request,
            &CostModel::default(),
            Resources::default(),
        )
        .unwrap_err()
    };
    let query = SparseVector::new(vec![1], vec![1.0]).unwrap();
    let mut other = request(&query, "auto", 10);
    other.vectors = Vectors::from([("title".to_owned(), VectorValue::Sparse(query.clone()))]);
    let error = ask(&other);
    assert!(
        matches!(&error, QueryError::UnknownVector { name, .. } if name == "title"),
        "{error}"
    );
    assert!(error.to_string().contains(FIELD), "{error}");
    let error = ask(&request(&query, "sparse:title", 10));
    assert!(
        matches!(&error, QueryError::UnknownVector { name, .. } if name == "title"),
        "{error}"
    );
    let mut none = request(&query, "sparse:splade/dense", 10);
    none.dense = Some(vec![1.0; super::harness::DENSE_DIM]);
    none.vectors = Vectors::new();
    assert!(matches!(ask(&none), QueryError::PlanNeeds { .. }));
    let empty = SparseVector::default();
    assert!(matches!(
        ask(&request(&empty, "auto", 10)),
        QueryError::NamedVector { .. }
    ));
}

#[test]
fn a_named_leg_is_fused_with_others_by_its_weight() {
    let random = &mut Random::new(9);
    let fixture = Fixture::new(Schema {
        vectors: vec![sparse_field()],
        ..plain()
    });
    let mut records = exact_records(60, random);
    for (id, record) in (0_u16..).zip(&mut records) {
        let vector =
            SparseVector::new(vec![1, 2 + u32::from(id % 3)], vec![f32::from(id) + 1.0, 1.0]).unwrap();
        record.vectors = Vectors::from([(FIELD.to_owned(), VectorValue::Sparse(vector))]);
    }
    fixture.bulk(&records);
    let query = SparseVector::new(vec![1], vec![1.0]).unwrap();
    let mut both = request(&query, "auto", 5);
    both.dense = Some(random.wholes(super::harness::DENSE_DIM));
    let (plan, _) = fixture.search(&both);
    assert_eq!(plan.name.to_string(), "dense/sparse:splade", "{plan}");
    both.plan = PlanChoice::Named("sparse:splade/dense".parse().unwrap());
    both.fusion.weights.dense = 0.0;
    let (plan, outcome) = fixture.search(&both);
    assert!(plan.to_string().contains("fuse"), "{plan}");
    let best: Vec<u64> = (55..60).rev().collect();
    let ids: Vec<_> = outcome.hits.iter().map(|hit| hit.id.clone()).collect();
    assert_eq!(
        ids,
        best.iter().map(|id| (*id).into()).collect::<Vec<_>>(),
        "the weight of dense is 0"
    );
    both.fusion.weights.dense = 1.0;
    both.fusion.weights.fields.insert(FIELD.to_owned(), 0.0);
    let dense_alone = QueryRequest {
        plan: PlanChoice::Named("dense".parse().unwrap()),
        ..both.clone()
    };
    let ids = |hits: &[Hit]| hits.iter().map(|hit| hit.id.clone()).collect::<Vec<_>>();
    assert_eq!(
        ids(&fixture.hits(&both)),
        ids(&fixture.hits(&dense_alone)),
        "the weight of the field is 0"
    );
    both.fusion.weights.fields.insert(FIELD.to_owned(), -1.0);
    assert!(
        both.validate(&Schema {
            vectors: vec![sparse_field()],
            ..plain()
        })
        .is_err()
    );
}
