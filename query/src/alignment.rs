//! Which token of a document each token of a query matches: the alignment that MaxSim sums up (ColBERT, arXiv 2004.12832,
//! equation 3).

use latewood_codecs::MaxSimQuery;
use latewood_storage::Snapshot;
use serde::{Deserialize, Serialize};

use crate::error::QueryError;
use crate::hits::Position;
use crate::token_scorer::TokenScorer;

/// A token of a query and the token of the document that is most like it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenMatch {
    /// The query's token, from 0.
    pub query_token: usize,
    /// The document's token, from 0; of equals the first.
    pub document_token: usize,
    /// Their dot product.
    pub score: f32,
}

/// The matches of all query tokens with one document, over the best tier that is stored of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Alignment {
    /// One match for each token of the query, in its order.
    pub matches: Vec<TokenMatch>,
    /// The sum of their scores: the document's MaxSim score.
    pub score: f32,
    /// Tokens of the document.
    pub document_tokens: usize,
}

/// The alignment of a query (rows of `dim` numbers) with a document; `None` where the document has no tokens.
///
/// # Errors
/// A query that is no matrix of the collection's dimension, a segment that cannot be read.
pub(crate) fn alignment(
    snapshot: &Snapshot,
    (tokens, dim): (&[f32], usize),
    position: Position,
) -> Result<Option<Alignment>, QueryError> {
    let query = MaxSimQuery::new(dim, tokens)?;
    let rows = TokenScorer::new(snapshot, &query)?.rows(position);
    if rows.is_empty() {
        return Ok(None);
    }
    let matches: Vec<TokenMatch> = tokens
        .chunks_exact(dim)
        .enumerate()
        .map(|(query_token, token)| best_match(query_token, token, &rows))
        .collect();
    Ok(Some(Alignment {
        score: matches.iter().map(|one| one.score).sum(),
        matches,
        document_tokens: rows.len() / dim,
    }))
}

fn best_match(query_token: usize, token: &[f32], rows: &[f32]) -> TokenMatch {
    let mut best = TokenMatch {
        query_token,
        document_token: 0,
        score: f32::NEG_INFINITY,
    };
    for (document_token, row) in rows.chunks_exact(token.len()).enumerate() {
        let score = token.iter().zip(row).map(|(a, b)| a * b).sum();
        if score > best.score {
            (best.document_token, best.score) = (document_token, score);
        }
    }
    best
}
