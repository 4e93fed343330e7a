//! What the vectors of a document take.

use serde::Serialize;

use super::Collection;
use crate::error::Error;

/// Bytes beside a token's residual code: its factors, and the number of its centroid, which has 16 bits up to so many.
const FACTORS: f64 = 2.0;
const NARROW: u64 = 1 << 16;

/// Bytes that the vectors of a document take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StorageBill {
    /// A document's dense vector by its codec, without the graph; none without dense vectors.
    pub dense: Option<f64>,
    /// Tokens of a document on average.
    pub tokens_per_document: f64,
    /// For 1, 2 and 4 bits: a document's token codes, without posting lists, centroids and originals. Empty without tokens.
    pub bits: Vec<(u8, f64)>,
    /// What dense vectors and graphs take on disk, for each document.
    pub dense_on_disk: f64,
    /// What tokens take on disk, for each document: codes, originals, posting lists, centroids.
    pub tokens_on_disk: f64,
}

impl Collection {
    /// What the vectors of a document take; none in an empty collection.
    pub(super) fn storage_bill(&self) -> Result<Option<StorageBill>, Error> {
        let stats = self.stats()?;
        if stats.documents == 0 {
            return Ok(None);
        }
        let documents = stats.documents as f64;
        let schema = &stats.schema;
        let tokens = stats.tokens as f64 / documents;
        let centroid = if stats.centroids.is_none_or(|centroids| centroids <= NARROW) {
            2.0
        } else {
            4.0
        };
        let dense = ["dense", "graph"]
            .iter()
            .filter_map(|component| stats.bytes.get(*component));
        Ok(Some(StorageBill {
            dense: schema
                .dense
                .as_ref()
                .map(|dense| dense.codec.row_bytes(dense.dim) as f64),
            tokens_per_document: tokens,
            bits: schema
                .tokens
                .iter()
                .flat_map(|spec| {
                    [1_u8, 2, 4].map(|bits| {
                        (
                            bits,
                            tokens * ((spec.dim * usize::from(bits)) as f64 / 8.0 + centroid + FACTORS),
                        )
                    })
                })
                .collect(),
            dense_on_disk: dense.sum::<u64>() as f64 / documents,
            tokens_on_disk: stats.token_bytes() as f64 / documents,
        }))
    }
}
