//! Several rankings of the same documents into one.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::Hash;

use serde::{Deserialize, Serialize};

use crate::plan::Leg;

/// How rankings become one, and how much each counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fusion {
    /// How ranks or scores are made comparable.
    #[serde(flatten)]
    pub method: FusionMethod,
    /// What each ranking is multiplied by.
    pub weights: FusionWeights,
}

/// How ranks or scores of different searches are made comparable.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "method")]
#[non_exhaustive]
pub enum FusionMethod {
    /// 1 / (k + rank), ranks from 1 (Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet and
    /// individual rank learning methods", 2009).
    ReciprocalRank {
        /// Above 0: the larger, the less the first ranks stand out.
        k: f64,
    },
    /// Scores moved so that the worst candidate of each search has 0 and the best 1.
    Score,
    /// Scores moved so that three standard deviations below a search's mean are 0 and three above it 1.
    Distribution,
}

/// What each ranking is multiplied by. Each is finite and at least 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FusionWeights {
    /// BM25.
    pub bm25: f64,
    /// Dense vectors.
    pub dense: f64,
    /// Late interaction.
    pub maxsim: f64,
    /// The vectors of named fields, by name; 1 where there is none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, f64>,
}

impl Default for FusionWeights {
    fn default() -> Self {
        Self {
            bm25: 1.0,
            dense: 1.0,
            maxsim: 1.0,
            fields: BTreeMap::new(),
        }
    }
}

impl FusionWeights {
    /// What the ranking of a search is multiplied by.
    #[must_use]
    pub fn of(&self, leg: &Leg) -> f64 {
        match leg {
            Leg::Bm25 => self.bm25,
            Leg::Dense => self.dense,
            Leg::MaxSim => self.maxsim,
            Leg::Vector(name) | Leg::Sparse(name) => self.fields.get(name).copied().unwrap_or(1.0),
        }
    }

    /// Sets it.
    pub fn set(&mut self, leg: &Leg, weight: f64) {
        match leg {
            Leg::Bm25 => self.bm25 = weight,
            Leg::Dense => self.dense = weight,
            Leg::MaxSim => self.maxsim = weight,
            Leg::Vector(name) | Leg::Sparse(name) => drop(self.fields.insert(name.clone(), weight)),
        }
    }
}

impl FusionMethod {
    /// Reciprocal ranks with the usual k of 60.
    pub const RRF: Self = Self::ReciprocalRank { k: 60.0 };
}

impl Default for Fusion {
    fn default() -> Self {
        Self {
            method: FusionMethod::RRF,
            weights: FusionWeights::default(),
        }
    }
}

impl Fusion {
    /// Whether every number is one that fusion can use.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let FusionWeights {
            bm25,
            dense,
            maxsim,
            fields,
        } = &self.weights;
        let k = match self.method {
            FusionMethod::ReciprocalRank { k } => k,
            _ => 1.0,
        };
        k.is_finite()
            && k > 0.0
            && [bm25, dense, maxsim]
                .into_iter()
                .chain(fields.values())
                .all(|w| w.is_finite() && *w >= 0.0)
    }

    /// What a candidate counts, by its rank from 0 and its score.
    fn value(&self, spread: &Spread, rank: usize, score: f32) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "ranks are small")]
        match self.method {
            FusionMethod::ReciprocalRank { k } => 1.0 / (k + 1.0 + rank as f64),
            FusionMethod::Score | FusionMethod::Distribution if spread.width > 0.0 => {
                (f64::from(score) - spread.least) / spread.width
            }
            FusionMethod::Score | FusionMethod::Distribution => spread.alone,
        }
    }

    /// The best `keep` of the candidates of several searches, each list best first; of equal ones the lesser key is first.
    pub fn fuse<K: Copy + Eq + Hash + Ord>(
        &self,
        legs: &[(Leg, Vec<(K, f32)>)],
        keep: usize,
    ) -> Vec<(K, f32)> {
        let mut sums: HashMap<K, f64> = HashMap::new();
        for (leg, found) in legs {
            let spread = Spread::of(self.method, found.iter().map(|(_, score)| f64::from(*score)));
            for (rank, (key, score)) in found.iter().enumerate() {
                *sums.entry(*key).or_default() += self.weights.of(leg) * self.value(&spread, rank, *score);
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "scores are single")]
        let mut fused: Vec<(K, f32)> = sums.into_iter().map(|(key, sum)| (key, sum as f32)).collect();
        fused.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        fused.truncate(keep);
        fused
    }
}

/// From which score to how much above it the scores of a search lie.
struct Spread {
    least: f64,
    width: f64,
    /// The value where all scores are the same.
    alone: f64,
}

impl Spread {
    #[expect(clippy::cast_precision_loss, reason = "an average")]
    fn of(method: FusionMethod, scores: impl ExactSizeIterator<Item = f64> + Clone) -> Self {
        let (count, scores) = ((scores.len() as f64).max(1.0), || scores.clone());
        if method == FusionMethod::Distribution {
            let mean = scores().sum::<f64>() / count;
            let variance = scores().map(|score| (score - mean).powi(2)).sum::<f64>() / count;
            let deviation = variance.sqrt();
            return Self {
                least: mean - 3.0 * deviation,
                width: 6.0 * deviation,
                alone: 0.5,
            };
        }
        let (least, most) = scores().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), score| {
            (least.min(score), most.max(score))
        });
        Self {
            least,
            width: most - least,
            alone: 1.0,
        }
    }
}

impl fmt::Display for Fusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.method {
            FusionMethod::ReciprocalRank { k } => write!(f, "reciprocal ranks, k {k}")?,
            FusionMethod::Score => f.write_str("scores")?,
            FusionMethod::Distribution => f.write_str("score distributions")?,
        }
        let FusionWeights {
            bm25,
            dense,
            maxsim,
            fields,
        } = &self.weights;
        write!(f, "; weights: bm25 {bm25}, dense {dense}, maxsim {maxsim}")?;
        fields
            .iter()
            .try_for_each(|(name, weight)| write!(f, ", {name} {weight}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fused(method: FusionMethod, weights: FusionWeights) -> Vec<(u32, f32)> {
        let legs = [
            (Leg::Bm25, vec![(1, 9.0), (2, 5.0), (3, 1.0)]),
            (Leg::Dense, vec![(3, 0.5), (4, 0.25)]),
        ];
        Fusion { method, weights }.fuse(&legs, 3)
    }

    #[test]
    fn each_method_is_its_formula() {
        let equal = FusionWeights::default();
        let rrf = fused(FusionMethod::RRF, equal.clone());
        let close = |(key, score): (u32, f32), expected: (u32, f64)| {
            assert!(key == expected.0 && (f64::from(score) - expected.1).abs() < 1e-8);
        };
        close(rrf[0], (3, 1.0 / 61.0 + 1.0 / 63.0));
        close(rrf[1], (1, 1.0 / 61.0));
        assert_eq!(rrf[2].0, 2, "of two equal ranks the earlier document is first");
        assert_eq!(
            fused(FusionMethod::Score, equal.clone()),
            [(1, 1.0), (3, 1.0), (2, 0.5)]
        );
        let weighted = FusionWeights {
            bm25: 0.1,
            ..equal.clone()
        };
        assert_eq!(fused(FusionMethod::Score, weighted)[0], (3, 1.0));
        let distribution = fused(FusionMethod::Distribution, equal);
        // 9, 5, 1: mean 5, deviation sqrt(32 / 3); 0.5, 0.25: both one deviation from the mean.
        let bm25 = |score: f64| (score - 5.0) / (6.0 * (32.0f64 / 3.0).sqrt()) + 0.5;
        assert!((f64::from(distribution[0].1) - (bm25(1.0) + 4.0 / 6.0)).abs() < 1e-6);
        assert_eq!(distribution.iter().map(|d| d.0).collect::<Vec<_>>(), [3, 1, 2]);
    }

    #[test]
    fn numbers_that_cannot_be_used_are_told() {
        assert!(Fusion::default().is_sound());
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            let weights = FusionWeights {
                maxsim: bad,
                ..FusionWeights::default()
            };
            assert!(
                !Fusion {
                    weights,
                    ..Fusion::default()
                }
                .is_sound()
            );
            let method = FusionMethod::ReciprocalRank { k: bad };
            assert!(
                !Fusion {
                    method,
                    ..Fusion::default()
                }
                .is_sound()
            );
        }
    }
}
