//! The inverted index of sparse vectors: for each dimension the rows that have it, and a bound of their weights there.
//!
//! A weight is kept in a byte, rounded up: a code c of a list whose greatest weight is m stands for at most c m / 255. Sums
//! of such bounds say which rows may be among the best; their scores come from the rows themselves.

use std::path::Path;

use super::super::ends::Ends;
use super::super::packing::{BLOCK, SLACK, unpack_ordinals};
use super::super::reader::ComponentFile;
use crate::error::{Result, StorageError};
use crate::read_ahead::ReadAhead;

pub(super) const LISTS: u32 = 1;
pub(super) const DIMENSIONS: u32 = 2;
pub(super) const PLACES: u32 = 3;
pub(super) const COUNTS: u32 = 4;
pub(super) const GREATEST: u32 = 5;

/// Bytes that the table of a list has for each block.
pub(super) const ENTRY: usize = 8;
/// The code of a list's greatest weight.
pub(super) const CODES: f32 = 255.0;

/// An inverted index in place.
#[derive(Clone, Copy, Debug)]
pub struct SparseIndexView<'a> {
    path: &'a Path,
    lists: &'a [u8],
    dimensions: &'a [u32],
    places: Ends<'a>,
    counts: &'a [u32],
    greatest: &'a [f32],
    rows: u32,
    /// Whether lists are worth asking for before they are read.
    ahead: ReadAhead,
}

/// The posting list of a dimension, in place.
#[derive(Clone, Copy, Debug)]
pub struct SparseList<'a> {
    count: usize,
    /// The rows of the segment: every row is below.
    limit: u32,
    greatest: f32,
    table: &'a [u8],
    /// The blocks, and what must follow them.
    body: &'a [u8],
}

/// One block of a posting list, decoded.
#[derive(Debug, Default)]
pub struct SparseBlock {
    /// The rows, ascending.
    pub rows: Vec<u32>,
    /// The code of the weight of each.
    pub codes: Vec<u8>,
}

impl<'a> SparseIndexView<'a> {
    /// Rows of the segment, those without a vector included.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// The list of a dimension; `None` when no row has it.
    ///
    /// # Errors
    /// [`StorageError::Corruption`] when it is too short for its table.
    pub fn list(&self, dimension: u32) -> Result<Option<SparseList<'a>>> {
        let Ok(at) = self.dimensions.binary_search(&dimension) else {
            return Ok(None);
        };
        self.list_at(at).map(Some)
    }

    /// How many rows have a dimension.
    #[must_use]
    pub fn count(&self, dimension: u32) -> u32 {
        let at = self.dimensions.binary_search(&dimension);
        at.ok().and_then(|at| self.counts.get(at)).copied().unwrap_or(0)
    }

    fn list_at(&self, at: usize) -> Result<SparseList<'a>> {
        let place = self.places.range(at);
        let count = self.counts.get(at).map_or(0, |count| *count as usize);
        let blocks = count.div_ceil(BLOCK);
        let bytes = self.lists.get(place.start..place.end + SLACK).unwrap_or_default();
        self.ahead.of(bytes);
        let table = if blocks > 1 {
            blocks.saturating_mul(ENTRY)
        } else {
            0
        };
        let (table, body) = bytes
            .split_at_checked(table)
            .filter(|(_, body)| body.len() >= SLACK)
            .ok_or_else(|| self.corruption("a posting list with its table"))?;
        Ok(SparseList {
            count,
            limit: self.rows,
            greatest: self.greatest.get(at).copied().unwrap_or(0.0),
            table,
            body,
        })
    }

    /// Damage to the index.
    pub fn corruption(&self, expected: &str) -> StorageError {
        StorageError::corruption(self.path, 0, expected, "other bytes")
    }
}

impl SparseList<'_> {
    /// How many rows have the dimension, deleted ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether no row has the dimension.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What the weights of the list are at most.
    #[must_use]
    pub fn greatest(&self) -> f32 {
        self.greatest
    }

    /// What a code is to be multiplied by to bound the weight that it stands for.
    #[must_use]
    pub fn unit(&self) -> f64 {
        f64::from(self.greatest) / f64::from(CODES)
    }

    /// Blocks of 128 rows, the last of what is left.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.count.div_ceil(BLOCK)
    }

    fn entry(&self, block: usize) -> Option<(u32, usize)> {
        let entry = self.table.get(block * ENTRY..)?.first_chunk::<ENTRY>()?;
        let [a, b, c, d, e, f, g, h] = *entry;
        let end = u32::from_le_bytes([e, f, g, h]);
        Some((u32::from_le_bytes([a, b, c, d]), end as usize))
    }

    /// The first block, from `from` on, whose last row is `row` or behind it; the number of blocks when there is none. Of a
    /// list of one block it says that one.
    #[must_use]
    pub fn seek(&self, from: usize, row: u32) -> usize {
        let (mut low, mut step) = (from, 1);
        let before = |block: usize| self.entry(block).is_some_and(|(last, _)| last < row);
        while before(low.saturating_add(step)) {
            low += step;
            step *= 2;
        }
        let mut high = low.saturating_add(step).min(self.blocks());
        while low < high {
            let middle = low.midpoint(high);
            if before(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Decodes a block; `None` when its bytes are none.
    pub fn read(&self, block: usize, out: &mut SparseBlock) -> Option<()> {
        out.rows.clear();
        out.codes.clear();
        let count = self.count.checked_sub(block.checked_mul(BLOCK)?)?.min(BLOCK);
        let (next, start) = match block.checked_sub(1) {
            None => (0, 0),
            Some(before) => {
                let (last, end) = self.entry(before)?;
                (u64::from(last) + 1, end)
            }
        };
        let bytes = self.body.get(start..)?;
        let (past, rest) = unpack_ordinals(bytes, count, next, &mut out.rows)?;
        out.codes.extend_from_slice(rest.get(..count)?);
        (past <= u64::from(self.limit)).then_some(())
    }
}

/// Reads the index of a segment of so many rows; `check` compares what the checksums cannot.
pub(crate) fn open(file: &ComponentFile, rows: u32, check: bool) -> Result<SparseIndexView<'_>> {
    let [own_rows, dimensions, bytes, ..] = file.params();
    if own_rows != u64::from(rows) {
        return Err(file.corruption(0, format!("an index of {rows} rows"), own_rows.to_string()));
    }
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let (count, bytes) = (size(dimensions), size(bytes));
    let places = if check {
        Ends::open(file, PLACES, count, bytes)?
    } else {
        Ends::trusted(file, PLACES, count, bytes)?
    };
    let view = SparseIndexView {
        path: file.path(),
        lists: file.exactly(LISTS, bytes.saturating_add(SLACK))?,
        dimensions: file.exactly(DIMENSIONS, count)?,
        places,
        counts: file.exactly(COUNTS, count)?,
        greatest: file.exactly(GREATEST, count)?,
        rows,
        ahead: file.read_ahead(),
    };
    if check {
        let ascending = view.dimensions.is_sorted_by(|a, b| a < b);
        let sound = view.greatest.iter().all(|w| w.is_finite() && *w > 0.0);
        let counted = view.counts.iter().all(|count| (1..=rows).contains(count));
        if !(ascending && sound && counted) {
            let expected = "ascending dimensions, each with rows and a greatest weight";
            return Err(file.corruption_in(DIMENSIONS, 0, expected, "others"));
        }
    }
    Ok(view)
}

/// Reads every list.
pub(crate) fn verify(view: &SparseIndexView<'_>) -> Result<()> {
    let mut block = SparseBlock::default();
    for at in 0..view.dimensions.len() {
        let list = view.list_at(at)?;
        for number in 0..list.blocks() {
            list.read(number, &mut block)
                .ok_or_else(|| view.corruption("a posting list"))?;
        }
    }
    Ok(())
}
