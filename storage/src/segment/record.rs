//! Reading a whole document back: for get, export and re-encoding.

use latewood_codecs::TokenMatrix;

use super::documents::parse_payload;
use super::view::Segment;
use crate::document::{Record, VectorValue, Vectors};
use crate::error::Result;
use crate::schema::VectorKind;

impl Segment {
    /// A row as a document. Vectors come back as exactly as they are stored: a dense vector decoded from its codec, a
    /// token matrix from the original tier where there is one, as it came where it is stored raw, and as the unit-length
    /// reconstruction where only residual codes are kept.
    ///
    /// # Errors
    /// Damage to any of the row's parts.
    pub fn record(&self, ordinal: u32) -> Result<Record> {
        let documents = self.documents()?;
        let (text, payload) = documents.read(ordinal, |document| {
            let payload = parse_payload(document.payload).ok_or_else(|| documents.bad_row(0, ordinal))?;
            Ok((document.text.map(str::to_owned), payload))
        })?;
        let dense = self.dense()?.map(|rows| {
            let mut vector = vec![0.0; rows.dim()];
            rows.decode(ordinal as usize, &mut vector);
            vector
        });
        Ok(Record {
            id: self.document_id(ordinal)?,
            text,
            payload,
            dense,
            tokens: self.token_matrix(ordinal)?,
            vectors: self.vectors(ordinal)?,
        })
    }

    /// The vectors of named fields that a row has.
    ///
    /// # Errors
    /// Damage to them.
    pub fn vectors(&self, ordinal: u32) -> Result<Vectors> {
        let mut vectors = Vectors::new();
        for (field, spec) in self.schema().vectors.iter().enumerate() {
            let value = match spec.kind {
                VectorKind::Dense(_) => {
                    let vector = self.named(field)?.and_then(|rows| rows.vector(ordinal));
                    vector.map(VectorValue::Dense)
                }
                VectorKind::Sparse => match self.sparse(field)? {
                    Some(rows) => rows.vector(ordinal)?.map(VectorValue::Sparse),
                    None => None,
                },
            };
            vectors.extend(value.map(|value| (spec.name.clone(), value)));
        }
        Ok(vectors)
    }

    /// The token matrix of a row, from the best tier that is stored; `None` when the row has no tokens.
    ///
    /// # Errors
    /// Damage to the tokens.
    pub fn token_matrix(&self, ordinal: u32) -> Result<Option<TokenMatrix>> {
        let Some(tokens) = self.tokens()? else {
            return Ok(None);
        };
        if let Some(raw) = tokens.raw(ordinal) {
            return if raw.is_empty() {
                Ok(None)
            } else {
                Ok(Some(TokenMatrix::new(tokens.dim, raw.to_vec())?))
            };
        }
        let range = tokens.range(ordinal);
        let mut values = vec![0.0; range.len() * tokens.dim];
        match self.original()? {
            Some(original) => original.decode(range.start, &mut values),
            None => tokens.decode(range.start, &mut values),
        }
        if values.is_empty() {
            Ok(None)
        } else {
            Ok(Some(TokenMatrix::from_f32(tokens.dim, &values)?))
        }
    }
}
