//! Sparse vectors row after row: the dimensions packed, the weights as they came.

use std::ops::Range;
use std::path::Path;

use latewood_codecs::SparseVector;

use super::super::component::Component;
use super::super::ends::{Ends, write_ends};
use super::super::packing::{SLACK, pack, unpack_below};
use super::super::reader::ComponentFile;
use super::super::writer::{ComponentWriter, Finished};
use crate::backend::StorageBackend;
use crate::error::{Result, StorageError};
use crate::wire::to_u32;

pub(crate) const DIMENSIONS: u32 = 1;
pub(crate) const PLACES: u32 = 2;
pub(crate) const WEIGHTS: u32 = 3;
pub(crate) const ENDS: u32 = 4;

/// One more than the greatest dimension.
const DIMENSIONS_END: u64 = 1 << 32;

/// Writes the sparse vectors of a segment.
#[derive(Debug)]
pub(crate) struct SparseWriter<'a> {
    writer: ComponentWriter<'a>,
    /// Bytes of the packed dimensions of each row.
    lengths: Vec<u32>,
    /// Entries of each row.
    entries: Vec<u32>,
    packed: Vec<u8>,
}

impl<'a> SparseWriter<'a> {
    pub(crate) fn create(backend: &'a dyn StorageBackend, dir: &Path, component: Component) -> Result<Self> {
        let path = dir.join(component.name());
        let tags = [DIMENSIONS, PLACES, WEIGHTS, ENDS];
        Ok(Self {
            writer: ComponentWriter::create(backend, &path, component.kind(), &tags)?,
            lengths: Vec::new(),
            entries: Vec::new(),
            packed: Vec::new(),
        })
    }

    /// Appends the next row.
    pub(crate) fn push(&mut self, vector: Option<&SparseVector>) -> Result<()> {
        let (indices, values) = vector.map_or((&[][..], &[][..]), |v| (v.indices(), v.values()));
        self.packed.clear();
        pack(indices, &mut self.packed);
        self.lengths.push(to_u32(self.packed.len())?);
        self.entries.push(to_u32(indices.len())?);
        self.writer.append(DIMENSIONS, &self.packed)?;
        self.writer.append(WEIGHTS, bytemuck::cast_slice(values))
    }

    /// Appends rows of another segment as they are.
    pub(crate) fn copy(&mut self, rows: &SparseRows<'_>, range: Range<u32>) -> Result<()> {
        let (first, past) = (range.start as usize, range.end as usize);
        for row in first..past {
            self.lengths.push(to_u32(rows.places.range(row).len())?);
            self.entries.push(to_u32(rows.ends.range(row).len())?);
        }
        let whole = |ends: Ends<'_>| match past.checked_sub(1) {
            Some(last) if last >= first => ends.range(first).start..ends.range(last).end,
            _ => 0..0,
        };
        let packed = rows.packed.get(whole(rows.places)).unwrap_or_default();
        self.writer.append(DIMENSIONS, packed)?;
        let weights = rows.weights.get(whole(rows.ends)).unwrap_or_default();
        self.writer.append(WEIGHTS, bytemuck::cast_slice(weights))
    }

    pub(crate) fn finish(mut self) -> Result<Finished> {
        let total = |lengths: &[u32]| lengths.iter().map(|length| u64::from(*length)).sum::<u64>();
        let (bytes, entries) = (total(&self.lengths), total(&self.entries));
        self.writer.append(DIMENSIONS, &[0; SLACK])?;
        let lengths = |lengths: &'_ [u32]| lengths.iter().map(|length| *length as usize).collect::<Vec<_>>();
        write_ends(
            &mut self.writer,
            PLACES,
            lengths(&self.lengths).into_iter(),
            bytes,
        )?;
        write_ends(
            &mut self.writer,
            ENDS,
            lengths(&self.entries).into_iter(),
            entries,
        )?;
        let rows = self.entries.len() as u64;
        self.writer.finish([rows, entries, bytes, 0, 0, 0])
    }
}

/// The sparse vectors of an open segment.
#[derive(Clone, Copy, Debug)]
pub struct SparseRows<'a> {
    path: &'a Path,
    packed: &'a [u8],
    places: Ends<'a>,
    weights: &'a [f32],
    ends: Ends<'a>,
    rows: u32,
}

impl<'a> SparseRows<'a> {
    /// Rows, those without a vector included.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.rows
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Dimensions with a weight, of all rows together.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.weights.len() as u64
    }

    /// Reads a row: its dimensions, ascending, into `dimensions`, which is cleared; returns its weights. Both are empty for
    /// a row without a vector.
    ///
    /// # Errors
    /// [`StorageError::Corruption`] when its dimensions are none.
    pub fn read(&self, row: u32, dimensions: &mut Vec<u32>) -> Result<&'a [f32]> {
        dimensions.clear();
        let weights = self
            .weights
            .get(self.ends.range(row as usize))
            .unwrap_or_default();
        let place = self.places.range(row as usize);
        let bytes = self.packed.get(place.start..place.end + SLACK);
        bytes
            .and_then(|bytes| unpack_below(bytes, weights.len(), DIMENSIONS_END, dimensions))
            .ok_or_else(|| {
                let expected = format!("{} ascending dimensions of row {row}", weights.len());
                StorageError::corruption(self.path, 0, expected, "others")
            })?;
        Ok(weights)
    }

    /// The vector of a row; none where there is none.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn vector(&self, row: u32) -> Result<Option<SparseVector>> {
        let mut dimensions = Vec::new();
        let weights = self.read(row, &mut dimensions)?.to_vec();
        let vector = SparseVector::new(dimensions, weights)?;
        Ok((!vector.is_empty()).then_some(vector))
    }
}

/// Reads the vectors of a segment of so many rows; `check` compares what the checksums cannot.
pub(crate) fn open(file: &ComponentFile, rows: u32, check: bool) -> Result<SparseRows<'_>> {
    let [own_rows, entries, bytes, ..] = file.params();
    if own_rows != u64::from(rows) {
        return Err(file.corruption(0, format!("{rows} rows"), own_rows.to_string()));
    }
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let (entries, bytes) = (size(entries), size(bytes));
    let ends = |tag, total| {
        if check {
            Ends::open(file, tag, rows as usize, total)
        } else {
            Ends::trusted(file, tag, rows as usize, total)
        }
    };
    let weights: &[f32] = file.exactly(WEIGHTS, entries)?;
    if check
        && let Some(bad) = weights
            .iter()
            .find(|weight| !(weight.is_finite() && **weight >= 0.0))
    {
        return Err(file.corruption_in(WEIGHTS, 0, "weights that are finite and above 0", bad.to_string()));
    }
    Ok(SparseRows {
        path: file.path(),
        packed: file.exactly(DIMENSIONS, bytes.saturating_add(SLACK))?,
        places: ends(PLACES, bytes)?,
        weights,
        ends: ends(ENDS, entries)?,
        rows,
    })
}

/// Reads every row.
pub(crate) fn verify(rows: &SparseRows<'_>) -> Result<()> {
    (0..rows.rows).try_for_each(|row| rows.vector(row).map(drop))
}
