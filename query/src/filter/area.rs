//! Regions of Earth that a place lies in or not.

use latewood_storage::GeoPoint;

use super::Filter;
use crate::error::QueryError;

/// A region, its numbers checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Area {
    /// All that is at most so many metres from a place.
    Circle { center: GeoPoint, metres: f64 },
    /// What lies between two latitudes and, going east, between two longitudes.
    Box {
        southwest: GeoPoint,
        northeast: GeoPoint,
    },
}

impl Area {
    /// The region of a filter on one; `None` when it is another kind of filter.
    pub(super) fn of(filter: &Filter) -> Option<Result<Self, QueryError>> {
        let place = |lat: f64, lon: f64| {
            GeoPoint::new(lat, lon).ok_or_else(|| QueryError::Geo {
                reason: format!(
                    "latitude {lat}, longitude {lon}: latitudes are from -90 to 90, longitudes from -180 to 180"
                ),
            })
        };
        match *filter {
            Filter::GeoRadius { lat, lon, metres, .. } => Some(match place(lat, lon) {
                Ok(center) if metres >= 0.0 && metres.is_finite() => Ok(Self::Circle { center, metres }),
                Ok(_) => Err(QueryError::Geo {
                    reason: format!("a radius of {metres} metres: give a finite number of at least 0"),
                }),
                Err(error) => Err(error),
            }),
            Filter::GeoBox {
                south,
                west,
                north,
                east,
                ..
            } => Some(match (place(south, west), place(north, east)) {
                (Ok(_), Ok(_)) if south > north => Err(QueryError::Geo {
                    reason: format!(
                        "a box from latitude {south} in the south to {north} in the north: give the southern one first"
                    ),
                }),
                (Ok(southwest), Ok(northeast)) => Ok(Self::Box { southwest, northeast }),
                (Err(error), _) | (_, Err(error)) => Err(error),
            }),
            _ => None,
        }
    }

    /// Whether a place lies in it, its edge included.
    pub(super) fn contains(&self, at: GeoPoint) -> bool {
        match self {
            Self::Circle { center, metres } => {
                // A degree of latitude is at least 111 km on the sphere that distances are on.
                (center.lat - at.lat).abs() * 111_000.0 <= *metres && center.distance(at) <= *metres
            }
            Self::Box { southwest, northeast } => {
                let (west, east) = (southwest.lon, northeast.lon);
                let between = |lon: f64| {
                    if west <= east {
                        (west..=east).contains(&lon)
                    } else {
                        lon >= west || lon <= east
                    }
                };
                // 180 degrees east are 180 degrees west.
                let between = between(at.lon) || at.lon.abs() == 180.0 && between(-at.lon);
                between && (southwest.lat..=northeast.lat).contains(&at.lat)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(text: &str) -> Result<Area, QueryError> {
        Area::of(&Filter::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn boxes_cross_the_antimeridian_when_east_is_less_than_west() {
        let fiji = area("geo_box(at, -20, 177, -15, -178)").unwrap();
        let europe = area("geo_box(at, 36, -10, 71, 30)").unwrap();
        let at = |lat, lon| GeoPoint::new(lat, lon).unwrap();
        for (place, in_fiji, in_europe) in [
            (at(-18.0, 178.0), true, false),
            (at(-18.0, -179.0), true, false),
            (at(-18.0, 180.0), true, false),
            (at(-18.0, -180.0), true, false),
            (at(-18.0, 0.0), false, false),
            (at(52.5, 13.4), false, true),
            (at(36.0, 30.0), false, true),
            (at(52.5, 31.0), false, false),
            (at(-14.9, 178.0), false, false),
        ] {
            assert_eq!(
                (fiji.contains(place), europe.contains(place)),
                (in_fiji, in_europe),
                "{place:?}"
            );
        }
    }

    #[test]
    fn a_circle_is_round_at_the_pole_and_across_the_antimeridian() {
        let at = |lat, lon| GeoPoint::new(lat, lon).unwrap();
        let pole = area("geo_radius(at, 89.9, 0, 30000)").unwrap();
        assert!(pole.contains(at(89.9, 180.0)) && !pole.contains(at(89.5, 0.0)));
        let edge = area("geo_radius(at, 0, 179.9, 30000)").unwrap();
        assert!(edge.contains(at(0.0, -179.9)) && !edge.contains(at(0.0, -179.8)));
        let point = area("geo_radius(at, 10, 10, 0)").unwrap();
        assert!(point.contains(at(10.0, 10.0)) && !point.contains(at(10.0, 10.000_001)));
    }

    #[test]
    fn regions_that_are_none_are_refused() {
        for text in [
            "geo_radius(at, 91, 0, 1)",
            "geo_radius(at, 0, 181, 1)",
            "geo_radius(at, 0, 0, -1)",
            "geo_box(at, 10, 0, 9, 1)",
            "geo_box(at, 0, 0, 91, 1)",
        ] {
            assert!(matches!(area(text), Err(QueryError::Geo { .. })), "{text}");
        }
    }
}
