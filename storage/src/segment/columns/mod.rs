//! Payload fields that filters may name: one typed column each, in place.
//!
//! A keyword column is a sorted dictionary of terms and, for each row, the sorted numbers of its terms: a string is one
//! term, an array several. The other kinds are one value a row and a bit that says whether there is one.

mod build;
mod view;

pub(crate) use build::ColumnsWriter;
pub(crate) use view::Columns;
pub use view::{BoolColumn, ColumnView, GeoColumn, KeywordColumn, NumberColumn};

/// The sections of a column; its first is `field * PARTS + 1`.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
enum Part {
    TermBytes = 1,
    TermEnds = 2,
    RowEnds = 3,
    RowTerms = 4,
    Values = 5,
    Present = 6,
}

const PARTS: u32 = 8;

impl Part {
    fn tag(self, field: usize) -> u32 {
        u32::try_from(field).unwrap_or(u32::MAX / PARTS - 1) * PARTS + self as u32
    }
}

/// Words of 64 bits that hold one bit a row.
fn words(rows: usize) -> usize {
    rows.div_ceil(64)
}
