//! Storage of Latewood: everything that is a file.
//!
//! A database is a directory with one writer process and any number of readers. Each collection in it has a write-ahead
//! log, immutable memory-mapped segments, and a manifest that names those in force: the manifest is the only commit
//! point of files, the log the only one of single changes. Readers hold a snapshot that nothing changes.
//!
//! This crate knows no query and no model: it stores vectors, it does not make or search them.

pub mod backend;
mod backup;
mod catalog;
pub mod checksum;
mod collection;
mod datetime;
mod document;
mod error;
mod field;
#[doc(hidden)]
pub mod fuzzing;
mod group_commit;
#[cfg(test)]
mod group_commit_tests;
mod manifest;
mod memtable;
pub mod mmap;
mod operation;
mod options;
mod poison;
mod publish;
mod published;
#[cfg(test)]
mod published_tests;
mod read_ahead;
mod repair;
mod resident;
mod schema;
pub mod segment;
mod snapshot;
mod store;
mod sync;
#[cfg(not(feature = "telemetry"))]
mod telemetry;
#[cfg(feature = "telemetry")]
pub mod telemetry;
mod text;
mod tombstones;
mod validate;
mod wal;
pub mod wire;

#[cfg(target_endian = "big")]
compile_error!("files are little-endian and read in place: this machine's byte order is not supported");

pub use backend::{DiskBackend, MemoryBackend, StorageBackend};
pub use backup::BackupReport;
pub use catalog::{Catalog, MAX_VALUE_BYTES};
pub use collection::{
    CodebookFit, CodebookStats, CodedDocuments, CollectionStore, Finding, OptimizeOptions, OptimizeReport,
    Severity, StorageStats,
};
pub use datetime::{format_datetime, parse_datetime};
pub use document::{DocumentId, Payload, Record, VectorValue, Vectors, vectors_bytes};
pub use error::{IoContext, RecordFault, Result, StorageError};
pub use field::{GeoPoint, datetime_of, field_of, geo_of};
pub use memtable::MemtableView;
pub use mmap::MappedFile;
pub use operation::Operation;
pub use options::{Durability, Maintenance, StoreOptions};
pub use read_ahead::{ReadAhead, Wanted};
pub use repair::{RepairReport, Repairs};
pub use schema::{
    DenseSpec, FieldSpec, FieldType, ModelIdentity, Schema, TokensSpec, VectorKind, VectorSpec,
};
pub use segment::{
    AwaitedTokens, BoolColumn, CellsView, Codebook, CodedBlock, ColumnView, Component, ComponentHealth,
    GeoColumn, GraphSearch, GraphView, IvfView, KeywordColumn, Lengths, LexicalIndex, LexicalView, Links,
    NamedRows, NumberColumn, Positions, Postings, PostingsBlock, Progress, ProgressFn, ReadToken, Scored,
    Seen, Segment, SegmentView, SparseBlock, SparseIndexView, SparseList, SparseRows, Stage, TermInfo,
    TokenRows, TokensView, Upcoming,
};
pub use snapshot::{Place, Snapshot};
pub use store::Store;
pub use text::{Analyzer, Language, LexicalSpec, MAX_TERM_BYTES, Tokenizer};
pub use tombstones::Tombstones;
pub use validate::{
    MAX_DENSE_DIM, MAX_FIELDS, MAX_ID_BYTES, MAX_PAYLOAD_BYTES, MAX_TEXT_BYTES, MAX_VECTOR_FIELDS,
    prepare_batch,
};
