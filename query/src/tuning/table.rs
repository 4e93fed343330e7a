//! What the token index was measured to give under which settings: the table behind a recall that a caller asks for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::interval::MeasuredRecall;
use crate::plan::ProbeSettings;
use crate::statistics::TokenStatistics;

/// The recalls that settings are kept for.
pub const TUNED_TARGETS: [f64; 7] = [0.80, 0.90, 0.95, 0.98, 0.99, 0.995, 0.999];
/// A table serves until the collection has more than this many times the tokens that it was measured on.
const MOST_GROWTH: u64 = 2;

/// Where the queries came from that a table was measured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum QuerySource {
    /// The caller gave them.
    Caller,
    /// They were made of documents of the collection.
    Documents,
}

/// Settings kept for a target, and what they were measured to give.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunedEntry {
    /// The recall that is aimed at.
    pub target: f64,
    /// The cheapest settings whose interval begins at the target or above; where the queries were too few for any to, wider
    /// ones than those that missed half of what the target allows.
    pub settings: ProbeSettings,
    /// What they gave.
    pub measured: MeasuredRecall,
}

/// Settings of the token index for each of [`TUNED_TARGETS`], measured against the exhaustive answer over the same codes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunedTable {
    /// The depth of recall@k.
    pub k: usize,
    /// Queries measured.
    pub queries: usize,
    /// Where they came from.
    pub source: QuerySource,
    /// Indexed tokens when it was measured.
    pub tokens: u64,
    /// The codebooks in use when it was measured.
    pub codebooks: Vec<u64>,
    /// By target, rising.
    pub entries: Vec<TunedEntry>,
}

impl TunedTable {
    /// The entry for a recall: that of the lowest target which is at least as high, or the highest there is.
    pub fn entry(&self, recall: f64) -> Option<&TunedEntry> {
        // A target written as 0.95 and one computed as 0.95 may differ in the last bit.
        let reaches = |entry: &&TunedEntry| entry.target + 1e-9 >= recall;
        self.entries.iter().find(reaches).or(self.entries.last())
    }

    /// The entry after that, or the last: for documents under a filter, which may be harder to tell apart than those that
    /// were measured.
    pub fn entry_above(&self, recall: f64) -> Option<&TunedEntry> {
        let target = self.entry(recall)?.target;
        let above = self.entries.iter().find(|entry| entry.target > target);
        above.or(self.entries.last())
    }

    /// Why the table no longer speaks for the collection, if it does not.
    pub fn outdated(&self, tokens: &TokenStatistics) -> Option<String> {
        if self.codebooks != tokens.codebooks {
            return Some("the collection has another codebook since".to_owned());
        }
        (tokens.indexed_tokens > self.tokens.saturating_mul(MOST_GROWTH)).then(|| {
            format!(
                "it was measured on {} tokens, the index has {} now",
                self.tokens, tokens.indexed_tokens
            )
        })
    }

    /// Whether everything in it is in range; what was read from a catalog may have been damaged.
    pub fn is_sound(&self) -> bool {
        let sound = |entry: &TunedEntry| {
            let ProbeSettings {
                n_probe,
                candidates,
                refine,
                margin,
            } = entry.settings;
            let range = 1..=crate::MAX_EFFORT;
            entry.target > 0.0
                && entry.target <= 1.0
                && entry.measured.is_sound()
                && (0.0..=100.0).contains(&margin)
                && [n_probe, candidates, refine].iter().all(|n| range.contains(n))
        };
        self.k > 0
            && self.queries > 0
            && !self.entries.is_empty()
            && self.entries.iter().all(sound)
            && self.entries.is_sorted_by(|a, b| a.target < b.target)
    }
}

impl fmt::Display for MeasuredRecall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} ({:.3} to {:.3})", self.recall, self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> TunedTable {
        let entry = |target: f64, n_probe| TunedEntry {
            target,
            settings: ProbeSettings {
                n_probe,
                candidates: 64,
                refine: 32,
                margin: 3.0,
            },
            measured: MeasuredRecall {
                recall: 0.9,
                low: 0.8,
                high: 0.95,
            },
        };
        TunedTable {
            k: 10,
            queries: 200,
            source: QuerySource::Documents,
            tokens: 1_000,
            codebooks: vec![3],
            entries: vec![entry(0.8, 1), entry(0.95, 2), entry(0.99, 4)],
        }
    }

    #[test]
    fn a_recall_has_the_entry_that_promises_as_much() {
        let n_probe = |recall| table().entry(recall).unwrap().settings.n_probe;
        assert_eq!(
            [0.1, 0.8, 0.800_1, 0.95, 0.951, 0.99, 0.9999].map(n_probe),
            [1, 1, 2, 2, 4, 4, 4]
        );
        let above = |recall| table().entry_above(recall).unwrap().settings.n_probe;
        assert_eq!([0.1, 0.81, 0.99].map(above), [2, 4, 4]);
    }

    #[test]
    fn growth_and_another_codebook_end_it() {
        let now = |indexed_tokens, codebooks: &[u64]| TokenStatistics {
            indexed_tokens,
            codebooks: codebooks.to_vec(),
            ..TokenStatistics::default()
        };
        assert_eq!(table().outdated(&now(2_000, &[3])), None);
        assert!(table().outdated(&now(2_001, &[3])).unwrap().contains("1000"));
        assert!(table().outdated(&now(900, &[4])).unwrap().contains("codebook"));
        assert!(table().outdated(&now(900, &[3, 4])).is_some());
    }

    #[test]
    fn damage_is_noticed() {
        assert!(table().is_sound());
        let json = serde_json::to_string(&table()).unwrap();
        assert!(json.len() < 2_000);
        assert_eq!(serde_json::from_str::<TunedTable>(&json).unwrap(), table());
        let damaged: [fn(&mut TunedTable); 7] = [
            |t| t.entries.clear(),
            |t| t.entries[0].settings.n_probe = 0,
            |t| t.entries[1].settings.candidates = usize::MAX,
            |t| t.entries[1].measured.low = f64::NAN,
            |t| t.entries[2].target = 0.5,
            |t| t.entries[0].settings.margin = f32::NAN,
            |t| t.k = 0,
        ];
        for damage in damaged {
            let mut table = table();
            damage(&mut table);
            assert!(!table.is_sound(), "{table:?}");
        }
    }
}
