//! What a collection takes.

use std::collections::BTreeMap;

use latewood_storage::{CodebookStats, ModelIdentity, Schema};
use serde::Serialize;

use super::Collection;
use crate::error::Error;

/// Components that are there because documents have tokens: the bill that late interaction sends.
const TOKEN_COMPONENTS: [&str; 4] = ["tokens", "original", "ivf", "codebook"];

/// What a collection holds, and what it takes on disk.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// Its name.
    pub collection: String,
    /// Live documents.
    pub documents: u64,
    /// Deleted or replaced documents that still take space; `optimize` reclaims it.
    pub deleted: u64,
    /// Tokens of the stored documents.
    pub tokens: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes on disk by component.
    pub bytes: BTreeMap<String, u64>,
    /// Bytes on disk altogether.
    pub bytes_total: u64,
    /// Bytes on disk a live document.
    pub bytes_per_document: f64,
    /// Bytes of the token components (codes, originals, inverted lists, codebook) a token; 0 without tokens.
    pub bytes_per_token: f64,
    /// Tokens that are not coded: those in memory, and those that wait in segments for a codebook that fits them.
    pub raw_tokens: u64,
    /// Centroids of the codebook that new documents are coded with; none before the first one is trained.
    pub centroids: Option<u64>,
    /// The codebooks in use, oldest first, and how well they fit.
    pub codebooks: Vec<CodebookStats>,
    /// The encoder.
    pub encoder: Option<ModelStats>,
    /// The reranker.
    pub reranker: Option<ModelStats>,
    /// What the collection holds.
    pub schema: Schema,
}

/// A model of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelStats {
    /// The model's identity.
    #[serde(flatten)]
    pub identity: ModelIdentity,
    /// What a user should know about its vectors.
    pub notes: Vec<String>,
}

impl Stats {
    /// Bytes of the components that exist because documents have tokens.
    pub fn token_bytes(&self) -> u64 {
        TOKEN_COMPONENTS
            .iter()
            .filter_map(|component| self.bytes.get(*component))
            .sum()
    }
}

impl Collection {
    /// What the collection holds, and what it takes on disk.
    pub fn stats(&self) -> Result<Stats, Error> {
        let storage = self.store.stats()?;
        let schema = self.schema();
        let snapshot = self.snapshot()?;
        let bytes: BTreeMap<String, u64> = storage
            .bytes
            .iter()
            .map(|(component, &bytes)| (component.to_string(), bytes))
            .collect();
        let bytes_total = bytes.values().sum();
        let mut stats = Stats {
            collection: self.name().to_owned(),
            documents: storage.documents,
            deleted: storage.deleted,
            tokens: storage.tokens,
            segments: storage.segments as u64,
            bytes,
            bytes_total,
            bytes_per_document: ratio(bytes_total, storage.documents),
            bytes_per_token: 0.0,
            raw_tokens: storage.raw_tokens,
            centroids: snapshot.codebook().map(|codebook| codebook.codec.len() as u64),
            codebooks: self.store.codebooks()?,
            encoder: schema
                .encoder
                .as_ref()
                .map(|identity| self.encoder_stats(identity)),
            reranker: schema.reranker.as_ref().map(|identity| ModelStats {
                identity: identity.clone(),
                notes: Vec::new(),
            }),
            schema: Schema::clone(&schema),
        };
        stats.bytes_per_token = ratio(stats.token_bytes(), stats.tokens);
        Ok(stats)
    }

    /// The notes come from the model itself; where it cannot be loaded, that is the note.
    fn encoder_stats(&self, identity: &ModelIdentity) -> ModelStats {
        let notes = match self.encoder() {
            Ok(encoder) => encoder.notes(),
            Err(e) => vec![e.to_string()],
        };
        ModelStats {
            identity: identity.clone(),
            notes,
        }
    }
}

fn ratio(bytes: u64, things: u64) -> f64 {
    if things == 0 {
        0.0
    } else {
        bytes as f64 / things as f64
    }
}
