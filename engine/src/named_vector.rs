//! Vectors of named fields, as documents and queries bring them.

use std::collections::BTreeMap;

use latewood_codecs::{CodecError, SparseVector};
use latewood_storage::{VectorValue, Vectors};
use serde::{Deserialize, Serialize};

/// A vector of a named field. In JSON an array of numbers, or `{"indices": [..], "values": [..]}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum NamedVector {
    /// A dense vector, of the field's dimension.
    Dense(Vec<f32>),
    /// A sparse vector: dimensions, in any order and each once, and the weight of each, finite and above 0.
    Sparse {
        /// The dimensions.
        indices: Vec<u32>,
        /// The weight of each.
        values: Vec<f32>,
    },
}

impl NamedVector {
    /// Bytes that its numbers take.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Dense(vector) => size_of_val(vector.as_slice()),
            Self::Sparse { indices, values } => {
                size_of_val(indices.as_slice()) + size_of_val(values.as_slice())
            }
        }
    }

    /// The form that is stored and searched.
    fn into_value(self) -> Result<VectorValue, CodecError> {
        match self {
            Self::Dense(vector) => Ok(VectorValue::Dense(vector)),
            Self::Sparse { indices, values } => SparseVector::new(indices, values).map(VectorValue::Sparse),
        }
    }
}

impl From<VectorValue> for NamedVector {
    fn from(value: VectorValue) -> Self {
        match value {
            VectorValue::Dense(vector) => Self::Dense(vector),
            VectorValue::Sparse(vector) => Self::Sparse {
                indices: vector.indices().to_vec(),
                values: vector.values().to_vec(),
            },
        }
    }
}

/// All vectors in the form that is stored and searched; what is wrong with the first that has none, and its name.
pub(crate) fn into_values(vectors: BTreeMap<String, NamedVector>) -> Result<Vectors, (String, CodecError)> {
    let one = |(name, vector): (String, NamedVector)| match vector.into_value() {
        Ok(value) => Ok((name, value)),
        Err(source) => Err((name, source)),
    };
    vectors.into_iter().map(one).collect()
}

impl From<Vec<f32>> for NamedVector {
    fn from(vector: Vec<f32>) -> Self {
        Self::Dense(vector)
    }
}
