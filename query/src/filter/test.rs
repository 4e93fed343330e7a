//! What a comparison asks of a field of a declared type.

use std::collections::{BTreeSet, HashSet};
use std::ops::{Bound, RangeBounds};

use latewood_storage::{datetime_of, geo_of};
use serde_json::Value as Json;

use super::Area;

/// A comparison whose values are of the field's type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Test {
    /// One of the field's keywords is one of these.
    Keywords(BTreeSet<String>),
    /// One of the field's keywords lies between these.
    KeywordRange(Bound<String>, Bound<String>),
    /// One of the field's keywords begins like this.
    KeywordPrefix(String),
    /// The integer is one of these.
    Ints(HashSet<i64>),
    /// The integer lies between these, both included; none does where they have crossed.
    IntRange(i64, i64),
    /// The float is one of these.
    Floats(Vec<f64>),
    /// The float lies between these.
    FloatRange(Bound<f64>, Bound<f64>),
    /// The bool is one of these.
    Bools([bool; 2]),
    /// The moment is one of these.
    Moments(HashSet<i64>),
    /// The moment lies between these, both included; none does where they have crossed.
    MomentRange(i64, i64),
    /// The place lies here.
    Within(Area),
    /// The field has a value.
    Exists,
}

impl Test {
    /// Whether the value of a payload's field satisfies it.
    pub(super) fn holds(&self, value: Option<&Json>) -> bool {
        match self {
            Self::Keywords(any) => keywords(value).any(|word| any.contains(word)),
            Self::KeywordRange(lower, upper) => keywords(value).any(|word| within(word, lower, upper)),
            Self::KeywordPrefix(prefix) => keywords(value).any(|word| word.starts_with(prefix.as_str())),
            Self::Ints(any) => value.and_then(Json::as_i64).is_some_and(|n| any.contains(&n)),
            Self::IntRange(least, most) => value
                .and_then(Json::as_i64)
                .is_some_and(|n| (*least..=*most).contains(&n)),
            Self::Floats(any) => value.and_then(Json::as_f64).is_some_and(|x| any.contains(&x)),
            Self::FloatRange(lower, upper) => value
                .and_then(Json::as_f64)
                .is_some_and(|x| (*lower, *upper).contains(&x)),
            Self::Bools(any) => value.and_then(Json::as_bool).is_some_and(|b| any[usize::from(b)]),
            Self::Moments(any) => value.and_then(datetime_of).is_some_and(|n| any.contains(&n)),
            Self::MomentRange(least, most) => value
                .and_then(datetime_of)
                .is_some_and(|n| (*least..=*most).contains(&n)),
            Self::Within(area) => value.and_then(geo_of).is_some_and(|at| area.contains(at)),
            Self::Exists => match value {
                None | Some(Json::Null) => false,
                Some(Json::Array(values)) => !values.is_empty(),
                Some(_) => true,
            },
        }
    }
}

/// Whether a keyword lies between two bounds, by its bytes.
fn within(word: &str, lower: &Bound<String>, upper: &Bound<String>) -> bool {
    let bounds = (
        lower.as_ref().map(String::as_str),
        upper.as_ref().map(String::as_str),
    );
    RangeBounds::<str>::contains(&bounds, word)
}

fn keywords(value: Option<&Json>) -> impl Iterator<Item = &str> {
    let (one, many) = match value {
        Some(Json::String(word)) => (Some(word.as_str()), &[][..]),
        Some(Json::Array(words)) => (None, words.as_slice()),
        _ => (None, &[][..]),
    };
    one.into_iter().chain(many.iter().filter_map(Json::as_str))
}
