//! Batches and ids as frames.

use half::f16;
use latewood_codecs::{SparseVector, TokenMatrix};

use super::FrameKind;
use super::frame::Draft;
use crate::document::{DocumentId, Payload, Record, VectorValue, Vectors};
use crate::error::Result;
use crate::operation::Operation;
use crate::wire::{Put, Reader, to_u32};

const UPSERT: u8 = 1;
const DELETE: u8 = 2;
const ID_U64: u8 = 0;
const ID_STR: u8 = 1;
const HAS_TEXT: u8 = 1;
const HAS_DENSE: u8 = 2;
const HAS_TOKENS: u8 = 4;
const HAS_VECTORS: u8 = 8;
const DENSE: u8 = 1;
const SPARSE: u8 = 2;

/// A frame of a batch: the number of operations, then each.
pub(crate) fn batch_frame(batch: &[Operation]) -> Result<Draft> {
    let size = batch.iter().map(about).sum();
    Draft::new(FrameKind::Batch, size, |out| put_batch(out, batch))
}

fn put_batch(out: &mut Vec<u8>, batch: &[Operation]) -> Result<()> {
    out.put_u32(to_u32(batch.len())?);
    for operation in batch {
        match operation {
            Operation::Upsert(record) => {
                out.put_u8(UPSERT);
                put_record(out, record)?;
            }
            Operation::Delete(id) => {
                out.put_u8(DELETE);
                put_id(out, id)?;
            }
        }
    }
    Ok(())
}

/// About the bytes that an operation takes, so that a batch is written without being moved as it grows.
fn about(operation: &Operation) -> usize {
    const REST: usize = 64;
    let Operation::Upsert(record) = operation else {
        return REST;
    };
    let text = record.text.as_ref().map_or(0, String::len);
    let dense = record
        .dense
        .as_ref()
        .map_or(0, |vector| size_of_val(vector.as_slice()));
    let tokens = record
        .tokens
        .as_ref()
        .map_or(0, |tokens| size_of_val(tokens.as_f16()));
    REST + text + dense + tokens
}

/// The payload of a frame of [`batch_frame`].
pub(crate) fn decode_batch(reader: &mut Reader<'_>) -> Result<Vec<Operation>> {
    let count = reader.count()?;
    let mut batch = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        batch.push(match reader.u8()? {
            UPSERT => Operation::Upsert(read_record(reader)?),
            DELETE => Operation::Delete(read_id(reader)?),
            other => return Err(reader.corruption("an operation (1 or 2)", other.to_string())),
        });
    }
    Ok(batch)
}

/// What a frame of replaced ids says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replaced {
    /// The ids whose earlier changes are superseded.
    pub(crate) ids: Vec<DocumentId>,
    /// The segment of the bulk load; frames of before do not say it.
    pub(crate) segment: Option<u64>,
}

/// A frame of replaced ids: how many, then each, and the number of the load's segment.
pub(crate) fn replaced_frame(ids: &[&DocumentId], segment: u64) -> Result<Draft> {
    const ABOUT: usize = 16;
    Draft::new(FrameKind::Replaced, ids.len() * ABOUT, |out| {
        put_ids(out, ids, segment)
    })
}

fn put_ids(out: &mut Vec<u8>, ids: &[&DocumentId], segment: u64) -> Result<()> {
    out.put_u32(to_u32(ids.len())?);
    for id in ids {
        put_id(out, id)?;
    }
    out.put_u64(segment);
    Ok(())
}

/// The payload of a frame of [`replaced_frame`].
pub(crate) fn decode_ids(reader: &mut Reader<'_>) -> Result<Replaced> {
    let count = reader.count()?;
    let ids = (0..count).map(|_| read_id(reader)).collect::<Result<_>>()?;
    let segment = (reader.remaining() > 0).then(|| reader.u64()).transpose()?;
    Ok(Replaced { ids, segment })
}

fn put_id(out: &mut Vec<u8>, id: &DocumentId) -> Result<()> {
    match id {
        DocumentId::U64(n) => {
            out.put_u8(ID_U64);
            out.put_u64(*n);
            Ok(())
        }
        DocumentId::Str(s) => {
            out.put_u8(ID_STR);
            out.put_bytes(s.as_bytes())
        }
    }
}

fn read_id(reader: &mut Reader<'_>) -> Result<DocumentId> {
    match reader.u8()? {
        ID_U64 => Ok(DocumentId::U64(reader.u64()?)),
        ID_STR => Ok(DocumentId::Str(reader.str()?.to_owned())),
        other => Err(reader.corruption("a kind of id (0 or 1)", other.to_string())),
    }
}

fn put_record(out: &mut Vec<u8>, record: &Record) -> Result<()> {
    put_id(out, &record.id)?;
    let flag = |present: bool, flag: u8| if present { flag } else { 0 };
    out.put_u8(
        flag(record.text.is_some(), HAS_TEXT)
            | flag(record.dense.is_some(), HAS_DENSE)
            | flag(record.tokens.is_some(), HAS_TOKENS)
            | flag(!record.vectors.is_empty(), HAS_VECTORS),
    );
    if let Some(text) = &record.text {
        out.put_bytes(text.as_bytes())?;
    }
    // A map of strings and values always has a JSON form.
    let payload = serde_json::to_vec(&record.payload).unwrap_or_else(|_| b"{}".to_vec());
    out.put_bytes(&payload)?;
    if let Some(dense) = &record.dense {
        out.put_u32(to_u32(dense.len())?);
        out.extend_from_slice(bytemuck::cast_slice(dense));
    }
    if let Some(tokens) = &record.tokens {
        out.put_u32(to_u32(tokens.dim())?);
        out.put_u32(to_u32(tokens.len())?);
        out.extend_from_slice(bytemuck::cast_slice(tokens.as_f16()));
    }
    if !record.vectors.is_empty() {
        put_vectors(out, &record.vectors)?;
    }
    Ok(())
}

fn put_vectors(out: &mut Vec<u8>, vectors: &Vectors) -> Result<()> {
    out.put_u32(to_u32(vectors.len())?);
    for (name, value) in vectors {
        out.put_bytes(name.as_bytes())?;
        match value {
            VectorValue::Dense(vector) => {
                out.put_u8(DENSE);
                out.put_u32(to_u32(vector.len())?);
                out.extend_from_slice(bytemuck::cast_slice(vector));
            }
            VectorValue::Sparse(vector) => {
                out.put_u8(SPARSE);
                out.put_u32(to_u32(vector.len())?);
                out.extend_from_slice(bytemuck::cast_slice(vector.indices()));
                out.extend_from_slice(bytemuck::cast_slice(vector.values()));
            }
        }
    }
    Ok(())
}

fn read_vectors(reader: &mut Reader<'_>) -> Result<Vectors> {
    let mut vectors = Vectors::new();
    for _ in 0..reader.count()? {
        let name = reader.str()?.to_owned();
        let value = match reader.u8()? {
            DENSE => {
                let dim = reader.count()?;
                VectorValue::Dense(bytemuck::allocation::pod_collect_to_vec::<u8, f32>(
                    reader.bytes(dim * size_of::<f32>())?,
                ))
            }
            SPARSE => {
                let entries = reader.count()?;
                let numbers = |bytes: &[u8]| bytemuck::allocation::pod_collect_to_vec::<u8, u32>(bytes);
                let indices = numbers(reader.bytes(entries * size_of::<u32>())?);
                let values = bytemuck::allocation::pod_collect_to_vec::<u8, f32>(
                    reader.bytes(entries * size_of::<f32>())?,
                );
                let vector = SparseVector::new(indices, values);
                VectorValue::Sparse(
                    vector.map_err(|error| reader.corruption("a sparse vector", error.to_string()))?,
                )
            }
            other => return Err(reader.corruption("a kind of vector (1 or 2)", other.to_string())),
        };
        vectors.insert(name, value);
    }
    Ok(vectors)
}

fn read_record(reader: &mut Reader<'_>) -> Result<Record> {
    let id = read_id(reader)?;
    let flags = reader.u8()?;
    let text = if flags & HAS_TEXT != 0 {
        Some(reader.str()?.to_owned())
    } else {
        None
    };
    let json = reader.str()?;
    let payload: Payload =
        serde_json::from_str(json).map_err(|error| reader.corruption("a JSON object", error.to_string()))?;
    let dense = if flags & HAS_DENSE != 0 {
        let dim = reader.u32()? as usize;
        Some(bytemuck::allocation::pod_collect_to_vec::<u8, f32>(
            reader.bytes(dim * size_of::<f32>())?,
        ))
    } else {
        None
    };
    let tokens = if flags & HAS_TOKENS != 0 {
        Some(read_tokens(reader)?)
    } else {
        None
    };
    let vectors = if flags & HAS_VECTORS != 0 {
        read_vectors(reader)?
    } else {
        Vectors::new()
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

fn read_tokens(reader: &mut Reader<'_>) -> Result<TokenMatrix> {
    let (dim, rows) = (reader.u32()? as usize, reader.u32()? as usize);
    let Some(bytes) = dim
        .checked_mul(rows)
        .and_then(|n| n.checked_mul(size_of::<f16>()))
    else {
        return Err(reader.corruption("a token matrix", format!("{rows} tokens of dimension {dim}")));
    };
    let numbers = bytemuck::allocation::pod_collect_to_vec::<u8, f16>(reader.bytes(bytes)?);
    TokenMatrix::new(dim, numbers).map_err(|error| reader.corruption("a token matrix", error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn sample() -> Vec<Operation> {
        let mut payload = Payload::new();
        payload.insert("year".to_owned(), json!(1999));
        payload.insert("third".to_owned(), json!(0.1 + 0.2));
        let sparse = SparseVector::new(vec![7, u32::MAX], vec![0.5, 3.25]).unwrap();
        let tokens = TokenMatrix::from_f32(8, &[0.353_553_4; 24]).unwrap();
        let whole = Record {
            id: "a/é".into(),
            text: Some("text".to_owned()),
            payload,
            dense: Some(vec![0.1, -2.5]),
            tokens: Some(tokens),
            vectors: Vectors::from([
                ("splade".to_owned(), VectorValue::Sparse(sparse)),
                ("title".to_owned(), VectorValue::Dense(vec![0.5, -1.0, 2.0])),
            ]),
        };
        let bare = Record {
            id: 7.into(),
            text: None,
            payload: Payload::new(),
            dense: None,
            tokens: None,
            vectors: crate::document::Vectors::new(),
        };
        vec![
            Operation::Upsert(whole),
            Operation::Delete("gone".into()),
            Operation::Upsert(bare),
        ]
    }

    #[test]
    fn a_batch_comes_back() {
        let mut bytes = Vec::new();
        put_batch(&mut bytes, &sample()).unwrap();
        let mut reader = Reader::new(Path::new("wal"), &bytes);
        assert_eq!(decode_batch(&mut reader).unwrap(), sample());
        assert_eq!(reader.remaining(), 0);
    }

    #[test]
    fn replaced_ids_come_back() {
        let ids = [DocumentId::from(3), "x".into()];
        let mut bytes = Vec::new();
        put_ids(&mut bytes, &ids.iter().collect::<Vec<_>>(), 9).unwrap();
        let read = decode_ids(&mut Reader::new(Path::new("wal"), &bytes)).unwrap();
        assert_eq!((&read.ids[..], read.segment), (&ids[..], Some(9)));
        let read = decode_ids(&mut Reader::new(Path::new("wal"), &bytes[..bytes.len() - 8])).unwrap();
        assert_eq!(
            (&read.ids[..], read.segment),
            (&ids[..], None),
            "a frame of before"
        );
    }

    #[test]
    fn a_cut_batch_is_an_error() {
        let mut bytes = Vec::new();
        put_batch(&mut bytes, &sample()).unwrap();
        for cut in 0..bytes.len() {
            assert!(
                decode_batch(&mut Reader::new(Path::new("wal"), &bytes[..cut])).is_err(),
                "cut {cut}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_batch(&mut Reader::new(Path::new("wal"), &bytes));
            let _ = decode_ids(&mut Reader::new(Path::new("wal"), &bytes));
        }
    }
}
