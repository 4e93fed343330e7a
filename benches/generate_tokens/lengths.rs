//! Tokens a document.

use latewood_benches::random::Random;

/// Lengths drawn from the quantiles of the real ones: 55,685 package descriptions in the tokens of a BERT vocabulary.
/// They are bounded above by the encoder, which reads no more than that.
pub(crate) struct Lengths {
    random: Random,
}

/// Quantile and length. Between two of them lengths are uniform.
const QUANTILES: [(f64, f64); 11] = [
    (0.0, 18.0),
    (0.01, 26.0),
    (0.05, 30.0),
    (0.1, 35.0),
    (0.25, 44.0),
    (0.5, 62.0),
    (0.75, 91.0),
    (0.9, 109.0),
    (0.95, 113.0),
    (0.99, 117.0),
    (1.0, 124.0),
];

impl Lengths {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed, u64::MAX),
        }
    }

    fn draw(&mut self) -> u32 {
        let share = self.random.unit();
        let above = QUANTILES
            .iter()
            .position(|(q, _)| *q >= share)
            .unwrap_or(QUANTILES.len() - 1);
        let ((low, from), (high, to)) = (QUANTILES[above.saturating_sub(1)], QUANTILES[above]);
        let part = if high > low {
            (share - low) / (high - low)
        } else {
            0.0
        };
        (from + part * (to - from)).round() as u32
    }

    /// Lengths that add up to `tokens`; the last one is what is left.
    pub(crate) fn up_to(mut self, tokens: u64) -> Vec<u32> {
        let (mut lengths, mut left) = (Vec::new(), tokens);
        while left > 0 {
            let length = u64::from(self.draw()).min(left);
            lengths.push(length as u32);
            left -= length;
        }
        lengths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_the_quantiles_and_the_sum() {
        let mut lengths = Lengths::new(1).up_to(700_000);
        assert_eq!(lengths.iter().map(|&n| u64::from(n)).sum::<u64>(), 700_000);
        lengths.sort_unstable();
        for (share, expected) in QUANTILES {
            let got = lengths[(share * (lengths.len() - 1) as f64) as usize];
            assert!(
                (f64::from(got) - expected).abs() <= 3.0 || share == 0.0,
                "{share}: {got}"
            );
        }
    }
}
