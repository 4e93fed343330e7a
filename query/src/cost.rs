//! What a unit of each kind of work costs on the machine at hand.

use serde::{Deserialize, Serialize};

use crate::correction::Corrections;
use crate::plan::{PARTS, Plan, Stage};
use crate::profile::Profile;

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
    /// One token of a query's text through the encoder.
    pub encode_token: f64,
    /// Whatever a stage takes before it does anything.
    pub stage: f64,
    /// Walking over one document, or keeping one candidate, in any stage.
    pub candidate: f64,
    /// Reading the token matrix of one document.
    pub matrix: f64,
    /// Planning, and whatever else each query takes beside its stages.
    pub query: f64,
    /// Reading the id of a hit; its payload and its text are read as texts are.
    pub hit: f64,
    /// What stages really took against what these constants say, refined by every query.
    pub corrections: Corrections,
    /// What the automatic plan lets late interaction over the whole collection take before it takes dense candidates
    /// instead.
    pub affordable_microseconds: f64,
}

impl Default for CostModel {
    fn default() -> Self {
        Self {
            dense_row_per_1000_dims: 0.12,
            graph_hop: 0.05,
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
            encode_token: 150.0,
            stage: 10.0,
            candidate: 0.02,
            matrix: 1.0,
            query: 25.0,
            hit: 1.0,
            corrections: Corrections::default(),
            affordable_microseconds: 20_000.0,
        }
    }
}

impl CostModel {
    /// The name under which what a query takes beside its stages is corrected.
    pub const BESIDE: &'static str = "beside";
    /// The same for encoding its text.
    pub const ENCODE: &'static str = "encode";

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
            self.encode_token,
            self.stage,
            self.candidate,
            self.matrix,
            self.query,
            self.hit,
            self.affordable_microseconds,
        ]
        .iter()
        .all(|constant| constant.is_finite() && *constant > 0.0)
            && self.corrections.is_sound()
    }

    /// What encoding a query's text should take, in microseconds.
    pub fn encode(&self, text: &str) -> f64 {
        self.corrections.estimate(Self::ENCODE, &self.encode_parts(text))
    }

    /// A token of English is about four letters, and an encoder adds markers.
    fn encode_parts(&self, text: &str) -> [f64; PARTS] {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let letters = text.len() as f64;
        let mut parts = [0.0; PARTS];
        (parts[0], parts[1]) = (3.0 * self.encode_token, letters / 4.0 * self.encode_token);
        parts
    }

    /// Takes note of what the encoding of a text took, in microseconds.
    pub fn observe_encoding(&mut self, text: &str, microseconds: f64) {
        let parts = self.encode_parts(text);
        self.corrections.observe(Self::ENCODE, &parts, microseconds);
    }

    /// Takes note of what each stage of a plan took, and all beside them.
    pub fn observe(&mut self, plan: &Plan, profile: &Profile) {
        let mut staged = 0.0;
        for (at, stage) in plan.stages.iter().enumerate() {
            let took = profile.stages.iter().filter(|done| done.planned == Some(at));
            let took: f64 = took.map(|done| done.microseconds).sum();
            staged += took;
            // A rerank that its deadline ended tells nothing of how long it takes.
            let timed = matches!(stage.stage, Stage::Rerank { deadline_ms, .. } if deadline_ms.is_some() || plan.budget.is_some());
            if !timed {
                let name = stage.stage.name().to_string();
                self.corrections.observe(&name, &stage.estimate.parts, took);
            }
        }
        let took = profile.total_microseconds - plan.spent_microseconds - staged;
        self.corrections.observe(Self::BESIDE, &plan.beside.parts, took);
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
