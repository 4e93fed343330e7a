//! A filter as the text that [`Filter::parse`] reads back to the same filter.

use std::fmt;

use super::lexer::{is_keyword, is_word};
use super::value::write_string;
use super::{Bounds, Filter, Value};

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eq { field, value } => write!(f, "{} = {value}", Field(field)),
            Self::In { field, values } => write!(f, "{} in ({})", Field(field), Comma(values)),
            Self::Range { field, bounds } => write_range(f, field, bounds),
            Self::Prefix { field, prefix } => {
                write!(f, "{} prefix ", Field(field))?;
                write_string(f, prefix)
            }
            Self::GeoRadius {
                field,
                lat,
                lon,
                metres,
            } => write!(f, "geo_radius({}, {lat:?}, {lon:?}, {metres:?})", Field(field)),
            Self::GeoBox {
                field,
                south,
                west,
                north,
                east,
            } => write!(
                f,
                "geo_box({}, {south:?}, {west:?}, {north:?}, {east:?})",
                Field(field)
            ),
            Self::Exists { field } => write!(f, "exists({})", Field(field)),
            Self::And(filters) => write_group(f, filters, "and", "all"),
            Self::Or(filters) => write_group(f, filters, "or", "any"),
            Self::Not(inner) => match **inner {
                Self::And(_) | Self::Or(_) => write!(f, "not ({inner})"),
                _ => write!(f, "not {inner}"),
            },
        }
    }
}

fn write_range(f: &mut fmt::Formatter<'_>, field: &str, bounds: &Bounds) -> fmt::Result {
    let less = |inclusive: bool| if inclusive { "<=" } else { "<" };
    match bounds {
        Bounds::Lower(limit) => {
            let greater = if limit.inclusive { ">=" } else { ">" };
            write!(f, "{} {greater} {}", Field(field), limit.value)
        }
        Bounds::Upper(limit) => write!(f, "{} {} {}", Field(field), less(limit.inclusive), limit.value),
        Bounds::Both(lower, upper) => {
            let (below, above) = (less(lower.inclusive), less(upper.inclusive));
            write!(
                f,
                "{} {below} {} {above} {}",
                lower.value,
                Field(field),
                upper.value
            )
        }
    }
}

/// `a and b`, with parentheses round what is a group itself; groups of none or one as `all(a)`, which a chain of `and`
/// cannot say.
fn write_group(f: &mut fmt::Formatter<'_>, filters: &[Filter], word: &str, function: &str) -> fmt::Result {
    if let [] | [_] = filters {
        return write!(f, "{function}({})", Comma(filters));
    }
    for (i, filter) in filters.iter().enumerate() {
        if i > 0 {
            write!(f, " {word} ")?;
        }
        match filter {
            Filter::And(inner) | Filter::Or(inner) if inner.len() > 1 => write!(f, "({filter})")?,
            _ => write!(f, "{filter}")?,
        }
    }
    Ok(())
}

struct Field<'a>(&'a str);

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_word(self.0) && !is_keyword(self.0) {
            return f.write_str(self.0);
        }
        write!(f, "`{}`", self.0.replace('`', "``"))
    }
}

struct Comma<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Comma<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{item}")?;
        }
        Ok(())
    }
}

impl Value {
    /// The value's type, as messages name it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "a bool",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Str(_) => "a string",
        }
    }
}
