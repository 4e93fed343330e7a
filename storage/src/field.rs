//! Values of payload fields, as the declared type of a field reads them.

use serde_json::Value;

use crate::datetime::parse_datetime;
use crate::document::Payload;

/// A place on Earth, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeoPoint {
    /// Latitude, -90 to 90.
    pub lat: f64,
    /// Longitude, -180 to 180.
    pub lon: f64,
}

impl GeoPoint {
    /// The mean radius of Earth in metres (IUGG).
    const RADIUS: f64 = 6_371_008.8;

    /// A place, if the numbers are degrees of one.
    pub fn new(lat: f64, lon: f64) -> Option<Self> {
        ((-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon)).then_some(Self { lat, lon })
    }

    /// Metres to another place along the great circle of a sphere, by the haversine formula.
    pub fn distance(self, other: Self) -> f64 {
        let (a, b) = (self.lat.to_radians(), other.lat.to_radians());
        let half = |x: f64| (x / 2.0).sin().powi(2);
        let chord = half(b - a) + a.cos() * b.cos() * half((other.lon - self.lon).to_radians());
        2.0 * Self::RADIUS * chord.clamp(0.0, 1.0).sqrt().asin()
    }
}

/// The value of a payload field. A name with dots is that of the whole key if there is one, else of a value in an object in
/// an object: `author.name` in `{"author": {"name": "Ada"}}`.
pub fn field_of<'p>(payload: &'p Payload, name: &str) -> Option<&'p Value> {
    payload.get(name).or_else(|| {
        name.match_indices('.')
            .find_map(|(at, _)| match payload.get(&name[..at]) {
                Some(Value::Object(inner)) => field_of(inner, &name[at + 1..]),
                _ => None,
            })
    })
}

/// The moment that a string says, in microseconds since 1970.
pub fn datetime_of(value: &Value) -> Option<i64> {
    value.as_str().and_then(parse_datetime)
}

/// The place that an object `{"lat": 52.5, "lon": 13.4}` says.
pub fn geo_of(value: &Value) -> Option<GeoPoint> {
    let number = |key| value.get(key).and_then(Value::as_f64);
    GeoPoint::new(number("lat")?, number("lon")?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nested_values_are_found_and_whole_keys_win() {
        let payload = json!({"a": {"b": {"c": 1}, "b.c": 2}, "x.y": {"z": 3}, "a.b.d": 4, "s": "t"});
        let payload = payload.as_object().unwrap();
        let get = |name| field_of(payload, name).and_then(Value::as_i64);
        assert_eq!(get("a.b.c"), Some(2));
        assert_eq!(get("x.y.z"), Some(3));
        assert_eq!(get("a.b.d"), Some(4));
        assert!(field_of(payload, "a.b").unwrap().is_object());
        for missing in ["a.c", "s.t", "x", "x.y.", "", ".", "a..b"] {
            assert_eq!(field_of(payload, missing), None, "{missing}");
        }
    }

    #[test]
    fn places_are_objects_of_degrees() {
        assert_eq!(
            geo_of(&json!({"lat": 52, "lon": -13.5, "name": "x"})),
            GeoPoint::new(52.0, -13.5)
        );
        for wrong in [
            json!({"lat": 90.1, "lon": 0}),
            json!({"lat": 0, "lon": 181}),
            json!({"lat": "1", "lon": 2}),
            json!({"lat": 1}),
            json!([1, 2]),
            json!("1,2"),
        ] {
            assert_eq!(geo_of(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn distances_on_the_sphere() {
        let at = |lat, lon| GeoPoint::new(lat, lon).unwrap();
        let degree = 111_195.08;
        for (a, b, metres) in [
            (at(0.0, 0.0), at(1.0, 0.0), degree),
            (at(0.0, 179.5), at(0.0, -179.5), degree),
            (at(90.0, 0.0), at(90.0, 120.0), 0.0),
            (at(-90.0, 7.0), at(90.0, 7.0), 180.0 * degree),
            // Berlin and Paris.
            (at(52.52, 13.405), at(48.8566, 2.3522), 877_460.0),
        ] {
            let got = a.distance(b);
            assert!((got - metres).abs() < 30.0, "{a:?} to {b:?}: {got}");
            assert!((got - b.distance(a)).abs() < 1e-6);
        }
    }
}
