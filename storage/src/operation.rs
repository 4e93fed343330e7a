//! One change to a collection.

use crate::document::{DocumentId, Record};

/// One change to a collection. A batch of them is applied whole or not at all.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Writes a document, replacing the one of that id.
    Upsert(Record),
    /// Removes the document of that id, if there is one.
    Delete(DocumentId),
}

impl Operation {
    /// The document that is changed.
    #[must_use]
    pub fn id(&self) -> &DocumentId {
        match self {
            Self::Upsert(record) => &record.id,
            Self::Delete(id) => id,
        }
    }
}
