//! The rows of a graph in four bits a number.

use std::borrow::Cow;

use half::bf16;
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
pub(crate) struct GraphCodes<'a> {
    codec: Int4Codec,
    metric: Metric,
    /// Those of the dense vectors themselves, where they have such.
    pub(super) codes: Cow<'a, [u8]>,
    pub(super) steps: Vec<bf16>,
    /// None but for distances.
    pub(super) squared_norms: Vec<f32>,
}

impl<'a> GraphCodes<'a> {
    /// Codes rows, but for those that have codes in the graph of a part: these are copied.
    pub(crate) fn of(rows: DenseRows<'a>, parts: &[Part<'_>], pool: &ThreadPool) -> Self {
        let mut of = Self {
            metric: rows.metric(),
            codec: Int4Codec::new(rows.metric(), rows.dim()),
            codes: Cow::default(),
            steps: vec![bf16::ZERO; rows.len()],
            squared_norms: vec![0.0; rows.len()],
        };
        match rows.coarse() {
            Some(coarse) => {
                of.codes = Cow::Borrowed(coarse);
                pool.install(|| of.measure(rows));
            }
            None => of.codes = Cow::Owned(pool.install(|| of.encode(rows, parts))),
        }
        of.squared_norms.truncate(Int4Codec::norms(of.metric, rows.len()));
        of
    }

    /// Finds what rows have beside codes that they have already.
    fn measure(&mut self, rows: DenseRows<'_>) {
        let beside = self.steps.par_iter_mut().zip(&mut self.squared_norms);
        beside.enumerate().for_each(|(row, (step, norm))| {
            if let Some(factors) = rows.coarse_factors(row) {
                (*step, *norm) = (factors.step, factors.squared_norm);
            }
        });
    }

    fn encode(&mut self, rows: DenseRows<'_>, parts: &[Part<'_>]) -> Vec<u8> {
        let bytes = self.codec.row_bytes();
        let mut codes = vec![0; rows.len() * bytes];
        let copied = self.copy(parts, &mut codes);
        let codec = &self.codec;
        let encode = |first: usize, codes: &mut [u8], steps: &mut [bf16], norms: &mut [f32]| {
            let mut row = vec![0.0; rows.dim()];
            let beside = steps.iter_mut().zip(norms);
            for (at, (codes, (step, norm))) in (first..).zip(codes.chunks_exact_mut(bytes).zip(beside)) {
                if copied.get(at).is_some_and(|copied| *copied) {
                    continue;
                }
                rows.decode(at, &mut row);
                let factors = codec.encode(&row, codes);
                (*step, *norm) = (factors.step, factors.squared_norm);
            }
        };
        let beside = self
            .steps
            .par_chunks_mut(TASK)
            .zip(self.squared_norms.par_chunks_mut(TASK));
        let tasks = codes.par_chunks_mut(TASK * bytes).zip(beside);
        tasks
            .enumerate()
            .for_each(|(task, (codes, (steps, norms)))| encode(task * TASK, codes, steps, norms));
        codes
    }

    /// Copies the codes of rows that live on; which rows have theirs then.
    fn copy(&mut self, parts: &[Part<'_>], codes: &mut [u8]) -> Vec<bool> {
        let mut copied = vec![false; self.steps.len()];
        let bytes = self.codec.row_bytes();
        for part in parts {
            let Some(from) = part.graph().and_then(|graph| graph.codes()) else {
                continue;
            };
            for (old, new) in part.pairs().map(|(old, new)| (old as usize, new as usize)) {
                let (row, factors) = from.row(old);
                if let (Some(to), Some(step), Some(norm), Some(copied)) = (
                    codes.get_mut(new * bytes..(new + 1) * bytes),
                    self.steps.get_mut(new),
                    self.squared_norms.get_mut(new),
                    copied.get_mut(new),
                ) {
                    to.copy_from_slice(row);
                    (*step, *norm, *copied) = (factors.step, factors.squared_norm, true);
                }
            }
        }
        copied
    }

    pub(crate) fn rows(&self) -> Result<Int4Rows<'_>> {
        Ok(self.codec.rows(&self.codes, &self.steps, &self.squared_norms)?)
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
