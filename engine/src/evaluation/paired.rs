//! Paired comparison: the same queries under two rankings.

use serde::Serialize;

use crate::random::Random;

/// Resamples that an interval is read from.
const RESAMPLES: usize = 1_000;

/// The mean difference of two rankings over the same queries, and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Paired {
    /// Queries that were compared.
    pub queries: usize,
    /// Mean of the differences.
    pub mean: f64,
    /// Standard deviation of the differences; 0 for fewer than two.
    pub deviation: f64,
    /// Lower end of the 95% interval of the mean.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
}

impl Paired {
    /// Compares by differences, one a query. The interval is the percentile bootstrap over queries (Efron and Tibshirani,
    /// "An introduction to the bootstrap", 1993), 1,000 resamples, widened by `sqrt(n / (n - 1))` and by Student's quantile
    /// over the normal one, as resamples of few queries vary too little (Hesterberg, "What teachers should know about the
    /// bootstrap", 2015). The same seed gives the same interval. Without differences all is 0.
    #[must_use]
    pub fn of(differences: &[f64], seed: u64) -> Self {
        let n = differences.len();
        if n == 0 {
            return Self {
                queries: 0,
                mean: 0.0,
                deviation: 0.0,
                low: 0.0,
                high: 0.0,
            };
        }
        let count = n as f64;
        let mean = differences.iter().sum::<f64>() / count;
        let squares: f64 = differences.iter().map(|d| (d - mean).powi(2)).sum();
        let deviation = if n > 1 {
            (squares / (count - 1.0)).sqrt()
        } else {
            0.0
        };
        let mut random = Random::new(seed);
        let mut means: Vec<f64> = (0..RESAMPLES)
            .map(|_| (0..n).map(|_| differences[random.below(n)]).sum::<f64>() / count)
            .collect();
        means.sort_by(f64::total_cmp);
        let widened = widening(count);
        let end = |per_mille: usize| mean + (means[per_mille.min(RESAMPLES - 1)] - mean) * widened;
        Self {
            queries: n,
            mean,
            deviation,
            low: end(25),
            high: end(974),
        }
    }
}

/// By how much a percentile interval of so many queries is too narrow.
fn widening(count: f64) -> f64 {
    if count < 2.0 {
        return 1.0;
    }
    // The first term of Student's 97.5% quantile over the normal one (Cornish and Fisher): 1 + (z^2 + 1) / (4 (n - 1)).
    const TERM: f64 = (1.96 * 1.96 + 1.0) / 4.0;
    (1.0 + TERM / (count - 1.0)) * (count / (count - 1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_lies_within_its_interval_and_the_seed_decides_it() {
        let differences: Vec<f64> = (0..40).map(|at| f64::from(at % 5) * 0.1 - 0.1).collect();
        let paired = Paired::of(&differences, 7);
        assert!((paired.mean - 0.1).abs() < 1e-12);
        assert!((paired.deviation - 0.1432).abs() < 1e-4, "{paired:?}");
        assert!(paired.low < 0.1 && paired.high > 0.1);
        // 1.96 deviations over the root of 40, a little wider.
        let half = (paired.high - paired.low) / 2.0;
        assert!((0.042..0.052).contains(&half), "{half}");
        assert_eq!(paired, Paired::of(&differences, 7));
        assert_ne!(paired, Paired::of(&differences, 8));
    }

    #[test]
    fn equal_differences_leave_no_doubt_and_none_say_nothing() {
        let same = Paired::of(&[0.25; 30], 1);
        assert_eq!((same.low, same.high, same.deviation), (0.25, 0.25, 0.0));
        assert_eq!(Paired::of(&[], 1).queries, 0);
    }

    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        let mut random = Random::new(3);
        for count in [10, 25, 100] {
            let mut held = 0;
            for trial in 0..2_000 {
                let draws: Vec<f64> = (0..count).map(|_| f64::from(random.float())).collect();
                let paired = Paired::of(&draws, trial);
                held += usize::from(paired.low <= 0.0 && paired.high >= 0.0);
            }
            assert!(
                (1_870..=1_935).contains(&held),
                "{count} queries: {held} of 2,000"
            );
        }
    }
}
