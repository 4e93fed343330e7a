//! Every operator of filters, over columns, payloads and the memtable, against a naive reading of the payloads.

use std::cmp::Ordering;
use std::sync::OnceLock;

use latewood_storage::{FieldSpec, FieldType, Record, Schema};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::harness::*;
use crate::{Bounds, Filter, Matches, QueryError, Value};

const DOCUMENTS: u64 = 150;

/// The fields that are declared, of which each has a twin of the same values that is not.
fn declared() -> Schema {
    let field = |name: &str, kind| FieldSpec {
        name: name.to_owned(),
        kind,
    };
    Schema {
        fields: vec![
            field("tags", FieldType::Keyword),
            field("year", FieldType::Int),
            field("price", FieldType::Float),
            field("open", FieldType::Bool),
            field("when", FieldType::Datetime),
            field("at", FieldType::Geo),
            field("author.name", FieldType::Keyword),
        ],
        ..plain()
    }
}

fn moment(random: &mut Random) -> String {
    let (day, hour, zone) = (1 + random.below(3), random.below(24), random.below(3));
    let zone = ["Z", "+02:00", "-00:30"][usize::try_from(zone).unwrap()];
    format!("2024-05-0{day}T{hour:02}:00:00{zone}")
}

fn place(random: &mut Random) -> Json {
    let (lat, lon) = (random.below(19), random.below(37));
    json!({ "lat": lat as f64 * 10.0 - 90.0, "lon": lon as f64 * 10.0 - 180.0 })
}

fn payload(random: &mut Random) -> Json {
    let mut out = json!({});
    let word = |n: u64| format!("{}{}", ["a", "ab", "b"][usize::try_from(n % 3).unwrap()], n / 3);
    match random.below(4) {
        0 => {}
        1 => out["tags"] = json!(word(random.below(9))),
        2 => out["tags"] = json!([word(random.below(9)), word(random.below(9))]),
        _ => out["tags"] = json!([]),
    }
    if random.below(5) > 0 {
        out["year"] = json!(1990 + random.below(8));
        out["price"] = json!(random.below(40) as f64 / 4.0);
    }
    if random.below(3) > 0 {
        out["open"] = json!(random.below(2) == 0);
        out["when"] = json!(moment(random));
    }
    match random.below(4) {
        0 => out["at"] = Json::Null,
        1 => {}
        _ => out["at"] = place(random),
    }
    match random.below(3) {
        0 => out["author"] = json!({ "name": word(random.below(9)), "born": 1800 + random.below(5) }),
        1 => out["author.name"] = json!(word(random.below(9))),
        _ => {}
    }
    // Twins that no schema declares.
    for name in ["tags", "year", "price", "open", "at"] {
        if let Some(value) = out.get(name).cloned() {
            out[format!("free_{name}")] = value;
        }
    }
    out["mixed"] = [json!(1), json!("1"), json!([1, "1", true]), json!(1.5)]
        [usize::try_from(random.below(4)).unwrap()]
    .clone();
    out
}

pub(super) struct Made {
    pub(super) fixture: Fixture,
    pub(super) payloads: Vec<Json>,
    pub(super) deleted: Vec<u64>,
}

/// Two segments and a memtable, with documents deleted in each.
pub(super) fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let random = &mut Random::new(77);
        let payloads: Vec<Json> = (0..DOCUMENTS).map(|_| payload(random)).collect();
        let records: Vec<Record> = natural_records(DOCUMENTS, &mut Random::new(78))
            .into_iter()
            .zip(&payloads)
            .map(|(record, payload)| Record {
                payload: payload.as_object().unwrap().clone(),
                ..record
            })
            .collect();
        let fixture = Fixture::new(declared());
        fixture.bulk(&records[..70]);
        fixture.bulk(&records[70..110]);
        fixture.upsert(&records[110..]);
        let deleted: Vec<u64> = (0..DOCUMENTS).step_by(13).collect();
        fixture.delete(&deleted);
        Made {
            fixture,
            payloads,
            deleted,
        }
    })
}

/// The value of a field, the dots of nested ones taken as they are written here.
fn value_of<'j>(payload: &'j Json, field: &str) -> &'j Json {
    match field {
        "author.name" if payload.get("author.name").is_some() => &payload["author.name"],
        "author.name" => &payload["author"]["name"],
        "author.born" => &payload["author"]["born"],
        _ => &payload[field],
    }
}

fn elements(value: &Json) -> Vec<&Json> {
    match value {
        Json::Null => vec![],
        Json::Array(items) => items.iter().collect(),
        one => vec![one],
    }
}

/// Seconds since the 30th of April 2024 of a moment that [`moment`] writes, or a date in May.
pub(super) fn seconds(text: &str) -> i64 {
    let at = |range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
    let zone = match text.get(19..) {
        Some("+02:00") => 7_200,
        Some("-00:30") => -1_800,
        _ => 0,
    };
    let hour = if text.len() > 10 { at(11..13) } else { 0 };
    at(8..10) * 86_400 + hour * 3_600 - zone
}

fn order(field: &str, json: &Json, value: &Value) -> Option<Ordering> {
    match (json, value) {
        (Json::String(a), Value::Str(b)) if field == "when" => Some(seconds(a).cmp(&seconds(b))),
        (Json::String(a), Value::Str(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Json::Bool(a), Value::Bool(b)) => (a == b).then_some(Ordering::Equal),
        // All numbers here are exact as floats.
        (Json::Number(a), Value::Int(b)) => a.as_f64().unwrap().partial_cmp(&(*b as f64)),
        (Json::Number(a), Value::Float(b)) => a.as_f64().unwrap().partial_cmp(b),
        _ => None,
    }
}

/// Metres between two places, by the angle between their vectors.
fn metres(a: (f64, f64), b: (f64, f64)) -> f64 {
    let vector = |(lat, lon): (f64, f64)| {
        let (lat, lon) = (lat.to_radians(), lon.to_radians());
        [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()]
    };
    let dot: f64 = vector(a).iter().zip(vector(b)).map(|(x, y)| x * y).sum();
    dot.clamp(-1.0, 1.0).acos() * 6_371_008.8
}

fn oracle(filter: &Filter, payload: &Json) -> bool {
    let any = |field: &str, holds: &dyn Fn(&Json) -> bool| {
        elements(value_of(payload, field)).into_iter().any(holds)
    };
    match filter {
        Filter::Eq { field, value } => any(field, &|json| order(field, json, value) == Some(Ordering::Equal)),
        Filter::In { field, values } => any(field, &|json| {
            values
                .iter()
                .any(|v| order(field, json, v) == Some(Ordering::Equal))
        }),
        Filter::Range { field, bounds } => any(field, &|json| {
            let above = |l: &crate::Limit| match order(field, json, &l.value) {
                Some(Ordering::Greater) => true,
                Some(Ordering::Equal) => l.inclusive,
                _ => false,
            };
            let below = |l: &crate::Limit| match order(field, json, &l.value) {
                Some(Ordering::Less) => true,
                Some(Ordering::Equal) => l.inclusive,
                _ => false,
            };
            match bounds {
                Bounds::Lower(l) => above(l),
                Bounds::Upper(l) => below(l),
                Bounds::Both(a, b) => above(a) && below(b),
            }
        }),
        Filter::Prefix { field, prefix } => any(field, &|json| {
            json.as_str().is_some_and(|s| s.starts_with(prefix.as_str()))
        }),
        Filter::GeoRadius {
            field,
            lat,
            lon,
            metres: radius,
        } => any(field, &|json| {
            let at = json["lat"].as_f64().zip(json["lon"].as_f64());
            at.is_some_and(|at| metres(at, (*lat, *lon)) <= *radius)
        }),
        Filter::GeoBox {
            field,
            south,
            west,
            north,
            east,
        } => any(field, &|json| {
            let at = json["lat"].as_f64().zip(json["lon"].as_f64());
            at.is_some_and(|(lat, lon)| {
                // Degrees east of the western edge, once round.
                let width = (east - west).rem_euclid(360.0);
                let width = if west <= east { east - west } else { width };
                (lon - west).rem_euclid(360.0) <= width && lat >= *south && lat <= *north
            })
        }),
        Filter::Exists { field } => match value_of(payload, field) {
            Json::Null => false,
            Json::Array(items) => !items.is_empty(),
            _ => true,
        },
        Filter::And(inner) => inner.iter().all(|f| oracle(f, payload)),
        Filter::Or(inner) => inner.iter().any(|f| oracle(f, payload)),
        Filter::Not(inner) => !oracle(inner, payload),
    }
}

fn word() -> impl Strategy<Value = String> {
    ("(a|ab|b|c)", 0..3u32).prop_map(|(start, n)| format!("{start}{n}"))
}

fn leaf() -> impl Strategy<Value = Filter> {
    let words = || prop::sample::select(vec!["tags", "free_tags", "author.name"]);
    let years = || prop::sample::select(vec!["year", "free_year"]);
    let prices = || prop::sample::select(vec!["price", "free_price"]);
    let opens = || prop::sample::select(vec!["open", "free_open"]);
    let places = || prop::sample::select(vec!["at", "free_at"]);
    let exists = prop::sample::select(vec![
        "tags",
        "year",
        "open",
        "when",
        "at",
        "author.name",
        "author",
        "mixed",
    ]);
    let hours = || (1..5u32, 0..24u32).prop_map(|(d, h)| format!("2024-05-0{d}T{h:02}:00:00Z"));
    let tens = |n: i32| (0..=n / 5).prop_map(move |x| f64::from(x * 10 - n));
    let circle = (places(), tens(90), tens(180), 0.0..9e6f64);
    let boxed = (places(), tens(90), tens(180), tens(90), tens(180));
    prop_oneof![
        (words(), word()).prop_map(|(f, w)| Filter::eq(f, w)),
        (words(), prop::collection::vec(word(), 0..3)).prop_map(|(f, w)| Filter::contains_any(f, w)),
        (words(), prop::collection::vec(word(), 0..3)).prop_map(|(f, w)| Filter::contains_all(f, w)),
        (words(), word(), word()).prop_map(|(f, a, b)| Filter::range(f, a..b)),
        (words(), "(a|b|ab|a1|)").prop_map(|(f, p)| Filter::prefix(f, p)),
        (years(), 1988..2000i64).prop_map(|(f, y)| Filter::gt(f, y)),
        (years(), 1988..2000i64, 0..9i64).prop_map(|(f, y, n)| Filter::range(f, y..y + n)),
        (years(), prop::collection::vec(1988..2000i64, 0..4)).prop_map(|(f, y)| Filter::is_in(f, y)),
        (years(), 3976..4000i64).prop_map(|(f, y)| Filter::lte(f, y as f64 / 2.0)),
        (prices(), 0..44i64).prop_map(|(f, x)| Filter::gte(f, x as f64 / 4.0)),
        (prices(), 0..11i64).prop_map(|(f, x)| Filter::eq(f, x)),
        (opens(), any::<bool>()).prop_map(|(f, b)| Filter::eq(f, b)),
        hours().prop_map(|t| Filter::eq("when", t)),
        (hours(), hours()).prop_map(|(a, b)| Filter::range("when", a..=b)),
        (1..5u32).prop_map(|d| Filter::lt("when", format!("2024-05-0{d}"))),
        circle.prop_map(|(f, lat, lon, metres)| Filter::geo_radius(f, (lat, lon), metres)),
        boxed.prop_map(|(f, a, west, b, east)| Filter::geo_box(f, (a.min(b), west), (a.max(b), east))),
        (1799..1806i64).prop_map(|y| Filter::gte("author.born", y)),
        (0..3i64).prop_map(|n| Filter::eq("mixed", n)),
        Just(Filter::eq("mixed", "1")),
        exists.prop_map(Filter::exists),
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

/// The ids that match.
fn matching(filter: &Filter) -> Vec<u64> {
    let snapshot = made().fixture.snapshot();
    let matches = Matches::evaluate(&snapshot, Some(filter)).unwrap();
    let mut ids = Vec::new();
    for (view, rows) in snapshot.segments().iter().zip(matches.segments()) {
        ids.extend(rows.iter().map(|row| view.segment.document_id(row).unwrap()));
    }
    for slot in matches.memtable() {
        ids.push(snapshot.memtable().get(*slot).unwrap().id.clone());
    }
    let mut ids: Vec<u64> = ids.iter().map(|id| id.to_string().parse().unwrap()).collect();
    ids.sort_unstable();
    ids
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn every_operator_means_what_the_payload_says(filter in filter()) {
        let made = made();
        let expected: Vec<u64> = (0..DOCUMENTS)
            .filter(|id| !made.deleted.contains(id))
            .filter(|id| oracle(&filter, &made.payloads[usize::try_from(*id).unwrap()]))
            .collect();
        prop_assert_eq!(matching(&filter), expected, "{}", filter);
        prop_assert_eq!(Filter::parse(&filter.to_string()).unwrap(), filter);
    }
}

#[test]
fn a_field_that_is_not_declared_is_read_from_the_payloads_that_columns_leave_open() {
    let snapshot = made().fixture.snapshot();
    let note = |text: &str| {
        let matches = Matches::evaluate(&snapshot, Some(&Filter::parse(text).unwrap())).unwrap();
        matches.note().map(str::to_owned)
    };
    assert_eq!(note("year = 1993"), None);
    let stored = 110 - made().deleted.iter().filter(|id| **id < 110).count();
    assert_eq!(
        note("free_year = 1993"),
        Some(format!("`free_year` is not indexed: {stored} payloads read"))
    );
    assert_eq!(
        note("free_year = 1993 and any()"),
        Some("`free_year` is not indexed: 0 payloads read".to_owned())
    );
    let open = matching(&Filter::parse("open = true").unwrap())
        .iter()
        .filter(|id| **id < 110)
        .count();
    assert_eq!(
        note("open = true and (free_year > 1993 or exists(nothing))"),
        Some(format!(
            "`free_year`, `nothing` are not indexed: {open} payloads read"
        ))
    );
}

#[test]
fn a_field_that_no_document_has_is_taken_for_a_mistake() {
    let snapshot = made().fixture.snapshot();
    let evaluate = |text: &str| Matches::evaluate(&snapshot, Some(&Filter::parse(text).unwrap()));
    for text in [
        "yaer = 1993",
        "not author.nmae prefix \"a\"",
        "any() and nowhere > 1",
    ] {
        let error = evaluate(text).unwrap_err();
        assert!(matches!(error, QueryError::UnknownField { .. }), "{text}");
    }
    // Whether a field is there may be asked of any.
    assert_eq!(evaluate("exists(nowhere)").unwrap().count(), 0);
    // A document outside of what the columns leave open may have it.
    assert_eq!(evaluate("any() and free_year = 1993").unwrap().count(), 0);
}
