//! A document as it is written and read: id, text, payload and vectors.

use std::collections::BTreeMap;
use std::fmt;

use latewood_codecs::{SparseVector, TokenMatrix};
use serde::{Deserialize, Serialize};

/// The caller's name for a document: a string or an unsigned integer. It never changes and is never reused for another
/// document by Latewood itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DocumentId {
    /// An unsigned integer.
    U64(u64),
    /// A string of 1 to 1,024 bytes.
    Str(String),
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::U64(n) => write!(f, "{n}"),
            Self::Str(s) => f.write_str(s),
        }
    }
}

impl From<u64> for DocumentId {
    fn from(n: u64) -> Self {
        Self::U64(n)
    }
}

impl From<&str> for DocumentId {
    fn from(s: &str) -> Self {
        Self::Str(s.to_owned())
    }
}

impl From<String> for DocumentId {
    fn from(s: String) -> Self {
        Self::Str(s)
    }
}

/// The payload of a document: a JSON object.
pub type Payload = serde_json::Map<String, serde_json::Value>;

/// Vectors of named fields, by name.
pub type Vectors = BTreeMap<String, VectorValue>;

/// A vector of a named field.
#[derive(Clone, Debug, PartialEq)]
pub enum VectorValue {
    /// As many numbers as the field has dimensions, prepared for its metric.
    Dense(Vec<f32>),
    /// A few weighted dimensions.
    Sparse(SparseVector),
}

impl VectorValue {
    /// What it is called in messages.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Dense(vector) => format!("a dense vector of dimension {}", vector.len()),
            Self::Sparse(vector) => format!("a sparse vector of {} dimensions", vector.len()),
        }
    }

    /// The numbers, if it is dense.
    #[must_use]
    pub fn dense(&self) -> Option<&[f32]> {
        match self {
            Self::Dense(vector) => Some(vector),
            Self::Sparse(_) => None,
        }
    }

    /// The weighted dimensions, if it is sparse.
    #[must_use]
    pub fn sparse(&self) -> Option<&SparseVector> {
        match self {
            Self::Sparse(vector) => Some(vector),
            Self::Dense(_) => None,
        }
    }

    /// Memory that its numbers take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Dense(vector) => size_of_val(vector.as_slice()),
            Self::Sparse(vector) => size_of_val(vector.indices()) + size_of_val(vector.values()),
        }
    }
}

/// Memory that vectors of named fields take.
#[must_use]
pub fn vectors_bytes(vectors: &Vectors) -> usize {
    let one = |(name, value): (&String, &VectorValue)| {
        size_of::<(String, VectorValue)>() + name.len() + value.bytes()
    };
    vectors.iter().map(one).sum()
}

/// One document with everything that a collection stores of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The caller's id.
    pub id: DocumentId,
    /// The text that a cross-encoder reads and that hits can return.
    pub text: Option<String>,
    /// A JSON object; the fields declared in the schema can be filtered on.
    pub payload: Payload,
    /// The dense vector, `dim` numbers, prepared for the metric (unit length under cosine).
    pub dense: Option<Vec<f32>>,
    /// The token matrix.
    pub tokens: Option<TokenMatrix>,
    /// The vectors of named fields that it has, none of them empty.
    pub vectors: Vectors,
}
