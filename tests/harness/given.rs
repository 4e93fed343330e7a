//! An encoder that knows its texts by heart.

use std::collections::HashMap;

use latewood::ModelIdentity;
use latewood::models::{Encoding, ModelError, TextEncoder};

/// Gives each text the token matrix that it was given for it, as query and as document.
#[derive(Debug)]
pub struct GivenEncoder {
    identity: ModelIdentity,
    dim: usize,
    tokens: HashMap<String, Vec<f32>>,
}

impl GivenEncoder {
    /// An encoder of tokens of `dim` numbers, which knows no text yet.
    pub fn new(name: &str, dim: usize) -> Self {
        let identity = ModelIdentity {
            name: name.to_owned(),
            fingerprint: format!("given-{name}"),
            source: "own".to_owned(),
        };
        Self {
            identity,
            dim,
            tokens: HashMap::new(),
        }
    }

    /// Gives a text its tokens, row after row.
    pub fn give(&mut self, text: impl Into<String>, tokens: Vec<f32>) {
        self.tokens.insert(text.into(), tokens);
    }

    fn encode(&self, text: &str, index: usize) -> Result<Encoding, ModelError> {
        let tokens = self.tokens.get(text).ok_or(ModelError::EmptyText { index })?;
        let mut encoding = Encoding::default();
        encoding.tokens = Some(tokens.clone());
        Ok(encoding)
    }
}

impl TextEncoder for GivenEncoder {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn dense_dim(&self) -> Option<usize> {
        None
    }

    fn token_dim(&self) -> Option<usize> {
        Some(self.dim)
    }

    fn encode_query(&self, text: &str) -> Result<Encoding, ModelError> {
        self.encode(text, 0)
    }

    fn encode_documents(
        &self,
        texts: &[&str],
        _progress: Option<&dyn Fn(usize)>,
    ) -> Result<Vec<Encoding>, ModelError> {
        let all = texts.iter().enumerate();
        all.map(|(index, text)| self.encode(text, index)).collect()
    }

    fn max_document_tokens(&self) -> usize {
        8192
    }
}
