//! What a query returns.

use latewood_storage::DocumentId;
use serde::{Deserialize, Serialize};

use crate::plan::StageName;
use crate::profile::Profile;

/// Where a document is within one snapshot. Ties of scores are broken by it: segments in the manifest's order, then the
/// memtable (whose number is the number of segments), and within each by ordinal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// The segment's place in the snapshot; the number of segments for the memtable.
    pub segment: u32,
    /// The document's ordinal in the segment, or slot in the memtable.
    pub ordinal: u32,
}

/// One document found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The caller's id.
    pub id: DocumentId,
    /// Higher is better. After a rerank the hits within its depth carry the cross-encoder's score and come first; those
    /// behind keep the score of the stage before, which is on another scale.
    pub score: f32,
    /// The stage that gave the score.
    pub scored_by: StageName,
    /// Where the document is in the snapshot that was searched.
    pub position: Position,
}

/// The hits of a query and what it took to find them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What was given up while the query ran, for its budget.
    pub cut: Vec<String>,
    /// Best first; at most `limit`, from `offset` on.
    pub hits: Vec<Hit>,
    /// What each stage did.
    pub profile: Profile,
}
