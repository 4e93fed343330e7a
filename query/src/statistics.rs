//! What the planner may look at: counts of a snapshot, and of what the filter leaves of it.

use std::collections::BTreeMap;

use latewood_storage::{Snapshot, VectorKind};
use serde::{Deserialize, Serialize};

use crate::candidates::dense_field::dense_spec;
use crate::error::QueryError;
use crate::filter::Matches;
use crate::quality::QualityTable;
use crate::tuning::{BreadthTable, TunedTable};

/// Counts of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Live documents.
    pub documents: u64,
    /// Those that the filter lets through; all of them without a filter.
    pub matching: u64,
    /// The dense vectors, if the schema has them.
    pub dense: Option<DenseStatistics>,
    /// The token matrices, if the schema has them.
    pub tokens: Option<TokenStatistics>,
    /// The lexical index, if the schema has one.
    pub lexical: Option<LexicalStatistics>,
    /// The sparse vectors of named fields.
    #[serde(default)]
    pub sparse: BTreeMap<String, SparseStatistics>,
    /// The dense vectors of named fields.
    #[serde(default)]
    pub vectors: BTreeMap<String, DenseStatistics>,
    /// Whether documents carry a text that a cross-encoder could read: what the first live document says. Looked at only for
    /// a query that has a text itself.
    pub text: bool,
    /// Whether the caller gave a reranker.
    pub reranker: bool,
    /// What is worth knowing of how the filter was evaluated.
    pub filter_note: Option<String>,
    /// What the query took before it could be planned, in microseconds: encoding its text, evaluating its filter.
    #[serde(default)]
    pub spent_microseconds: f64,
    /// Blocks of texts or payloads that are read for each hit.
    #[serde(default)]
    pub reads_per_hit: u32,
    /// How well each plan was measured to rank, if it was.
    #[serde(default)]
    pub qualities: Option<QualityTable>,
    /// What the token index was tuned to, if it was.
    pub tuned: Option<TunedTable>,
    /// What the graph walk was tuned to, if it was.
    #[serde(default)]
    pub breadths: Option<BreadthTable>,
}

/// Counts of the lexical index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LexicalStatistics {
    /// Postings of the terms of the query, where they were looked up.
    pub postings: u64,
}

/// Counts of the sparse vectors of a field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SparseStatistics {
    /// Postings of the dimensions of the query, where they were looked up.
    pub postings: u64,
    /// Documents that are in no index.
    pub others: u64,
}

/// Counts of the dense vectors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DenseStatistics {
    /// Numbers in a vector.
    pub dim: usize,
    /// Bytes of a stored row, factors included.
    pub row_bytes: usize,
    /// Segments with a graph.
    pub graphs: u64,
    /// Rows in those segments, deleted ones included.
    pub graph_rows: u64,
    /// Rows in segments without a graph and in the memtable.
    pub other_rows: u64,
}

/// Counts of the token matrices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenStatistics {
    /// Numbers in a token's vector.
    pub dim: usize,
    /// Bytes that a token's codes take.
    pub code_bytes: usize,
    /// Bytes that a token takes in the best tier stored.
    pub best_bytes: usize,
    /// Documents in segments with posting lists, deleted ones included.
    pub indexed_documents: u64,
    /// Tokens of those documents.
    pub indexed_tokens: u64,
    /// Tokens kept whole: in segments without a codebook and in the memtable.
    pub whole_tokens: u64,
    /// Documents that hold those.
    pub whole_documents: u64,
    /// Of the tokens kept whole, those in the memtable.
    #[serde(default)]
    pub waiting_tokens: u64,
    /// Documents that hold those.
    #[serde(default)]
    pub waiting_documents: u64,
    /// Centroids of all codebooks in use.
    pub centroids: u64,
    /// The numbers of those codebooks, rising.
    pub codebooks: Vec<u64>,
}

impl TokenStatistics {
    /// Tokens of a document, on average.
    pub fn tokens_per_document(&self) -> f64 {
        let documents = (self.indexed_documents + self.whole_documents).max(1);
        #[expect(clippy::cast_precision_loss, reason = "an average")]
        {
            (self.indexed_tokens + self.whole_tokens) as f64 / documents as f64
        }
    }
}

impl Statistics {
    /// The share of the live documents that the filter lets through.
    pub fn selectivity(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        if self.documents == 0 {
            1.0
        } else {
            self.matching as f64 / self.documents as f64
        }
    }
}

/// Counts a snapshot, given what its filter leaves. `text`, `reranker`, and what was measured before are left for the caller to set.
///
/// # Errors
/// When a segment cannot be read.
pub fn statistics(snapshot: &Snapshot, matches: &Matches) -> Result<Statistics, QueryError> {
    let schema = snapshot.schema();
    let mut out = Statistics {
        documents: snapshot.len(),
        matching: matches.count(),
        filter_note: matches.note().map(str::to_owned),
        ..Statistics::default()
    };
    if schema.dense.is_some() {
        out.dense = Some(dense(snapshot, None)?);
    }
    out.lexical = schema.lexical.as_ref().map(|_| LexicalStatistics::default());
    for field in &schema.vectors {
        let name = field.name.clone();
        match field.kind {
            VectorKind::Dense(_) => drop(out.vectors.insert(name, dense(snapshot, Some(&field.name))?)),
            VectorKind::Sparse => drop(out.sparse.insert(name, SparseStatistics::default())),
        }
    }
    if schema.tokens.is_some() {
        out.tokens = Some(tokens(snapshot)?);
    }
    Ok(out)
}

fn dense(snapshot: &Snapshot, field: Option<&str>) -> Result<DenseStatistics, QueryError> {
    let mut out = DenseStatistics::default();
    if let Some(spec) = dense_spec(snapshot.schema(), field) {
        out.dim = spec.dim;
        out.row_bytes = spec.codec.row_bytes(spec.dim) + 4 * spec.codec.row_factors(spec.metric);
    }
    for view in snapshot.segments() {
        let number = field
            .and_then(|name| snapshot.schema().vector(name))
            .map(|(at, _)| at);
        let (rows, indexed) = match number {
            None => (view.segment.len(), view.segment.graph()?.is_some()),
            Some(number) => {
                let rows = view.segment.named(number)?.map_or(0, |rows| rows.len());
                (rows, view.segment.named_graph(number).is_some())
            }
        };
        let rows = u64::from(rows);
        if indexed {
            out.graphs += 1;
            out.graph_rows += rows;
        } else {
            out.other_rows += rows;
        }
    }
    out.other_rows += snapshot.memtable().len() as u64;
    Ok(out)
}

fn tokens(snapshot: &Snapshot) -> Result<TokenStatistics, QueryError> {
    let mut out = TokenStatistics::default();
    if let Some(spec) = &snapshot.schema().tokens {
        out.dim = spec.dim;
        out.code_bytes = spec.dim * usize::from(spec.bits) / 8 + 4;
        out.best_bytes = spec
            .original
            .map_or(out.code_bytes, |codec| codec.row_bytes(spec.dim));
    }
    for view in snapshot.segments() {
        let (documents, tokens) = (u64::from(view.segment.len()), view.segment.num_tokens());
        let codebook = view
            .segment
            .codebook_id()
            .and_then(|id| snapshot.codebooks().get(&id));
        match codebook {
            Some(codebook) if view.segment.ivf()?.is_some() => {
                out.indexed_documents += documents;
                out.indexed_tokens += tokens;
                if !out.codebooks.contains(&codebook.id) {
                    out.codebooks.push(codebook.id);
                    out.centroids += codebook.codec.len() as u64;
                }
            }
            _ => {
                out.whole_documents += documents;
                out.whole_tokens += tokens;
            }
        }
    }
    out.codebooks.sort_unstable();
    let memtable = snapshot.memtable();
    (out.waiting_documents, out.waiting_tokens) = (memtable.len() as u64, memtable.num_tokens());
    out.whole_documents += out.waiting_documents;
    out.whole_tokens += out.waiting_tokens;
    Ok(out)
}

/// Whether the first live document has a text. It takes a block of texts to be decompressed.
pub(crate) fn first_text(snapshot: &Snapshot) -> Result<bool, QueryError> {
    for view in snapshot.segments() {
        if let Some(ordinal) = (0..view.segment.len()).find(|ordinal| view.is_live(*ordinal)) {
            return Ok(view.segment.text(ordinal)?.is_some());
        }
    }
    Ok(snapshot
        .memtable()
        .iter()
        .next()
        .is_some_and(|(_, record)| record.text.is_some()))
}
