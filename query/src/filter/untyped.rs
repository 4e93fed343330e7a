//! A comparison of a field that the schema does not declare, which has whatever the payload has.

use std::cmp::Ordering;

use latewood_storage::geo_of;
use serde_json::{Number, Value as Json};

use super::{Area, Filter, Limit, Value};

/// Whether the value of a field satisfies a comparison, which is of one field: numbers compare with numbers, strings with
/// strings, by their bytes; an array satisfies it if one of its elements does.
pub(super) fn holds(leaf: &Filter, value: Option<&Json>) -> bool {
    match (leaf, value) {
        (_, None | Some(Json::Null)) => false,
        (Filter::Exists { .. }, Some(Json::Array(items))) => !items.is_empty(),
        (Filter::Exists { .. }, Some(_)) => true,
        (_, Some(Json::Array(items))) => items.iter().any(|item| one_holds(leaf, item)),
        (_, Some(value)) => one_holds(leaf, value),
    }
}

fn one_holds(leaf: &Filter, json: &Json) -> bool {
    let above = |limit: &Limit| match compare(json, &limit.value) {
        Some(Ordering::Equal) => limit.inclusive,
        order => order == Some(Ordering::Greater),
    };
    let below = |limit: &Limit| match compare(json, &limit.value) {
        Some(Ordering::Equal) => limit.inclusive,
        order => order == Some(Ordering::Less),
    };
    match leaf {
        Filter::Eq { value, .. } => compare(json, value) == Some(Ordering::Equal),
        Filter::In { values, .. } => values
            .iter()
            .any(|value| compare(json, value) == Some(Ordering::Equal)),
        Filter::Range { bounds, .. } => {
            let (lower, upper) = bounds.limits();
            lower.is_none_or(above) && upper.is_none_or(below)
        }
        Filter::Prefix { prefix, .. } => json
            .as_str()
            .is_some_and(|word| word.starts_with(prefix.as_str())),
        Filter::GeoRadius { .. } | Filter::GeoBox { .. } => {
            let area = Area::of(leaf).and_then(Result::ok);
            area.zip(geo_of(json)).is_some_and(|(area, at)| area.contains(at))
        }
        Filter::Exists { .. } | Filter::And(_) | Filter::Or(_) | Filter::Not(_) => false,
    }
}

/// How a payload's value compares with one of a filter; `None` when they are not of one kind.
fn compare(json: &Json, value: &Value) -> Option<Ordering> {
    match (json, value) {
        (Json::Bool(a), Value::Bool(b)) => (a == b).then_some(Ordering::Equal),
        (Json::String(a), Value::Str(b)) => Some(a.as_str().cmp(b)),
        (Json::Number(a), Value::Int(b)) => compare_with_whole(a, i128::from(*b)),
        (Json::Number(a), Value::Float(b)) => match whole(a) {
            Some(a) => compare_whole(*b, a).map(Ordering::reverse),
            None => a.as_f64()?.partial_cmp(b),
        },
        _ => None,
    }
}

fn compare_with_whole(a: &Number, b: i128) -> Option<Ordering> {
    match whole(a) {
        Some(a) => Some(a.cmp(&b)),
        None => compare_whole(a.as_f64()?, b),
    }
}

fn whole(n: &Number) -> Option<i128> {
    n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from))
}

/// A float compared with an integer of at most 65 bits, without rounding the integer.
pub(crate) fn compare_whole(x: f64, n: i128) -> Option<Ordering> {
    // Above 2^100 no such integer is.
    const BEYOND: f64 = 1.267_650_600_228_229_4e30;
    if x.is_nan() {
        return None;
    }
    if x.abs() > BEYOND {
        return Some(if x > 0.0 {
            Ordering::Greater
        } else {
            Ordering::Less
        });
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "below 2^100 and without a fraction"
    )]
    let floor = x.floor() as i128;
    Some(floor.cmp(&n).then(if x > x.floor() {
        Ordering::Greater
    } else {
        Ordering::Equal
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kinds_do_not_mix_and_numbers_compare_exactly() {
        let large = 9_007_199_254_740_993_i64;
        for (json, value, order) in [
            (json!(1), Value::Float(1.0), Some(Ordering::Equal)),
            (json!(1.5), Value::Int(1), Some(Ordering::Greater)),
            (json!(-1.5), Value::Int(-1), Some(Ordering::Less)),
            (
                json!(large),
                Value::Float(9_007_199_254_740_992.0),
                Some(Ordering::Greater),
            ),
            (json!(large), Value::Int(large), Some(Ordering::Equal)),
            (json!(u64::MAX), Value::Int(i64::MAX), Some(Ordering::Greater)),
            (json!(5), Value::Float(1e300), Some(Ordering::Less)),
            (json!("b"), Value::from("a"), Some(Ordering::Greater)),
            (json!("1"), Value::Int(1), None),
            (json!(true), Value::Int(1), None),
            (json!(true), Value::Bool(false), None),
            (json!({"a": 1}), Value::Int(1), None),
        ] {
            assert_eq!(compare(&json, &value), order, "{json} {value}");
        }
    }

    #[test]
    fn arrays_hold_where_an_element_does() {
        let holds = |text: &str, json| holds(&Filter::parse(text).unwrap(), Some(&json));
        assert!(holds("x = 2", json!([1, 2])) && !holds("x = 3", json!([1, 2])));
        // One element lies in the range, or none does.
        assert!(!holds("1 < x < 2", json!([1, 2])) && holds("1 < x < 4", json!([0, 3])));
        assert!(holds("x prefix \"py\"", json!(["java", "python"])));
        assert!(!holds("exists(x)", json!([])) && !holds("exists(x)", json!(null)));
        assert!(holds("geo_radius(x, 1, 1, 10)", json!([{"lat": 1, "lon": 1}])));
    }
}
