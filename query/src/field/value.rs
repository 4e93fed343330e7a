//! One value of a field, and the order of values.

use std::borrow::Cow;
use std::cmp::Ordering;

use latewood_storage::{ColumnView, FieldType, datetime_of, format_datetime};
use serde_json::Value as Json;

use crate::filter::compare_whole;

/// A value that has an order among others: of different kinds the order is that of the variants, numbers being one kind.
#[derive(Clone, Debug)]
pub(super) enum FieldValue<'a> {
    Bool(bool),
    Int(i64),
    /// No NaN.
    Float(f64),
    /// Microseconds since 1970.
    Moment(i64),
    Str(Cow<'a, str>),
}

impl FieldValue<'_> {
    pub(super) fn to_json(&self) -> Json {
        match self {
            Self::Bool(b) => (*b).into(),
            Self::Int(n) => (*n).into(),
            Self::Float(x) => (*x).into(),
            Self::Moment(at) => format_datetime(*at).into(),
            Self::Str(s) => s.as_ref().into(),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Int(_) | Self::Float(_) => 1,
            Self::Moment(_) => 2,
            Self::Str(_) => 3,
        }
    }
}

impl Ord for FieldValue<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let whole = |x: f64, n: i64| compare_whole(x, i128::from(n)).unwrap_or(Ordering::Equal);
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) | (Self::Moment(a), Self::Moment(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Self::Float(a), Self::Int(b)) => whole(*a, *b),
            (Self::Int(a), Self::Float(b)) => whole(*b, *a).reverse(),
            (Self::Str(a), Self::Str(b)) => a.cmp(b),
            (a, b) => a.kind().cmp(&b.kind()),
        }
    }
}

impl PartialOrd for FieldValue<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for FieldValue<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for FieldValue<'_> {}

/// The values of a row: several of keywords, at most one of others, none of places, which have no order.
pub(super) fn of_column<'s>(column: &ColumnView<'s>, row: u32) -> Vec<FieldValue<'s>> {
    let one = match column {
        ColumnView::Keyword(column) => {
            let terms = column.terms_of(row).iter().map(|&term| column.term(term));
            return terms.map(|term| FieldValue::Str(Cow::Borrowed(term))).collect();
        }
        ColumnView::Int(column) => column.get(row).map(FieldValue::Int),
        ColumnView::Float(column) => column.get(row).map(FieldValue::Float),
        ColumnView::Bool(column) => column.get(row).map(FieldValue::Bool),
        ColumnView::Datetime(column) => column.get(row).map(FieldValue::Moment),
        ColumnView::Geo(_) => None,
    };
    one.into_iter().collect()
}

/// The values of a payload's field, each once, ascending. `kind` is that of a declared one.
pub(super) fn of_payload<'s>(json: Option<&Json>, kind: Option<FieldType>) -> Vec<FieldValue<'s>> {
    let one = |json: &Json| match (kind, json) {
        (Some(FieldType::Datetime), json) => datetime_of(json).map(FieldValue::Moment),
        (Some(FieldType::Float), json) => json.as_f64().map(FieldValue::Float),
        (_, Json::Bool(b)) => Some(FieldValue::Bool(*b)),
        (_, Json::Number(n)) => n
            .as_i64()
            .map(FieldValue::Int)
            .or_else(|| n.as_f64().map(FieldValue::Float)),
        (_, Json::String(s)) => Some(FieldValue::Str(Cow::Owned(s.clone()))),
        (_, Json::Null | Json::Array(_) | Json::Object(_)) => None,
    };
    let mut values: Vec<_> = match json {
        Some(Json::Array(items)) => items.iter().filter_map(one).collect(),
        Some(json) => one(json).into_iter().collect(),
        None => Vec::new(),
    };
    values.sort_unstable();
    values.dedup();
    values
}
