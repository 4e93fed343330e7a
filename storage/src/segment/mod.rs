//! A segment: an immutable, memory-mapped set of documents, one file a component.
//!
//! A segment is a folder. Its `meta` file says what the segment holds and names every other file by length and checksum;
//! all of them are written once, synced, and never changed. Opening maps the files and reads their frames; a checksum
//! over data is compared once, when the data is first used. What is damaged is an error that names file and offset, and
//! only for those who need that file; the graph and the posting lists, which can be rebuilt, are then done without.
//!
//! Rows are numbered from 0, in the order in which they were written; such an ordinal means nothing outside its
//! segment. Deleted rows stay in the files and are listed in a bitmap beside them, until a merge leaves them out.

mod codebook;
mod codebook_part;
mod coded;
mod columns;
mod component;
mod dense;
mod distortion;
mod documents;
mod encode;
mod ends;
mod graph;
mod guard;
mod header;
mod health;
mod ids;
mod ivf;
mod kept;
mod lexical;
mod lineage;
mod merge;
mod meta;
mod options;
mod origin;
mod original;
mod packing;
mod patch;
mod random;
mod reader;
mod record;
mod remains;
mod sample;
mod single;
mod sparse;
#[cfg(test)]
mod tests;
mod tokens;
mod train;
mod view;
mod write;
mod writer;

pub use codebook::Codebook;
pub(crate) use codebook::codebook_number;
pub use coded::CodedBlock;
pub(crate) use coded::{CodedSource, write_coded_segment};
pub use columns::{BoolColumn, ColumnView, GeoColumn, KeywordColumn, NumberColumn};
pub use component::Component;
pub use dense::NamedRows;
pub(crate) use distortion::Distortion;
pub use graph::{CellsView, GraphOptions, GraphSearch, GraphView, Links, Scored, Seen, Upcoming};
pub use health::ComponentHealth;
pub use ivf::IvfView;
pub(crate) use lexical::IndexBuilder;
pub use lexical::{Lengths, LexicalIndex, LexicalView, Positions, Postings, PostingsBlock, TermInfo};
pub use merge::{Remap, merge_segments};
pub(crate) use meta::{Beside, SegmentMeta};
pub(crate) use options::GRAPH_MIN_ROWS;
pub use options::{Progress, ProgressFn, SegmentInfo, SegmentOptions, Stage};
pub use origin::Origin;
pub(crate) use packing::unpack as unpack_postings;
pub(crate) use patch::{Known, LostRows, patch_segment};
pub(crate) use single::decode_component;
pub use sparse::{SparseBlock, SparseIndexView, SparseList, SparseRows};
pub use tokens::{TokenRows, TokensView};
pub use train::{AwaitedTokens, ReadToken, TrainingSet, train_codebook};
pub use view::{Segment, SegmentView};
pub use write::{write_segment, write_segment_with};
