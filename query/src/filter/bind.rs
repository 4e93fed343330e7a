//! A filter checked against a schema: every field known, every value of the field's type, ranges of integers closed.

use std::collections::HashSet;
use std::ops::Bound;

use latewood_storage::{FieldSpec, FieldType, Payload, Schema, field_of, parse_datetime};

use super::{Area, Bounds, Filter, Limit, MAX_FILTER_DEPTH, Test, Value, untyped};
use crate::error::QueryError;

/// A filter that fits the schema. It can be asked of a payload or of a segment's columns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Predicate {
    /// A comparison of a field that the schema declares, which has a column.
    Declared {
        field: String,
        test: Test,
    },
    /// A comparison of a field that it does not declare: the filter itself, of one field.
    Undeclared {
        field: String,
        leaf: Filter,
    },
    All(Vec<Predicate>),
    Any(Vec<Predicate>),
    Not(Box<Predicate>),
}

impl Predicate {
    /// Checks a filter against the schema.
    pub(crate) fn bind(filter: &Filter, schema: &Schema) -> Result<Self, QueryError> {
        bind(filter, schema, 0)
    }

    /// Whether a payload satisfies the predicate.
    pub(crate) fn matches(&self, payload: &Payload) -> bool {
        match self {
            Self::Declared { field, test } => test.holds(field_of(payload, field)),
            Self::Undeclared { field, leaf } => untyped::holds(leaf, field_of(payload, field)),
            Self::All(inner) => inner.iter().all(|p| p.matches(payload)),
            Self::Any(inner) => inner.iter().any(|p| p.matches(payload)),
            Self::Not(inner) => !inner.matches(payload),
        }
    }
}

fn bind(filter: &Filter, schema: &Schema, depth: usize) -> Result<Predicate, QueryError> {
    if depth > MAX_FILTER_DEPTH {
        return Err(QueryError::FilterTooDeep {
            limit: MAX_FILTER_DEPTH,
        });
    }
    let inner = |filters: &[Filter]| -> Result<Vec<Predicate>, QueryError> {
        filters.iter().map(|f| bind(f, schema, depth + 1)).collect()
    };
    match filter {
        Filter::And(filters) => Ok(Predicate::All(inner(filters)?)),
        Filter::Or(filters) => Ok(Predicate::Any(inner(filters)?)),
        Filter::Not(negated) => Ok(Predicate::Not(Box::new(bind(negated, schema, depth + 1)?))),
        Filter::Eq { field, .. }
        | Filter::In { field, .. }
        | Filter::Range { field, .. }
        | Filter::Prefix { field, .. }
        | Filter::GeoRadius { field, .. }
        | Filter::GeoBox { field, .. }
        | Filter::Exists { field } => match schema.fields.iter().find(|spec| spec.name == *field) {
            Some(spec) => Ok(Predicate::Declared {
                field: field.clone(),
                test: test(filter, spec)?,
            }),
            None => undeclared(field, filter),
        },
    }
}

/// A comparison of a declared field.
fn test(leaf: &Filter, spec: &FieldSpec) -> Result<Test, QueryError> {
    match leaf {
        Filter::Eq { value, .. } => one_of(spec, std::slice::from_ref(value)),
        Filter::In { values, .. } => one_of(spec, values),
        Filter::Range { bounds, .. } => range(spec, bounds),
        Filter::Prefix { prefix, .. } if spec.kind == FieldType::Keyword => {
            Ok(Test::KeywordPrefix(prefix.clone()))
        }
        Filter::Prefix { prefix, .. } => Err(mismatch(spec, format!("the prefix {prefix:?}"))),
        Filter::GeoRadius { .. } | Filter::GeoBox { .. } => match Area::of(leaf) {
            Some(area) if spec.kind == FieldType::Geo => Ok(Test::Within(area?)),
            _ => Err(mismatch(spec, "a region".to_owned())),
        },
        Filter::Exists { .. } | Filter::And(_) | Filter::Or(_) | Filter::Not(_) => Ok(Test::Exists),
    }
}

/// A comparison of a field that is not declared: any value may be there, but what is compared must be a value.
fn undeclared(field: &str, leaf: &Filter) -> Result<Predicate, QueryError> {
    if let Some(Err(error)) = Area::of(leaf) {
        return Err(error);
    }
    Ok(Predicate::Undeclared {
        field: field.to_owned(),
        leaf: leaf.clone(),
    })
}

/// The error for a field that the schema does not declare and no document has.
pub(super) fn unknown_field(field: &str, schema: &Schema) -> QueryError {
    let names: Vec<_> = schema
        .fields
        .iter()
        .map(|spec| format!("`{}`", spec.name))
        .collect();
    let known = if names.is_empty() {
        "it declares none: declare fields to filter on when the collection is created".to_owned()
    } else {
        format!("it declares {}", names.join(", "))
    };
    QueryError::UnknownField {
        field: field.to_owned(),
        known,
    }
}

/// The error for a value that does not fit the field.
fn misfit(spec: &FieldSpec, value: &Value) -> QueryError {
    mismatch(spec, format!("{} ({value})", value.kind()))
}

fn mismatch(spec: &FieldSpec, value: String) -> QueryError {
    let (declared, cure) = match spec.kind {
        FieldType::Keyword => ("a keyword field", "give a string in quotes"),
        FieldType::Int => ("an integer field", "give a number"),
        FieldType::Float => ("a float field", "give a finite number"),
        FieldType::Bool => ("a bool field", "give true or false, with = or in"),
        FieldType::Datetime => (
            "a datetime field",
            "give a date or time in quotes, such as \"2024-05-01\" or \"2024-05-01T12:30:00Z\"",
        ),
        FieldType::Geo => (
            "a geo field",
            "ask with geo_radius(field, lat, lon, metres), geo_box(field, south, west, north, east) or exists(field)",
        ),
        _ => (
            "a field of a type that this version cannot filter on",
            "leave the field out of the filter",
        ),
    };
    QueryError::FieldType {
        field: spec.name.clone(),
        declared,
        value,
        cure,
    }
}

fn as_float(spec: &FieldSpec, value: &Value) -> Result<f64, QueryError> {
    match value {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a float field compares with the nearest float"
        )]
        Value::Int(n) => Ok(*n as f64),
        Value::Float(x) if x.is_finite() => Ok(*x),
        _ => Err(misfit(spec, value)),
    }
}

fn as_keyword(spec: &FieldSpec, value: &Value) -> Result<String, QueryError> {
    match value {
        Value::Str(word) => Ok(word.clone()),
        _ => Err(misfit(spec, value)),
    }
}

/// Microseconds since 1970: those of years 0 to 9999, so that one more or less is one as well.
fn as_moment(spec: &FieldSpec, value: &Value) -> Result<i64, QueryError> {
    match value {
        Value::Str(text) => parse_datetime(text).ok_or_else(|| misfit(spec, value)),
        _ => Err(misfit(spec, value)),
    }
}

/// A float that is exactly an integer of 64 bits.
fn whole(x: f64) -> Option<i64> {
    // 2^63 is a float, and the first one outside.
    let limit = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "in range and without a fraction")]
    (x.fract() == 0.0 && x >= -limit && x < limit).then_some(x as i64)
}

fn one_of(spec: &FieldSpec, values: &[Value]) -> Result<Test, QueryError> {
    match spec.kind {
        FieldType::Keyword => {
            let any = values
                .iter()
                .map(|v| as_keyword(spec, v))
                .collect::<Result<_, _>>()?;
            Ok(Test::Keywords(any))
        }
        FieldType::Int => {
            let mut any = HashSet::new();
            for value in values {
                match value {
                    Value::Int(n) => any.extend([*n]),
                    Value::Float(x) if x.is_finite() => any.extend(whole(*x)),
                    _ => return Err(misfit(spec, value)),
                }
            }
            Ok(Test::Ints(any))
        }
        FieldType::Float => {
            let any = values
                .iter()
                .map(|v| as_float(spec, v))
                .collect::<Result<_, _>>()?;
            Ok(Test::Floats(any))
        }
        FieldType::Bool => {
            let mut any = [false; 2];
            for value in values {
                let Value::Bool(b) = value else {
                    return Err(misfit(spec, value));
                };
                any[usize::from(*b)] = true;
            }
            Ok(Test::Bools(any))
        }
        FieldType::Datetime => {
            let any = values
                .iter()
                .map(|v| as_moment(spec, v))
                .collect::<Result<_, _>>()?;
            Ok(Test::Moments(any))
        }
        _ => Err(misfit(spec, values.first().unwrap_or(&Value::Bool(true)))),
    }
}

fn range(spec: &FieldSpec, bounds: &Bounds) -> Result<Test, QueryError> {
    let (lower, upper) = bounds.limits();
    match spec.kind {
        FieldType::Keyword => {
            let bound = |limit| bound(limit, |value| as_keyword(spec, value));
            Ok(Test::KeywordRange(bound(lower)?, bound(upper)?))
        }
        FieldType::Float => {
            let bound = |limit| bound(limit, |value| as_float(spec, value));
            Ok(Test::FloatRange(bound(lower)?, bound(upper)?))
        }
        FieldType::Int => {
            let least = lower.map_or(Ok(Some(i64::MIN)), |limit| least_int(spec, limit))?;
            let most = upper.map_or(Ok(Some(i64::MAX)), |limit| most_int(spec, limit))?;
            // An empty range is one whose ends have crossed.
            let (least, most) = least.zip(most).unwrap_or((1, 0));
            Ok(Test::IntRange(least, most))
        }
        FieldType::Datetime => {
            let step = |limit: &Limit, towards: i64| {
                let at = as_moment(spec, &limit.value)?;
                Ok::<i64, QueryError>(if limit.inclusive { at } else { at + towards })
            };
            let least = lower.map_or(Ok(i64::MIN), |limit| step(limit, 1))?;
            let most = upper.map_or(Ok(i64::MAX), |limit| step(limit, -1))?;
            Ok(Test::MomentRange(least, most))
        }
        _ => Err(misfit(
            spec,
            lower.or(upper).map_or(&Value::Bool(true), |limit| &limit.value),
        )),
    }
}

fn bound<T>(
    limit: Option<&Limit>,
    convert: impl Fn(&Value) -> Result<T, QueryError>,
) -> Result<Bound<T>, QueryError> {
    Ok(match limit {
        Some(limit) if limit.inclusive => Bound::Included(convert(&limit.value)?),
        Some(limit) => Bound::Excluded(convert(&limit.value)?),
        None => Bound::Unbounded,
    })
}

/// The smallest integer above a lower limit, if there is one.
fn least_int(spec: &FieldSpec, limit: &Limit) -> Result<Option<i64>, QueryError> {
    match &limit.value {
        Value::Int(n) if limit.inclusive => Ok(Some(*n)),
        Value::Int(n) => Ok(n.checked_add(1)),
        Value::Float(x) if x.is_finite() => Ok(match whole(x.ceil()) {
            Some(n) if !limit.inclusive && x.fract() == 0.0 => n.checked_add(1),
            Some(n) => Some(n),
            None => (*x < 0.0).then_some(i64::MIN),
        }),
        value => Err(misfit(spec, value)),
    }
}

/// The largest integer below an upper limit, if there is one.
fn most_int(spec: &FieldSpec, limit: &Limit) -> Result<Option<i64>, QueryError> {
    match &limit.value {
        Value::Int(n) if limit.inclusive => Ok(Some(*n)),
        Value::Int(n) => Ok(n.checked_sub(1)),
        Value::Float(x) if x.is_finite() => Ok(match whole(x.floor()) {
            Some(n) if !limit.inclusive && x.fract() == 0.0 => n.checked_sub(1),
            Some(n) => Some(n),
            None => (*x > 0.0).then_some(i64::MAX),
        }),
        value => Err(misfit(spec, value)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn schema() -> Schema {
        let field = |name: &str, kind| FieldSpec {
            name: name.to_owned(),
            kind,
        };
        Schema {
            fields: vec![
                field("tag", FieldType::Keyword),
                field("year", FieldType::Int),
                field("price", FieldType::Float),
                field("open", FieldType::Bool),
                field("when", FieldType::Datetime),
                field("at", FieldType::Geo),
                field("author.name", FieldType::Keyword),
            ],
            ..Schema::default()
        }
    }

    fn holds(filter: &str, payload: &Json) -> bool {
        let filter = Filter::parse(filter).unwrap();
        Predicate::bind(&filter, &schema())
            .unwrap()
            .matches(payload.as_object().unwrap())
    }

    #[test]
    fn comparisons_by_type() {
        let payload = json!({
            "tag": ["b", "c"], "year": 2000, "price": 2.5, "open": true, "when": "2024-05-01T02:00:00+02:00",
            "at": {"lat": 52.5, "lon": 13.4}, "author": {"name": "Ada", "born": 1815}, "free": [1, "x"],
        });
        for filter in [
            "tag = \"b\"",
            "tag in (\"x\", \"c\")",
            "tag > \"bz\"",
            "\"a\" < tag <= \"b\"",
            "year = 2000",
            "year = 2000.0",
            "year > 1999.5",
            "year >= 2000",
            "year <= 2000.0",
            "1999 < year < 2001",
            "price = 2.5",
            "price > 2",
            "price < 3",
            "open = true",
            "open in (false, true)",
            "exists(tag)",
            "not year = 1",
            "all()",
            "year > -1e300",
            "year < 1e300",
            "tag prefix \"b\"",
            "tag contains \"c\"",
            "tag contains any (\"x\", \"c\")",
            "tag contains all (\"b\", \"c\")",
            "tag not contains all (\"b\", \"d\")",
            "tag not prefix \"d\"",
            "when = \"2024-05-01\"",
            "when >= \"2024-05-01T00:00:00Z\"",
            "\"2024-04-30\" < when < \"2024-05-02\"",
            "when in (\"2024-05-01T00:00:00Z\")",
            "geo_radius(at, 52.52, 13.405, 5000)",
            "geo_box(at, 50, 10, 53, 14)",
            "author.name = \"Ada\"",
            "author.born < 1900",
            "free contains 1 and free contains \"x\"",
            "exists(author.born)",
        ] {
            assert!(holds(filter, &payload), "{filter}");
        }
        for filter in [
            "tag = \"a\"",
            "tag < \"b\"",
            "year = 2000.5",
            "year > 2000",
            "year > 2000.0",
            "year < 2000.0",
            "year < 2000",
            "year in ()",
            "price > 2.5",
            "open = false",
            "any()",
            "not exists(tag)",
            "year > 9223372036854775807",
            "year > 1e300",
            "year < -1e300",
            "tag prefix \"d\"",
            "tag contains all (\"b\", \"d\")",
            "when > \"2024-05-01\"",
            "when < \"2024-05-01\"",
            "geo_radius(at, 52.52, 13.405, 100)",
            "geo_box(at, 50, 14, 53, 10)",
            "author.name prefix \"B\"",
            "author.born >= 1900",
            "free contains 2",
        ] {
            assert!(!holds(filter, &payload), "{filter}");
        }
    }

    #[test]
    fn a_missing_or_null_field_matches_only_negations() {
        for payload in [json!({}), json!({"year": null})] {
            assert!(!holds("year = 1", &payload));
            assert!(!holds("year < 1", &payload));
            assert!(!holds("exists(year)", &payload));
            assert!(holds("not year = 1", &payload));
        }
    }

    #[test]
    fn unknown_fields_and_wrong_types_are_refused() {
        let bind = |text: &str| Predicate::bind(&Filter::parse(text).unwrap(), &schema());
        let error = unknown_field("yaer", &schema()).to_string();
        assert!(error.contains("`yaer`") && error.contains("`year`"), "{error}");
        assert!(bind("yaer = 1").is_ok(), "the payloads may have it");
        for text in [
            "year = \"2000\"",
            "tag = 1",
            "price = true",
            "open = 1",
            "open > true",
            "tag > 1",
            "year < \"b\"",
            "year prefix \"2\"",
            "when = 5",
            "when > \"yesterday\"",
            "at = 1",
            "at < 2",
            "year in (1, \"x\")",
            "geo_radius(tag, 1, 1, 1)",
        ] {
            assert!(matches!(bind(text), Err(QueryError::FieldType { .. })), "{text}");
        }
        let infinite = Predicate::bind(&Filter::eq("price", f64::INFINITY), &schema());
        assert!(matches!(infinite, Err(QueryError::FieldType { .. })));
    }

    #[test]
    fn a_filter_built_too_deep_is_refused() {
        let deep = (0..1_000).fold(Filter::eq("year", 1), |filter, _| !filter);
        assert!(matches!(
            Predicate::bind(&deep, &schema()),
            Err(QueryError::FilterTooDeep { .. })
        ));
    }
}
