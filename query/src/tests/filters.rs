//! Filters over columns and over the memtable, against the payloads themselves.

use std::sync::OnceLock;

use latewood_codecs::TokenCodec;
use latewood_storage::{Record, Schema};
use proptest::prelude::*;
use serde_json::Value as Json;

use super::harness::*;
use crate::{Filter, Matches, QueryError, QueryRequest};

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

/// Two coded segments, one raw one and a memtable, with documents deleted in each.
fn changed(codec: TokenCodec) -> Fixture {
    let mut tokens = plain().tokens.unwrap();
    tokens.codec = codec;
    let fixture = Fixture::new(Schema {
        tokens: Some(tokens),
        ..plain()
    });
    let records = natural_records(1_800, &mut Random::new(70));
    fixture.bulk(&records[..1_200]);
    fixture.optimize();
    fixture.bulk(&records[1_200..1_500]);
    fixture.upsert(&records[1_500..]);
    fixture.delete(&(0..1_800).step_by(11).collect::<Vec<_>>());
    fixture
}

fn fixtures() -> &'static [Fixture] {
    static MADE: OnceLock<Vec<Fixture>> = OnceLock::new();
    MADE.get_or_init(|| TokenCodec::ALL.into_iter().map(changed).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// However narrow the index opens, k results come whenever k match, all of them live matches; and a recall of 1 is the
    /// exhaustive answer.
    #[test]
    fn k_results_come_whenever_k_match(
        filter in filter(), seed in 0u64..1_000, k in 1usize..60, n_probe in 1usize..6, narrow in any::<bool>(),
    ) {
        for fixture in fixtures() {
            let snapshot = fixture.snapshot();
            let matching = Matches::evaluate(&snapshot, Some(&filter)).unwrap();
            let request = QueryRequest {
                filter: Some(filter.clone()),
                n_probe: narrow.then_some(n_probe),
                candidates: narrow.then_some(k),
                ..maxsim_request(Random::new(seed).clustered(5, 40), k)
            };
            let everything = QueryRequest { limit: 2_000, recall: Some(1.0), n_probe: None, candidates: None, ..request.clone() };
            let all = ids(&fixture.search_with(&everything, &indexes_only()).1.hits);
            prop_assert_eq!(all.len() as u64, matching.count());
            let hits = fixture.search_with(&request, &indexes_only()).1.hits;
            prop_assert_eq!(hits.len(), k.min(all.len()), "{}", filter);
            prop_assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
            let mut found = ids(&hits);
            prop_assert!(found.iter().all(|id| all.contains(id)));
            found.sort();
            found.dedup();
            prop_assert_eq!(found.len(), hits.len());
        }
    }
}
