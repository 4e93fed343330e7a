//! A document as the caller writes and reads it.

use std::collections::BTreeMap;

use latewood_codecs::TokenMatrix;
use latewood_storage::{DocumentId, Payload, Record};
use serde_json::Value;

use crate::error::Error;
use crate::named_vector::{NamedVector, into_values};

/// Keys of a document's JSON form; all others are payload.
pub(crate) const ID_KEY: &str = "_id";
pub(crate) const TITLE_KEY: &str = "title";
pub(crate) const TEXT_KEY: &str = "text";
pub(crate) const DENSE_KEY: &str = "_dense";
pub(crate) const TOKENS_KEY: &str = "_tokens";
pub(crate) const VECTORS_KEY: &str = "_vectors";
/// A text to be taken as it is, not joined with a title or trimmed.
pub(crate) const EXACT_TEXT_KEY: &str = "_text";
/// A payload some of whose keys are among these.
pub(crate) const PAYLOAD_KEY: &str = "_payload";
const KEYS: [&str; 8] = [
    ID_KEY,
    TITLE_KEY,
    TEXT_KEY,
    DENSE_KEY,
    TOKENS_KEY,
    VECTORS_KEY,
    EXACT_TEXT_KEY,
    PAYLOAD_KEY,
];

/// A document: an id, and any of a text, a payload, a dense vector and a token matrix.
///
/// A collection with an encoder makes the vectors that its schema declares from the text; vectors that the document
/// brings are kept as they are.
///
/// ```
/// use latewood::Document;
/// let document = Document::new("owl-1")
///     .text("Owls hunt at night.")
///     .field("year", 2024)
///     .field("tags", ["birds", "night"].as_slice());
/// assert_eq!(document.payload["year"], 2024);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The caller's id: a string or a u64.
    pub id: DocumentId,
    /// What the encoder encodes and the reranker reads.
    pub text: Option<String>,
    /// A JSON object, or null for none.
    pub payload: Value,
    /// The dense vector.
    pub dense: Option<Vec<f32>>,
    /// The token matrix.
    pub tokens: Option<TokenRows>,
    /// The vectors of named fields, by name.
    pub vectors: BTreeMap<String, NamedVector>,
}

impl Document {
    /// A document of nothing but an id.
    pub fn new(id: impl Into<DocumentId>) -> Self {
        Self {
            id: id.into(),
            text: None,
            payload: Value::Null,
            dense: None,
            tokens: None,
            vectors: BTreeMap::new(),
        }
    }

    /// Sets the text.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Sets the whole payload, a JSON object.
    #[must_use]
    pub fn payload(mut self, payload: Value) -> Self {
        self.payload = payload;
        self
    }

    /// Sets one value of the payload.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        match &mut self.payload {
            Value::Object(object) => {
                object.insert(name.into(), value.into());
            }
            other => *other = Value::Object(Payload::from_iter([(name.into(), value.into())])),
        }
        self
    }

    /// Sets the dense vector.
    #[must_use]
    pub fn dense(mut self, vector: impl Into<Vec<f32>>) -> Self {
        self.dense = Some(vector.into());
        self
    }

    /// Sets the token matrix: a vector for each token, or a [`TokenMatrix`].
    #[must_use]
    pub fn tokens(mut self, rows: impl Into<TokenRows>) -> Self {
        self.tokens = Some(rows.into());
        self
    }

    /// Sets the dense vector of a named field.
    #[must_use]
    pub fn vector(mut self, name: impl Into<String>, vector: impl Into<Vec<f32>>) -> Self {
        self.vectors
            .insert(name.into(), NamedVector::Dense(vector.into()));
        self
    }

    /// Sets the sparse vector of a named field: dimensions, in any order and each once, and the weight of each.
    #[must_use]
    pub fn sparse(
        mut self,
        name: impl Into<String>,
        indices: impl Into<Vec<u32>>,
        values: impl Into<Vec<f32>>,
    ) -> Self {
        let (indices, values) = (indices.into(), values.into());
        self.vectors
            .insert(name.into(), NamedVector::Sparse { indices, values });
        self
    }

    /// The document as a line of JSON that [`JsonLines`](crate::import::JsonLines) reads as the same: `_id`, `text`, the
    /// payload's keys, and with `vectors` also `_dense`, `_tokens` and `_vectors`. A text that begins or ends with white space is
    /// `_text`, and a payload with a key such as `title` is whole in `_payload`.
    pub fn to_json(&self, vectors: bool) -> Value {
        let mut object = match &self.payload {
            Value::Object(payload) if KEYS.iter().any(|key| payload.contains_key(*key)) => {
                Payload::from_iter([(PAYLOAD_KEY.to_owned(), self.payload.clone())])
            }
            Value::Object(payload) => payload.clone(),
            _ => Payload::new(),
        };
        let id = match &self.id {
            DocumentId::U64(n) => Value::from(*n),
            DocumentId::Str(s) => Value::from(s.as_str()),
        };
        object.insert(ID_KEY.to_owned(), id);
        if let Some(text) = &self.text {
            let key = if text.trim() == text {
                TEXT_KEY
            } else {
                EXACT_TEXT_KEY
            };
            object.insert(key.to_owned(), Value::from(text.as_str()));
        }
        if let Some(dense) = self.dense.as_ref().filter(|_| vectors) {
            object.insert(DENSE_KEY.to_owned(), Value::from(dense.as_slice()));
        }
        if let Some(tokens) = self.tokens.as_ref().filter(|_| vectors) {
            let rows = tokens.to_rows().into_iter().map(Value::from).collect();
            object.insert(TOKENS_KEY.to_owned(), Value::Array(rows));
        }
        if vectors {
            self.put_vectors(&mut object);
        }
        Value::Object(object)
    }

    /// Puts the vectors of named fields into a line of JSON.
    pub(crate) fn put_vectors(&self, object: &mut Payload) {
        if !self.vectors.is_empty()
            && let Ok(vectors) = serde_json::to_value(&self.vectors)
        {
            object.insert(VECTORS_KEY.to_owned(), vectors);
        }
    }

    /// Checks the parts that need no schema and takes the form that the storage writes.
    pub(crate) fn into_record(self) -> Result<Record, Error> {
        let Self {
            id,
            text,
            payload,
            dense,
            tokens,
            vectors,
        } = self;
        let payload = match payload {
            Value::Object(object) => object,
            Value::Null => Payload::new(),
            other => {
                return Err(Error::PayloadNotObject {
                    id,
                    got: kind_of(&other),
                });
            }
        };
        if text.as_ref().is_some_and(|t| t.trim().is_empty()) {
            return Err(Error::EmptyText { id });
        }
        let tokens = match tokens.map(TokenRows::into_matrix).transpose() {
            Ok(tokens) => tokens,
            Err(RowsError::Ragged { row, expected, got }) => {
                return Err(Error::RaggedTokens {
                    id,
                    row,
                    expected,
                    got,
                });
            }
            Err(RowsError::Codec(source)) => return Err(Error::Vector { id, source }),
        };
        let vectors = match into_values(vectors) {
            Ok(vectors) => vectors,
            Err((name, source)) => return Err(Error::NamedVector { id, name, source }),
        };
        Ok(Record {
            id,
            text,
            payload,
            dense,
            tokens,
            vectors,
        })
    }
}

impl From<Record> for Document {
    fn from(record: Record) -> Self {
        Self {
            id: record.id,
            text: record.text,
            payload: Value::Object(record.payload),
            dense: record.dense,
            tokens: record.tokens.map(TokenRows::Matrix),
            vectors: record
                .vectors
                .into_iter()
                .map(|(name, value)| (name, value.into()))
                .collect(),
        }
    }
}

/// The tokens of a document: rows of equal length.
#[derive(Clone, Debug, PartialEq)]
pub enum TokenRows {
    /// A vector for each token.
    Rows(Vec<Vec<f32>>),
    /// Checked already, in f16.
    Matrix(TokenMatrix),
}

enum RowsError {
    Ragged { row: usize, expected: usize, got: usize },
    Codec(latewood_codecs::CodecError),
}

impl TokenRows {
    /// Bytes that the vectors take.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.iter().map(|row| size_of_val(row.as_slice())).sum(),
            Self::Matrix(matrix) => size_of_val(matrix.as_f16()),
        }
    }

    /// A vector for each token.
    pub fn to_rows(&self) -> Vec<Vec<f32>> {
        match self {
            Self::Rows(rows) => rows.clone(),
            Self::Matrix(matrix) => matrix
                .to_f32()
                .chunks(matrix.dim().max(1))
                .map(<[f32]>::to_vec)
                .collect(),
        }
    }

    fn into_matrix(self) -> Result<TokenMatrix, RowsError> {
        let rows = match self {
            Self::Matrix(matrix) => return Ok(matrix),
            Self::Rows(rows) => rows,
        };
        let dim = rows.first().map_or(0, Vec::len);
        if let Some((row, other)) = rows.iter().enumerate().find(|(_, row)| row.len() != dim) {
            return Err(RowsError::Ragged {
                row,
                expected: dim,
                got: other.len(),
            });
        }
        TokenMatrix::from_f32(dim, &rows.concat()).map_err(RowsError::Codec)
    }
}

impl From<Vec<Vec<f32>>> for TokenRows {
    fn from(rows: Vec<Vec<f32>>) -> Self {
        Self::Rows(rows)
    }
}

impl<const DIM: usize> From<&[[f32; DIM]]> for TokenRows {
    fn from(rows: &[[f32; DIM]]) -> Self {
        Self::Rows(rows.iter().map(|row| row.to_vec()).collect())
    }
}

impl From<TokenMatrix> for TokenRows {
    fn from(matrix: TokenMatrix) -> Self {
        Self::Matrix(matrix)
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
