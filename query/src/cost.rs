//! What a unit of each kind of work costs on the machine at hand.

use serde::{Deserialize, Serialize};

/// Microseconds for a unit of each kind of work. The defaults are those of one core of a 2020s x86-64 server with AVX2
/// or AVX-512; the engine replaces them by what it measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CostModel {
    /// Scoring one dense row of 1,000 dimensions in a scan.
    pub dense_row_per_1000_dims: f64,
    /// Scoring one node reached in the graph, 384 dimensions.
    pub graph_hop: f64,
    /// Scoring one centroid against one query token, 128 dimensions.
    pub centroid_pair: f64,
    /// Reading one posting and adding to its document's score.
    pub posting: f64,
    /// Scoring one posting of a word.
    pub term_posting: f64,
    /// Adding one posting of a sparse vector's dimension.
    pub sparse_posting: f64,
    /// Looking up one document token's centroid score for one query token.
    pub interaction_pair: f64,
    /// One query token against one document token from residual codes, 128 dimensions.
    pub maxsim_pair: f64,
    /// The same for documents of which only the tokens that may hold a maximum are read; each of their tokens counts.
    pub refined_pair: f64,
    /// One query token against one document token in f32 or f16, 128 dimensions.
    pub exact_pair: f64,
    /// Deciding whether one document passes the filter.
    pub filter_row: f64,
    /// Reading one stored text.
    pub text_read: f64,
    /// One token through the cross-encoder.
    pub rerank_token: f64,
    /// What the automatic plan lets late interaction over the whole collection take before it takes dense candidates
    /// instead.
    pub affordable_microseconds: f64,
}

impl Default for CostModel {
    fn default() -> Self {
        Self {
            dense_row_per_1000_dims: 0.12,
            graph_hop: 0.25,
            centroid_pair: 0.005,
            posting: 0.015,
            term_posting: 0.004,
            sparse_posting: 0.003,
            interaction_pair: 0.000_3,
            maxsim_pair: 0.003_5,
            refined_pair: 0.002,
            exact_pair: 0.011,
            filter_row: 0.002,
            text_read: 25.0,
            rerank_token: 150.0,
            affordable_microseconds: 20_000.0,
        }
    }
}

impl CostModel {
    /// Whether every constant is a finite, positive number; a model read from a catalog may have been damaged.
    pub fn is_sound(&self) -> bool {
        [
            self.dense_row_per_1000_dims,
            self.graph_hop,
            self.centroid_pair,
            self.posting,
            self.term_posting,
            self.sparse_posting,
            self.interaction_pair,
            self.maxsim_pair,
            self.refined_pair,
            self.exact_pair,
            self.filter_row,
            self.text_read,
            self.rerank_token,
            self.affordable_microseconds,
        ]
        .iter()
        .all(|constant| constant.is_finite() && *constant > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_left_out_keep_their_defaults() {
        let model: CostModel = serde_json::from_str("{\"posting\": 0.5}").unwrap();
        assert_eq!(
            model,
            CostModel {
                posting: 0.5,
                ..CostModel::default()
            }
        );
        assert!(model.is_sound());
        assert!(
            !CostModel {
                posting: f64::NAN,
                ..model
            }
            .is_sound()
        );
    }
}
