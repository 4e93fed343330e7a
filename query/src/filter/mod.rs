//! Filters: which documents may be hits at all, by the fields of their payload.
//!
//! A filter is written as text (`section = "python" and year >= 2020`) or built (`Filter::eq("section", "python")`).
//! A document without the field matches no comparison of it, and so it does match the comparison's negation.

mod area;
mod bind;
mod bits;
mod display;
mod evaluate;
mod lexer;
mod matches;
mod parse;
mod test;
mod undeclared;
mod untyped;
mod value;

pub(crate) use area::Area;
pub(crate) use bind::Predicate;
pub use matches::{Matches, SegmentMatches};
pub(crate) use test::Test;
pub(crate) use undeclared::Undeclared;
pub(crate) use untyped::compare_whole;
pub use value::Value;

use std::ops::{Bound, RangeBounds};

use serde::{Deserialize, Serialize};

use crate::error::QueryError;

/// How deep a filter may nest.
pub const MAX_FILTER_DEPTH: usize = 64;

/// A condition on payload fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// The field equals the value; a field that holds an array contains it.
    Eq {
        /// The payload field.
        field: String,
        /// What it is compared with.
        value: Value,
    },
    /// The field equals one of the values; a field that holds an array contains one of them.
    In {
        /// The payload field.
        field: String,
        /// What it is compared with.
        values: Vec<Value>,
    },
    /// The field lies within the bounds. Keywords are compared by their bytes.
    Range {
        /// The payload field.
        field: String,
        /// Where it must lie.
        bounds: Bounds,
    },
    /// A string begins with this, by its bytes; of an array, one of its strings does.
    Prefix {
        /// The payload field.
        field: String,
        /// How it begins.
        prefix: String,
    },
    /// The place is at most so many metres from another, on a sphere.
    #[serde(rename = "geo_radius")]
    GeoRadius {
        /// The payload field.
        field: String,
        /// Latitude of the centre in degrees, -90 to 90.
        lat: f64,
        /// Longitude of the centre in degrees, -180 to 180.
        lon: f64,
        /// The radius; at least 0.
        metres: f64,
    },
    /// The place lies in a box of latitudes and longitudes, its edges included. A box whose east is less than its west
    /// crosses the antimeridian.
    #[serde(rename = "geo_box")]
    GeoBox {
        /// The payload field.
        field: String,
        /// The least latitude in degrees.
        south: f64,
        /// The longitude at which it begins, going east.
        west: f64,
        /// The largest latitude in degrees.
        north: f64,
        /// The longitude at which it ends.
        east: f64,
    },
    /// The field has a value: it is there, not null, and no empty array.
    Exists {
        /// The payload field.
        field: String,
    },
    /// All of them hold; true when there are none.
    And(Vec<Filter>),
    /// One of them holds; false when there are none.
    Or(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
}

/// The bounds of a range: at least one of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bounds {
    /// No upper bound.
    Lower(Limit),
    /// No lower bound.
    Upper(Limit),
    /// Lower and upper bound.
    Both(Limit, Limit),
}

/// One bound of a range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// The bound.
    pub value: Value,
    /// Whether the bound itself is within.
    pub inclusive: bool,
}

impl Bounds {
    /// The lower and the upper bound.
    pub fn limits(&self) -> (Option<&Limit>, Option<&Limit>) {
        match self {
            Self::Lower(lower) => (Some(lower), None),
            Self::Upper(upper) => (None, Some(upper)),
            Self::Both(lower, upper) => (Some(lower), Some(upper)),
        }
    }
}

impl Filter {
    /// Reads a filter from text, as docs/query.md defines it:
    /// `section = "python" and installed_kib >= 100 and (tags in ("a", "b") or not priority = "extra")`.
    ///
    /// # Errors
    /// [`QueryError::FilterSyntax`] with the column, [`QueryError::FilterTooDeep`].
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        parse::parse(text)
    }

    /// The field equals the value, or is an array that contains it.
    pub fn eq(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::Eq {
            field: field.into(),
            value: value.into(),
        }
    }

    /// The field equals one of the values, or is an array that contains one of them.
    pub fn is_in<V: Into<Value>>(field: impl Into<String>, values: impl IntoIterator<Item = V>) -> Self {
        Self::In {
            field: field.into(),
            values: values.into_iter().map(Into::into).collect(),
        }
    }

    /// The field lies in the range: `Filter::range("year", 2020..)`. An unbounded range asks only that the field exists.
    pub fn range<V: Into<Value> + Clone>(field: impl Into<String>, range: impl RangeBounds<V>) -> Self {
        let limit = |bound: Bound<&V>| match bound {
            Bound::Included(value) => Some(Limit {
                value: value.clone().into(),
                inclusive: true,
            }),
            Bound::Excluded(value) => Some(Limit {
                value: value.clone().into(),
                inclusive: false,
            }),
            Bound::Unbounded => None,
        };
        let field = field.into();
        match (limit(range.start_bound()), limit(range.end_bound())) {
            (Some(lower), Some(upper)) => Self::Range {
                field,
                bounds: Bounds::Both(lower, upper),
            },
            (Some(lower), None) => Self::Range {
                field,
                bounds: Bounds::Lower(lower),
            },
            (None, Some(upper)) => Self::Range {
                field,
                bounds: Bounds::Upper(upper),
            },
            (None, None) => Self::Exists { field },
        }
    }

    /// The field is greater than the value.
    pub fn gt(field: impl Into<String>, value: impl Into<Value>) -> Self {
        let bounds = Bounds::Lower(Limit {
            value: value.into(),
            inclusive: false,
        });
        Self::Range {
            field: field.into(),
            bounds,
        }
    }

    /// The field is the value or greater.
    pub fn gte(field: impl Into<String>, value: impl Into<Value>) -> Self {
        let bounds = Bounds::Lower(Limit {
            value: value.into(),
            inclusive: true,
        });
        Self::Range {
            field: field.into(),
            bounds,
        }
    }

    /// The field is less than the value.
    pub fn lt(field: impl Into<String>, value: impl Into<Value>) -> Self {
        let bounds = Bounds::Upper(Limit {
            value: value.into(),
            inclusive: false,
        });
        Self::Range {
            field: field.into(),
            bounds,
        }
    }

    /// The field is the value or less.
    pub fn lte(field: impl Into<String>, value: impl Into<Value>) -> Self {
        let bounds = Bounds::Upper(Limit {
            value: value.into(),
            inclusive: true,
        });
        Self::Range {
            field: field.into(),
            bounds,
        }
    }

    /// The field is an array that contains the value, or is the value: what [`Filter::eq`] asks as well.
    pub fn contains(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::eq(field, value)
    }

    /// The field is an array that contains one of the values: what [`Filter::is_in`] asks as well.
    pub fn contains_any<V: Into<Value>>(
        field: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        Self::is_in(field, values)
    }

    /// The field is an array that contains all of the values.
    pub fn contains_all<V: Into<Value>>(
        field: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        let field = field.into();
        Self::all(values.into_iter().map(|value| Self::eq(field.clone(), value)))
    }

    /// The field is a string that begins like this, or an array of which one does.
    pub fn prefix(field: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self::Prefix {
            field: field.into(),
            prefix: prefix.into(),
        }
    }

    /// The field is a place at most `metres` from (`lat`, `lon`), in degrees.
    pub fn geo_radius(field: impl Into<String>, (lat, lon): (f64, f64), metres: f64) -> Self {
        Self::GeoRadius {
            field: field.into(),
            lat,
            lon,
            metres,
        }
    }

    /// The field is a place between (south, west) and (north, east), in degrees; across the antimeridian where east is less
    /// than west.
    pub fn geo_box(field: impl Into<String>, (south, west): (f64, f64), (north, east): (f64, f64)) -> Self {
        Self::GeoBox {
            field: field.into(),
            south,
            west,
            north,
            east,
        }
    }

    /// The field has a value: it is there, not null, and no empty array.
    pub fn exists(field: impl Into<String>) -> Self {
        Self::Exists { field: field.into() }
    }

    /// All of the filters hold.
    pub fn all(filters: impl IntoIterator<Item = Filter>) -> Self {
        Self::And(filters.into_iter().collect())
    }

    /// One of the filters holds.
    pub fn any(filters: impl IntoIterator<Item = Filter>) -> Self {
        Self::Or(filters.into_iter().collect())
    }
}

impl std::ops::Not for Filter {
    type Output = Self;

    fn not(self) -> Self {
        Self::Not(Box::new(self))
    }
}

impl std::str::FromStr for Filter {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        Self::parse(text)
    }
}
