//! The error of the public API: the union of those of the parts, and what only the whole can see.

use std::path::PathBuf;

use latewood_codecs::CodecError;
use latewood_query::QueryError;
use latewood_storage::{DocumentId, StorageError};

use crate::import::ImportError;
use crate::models::{ModelError, ModelIdentity};

/// Why a call failed: what was expected, what came, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// From the database directory: files, schema checks of documents, locks.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// From a query: request, filter, plan.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// From a model: its files, its runtime, the text given to it.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// From a file that is read in.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A schema that cannot be created.
    #[error("schema: {reason}")]
    Schema {
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A document's vector is not acceptable.
    #[error("document {id}: {source}")]
    Vector {
        /// The document.
        id: DocumentId,
        /// What is wrong with the vector.
        source: CodecError,
    },
    /// A vector of a named field is not acceptable.
    #[error("document {id}: vector {name:?}: {source}")]
    NamedVector {
        /// The document.
        id: DocumentId,
        /// The field.
        name: String,
        /// What is wrong with the vector.
        source: CodecError,
    },
    /// The rows of a document's token matrix differ in length.
    #[error("document {id}: token {row} has {got} numbers, the tokens before it have {expected}")]
    RaggedTokens {
        /// The document.
        id: DocumentId,
        /// The first row that differs.
        row: usize,
        /// Numbers of the rows before it.
        expected: usize,
        /// Its numbers.
        got: usize,
    },
    /// A document's payload is not a JSON object.
    #[error("document {id}: the payload must be a JSON object, got {got}")]
    PayloadNotObject {
        /// The document.
        id: DocumentId,
        /// What it is.
        got: &'static str,
    },
    /// A document's text is empty or white space.
    #[error("document {id}: the text is empty")]
    EmptyText {
        /// The document.
        id: DocumentId,
    },
    /// A document lacks a vector that the schema declares, and it cannot be made from text.
    #[error("document {id}: the schema declares a {field}, the document has none, and {because}")]
    MissingVector {
        /// The document.
        id: DocumentId,
        /// `dense vector` or `token matrix`.
        field: &'static str,
        /// Why none could be made.
        because: &'static str,
    },
    /// A collection needs its model, and another one was given or found.
    #[error(
        "the collection {collection} was made with the {role} {} ({}), but {given_from} is {} ({}): vectors of two \
         models cannot be compared", stored.name, stored.fingerprint, given.name, given.fingerprint
    )]
    ModelMismatch {
        /// The collection.
        collection: String,
        /// `encoder` or `reranker`.
        role: &'static str,
        /// The model that the collection was made with.
        stored: Box<ModelIdentity>,
        /// Where the other model came from.
        given_from: String,
        /// The other model.
        given: Box<ModelIdentity>,
    },
    /// The collection has no such document.
    #[error("the collection {collection} has no document {id}")]
    NoDocument {
        /// The collection.
        collection: String,
        /// The document.
        id: DocumentId,
    },
    /// The collection has no such model.
    #[error("the collection {collection} has no {role}")]
    NoModel {
        /// The collection.
        collection: String,
        /// `encoder` or `reranker`.
        role: &'static str,
    },
    /// The collection's own model cannot be loaded from where it was.
    #[error("the {role} {} of the collection {collection} cannot be loaded from {}: {source}", identity.name, identity.source)]
    ModelUnavailable {
        /// The collection.
        collection: String,
        /// `encoder` or `reranker`.
        role: &'static str,
        /// The model stored with the collection.
        identity: Box<ModelIdentity>,
        /// Why not.
        source: Box<ModelError>,
    },
    /// The collection's own model is in a folder that the caller has not named. A database may come from anywhere, so no
    /// model is loaded because it says so.
    #[error(
        "the collection {collection} was made with the {role} {} in {}, which is not loaded because nobody but the database \
         names it", identity.name, identity.source
    )]
    ModelNotNamed {
        /// The collection.
        collection: String,
        /// `encoder` or `reranker`.
        role: &'static str,
        /// The model stored with the collection, and where it was.
        identity: Box<ModelIdentity>,
    },
    /// The work was asked to stop. What it had done before is kept.
    #[error("cancelled after {done} documents, which are kept")]
    Cancelled {
        /// Documents done.
        done: u64,
    },
    /// A file that Latewood writes for the caller cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file, `-` for standard output.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The collection cannot be written in the form that was asked for.
    #[error("cannot export: {reason}")]
    Export {
        /// Why not, and what to do.
        reason: String,
    },
    /// Advice that cannot be given.
    #[error("cannot advise: {reason}")]
    Advise {
        /// Why not, and what to do.
        reason: String,
    },
    /// The threads of the database cannot be started.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// What the operating system says.
        reason: String,
    },
}

impl Error {
    /// What to do about it, where the message itself does not say. Never to delete data.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Import(e) => Some(e.hint()),
            Self::Vector { .. } | Self::RaggedTokens { .. } => {
                Some("give vectors of the schema's dimension, finite and not zero")
            }
            Self::PayloadNotObject { .. } => Some("wrap the value: {\"name\": value}"),
            Self::EmptyText { .. } => Some("give the document a text, or vectors of its own and no text"),
            Self::MissingVector { .. } => Some(
                "give the vector with the document, or a text to a collection whose schema names an encoder",
            ),
            Self::ModelMismatch { .. } => {
                Some("give the folder of the model that made the collection, or ingest into a new collection")
            }
            Self::NoModel { role: "encoder", .. } => {
                Some("give the query's vectors, or create the collection with an encoder")
            }
            Self::NoModel { .. } => {
                Some("name a plan without rerank, or set a reranker on the query or the collection")
            }
            Self::ModelUnavailable { .. } => {
                Some("give the folder where the same model is now, or the runtime that it needs")
            }
            Self::ModelNotNamed { .. } => Some(
                "if you trust that folder, name it or one around it: --models FOLDER, DatabaseOptions::models; or give the model \
                 itself: --encoder FOLDER, add_encoder, add_reranker",
            ),
            Self::NoDocument { .. } => {
                Some("give the id of a document that is stored; `latewood scan` prints some with their ids")
            }
            Self::Cancelled { .. } => Some("run it again to go on where it stopped"),
            Self::Write { .. } => Some("check the path, its permissions and the space on the disk"),
            _ => None,
        }
    }
}
