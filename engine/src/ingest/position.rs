//! How far the ingest of an input is, kept in the catalog.

use latewood_storage::DocumentId;
use serde::{Deserialize, Serialize};

use crate::collection::Collection;
use crate::error::Error;

/// How far an input has been written. The catalog may lose it: then everything is written again, which changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Documents of the input, from its beginning, that are in the collection.
    pub(super) documents: u64,
    /// The last of them.
    last: Option<DocumentId>,
    /// Whether the input ended there.
    pub(super) complete: bool,
}

impl Position {
    /// Where an ingest of this input stopped, if the collection still holds what it wrote last.
    pub(super) fn find(collection: &Collection, input: &str) -> Result<Self, Error> {
        let Some(position) = collection.catalog_get::<Self>(&key(input))? else {
            return Ok(Self::default());
        };
        match &position.last {
            Some(last) if collection.store.contains(last)? => Ok(position),
            _ => Ok(Self::default()),
        }
    }

    pub(super) fn advance(&mut self, documents: u64, last: Option<DocumentId>, complete: bool) {
        self.documents += documents;
        self.complete = complete;
        if last.is_some() {
            self.last = last;
        }
    }

    pub(super) fn store(&self, collection: &Collection, input: &str) -> Result<(), Error> {
        collection.catalog_put(&key(input), self)
    }

    /// The next ingest of this input begins at its beginning.
    pub(super) fn forget(collection: &Collection, input: &str) -> Result<(), Error> {
        Self::default().store(collection, input)
    }
}

fn key(input: &str) -> String {
    format!("ingest/{input}")
}
