//! Single writes.

use latewood_storage::{DocumentId, Operation};

use super::{Batch, Collection};
use crate::document::Document;
use crate::encode::complete;
use crate::error::Error;
use crate::import::VectorFiles;
use crate::ingest::Ingest;

impl Collection {
    /// Writes a document, replacing the one of its id. Vectors that it lacks are made from its text.
    ///
    /// On return the write is durable as [`Durability`](crate::Durability) says, and the document can be found.
    pub fn upsert(&self, document: Document) -> Result<(), Error> {
        self.upsert_many([document])
    }

    /// Writes documents, all or none. An id may occur once.
    pub fn upsert_many(&self, documents: impl IntoIterator<Item = Document>) -> Result<(), Error> {
        let documents: Vec<Document> = documents.into_iter().collect();
        let records = complete(documents, &self.schema(), || self.encoder())?;
        if records.is_empty() {
            return Ok(());
        }
        self.store
            .commit(records.into_iter().map(Operation::Upsert).collect())?;
        Ok(())
    }

    /// Removes the document of this id, if there is one.
    pub fn delete(&self, id: impl Into<DocumentId>) -> Result<(), Error> {
        self.store.commit(vec![Operation::Delete(id.into())])?;
        Ok(())
    }

    /// Begins a batch of writes that become visible together or not at all.
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(self)
    }

    /// Begins an ingest of many documents: streamed, in bounded memory, faster than single writes.
    pub fn ingest<'a, D>(&'a self, documents: D) -> Ingest<'a>
    where
        D: IntoIterator<Item = Document>,
        D::IntoIter: Send + 'a,
    {
        Ingest::new(self, documents.into_iter().map(Ok))
    }

    /// Begins an ingest from a reader that can fail, such as [`JsonLines`](crate::import::JsonLines).
    pub fn try_ingest<'a, D, E>(&'a self, documents: D) -> Ingest<'a>
    where
        D: IntoIterator<Item = Result<Document, E>>,
        D::IntoIter: Send + 'a,
        E: Into<Error>,
    {
        Ingest::new(
            self,
            documents.into_iter().map(|document| document.map_err(Into::into)),
        )
    }
    /// Begins an ingest of vectors in files. Where it brings the first token matrices of a collection, and many of them, the
    /// codebook is trained on a sample of the files before the first is written, and each is coded as it comes: they never
    /// lie in the collection whole, which takes a sixth of the room, and less time.
    ///
    /// # Errors
    /// [`Error::Import`] when the file of the tokens cannot be opened once more.
    pub fn ingest_files(&self, files: VectorFiles) -> Result<Ingest<'_>, Error> {
        let tokens = files.token_file()?;
        Ok(Ingest::new(self, files).train_on(tokens))
    }
}
