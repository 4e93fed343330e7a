//! By what rows are compared with a query while it looks for the nearest.

use latewood_codecs::{DenseQuery, DenseRows, Int4Query, Int4Rows};

/// Scores rows that exist.
pub(super) trait Measure {
    /// The score of a row.
    fn score(&self, row: u32) -> f32;
    /// The scores of the first of some rows, as many as `out` has places; those after them are fetched.
    fn score_some(&self, rows: &[u32], out: &mut [f32]);
    /// Begins to fetch a row.
    fn fetch(&self, row: u32);
    /// The query in the codes of the graph, if that is what rows are compared by.
    fn sketch(&self) -> Option<&Int4Query> {
        None
    }
}

/// By codes of four bits a number.
pub(super) struct ByCodes<'a> {
    pub(super) codes: Int4Rows<'a>,
    pub(super) sketch: &'a Int4Query,
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
        self.codes.prefetch(row as usize);
    }

    fn sketch(&self) -> Option<&Int4Query> {
        Some(self.sketch)
    }
}

/// By the dense vectors themselves.
pub(super) struct ByVectors<'a> {
    pub(super) rows: DenseRows<'a>,
    pub(super) query: &'a DenseQuery,
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
        self.rows.prefetch(row as usize);
    }
}
