//! A figure of several rounds.

use std::fmt;

use latewood_benches::times::median;

/// The median of rounds, the least and the most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    /// Of a figure a round.
    pub(crate) fn of(rounds: &[f64]) -> Self {
        let fold = |of: fn(f64, f64) -> f64, start| rounds.iter().copied().fold(start, of);
        Self {
            median: median(rounds.iter().copied()),
            least: fold(f64::min, f64::INFINITY),
            most: fold(f64::max, f64::NEG_INFINITY),
        }
    }

    /// In another unit.
    pub(crate) fn times(self, factor: f64) -> Self {
        Self {
            median: self.median * factor,
            least: self.least * factor,
            most: self.most * factor,
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.median {
            large if large >= 100.0 => 0,
            middle if middle >= 1.0 => 2,
            _ => 4,
        };
        let Self { median, least, most } = self;
        write!(f, "{median:.digits$} ({least:.digits$} to {most:.digits$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_all_rounds() {
        let spread = Spread::of(&[3.0, 1.0, 2.0]);
        assert_eq!(spread.to_string(), "2.00 (1.00 to 3.00)");
        assert_eq!(spread.times(100.0).to_string(), "200 (100 to 300)");
    }
}
