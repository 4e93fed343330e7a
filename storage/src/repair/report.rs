//! What a repair found, did and could not save.

use std::path::PathBuf;

use serde::Serialize;

use crate::collection::Finding;
use crate::document::DocumentId;
use crate::error::StorageError;

/// Ids that a report lists at most; the file beside the damaged files has all.
const LISTED: usize = 20;

/// The collections that were to be repaired, by name, each with its report or why it could not be.
pub type Repairs<E = StorageError> = Vec<(String, Result<RepairReport, E>)>;

/// What a repair of one collection found, did and could not save.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RepairReport {
    /// The collection.
    pub collection: String,
    /// What was wrong.
    pub findings: Vec<Finding>,
    /// Live documents afterwards.
    pub documents: u64,
    /// What was made again without loss.
    pub rebuilt: Vec<String>,
    /// Documents of which a part is lost. They are no longer in the collection; what is left of each is a line of
    /// `lost.jsonl` among the damaged files, to be ingested again.
    pub lost: u64,
    /// The ids of the first of them, as far as they are known.
    pub lost_ids: Vec<DocumentId>,
    /// Documents whose tokens are kept from one of two tiers only: those of the other were damaged.
    pub from_one_tier: u64,
    /// What cannot be known any more, such as which documents had been deleted.
    pub uncertain: Vec<String>,
    /// Where the damaged files are kept; nothing reads them.
    pub kept_in: Option<PathBuf>,
}

impl RepairReport {
    /// Whether there was anything to do.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.kept_in.is_some()
    }

    pub(super) fn lose(&mut self, id: Option<DocumentId>) {
        self.lost += 1;
        if self.lost_ids.len() < LISTED {
            self.lost_ids.extend(id);
        }
    }
}
