//! Storage of Latewood: everything that is a file.
//!
//! A database is a directory with one writer process and any number of readers. Each collection in it has a write-ahead
//! log, immutable memory-mapped segments, and a manifest that names those in force: the manifest is the only commit
//! point of files, the log the only one of single changes. Readers hold a snapshot that nothing changes.
//!
//! This crate knows no query and no model: it stores vectors, it does not make or search them.

pub mod backend;
pub mod checksum;
mod document;
mod error;
pub mod mmap;
mod operation;
mod schema;
mod validate;
pub mod wire;

pub use backend::{DiskBackend, MemoryBackend, StorageBackend};
pub use document::{DocumentId, Payload, Record};
pub use error::{IoContext, RecordFault, Result, StorageError};
pub use mmap::MappedFile;
pub use operation::Operation;
pub use schema::{DenseSpec, FieldSpec, FieldType, ModelIdentity, Schema, TokensSpec};
pub use validate::{
    MAX_DENSE_DIM, MAX_FIELDS, MAX_ID_BYTES, MAX_PAYLOAD_BYTES, MAX_TEXT_BYTES, prepare_batch,
};
