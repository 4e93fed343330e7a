//! Documents to records: the vectors that the schema declares, brought or made from text.

use std::sync::Arc;

use latewood_codecs::TokenMatrix;
use latewood_storage::{Record, Schema};

use crate::document::Document;
use crate::error::Error;
use crate::models::{Encoding, ModelError, TextEncoder};

/// Fills in the vectors that documents lack. `encoder` is asked for only when one does.
pub(crate) fn complete(
    documents: Vec<Document>,
    schema: &Schema,
    encoder: impl FnOnce() -> Result<Arc<dyn TextEncoder>, Error>,
) -> Result<Vec<Record>, Error> {
    let mut records = documents
        .into_iter()
        .map(Document::into_record)
        .collect::<Result<Vec<_>, _>>()?;
    let lacking: Vec<usize> = (0..records.len())
        .filter(|&i| lacks(schema, &records[i]).is_some())
        .collect();
    if lacking.is_empty() {
        return Ok(records);
    }
    let mut texts = Vec::with_capacity(lacking.len());
    for &i in &lacking {
        texts.push(text_to_encode(schema, &records[i])?);
    }
    let encoder = encoder()?;
    let encodings = encoder.encode_documents(&texts, None).map_err(|e| match e {
        ModelError::EmptyText { index } if index < lacking.len() => Error::EmptyText {
            id: records[lacking[index]].id.clone(),
        },
        other => Error::Model(other),
    })?;
    for (&i, encoding) in lacking.iter().zip(encodings) {
        fill(schema, &mut records[i], encoding, encoder.token_dim())?;
    }
    Ok(records)
}

/// The first vector that the schema declares and the record has not.
fn lacks(schema: &Schema, record: &Record) -> Option<&'static str> {
    if schema.dense.is_some() && record.dense.is_none() {
        Some("dense vector")
    } else if schema.tokens.is_some() && record.tokens.is_none() {
        Some("token matrix")
    } else {
        None
    }
}

fn text_to_encode<'a>(schema: &Schema, record: &'a Record) -> Result<&'a str, Error> {
    let because = match &record.text {
        Some(text) if schema.encoder.is_some() => return Ok(text),
        Some(_) => "the collection has no encoder to make it",
        None if schema.encoder.is_some() => "there is no text to make it from",
        None => "there is neither a text nor an encoder to make it",
    };
    let field = lacks(schema, record).unwrap_or("vector");
    Err(Error::MissingVector {
        id: record.id.clone(),
        field,
        because,
    })
}

fn fill(
    schema: &Schema,
    record: &mut Record,
    encoding: Encoding,
    token_dim: Option<usize>,
) -> Result<(), Error> {
    if schema.dense.is_some() && record.dense.is_none() {
        record.dense = encoding.dense;
    }
    if schema.tokens.is_some() && record.tokens.is_none() {
        record.tokens = match (encoding.tokens, token_dim) {
            (Some(tokens), Some(dim)) => {
                let matrix = TokenMatrix::from_f32(dim, &tokens);
                Some(matrix.map_err(|source| Error::Vector {
                    id: record.id.clone(),
                    source,
                })?)
            }
            _ => None,
        };
    }
    match lacks(schema, record) {
        None => Ok(()),
        Some(field) => Err(Error::MissingVector {
            id: record.id.clone(),
            field,
            because: "the encoder gives none",
        }),
    }
}
