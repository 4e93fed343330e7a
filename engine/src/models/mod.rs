//! Models: text to vectors, and pairs of texts to scores.
//!
//! [`TextEncoder`] is open to users: whatever turns text into a dense vector, a token matrix, or both can stand behind a
//! collection. With the feature `models` there are two implementations that read a folder laid out as on the Hugging Face
//! hub and run its ONNX graph: `OnnxEncoder` (sentence-transformers, ColBERT, or one graph that gives both kinds of vector)
//! and `OnnxReranker` (a cross-encoder). With `builtin-models` a small one of each is compiled in.
//!
//! The graphs run in pure Rust (tract), or in ONNX Runtime when its path is given. A process has one runtime, chosen once.

#[cfg(feature = "models")]
mod batch;
#[cfg(feature = "builtin-models")]
mod builtin;
#[cfg(feature = "models")]
mod colbert;
#[cfg(feature = "models")]
mod cross;
#[cfg(feature = "models")]
mod encoder;
mod error;
#[cfg(feature = "models")]
mod folder;
#[cfg(feature = "models")]
mod graph;
#[cfg(feature = "models")]
mod identity;
#[cfg(feature = "models")]
mod loaded;
#[cfg(feature = "models")]
mod reranker;
#[cfg(feature = "models")]
mod runtime;
#[cfg(feature = "models")]
mod sentence;
#[cfg(feature = "models")]
mod session;
#[cfg(feature = "models")]
mod settings;
#[cfg(feature = "models")]
mod tokenize;
#[cfg(feature = "models")]
pub mod verify;

#[cfg(feature = "builtin-models")]
pub use builtin::{BUILTIN_ENCODER, BUILTIN_RERANKER};
#[cfg(feature = "models")]
pub use encoder::OnnxEncoder;
pub use error::ModelError;
pub use latewood_storage::ModelIdentity;
#[cfg(feature = "models")]
pub use loaded::ModelOptions;
#[cfg(feature = "models")]
pub use reranker::{OnnxReranker, RerankScores};
#[cfg(feature = "models")]
pub use runtime::{RuntimeInfo, init_runtime};

/// What an encoder makes of one text.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Encoding {
    /// The dense vector, [`TextEncoder::dense_dim`] numbers.
    pub dense: Option<Vec<f32>>,
    /// The token matrix, row after row of [`TextEncoder::token_dim`] numbers, each row of unit length.
    pub tokens: Option<Vec<f32>>,
    /// Tokens that the model read, markers included.
    pub input_tokens: usize,
    /// Whether the text was longer than the model reads, and its end was left out.
    pub truncated: bool,
}

/// Turns text into vectors. Implementations are used from several threads at once.
pub trait TextEncoder: Send + Sync {
    /// Which model this is. It is kept with the collection, and another one is refused.
    fn identity(&self) -> &ModelIdentity;

    /// Numbers in a dense vector, or None if the model gives none.
    fn dense_dim(&self) -> Option<usize>;

    /// Numbers in a token's vector, or None if the model gives no token matrix.
    fn token_dim(&self) -> Option<usize>;

    /// Encodes a query. A text without a single token is [`ModelError::EmptyText`]; a long one is cut.
    fn encode_query(&self, text: &str) -> Result<Encoding, ModelError>;

    /// Encodes documents, in the order given. Fails as a whole on the first text that is refused, before any model is run.
    /// `progress` is called on the calling thread with the number of texts done so far.
    fn encode_documents(
        &self,
        texts: &[&str],
        progress: Option<&dyn Fn(usize)>,
    ) -> Result<Vec<Encoding>, ModelError>;

    /// Tokens of a document that the model reads, markers included; the rest is cut.
    fn max_document_tokens(&self) -> usize;

    /// The tokens behind the rows of [`encode_query`](Self::encode_query)'s matrix, as text, for explanations. Default: not known.
    fn query_tokens(&self, _text: &str) -> Option<Vec<String>> {
        None
    }

    /// The tokens behind the rows of a document's matrix, as text, for explanations. Default: not known.
    fn document_tokens(&self, _text: &str) -> Option<Vec<String>> {
        None
    }

    /// Tokens of a whole document, markers included, however many the model reads; none where it cannot tell.
    ///
    /// # Errors
    /// A text that the tokenizer refuses.
    fn count_document_tokens(&self, _text: &str) -> Result<Option<usize>, ModelError> {
        Ok(None)
    }

    /// What a user should know about this model's vectors, one sentence each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}
