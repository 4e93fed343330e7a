//! What there is with the feature.

use std::sync::Arc;
use std::time::Instant;

use metrics::{
    SharedString, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge as set_gauge,
    histogram,
};
use tracing::Level;
use tracing::span::EnteredSpan;

use super::Work;
use crate::error::{Result, StorageError};
use crate::segment::Segment;
use crate::snapshot::Snapshot;

/// A span of the writer, with the fields that its work records.
macro_rules! span {
    ($level:ident, $name:literal, $collection:expr; $($field:ident),*) => {
        tracing::span!(
            target: "latewood::storage",
            Level::$level,
            $name,
            collection = $collection,
            $($field = tracing::field::Empty,)*
            microseconds = tracing::field::Empty,
            failed = tracing::field::Empty,
        )
    };
}

impl Work {
    fn span(self, collection: &str) -> tracing::Span {
        match self {
            Self::Commit => span!(DEBUG, "commit", collection; batches, written, deleted, bytes),
            Self::Flush => span!(INFO, "flush", collection; documents, bytes),
            Self::Merge => span!(INFO, "merge", collection; segments, documents, bytes),
            Self::Optimize => {
                span!(INFO, "optimize", collection; segments_before, segments_after, bytes_before, bytes_after)
            }
            Self::BulkLoad => span!(INFO, "bulk load", collection; documents, bytes),
            Self::Train => span!(INFO, "train", collection; tokens, centroids),
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Flush => "flush",
            Self::Merge => "merge",
            Self::Optimize => "optimize",
            Self::BulkLoad => "bulk load",
            Self::Train => "train",
        }
    }

    /// The counter of those that were done; of commits the batches are counted instead.
    fn counter(self) -> Option<&'static str> {
        match self {
            Self::Flush => Some("latewood_flushes_total"),
            Self::Merge => Some("latewood_merges_total"),
            Self::BulkLoad => Some("latewood_bulk_loads_total"),
            Self::Train => Some("latewood_codebooks_trained_total"),
            Self::Commit | Self::Optimize => None,
        }
    }
}

/// A task of the writer: its span is entered until it ends.
#[derive(Debug)]
pub(crate) struct Task {
    work: Work,
    collection: SharedString,
    begun: Instant,
    span: EnteredSpan,
}

impl Task {
    pub(crate) fn begin(work: Work, collection: &str) -> Self {
        Self {
            work,
            collection: shared(collection),
            begun: Instant::now(),
            span: work.span(collection).entered(),
        }
    }

    /// Notes a number in a field of the span.
    pub(crate) fn record(&self, field: &'static str, value: u64) {
        self.span.record(field, value);
    }

    /// Notes the segment that was made.
    pub(crate) fn made(&self, segment: &Segment) {
        self.record("documents", segment.len().into());
        self.record("bytes", segment.bytes().into_values().sum());
    }

    /// Counts the task as done or as failed; one that was broken off on purpose as neither.
    pub(crate) fn end<T>(self, result: &Result<T>) {
        let time = self.begun.elapsed();
        self.span.record("microseconds", time.as_secs_f64() * 1e6);
        match result {
            Ok(_) => {
                let (collection, work) = (self.collection.clone(), self.work.label());
                histogram!("latewood_write_seconds", "collection" => collection, "work" => work).record(time);
                if let Some(name) = self.work.counter() {
                    counter!(name, "collection" => self.collection).increment(1);
                }
            }
            Err(error) => {
                self.span.record("failed", true);
                if !matches!(error, StorageError::Cancelled) {
                    let work = self.work.label();
                    counter!("latewood_write_failures_total", "collection" => self.collection, "work" => work)
                        .increment(1);
                }
            }
        }
    }
}

/// What a group of commits has changed.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    batches: u64,
    written: u64,
    deleted: u64,
}

impl Applied {
    /// Counts a batch by its changes, each of them an upsert or a delete.
    pub(crate) fn batch(&mut self, upserts: impl Iterator<Item = bool>) {
        self.batches += 1;
        for is_upsert in upserts {
            if is_upsert {
                self.written += 1;
            } else {
                self.deleted += 1;
            }
        }
    }

    /// Counts documents that a bulk load has written.
    pub(crate) fn documents(collection: &str, documents: usize) {
        counter!("latewood_documents_written_total", "collection" => shared(collection))
            .increment(documents as u64);
    }

    /// Counts bytes of frames that the log has taken.
    pub(crate) fn log(collection: &str, bytes: usize) {
        counter!("latewood_wal_bytes_total", "collection" => shared(collection)).increment(bytes as u64);
    }

    /// Counts it all: it is acknowledged.
    pub(crate) fn end(self, task: &Task, collection: &str) {
        let collection = shared(collection);
        for (field, name, count) in [
            ("batches", "latewood_commits_total", self.batches),
            ("written", "latewood_documents_written_total", self.written),
            ("deleted", "latewood_deletes_total", self.deleted),
        ] {
            task.record(field, count);
            counter!(name, "collection" => collection.clone()).increment(count);
        }
    }
}

/// Shows how much there is now.
pub(crate) fn gauge(collection: &str, snapshot: &Snapshot) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    let numbers = [
        snapshot.len() as f64,
        snapshot.memtable().len() as f64,
        snapshot.segments().len() as f64,
    ];
    set(collection, numbers);
}

/// Shows that there is nothing any more.
pub(crate) fn dropped(collection: &str) {
    set(collection, [0.0; 3]);
}

fn set(collection: &str, numbers: [f64; 3]) {
    let names = [
        "latewood_documents",
        "latewood_memtable_documents",
        "latewood_segments",
    ];
    let collection = shared(collection);
    for (name, number) in names.into_iter().zip(numbers) {
        set_gauge!(name, "collection" => collection.clone()).set(number);
    }
}

/// Counts background work that failed and is tried again.
pub(crate) fn background_failed(collection: &str) {
    counter!("latewood_background_failures_total", "collection" => shared(collection)).increment(1);
}

fn shared(text: &str) -> SharedString {
    SharedString::from_shared(Arc::from(text))
}

/// Tells the recorder what the counters, histograms and gauges of writes mean.
pub fn describe() {
    let counters = [
        (
            "latewood_commits_total",
            Unit::Count,
            "batches of small writes that were acknowledged",
        ),
        (
            "latewood_documents_written_total",
            Unit::Count,
            "documents inserted or replaced, by small writes and bulk loads",
        ),
        (
            "latewood_deletes_total",
            Unit::Count,
            "deletes that were acknowledged, of documents that were there or not",
        ),
        (
            "latewood_wal_bytes_total",
            Unit::Bytes,
            "bytes of frames that the write-ahead log has taken",
        ),
        (
            "latewood_flushes_total",
            Unit::Count,
            "memtables that became a segment",
        ),
        (
            "latewood_merges_total",
            Unit::Count,
            "merges of segments into one",
        ),
        (
            "latewood_bulk_loads_total",
            Unit::Count,
            "chunks of documents that were written as a segment",
        ),
        (
            "latewood_codebooks_trained_total",
            Unit::Count,
            "codebooks that were trained",
        ),
        (
            "latewood_write_failures_total",
            Unit::Count,
            "work of the writer that ended in an error, by work",
        ),
        (
            "latewood_background_failures_total",
            Unit::Count,
            "background work that ended in an error, and is tried again",
        ),
    ];
    for (name, unit, text) in counters {
        describe_counter!(name, unit, text);
    }
    describe_histogram!(
        "latewood_write_seconds",
        Unit::Seconds,
        "what the writer's work took, by work"
    );
    let gauges = [
        ("latewood_documents", "live documents"),
        (
            "latewood_memtable_documents",
            "documents that are in memory and the log only",
        ),
        ("latewood_segments", "segments"),
    ];
    for (name, text) in gauges {
        describe_gauge!(name, Unit::Count, text);
    }
}
