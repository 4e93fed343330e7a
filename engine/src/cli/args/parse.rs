//! Arguments that have a form of their own.

use std::collections::BTreeMap;

use clap::ValueEnum;

use latewood_codecs::{DenseCodec, Metric};
use latewood_query::{FusionWeights, Leg, PlanChoice};
use latewood_storage::{FieldType, Language};

use super::values::{DenseCodecArg, MetricArg};
use crate::NamedVector;

pub(in crate::cli) fn language(text: &str) -> Result<Language, String> {
    let known = || Language::ALL.map(|(_, name)| name).join(", ");
    Language::named(text).ok_or_else(|| format!("expected one of {}", known()))
}

pub(in crate::cli) fn weights(text: &str) -> Result<FusionWeights, String> {
    let mut weights = FusionWeights::default();
    for part in text.split(',') {
        let (name, weight) = part.split_once('=').ok_or("expected bm25=1,dense=1,maxsim=1")?;
        let weight: f64 = weight
            .trim()
            .parse()
            .map_err(|_| format!("expected a number, not {weight}"))?;
        let leg = name.parse::<Leg>().map_err(|error| error.to_string())?;
        weights.set(&leg, weight);
    }
    Ok(weights)
}

pub(in crate::cli) fn plan(text: &str) -> Result<PlanChoice, String> {
    text.parse()
        .map_err(|e: latewood_query::QueryError| e.to_string())
}

/// Vectors for named fields.
pub(in crate::cli) type NamedVectors = BTreeMap<String, NamedVector>;

pub(in crate::cli) fn named_vectors(text: &str) -> Result<NamedVectors, String> {
    serde_json::from_str(text).map_err(|error| {
        format!("expected an object of vectors by field, as {{\"splade\": {{\"indices\": [7], \"values\": [1.5]}}}}: {error}")
    })
}

pub(in crate::cli) fn vector(text: &str) -> Result<(String, usize, Metric, DenseCodec), String> {
    let mut parts = text.split(':');
    let name = parts.next().unwrap_or_default().to_owned();
    let dim = parts.next().ok_or("expected NAME:DIM[:METRIC[:CODEC]]")?;
    let dim = dim
        .parse()
        .map_err(|_| format!("expected a dimension, not {dim}"))?;
    let metric = parts.next().map_or(Ok(Metric::Cosine), |name| {
        MetricArg::from_str(name, true).map(Metric::from)
    })?;
    let codec = parts.next().map_or(Ok(DenseCodec::F16), |name| {
        DenseCodecArg::from_str(name, true).map(DenseCodec::from)
    })?;
    match parts.next() {
        None => Ok((name, dim, metric, codec)),
        Some(more) => Err(format!("expected nothing behind the codec, got {more}")),
    }
}

pub(in crate::cli) fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a whole number of at least 1".to_owned()),
        Ok(n) => Ok(n),
    }
}

pub(in crate::cli) fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("expected a number above 0 and at most 1".to_owned()),
    }
}

/// A field, and whether the greatest comes first.
pub(in crate::cli) fn order(text: &str) -> Result<(String, bool), String> {
    let (field, descending) = match text.rsplit_once(':') {
        Some((field, "desc")) => (field, true),
        Some((field, "asc")) => (field, false),
        _ => (text, false),
    };
    if field.is_empty() {
        return Err("expected a field, or FIELD:desc".to_owned());
    }
    Ok((field.to_owned(), descending))
}

pub(in crate::cli) fn field(text: &str) -> Result<(String, FieldType), String> {
    let (name, kind) = text.rsplit_once(':').ok_or("expected NAME:TYPE")?;
    let kind = match kind {
        "keyword" | "string" | "str" => FieldType::Keyword,
        "int" | "i64" => FieldType::Int,
        "float" | "f64" => FieldType::Float,
        "bool" => FieldType::Bool,
        "datetime" => FieldType::Datetime,
        "geo" => FieldType::Geo,
        _ => {
            return Err(format!(
                "expected the type keyword, int, float, bool, datetime or geo, got {kind}"
            ));
        }
    };
    if name.is_empty() {
        return Err("expected a name before the colon".to_owned());
    }
    Ok((name.to_owned(), kind))
}

/// Milliseconds, more than none.
pub(in crate::cli) fn milliseconds(text: &str) -> Result<std::time::Duration, String> {
    let expected = "expected milliseconds above 0";
    let number: f64 = text.parse().map_err(|_| expected.to_owned())?;
    let time = std::time::Duration::try_from_secs_f64(number / 1e3).map_err(|_| expected.to_owned())?;
    if time.is_zero() {
        Err(expected.to_owned())
    } else {
        Ok(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_name_their_type() {
        assert_eq!(field("year:int").unwrap(), ("year".to_owned(), FieldType::Int));
        assert_eq!(
            field("a:b:keyword").unwrap(),
            ("a:b".to_owned(), FieldType::Keyword)
        );
        assert!(field("year").is_err() && field("year:date").is_err() && field(":int").is_err());
    }

    #[test]
    fn orders_rise_unless_they_say_otherwise() {
        assert_eq!(order("year"), Ok(("year".to_owned(), false)));
        assert_eq!(order("a:b:desc"), Ok(("a:b".to_owned(), true)));
        assert_eq!(order("year:asc"), Ok(("year".to_owned(), false)));
        assert!(order(":desc").is_err() && order("").is_err());
    }

    #[test]
    fn shares_are_above_nothing_and_at_most_all() {
        for bad in ["0", "-0.1", "1.01", "NaN", "inf", "much", ""] {
            assert!(share(bad).is_err(), "{bad}");
        }
        assert_eq!((share("0.95"), share("1")), (Ok(0.95), Ok(1.0)));
    }
}
