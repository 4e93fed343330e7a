//! The rows of a graph in four bits a number.

use latewood_codecs::{DenseRows, Int4Codec, Int4Rows, Metric};
use rayon::ThreadPool;
use rayon::prelude::*;

use super::links::Part;
use crate::error::Result;

/// Rows that one task codes.
const TASK: usize = 256;
/// How much farther from a row than from a chosen one another may be and still be chosen, in squared distances.
const SLACK: f32 = 1.1;

/// The codes of all rows of a segment, before they are written.
#[derive(Debug)]
pub(crate) struct GraphCodes {
    codec: Int4Codec,
    metric: Metric,
    pub(super) codes: Vec<u8>,
    pub(super) factors: Vec<f32>,
}

impl GraphCodes {
    /// Codes rows, but for those that have codes in the graph of a part: these are copied.
    pub(crate) fn of(rows: DenseRows<'_>, parts: &[Part<'_>], pool: &ThreadPool) -> Self {
        let codec = Int4Codec::new(rows.metric(), rows.dim());
        let bytes = codec.row_bytes();
        let mut codes = vec![0; rows.len() * bytes];
        let mut factors = vec![0.0; rows.len() * Int4Codec::ROW_FACTORS];
        let copied = copy(parts, rows.len(), &mut codes, &mut factors);
        let encode = |first: usize, codes: &mut [u8], factors: &mut [f32]| {
            let mut row = vec![0.0; rows.dim()];
            let rows_of = codes
                .chunks_exact_mut(bytes)
                .zip(factors.chunks_exact_mut(Int4Codec::ROW_FACTORS));
            for (at, (codes, factors)) in (first..).zip(rows_of) {
                if copied.get(at).is_some_and(|copied| *copied) {
                    continue;
                }
                rows.decode(at, &mut row);
                factors.copy_from_slice(&codec.encode(&row, codes));
            }
        };
        pool.install(|| {
            let tasks = codes
                .par_chunks_mut(TASK * bytes)
                .zip(factors.par_chunks_mut(TASK * Int4Codec::ROW_FACTORS));
            tasks
                .enumerate()
                .for_each(|(task, (codes, factors))| encode(task * TASK, codes, factors));
        });
        Self {
            metric: rows.metric(),
            codec,
            codes,
            factors,
        }
    }

    pub(crate) fn rows(&self) -> Result<Int4Rows<'_>> {
        Ok(self.codec.rows(&self.codes, &self.factors)?)
    }

    /// The score from which on one row stands for another in a list of links, given that one's score with the list's row.
    pub(crate) fn stands_for(&self, score: f32) -> f32 {
        match self.metric {
            // Of unit vectors the squared distance is twice what the score lacks of 1.
            Metric::Cosine => 1.0 - (1.0 - score) / SLACK,
            Metric::L2 => score / SLACK,
            Metric::InnerProduct => score,
        }
    }
}

/// Copies the codes of rows that live on; which rows have theirs then.
fn copy(parts: &[Part<'_>], rows: usize, codes: &mut [u8], factors: &mut [f32]) -> Vec<bool> {
    let mut copied = vec![false; rows];
    for part in parts {
        let Some(from) = part.graph().and_then(|graph| graph.codes()) else {
            continue;
        };
        let (bytes, numbers) = (from.row_bytes(), Int4Codec::ROW_FACTORS);
        for (old, new) in part.pairs().map(|(old, new)| (old as usize, new as usize)) {
            let (row, of_row) = from.row(old);
            if let (Some(to), Some(factors), Some(copied)) = (
                codes.get_mut(new * bytes..(new + 1) * bytes),
                factors.get_mut(new * numbers..(new + 1) * numbers),
                copied.get_mut(new),
            ) {
                to.copy_from_slice(row);
                factors.copy_from_slice(&of_row);
                *copied = true;
            }
        }
    }
    copied
}
