//! What stages really took against what was estimated for them: the weights of its parts, refined by every query.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::PARTS;

/// How far an estimate moves towards what a query took: at first, and later on.
const FIRST_STEP: f64 = 0.5;
const LEAST_STEP: f64 = 0.05;
/// A query further off than this (as a logarithm) counts as if it were so far off: a busy machine holds some up for long.
const FURTHEST: f64 = 1.0;
/// No part is taken to cost less or more than its constant by more than this factor.
const WEIGHTS: (f64, f64) = (1e-3, 1e3);
/// Queries after which an old one counts little for the spread.
const MEMORY: f64 = 64.0;
/// The spread of a stage that has been seen too few times to tell.
const USUAL_SPREAD: f64 = 0.25;
const FEW: u32 = 8;
/// Standard deviations above the mean that one query in twenty exceeds.
const ONE_IN_TWENTY: f64 = 1.645;
/// A spread beyond this is the machine's, not the stage's.
const WIDEST: f64 = 0.7;

/// The weights of the parts of one stage's estimate. Each query moves the logarithm of every weight by its part's share of the
/// estimate times the logarithm of the ratio that was seen: the exponentiated gradient (Kivinen and Warmuth, Information and
/// Computation 132(1), 1997), normalised, so that weights stay positive and no query moves the estimate past what it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    /// What each part of the estimate is multiplied by.
    pub weights: [f64; PARTS],
    /// Variance of ln(actual / estimated), as estimated before each query.
    pub variance: f64,
    /// Queries seen.
    pub seen: u32,
}

impl Default for Correction {
    fn default() -> Self {
        Self {
            weights: [1.0; PARTS],
            variance: 0.0,
            seen: 0,
        }
    }
}

impl Correction {
    fn estimate(&self, parts: &[f64; PARTS]) -> f64 {
        self.weights
            .iter()
            .zip(parts)
            .map(|(weight, part)| weight * part)
            .sum()
    }

    fn observe(&mut self, parts: &[f64; PARTS], actual: f64) {
        let estimated = self.estimate(parts);
        self.seen = self.seen.saturating_add(1);
        let off = (actual / estimated).ln().clamp(-FURTHEST, FURTHEST);
        let share = f64::from(self.seen).recip().max(1.0 / MEMORY);
        self.variance += share * (off * off - self.variance);

        let shares: [f64; PARTS] = std::array::from_fn(|at| self.weights[at] * parts[at] / estimated);
        let squares: f64 = shares.iter().map(|share| share * share).sum();
        let step = (FIRST_STEP / f64::from(self.seen).sqrt()).max(LEAST_STEP);
        for (weight, share) in self.weights.iter_mut().zip(shares) {
            *weight = (*weight * (step * off * share / squares).exp()).clamp(WEIGHTS.0, WEIGHTS.1);
        }
    }

    fn is_sound(&self) -> bool {
        let positive = |weight: &f64| *weight >= WEIGHTS.0 && *weight <= WEIGHTS.1;
        self.weights.iter().all(positive) && self.variance.is_finite() && self.variance >= 0.0
    }
}

/// The corrections of all stages, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Corrections(BTreeMap<String, Correction>);

impl Corrections {
    /// Takes note of what a stage took, in microseconds, and of the parts of its estimate.
    pub fn observe(&mut self, stage: &str, parts: &[f64; PARTS], actual: f64) {
        let sum: f64 = parts.iter().sum();
        if !(sum.is_finite() && actual.is_finite() && sum > 0.0 && actual > 0.0) {
            return;
        }
        match self.0.get_mut(stage) {
            Some(correction) => correction.observe(parts, actual),
            None => {
                let mut correction = Correction::default();
                correction.observe(parts, actual);
                self.0.insert(stage.to_owned(), correction);
            }
        }
    }

    /// The estimate of a stage from its parts, in microseconds: their sum where nothing was seen.
    pub fn estimate(&self, stage: &str, parts: &[f64; PARTS]) -> f64 {
        self.0
            .get(stage)
            .map_or_else(|| parts.iter().sum(), |correction| correction.estimate(parts))
    }

    /// How much more than its estimate a stage takes in one query of twenty.
    pub fn headroom(&self, stage: &str) -> f64 {
        let spread = match self.0.get(stage) {
            Some(correction) if correction.seen >= FEW => correction.variance.sqrt().min(WIDEST),
            _ => USUAL_SPREAD,
        };
        (ONE_IN_TWENTY * spread).exp()
    }

    /// What is known of a stage.
    pub fn get(&self, stage: &str) -> Option<&Correction> {
        self.0.get(stage)
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.0.values().all(Correction::is_sound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(first: f64, second: f64) -> [f64; PARTS] {
        let mut parts = [0.0; PARTS];
        (parts[0], parts[1]) = (first, second);
        parts
    }

    #[test]
    fn what_each_part_takes_is_told_apart() {
        let mut seen = Corrections::default();
        for i in 0..2_000 {
            let parts = parts(10.0, f64::from(i * i % 97) * 7.0);
            seen.observe("bm25", &parts, 4.0 * parts[0] + 0.5 * parts[1]);
        }
        for (first, second) in [(10.0, 0.0), (10.0, 100.0), (10.0, 600.0)] {
            let expected = 4.0 * first + 0.5 * second;
            let got = seen.estimate("bm25", &parts(first, second));
            assert!((got / expected - 1.0).abs() < 0.1, "{got} for {expected}");
        }
        assert_eq!(
            seen.estimate("rerank", &parts(3.0, 4.0)),
            7.0,
            "other stages are not touched"
        );
    }

    #[test]
    fn it_follows_a_machine_that_became_slower_and_forgives_one_query_held_up() {
        let mut seen = Corrections::default();
        let usual = parts(100.0, 0.0);
        (0..200).for_each(|_| seen.observe("bm25", &usual, 100.0));
        seen.observe("bm25", &usual, 1e6);
        assert!(
            seen.estimate("bm25", &usual) < 106.0,
            "{}",
            seen.estimate("bm25", &usual)
        );
        (0..500).for_each(|_| seen.observe("bm25", &usual, 300.0));
        assert!((seen.estimate("bm25", &usual) - 300.0).abs() < 3.0);
    }

    #[test]
    fn equal_parts_time_after_time_do_not_drive_the_weights_apart() {
        // Least squares with a floor under the weights did: one weight ran away while the other lay on the floor.
        let mut seen = Corrections::default();
        (0..40).for_each(|i| seen.observe("s", &parts(10.0, 100.0 + f64::from(i % 4) * 50.0), 40.0));
        for _ in 0..5_000 {
            seen.observe("s", &parts(10.0, 30.0), 7.0);
        }
        let got = seen.estimate("s", &parts(10.0, 30.0));
        assert!((got - 7.0).abs() < 0.1, "{got}");
        assert!(seen.is_sound());
    }

    #[test]
    fn headroom_grows_with_the_spread_and_what_is_no_time_is_not_counted() {
        let (mut even, mut uneven) = (Corrections::default(), Corrections::default());
        let usual = parts(100.0, 0.0);
        for i in 0..200 {
            even.observe("s", &usual, 100.0);
            uneven.observe("s", &usual, if i % 2 == 0 { 50.0 } else { 200.0 });
            uneven.observe("s", &parts(0.0, 0.0), 50.0);
            uneven.observe("s", &usual, f64::NAN);
        }
        assert!((even.headroom("s") - 1.0).abs() < 1e-9);
        assert!(uneven.headroom("s") > 2.0);
        assert_eq!(uneven.get("s").unwrap().seen, 200);
        assert!(uneven.is_sound());
        assert!((Corrections::default().headroom("s") - (1.645f64 * 0.25).exp()).abs() < 1e-9);
    }
}
