//! Several writes as one.

use latewood_storage::{DocumentId, Operation};

use super::Collection;
use crate::document::Document;
use crate::encode::complete;
use crate::error::Error;

/// Writes that become visible, and durable, together or not at all.
///
/// ```no_run
/// # fn main() -> Result<(), latewood::Error> {
/// # use latewood::{Database, Document};
/// # let collection = Database::open("db")?.collection("notes")?;
/// collection.batch().upsert(Document::new("new").text("Owls hunt at night.")).delete("old").commit()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is written before commit()"]
#[derive(Debug)]
pub struct Batch<'a> {
    collection: &'a Collection,
    changes: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Upsert(Document),
    Delete(DocumentId),
}

impl<'a> Batch<'a> {
    pub(super) fn new(collection: &'a Collection) -> Self {
        Self {
            collection,
            changes: Vec::new(),
        }
    }

    /// Adds a document to write.
    pub fn upsert(mut self, document: Document) -> Self {
        self.changes.push(Change::Upsert(document));
        self
    }

    /// Adds a document to remove.
    pub fn delete(mut self, id: impl Into<DocumentId>) -> Self {
        self.changes.push(Change::Delete(id.into()));
        self
    }

    /// How many changes it holds.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Encodes what needs it, checks everything, and writes all or nothing.
    pub fn commit(self) -> Result<(), Error> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let mut documents = Vec::new();
        let mut deletes = Vec::new();
        for (at, change) in self.changes.into_iter().enumerate() {
            match change {
                Change::Upsert(document) => documents.push((at, document)),
                Change::Delete(id) => deletes.push((at, Operation::Delete(id))),
            }
        }
        let (places, documents): (Vec<usize>, Vec<Document>) = documents.into_iter().unzip();
        let records = complete(documents, &self.collection.schema(), || self.collection.encoder())?;
        let mut operations = deletes;
        operations.extend(places.into_iter().zip(records.into_iter().map(Operation::Upsert)));
        operations.sort_by_key(|(at, _)| *at);
        self.collection
            .store
            .commit(operations.into_iter().map(|(_, operation)| operation).collect())?;
        Ok(())
    }
}
