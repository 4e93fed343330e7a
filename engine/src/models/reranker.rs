//! A cross-encoder that runs an ONNX graph, within a budget and a deadline.

use std::path::Path;
use std::time::Instant;

use latewood_query::{RerankError, Reranker};
use latewood_storage::ModelIdentity;

use super::batch::{Batching, in_parallel};
use super::cross::CrossSettings;
use super::loaded::{Loaded, ModelOptions};
use super::settings::Kind;
use super::tokenize::{Input, Tokens};
use super::{ModelError, RuntimeInfo};

/// Pairs in a run of the graph. Small: between runs the deadline is looked at.
const BATCH_ROWS: usize = 4;

/// A cross-encoder over an ONNX graph.
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
        let budget = budget.min(documents.len());
        let rows = if self.model.batching(0, BATCH_ROWS) == Batching::Single {
            1
        } else {
            BATCH_ROWS
        };
        let jobs: Vec<_> = documents.iter().take(budget).enumerate().collect::<Vec<_>>();
        let jobs: Vec<_> = jobs.chunks(rows).collect();
        let mut out = RerankScores {
            scores: vec![None; documents.len()],
            scored: 0,
            input_tokens: 0,
        };
        let work = |job: &&[(usize, &&str)]| match deadline {
            Some(deadline) if Instant::now() >= deadline => Ok((Vec::new(), 0)),
            _ => self.score_batch(&query, job),
        };
        in_parallel(&jobs, self.model.pool.threads(), work, |_, (scores, tokens)| {
            out.input_tokens += tokens;
            for (index, score) in scores {
                if let Some(slot) = out.scores.get_mut(index) {
                    *slot = Some(score);
                }
            }
        })?;
        // Two threads may look at the clock in another order than they took their batches.
        out.scored = out.scores.iter().take_while(|score| score.is_some()).count();
        out.scores
            .iter_mut()
            .skip(out.scored)
            .for_each(|score| *score = None);
        Ok(out)
    }

    /// The scores of some documents with their positions, and the tokens read.
    fn score_batch(
        &self,
        query: &Tokens,
        job: &[(usize, &&str)],
    ) -> Result<(Vec<(usize, f32)>, usize), ModelError> {
        let mut scores = Vec::with_capacity(job.len());
        let mut inputs: Vec<Input> = Vec::with_capacity(job.len());
        let mut indices = Vec::with_capacity(job.len());
        for &(index, document) in job {
            match self.settings.pair(&self.model.tokenizer, query, document, index) {
                Ok(input) => {
                    inputs.push(input);
                    indices.push(index);
                }
                Err(ModelError::EmptyText { .. }) => scores.push((index, f32::MIN)),
                Err(error) => return Err(error),
            }
        }
        let tokens = inputs.iter().map(|input| input.ids.len()).sum();
        scores.extend(indices.iter().copied().zip(self.score_inputs(&inputs, &indices)?));
        Ok((scores, tokens))
    }

    fn score_inputs(&self, inputs: &[Input], indices: &[usize]) -> Result<Vec<f32>, ModelError> {
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<_> = inputs.iter().collect();
        let output = self.model.pool.run(&rows, &[&self.output])?.pop();
        let mut scores = Vec::with_capacity(rows.len());
        for (row, &index) in indices.iter().enumerate() {
            let logits = output.as_ref().map(|o| o.row(row)).unwrap_or_default();
            match self.settings.score(logits) {
                Some(score) if score.is_finite() => scores.push(score),
                Some(_) => {
                    return Err(ModelError::NotFinite {
                        model: self.model.name.clone(),
                        index,
                    });
                }
                None => {
                    return Err(ModelError::GraphMismatch {
                        model: self.model.name.clone(),
                        expected: format!("{} logits for a pair", self.settings.logits()),
                        got: format!("{}", logits.len()),
                    });
                }
            }
        }
        Ok(scores)
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
        reranker.score_inputs(&[probe], &[0])?;
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
