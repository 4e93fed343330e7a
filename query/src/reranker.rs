//! The boundary to a cross-encoder: the one part of a query that runs a model.

use std::time::Instant;

use latewood_storage::ModelIdentity;

/// Scores documents against a query by reading both at once. The set is open: it is the caller's model.
pub trait Reranker: Send + Sync {
    /// Which model this is.
    fn identity(&self) -> &ModelIdentity;

    /// One score for each document, in their order, higher is better; `None` for those that the deadline left
    /// unscored. Documents come best first, so that a deadline cuts the least likely.
    ///
    /// # Errors
    /// When the model cannot run.
    fn score(
        &self,
        query: &str,
        documents: &[&str],
        deadline: Option<Instant>,
    ) -> Result<Vec<Option<f32>>, RerankError>;
}

/// Why a rerank failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RerankError {
    /// The model failed.
    #[error("the model `{model}` failed: {reason}")]
    Model {
        /// The model's name.
        model: String,
        /// What it said.
        reason: String,
    },
    /// The reranker returned another number of scores than it was given documents.
    #[error(
        "the model `{model}` returned {got} scores for {expected} documents; it must return one for each"
    )]
    WrongCount {
        /// The model's name.
        model: String,
        /// Documents given.
        expected: usize,
        /// Scores returned.
        got: usize,
    },
    /// A score is NaN or infinite.
    #[error("the model `{model}` scored document {at} as {score}; a score must be finite")]
    NotFinite {
        /// The model's name.
        model: String,
        /// Which of the documents given.
        at: usize,
        /// The score.
        score: f32,
    },
}

impl RerankError {
    /// That there is a score for each document.
    ///
    /// # Errors
    /// [`WrongCount`](Self::WrongCount) where there are fewer or more.
    pub fn unless_one_each(reranker: &dyn Reranker, documents: usize, scores: usize) -> Result<(), Self> {
        if documents == scores {
            return Ok(());
        }
        Err(Self::WrongCount {
            model: reranker.identity().name.clone(),
            expected: documents,
            got: scores,
        })
    }
}
