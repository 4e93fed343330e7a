//! An embedded vector database with late interaction: a library in your process, a directory on your disk, no server.
//!
//! A [`Collection`] holds [documents](Document): an id, a text, a JSON payload, a dense vector, a token matrix (ColBERT), and
//! further vectors in named fields ([`NamedVector`]). A [`Query`] is planned over the stages that the collection can do (dense search, MaxSim late
//! interaction, a cross-encoder's rerank), and says what it did and why.
//!
//! ```
//! use latewood::{Database, Document, FieldType, SchemaBuilder};
//! # fn main() -> Result<(), latewood::Error> {
//! # let folder = std::env::temp_dir().join(format!("latewood-doc-{}", std::process::id()));
//! # std::fs::remove_dir_all(&folder).ok();
//! # #[cfg(feature = "builtin-models")] {
//! let db = Database::open(&folder)?;
//! let schema = SchemaBuilder::new().encoder("tiny").reranker("tiny").field("year", FieldType::Int);
//! let notes = db.create_collection("notes", schema)?;
//! notes.upsert_many([
//!     Document::new("owl").text("Owls hunt mice at night, by ear.").field("year", 2021),
//!     Document::new("wal").text("A write-ahead log makes a database survive a crash.").field("year", 2024),
//!     Document::new("gcc").text("A compiler turns source code into machine code.").field("year", 2024),
//! ])?;
//!
//! let hits = notes.query().text("recover data after power failure").filter("year >= 2022").limit(1).run()?;
//! assert_eq!(hits[0].id, "wal".into());
//!
//! println!("{}", notes.query().text("night birds").explain()?);
//! db.close()?;
//! # }
//! # std::fs::remove_dir_all(&folder).ok();
//! # Ok(())
//! # }
//! ```
//!
//! What is where:
//! - open and configure: [`Database`], [`DatabaseOptions`], [`Durability`]
//! - declare: [`SchemaBuilder`], [`FieldType`], [`Metric`], [`DenseCodec`], [`TokenCodec`],
//!   [`OriginalCodec`]
//! - write: [`Document`], [`Batch`], [`Ingest`], and readers of files in [`import`]
//! - read: [`Query`], [`Filter`], [`Scroll`], [`Documents`]
//! - understand: [`Plan`], [`Profile`], [`Stats`], and measures of rankings in [`evaluation`]
//! - another disk than the operating system's: [`StorageBackend`] and what it is made of in [`backend`]
//! - models: [`models`], the traits [`TextEncoder`](models::TextEncoder) and [`Reranker`]
//! - failure: [`Error`]
//!
//! What it is not: a server, an async API, a lexical search engine, or a downloader of models. Everything blocks, and
//! every handle is `Send + Sync` and cheap to clone. Vectors of your own need no model: build with
//! `default-features = false`.
#![forbid(unsafe_code)]

mod cancel;
#[cfg(feature = "cli")]
pub mod cli;
mod collection;
mod database;
mod document;
mod encode;
mod error;
pub mod evaluation;
mod explain_hit;
mod export;
pub mod import;
mod ingest;
mod model_source;
pub mod models;
mod named_vector;
mod options;
mod random;
mod registry;
mod schema;
mod search;
#[cfg(not(feature = "telemetry"))]
mod telemetry;
#[cfg(feature = "telemetry")]
pub mod telemetry;
mod threads;

/// Silent mistakes of a collection: [`Collection::doctor`].
pub mod doctor {
    pub use crate::collection::doctor::{DoctorOptions, Finding, FindingCode, Severity};
}

pub use cancel::CancelToken;
pub use collection::{
    Advice, AdviseOptions, Answer, Batch, CheckReport, Collection, Comparison, Documents, Figures,
    ModelStats, OptimizeProgress, Page, Pair, Pairs, PlaidExport, RecallAtTarget, RecallReport, Scan, Scroll,
    Stats, StorageBill, TunedFusion, Width, Widths,
};
pub use database::Database;
pub use document::{Document, TokenRows};
pub use error::Error;
pub use explain_hit::HitExplanation;
pub use ingest::{Ingest, IngestProgress, IngestReport};
pub use model_source::{EncoderSource, RerankerSource};
pub use named_vector::NamedVector;
pub use options::DatabaseOptions;
pub use schema::SchemaBuilder;
pub use search::{Analysis, FilterInput, Hit, LexicalInput, PayloadSelection, PlanInput, Query, QueryTokens};

pub use latewood_codecs::{
    CodecError, DenseCodec, Metric, OriginalCodec, SparseVector, TokenCodec, TokenMatrix,
};
pub use latewood_query::{
    Alignment, BreadthEntry, BreadthTable, Correction, Corrections, CostModel, Estimate, Facet, FacetCounts,
    Filter, Fusion, FusionMethod, FusionWeights, HitPath, Leg, LexicalQuery, MeasuredRecall, Plan,
    PlanChoice, PlanName, ProbeSettings, Profile, Quality, QualityTable, QueryError, QuerySource,
    RerankError, Reranker, StageName, StageProfile, StageRank, TUNED_TARGETS, TokenMatch, TunedEntry,
    TunedTable, Value,
};
pub use latewood_storage::{
    BackupReport, CodebookFit, CodebookStats, DiskBackend, DocumentId, Durability, FieldType, Finding,
    Language, LexicalSpec, Maintenance, MappedFile, MemoryBackend, ModelIdentity, OptimizeReport, Payload,
    RecordFault, RepairReport, Repairs, Schema, Severity, StorageBackend, StorageError, Tokenizer, backend,
};
