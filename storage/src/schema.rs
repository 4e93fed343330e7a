//! The schema of a collection: which vectors a document carries, how they are coded, and which payload fields can be
//! filtered on.

use latewood_codecs::{DenseCodec, Metric, OriginalCodec, TokenCodec};
use serde::{Deserialize, Serialize};

use crate::error::{Result, StorageError};
use crate::text::LexicalSpec;

/// What a collection holds. Fixed when the collection is created.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// The dense vector of each document, if any.
    pub dense: Option<DenseSpec>,
    /// The token matrix of each document, if any.
    pub tokens: Option<TokensSpec>,
    /// Payload fields that filters may name, in order of declaration.
    pub fields: Vec<FieldSpec>,
    /// The lexical index of the texts, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lexical: Option<LexicalSpec>,
    /// Further vectors, each by a name of its own, in order of declaration. A document may have any of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vectors: Vec<VectorSpec>,
    /// The encoder that made (and will make) the vectors, if the collection encodes text itself.
    pub encoder: Option<ModelIdentity>,
    /// The cross-encoder that reranks by default.
    pub reranker: Option<ModelIdentity>,
}

impl Schema {
    /// The number and the kind of a named vector field.
    #[must_use]
    pub fn vector(&self, name: &str) -> Option<(usize, &VectorKind)> {
        let at = self.vectors.iter().position(|field| field.name == name)?;
        self.vectors.get(at).map(|field| (at, &field.kind))
    }

    /// The names of the named vector fields, for messages.
    #[must_use]
    pub fn vector_names(&self) -> String {
        match self.vectors.as_slice() {
            [] => "none".to_owned(),
            fields => {
                let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
                names.join(", ")
            }
        }
    }

    /// The schema as files hold it.
    ///
    /// # Errors
    /// [`StorageError::InvalidSchema`] when it has no JSON form.
    pub(crate) fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| StorageError::InvalidSchema {
            reason: format!("it has no JSON form: {error}"),
        })
    }
}

/// A dense vector field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DenseSpec {
    /// Numbers in a vector, 1 to 65,536.
    pub dim: usize,
    /// How two vectors are compared.
    pub metric: Metric,
    /// How a vector is stored.
    pub codec: DenseCodec,
}

/// A named vector field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VectorSpec {
    /// Its name: 1 to 64 letters, digits, `-` and `_`, beginning with a letter or digit.
    pub name: String,
    /// What its vectors are.
    #[serde(flatten)]
    pub kind: VectorKind,
}

/// What the vectors of a named field are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum VectorKind {
    /// One vector a document, as the dense one of the schema.
    Dense(DenseSpec),
    /// A few weighted dimensions of very many, compared by their inner product.
    Sparse,
}

impl VectorKind {
    /// What it is called in messages.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Dense(spec) => format!("dense {} {} {}", spec.dim, spec.metric.name(), spec.codec.name()),
            Self::Sparse => "sparse".to_owned(),
        }
    }
}

/// A token-matrix field, compared by MaxSim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokensSpec {
    /// Numbers in a token's vector, 8 to 1,024, a multiple of 8.
    pub dim: usize,
    /// Bits of residual a dimension: 1, 2 or 4.
    pub bits: u8,
    /// How the residual is coded.
    #[serde(default = "TokenCodec::first")]
    pub codec: TokenCodec,
    /// The tokens kept beside the codes, for exact rescoring.
    pub original: Option<OriginalCodec>,
    /// By how much the tokens of a document are pooled when it is written, 1 to 32: of n tokens, ceil(n / factor) vectors
    /// are stored. 1 stores every token.
    #[serde(default = "unpooled")]
    pub pool_factor: usize,
}

fn unpooled() -> usize {
    1
}

/// A payload field that filters may name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldSpec {
    /// The key in the payload object; with dots, keys of objects inside one another.
    pub name: String,
    /// What its values are.
    pub kind: FieldType,
}

/// The type of a payload field. A value of another type is refused when the document is written; a missing or null one
/// is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FieldType {
    /// A string, or an array of strings.
    Keyword,
    /// A 64-bit signed integer.
    Int,
    /// A 64-bit float.
    Float,
    /// True or false.
    Bool,
    /// A moment: RFC 3339 text, kept in microseconds.
    Datetime,
    /// A place: an object with `lat` and `lon` in degrees.
    Geo,
}

/// Which model made the vectors: its name, a fingerprint of its files, and where it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelIdentity {
    /// The folder's last component, or the name of a built-in model.
    pub name: String,
    /// XXH3-128 of the graph, the tokenizer and the settings that change outputs, in hexadecimal.
    pub fingerprint: String,
    /// `builtin`, or the folder that it was loaded from, to load it again by default.
    pub source: String,
}
