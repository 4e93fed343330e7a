//! Latencies of many queries.

use std::time::Duration;

/// Times of single queries, in the order in which they ran.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    milliseconds: Vec<f64>,
}

impl Latencies {
    pub(super) fn add(&mut self, time: Duration) {
        self.milliseconds.push(time.as_secs_f64() * 1e3);
    }

    pub(super) fn len(&self) -> usize {
        self.milliseconds.len()
    }

    /// The time that a share of the queries (0 to 1) does not exceed, by nearest rank.
    pub(super) fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.milliseconds.clone();
        sorted.sort_by(f64::total_cmp);
        #[expect(clippy::cast_possible_truncation, reason = "a rank within the list")]
        #[expect(clippy::cast_sign_loss, reason = "a share is not negative")]
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted
            .get(rank.clamp(1, sorted.len().max(1)) - 1)
            .copied()
            .unwrap_or(0.0)
    }

    pub(super) fn total_milliseconds(&self) -> f64 {
        self.milliseconds.iter().sum()
    }

    /// Queries a second, one after the other.
    pub(super) fn queries_per_second(&self) -> f64 {
        let total = self.total_milliseconds();
        if total > 0.0 {
            self.milliseconds.len() as f64 * 1e3 / total
        } else {
            0.0
        }
    }
}

/// A number for JSON, without digits that mean nothing.
pub(super) fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_by_nearest_rank() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(0.5), 0.0);
        for ms in (1..=20).rev() {
            latencies.add(Duration::from_millis(ms));
        }
        assert_eq!(rounded(latencies.percentile(0.5), 6), 10.0);
        assert_eq!(rounded(latencies.percentile(0.95), 6), 19.0);
        assert_eq!(rounded(latencies.percentile(1.0), 6), 20.0);
        assert_eq!(
            rounded(latencies.queries_per_second(), 3),
            rounded(20_000.0 / 210.0, 3)
        );
    }
}
