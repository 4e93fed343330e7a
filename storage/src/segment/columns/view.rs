//! Reading columns in place.

use bytemuck::AnyBitPattern;

use super::{Part, words};
use crate::error::Result;
use crate::field::GeoPoint;
use crate::schema::{FieldSpec, FieldType};
use crate::segment::reader::ComponentFile;

/// One column of a segment.
#[derive(Clone, Copy, Debug)]
pub enum ColumnView<'a> {
    /// Strings.
    Keyword(KeywordColumn<'a>),
    /// Integers.
    Int(NumberColumn<'a, i64>),
    /// Floats.
    Float(NumberColumn<'a, f64>),
    /// Booleans.
    Bool(BoolColumn<'a>),
    /// Moments, in microseconds since 1970.
    Datetime(NumberColumn<'a, i64>),
    /// Places.
    Geo(GeoColumn<'a>),
}

/// Strings: a sorted dictionary of terms, and the terms of each row.
#[derive(Clone, Copy, Debug)]
pub struct KeywordColumn<'a> {
    bytes: &'a [u8],
    ends: &'a [u64],
    row_ends: &'a [u32],
    row_terms: &'a [u32],
}

impl<'a> KeywordColumn<'a> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.row_ends.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.row_ends.is_empty()
    }

    /// Number of different terms; they are numbered in ascending order of their bytes.
    pub fn num_terms(&self) -> usize {
        self.ends.len()
    }

    /// The term of a number; the empty string when there is none.
    pub fn term(&self, number: u32) -> &'a str {
        let number = number as usize;
        let start = if number == 0 {
            Some(&0)
        } else {
            self.ends.get(number - 1)
        };
        let range = start.zip(self.ends.get(number));
        let range = range.and_then(|(&a, &b)| Some(usize::try_from(a).ok()?..usize::try_from(b).ok()?));
        range
            .and_then(|r| std::str::from_utf8(self.bytes.get(r)?).ok())
            .unwrap_or_default()
    }

    /// The number of a term.
    pub fn find(&self, term: &str) -> Option<u32> {
        let at = self.lower_bound(term);
        (at < self.num_terms())
            .then(|| u32::try_from(at).ok())
            .flatten()
            .filter(|&n| self.term(n) == term)
    }

    /// How many terms are less than this one.
    pub fn lower_bound(&self, term: &str) -> usize {
        let (mut low, mut high) = (0, self.num_terms());
        while low < high {
            let middle = low + (high - low) / 2;
            if u32::try_from(middle).is_ok_and(|n| self.term(n) < term) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        low
    }

    /// The numbers of the terms that begin like this.
    pub fn with_prefix(&self, prefix: &str) -> std::ops::Range<usize> {
        let start = self.lower_bound(prefix);
        let (mut low, mut high) = (start, self.num_terms());
        while low < high {
            let middle = low + (high - low) / 2;
            if u32::try_from(middle).is_ok_and(|n| self.term(n).starts_with(prefix)) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        start..low
    }

    /// The numbers of a row's terms, ascending; empty when the row has none.
    pub fn terms_of(&self, row: u32) -> &'a [u32] {
        let row = row as usize;
        let start = if row == 0 {
            Some(&0)
        } else {
            self.row_ends.get(row - 1)
        };
        let range = start
            .zip(self.row_ends.get(row))
            .map(|(&a, &b)| a as usize..b as usize);
        range.and_then(|r| self.row_terms.get(r)).unwrap_or_default()
    }
}

/// Numbers, at most one a row.
#[derive(Clone, Copy, Debug)]
pub struct NumberColumn<'a, T> {
    values: &'a [T],
    present: &'a [u64],
}

impl<'a, T: Copy> NumberColumn<'a, T> {
    /// One value a row; that of a row without one means nothing.
    pub fn values(&self) -> &'a [T] {
        self.values
    }

    /// One bit a row, from the lowest of the first word on: whether it has a value.
    pub fn present(&self) -> &'a [u64] {
        self.present
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value of a row, if it has one.
    pub fn get(&self, row: u32) -> Option<T> {
        let row = row as usize;
        let word = self.present.get(row / 64)?;
        if word >> (row % 64) & 1 == 1 {
            self.values.get(row).copied()
        } else {
            None
        }
    }
}

/// Booleans, at most one a row.
#[derive(Clone, Copy, Debug)]
pub struct BoolColumn<'a>(NumberColumn<'a, u8>);

impl BoolColumn<'_> {
    /// One bit a row, from the lowest of the first word on: whether it has a value.
    pub fn present(&self) -> &[u64] {
        self.0.present
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a row, if it has one.
    pub fn get(&self, row: u32) -> Option<bool> {
        self.0.get(row).map(|v| v != 0)
    }
}

/// Places, at most one a row.
#[derive(Clone, Copy, Debug)]
pub struct GeoColumn<'a>(NumberColumn<'a, [f64; 2]>);

impl GeoColumn<'_> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The place of a row, if it has one.
    pub fn get(&self, row: u32) -> Option<GeoPoint> {
        self.0.get(row).and_then(|[lat, lon]| GeoPoint::new(lat, lon))
    }

    /// One bit a row, from the lowest of the first word on: whether it has a place.
    pub fn present(&self) -> &[u64] {
        self.0.present
    }
}

/// The columns of an open segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns<'a> {
    file: &'a ComponentFile,
    rows: u32,
}

impl<'a> Columns<'a> {
    pub(crate) fn new(file: &'a ComponentFile, rows: u32) -> Self {
        Self { file, rows }
    }

    /// The column of the schema's field number `index`. Its checksums are compared on first use; the order of its
    /// numbers is not, because every access above is checked.
    pub(crate) fn get(self, index: usize, field: &FieldSpec) -> Result<ColumnView<'a>> {
        Ok(match field.kind {
            FieldType::Keyword => ColumnView::Keyword(KeywordColumn {
                bytes: self.file.section(Part::TermBytes.tag(index))?,
                ends: self.file.numbers(Part::TermEnds.tag(index))?,
                row_ends: self.file.exactly(Part::RowEnds.tag(index), self.rows as usize)?,
                row_terms: self.file.numbers(Part::RowTerms.tag(index))?,
            }),
            FieldType::Int => ColumnView::Int(self.numbers(index)?),
            FieldType::Float => ColumnView::Float(self.numbers(index)?),
            FieldType::Bool => ColumnView::Bool(BoolColumn(self.numbers(index)?)),
            FieldType::Datetime => ColumnView::Datetime(self.numbers(index)?),
            FieldType::Geo => ColumnView::Geo(GeoColumn(self.numbers(index)?)),
        })
    }

    fn numbers<T: AnyBitPattern>(self, index: usize) -> Result<NumberColumn<'a, T>> {
        Ok(NumberColumn {
            values: self.file.exactly(Part::Values.tag(index), self.rows as usize)?,
            present: self
                .file
                .exactly(Part::Present.tag(index), words(self.rows as usize))?,
        })
    }
}
