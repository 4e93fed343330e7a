//! An encoder and a reranker of a few lines, for tests of everything that is not a model.

use std::time::Instant;

use latewood::models::{Encoding, ModelError, TextEncoder};
use latewood::{ModelIdentity, RerankError, Reranker};

/// A vector for each word, the same for the same word; a text's dense vector is their sum.
#[derive(Debug)]
pub struct WordEncoder {
    identity: ModelIdentity,
}

impl WordEncoder {
    /// Numbers in the dense vector.
    pub const DENSE_DIM: usize = 32;
    /// Numbers in a token's vector.
    pub const TOKEN_DIM: usize = 16;

    /// An encoder of this name; another name is another model.
    pub fn new(name: &str) -> Self {
        Self {
            identity: identity(name),
        }
    }

    fn encode(&self, text: &str, index: usize) -> Result<Encoding, ModelError> {
        let words: Vec<String> = words(text);
        if words.is_empty() {
            return Err(ModelError::EmptyText { index });
        }
        let mut dense = vec![0.0; Self::DENSE_DIM];
        for word in &words {
            for (sum, x) in dense.iter_mut().zip(unit_vector(word, Self::DENSE_DIM)) {
                *sum += x;
            }
        }
        let mut encoding = Encoding::default();
        encoding.dense = Some(dense);
        encoding.tokens = Some(
            words
                .iter()
                .flat_map(|word| unit_vector(word, Self::TOKEN_DIM))
                .collect(),
        );
        Ok(encoding)
    }
}

impl TextEncoder for WordEncoder {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn dense_dim(&self) -> Option<usize> {
        Some(Self::DENSE_DIM)
    }

    fn token_dim(&self) -> Option<usize> {
        Some(Self::TOKEN_DIM)
    }

    fn encode_query(&self, text: &str) -> Result<Encoding, ModelError> {
        self.encode(text, 0)
    }

    fn encode_documents(
        &self,
        texts: &[&str],
        _progress: Option<&dyn Fn(usize)>,
    ) -> Result<Vec<Encoding>, ModelError> {
        texts
            .iter()
            .enumerate()
            .map(|(index, text)| self.encode(text, index))
            .collect()
    }

    fn max_document_tokens(&self) -> usize {
        8192
    }
}

/// Scores a document by how many of the query's words it has.
#[derive(Debug)]
pub struct WordReranker {
    identity: ModelIdentity,
}

impl WordReranker {
    /// A reranker of this name.
    pub fn new(name: &str) -> Self {
        Self {
            identity: identity(name),
        }
    }
}

impl Reranker for WordReranker {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn score(
        &self,
        query: &str,
        documents: &[&str],
        _deadline: Option<Instant>,
    ) -> Result<Vec<Option<f32>>, RerankError> {
        let wanted = words(query);
        let score = |text: &&str| words(text).iter().filter(|word| wanted.contains(word)).count() as f32;
        Ok(documents.iter().map(|text| Some(score(text))).collect())
    }
}

fn identity(name: &str) -> ModelIdentity {
    ModelIdentity {
        name: name.to_owned(),
        fingerprint: format!("words-{name}"),
        source: "own".to_owned(),
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// A unit vector that depends on nothing but the word.
pub fn unit_vector(word: &str, dim: usize) -> Vec<f32> {
    let mut state = word.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut vector: Vec<f32> = (0..dim)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
        })
        .collect();
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|x| *x /= norm);
    vector
}
