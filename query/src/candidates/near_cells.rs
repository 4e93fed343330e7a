//! The cells of a graph that are near a query, of which the matching rows are scored: what that takes, and how it is measured.

use latewood_codecs::{DenseQuery, Int4Query};
use latewood_storage::{CellsView, ReadAhead};

use super::Scope;
use super::dense_field::{DenseField, SegmentRows};
use super::match_scan::MatchScan;
use super::measure::{ByVectors, Measure};
use crate::error::QueryError;
use crate::filter::SegmentMatches;

/// The share of rows that match, for which it is said how many of them are scored. Where more match, the best are among more rows, and
/// where fewer do among fewer, by the root of it.
const SHARE: f64 = 0.1;
/// One row in so many is that share.
const ONE_IN: u32 = 10;
/// Matching rows that are scored for each place of a beam where it has not been measured how many it takes.
const ROWS_A_PLACE: usize = 48;
/// What a centre takes, a row that is only tested for whether it matches, and one that is scored, in rows of a scan.
const CENTRE: f64 = 1.2;
const TEST: f64 = 0.25;
const SCORE: f64 = 1.3;
/// Fewer than this do not tell themselves from none among the rows that the share is counted on.
const LEAST_SHARE: f64 = 0.005;

/// A scan of the cells nearest to a query.
#[derive(Clone, Copy)]
pub(super) struct NearCells<'t> {
    pub(super) cells: &'t CellsView<'t>,
    pub(super) sketch: &'t Int4Query,
    /// Matching rows that are scored at least, if there are so many.
    pub(super) rows: usize,
}

impl<'t> NearCells<'t> {
    /// The cells of a graph, if it has any, where this share matches round the query.
    pub(super) fn of(
        cells: Option<&'t CellsView<'t>>,
        by: &'t impl Measure,
        (ef, rows): (usize, Option<usize>),
        share: f64,
    ) -> Option<Self> {
        let (cells, sketch) = (cells?, by.sketch()?);
        let rows = rows.unwrap_or_else(|| ef.saturating_mul(ROWS_A_PLACE));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an estimate, above 0"
        )]
        let rows = (rows as f64 * (share.clamp(LEAST_SHARE, 1.0) / SHARE).sqrt()) as usize;
        let rows = rows.max(ef);
        Some(Self { cells, sketch, rows })
    }

    /// What it takes, in rows of a scan.
    pub(super) fn cost(&self, share: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let (centres, rows) = (self.cells.centres().len() as f64, self.rows as f64);
        centres * CENTRE + rows * (SCORE + TEST / share.clamp(LEAST_SHARE, 1.0))
    }
}

/// The rows on which it is measured how many it takes: one in ten of the largest segment that has cells, drawn by chance.
pub(crate) struct CellSample<'a> {
    rows: SegmentRows<'a>,
    matches: SegmentMatches,
}

impl<'a> CellSample<'a> {
    /// `None` where no graph has cells.
    pub(crate) fn open(scope: &Scope<'a>) -> Result<Option<Self>, QueryError> {
        let segments = DenseField::open(scope, None)?.segments.into_iter().flatten();
        let with_cells = segments.filter(|rows| rows.graph.is_some_and(|graph| graph.cells().is_some()));
        let largest = with_cells.max_by_key(|rows| rows.matches.count());
        Ok(largest.map(|rows| Self {
            matches: rows.matches.one_in(ONE_IN),
            rows,
        }))
    }

    /// For each of the `k` nearest of the sample, how many of its rows are scored before it, in the order of cells.
    pub(crate) fn before(&self, query: &DenseQuery, k: usize) -> Vec<usize> {
        let Some(cells) = self.rows.graph.as_ref().and_then(|graph| graph.cells()) else {
            return Vec::new();
        };
        let mut scan = MatchScan::default();
        let near = NearCells {
            cells,
            sketch: query.sketch(),
            rows: usize::MAX,
        };
        scan.gather_near(near, &self.matches);
        let measure = ByVectors {
            ahead: ReadAhead::default(),
            rows: self.rows.rows,
            query,
        };
        let best = scan.best(k, &measure);
        let last = best.last().map_or(f32::INFINITY, |last| last.score);
        let places = scan.scores().iter().enumerate();
        let near = places.filter(|(_, score)| **score >= last);
        near.map(|(before, _)| before).take(k).collect()
    }
}
