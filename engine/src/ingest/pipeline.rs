//! Reader, encoder and writer, each a thread, joined by short channels.

use std::ops::ControlFlow;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, bounded};
use latewood_storage::{DocumentId, Record, vectors_bytes};

use super::position::Position;
use super::{Documents, Ingest, IngestProgress, IngestReport};
use crate::cancel::CancelToken;
use crate::collection::Collection;
use crate::document::{Document, TokenRows};
use crate::encode::complete;
use crate::error::Error;
use crate::named_vector::NamedVector;

/// Batches that wait between two stages.
const WAITING: usize = 2;
/// The share of the memory budget that a chunk on its way to the storage takes; building its segment takes more.
const CHUNK_SHARE: u64 = 8;
/// The share of the memory budget that a batch of documents with vectors takes: seven of them may be on their way.
const BATCH_SHARE: u64 = 64;
/// Documents of the largest chunk: what an interruption can cost.
const CHUNK_DOCUMENTS: usize = 16_384;

/// What goes from one stage to the next.
enum Parcel<T> {
    Batch(Vec<T>),
    /// A fault: the last parcel. What came before it is written.
    Fault(Error),
    /// The input is at its end: the last parcel. A channel that closes without it was cut short.
    End,
}

/// Reads, encodes and writes everything behind `position`.
pub(super) fn run(
    ingest: &mut Ingest<'_>,
    position: Position,
    begun: Instant,
    report: &mut IngestReport,
) -> Result<(), Error> {
    let collection = ingest.collection;
    let documents = std::mem::replace(&mut ingest.documents, Box::new(std::iter::empty()));
    let batch_size = ingest.encode_batch;
    let cancel = ingest.cancel.clone();
    std::thread::scope(|scope| {
        let (read_sender, read_receiver) = bounded(WAITING);
        let (encoded_sender, encoded_receiver) = bounded(WAITING);
        let stop = cancel.clone();
        let limit = BatchLimit {
            documents: batch_size,
            bytes: collection.shared.memory_budget_bytes / BATCH_SHARE,
        };
        scope.spawn(move || read(documents, position.documents, limit, &stop, &read_sender));
        scope.spawn(move || encode(collection, &read_receiver, &encoded_sender));
        let mut writer = Writer::new(ingest, position, begun, report);
        let outcome = writer.write_all(&encoded_receiver);
        // The threads before this one end when their channels do.
        drop(encoded_receiver);
        outcome
    })
}

/// When a batch is full.
#[derive(Clone, Copy)]
struct BatchLimit {
    documents: usize,
    bytes: u64,
}

/// Groups documents into batches.
fn read(
    mut documents: Documents<'_>,
    skip: u64,
    limit: BatchLimit,
    cancel: &CancelToken,
    output: &Sender<Parcel<Document>>,
) {
    let mut next = match usize::try_from(skip) {
        Ok(0) | Err(_) => documents.next(),
        Ok(skip) => documents.nth(skip),
    };
    let (mut batch, mut bytes) = (Vec::new(), 0);
    loop {
        match next {
            Some(Ok(document)) => {
                bytes += vector_bytes(&document);
                batch.push(document);
            }
            Some(Err(e)) => {
                // A receiver that is gone has failed itself, and says why.
                let _ = output
                    .send(Parcel::Batch(batch))
                    .and_then(|()| output.send(Parcel::Fault(e)));
                return;
            }
            None => break,
        }
        if batch.len() >= limit.documents || bytes >= limit.bytes {
            bytes = 0;
            if output.send(Parcel::Batch(std::mem::take(&mut batch))).is_err() || cancel.is_cancelled() {
                return;
            }
        }
        next = documents.next();
    }
    let _ = output
        .send(Parcel::Batch(batch))
        .and_then(|()| output.send(Parcel::End));
}

fn encode(collection: &Collection, input: &Receiver<Parcel<Document>>, output: &Sender<Parcel<Record>>) {
    let schema = collection.schema();
    for parcel in input {
        let parcel = match parcel {
            Parcel::Batch(documents) => match complete(documents, &schema, || collection.encoder()) {
                Ok(records) => Parcel::Batch(records),
                Err(e) => Parcel::Fault(e),
            },
            Parcel::Fault(e) => Parcel::Fault(e),
            Parcel::End => Parcel::End,
        };
        let last = !matches!(parcel, Parcel::Batch(_));
        if output.send(parcel).is_err() || last {
            return;
        }
    }
}

struct Writer<'i, 'a> {
    ingest: &'i mut Ingest<'a>,
    report: &'i mut IngestReport,
    begun: Instant,
    position: Position,
    chunk: Vec<Record>,
    chunk_bytes: u64,
    progress: IngestProgress,
}

impl<'i, 'a> Writer<'i, 'a> {
    fn new(
        ingest: &'i mut Ingest<'a>,
        position: Position,
        begun: Instant,
        report: &'i mut IngestReport,
    ) -> Self {
        let progress = IngestProgress {
            documents: position.documents,
            skipped: position.documents,
            written: position.documents,
            ..IngestProgress::default()
        };
        Self {
            ingest,
            report,
            begun,
            position,
            chunk: Vec::new(),
            chunk_bytes: 0,
            progress,
        }
    }

    fn write_all(&mut self, input: &Receiver<Parcel<Record>>) -> Result<(), Error> {
        for parcel in input {
            match parcel {
                Parcel::Batch(records) => self.take(records)?,
                Parcel::Fault(e) => {
                    self.write_chunk(false)?;
                    return Err(e);
                }
                Parcel::End => {
                    self.write_chunk(true)?;
                    self.tell();
                    return Ok(());
                }
            }
            if self.ingest.cancel.is_cancelled() {
                break;
            }
        }
        self.write_chunk(false)?;
        Err(Error::Cancelled {
            done: self.progress.written,
        })
    }

    /// Adds records to the chunk, and writes it whenever it is full.
    fn take(&mut self, records: Vec<Record>) -> Result<(), Error> {
        let chunk_limit = self.ingest.collection.shared.memory_budget_bytes / CHUNK_SHARE;
        for record in records {
            self.progress.documents += 1;
            self.progress.tokens += record.tokens.as_ref().map_or(0, |t| t.len() as u64);
            self.chunk_bytes += record_bytes(&record);
            self.chunk.push(record);
            if self.chunk_bytes >= chunk_limit || self.chunk.len() >= CHUNK_DOCUMENTS {
                self.write_chunk(false)?;
            }
        }
        self.tell();
        Ok(())
    }

    /// Makes the chunk durable, then notes how far the input is.
    fn write_chunk(&mut self, complete: bool) -> Result<(), Error> {
        let chunk = std::mem::take(&mut self.chunk);
        self.chunk_bytes = 0;
        let documents = chunk.len() as u64;
        let last = chunk.last().map(|record| record.id.clone());
        let tokens: u64 = chunk
            .iter()
            .filter_map(|r| r.tokens.as_ref())
            .map(|t| t.len() as u64)
            .sum();
        if !chunk.is_empty() {
            write(self.ingest.collection, chunk)?;
        }
        self.report.documents += documents;
        self.report.tokens += tokens;
        self.progress.written += documents;
        self.position.advance(documents, last, complete);
        match &self.ingest.resume {
            Some(input) if documents > 0 || complete => self.position.store(self.ingest.collection, input),
            _ => Ok(()),
        }
    }

    fn tell(&mut self) {
        self.progress.elapsed = self.begun.elapsed();
        let progress = self.progress;
        if let Some(callback) = &mut self.ingest.on_progress {
            callback(&progress);
        }
    }
}

/// Writes a chunk. An id that occurs twice in it is written twice: the later document replaces the earlier one.
fn write(collection: &Collection, mut chunk: Vec<Record>) -> Result<(), Error> {
    loop {
        let rest = split_at_repeated_id(&mut chunk);
        collection.store.bulk(chunk, &|_| ControlFlow::Continue(()))?;
        match rest {
            Some(rest) => chunk = rest,
            None => return Ok(()),
        }
    }
}

fn split_at_repeated_id(chunk: &mut Vec<Record>) -> Option<Vec<Record>> {
    let mut seen: std::collections::HashSet<&DocumentId> =
        std::collections::HashSet::with_capacity(chunk.len());
    let at = chunk.iter().position(|record| !seen.insert(&record.id))?;
    Some(chunk.split_off(at))
}

/// What the vectors take that a document brings along.
fn vector_bytes(document: &Document) -> u64 {
    let dense = document.dense.as_ref().map_or(0, |v| v.len() * size_of::<f32>());
    let tokens = document.tokens.as_ref().map_or(0, TokenRows::bytes);
    let vectors: usize = document.vectors.values().map(NamedVector::bytes).sum();
    (dense + tokens + vectors) as u64
}

fn record_bytes(record: &Record) -> u64 {
    let fixed = size_of::<Record>();
    let text = record.text.as_ref().map_or(0, String::len);
    let dense = record.dense.as_ref().map_or(0, |v| v.len() * size_of::<f32>());
    let tokens = record.tokens.as_ref().map_or(0, |t| t.len() * t.dim() * 2);
    let payload: usize = record
        .payload
        .iter()
        .map(|(key, value)| key.len() + value_bytes(value))
        .sum();
    (fixed + text + dense + tokens + payload + vectors_bytes(&record.vectors)) as u64
}

fn value_bytes(value: &serde_json::Value) -> usize {
    const NODE_BYTES: usize = size_of::<serde_json::Value>();
    NODE_BYTES
        + match value {
            serde_json::Value::String(s) => s.len(),
            serde_json::Value::Array(items) => items.iter().map(value_bytes).sum(),
            serde_json::Value::Object(object) => object.iter().map(|(k, v)| k.len() + value_bytes(v)).sum(),
            _ => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use latewood_codecs::TokenMatrix;

    /// The numbers of documents of the batches in which documents of so many tokens of 8 numbers, 16 bytes, are read.
    fn batches(tokens: &[usize], limit: BatchLimit) -> Vec<usize> {
        let documents = (0_u64..).zip(tokens).map(|(id, tokens)| {
            let matrix = TokenMatrix::from_f32(8, &vec![0.5; tokens * 8]);
            Ok(Document::new(id).tokens(matrix.unwrap()))
        });
        let (sender, receiver) = bounded(tokens.len() + 2);
        read(Box::new(documents), 0, limit, &CancelToken::new(), &sender);
        let parcels: Vec<Parcel<Document>> = receiver.try_iter().collect();
        assert!(matches!(parcels.last(), Some(Parcel::End)));
        let length = |parcel: Parcel<Document>| match parcel {
            Parcel::Batch(documents) => Some(documents.len()),
            _ => None,
        };
        parcels.into_iter().filter_map(length).collect()
    }

    #[test]
    fn a_batch_ends_with_its_documents_or_its_bytes() {
        let limit = |documents, bytes| BatchLimit { documents, bytes };
        assert_eq!(batches(&[1; 5], limit(2, 1 << 20)), [2, 2, 1]);
        assert_eq!(batches(&[10, 10, 10, 40, 1, 1], limit(100, 320)), [2, 2, 2]);
        // A document that is too large for a batch is one by itself.
        assert_eq!(batches(&[40, 40], limit(100, 320)), [1, 1, 0]);
    }
}
