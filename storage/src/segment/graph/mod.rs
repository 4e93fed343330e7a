//! The proximity graph over a segment's dense vectors: HNSW.
//!
//! Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical navigable small
//! world graphs" (2016). Each row has a level, drawn so that each level holds about one in `m` of the rows below it; on
//! each of its levels a row is linked with at most `m` near rows (`2 m` on level 0), chosen so that no chosen row is
//! nearer to another chosen one than to the row itself (the paper's algorithm 4), but for a slack.
//!
//! The graph is built over, and walked by, codes of four bits a number that lie beside the links: a row of 128 numbers is one
//! line of the cache. What a walk finds is then scored from the dense vectors themselves.

mod build;
mod cells;
mod codes;
mod connect;
mod inherit;
mod links;
mod packed;
mod partition;
mod search;
mod seen;
mod view;

use serde::{Deserialize, Serialize};

pub(crate) use build::{Space, build};
pub use cells::CellsView;
pub(crate) use codes::GraphCodes;
pub(crate) use links::Part;
pub use packed::Links;
pub(crate) use partition::partition;
pub use search::{GraphSearch, Scored, Upcoming};
pub use seen::Seen;
pub use view::GraphView;
pub(crate) use view::{open, write};

/// How a graph is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphOptions {
    /// Links of a row on the levels above 0; twice as many on level 0. 2 to 128.
    pub m: usize,
    /// Candidates kept while the neighbours of a new row are searched.
    pub ef_construction: usize,
}

impl Default for GraphOptions {
    fn default() -> Self {
        Self {
            m: 20,
            ef_construction: 128,
        }
    }
}

/// The highest level that a row can have.
const MAX_LEVEL: u8 = 15;
