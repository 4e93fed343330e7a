//! Whether the codebook in use fits what is written: tokens that it does not fit wait, raw and exact, for the next one.

use std::fmt;
use std::sync::Arc;

use half::slice::HalfFloatSliceExt;
use serde::Serialize;

use super::CollectionStore;
use super::policy::{has_outgrown, should_train};
use crate::document::Record;
use crate::error::Result;
use crate::segment::{Codebook, Distortion, SegmentView};
use crate::snapshot::Snapshot;

/// Tokens lie so many times as far from their centroids, in squares, as those that the codebook was trained for: it has
/// drifted. docs/benchmarks.md has what parts of one collection differ by.
const DRIFTED: f64 = 1.3;
/// Tokens of a batch that its drift is measured on.
const SAMPLE: usize = 4_096;

/// A codebook in use.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CodebookStats {
    /// Its number in the collection.
    pub id: u64,
    /// Centroids.
    pub centroids: u64,
    /// Tokens of the collection when it was trained.
    pub trained_on_tokens: u64,
    /// Tokens that are coded with it, those of deleted documents included.
    pub tokens: u64,
    /// How far tokens are from their centroids, in squares, against those that it was trained for: of the tokens that wait
    /// raw for another codebook, where there are any, else of those that are coded with it. 1 is a perfect fit; none: not
    /// known, as in codebooks that were imported.
    pub drift: Option<f64>,
    /// What that means.
    pub fit: CodebookFit,
}

/// Whether a codebook fits the documents that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CodebookFit {
    /// It does.
    Good,
    /// The collection has several times the tokens that it was trained for.
    Outgrown,
    /// Documents have come that are unlike those that it was trained for.
    Drifted,
    /// There is a newer one, and only older documents are coded with it.
    Replaced,
}

impl fmt::Display for CodebookFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "fits",
            Self::Outgrown => "outgrown: another is trained when writing pauses, or by optimize",
            Self::Drifted => "drifted: another is trained when writing pauses, or by optimize",
            Self::Replaced => "of older documents, which keep it",
        })
    }
}

impl CollectionStore {
    /// What the tokens of new documents are to be coded with; none where they should stay raw until there is another
    /// codebook.
    pub(super) fn codebook_for<'s>(
        &self,
        snapshot: &'s Snapshot,
        records: &[Arc<Record>],
    ) -> Option<&'s Arc<Codebook>> {
        let codebook = snapshot.codebook()?;
        let matrices = || records.iter().filter_map(|record| record.tokens.as_ref());
        let new: usize = matrices().map(latewood_codecs::TokenMatrix::len).sum();
        let tokens = segment_tokens(snapshot) + new as u64;
        if has_outgrown(tokens, codebook.trained_on_tokens) {
            return None;
        }
        let mut sample = Sample::new(codebook, new);
        for matrix in matrices() {
            if sample.takes(matrix.len()) {
                sample.room(matrix.len(), |out| matrix.as_f16().convert_to_f32_slice(out));
            }
        }
        (!sample.has_drifted(codebook)).then_some(codebook)
    }

    /// Whether raw tokens that are in segments fit the codebook in use: then nothing keeps them from being coded.
    pub(super) fn raw_fit(&self, snapshot: &Snapshot) -> Result<bool> {
        let Some(codebook) = snapshot.codebook() else {
            return Ok(false);
        };
        let raw = raw_tokens(snapshot);
        let due = should_train(
            segment_tokens(snapshot),
            raw,
            Some(codebook.trained_on_tokens),
            false,
        );
        Ok(raw > 0 && !due && !raw_sample(snapshot, codebook)?.has_drifted(codebook))
    }

    /// The codebooks in use, oldest first, and how well they fit.
    ///
    /// # Errors
    /// Damage to the tokens of a segment.
    pub fn codebooks(&self) -> Result<Vec<CodebookStats>> {
        let snapshot = self.snapshot();
        let newest = snapshot.codebook().map(|codebook| codebook.id);
        let stats = |codebook: &Arc<Codebook>| codebook_stats(&snapshot, codebook, newest);
        snapshot.codebooks.values().map(stats).collect()
    }
}

fn codebook_stats(
    snapshot: &Snapshot,
    codebook: &Arc<Codebook>,
    newest: Option<u64>,
) -> Result<CodebookStats> {
    let (mut coded, mut tokens) = (Distortion::default(), 0);
    for view in snapshot.segments() {
        if view.segment.codebook_id() == Some(codebook.id) {
            let own = view.segment.num_tokens();
            tokens += own;
            let known = view.segment.tokens()?.and_then(|view| view.distortion);
            coded.add(known.map_or_else(Distortion::default, |mean| Distortion::known(mean, own)));
        }
    }
    let waits = Some(codebook.id) == newest && raw_tokens(snapshot) > 0;
    let measured = if waits {
        raw_sample(snapshot, codebook)?.measured(codebook)
    } else {
        coded
    };
    let drift = drift(measured, codebook);
    let fit = if Some(codebook.id) != newest {
        CodebookFit::Replaced
    } else if has_outgrown(segment_tokens(snapshot), codebook.trained_on_tokens) {
        CodebookFit::Outgrown
    } else if drift.is_some_and(|drift| drift >= DRIFTED) {
        CodebookFit::Drifted
    } else {
        CodebookFit::Good
    };
    Ok(CodebookStats {
        id: codebook.id,
        centroids: codebook.codec.len() as u64,
        trained_on_tokens: codebook.trained_on_tokens,
        tokens,
        drift,
        fit,
    })
}

/// How far tokens are from their centroids, against those that the codebook was trained for.
fn drift(measured: Distortion, codebook: &Codebook) -> Option<f64> {
    // Tokens that all lie on their centroids have none, and everything would seem far from that.
    const LEAST: f32 = 1e-3;
    let (now, then) = (measured.mean()?, codebook.distortion?);
    Some(f64::from(now.max(LEAST)) / f64::from(then.max(LEAST)))
}

/// Tokens in segments, those of deleted documents included.
pub(super) fn segment_tokens(snapshot: &Snapshot) -> u64 {
    let segments = snapshot.segments().iter();
    segments.map(|view| view.segment.num_tokens()).sum()
}

/// Those of them that are not coded.
pub(super) fn raw_tokens(snapshot: &Snapshot) -> u64 {
    raw_segments(snapshot).map(|view| view.segment.num_tokens()).sum()
}

fn raw_segments(snapshot: &Snapshot) -> impl Iterator<Item = &SegmentView> {
    let segments = snapshot.segments().iter();
    segments.filter(|view| view.segment.codebook_id().is_none())
}

fn raw_sample(snapshot: &Snapshot, codebook: &Codebook) -> Result<Sample> {
    let all = usize::try_from(raw_tokens(snapshot)).unwrap_or(usize::MAX);
    let mut sample = Sample::new(codebook, all);
    for view in raw_segments(snapshot) {
        let Some(tokens) = view.segment.tokens()? else {
            continue;
        };
        for ordinal in view.live_runs().into_iter().flatten() {
            let range = tokens.range(ordinal);
            if sample.takes(range.len()) {
                sample.room(range.len(), |out| tokens.decode(range.start, out));
                view.segment.relieve();
            }
        }
    }
    Ok(sample)
}

/// Whole documents, evenly spread, of about [`SAMPLE`] tokens together.
struct Sample {
    dim: usize,
    values: Vec<f32>,
    /// Tokens that pass between two documents taken.
    stride: usize,
    passed: usize,
}

impl Sample {
    fn new(codebook: &Codebook, tokens: usize) -> Self {
        let dim = codebook.codec.dim();
        Self {
            dim,
            values: Vec::with_capacity(tokens.min(2 * SAMPLE) * dim),
            stride: tokens / SAMPLE,
            passed: 0,
        }
    }

    /// Whether the next document, of so many tokens, is one of them.
    fn takes(&mut self, tokens: usize) -> bool {
        let wanted = self.passed / self.stride.max(1);
        self.passed += tokens;
        self.values.len() / self.dim <= wanted
    }

    /// Makes room for a document's tokens and has it filled.
    fn room(&mut self, tokens: usize, fill: impl FnOnce(&mut [f32])) {
        let end = self.values.len();
        self.values.resize(end + tokens * self.dim, 0.0);
        fill(self.values.get_mut(end..).unwrap_or_default());
    }

    fn measured(&self, codebook: &Codebook) -> Distortion {
        Distortion::measured(&codebook.codec, &self.values)
    }

    fn has_drifted(&self, codebook: &Codebook) -> bool {
        codebook.distortion.is_some()
            && drift(self.measured(codebook), codebook).is_some_and(|drift| drift >= DRIFTED)
    }
}
