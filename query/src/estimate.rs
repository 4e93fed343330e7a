//! What each way of running a stage should take: statistics x cost model.

use crate::cost::CostModel;
use crate::plan::{Estimate, PARTS, ProbeSettings, StageName};
use crate::request::QueryRequest;
use crate::statistics::{DenseStatistics, LexicalStatistics, SparseStatistics, Statistics, TokenStatistics};

/// What scoring a row costs in a scan of all matching rows by their codes, of reaching one in a graph.
const SCANNED_ROW: f64 = 0.22;
/// Rows scored for each unit of ef_search in one graph, as seen on HNSW graphs with 32 links a row.
const HOPS_PER_EF: f64 = 14.0;
/// Rows scored on the way down to the lowest level.
const DESCENT_HOPS: f64 = 100.0;
/// Tokens that a cross-encoder reads of a document when the collection has no token matrices to count.
const TEXT_TOKENS: f64 = 128.0;

/// Documents whose codes the token index reads, as a rule, before it stops by itself.
const REFINED: f64 = 300.0;

/// Documents of the memtable that are scored exactly beside an index, as a rule.
const LOOKED_AT: f64 = 16.0;
/// What a first look at a token takes, of scoring it from codes: directions are half of the query's tokens.
const ROUGH: f64 = 0.5;

/// Postings that cost as much as a document that is scored from its sparse vector.
const SPARSE_ROW: f64 = 100.0;

/// One query's view of the cost model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimator<'a> {
    pub(crate) request: &'a QueryRequest,
    pub(crate) statistics: &'a Statistics,
    pub(crate) cost: &'a CostModel,
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "estimates: floats are rounded, and a cast from a float saturates"
)]
impl Estimator<'_> {
    /// Tokens of the query.
    pub(crate) fn query_tokens(&self) -> f64 {
        self.request
            .tokens
            .as_ref()
            .map_or(0.0, |(tokens, dim)| (tokens.len() / (*dim).max(1)) as f64)
    }

    /// An estimate from its parts, each corrected by what queries really took.
    fn corrected(&self, stage: StageName, parts: &[f64], sum: Estimate) -> Estimate {
        self.corrected_by(&stage.to_string(), parts, sum)
    }

    fn corrected_by(&self, name: &str, given: &[f64], sum: Estimate) -> Estimate {
        let mut parts = [0.0; PARTS];
        for (part, given) in parts.iter_mut().zip(given) {
            *part = *given;
        }
        Estimate {
            microseconds: self.cost.corrections.estimate(name, &parts),
            parts,
            ..sum
        }
    }

    /// What the query takes beside its stages, what it already took included.
    pub(crate) fn beside(&self) -> Estimate {
        let hits = (self.request.limit as f64).min(self.matching());
        let reads = hits * f64::from(self.statistics.reads_per_hit);
        let cost = self.cost;
        let parts = [cost.query, hits * cost.hit, reads * cost.text_read];
        let sum = Estimate {
            bytes: (reads * 1_000.0) as u64,
            ..Estimate::default()
        };
        let estimate = self.corrected_by(CostModel::BESIDE, &parts, sum);
        Estimate {
            microseconds: estimate.microseconds + self.statistics.spent_microseconds,
            ..estimate
        }
    }

    /// Making one ranking of several.
    pub(crate) fn fuse(&self, candidates: u64) -> Estimate {
        let parts = [self.cost.stage, candidates as f64 * self.cost.candidate];
        self.corrected(StageName::Fuse, &parts, Estimate::default())
    }

    /// What a stage takes for going through documents, at the constants.
    fn walked(&self) -> f64 {
        if self.statistics.matching < self.statistics.documents {
            self.statistics.documents as f64 * self.cost.filter_row
        } else {
            0.0
        }
    }

    fn matching(&self) -> f64 {
        self.statistics.matching as f64
    }

    fn dense_rows(&self, dense: &DenseStatistics, rows: f64) -> Estimate {
        Estimate {
            microseconds: rows * dense.dim as f64 / 1_000.0 * self.cost.dense_row_per_1000_dims,
            bytes: (rows * dense.row_bytes as f64) as u64,
            flops: (2.0 * rows * dense.dim as f64) as u64,
            ..Estimate::default()
        }
    }

    /// Scoring every matching dense row.
    pub(crate) fn dense_scan(&self, dense: &DenseStatistics) -> Estimate {
        let rows = self.dense_rows(dense, self.matching());
        let parts = [
            self.cost.stage,
            rows.microseconds,
            self.walked(),
            self.matching() * self.cost.candidate,
        ];
        self.corrected(StageName::DenseScan, &parts, rows)
    }

    /// Looking up the words of the query.
    pub(crate) fn bm25(&self, lexical: &LexicalStatistics, keep: usize) -> Estimate {
        let postings = lexical.postings as f64;
        let sum = Estimate {
            bytes: (postings * 1.5) as u64,
            flops: lexical.postings.saturating_mul(5),
            ..Estimate::default()
        };
        let parts = [
            self.cost.stage,
            postings * self.cost.term_posting,
            self.walked(),
            keep as f64 * self.cost.candidate,
            // Whole blocks of documents are passed over by their best scores.
            self.statistics.documents as f64 * self.cost.filter_row / 16.0,
        ];
        self.corrected(StageName::Bm25, &parts, sum)
    }

    /// Looking up the dimensions of a sparse vector.
    pub(crate) fn sparse(&self, sparse: &SparseStatistics) -> Estimate {
        let postings = sparse.postings as f64;
        let others = sparse.others as f64 * self.statistics.selectivity();
        let sum = Estimate {
            bytes: (postings * 2.0 + others * SPARSE_ROW * 6.0) as u64,
            flops: (2.0 * postings) as u64,
            ..Estimate::default()
        };
        let parts = [
            self.cost.stage,
            postings * self.cost.sparse_posting,
            others * SPARSE_ROW * self.cost.sparse_posting,
            self.walked(),
        ];
        self.corrected(StageName::Sparse, &parts, sum)
    }

    /// Searching the graphs. Under a filter that is a walk whose beam is wider by the root of what is left out, or a scan of the
    /// matching rows by their codes.
    pub(crate) fn dense_graph(&self, dense: &DenseStatistics, ef_search: usize) -> Estimate {
        let selectivity = self.statistics.selectivity().max(1e-6);
        let width = ef_search as f64 / selectivity.sqrt();
        let matching = dense.graph_rows as f64 * selectivity;
        let scan = if selectivity < 1.0 { SCANNED_ROW } else { 1.0 } * matching;
        let hops = (dense.graphs as f64 * (DESCENT_HOPS + HOPS_PER_EF * width)).min(scan);
        let graph = Estimate {
            microseconds: hops * self.cost.graph_hop * (0.5 + dense.dim as f64 / 768.0),
            bytes: (hops * (dense.row_bytes as f64 + 4.0)) as u64,
            flops: (2.0 * hops * dense.dim as f64) as u64,
            ..Estimate::default()
        };
        let others = self.dense_rows(dense, dense.other_rows as f64 * selectivity);
        let parts = [
            self.cost.stage,
            graph.microseconds,
            others.microseconds,
            self.walked(),
        ];
        self.corrected(StageName::DenseGraph, &parts, graph + others)
    }

    fn pairs(&self, tokens: &TokenStatistics, pairs: f64, unit: f64, bytes_per_token: usize) -> Estimate {
        let query_tokens = self.query_tokens().max(1.0);
        Estimate {
            microseconds: pairs * unit * tokens.dim as f64 / 128.0,
            bytes: (pairs / query_tokens * bytes_per_token as f64) as u64,
            flops: (2.0 * pairs * tokens.dim as f64) as u64,
            ..Estimate::default()
        }
    }

    fn centroids(&self, tokens: &TokenStatistics) -> Estimate {
        let pairs = tokens.centroids as f64 * self.query_tokens();
        self.pairs(tokens, pairs, self.cost.centroid_pair, 4 * tokens.dim)
    }

    fn whole_tokens(&self, tokens: &TokenStatistics) -> Estimate {
        let pairs = tokens.whole_tokens as f64 * self.statistics.selectivity() * self.query_tokens();
        self.pairs(tokens, pairs, self.cost.exact_pair, 2 * tokens.dim)
    }

    /// The same beside an index, where the memtable gets a first look and few of its documents are scored exactly.
    fn whole_tokens_beside(&self, tokens: &TokenStatistics) -> Estimate {
        let part = self.statistics.selectivity() * self.query_tokens();
        let raw = tokens.whole_tokens.saturating_sub(tokens.waiting_tokens) as f64;
        let waiting = tokens.waiting_documents as f64;
        let mean = tokens.waiting_tokens as f64 / waiting.max(1.0);
        let exact = raw * part
            + (waiting * self.statistics.selectivity()).min(LOOKED_AT) * mean * self.query_tokens();
        let rough = self.cost.maxsim_pair * ROUGH;
        self.pairs(tokens, exact, self.cost.exact_pair, 2 * tokens.dim)
            + self.pairs(tokens, tokens.waiting_tokens as f64 * part, rough, tokens.dim)
    }

    /// Scoring every matching token matrix.
    pub(crate) fn maxsim_scan(&self, tokens: &TokenStatistics) -> Estimate {
        let pairs = tokens.indexed_tokens as f64 * self.statistics.selectivity() * self.query_tokens();
        let (unit, bytes) = if self.request.exact {
            (self.cost.exact_pair, tokens.best_bytes)
        } else {
            (self.cost.maxsim_pair, tokens.code_bytes)
        };
        let (centroids, codes, whole) = (
            self.centroids(tokens),
            self.pairs(tokens, pairs, unit, bytes),
            self.whole_tokens(tokens),
        );
        let parts = [
            self.cost.stage,
            centroids.microseconds,
            codes.microseconds,
            whole.microseconds,
            self.matching() * self.cost.matrix,
            self.walked(),
        ];
        self.corrected(StageName::MaxsimScan, &parts, centroids + codes + whole)
    }

    /// Searching the posting lists.
    pub(crate) fn maxsim_index(&self, tokens: &TokenStatistics, probe: &ProbeSettings) -> Estimate {
        self.maxsim_index_of(tokens, probe, (probe.refine as f64).min(REFINED))
    }

    /// The same where it is known how many documents are scored from their codes, given candidates enough.
    pub(crate) fn maxsim_index_of(
        &self,
        tokens: &TokenStatistics,
        probe: &ProbeSettings,
        scored: f64,
    ) -> Estimate {
        let query_tokens = self.query_tokens();
        // Where no more match than are wanted, none has to be found first.
        let n_probe = if probe.candidates as u64 >= self.statistics.matching {
            0
        } else {
            probe.n_probe
        };
        let list = tokens.indexed_tokens as f64 / (tokens.centroids as f64).max(1.0);
        let postings = query_tokens * (n_probe as f64).min(tokens.centroids as f64) * list;
        let postings = Estimate {
            microseconds: postings * self.cost.posting,
            bytes: (postings * 2.0) as u64,
            flops: postings as u64,
            ..Estimate::default()
        };
        let matching = tokens.indexed_documents as f64 * self.statistics.selectivity();
        let mean = tokens.tokens_per_document();
        let interactions = (probe.candidates as f64).min(matching) * mean * query_tokens;
        let interactions = Estimate {
            microseconds: interactions * self.cost.interaction_pair,
            bytes: (interactions * 4.0) as u64,
            flops: interactions as u64,
            ..Estimate::default()
        };
        let scored = scored.min(probe.candidates as f64).min(matching);
        let refined = scored * mean * query_tokens;
        let refined = self.pairs(tokens, refined, self.cost.refined_pair, tokens.code_bytes);
        let (centroids, whole) = (self.centroids(tokens), self.whole_tokens_beside(tokens));
        let parts = [
            self.cost.stage + centroids.microseconds,
            postings.microseconds,
            interactions.microseconds,
            (probe.candidates as f64).min(matching) * self.cost.candidate + self.walked(),
            refined.microseconds + whole.microseconds,
            scored * self.cost.matrix,
        ];
        let sum = centroids + postings + interactions + refined + whole;
        self.corrected(StageName::MaxsimIndex, &parts, sum)
    }

    /// Scoring candidates anew by MaxSim over the best tier.
    pub(crate) fn rescore(&self, tokens: &TokenStatistics, candidates: usize) -> Estimate {
        let documents = (candidates as f64).min(self.matching());
        let pairs = documents * tokens.tokens_per_document() * self.query_tokens();
        let scored = self.pairs(tokens, pairs, self.cost.exact_pair, tokens.best_bytes);
        // Original tokens are scored without the centroids.
        let in_codes = tokens.best_bytes == tokens.code_bytes;
        let centroids = if in_codes {
            self.centroids(tokens)
        } else {
            Estimate::default()
        };
        let parts = [
            self.cost.stage,
            scored.microseconds,
            documents * self.cost.matrix,
            centroids.microseconds,
        ];
        self.corrected(StageName::Rescore, &parts, scored)
    }

    /// Reading `depth` documents with a cross-encoder.
    pub(crate) fn rerank(&self, depth: usize) -> Estimate {
        let documents = (depth as f64).min(self.matching());
        let read = self
            .statistics
            .tokens
            .as_ref()
            .map_or(TEXT_TOKENS, TokenStatistics::tokens_per_document);
        let query = if self.request.tokens.is_some() {
            self.query_tokens()
        } else {
            16.0
        };
        let parts = [
            self.cost.stage,
            documents * self.cost.text_read,
            documents * (read + query) * self.cost.rerank_token,
        ];
        let sum = Estimate {
            bytes: (documents * read * 6.0) as u64,
            ..Estimate::default()
        };
        let estimate = self.corrected(StageName::Rerank, &parts, sum);
        let deadline = self
            .request
            .rerank_deadline
            .map_or(f64::INFINITY, |d| d.as_secs_f64() * 1e6);
        Estimate {
            microseconds: estimate.microseconds.min(deadline),
            ..estimate
        }
    }
}
