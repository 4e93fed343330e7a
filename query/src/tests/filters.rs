//! Filters over columns and over the memtable, against the payloads themselves.

use latewood_storage::Record;
use proptest::prelude::*;
use serde_json::Value as Json;

use super::harness::*;
use crate::{Filter, Matches, QueryError};

fn tags(record: &Record) -> Vec<&str> {
    match record.payload.get("tags") {
        Some(Json::String(tag)) => vec![tag],
        Some(Json::Array(tags)) => tags.iter().filter_map(Json::as_str).collect(),
        _ => vec![],
    }
}

fn year(record: &Record) -> Option<i64> {
    record.payload.get("year").and_then(Json::as_i64)
}

type Oracle = fn(&Record) -> bool;

const CASES: &[(&str, Oracle)] = &[
    ("tags = \"tag1\"", |r| tags(r).contains(&"tag1")),
    ("tags in (\"tag0\", \"tag3\", \"none\")", |r| {
        tags(r).iter().any(|t| ["tag0", "tag3"].contains(t))
    }),
    ("tags >= \"tag2\"", |r| tags(r).iter().any(|t| *t >= "tag2")),
    ("\"tag1\" < tags < \"tag3\"", |r| tags(r).contains(&"tag2")),
    ("exists(tags)", |r| !tags(r).is_empty()),
    ("year = 2000", |r| year(r) == Some(2000)),
    ("year in (1991, 2020, 5)", |r| {
        year(r).is_some_and(|y| y == 1991 || y == 2020)
    }),
    ("2000 <= year < 2010", |r| {
        year(r).is_some_and(|y| (2000..2010).contains(&y))
    }),
    ("not year > 2000", |r| year(r).is_none_or(|y| y <= 2000)),
    ("price >= 0", |r| {
        r.payload
            .get("price")
            .and_then(Json::as_f64)
            .is_some_and(|p| p >= 0.0)
    }),
    ("price < -2.5", |r| {
        r.payload
            .get("price")
            .and_then(Json::as_f64)
            .is_some_and(|p| p < -2.5)
    }),
    ("open = true", |r| {
        r.payload.get("open") == Some(&Json::Bool(true))
    }),
    ("open in (true, false)", |r| r.payload.contains_key("open")),
    ("exists(year) and not exists(open)", |r| {
        year(r).is_some() && !r.payload.contains_key("open")
    }),
    ("open = false or tags = \"tag4\"", |r| {
        r.payload.get("open") == Some(&Json::Bool(false)) || tags(r).contains(&"tag4")
    }),
    ("all()", |_| true),
    ("any()", |_| false),
    ("tags = \"none\"", |_| false),
];

#[test]
fn columns_and_payloads_agree_with_the_oracle() {
    let random = &mut Random::new(20);
    let fixture = Fixture::new(plain());
    let records = natural_records(260, random);
    fixture.bulk(&records[..130]);
    fixture.bulk(&records[130..200]);
    fixture.upsert(&records[200..]);
    fixture.delete(&[0, 50, 131, 250]);
    let snapshot = fixture.snapshot();
    for (text, oracle) in CASES {
        let mut request = dense_request(random.floats(DENSE_DIM), 1_000);
        request.filter = Some(Filter::parse(text).unwrap());
        let ranking = ranking(&snapshot, &request, oracle);
        let matches = Matches::evaluate(&snapshot, request.filter.as_ref()).unwrap();
        assert_eq!(matches.count(), ranking.len() as u64, "{text}");
        assert_best(&fixture.hits(&request), &ranking, 1_000, 2e-3);
        let tokens = maxsim_request(random.clustered(3, 40), 10);
        let request = crate::QueryRequest {
            filter: request.filter,
            ..tokens
        };
        let ranking = super::harness::ranking(&snapshot, &request, oracle);
        assert_best(&fixture.hits(&request), &ranking, 10, 2e-3);
    }
}

#[test]
fn a_filter_that_does_not_fit_the_schema_is_refused() {
    let fixture = Fixture::new(plain());
    let evaluate =
        |text: &str| Matches::evaluate(&fixture.snapshot(), Some(&Filter::parse(text).unwrap())).unwrap_err();
    assert!(matches!(evaluate("colour = 1"), QueryError::UnknownField { .. }));
    assert!(matches!(evaluate("year = \"x\""), QueryError::FieldType { .. }));
}

fn leaf() -> impl Strategy<Value = Filter> {
    prop_oneof![
        (0..6u32).prop_map(|n| Filter::eq("tags", format!("tag{n}"))),
        (0..6u32, 0..6u32).prop_map(|(a, b)| Filter::range("tags", format!("tag{a}")..format!("tag{b}"))),
        (1985..2035i64).prop_map(|y| Filter::gt("year", y)),
        prop::collection::vec(1985..2035i64, 0..4).prop_map(|years| Filter::is_in("year", years)),
        (-10.0..10.0f64).prop_map(|x| Filter::lte("price", x)),
        any::<bool>().prop_map(|b| Filter::eq("open", b)),
        prop_oneof!["tags", "year", "price", "open"].prop_map(Filter::exists),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    leaf().prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Filter::all),
            prop::collection::vec(inner.clone(), 0..3).prop_map(Filter::any),
            inner.prop_map(|f| !f),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A filter means the same over the columns of a segment and over the payloads of the memtable, and together with
    /// its negation it is everything.
    #[test]
    fn segments_and_memtable_agree(filter in filter(), seed in 0u64..8) {
        let records = exact_records(70, &mut Random::new(seed));
        let (segment, memtable) = (Fixture::new(plain()), Fixture::new(plain()));
        segment.bulk(&records);
        memtable.upsert(&records);
        let matching = |fixture: &Fixture, filter: &Filter| {
            let snapshot = fixture.snapshot();
            let matches = Matches::evaluate(&snapshot, Some(filter)).unwrap();
            let segments: Vec<u32> = matches.segments().iter().flat_map(|s| s.iter().collect::<Vec<_>>()).collect();
            [segments, matches.memtable().to_vec()].concat()
        };
        let found = matching(&segment, &filter);
        prop_assert_eq!(&found, &matching(&memtable, &filter));
        let rest = matching(&segment, &!filter);
        prop_assert_eq!(found.len() + rest.len(), 70);
    }
}
