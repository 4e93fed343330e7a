//! The Pareto front of cost and quality.

/// For each point (its cost, the less the better; its quality, the more the better) whether it is on the Pareto front: no other point
/// is at least as good in both and better in one. Of equal points all are. A point with a number that is NaN is not on it.
pub fn pareto_front(points: &[(f64, f64)]) -> Vec<bool> {
    let beats = |(cost, quality): (f64, f64), (than_cost, than_quality): (f64, f64)| {
        cost <= than_cost && quality >= than_quality && (cost < than_cost || quality > than_quality)
    };
    let on_front = |&point: &(f64, f64)| {
        !point.0.is_nan() && !point.1.is_nan() && !points.iter().any(|&other| beats(other, point))
    };
    points.iter().map(on_front).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_on_the_front_unless_another_is_as_good_and_better_in_one() {
        let points = [
            (1.0, 0.3),
            (2.0, 0.5),
            (2.0, 0.4),
            (3.0, 0.5),
            (4.0, 0.9),
            (1.0, 0.3),
        ];
        assert_eq!(pareto_front(&points), [true, true, false, false, true, true]);
        assert_eq!(
            pareto_front(&[(f64::NAN, 1.0), (1.0, f64::NAN), (5.0, 0.0)]),
            [false, false, true]
        );
        assert!(pareto_front(&[]).is_empty());
    }
}
