//! A collection: the handle, its models, and single reads.

mod advise;
mod advise_bits;
mod advise_originals;
mod advise_pool;
mod advise_rerank;
mod advise_settings;
mod advise_storage;
mod advise_widths;
mod batch;
mod calibrate;
mod catalog;
mod costs;
pub(crate) mod doctor;
mod doctor_sample;
mod documents;
mod export;
mod export_plaid;
mod facets;
mod import_plaid;
mod maintain;
mod pairs;
mod pseudo_queries;
mod read_once;
mod recall;
mod retune;
mod scan;
mod scroll;
mod stats;
mod tune;
mod tune_dense;
mod tune_fusion;
mod tune_plans;
mod write;

use std::fmt;
use std::sync::Arc;

use latewood_query::{Filter, Matches, Reranker};
use latewood_storage::{CollectionStore, DocumentId, Schema, Snapshot};

pub use advise::{Advice, AdviseOptions, Answer, Comparison, Figures};
pub use advise_bits::{Width, Widths};
pub use advise_storage::StorageBill;
pub use batch::Batch;
pub use documents::Documents;
pub(crate) use documents::{payload_at, text_at};
pub use export_plaid::PlaidExport;
pub use maintain::{CheckReport, OptimizeProgress};
pub use pairs::{Pair, Pairs};
pub use recall::{RecallAtTarget, RecallReport};
pub use scan::Scan;
pub use scroll::{Page, Scroll};
pub use stats::{ModelStats, Stats};
pub use tune_fusion::TunedFusion;

use crate::database::Shared;
use crate::document::Document;
use crate::error::Error;
use crate::model_source::{EncoderSource, RerankerSource};
use crate::models::TextEncoder;
use crate::registry::check_identity;
use crate::search::Query;

/// A collection of documents. Clones are cheap, share everything and may be used from any thread.
#[derive(Clone)]
pub struct Collection {
    name: Arc<str>,
    pub(crate) store: Arc<CollectionStore>,
    pub(crate) shared: Arc<Shared>,
}

impl Collection {
    pub(crate) fn new(name: &str, store: Arc<CollectionStore>, shared: Arc<Shared>) -> Self {
        let collection = Self {
            name: name.into(),
            store,
            shared,
        };
        if !collection.shared.read_only {
            collection.retune_when_settled();
        }
        collection
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it holds.
    pub fn schema(&self) -> Arc<Schema> {
        Arc::clone(self.store.schema())
    }

    pub(crate) fn snapshot(&self) -> Result<Arc<Snapshot>, Error> {
        Ok(self.store.snapshot())
    }

    /// Has a handle of a database that is open read-only see what the writer's process has acknowledged until now. Queries
    /// that run go on with what they began with. On the writer's own handle there is nothing to do: it sees every write.
    ///
    /// # Errors
    /// When a file is damaged or cannot be read, or the collection was dropped; the handle shows what it showed before.
    pub fn refresh(&self) -> Result<(), Error> {
        Ok(self.store.refresh()?)
    }

    /// The document of this id.
    pub fn get(&self, id: impl Into<DocumentId>) -> Result<Option<Document>, Error> {
        Ok(self.store.get(&id.into())?.map(Document::from))
    }

    /// Whether there is a document of this id.
    pub fn contains(&self, id: impl Into<DocumentId>) -> Result<bool, Error> {
        Ok(self.store.contains(&id.into())?)
    }

    /// How many documents there are, or how many match a filter: `count(None)`, `count(&filter)`.
    pub fn count<'a>(&self, filter: impl Into<Option<&'a Filter>>) -> Result<u64, Error> {
        let snapshot = self.snapshot()?;
        match filter.into() {
            None => Ok(snapshot.len()),
            Some(filter) => Ok(Matches::evaluate(&snapshot, Some(filter))?.count()),
        }
    }

    /// Begins a query.
    pub fn query(&self) -> Query<'_> {
        Query::new(self)
    }

    /// The encoder, loaded from where it was when the collection was created if it is not in memory yet.
    pub fn encoder(&self) -> Result<Arc<dyn TextEncoder>, Error> {
        let schema = self.schema();
        let stored = schema.encoder.as_ref().ok_or_else(|| self.no_model("encoder"))?;
        self.shared.models.encoder(&self.name, stored)
    }

    /// The reranker, loaded from where it was when the collection was created if it is not in memory yet.
    pub fn reranker(&self) -> Result<Arc<dyn Reranker>, Error> {
        let schema = self.schema();
        let stored = schema
            .reranker
            .as_ref()
            .ok_or_else(|| self.no_model("reranker"))?;
        self.shared.models.reranker(&self.name, stored)
    }

    /// Gives the collection its encoder, for one that is not where it was. Another model than the one that made the
    /// collection is refused with [`Error::ModelMismatch`].
    pub fn set_encoder(&self, encoder: impl Into<EncoderSource>) -> Result<(), Error> {
        let source = encoder.into();
        let schema = self.schema();
        let stored = schema.encoder.as_ref().ok_or_else(|| self.no_model("encoder"))?;
        let given = self.shared.models.add_encoder(&source)?;
        check_identity(
            &self.name,
            "encoder",
            stored,
            given.identity(),
            &source.to_string(),
        )
    }

    /// Gives the collection its reranker, for one that is not where it was. Any reranker may be used for one query with
    /// [`Query::reranker`].
    pub fn set_reranker(&self, reranker: impl Into<RerankerSource>) -> Result<(), Error> {
        let source = reranker.into();
        let schema = self.schema();
        let stored = schema
            .reranker
            .as_ref()
            .ok_or_else(|| self.no_model("reranker"))?;
        let given = self.shared.models.add_reranker(&source)?;
        check_identity(
            &self.name,
            "reranker",
            stored,
            given.identity(),
            &source.to_string(),
        )
    }

    fn no_model(&self, role: &'static str) -> Error {
        Error::NoModel {
            collection: self.name.to_string(),
            role,
        }
    }
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collection")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
