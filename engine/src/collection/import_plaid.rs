//! A collection made of an index that fast-plaid or next-plaid wrote.

use std::ops::ControlFlow;

use latewood_storage::{CodedDocuments, Payload, Progress, Record};

use super::Collection;
use super::maintain::OptimizeProgress;
use crate::database::Database;
use crate::error::Error;
use crate::import::PlaidIndex;
use crate::schema::SchemaBuilder;

impl Database {
    /// Creates a collection of an index of fast-plaid or next-plaid, without encoding anything: its codes and residual bytes
    /// are stored as they are, its centroids, cutoffs and weights become the codebook, and scores are those of the index.
    /// Documents written later are coded with that codebook, until the collection outgrows it.
    ///
    /// `schema` may name an encoder of the index's dimension, so that texts can be asked, a reranker, and fields; the tokens'
    /// dimension and bits are those of the index. `progress` may break it off.
    ///
    /// # Errors
    /// [`Error::Schema`] for a schema that the index cannot fill: other tokens, a dense vector, originals;
    /// [`Error::Import`] for a file that is missing or damaged. There is no collection then.
    pub fn import_plaid(
        &self,
        name: &str,
        index: PlaidIndex,
        schema: SchemaBuilder,
        progress: impl Fn(&OptimizeProgress) -> ControlFlow<()>,
    ) -> Result<Collection, Error> {
        let schema = schema.of_codes(index.dim(), index.bits())?;
        let collection = self.create_collection(name, schema)?;
        match collection.fill_from_plaid(index, progress) {
            Ok(()) => Ok(collection),
            Err(error) => {
                drop(collection);
                // The first error is the one to tell; what is left is an empty collection.
                let _ = self.drop_collection(name);
                Err(error)
            }
        }
    }
}

impl Collection {
    fn fill_from_plaid(
        &self,
        index: PlaidIndex,
        progress: impl Fn(&OptimizeProgress) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let (documents, codec, blocks) = index.into_documents();
        let bare = |id| Record {
            id,
            text: None,
            payload: Payload::new(),
            dense: None,
            tokens: None,
            vectors: latewood_storage::Vectors::new(),
        };
        let (ids, lengths): (Vec<_>, Vec<_>) = documents.into_iter().unzip();
        let documents = CodedDocuments {
            records: ids.into_iter().map(bare).collect(),
            lengths,
            codec,
        };
        let report = |step: Progress| progress(&step.into());
        self.store.bulk_coded(documents, blocks, &report)?;
        self.calibrate()?;
        Ok(())
    }
}
