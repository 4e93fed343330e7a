//! Checks of schemas and documents before anything is written.

use std::collections::HashSet;

use latewood_codecs::{CodecError, MAX_DOCUMENT_TOKENS, MAX_POOL_FACTOR, TokenMatrix};
use serde_json::Value;

use crate::document::{DocumentId, Record, VectorValue, Vectors};
use crate::error::{RecordFault, Result, StorageError};
use crate::field::{datetime_of, field_of, geo_of};
use crate::operation::Operation;
use crate::schema::{FieldSpec, FieldType, Schema, VectorKind};

/// The longest string id, in bytes.
pub const MAX_ID_BYTES: usize = 1024;
/// The longest text, in bytes.
pub const MAX_TEXT_BYTES: usize = 16 << 20;
/// The largest payload, in bytes of JSON.
pub const MAX_PAYLOAD_BYTES: usize = 16 << 20;
/// The most numbers in a dense vector.
pub const MAX_DENSE_DIM: usize = 65_536;
/// The most payload fields that a schema declares.
pub const MAX_FIELDS: usize = 256;

/// The most named vector fields that a schema declares.
pub const MAX_VECTOR_FIELDS: usize = 16;

impl Schema {
    /// Checks that a collection of this schema can be stored.
    ///
    /// # Errors
    /// [`StorageError::InvalidSchema`] with what was expected and what came.
    pub fn validate(&self) -> Result<()> {
        let invalid = |reason: String| Err(StorageError::InvalidSchema { reason });
        if self.dense.is_none() && self.tokens.is_none() && self.vectors.is_empty() {
            return invalid(
                "expected a dense, a tokens or a named vector field, got none; declare at least one"
                    .to_owned(),
            );
        }
        self.validate_vectors()?;
        if let Some(dense) = &self.dense
            && !(1..=MAX_DENSE_DIM).contains(&dense.dim)
        {
            return invalid(format!(
                "dense: expected a dimension of 1 to {MAX_DENSE_DIM}, got {}",
                dense.dim
            ));
        }
        if let Some(tokens) = &self.tokens {
            if !(8..=1024).contains(&tokens.dim) || tokens.dim % 8 != 0 {
                let got = tokens.dim;
                return invalid(format!(
                    "tokens: expected a dimension of 8 to 1024, a multiple of 8, got {got}"
                ));
            }
            if !matches!(tokens.bits, 1 | 2 | 4) {
                return invalid(format!("tokens: expected 1, 2 or 4 bits, got {}", tokens.bits));
            }
            if !(1..=MAX_POOL_FACTOR).contains(&tokens.pool_factor) {
                let got = tokens.pool_factor;
                return invalid(format!(
                    "tokens: expected a pool factor of 1 (no pooling) to {MAX_POOL_FACTOR}, got {got}"
                ));
            }
        }
        if self.fields.len() > MAX_FIELDS {
            return invalid(format!(
                "expected at most {MAX_FIELDS} fields, got {}",
                self.fields.len()
            ));
        }
        let mut seen = HashSet::new();
        for field in &self.fields {
            if field.name.is_empty() || field.name.len() > 256 {
                return invalid(format!(
                    "expected a field name of 1 to 256 bytes, got {}",
                    field.name.len()
                ));
            }
            if !seen.insert(field.name.as_str()) {
                return invalid(format!(
                    "field {:?} is declared twice; declare it once",
                    field.name
                ));
            }
        }
        Ok(())
    }

    fn validate_vectors(&self) -> Result<()> {
        let invalid = |reason: String| Err(StorageError::InvalidSchema { reason });
        if self.vectors.len() > MAX_VECTOR_FIELDS {
            let got = self.vectors.len();
            return invalid(format!(
                "expected at most {MAX_VECTOR_FIELDS} named vector fields, got {got}"
            ));
        }
        let mut seen = HashSet::new();
        for field in &self.vectors {
            let name = &field.name;
            if !crate::store::is_name(name) {
                return invalid(format!(
                    "vector {name:?}: expected a name of 1 to 64 letters, digits, '-' or '_', beginning with a letter or digit"
                ));
            }
            if let VectorKind::Dense(spec) = &field.kind
                && !(1..=MAX_DENSE_DIM).contains(&spec.dim)
            {
                let got = spec.dim;
                return invalid(format!(
                    "vector {name:?}: expected a dimension of 1 to {MAX_DENSE_DIM}, got {got}"
                ));
            }
            if !seen.insert(name.as_str()) {
                return invalid(format!("vector {name:?} is declared twice; declare it once"));
            }
        }
        Ok(())
    }

    /// Checks the vectors of named fields, prepares dense ones for their metric, and leaves out those without any dimension.
    fn prepare_vectors(&self, vectors: &mut Vectors) -> Result<(), RecordFault> {
        vectors.retain(|_, value| value.sparse().is_none_or(|vector| !vector.is_empty()));
        self.check_vectors(vectors)?;
        for (name, value) in vectors {
            if let (Some((_, VectorKind::Dense(spec))), VectorValue::Dense(vector)) =
                (self.vector(name), value)
            {
                spec.metric
                    .prepare(vector)
                    .map_err(|error| RecordFault::NamedVector {
                        name: name.clone(),
                        reason: error.to_string(),
                    })?;
            }
        }
        Ok(())
    }

    fn check_vectors(&self, vectors: &Vectors) -> Result<(), RecordFault> {
        for (name, value) in vectors {
            let Some((_, kind)) = self.vector(name) else {
                return Err(RecordFault::UnknownVector {
                    name: name.clone(),
                    known: self.vector_names(),
                });
            };
            let fits = match (kind, value) {
                (VectorKind::Sparse, VectorValue::Sparse(_)) => true,
                (VectorKind::Dense(spec), VectorValue::Dense(vector)) => {
                    vector.len() == spec.dim && vector.iter().all(|x| x.is_finite())
                }
                _ => false,
            };
            if !fits {
                return Err(RecordFault::NamedVector {
                    name: name.clone(),
                    reason: format!(
                        "expected a vector of finite numbers for a field of the kind {}, got {}",
                        kind.describe(),
                        value.describe()
                    ),
                });
            }
        }
        Ok(())
    }

    /// Checks a document against this schema, prepares its dense vector for the metric and pools its tokens.
    ///
    /// # Errors
    /// [`StorageError::InvalidRecord`] with the first fault found.
    pub fn prepare(&self, record: &mut Record) -> Result<()> {
        let fault = check_id(&record.id)
            .and_then(|()| check_text(record.text.as_deref()))
            .and_then(|()| self.check_payload(record))
            .and_then(|()| self.prepare_dense(record.dense.as_deref_mut()))
            .and_then(|()| self.check_tokens(record.tokens.as_ref()))
            .and_then(|()| self.pool_tokens(record))
            .and_then(|()| self.prepare_vectors(&mut record.vectors));
        fault.map_err(|reason| StorageError::InvalidRecord {
            id: record.id.clone(),
            reason,
        })
    }

    /// Checks a document whose tokens come as codes: everything but its vectors.
    pub(crate) fn prepare_coded(&self, record: &Record, tokens: u32) -> Result<()> {
        let fault = check_id(&record.id)
            .and_then(|()| check_text(record.text.as_deref()))
            .and_then(|()| self.check_payload(record))
            .and_then(|()| self.check_vectors(&record.vectors))
            .and_then(|()| check_count(tokens as usize));
        fault.map_err(|reason| StorageError::InvalidRecord {
            id: record.id.clone(),
            reason,
        })
    }

    /// Checks that a document that was prepared before has the vectors of this schema: what a file says may be anything.
    pub(crate) fn fits(&self, record: &Record) -> Result<()> {
        let dense = match (&self.dense, &record.dense) {
            (Some(spec), Some(vector))
                if vector.len() == spec.dim && vector.iter().all(|x| x.is_finite()) =>
            {
                Ok(())
            }
            (None, None) => Ok(()),
            (spec, vector) => {
                let dimension = |dim: Option<usize>| dim.map_or("none".to_owned(), |dim| dim.to_string());
                Err(RecordFault::Vector {
                    field: "dense",
                    reason: format!(
                        "expected dimension {}, of finite numbers, got {}",
                        dimension(spec.as_ref().map(|spec| spec.dim)),
                        dimension(vector.as_ref().map(Vec::len))
                    ),
                })
            }
        };
        let fault = check_id(&record.id)
            .and(dense)
            .and_then(|()| self.check_tokens(record.tokens.as_ref()))
            .and_then(|()| match &record.tokens {
                Some(tokens) => check_count(tokens.len()),
                None => Ok(()),
            })
            .and_then(|()| self.check_vectors(&record.vectors));
        fault.map_err(|reason| StorageError::InvalidRecord {
            id: record.id.clone(),
            reason,
        })
    }

    fn prepare_dense(&self, vector: Option<&mut [f32]>) -> Result<(), RecordFault> {
        const FIELD: &str = "dense";
        match (&self.dense, vector) {
            (None, None) => Ok(()),
            (None, Some(vector)) => Err(RecordFault::UnexpectedVector {
                field: FIELD,
                got: vector.len(),
            }),
            (Some(spec), None) => Err(RecordFault::MissingVector {
                expected: format!("a dense vector of dimension {}", spec.dim),
            }),
            (Some(spec), Some(vector)) if vector.len() != spec.dim => Err(RecordFault::Dimension {
                field: FIELD,
                expected: spec.dim,
                got: vector.len(),
            }),
            (Some(spec), Some(vector)) => spec.metric.prepare(vector).map_err(|error| RecordFault::Vector {
                field: FIELD,
                reason: error.to_string(),
            }),
        }
    }

    fn check_tokens(&self, tokens: Option<&TokenMatrix>) -> Result<(), RecordFault> {
        const FIELD: &str = "tokens";
        match (&self.tokens, tokens) {
            (None, None) => Ok(()),
            (None, Some(tokens)) => Err(RecordFault::UnexpectedVector {
                field: FIELD,
                got: tokens.dim(),
            }),
            (Some(spec), None) => Err(RecordFault::MissingVector {
                expected: format!("a token matrix of dimension {}", spec.dim),
            }),
            (Some(spec), Some(tokens)) if tokens.dim() != spec.dim => Err(RecordFault::Dimension {
                field: FIELD,
                expected: spec.dim,
                got: tokens.dim(),
            }),
            (Some(_), Some(_)) => Ok(()),
        }
    }

    fn pool_tokens(&self, record: &mut Record) -> Result<(), RecordFault> {
        let factor = self.tokens.as_ref().map_or(1, |spec| spec.pool_factor);
        let Some(tokens) = record.tokens.as_mut().filter(|_| factor > 1) else {
            return Ok(());
        };
        *tokens = tokens.pooled(factor).map_err(|error| RecordFault::Vector {
            field: "tokens",
            reason: error.to_string(),
        })?;
        Ok(())
    }

    fn check_payload(&self, record: &Record) -> Result<(), RecordFault> {
        for field in &self.fields {
            if let Some(value) = field_of(&record.payload, &field.name)
                && !fits(field.kind, value)
            {
                return Err(wrong_type(field, value));
            }
        }
        let got = payload_bytes(&record.payload);
        too_long("a payload", MAX_PAYLOAD_BYTES, got)
    }
}

/// Checks and prepares a whole batch: every document, and that no id stands in it twice.
///
/// # Errors
/// [`StorageError::InvalidRecord`] with the first fault found.
pub fn prepare_batch(schema: &Schema, batch: &mut [Operation]) -> Result<()> {
    for operation in batch.iter_mut() {
        match operation {
            Operation::Upsert(record) => schema.prepare(record)?,
            Operation::Delete(id) => {
                check_id(id).map_err(|reason| StorageError::InvalidRecord {
                    id: id.clone(),
                    reason,
                })?;
            }
        }
    }
    unique(batch.iter().map(Operation::id))
}

/// Checks that no id comes twice.
pub(crate) fn unique<'a>(ids: impl Iterator<Item = &'a DocumentId>) -> Result<()> {
    let mut seen = HashSet::with_capacity(ids.size_hint().0);
    for id in ids {
        if !seen.insert(id) {
            let reason = RecordFault::DuplicateId;
            return Err(StorageError::InvalidRecord {
                id: id.clone(),
                reason,
            });
        }
    }
    Ok(())
}

fn check_id(id: &DocumentId) -> Result<(), RecordFault> {
    match id {
        DocumentId::Str(s) if s.is_empty() || s.len() > MAX_ID_BYTES => Err(RecordFault::IdLength {
            max: MAX_ID_BYTES,
            got: s.len(),
        }),
        _ => Ok(()),
    }
}

fn check_text(text: Option<&str>) -> Result<(), RecordFault> {
    match text {
        Some("") => Err(RecordFault::EmptyText),
        Some(text) => too_long("a text", MAX_TEXT_BYTES, text.len()),
        None => Ok(()),
    }
}

/// That a document has a number of tokens that a token matrix can have.
fn check_count(tokens: usize) -> Result<(), RecordFault> {
    if (1..=MAX_DOCUMENT_TOKENS).contains(&tokens) {
        return Ok(());
    }
    let fault = CodecError::TokenCount {
        what: "document",
        max: MAX_DOCUMENT_TOKENS,
        got: tokens,
    };
    Err(RecordFault::Vector {
        field: "tokens",
        reason: fault.to_string(),
    })
}

fn too_long(what: &'static str, max: usize, got: usize) -> Result<(), RecordFault> {
    if got > max {
        Err(RecordFault::TooLong { what, max, got })
    } else {
        Ok(())
    }
}

fn fits(kind: FieldType, value: &Value) -> bool {
    match (kind, value) {
        (_, Value::Null) => true,
        (FieldType::Keyword, Value::Array(items)) => items.iter().all(Value::is_string),
        (FieldType::Keyword, value) => value.is_string(),
        (FieldType::Int, value) => value.is_i64(),
        (FieldType::Float, value) => value.is_number(),
        (FieldType::Bool, value) => value.is_boolean(),
        (FieldType::Datetime, value) => datetime_of(value).is_some(),
        (FieldType::Geo, value) => geo_of(value).is_some(),
    }
}

fn wrong_type(field: &FieldSpec, value: &Value) -> RecordFault {
    let expected = match field.kind {
        FieldType::Keyword => "a string or an array of strings",
        FieldType::Int => "an integer of 64 bits, signed",
        FieldType::Float => "a number",
        FieldType::Bool => "true or false",
        FieldType::Datetime => "a date or time as RFC 3339 writes it, such as \"2024-05-01T12:30:00Z\"",
        FieldType::Geo => "a place in degrees, such as {\"lat\": 52.5, \"lon\": 13.4}",
    };
    let mut got = value.to_string();
    if got.len() > 60 {
        let cut = (0..=57).rev().find(|at| got.is_char_boundary(*at)).unwrap_or(0);
        got.truncate(cut);
        got.push_str("...");
    }
    RecordFault::FieldType {
        field: field.name.clone(),
        expected,
        got,
    }
}

/// An estimate of the JSON bytes of a payload, without writing it.
pub(crate) fn payload_bytes(payload: &crate::document::Payload) -> usize {
    fn size(value: &Value) -> usize {
        match value {
            Value::Null | Value::Bool(_) => 5,
            Value::Number(_) => 12,
            Value::String(s) => s.len() + 2,
            Value::Array(items) => 2 + items.iter().map(|item| size(item) + 1).sum::<usize>(),
            Value::Object(map) => {
                2 + map
                    .iter()
                    .map(|(key, item)| key.len() + 4 + size(item))
                    .sum::<usize>()
            }
        }
    }
    2 + payload
        .iter()
        .map(|(key, item)| key.len() + 4 + size(item))
        .sum::<usize>()
}

#[cfg(test)]
mod tests;
