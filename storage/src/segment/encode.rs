//! Encoding token matrices in parallel, in the order of documents.

use std::sync::Arc;

use latewood_codecs::{OriginalCodec, ResidualCodes};
use rayon::ThreadPool;
use rayon::prelude::*;

use super::codebook::Codebook;
use super::distortion::Distortion;
use super::original::OriginalWriter;
use super::tokens::TokensWriter;
use crate::error::Result;

/// Tokens that one task encodes, more when a document alone has more.
const TASK_TOKENS: usize = 2048;
/// Tasks a thread whose documents, and then codes, wait in memory at once.
const TASKS_A_THREAD: usize = 8;

/// What a task hands back: residual codes, how far the tokens are from their centroids, and codes and factors of the original tier.
type Encoded = (ResidualCodes, Distortion, Vec<u8>, Vec<f32>);

/// Documents that wait to be encoded with one codebook. `D` is whatever `fill` finds a document's tokens by.
pub(crate) struct Encoder<'e, D, F> {
    pub(crate) pool: &'e ThreadPool,
    pub(crate) codebook: &'e Arc<Codebook>,
    pub(crate) original: Option<OriginalCodec>,
    /// Writes the tokens of a document to a slice of exactly their numbers.
    pub(crate) fill: F,
    waiting: Vec<(D, usize)>,
    tokens: usize,
}

impl<'e, D: Sync, F: Fn(&D, &mut [f32]) + Sync> Encoder<'e, D, F> {
    pub(crate) fn new(
        pool: &'e ThreadPool,
        codebook: &'e Arc<Codebook>,
        original: Option<OriginalCodec>,
        fill: F,
    ) -> Self {
        Self {
            pool,
            codebook,
            original,
            fill,
            waiting: Vec::new(),
            tokens: 0,
        }
    }

    /// Adds a document of so many tokens.
    pub(crate) fn push(&mut self, document: D, tokens: usize) {
        self.waiting.push((document, tokens));
        self.tokens += tokens;
    }

    /// Whether enough documents wait for every thread to have work.
    pub(crate) fn is_full(&self) -> bool {
        self.tokens >= TASK_TOKENS * TASKS_A_THREAD * self.pool.current_num_threads()
    }

    /// Encodes the documents that wait and appends them.
    pub(crate) fn write(
        &mut self,
        tokens: &mut TokensWriter<'_>,
        mut original: Option<&mut OriginalWriter<'_>>,
    ) -> Result<()> {
        let groups = groups(&self.waiting);
        let this = &*self;
        let encoded: Vec<Encoded> = self
            .pool
            .install(|| groups.into_par_iter().map(|g| this.encode(g)).collect());
        for (residual, distortion, codes, factors) in encoded {
            tokens.push_encoded(&residual, Some(distortion))?;
            if let Some(original) = &mut original {
                original.push(&codes, &factors)?;
            }
        }
        self.waiting.clear();
        self.tokens = 0;
        Ok(())
    }

    fn encode(&self, documents: &[(D, usize)]) -> Encoded {
        let dim = self.codebook.codec.dim();
        let mut values = vec![0.0; documents.iter().map(|d| d.1).sum::<usize>() * dim];
        let mut rest = values.as_mut_slice();
        for (document, tokens) in documents {
            let (own, others) = std::mem::take(&mut rest).split_at_mut(tokens * dim);
            (self.fill)(document, own);
            rest = others;
        }
        let mut residual = ResidualCodes::default();
        self.codebook.codec.encode(&values, &mut residual);
        let distortion = Distortion::of(&self.codebook.codec, &values, &residual.codes);
        let (mut codes, mut factors) = (Vec::new(), Vec::new());
        if let Some(original) = self.original {
            original.encode(&values, dim, &mut codes, &mut factors);
        }
        (residual, distortion, codes, factors)
    }
}

/// Consecutive documents of about [`TASK_TOKENS`] together.
fn groups<D>(documents: &[(D, usize)]) -> Vec<&[(D, usize)]> {
    let mut groups = Vec::new();
    let (mut start, mut tokens) = (0, 0);
    for (at, document) in documents.iter().enumerate() {
        tokens += document.1;
        if tokens >= TASK_TOKENS {
            groups.push(&documents[start..=at]);
            (start, tokens) = (at + 1, 0);
        }
    }
    if start < documents.len() {
        groups.push(&documents[start..]);
    }
    groups
}
