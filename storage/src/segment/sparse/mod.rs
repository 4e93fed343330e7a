//! Sparse vectors of a named field: row after row as they came, and an inverted index over them. The index is derived: one
//! that is damaged is done without, and the rows are scanned.

mod build;
mod index;
mod rows;

pub(crate) use build::write_index;
pub use index::{SparseBlock, SparseIndexView, SparseList};
pub(crate) use index::{open as open_index, verify as verify_index};
pub use rows::SparseRows;
pub(crate) use rows::{
    DIMENSIONS, ENDS, PLACES, SparseWriter, WEIGHTS, open as open_rows, verify as verify_rows,
};
