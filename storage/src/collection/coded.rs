//! Large writes of tokens that another program has coded: its codebook becomes one of the collection, its codes a segment.

use std::sync::Arc;

use latewood_codecs::{CodecError, ResidualCodec, TokenCodec};

use super::CollectionStore;
use super::commit::replaced_rows;
use super::load::{codebook_path, segment_dir};
use super::merge::add_codebook;
use super::worker::Duty;
use crate::document::Record;
use crate::error::{Result, StorageError};
use crate::poison::PoisonOnPanic;
use crate::segment::{Codebook, CodedBlock, CodedSource, ProgressFn, Segment, write_coded_segment};
use crate::snapshot::Snapshot;
use crate::telemetry::{Task, Work};
use crate::validate::unique;

/// Documents whose tokens are residual codes of a codebook that came with them.
#[derive(Clone, Debug)]
pub struct CodedDocuments {
    /// The documents: ids, texts and payloads, without vectors.
    pub records: Vec<Record>,
    /// Tokens of each document, 1 to 8,192.
    pub lengths: Vec<u32>,
    /// What the codes are codes of.
    pub codec: ResidualCodec,
}

impl CollectionStore {
    /// Writes documents whose tokens are coded already, as one segment with its own codebook, replacing those of their
    /// ids. Codes and residual bytes are stored as they come; only the reciprocal norms are computed. The codebook is then
    /// the one that new documents are coded with. On return all are durable and visible; until then none of them is.
    /// Returns the sequence number.
    ///
    /// `blocks` gives the codes of all tokens in the order of documents, in blocks of any length.
    ///
    /// # Errors
    /// As [`Self::bulk`]; [`StorageError::InvalidSchema`] unless the collection has tokens of the codec's dimension and
    /// bits in buckets, and no vector that codes cannot give; [`StorageError::Codec`] for codes that do not fit the codebook or the
    /// lengths; whatever `blocks` says. Nothing is written then.
    pub fn bulk_coded<E: From<StorageError>>(
        &self,
        documents: CodedDocuments,
        mut blocks: impl Iterator<Item = Result<CodedBlock, E>>,
        progress: &ProgressFn<'_>,
    ) -> Result<u64, E> {
        let mut fault = None;
        let mut next = || match blocks.next().transpose() {
            Ok(block) => Ok(block),
            Err(error) => {
                fault = Some(error);
                // Any error ends the segment; the caller gets its own.
                Err(StorageError::Cancelled)
            }
        };
        let written = self.write_coded(documents, &mut next, progress);
        written.map_err(|error| fault.unwrap_or_else(|| error.into()))
    }

    fn write_coded(
        &self,
        documents: CodedDocuments,
        next: &mut dyn FnMut() -> Result<Option<CodedBlock>>,
        progress: &ProgressFn<'_>,
    ) -> Result<u64> {
        self.writable("write")?;
        self.check_coded(&documents)?;
        if documents.records.is_empty() {
            return Ok(self.snapshot.load().sequence);
        }
        let _guard = PoisonOnPanic::new(&self.poison, "a bulk load");
        let task = Task::begin(Work::BulkLoad, &self.name);
        let loaded = self.load_coded(documents, next, &task, progress);
        task.end(&loaded);
        loaded
    }

    fn load_coded(
        &self,
        documents: CodedDocuments,
        next: &mut dyn FnMut() -> Result<Option<CodedBlock>>,
        task: &Task,
        progress: &ProgressFn<'_>,
    ) -> Result<u64> {
        let records: Vec<Arc<Record>> = documents.records.into_iter().map(Arc::new).collect();
        let codebook = Arc::new(Codebook {
            id: self.with_state("write", |state| Ok(state.take_codebook()))?,
            codec: documents.codec,
            trained_on_tokens: documents.lengths.iter().map(|&length| u64::from(length)).sum(),
            distortion: None,
        });
        self.save_codebook(&codebook)?;
        let mut pinned = Snapshot::clone(&self.snapshot.load());
        add_codebook(&mut pinned, Some(&codebook));
        let source = CodedSource {
            records: &records,
            lengths: &documents.lengths,
            next,
        };
        let installed = self
            .coded_segment(&pinned, &codebook, source, progress)
            .and_then(|segment| {
                task.made(&segment);
                let replaced = replaced_rows(&pinned, records.iter().map(|record| &record.id));
                let installed =
                    replaced.and_then(|rows| self.install_bulk(&pinned, &rows, &records, &segment));
                installed.inspect_err(|error| self.abandon(segment_dir(&self.dir, segment.id()), error))
            });
        // After an uncertain publish the manifest may name it.
        if installed.is_err() && self.poison.reason().is_none() {
            let path = codebook_path(&self.dir, codebook.id);
            Codebook::remove(self.context.backend().as_ref(), &path);
        }
        self.workers.note_write();
        self.workers.wake(Duty::Merge);
        installed
    }

    fn check_coded(&self, documents: &CodedDocuments) -> Result<()> {
        let codec = &documents.codec;
        let fits = self.schema.tokens.as_ref().is_some_and(|spec| {
            let shape = (spec.dim, spec.bits, spec.codec, spec.original);
            shape == (codec.dim(), codec.bits(), TokenCodec::Buckets, None)
        });
        if !fits || self.schema.dense.is_some() {
            let (dim, bits) = (codec.dim(), codec.bits());
            return Err(StorageError::InvalidSchema {
                reason: format!(
                    "expected tokens of dimension {dim} at {bits} bits in buckets, without originals and no dense vector, as the codes \
                     to be written are, got {:?} and {:?}; create a collection of that schema for them",
                    self.schema.tokens, self.schema.dense
                ),
            });
        }
        let (expected, got) = (documents.records.len(), documents.lengths.len());
        if expected != got {
            let what = "numbers of tokens, one a document";
            return Err(CodecError::Length { what, expected, got }.into());
        }
        for (record, &length) in documents.records.iter().zip(&documents.lengths) {
            self.schema.prepare_coded(record, length)?;
        }
        unique(documents.records.iter().map(|record| &record.id))
    }

    /// Writes and opens a segment that no manifest names yet.
    fn coded_segment(
        &self,
        snapshot: &Snapshot,
        codebook: &Arc<Codebook>,
        source: CodedSource<'_>,
        progress: &ProgressFn<'_>,
    ) -> Result<Arc<Segment>> {
        let id = self.with_state("write", |state| Ok(state.take_segment()))?;
        let folder = segment_dir(&self.dir, id);
        let backend = self.context.backend().as_ref();
        let mut options = self.context.segment_options(id)?;
        options.origin.sequence = snapshot.sequence;
        let written = write_coded_segment(
            backend,
            &folder,
            &self.schema,
            codebook,
            source,
            &options,
            progress,
        );
        let opened = written.and_then(|_| self.open_segment(folder.clone(), snapshot));
        opened.inspect_err(|error| self.abandon(folder, error))
    }
}
