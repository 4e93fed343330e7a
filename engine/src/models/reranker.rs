//! A cross-encoder that runs an ONNX graph, within a budget and a deadline.

use std::path::Path;
use std::time::Instant;

use latewood_query::{RerankError, Reranker};
use latewood_storage::ModelIdentity;

use super::batch::in_parallel;
use super::cross::CrossSettings;
use super::loaded::{Loaded, ModelOptions};
use super::settings::Kind;
use super::tokenize::{Input, Tokens};
use super::{ModelError, RuntimeInfo};

/// A cross-encoder over an ONNX graph. It runs one pair at a time: batches of 2 to 20 pairs were measured and are no
/// faster in either runtime, they spend on padding what they save, and between runs the deadline is looked at.
pub struct OnnxReranker {
    model: Loaded,
    settings: CrossSettings,
    output: String,
}

/// What a rerank came to before its deadline.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RerankScores {
    /// A score for each document, in the order given; None where there was no time left. Those scored come first.
    pub scores: Vec<Option<f32>>,
    /// How many were scored.
    pub scored: usize,
    /// Tokens that the model read.
    pub input_tokens: usize,
}

impl OnnxReranker {
    /// Opens the cross-encoder in a folder.
    ///
    /// # Errors
    /// A missing or damaged file, an encoder, or a graph that the runtime refuses.
    pub fn open(folder: impl AsRef<Path>, options: &ModelOptions) -> Result<Self, ModelError> {
        Self::from_loaded(Loaded::from_folder(folder.as_ref(), options)?)
    }

    /// Opens a built-in cross-encoder: `tiny-cross`.
    #[cfg(feature = "builtin-models")]
    pub fn builtin(name: &str, options: &ModelOptions) -> Result<Self, ModelError> {
        Self::from_loaded(Loaded::from_bytes(super::builtin::reranker(name)?, options)?)
    }

    /// What runs the graph.
    pub fn runtime(&self) -> &RuntimeInfo {
        &self.model.runtime
    }

    /// Whether the graph is a dynamic int8 one, whose numbers depend on the batch.
    pub fn is_dynamically_quantized(&self) -> bool {
        self.model.dynamic
    }

    /// What a user should know about this model's scores, one sentence each.
    pub fn notes(&self) -> Vec<String> {
        self.model.notes()
    }

    /// Tokens of a pair that the model reads, markers included; the document is cut to fit.
    pub fn max_pair_tokens(&self) -> usize {
        self.settings.max_length
    }

    /// Scores documents for a query, higher being better, in the order given: at most `budget` of them, and none that is
    /// not begun before the deadline. A document without a token scores the least that can be stored.
    ///
    /// # Errors
    /// An empty query, and failures of the runtime.
    pub fn rerank(
        &self,
        query: &str,
        documents: &[&str],
        budget: usize,
        deadline: Option<Instant>,
    ) -> Result<RerankScores, ModelError> {
        let query = self.settings.query(&self.model.tokenizer, query)?;
        let mut out = RerankScores {
            scores: vec![None; documents.len()],
            scored: 0,
            input_tokens: 0,
        };
        let jobs: Vec<_> = documents.iter().take(budget).enumerate().collect();
        let work = |&(index, document): &(usize, &&str)| match deadline {
            Some(deadline) if Instant::now() >= deadline => Ok(None),
            _ => self.score_pair(&query, document, index).map(Some),
        };
        in_parallel(&jobs, self.model.pool.threads(), work, |job, pair| {
            if let (Some((score, tokens)), Some(slot)) = (pair, out.scores.get_mut(job)) {
                *slot = Some(score);
                out.input_tokens += tokens;
            }
        })?;
        // Two threads may look at the clock in another order than they took their pairs.
        out.scored = out.scores.iter().take_while(|score| score.is_some()).count();
        out.scores
            .iter_mut()
            .skip(out.scored)
            .for_each(|score| *score = None);
        Ok(out)
    }

    /// The score of a document and the tokens read for it.
    fn score_pair(&self, query: &Tokens, document: &str, index: usize) -> Result<(f32, usize), ModelError> {
        match self.settings.pair(&self.model.tokenizer, query, document, index) {
            Ok(input) => Ok((self.score_input(&input, index)?, input.ids.len())),
            Err(ModelError::EmptyText { .. }) => Ok((f32::MIN, 0)),
            Err(error) => Err(error),
        }
    }

    fn score_input(&self, input: &Input, index: usize) -> Result<f32, ModelError> {
        let output = self.model.pool.run(&[input], &[&self.output])?.pop();
        let logits = output.as_ref().map(|o| o.row(0)).unwrap_or_default();
        match self.settings.score(logits) {
            Some(score) if score.is_finite() => Ok(score),
            Some(_) => Err(ModelError::NotFinite {
                model: self.model.name.clone(),
                index,
            }),
            None => Err(ModelError::GraphMismatch {
                model: self.model.name.clone(),
                expected: format!("{} logits for a pair", self.settings.logits()),
                got: format!("{}", logits.len()),
            }),
        }
    }

    /// The input of one pair, for comparison with a reference.
    pub(crate) fn pair_input(&self, query: &str, document: &str) -> Result<Input, ModelError> {
        let query = self.settings.query(&self.model.tokenizer, query)?;
        self.settings.pair(&self.model.tokenizer, &query, document, 0)
    }

    fn from_loaded(mut model: Loaded) -> Result<Self, ModelError> {
        let settings = match &model.kind {
            Kind::Cross(settings) => settings.clone(),
            Kind::Sentence(_) | Kind::Colbert(_) => {
                return Err(ModelError::WrongKind {
                    model: model.name,
                    found: "encoder",
                    expected: "cross-encoder",
                    advice: "it as the encoder, and a folder with a *ForSequenceClassification model as the reranker",
                });
            }
        };
        model.pool = model.pool.padded_to(settings.least_width());
        let outputs = model.pool.outputs();
        let output = outputs
            .iter()
            .find(|name| *name == "logits")
            .or(outputs.first())
            .cloned();
        let reranker = Self {
            settings,
            output: output.unwrap_or_default(),
            model,
        };
        // One short pair shows whether the graph gives the logits that the settings promise.
        let probe = reranker.pair_input("a", "a")?;
        reranker.score_input(&probe, 0)?;
        Ok(reranker)
    }
}

impl Reranker for OnnxReranker {
    fn identity(&self) -> &ModelIdentity {
        &self.model.identity
    }

    fn score(
        &self,
        query: &str,
        documents: &[&str],
        deadline: Option<Instant>,
    ) -> Result<Vec<Option<f32>>, RerankError> {
        let scores = self.rerank(query, documents, documents.len(), deadline);
        scores
            .map(|scores| scores.scores)
            .map_err(|error| RerankError::Model {
                model: self.model.name.clone(),
                reason: error.to_string(),
            })
    }
}
