//! A filter checked against a schema: every field known, every value of the field's type, ranges of integers closed.

use std::collections::{BTreeSet, HashSet};
use std::ops::Bound;

use latewood_storage::{FieldSpec, FieldType, Schema};
use serde_json::Value as Json;

use super::{Bounds, Filter, Limit, MAX_FILTER_DEPTH, Value};
use crate::error::QueryError;

/// A filter that fits the schema. It can be asked of a payload or of a segment's columns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Predicate {
    /// One of the field's keywords is one of these.
    Keywords {
        field: String,
        any: BTreeSet<String>,
    },
    /// One of the field's keywords lies between these.
    KeywordRange {
        field: String,
        lower: Bound<String>,
        upper: Bound<String>,
    },
    /// The integer is one of these.
    Ints {
        field: String,
        any: HashSet<i64>,
    },
    /// The integer lies between these, both included.
    IntRange {
        field: String,
        least: i64,
        most: i64,
    },
    /// The float is one of these.
    Floats {
        field: String,
        any: Vec<f64>,
    },
    /// The float lies between these.
    FloatRange {
        field: String,
        lower: Bound<f64>,
        upper: Bound<f64>,
    },
    /// The bool is one of these.
    Bools {
        field: String,
        any: [bool; 2],
    },
    /// The field has a value.
    Exists {
        field: String,
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
    pub(crate) fn matches(&self, payload: &serde_json::Map<String, Json>) -> bool {
        match self {
            Self::Keywords { field, any } => keywords(payload.get(field)).any(|word| any.contains(word)),
            Self::KeywordRange { field, lower, upper } => {
                keywords(payload.get(field)).any(|word| within(word, lower, upper))
            }
            Self::Ints { field, any } => int(payload.get(field)).is_some_and(|n| any.contains(&n)),
            Self::IntRange { field, least, most } => {
                int(payload.get(field)).is_some_and(|n| (*least..=*most).contains(&n))
            }
            Self::Floats { field, any } => float(payload.get(field)).is_some_and(|x| any.contains(&x)),
            Self::FloatRange { field, lower, upper } => {
                float(payload.get(field)).is_some_and(|x| (*lower, *upper).contains_float(x))
            }
            Self::Bools { field, any } => payload
                .get(field)
                .and_then(Json::as_bool)
                .is_some_and(|b| any[usize::from(b)]),
            Self::Exists { field } => match payload.get(field) {
                None | Some(Json::Null) => false,
                Some(Json::Array(values)) => !values.is_empty(),
                Some(_) => true,
            },
            Self::All(inner) => inner.iter().all(|p| p.matches(payload)),
            Self::Any(inner) => inner.iter().any(|p| p.matches(payload)),
            Self::Not(inner) => !inner.matches(payload),
        }
    }
}

/// Whether a float lies between two bounds.
pub(super) trait ContainsFloat {
    fn contains_float(&self, x: f64) -> bool;
}

impl ContainsFloat for (Bound<f64>, Bound<f64>) {
    fn contains_float(&self, x: f64) -> bool {
        std::ops::RangeBounds::contains(self, &x)
    }
}

/// Whether a keyword lies between two bounds, by its bytes.
pub(super) fn within(word: &str, lower: &Bound<String>, upper: &Bound<String>) -> bool {
    let above = match lower {
        Bound::Included(low) => word >= low.as_str(),
        Bound::Excluded(low) => word > low.as_str(),
        Bound::Unbounded => true,
    };
    let below = match upper {
        Bound::Included(high) => word <= high.as_str(),
        Bound::Excluded(high) => word < high.as_str(),
        Bound::Unbounded => true,
    };
    above && below
}

fn keywords(value: Option<&Json>) -> impl Iterator<Item = &str> {
    let (one, many) = match value {
        Some(Json::String(word)) => (Some(word.as_str()), &[][..]),
        Some(Json::Array(words)) => (None, words.as_slice()),
        _ => (None, &[][..]),
    };
    one.into_iter().chain(many.iter().filter_map(Json::as_str))
}

fn int(value: Option<&Json>) -> Option<i64> {
    value.and_then(Json::as_i64)
}

fn float(value: Option<&Json>) -> Option<f64> {
    value.and_then(Json::as_f64)
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
    Ok(match filter {
        Filter::Eq { field, value } => one_of(known(field, schema)?, std::slice::from_ref(value))?,
        Filter::In { field, values } => one_of(known(field, schema)?, values)?,
        Filter::Range { field, bounds } => range(known(field, schema)?, bounds)?,
        Filter::Exists { field } => Predicate::Exists {
            field: known(field, schema)?.name.clone(),
        },
        Filter::And(filters) => Predicate::All(inner(filters)?),
        Filter::Or(filters) => Predicate::Any(inner(filters)?),
        Filter::Not(negated) => Predicate::Not(Box::new(bind(negated, schema, depth + 1)?)),
    })
}

fn known<'a>(field: &str, schema: &'a Schema) -> Result<&'a FieldSpec, QueryError> {
    schema
        .fields
        .iter()
        .find(|spec| spec.name == field)
        .ok_or_else(|| {
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
        })
}

/// The error for a value that does not fit the field.
fn misfit(spec: &FieldSpec, value: &Value) -> QueryError {
    let (declared, cure) = match spec.kind {
        FieldType::Keyword => ("a keyword field", "give a string in quotes"),
        FieldType::Int => ("an integer field", "give a number"),
        FieldType::Float => ("a float field", "give a finite number"),
        FieldType::Bool => ("a bool field", "give true or false, with = or in"),
        _ => (
            "a field of a type that this version cannot filter on",
            "leave the field out of the filter",
        ),
    };
    let value = format!("{} ({value})", value.kind());
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

/// A float that is exactly an integer of 64 bits.
fn whole(x: f64) -> Option<i64> {
    // 2^63 is a float, and the first one outside.
    let limit = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "in range and without a fraction")]
    (x.fract() == 0.0 && x >= -limit && x < limit).then_some(x as i64)
}

fn one_of(spec: &FieldSpec, values: &[Value]) -> Result<Predicate, QueryError> {
    let field = spec.name.clone();
    match spec.kind {
        FieldType::Keyword => {
            let any = values
                .iter()
                .map(|v| as_keyword(spec, v))
                .collect::<Result<_, _>>()?;
            Ok(Predicate::Keywords { field, any })
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
            Ok(Predicate::Ints { field, any })
        }
        FieldType::Float => {
            let any = values
                .iter()
                .map(|v| as_float(spec, v))
                .collect::<Result<_, _>>()?;
            Ok(Predicate::Floats { field, any })
        }
        FieldType::Bool => {
            let mut any = [false; 2];
            for value in values {
                let Value::Bool(b) = value else {
                    return Err(misfit(spec, value));
                };
                any[usize::from(*b)] = true;
            }
            Ok(Predicate::Bools { field, any })
        }
        _ => Err(misfit(spec, values.first().unwrap_or(&Value::Bool(true)))),
    }
}

fn range(spec: &FieldSpec, bounds: &Bounds) -> Result<Predicate, QueryError> {
    let field = spec.name.clone();
    let (lower, upper) = bounds.limits();
    match spec.kind {
        FieldType::Keyword => {
            let bound = |limit| bound(limit, |value| as_keyword(spec, value));
            Ok(Predicate::KeywordRange {
                field,
                lower: bound(lower)?,
                upper: bound(upper)?,
            })
        }
        FieldType::Float => {
            let bound = |limit| bound(limit, |value| as_float(spec, value));
            Ok(Predicate::FloatRange {
                field,
                lower: bound(lower)?,
                upper: bound(upper)?,
            })
        }
        FieldType::Int => {
            let least = lower.map_or(Ok(Some(i64::MIN)), |limit| least_int(spec, limit))?;
            let most = upper.map_or(Ok(Some(i64::MAX)), |limit| most_int(spec, limit))?;
            // An empty range is one whose ends have crossed.
            let (least, most) = least.zip(most).unwrap_or((1, 0));
            Ok(Predicate::IntRange { field, least, most })
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
    use serde_json::json;

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
        let payload = json!({"tag": ["b", "c"], "year": 2000, "price": 2.5, "open": true});
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
        let error = bind("yaer = 1").unwrap_err().to_string();
        assert!(error.contains("`yaer`") && error.contains("`year`"), "{error}");
        for text in [
            "year = \"2000\"",
            "tag = 1",
            "price = true",
            "open = 1",
            "open > true",
            "tag > 1",
            "year < \"b\"",
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
