//! What is searched for, and the checks that it must pass before anything runs.

use std::time::Duration;

use latewood_storage::{Schema, VectorKind, VectorValue, Vectors};

use crate::error::QueryError;
use crate::field::OrderBy;
use crate::filter::Filter;
use crate::fusion::Fusion;
use crate::lexical::LexicalQuery;
use crate::plan::PlanChoice;
use crate::shape::GroupBy;

/// The most that limit and offset may add up to.
pub const MAX_WINDOW: usize = 100_000;
/// The same under diversity, which compares every hit with those before it.
pub(crate) const MAX_DIVERSE: usize = 1_000;
/// The most tokens in a query.
pub const MAX_QUERY_TOKENS: usize = 512;
/// The largest ef_search, candidate count and n_probe.
pub const MAX_EFFORT: usize = 1_000_000;
/// The deepest rerank.
pub const MAX_RERANK_DEPTH: usize = 10_000;
/// The recall that the token index aims at when the request does not say.
pub const DEFAULT_RECALL: f64 = 0.99;
/// How deep a rerank goes when the request does not say.
pub const DEFAULT_RERANK_DEPTH: usize = 20;

/// A query: by dense vector, by token matrix, or by both; the text is what a cross-encoder reads.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryRequest {
    /// The query's dense vector, as long as the schema says.
    pub dense: Option<Vec<f32>>,
    /// The query's tokens row by row, and their dimension: 1 to 512 tokens.
    pub tokens: Option<(Vec<f32>, usize)>,
    /// Vectors for named fields, by the fields' names.
    pub vectors: Vectors,
    /// The query's text, for a rerank; and its words, where `lexical` is not given.
    pub text: Option<String>,
    /// The words that BM25 looks for.
    pub lexical: Option<LexicalQuery>,
    /// How the candidates of several searches become one ranking; default: reciprocal ranks.
    pub fusion: Fusion,
    /// From 0 to 1: the less, the more hits differ from those before them, by maximal marginal relevance over dense
    /// vectors. Default: hits are in order of their scores.
    pub diversity: Option<f64>,
    /// At most so many hits of each value of a payload field.
    pub group_by: Option<GroupBy>,
    /// The field that the hits are ordered by, once they are found; default: their scores.
    pub order_by: Option<OrderBy>,
    /// How many hits; at least 1. Default 10.
    pub limit: usize,
    /// How many hits to skip first. Default 0.
    pub offset: usize,
    /// Which documents may be hits.
    pub filter: Option<Filter>,
    /// Chosen by the planner, or named. Default: the planner chooses.
    pub plan: PlanChoice,
    /// Search exhaustively, over the best vectors stored.
    pub exact: bool,
    /// Beam of the graph search; default by the recall asked for, or max(100, 2 x the candidates wanted) where nothing is tuned.
    pub ef_search: Option<usize>,
    /// The share of the exhaustive answer over the same codes that the token index is to find, above 0 and at most 1;
    /// 1 scans everything. It is turned into settings by the table that the collection was tuned with; `n_probe` and
    /// `candidates` win over it. Default 0.99 where there is a table.
    pub recall: Option<f64>,
    /// Posting lists visited for each group of query tokens that point the same way; default by the recall asked for.
    pub n_probe: Option<usize>,
    /// Candidates that the first stage hands to the next.
    pub candidates: Option<usize>,
    /// Candidates that a rerank reads; default 20.
    pub rerank_depth: Option<usize>,
    /// How long a rerank may take; it scores the best candidates first.
    pub rerank_deadline: Option<Duration>,
    /// How long the whole query should take, from the request to the hits. Where that does not suffice for the best plan,
    /// quality is given up in this order: the rerank's depth, the rerank, candidates that are scored anew, recall, and then
    /// (of an automatic plan) the searches themselves.
    pub budget: Option<Duration>,
}

impl Default for QueryRequest {
    fn default() -> Self {
        Self {
            dense: None,
            tokens: None,
            vectors: Vectors::new(),
            text: None,
            lexical: None,
            fusion: Fusion::default(),
            diversity: None,
            group_by: None,
            order_by: None,
            limit: 10,
            offset: 0,
            filter: None,
            plan: PlanChoice::Auto,
            exact: false,
            ef_search: None,
            recall: None,
            n_probe: None,
            candidates: None,
            rerank_depth: None,
            rerank_deadline: None,
            budget: None,
        }
    }
}

impl QueryRequest {
    /// Hits that must be found: limit and offset.
    pub fn window(&self) -> usize {
        self.limit.saturating_add(self.offset)
    }

    /// What BM25 looks for: the lexical query, or else any word of the text.
    pub fn words(&self) -> Option<LexicalQuery> {
        let text = || self.text.as_ref().map(LexicalQuery::any);
        self.lexical.clone().or_else(text)
    }

    /// How many candidates a rerank reads.
    pub fn rerank_depth(&self) -> usize {
        self.rerank_depth.unwrap_or(DEFAULT_RERANK_DEPTH)
    }

    /// Checks everything that can be checked without the data: counts, dimensions, finite numbers.
    ///
    /// # Errors
    /// A [`QueryError`] for the first thing that is wrong. Whether the filter fits the schema is checked when it is
    /// evaluated.
    pub fn validate(&self, schema: &Schema) -> Result<(), QueryError> {
        if self.limit == 0
            || self
                .limit
                .checked_add(self.offset)
                .is_none_or(|window| window > MAX_WINDOW)
        {
            return Err(QueryError::Window {
                limit: self.limit,
                offset: self.offset,
                most: MAX_WINDOW,
            });
        }
        if let Some(got) = self.recall
            && !(got > 0.0 && got <= 1.0)
        {
            return Err(QueryError::Recall { got });
        }
        if self.budget.is_some_and(|budget| budget.is_zero()) {
            return Err(QueryError::Budget);
        }
        tunable("ef_search", self.ef_search, MAX_EFFORT)?;
        tunable("n_probe", self.n_probe, MAX_EFFORT)?;
        tunable("candidates", self.candidates, MAX_EFFORT)?;
        tunable("rerank_depth", self.rerank_depth, MAX_RERANK_DEPTH)?;
        if self.text.as_ref().is_some_and(|text| text.trim().is_empty()) {
            return Err(QueryError::EmptyText);
        }
        if let Some(lambda) = self.diversity {
            if !(0.0..=1.0).contains(&lambda) {
                return Err(QueryError::Diversity { got: lambda });
            }
            if schema.dense.is_none() {
                return Err(QueryError::PlanNeeds {
                    plan: "diversity".to_owned(),
                    needs: "a dense field",
                    cure: "the collection has none: leave diversity out",
                });
            }
            if self.window() > MAX_DIVERSE {
                return Err(QueryError::Window {
                    limit: self.limit,
                    offset: self.offset,
                    most: MAX_DIVERSE,
                });
            }
        }
        tunable("group size", self.group_by.as_ref().map(|by| by.size), MAX_WINDOW)?;
        if !self.fusion.is_sound() {
            let given = self.fusion.to_string();
            return Err(QueryError::Fusion { given });
        }
        let words = self.lexical.is_some() || (self.text.is_some() && schema.lexical.is_some());
        if self.dense.is_none() && self.tokens.is_none() && self.vectors.is_empty() && !words {
            return Err(QueryError::NothingToSearch);
        }
        self.validate_vectors(schema)?;
        self.validate_dense(schema)?;
        self.validate_tokens(schema)
    }

    fn validate_vectors(&self, schema: &Schema) -> Result<(), QueryError> {
        for (name, value) in &self.vectors {
            let Some((_, kind)) = schema.vector(name) else {
                return Err(QueryError::UnknownVector {
                    name: name.clone(),
                    known: schema.vector_names(),
                });
            };
            let reason = match (kind, value) {
                (VectorKind::Sparse, VectorValue::Sparse(vector)) if !vector.is_empty() => continue,
                (VectorKind::Sparse, VectorValue::Sparse(_)) => {
                    "it has no dimension; leave it out".to_owned()
                }
                (VectorKind::Dense(spec), VectorValue::Dense(vector)) if vector.len() == spec.dim => {
                    match vector.iter().find(|x| !x.is_finite()) {
                        Some(bad) => format!("it holds {bad}; every number must be finite"),
                        None => continue,
                    }
                }
                _ => format!(
                    "expected one for a field of the kind {}, got {}",
                    kind.describe(),
                    value.describe()
                ),
            };
            return Err(QueryError::NamedVector {
                name: name.clone(),
                reason,
            });
        }
        Ok(())
    }

    fn validate_dense(&self, schema: &Schema) -> Result<(), QueryError> {
        let (Some(dense), Some(spec)) = (&self.dense, &schema.dense) else {
            return Ok(());
        };
        if dense.len() != spec.dim {
            return Err(QueryError::Dimension {
                field: "dense vector",
                expected: spec.dim,
                got: dense.len(),
            });
        }
        finite("dense vector", dense)
    }

    fn validate_tokens(&self, schema: &Schema) -> Result<(), QueryError> {
        let (Some((tokens, dim)), Some(spec)) = (&self.tokens, &schema.tokens) else {
            return Ok(());
        };
        if *dim != spec.dim {
            return Err(QueryError::Dimension {
                field: "token matrix",
                expected: spec.dim,
                got: *dim,
            });
        }
        if *dim == 0 || !tokens.len().is_multiple_of(*dim) {
            return Err(QueryError::RaggedTokens {
                got: tokens.len(),
                dim: *dim,
            });
        }
        let got = tokens.len() / dim;
        if got == 0 || got > MAX_QUERY_TOKENS {
            return Err(QueryError::QueryTokens {
                got,
                most: MAX_QUERY_TOKENS,
            });
        }
        finite("token matrix", tokens)
    }
}

fn tunable(name: &'static str, value: Option<usize>, most: usize) -> Result<(), QueryError> {
    match value {
        Some(got) if got == 0 || got > most => Err(QueryError::Tunable {
            name,
            got,
            least: 1,
            most,
        }),
        _ => Ok(()),
    }
}

fn finite(field: &'static str, numbers: &[f32]) -> Result<(), QueryError> {
    match numbers.iter().position(|x| !x.is_finite()) {
        Some(at) => Err(QueryError::NotFinite {
            field,
            at,
            value: numbers[at],
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use latewood_codecs::{DenseCodec, Metric};
    use latewood_storage::{DenseSpec, TokensSpec};

    use super::*;

    fn schema() -> Schema {
        Schema {
            dense: Some(DenseSpec {
                dim: 4,
                metric: Metric::Cosine,
                codec: DenseCodec::F32,
            }),
            tokens: Some(TokensSpec {
                dim: 8,
                bits: 2,
                codec: latewood_codecs::TokenCodec::default(),
                original: None,
                pool_factor: 1,
            }),
            ..Schema::default()
        }
    }

    fn good() -> QueryRequest {
        QueryRequest {
            dense: Some(vec![1.0; 4]),
            tokens: Some((vec![1.0; 16], 8)),
            text: Some("owls".to_owned()),
            ..QueryRequest::default()
        }
    }

    fn refused(change: impl FnOnce(&mut QueryRequest)) -> QueryError {
        let mut request = good();
        change(&mut request);
        request.validate(&schema()).unwrap_err()
    }

    #[test]
    fn a_good_request_passes() {
        good().validate(&schema()).unwrap();
    }

    #[test]
    fn counts_out_of_range_are_refused() {
        assert!(matches!(refused(|r| r.limit = 0), QueryError::Window { .. }));
        assert!(matches!(
            refused(|r| r.limit = MAX_WINDOW + 1),
            QueryError::Window { .. }
        ));
        assert!(matches!(
            refused(|r| r.offset = MAX_WINDOW),
            QueryError::Window { .. }
        ));
        assert!(matches!(
            refused(|r| r.offset = usize::MAX),
            QueryError::Window { .. }
        ));
        assert!(matches!(
            refused(|r| r.ef_search = Some(0)),
            QueryError::Tunable {
                name: "ef_search",
                ..
            }
        ));
        assert!(matches!(
            refused(|r| r.n_probe = Some(0)),
            QueryError::Tunable { name: "n_probe", .. }
        ));
        assert!(matches!(
            refused(|r| r.candidates = Some(usize::MAX)),
            QueryError::Tunable { .. }
        ));
        assert!(matches!(
            refused(|r| r.rerank_depth = Some(0)),
            QueryError::Tunable { .. }
        ));
    }

    #[test]
    fn a_recall_is_a_share_above_nothing() {
        for bad in [0.0, -0.5, 1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let error = refused(|r| r.recall = Some(bad));
            assert!(matches!(error, QueryError::Recall { .. }), "{bad}: {error}");
        }
        for good in [1e-9, 0.5, 1.0] {
            let request = QueryRequest {
                recall: Some(good),
                ..self::good()
            };
            request.validate(&schema()).unwrap();
        }
    }

    #[test]
    fn bad_vectors_and_texts_are_refused() {
        assert!(matches!(
            refused(|r| (r.dense, r.tokens) = (None, None)),
            QueryError::NothingToSearch
        ));
        assert!(matches!(
            refused(|r| r.text = Some(" \n".to_owned())),
            QueryError::EmptyText
        ));
        let dimension = refused(|r| r.dense = Some(vec![1.0; 5]));
        assert!(matches!(
            dimension,
            QueryError::Dimension {
                field: "dense vector",
                expected: 4,
                got: 5
            }
        ));
        let dimension = refused(|r| r.tokens = Some((vec![1.0; 32], 16)));
        assert!(matches!(
            dimension,
            QueryError::Dimension {
                field: "token matrix",
                expected: 8,
                got: 16
            }
        ));
        assert!(matches!(
            refused(|r| r.tokens = Some((vec![1.0; 9], 8))),
            QueryError::RaggedTokens { .. }
        ));
        assert!(matches!(
            refused(|r| r.tokens = Some((vec![], 8))),
            QueryError::QueryTokens { got: 0, .. }
        ));
        let long = refused(|r| r.tokens = Some((vec![1.0; 80_000], 8)));
        assert!(matches!(
            long,
            QueryError::QueryTokens {
                got: 10_000,
                most: 512
            }
        ));
        assert!(matches!(
            refused(|r| r.dense = Some(vec![1.0, f32::NAN, 0.0, 0.0])),
            QueryError::NotFinite { at: 1, .. }
        ));
        let infinite = refused(|r| r.tokens = Some((vec![f32::INFINITY; 8], 8)));
        assert!(matches!(
            infinite,
            QueryError::NotFinite {
                field: "token matrix",
                at: 0,
                ..
            }
        ));
    }
}
