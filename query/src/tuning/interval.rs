//! How sure a measured recall is.

use serde::{Deserialize, Serialize};

/// The quantile of the normal distribution for a two-sided interval of 95%.
const Z: f64 = 1.959_963_984_540_054;

/// A recall measured on a sample of queries, with its 95% interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MeasuredRecall {
    /// The share of the true hits that were found.
    pub recall: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
}

/// Hits of one query: how many there are, and how many of them were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Hits of the exhaustive answer that were found.
    pub found: u32,
    /// Hits of the exhaustive answer.
    pub of: u32,
}

impl MeasuredRecall {
    /// The recall over all queries, with Wilson's score interval (Wilson, "Probable inference, the law of succession, and
    /// statistical inference", 1927).
    ///
    /// Hits of one query are missed together more often than hits of different queries, so they count for less than
    /// independent ones: the sample size is divided by the design effect, the variance between queries over that of
    /// independent hits (Kish, "Survey Sampling", 1965), where it is above 1. Without queries: 0, between 0 and 1.
    pub fn of(queries: &[Found]) -> Self {
        let of: f64 = queries.iter().map(|query| f64::from(query.of)).sum();
        if of <= 0.0 {
            return Self {
                recall: 0.0,
                low: 0.0,
                high: 1.0,
            };
        }
        let found: f64 = queries.iter().map(|query| f64::from(query.found)).sum();
        let recall = found / of;
        let (low, high) = wilson(recall, of / design_effect(queries, recall, of));
        Self { recall, low, high }
    }

    /// Whether all three are shares, in order; what was read from a catalog may have been damaged.
    pub(super) fn is_sound(&self) -> bool {
        0.0 <= self.low && self.low <= self.recall && self.recall <= self.high && self.high <= 1.0
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of queries")]
fn design_effect(queries: &[Found], recall: f64, of: f64) -> f64 {
    let independent = recall * (1.0 - recall) / of;
    if independent <= 0.0 || queries.len() < 2 {
        return 1.0;
    }
    let squares: f64 = queries
        .iter()
        .map(|query| (f64::from(query.found) - recall * f64::from(query.of)).powi(2))
        .sum();
    let n = queries.len() as f64;
    let between = squares * n / ((n - 1.0) * of * of);
    (between / independent).max(1.0)
}

fn wilson(share: f64, n: f64) -> (f64, f64) {
    let squared = Z * Z;
    let middle = (share + squared / (2.0 * n)) / (1.0 + squared / n);
    let spread = share * (1.0 - share) / n + squared / (4.0 * n * n);
    let half = Z / (1.0 + squared / n) * spread.sqrt();
    // Rounding may carry an end past the share itself where the share is 0 or 1.
    (
        (middle - half).clamp(0.0, share),
        (middle + half).clamp(share, 1.0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 3e-4
    }

    #[test]
    fn independent_hits_have_wilsons_interval() {
        // One hit a query: 81 of 263 and 15 of 148, worked examples of Newcombe (1998), table I, method 3.
        for (found, of, low, high) in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)] {
            let queries: Vec<Found> = (0..of)
                .map(|i| Found {
                    found: u32::from(i < found),
                    of: 1,
                })
                .collect();
            let measured = MeasuredRecall::of(&queries);
            assert!(
                close(measured.low, low) && close(measured.high, high),
                "{measured:?}"
            );
        }
    }

    #[test]
    fn hits_that_are_missed_together_count_once() {
        let together: Vec<Found> = (0..100)
            .map(|i| Found {
                found: if i < 90 { 10 } else { 0 },
                of: 10,
            })
            .collect();
        let alone: Vec<Found> = (0..100)
            .map(|i| Found {
                found: u32::from(i < 90),
                of: 1,
            })
            .collect();
        let spread = vec![Found { found: 9, of: 10 }; 100];
        let (together, alone, spread) = (
            MeasuredRecall::of(&together),
            MeasuredRecall::of(&alone),
            MeasuredRecall::of(&spread),
        );
        assert!((together.low - alone.low).abs() < 2e-3, "{together:?} {alone:?}");
        assert!(spread.low > together.low + 0.03, "{spread:?} {together:?}");
    }

    #[test]
    fn the_ends_are_shares_on_both_sides() {
        for found in 0..=20 {
            let measured = MeasuredRecall::of(&[Found { found, of: 20 }]);
            assert!(measured.is_sound(), "{measured:?}");
        }
        let all = MeasuredRecall::of(&[Found { found: 20, of: 20 }]);
        assert!(all.high == 1.0 && all.low < 0.9, "{all:?}");
        let none = MeasuredRecall::of(&[]);
        assert_eq!((none.low, none.high), (0.0, 1.0));
    }
}
