//! By what rows are compared with a query while it looks for the nearest.

use latewood_codecs::{DenseQuery, DenseRows, Int4Query, Int4Rows};
use latewood_storage::ReadAhead;

/// Scores rows that exist.
pub(super) trait Measure {
    /// The score of a row.
    fn score(&self, row: u32) -> f32;
    /// The scores of the first of some rows, as many as `out` has places; those after them are fetched.
    fn score_some(&self, rows: &[u32], out: &mut [f32]);
    /// Begins to fetch a row.
    fn fetch(&self, row: u32);
    /// Whether rows and their links are worth asking for before they are read.
    fn ahead(&self) -> ReadAhead;
    /// The query in the codes of the graph, if that is what rows are compared by.
    fn sketch(&self) -> Option<&Int4Query> {
        None
    }
}

/// By codes of four bits a number.
pub(super) struct ByCodes<'a> {
    pub(super) codes: Int4Rows<'a>,
    pub(super) sketch: &'a Int4Query,
    pub(super) ahead: ReadAhead,
}

impl Measure for ByCodes<'_> {
    #[inline]
    fn score(&self, row: u32) -> f32 {
        self.sketch.score(&self.codes, row as usize)
    }

    fn score_some(&self, rows: &[u32], out: &mut [f32]) {
        self.sketch.score_some(&self.codes, rows, out);
    }

    #[inline]
    fn fetch(&self, row: u32) {
        if self.ahead.is_on() {
            self.ahead.of(self.codes.codes_of(row as usize));
        }
        self.codes.prefetch(row as usize);
    }

    #[inline]
    fn ahead(&self) -> ReadAhead {
        self.ahead
    }

    fn sketch(&self) -> Option<&Int4Query> {
        Some(self.sketch)
    }
}

/// By the dense vectors themselves.
pub(super) struct ByVectors<'a> {
    pub(super) rows: DenseRows<'a>,
    pub(super) query: &'a DenseQuery,
    pub(super) ahead: ReadAhead,
}

impl Measure for ByVectors<'_> {
    #[inline]
    fn score(&self, row: u32) -> f32 {
        self.query.score(&self.rows, row as usize)
    }

    fn score_some(&self, rows: &[u32], out: &mut [f32]) {
        const AHEAD: usize = 8;
        for (at, (row, out)) in rows.iter().zip(out).enumerate() {
            if let Some(ahead) = rows.get(at + AHEAD) {
                self.fetch(*ahead);
            }
            *out = self.score(*row);
        }
    }

    #[inline]
    fn fetch(&self, row: u32) {
        if self.ahead.is_on() {
            let row = row as usize;
            let planes = self.rows.planes(row..row + 1);
            planes.iter().for_each(|plane| self.ahead.of(plane));
        }
        self.rows.prefetch(row as usize);
    }

    #[inline]
    fn ahead(&self) -> ReadAhead {
        self.ahead
    }
}
