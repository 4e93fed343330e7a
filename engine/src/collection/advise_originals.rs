//! The tokens of documents as they were before they were coded.

use std::sync::Arc;

use latewood_codecs::{OriginalCodec, TokenMatrix};
use latewood_storage::{DocumentId, Place, Schema, Snapshot};

use super::Collection;
use crate::error::Error;
use crate::models::{ModelError, TextEncoder};

/// The mean cosine of a document's tokens to the stored ones below which they are not those of its text; as `doctor` has it.
const LIKE: f32 = 0.6;
/// The share of the encoded documents, one of so many, from which the stored tokens are taken for another encoder's.
const STRANGE: usize = 20;

/// Why something was not measured.
pub(super) enum Stop {
    /// What is missing, and what to do.
    Reason(String),
    /// What failed.
    Error(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// Reads or makes tokens that were never coded: those that are kept, and else what the encoder makes of the text.
pub(super) struct Originals<'a> {
    snapshot: &'a Snapshot,
    schema: Arc<Schema>,
    encoder: Arc<dyn TextEncoder>,
    /// Documents that were encoded.
    pub(super) encoded: usize,
    /// Of these, how many have other tokens stored than the encoder gives.
    strange: usize,
}

/// What is kept of a document.
enum Kept {
    Whole(TokenMatrix),
    /// Its text, and what its codes decode to.
    Text(String, TokenMatrix),
}

impl<'a> Originals<'a> {
    pub(super) fn new(collection: &Collection, snapshot: &'a Snapshot) -> Result<Self, Error> {
        Ok(Self {
            snapshot,
            schema: collection.schema(),
            encoder: collection.encoder()?,
            encoded: 0,
            strange: 0,
        })
    }

    /// The tokens of documents as they would be stored before they are coded; none of one that is no more.
    pub(super) fn read(&mut self, ids: &[DocumentId]) -> Result<Vec<Option<TokenMatrix>>, Stop> {
        let mut matrices: Vec<Option<TokenMatrix>> = Vec::with_capacity(ids.len());
        let (mut places, mut texts, mut stored) = (Vec::new(), Vec::new(), Vec::new());
        for (at, id) in ids.iter().enumerate() {
            matrices.push(match self.kept(id)? {
                Some(Kept::Whole(matrix)) => Some(matrix),
                Some(Kept::Text(text, decoded)) => {
                    places.push(at);
                    texts.push(text);
                    stored.push(decoded);
                    None
                }
                None => None,
            });
            self.snapshot.relieve();
        }
        if texts.is_empty() {
            return Ok(matrices);
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let encodings = self
            .encoder
            .encode_documents(&texts, None)
            .map_err(|error| match error {
                ModelError::EmptyText { index } if index < places.len() => no_text(&ids[places[index]]),
                other => Stop::Error(other.into()),
            })?;
        for ((at, stored), encoding) in places.into_iter().zip(&stored).zip(encodings) {
            let matrix = self.matrix(&ids[at], &encoding.tokens.unwrap_or_default())?;
            self.encoded += 1;
            self.strange += usize::from(!is_like(&matrix, stored));
            matrices[at] = Some(matrix);
        }
        Ok(matrices)
    }

    /// Whether the tokens that were made so far are those that the collection has codes of.
    pub(super) fn check(&self) -> Result<(), Stop> {
        if self.strange == 0 || self.strange * STRANGE < self.encoded {
            return Ok(());
        }
        Err(Stop::Reason(format!(
            "the stored tokens of {} of {} documents are not those that {} makes of their texts: keep the originals \
             (latewood create --keep-original f16) where documents bring vectors of their own",
            self.strange,
            self.encoded,
            self.encoder.identity().name
        )))
    }

    fn kept(&self, id: &DocumentId) -> Result<Option<Kept>, Stop> {
        let Some(place) = self.snapshot.find(id)? else {
            return Ok(None);
        };
        match place {
            Place::Memtable { slot } => {
                let record = self.snapshot.memtable().get(slot);
                Ok(record.and_then(|record| record.tokens.clone()).map(Kept::Whole))
            }
            Place::Segment { segment, ordinal } => {
                let Some(view) = self.snapshot.segments().get(segment) else {
                    return Ok(None);
                };
                let view = &view.segment;
                // The best that is stored.
                let Some(matrix) = view.token_matrix(ordinal)? else {
                    return Ok(None);
                };
                if view.codebook_id().is_none() || view.original()?.is_some() {
                    return Ok(Some(Kept::Whole(matrix)));
                }
                match view.text(ordinal)? {
                    Some(text) if !text.trim().is_empty() => Ok(Some(Kept::Text(text, matrix))),
                    _ => Err(no_text(id)),
                }
            }
        }
    }

    /// What a load makes of the tokens that an encoder gives.
    fn matrix(&self, id: &DocumentId, tokens: &[f32]) -> Result<TokenMatrix, Error> {
        let spec = self.schema.tokens.as_ref();
        let dim = self
            .encoder
            .token_dim()
            .or(spec.map(|spec| spec.dim))
            .unwrap_or_default();
        let factor = spec.map_or(1, |spec| spec.pool_factor);
        TokenMatrix::from_f32(dim, tokens)
            .and_then(|matrix| matrix.pooled(factor))
            .map_err(|source| Error::Vector {
                id: id.clone(),
                source,
            })
    }
}

/// As what whole tokens are kept: by the original tier's codec, and half precision without one.
pub(super) fn whole(schema: &Schema) -> OriginalCodec {
    let kept = schema.tokens.as_ref().and_then(|spec| spec.original);
    kept.unwrap_or(OriginalCodec::F16)
}

fn no_text(id: &DocumentId) -> Stop {
    Stop::Reason(format!(
        "only the codes of document {id} are kept, and codes of codes would tell too little of another width: there is no text \
         to encode again; keep the originals (latewood create --keep-original f16)"
    ))
}

/// Whether tokens are those that were stored, but for what coding takes from them.
fn is_like(made: &TokenMatrix, stored: &TokenMatrix) -> bool {
    if made.dim() != stored.dim() || made.len() != stored.len() {
        return false;
    }
    let (made, other, dim) = (made.to_f32(), stored.to_f32(), stored.dim());
    let pairs = made.chunks_exact(dim).zip(other.chunks_exact(dim));
    let cosines: f32 = pairs.map(|(a, b)| cosine(a, b)).sum();
    cosines >= LIKE * stored.len() as f32
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}
