//! MaxSim of one query against the stored token matrices, wherever they are: residual codes, the original tier, whole
//! tokens of a segment without a codebook, or the memtable.

use std::cell::RefCell;
use std::ops::Range;

use latewood_codecs::kernel::prefetch;
use latewood_codecs::{
    CentroidTables, Codes, MaxSimQuery, OriginalRows, ResidualQuery, ResidualRows, RoughQuery, TokenMatrix,
    Within,
};
use latewood_storage::Snapshot;
use latewood_storage::{Codebook, TokenRows, TokensView, Wanted};

use crate::error::QueryError;
use crate::hits::Position;

thread_local! {
    // Reconstructed tokens of one document; kept from one document to the next.
    static DECODED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    // Codes of one document, likewise.
    static COPIED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    // Megabytes that one query hands to the next of its thread.
    static TABLES: RefCell<Vec<CentroidTables>> = const { RefCell::new(Vec::new()) };
}

/// What the centroid interaction reads of a document.
pub(crate) enum Centroids<'a> {
    Coded {
        codebook: usize,
        codes: Codes<'a>,
    },
    /// Tokens that have no centroids.
    Whole {
        tokens: usize,
    },
}

impl Centroids<'_> {
    /// Tokens of the document.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Coded { codes, .. } => codes.len(),
            Self::Whole { tokens } => *tokens,
        }
    }

    /// Wants them of the disk.
    pub(crate) fn read_ahead(&self, wanted: &mut Wanted) {
        if let Self::Coded { codes, .. } = self {
            read_codes_ahead(*codes, wanted);
        }
    }

    /// Begins to fetch them.
    pub(crate) fn prefetch(&self) {
        match self {
            Self::Coded {
                codes: Codes::U16(codes),
                ..
            } => prefetch(codes),
            Self::Coded {
                codes: Codes::U32(codes),
                ..
            } => prefetch(codes),
            Self::Whole { .. } => {}
        }
    }
}

fn read_codes_ahead(codes: Codes<'_>, wanted: &mut Wanted) {
    match codes {
        Codes::U16(codes) => wanted.add(codes),
        Codes::U32(codes) => wanted.add(codes),
    }
}

/// Scores documents of one snapshot for one query.
pub(crate) struct TokenScorer<'a> {
    snapshot: &'a Snapshot,
    query: &'a MaxSimQuery,
    segments: Vec<Option<TokensView<'a>>>,
    originals: Vec<Option<OriginalRows<'a>>>,
    // Index into `bound`, for segments with residual codes.
    codebook: Vec<Option<usize>>,
    codebooks: Vec<&'a Codebook>,
    // One for each of `codebooks`, once they are bound.
    bound: Vec<ResidualQuery<'a>>,
}

impl<'a> TokenScorer<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, query: &'a MaxSimQuery) -> Result<Self, QueryError> {
        let mut out = Self {
            snapshot,
            query,
            segments: Vec::new(),
            originals: Vec::new(),
            codebook: Vec::new(),
            codebooks: Vec::new(),
            bound: Vec::new(),
        };
        for view in snapshot.segments() {
            let tokens = view.segment.tokens()?;
            let codebook = match tokens.as_ref().map(|tokens| tokens.rows) {
                Some(TokenRows::Residual { codebook, .. }) => Some(out.number_of(codebook)),
                _ => None,
            };
            out.originals.push(view.segment.original()?);
            out.segments.push(tokens);
            out.codebook.push(codebook);
        }
        Ok(out)
    }

    fn number_of(&mut self, codebook: &'a Codebook) -> usize {
        let known = self.codebooks.iter().position(|known| known.id == codebook.id);
        known.unwrap_or_else(|| {
            self.codebooks.push(codebook);
            self.codebooks.len() - 1
        })
    }

    /// The query.
    pub(crate) fn query(&self) -> &'a MaxSimQuery {
        self.query
    }

    /// Whether a best tier is residual codes, which are quickest scored exactly once centroids are.
    pub(crate) fn ends_in_codes(&self) -> bool {
        let tiers = self.codebook.iter().zip(&self.originals);
        tiers
            .into_iter()
            .any(|(codebook, original)| codebook.is_some() && original.is_none())
    }

    /// Ranks the centroids of every codebook for the query, which gathering and the interaction need. Segments of one
    /// codebook share it. Returns how many centroids there are.
    pub(crate) fn bind(&mut self) -> Result<u64, QueryError> {
        if self.bound.is_empty() {
            for codebook in &self.codebooks {
                let tables = TABLES.with_borrow_mut(Vec::pop).unwrap_or_default();
                self.bound
                    .push(ResidualQuery::new_in(&codebook.codec, self.query, tables)?);
            }
        }
        Ok(self
            .codebooks
            .iter()
            .map(|codebook| codebook.codec.len() as u64)
            .sum())
    }

    /// Scores the query with all centroids, so that any document may be scored from its codes.
    pub(crate) fn complete(&mut self) {
        self.bound.iter_mut().for_each(ResidualQuery::complete);
    }

    /// The codebooks in use; a segment's number is [`TokenScorer::codebook_of`].
    pub(crate) fn bound(&self) -> &[ResidualQuery<'a>] {
        &self.bound
    }

    pub(crate) fn codebook_of(&self, segment: usize) -> Option<usize> {
        self.codebook.get(segment).copied().flatten()
    }

    /// Whether the segment's tokens are residual codes.
    pub(crate) fn is_coded(&self, segment: usize) -> bool {
        self.codebook_of(segment).is_some()
    }

    fn residual(&self, position: Position) -> Option<(usize, ResidualRows<'a>)> {
        let segment = position.segment as usize;
        let view = self.segments.get(segment)?.as_ref()?;
        Some((self.codebook_of(segment)?, view.residual(position.ordinal)?))
    }

    /// Tokens of a document.
    pub(crate) fn tokens_of(&self, position: Position) -> usize {
        match self.segments.get(position.segment as usize) {
            Some(Some(view)) => view.range(position.ordinal).len(),
            Some(None) => 0,
            None => self.waiting(position).map_or(0, TokenMatrix::len),
        }
    }

    /// Wants a document's codes, its centroids with them: those may have been given up since they were read.
    pub(crate) fn read_ahead(&self, position: Position, wanted: &mut Wanted) {
        self.read_rows_ahead(position.segment, position.ordinal..position.ordinal + 1, wanted);
    }

    /// Wants what the best tier has of a document.
    pub(crate) fn read_best_ahead(&self, position: Position, wanted: &mut Wanted) {
        self.read_best_rows_ahead(position.segment, position.ordinal..position.ordinal + 1, wanted);
    }

    /// Wants the codes of consecutive documents of a segment, or what they have instead.
    pub(crate) fn read_rows_ahead(&self, segment: u32, rows: Range<u32>, wanted: &mut Wanted) {
        let Some(view) = self.view_ahead(segment, wanted) else {
            return;
        };
        match view.residuals(rows.clone()) {
            Some(rows) => {
                wanted.add(rows.residuals);
                wanted.add(rows.factors);
                read_codes_ahead(rows.codes, wanted);
            }
            None => rows
                .filter_map(|row| view.raw(row))
                .for_each(|tokens| wanted.add(tokens)),
        }
    }

    /// As [`read_best_ahead`](Self::read_best_ahead), for consecutive documents of a segment.
    pub(crate) fn read_best_rows_ahead(&self, segment: u32, rows: Range<u32>, wanted: &mut Wanted) {
        let original = self.originals.get(segment as usize).and_then(Option::as_ref);
        match (original, self.view_ahead(segment, wanted)) {
            (Some(original), Some(view)) => wanted.add(original.slice(view.ranges(rows)).bytes()),
            _ => self.read_rows_ahead(segment, rows, wanted),
        }
    }

    /// A segment's tokens, if they are worth asking for.
    fn view_ahead(&self, segment: u32, wanted: &Wanted) -> Option<&TokensView<'a>> {
        let view = self.segments.get(segment as usize).filter(|_| wanted.is_on());
        view.and_then(Option::as_ref)
    }

    /// The centroids of a document's tokens.
    pub(crate) fn centroids_of(&self, position: Position) -> Centroids<'a> {
        let segment = position.segment as usize;
        let view = self.segments.get(segment).and_then(Option::as_ref);
        let codes = view.and_then(|view| view.codes(position.ordinal));
        match self.codebook_of(segment).zip(codes) {
            Some((codebook, codes)) => Centroids::Coded { codebook, codes },
            None => Centroids::Whole {
                tokens: self.tokens_of(position),
            },
        }
    }

    /// The centroid interaction of a document with these [`centroids_of`](Self::centroids_of): the score if each token were
    /// its centroid.
    pub(crate) fn interaction(&self, centroids: &Centroids<'_>, position: Position) -> f32 {
        match centroids {
            Centroids::Coded { codebook, codes } => match self.bound.get(*codebook) {
                Some(bound) => bound.centroid_interaction(*codes),
                None => self.exact(position),
            },
            Centroids::Whole { .. } => self.exact(position),
        }
    }

    /// The score straight from codes; of whole tokens, their exact score. For documents side by side.
    pub(crate) fn coded(&self, position: Position) -> f32 {
        match self.residual(position) {
            Some((codebook, rows)) => match self.bound.get(codebook) {
                Some(bound) => bound.score(rows),
                None => self.exact(position),
            },
            None => self.exact(position),
        }
    }

    /// As [`coded`](Self::coded), for a document here and there.
    pub(crate) fn coded_alone(&self, position: Position) -> f32 {
        self.alone(position, ResidualQuery::score)
    }

    /// As [`exact`](Self::exact), for a document here and there.
    pub(crate) fn exact_alone(&self, position: Position) -> f32 {
        match self.originals.get(position.segment as usize) {
            Some(Some(_)) => self.exact(position),
            _ => self.alone(position, ResidualQuery::score_exact),
        }
    }

    /// Scores a document here and there from its codes; of whole tokens, exactly.
    fn alone(
        &self,
        position: Position,
        score: impl FnOnce(&ResidualQuery<'a>, ResidualRows<'_>) -> f32,
    ) -> f32 {
        let view = self
            .segments
            .get(position.segment as usize)
            .and_then(Option::as_ref);
        let bound = |(codebook, rows)| Some((self.bound.get(codebook)?, rows));
        match view.zip(self.residual(position).and_then(bound)) {
            Some((view, (bound, rows))) => {
                COPIED.with_borrow_mut(|buffer| score(bound, view.fetch(rows, buffer)))
            }
            None => self.exact(position),
        }
    }

    /// How near contenders must come, in standard deviations, for each of the codebooks; see [`ResidualQuery::within`].
    pub(crate) fn within(&self, deviations: f32) -> Vec<Within> {
        self.bound.iter().map(|bound| bound.within(deviations)).collect()
    }

    /// Appends the places of the document's tokens that may hold a maximum, by their centroids; see
    /// [`ResidualQuery::contenders`]. None where the tokens are not coded.
    pub(crate) fn contenders(&self, position: Position, within: &[Within], out: &mut Vec<u32>) {
        if let Some((codebook, rows)) = self.residual(position)
            && let (Some(bound), Some(within)) = (self.bound.get(codebook), within.get(codebook))
        {
            bound.contenders(rows, within, out);
        }
    }

    /// Asks for what scoring all of the document's tokens from their codes takes.
    pub(crate) fn ask(&mut self, position: Position) {
        if let Some((codebook, rows)) = self.residual(position)
            && let Some(bound) = self.bound.get_mut(codebook)
        {
            bound.ask(rows.codes);
        }
    }

    /// Scores the centroids that were asked for.
    pub(crate) fn score_asked(&mut self) {
        self.bound.iter_mut().for_each(ResidualQuery::score_asked);
    }

    /// The score of the query's groups over some of the document's tokens, from their codes; see
    /// [`ResidualQuery::score_groups`].
    pub(crate) fn grouped(&self, position: Position, places: &[u32]) -> f32 {
        self.alone(position, |bound, rows| bound.score_groups(rows, places))
    }

    /// The tokens of a document in the memtable.
    fn waiting(&self, position: Position) -> Option<&'a TokenMatrix> {
        let record = self.snapshot.memtable().get(position.ordinal)?;
        record.tokens.as_ref()
    }

    /// A first look at a document in the memtable.
    pub(crate) fn rough(&self, query: &RoughQuery, position: Position) -> f32 {
        self.waiting(position)
            .map_or(f32::NEG_INFINITY, |tokens| query.score(tokens))
    }

    /// The score over the best tier stored: the original tokens, else their reconstruction in single precision.
    pub(crate) fn exact(&self, position: Position) -> f32 {
        let Some(view) = self.segments.get(position.segment as usize) else {
            let tokens = self.waiting(position);
            return tokens.map_or(f32::NEG_INFINITY, |tokens| self.query.score_f16(tokens.as_f16()));
        };
        let Some(view) = view else {
            return f32::NEG_INFINITY;
        };
        if let Some(Some(original)) = self.originals.get(position.segment as usize) {
            return self
                .query
                .score_original(original.slice(view.range(position.ordinal)));
        }
        match (view.rows, self.residual(position)) {
            (TokenRows::Residual { codebook, .. }, Some((number, rows))) => match self.bound.get(number) {
                Some(bound) => bound.score_exact(rows),
                None => self.reconstructed(codebook, rows),
            },
            _ => view
                .raw(position.ordinal)
                .map_or(f32::NEG_INFINITY, |tokens| self.query.score_f16(tokens)),
        }
    }

    /// The tokens that [`exact`](Self::exact) scores, row after row; none of a document that has none.
    pub(crate) fn rows(&self, position: Position) -> Vec<f32> {
        let segment = position.segment as usize;
        let Some(view) = self.segments.get(segment) else {
            let tokens = self.waiting(position);
            return tokens.map_or_else(Vec::new, |tokens| {
                tokens.as_f16().iter().map(|number| number.to_f32()).collect()
            });
        };
        let Some(view) = view else {
            return Vec::new();
        };
        if let Some(Some(original)) = self.originals.get(segment) {
            let range = view.range(position.ordinal);
            let mut rows = vec![0.0; range.len() * self.query.dim()];
            original.slice(range).decode(0, &mut rows);
            return rows;
        }
        match (view.rows, self.residual(position)) {
            (TokenRows::Residual { codebook, .. }, Some((_, rows))) => self.reconstruction(codebook, rows),
            _ => {
                let tokens = view.raw(position.ordinal).unwrap_or_default();
                tokens.iter().map(|number| number.to_f32()).collect()
            }
        }
    }

    fn reconstruction(&self, codebook: &Codebook, rows: ResidualRows<'_>) -> Vec<f32> {
        let (dim, bytes) = (self.query.dim(), codebook.codec.residual_bytes());
        let mut decoded = vec![0.0; rows.len() * dim];
        let residuals = rows.residuals.chunks_exact(bytes);
        for ((at, residual), out) in residuals.enumerate().zip(decoded.chunks_exact_mut(dim)) {
            let factor = rows.factors[at];
            codebook.codec.decode(rows.codes.get(at), residual, factor, out);
        }
        decoded
    }

    /// MaxSim over the reconstructed tokens. It needs no centroid scores.
    fn reconstructed(&self, codebook: &Codebook, rows: ResidualRows<'_>) -> f32 {
        let (dim, bytes) = (self.query.dim(), codebook.codec.residual_bytes());
        DECODED.with_borrow_mut(|decoded| {
            decoded.resize(rows.len() * dim, 0.0);
            let residuals = rows.residuals.chunks_exact(bytes);
            for ((at, residual), out) in residuals.enumerate().zip(decoded.chunks_exact_mut(dim)) {
                codebook
                    .codec
                    .decode(rows.codes.get(at), residual, rows.factors[at], out);
            }
            self.query.score_f32(decoded)
        })
    }
}

impl Drop for TokenScorer<'_> {
    fn drop(&mut self) {
        let tables = std::mem::take(&mut self.bound)
            .into_iter()
            .map(ResidualQuery::into_tables);
        TABLES.with_borrow_mut(|kept| {
            kept.extend(tables);
            // A collection has one codebook, or two while it grows.
            kept.truncate(2);
        });
    }
}
