//! MaxSim of a query against residual codes.

use super::codec::{Quantizer, ResidualCodec};
use super::codes::{Codes, ResidualRows};
use super::directions::Directions;
use super::pack;
use super::trellis::Trellis;
use crate::error::CodecError;
use crate::kernel::{
    BytePanels, ByteRows, LANES, Panels, ROW_TILE, ResidualTile, Unpack, prefetch, quantize,
};
use crate::maxsim::MaxSimQuery;

/// A query bound to a codec. It knows the levels of its token groups with every centroid, which rank documents for
/// candidates, and has its tokens in int8; the scores of its tokens with centroids are computed for those that are asked
/// for, or for all.
#[derive(Clone, Debug)]
pub struct ResidualQuery<'a> {
    codec: &'a ResidualCodec,
    query: &'a MaxSimQuery,
    tables: CentroidTables,
    groups: Directions,
    /// The query as centroids meet it.
    straight: BytePanels,
    /// The query as residuals meet it: turned, with a trellis.
    turned: BytePanels,
    residuals: Residuals<'a>,
    /// What rounding a query token to int8 may take from a score, with much to spare.
    rounding: Vec<f32>,
    /// Levels by which contenders may fall short, a group.
    within: Vec<u8>,
    complete: bool,
}

/// A query's scores with centroids. They take megabytes: whoever runs query after query hands the memory of one to the
/// next.
#[derive(Clone, Debug, Default)]
pub struct CentroidTables {
    /// `[slot][query token]`, and one panel of fill that a kernel may read past the last.
    scores: Vec<f32>,
    /// Where a centroid's scores are; [`UNKNOWN`] where they are not yet.
    slots: Vec<u32>,
    next_slot: u32,
    /// Group scores in 255 steps from 0 to the group's length: `[centroid][group]`, whole panels.
    levels: Vec<u8>,
    /// Slots whose scores are there.
    scored: u32,
    /// Centroids whose scores are not there yet, in the order of their slots, and their rows.
    asked: Vec<u32>,
    rows: ByteRows,
}

const UNKNOWN: u32 = u32::MAX;

/// Most scores of one document that are kept to find its maxima.
const MOST_SCORES: usize = 1 << 18;

/// What reading the residuals of a quantizer takes.
#[derive(Clone, Debug)]
enum Residuals<'a> {
    Buckets { fields: Unpack, weight_scale: f32 },
    Trellis { trellis: &'a Trellis, turned: Panels },
}

/// Some rows of a document, as many as a register tile takes, unpacked.
struct Tile {
    places: [u32; ROW_TILE],
    count: usize,
    weights: Vec<u8>,
    weight_scales: [f32; ROW_TILE],
    centroids: [usize; ROW_TILE],
    inverse_norms: [f32; ROW_TILE],
}

impl<'a> ResidualQuery<'a> {
    /// Scores the query's token groups with all centroids, in int8 on both sides.
    ///
    /// # Errors
    /// A query of another dimension than the codec.
    pub fn new(codec: &'a ResidualCodec, query: &'a MaxSimQuery) -> Result<Self, CodecError> {
        Self::new_in(codec, query, CentroidTables::default())
    }

    /// As [`new`](Self::new), in the memory of an earlier query.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn new_in(
        codec: &'a ResidualCodec,
        query: &'a MaxSimQuery,
        mut tables: CentroidTables,
    ) -> Result<Self, CodecError> {
        let dim = codec.dim();
        if dim != query.dim() {
            return Err(CodecError::Dimension {
                expected: dim,
                got: query.dim(),
            });
        }
        let groups = Directions::new(query);
        tables.begin(codec, query, &groups);
        let straight = BytePanels::new(query.tokens(), dim);
        let mut rounding = straight.rounding(query.tokens());
        let (turned, residuals) = match codec.quantizer() {
            Quantizer::Buckets(buckets) => {
                let mut weights = vec![0; buckets.weights().len()];
                let weight_scale = quantize(buckets.weights(), &mut weights);
                let of_value = |v: usize| weights[v].cast_unsigned() ^ 0x80;
                let fields = Unpack::new(codec.bits(), &pack::by_field(codec.bits(), of_value));
                (straight.clone(), Residuals::Buckets { fields, weight_scale })
            }
            Quantizer::Trellis(trellis) => {
                let mut turned = query.tokens().to_vec();
                trellis.rotate(&mut turned);
                let (bytes, panels) = (BytePanels::new(&turned, dim), Panels::new(&turned, dim));
                let more = bytes.rounding(&turned);
                rounding.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                let turned = panels;
                (bytes, Residuals::Trellis { trellis, turned })
            }
        };
        Ok(Self {
            codec,
            query,
            tables,
            groups,
            straight,
            turned,
            residuals,
            rounding,
            within: Vec::new(),
            complete: false,
        })
    }

    /// The memory of the scores, for another query.
    #[must_use]
    pub fn into_tables(self) -> CentroidTables {
        self.tables
    }

    /// Scores of each group of query tokens with each centroid, in 255 steps from 0 (and all below) to the length of the
    /// group's sum (and all above), centroid-major; a row is [`level_units`](Self::level_units) long, and 0 where there is
    /// no group. A group is a token, or several at a cosine of 0.8 or more, whose sum stands for them.
    #[must_use]
    pub fn centroid_levels(&self) -> &[u8] {
        &self.tables.levels
    }

    /// What a level is worth: a number for each group of query tokens, and zeros up to a multiple of 16.
    #[must_use]
    pub fn level_units(&self) -> &[f32] {
        &self.groups.units
    }

    /// Directions of query tokens.
    #[must_use]
    pub fn num_groups(&self) -> usize {
        self.groups.sums.len() / self.codec.dim()
    }

    /// The score of a document if its tokens were their centroids: the sum over groups of query tokens of the greatest
    /// level of a centroid score. It is off by half a step a group, and counts what is below 0 as 0.
    #[must_use]
    pub fn centroid_interaction(&self, codes: Codes<'_>) -> f32 {
        let (kernel, levels) = (self.query.kernel(), &self.tables.levels);
        match codes {
            Codes::U16(codes) => kernel.interaction_u16(levels, &self.groups.units, codes),
            Codes::U32(codes) => kernel.interaction_u32(levels, &self.groups.units, codes),
        }
    }

    /// Appends the places of the tokens that may hold the maximum of a query token: those whose centroid comes within
    /// `within` standard deviations of the best centroid of at least one group, as shares of the group's length: what
    /// [residuals](ResidualCodec::residual_spread) and the angles within the group let a score vary by. Their centroids are scored by the next [`score_asked`](Self::score_asked).
    pub fn contenders(&mut self, rows: ResidualRows<'_>, within: f32, out: &mut Vec<u32>) {
        let (kernel, first, codes) = (self.query.kernel(), out.len(), rows.codes);
        let residual = self.codec.residual_spread();
        self.within.clear();
        self.within.extend(self.groups.spreads.iter().map(|spread| {
            let levels = within * residual.hypot(*spread) * 255.0;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 255")]
            let levels = levels.round().clamp(0.0, 255.0) as u8;
            levels
        }));
        let (levels, units, within) = (&self.tables.levels, &self.groups.units, &self.within);
        match codes {
            Codes::U16(codes) => kernel.contenders_u16(levels, units, codes, within, out),
            Codes::U32(codes) => kernel.contenders_u32(levels, units, codes, within, out),
        }
        let bytes = self.codec.residual_bytes();
        prefetch(rows.factors);
        for place in &out[first..] {
            let at = *place as usize;
            prefetch(&rows.residuals[at * bytes..][..bytes]);
            self.tables.ask(codes.get(at));
        }
    }

    /// Asks for the scores of all of a document's centroids with the next [`score_asked`](Self::score_asked).
    pub fn ask(&mut self, codes: Codes<'_>) {
        for place in 0..codes.len() {
            self.tables.ask(codes.get(place));
        }
    }

    /// Scores the query's tokens with the centroids that were asked for.
    pub fn score_asked(&mut self) {
        let tokens = self.query.num_tokens();
        let tables = &mut self.tables;
        if tables.asked.is_empty() {
            return;
        }
        let (all, dim) = (self.codec.byte_rows(), self.codec.dim());
        tables.rows.values.clear();
        tables.rows.scales.clear();
        for centroid in &tables.asked {
            let at = *centroid as usize;
            tables
                .rows
                .values
                .extend_from_slice(&all.values[at * dim..][..dim]);
            tables.rows.scales.push(all.scales[at]);
        }
        // The fill of the last slot is where the next begins.
        let known = tables.scores.len().saturating_sub(LANES);
        tables
            .scores
            .resize(known + tables.asked.len() * tokens + LANES, 0.0);
        tables.asked.clear();
        tables.scored = tables.next_slot;
        let out = &mut tables.scores[known..];
        self.query
            .kernel()
            .scores_i8(&self.straight, tokens, &tables.rows, out);
    }

    /// Scores the query's tokens with all centroids, so that [`score`](Self::score) is quick for any document.
    pub fn complete(&mut self) {
        if self.complete {
            return;
        }
        let (tokens, count) = (self.query.num_tokens(), self.codec.len());
        let tables = &mut self.tables;
        tables.asked.clear();
        tables.scores.resize(count * tokens + LANES, 0.0);
        let rows = self.codec.byte_rows();
        self.query
            .kernel()
            .scores_i8(&self.straight, tokens, rows, &mut tables.scores);
        for (slot, at) in tables.slots.iter_mut().zip(0..) {
            *slot = at;
            tables.next_slot = at + 1;
        }
        tables.scored = tables.next_slot;
        self.complete = true;
    }

    /// The dot product of each centroid with each query token, centroid-major: `[centroid * num_tokens + token]`. Both
    /// are rounded to int8: with a query token `q` and a centroid `c` a score is off by at most
    /// `|e_q| |c| + |q'| |e_c|`, where `e` is what rounding takes.
    #[must_use]
    pub fn centroid_scores(&mut self) -> &[f32] {
        self.complete();
        &self.tables.scores[..self.codec.len() * self.query.num_tokens()]
    }

    /// MaxSim with the tokens as their codes reconstruct them, computed from the codes in registers: int8 query tokens
    /// by int8 residuals, plus the centroid's score, by the stored reciprocal norm.
    ///
    /// Of a query token `q` it is off [`score_exact`](Self::score_exact) by at most what
    /// [`centroid_scores`](Self::centroid_scores) says for the centroid and `(|e_q| |r| + |q'| |e_r|)` for the residual
    /// `r`, both by the reciprocal norm, where `e` is what rounding to int8 takes (nothing from a trellis residual); with
    /// buckets also 2^-14 of the score for the norm.
    ///
    /// It is quick once the document's centroids are scored, and [`score_exact`](Self::score_exact) until then.
    #[must_use]
    pub fn score(&self, rows: ResidualRows<'_>) -> f32 {
        self.scored(rows, 0..rows.len())
    }

    /// As [`score`](Self::score), over the tokens of some places only.
    #[must_use]
    pub fn score_some(&self, rows: ResidualRows<'_>, places: &[u32]) -> f32 {
        self.scored(rows, places.iter().map(|place| *place as usize))
    }

    fn scored(&self, rows: ResidualRows<'_>, places: impl ExactSizeIterator<Item = usize>) -> f32 {
        let mut tile = Tile::new(places.len(), self.codec.dim());
        let mut maxima = self.query.panels().maxima();
        let mut places = places;
        while tile.take(&mut places) > 0 {
            if !self.find_centroids(rows.codes, &mut tile) {
                return self.score_exact(rows);
            }
            self.unpack(rows, &mut tile);
            self.query
                .kernel()
                .maxsim_residual(&self.turned, &self.view(&tile), &mut maxima);
        }
        self.query.panels().total(&maxima)
    }

    fn view<'t>(&'t self, tile: &'t Tile) -> ResidualTile<'t> {
        let count = tile.count;
        ResidualTile {
            weights: &tile.weights[..count * self.codec.dim()],
            weight_scales: &tile.weight_scales[..count],
            centroids: &tile.centroids[..count],
            centroid_scores: &self.tables.scores,
            inverse_norms: &tile.inverse_norms[..count],
        }
    }

    /// Where the scores of the rows' centroids begin; false if there are none yet of one of them.
    fn find_centroids(&self, codes: Codes<'_>, tile: &mut Tile) -> bool {
        let tokens = self.query.num_tokens();
        if self.complete {
            let last = self.codec.len() - 1;
            for (to, place) in tile.centroids.iter_mut().zip(&tile.places).take(tile.count) {
                *to = (codes.get(*place as usize) as usize).min(last) * tokens;
            }
            return true;
        }
        let mut greatest = 0;
        for (to, place) in tile.centroids.iter_mut().zip(&tile.places).take(tile.count) {
            let slot = self.tables.slot(codes.get(*place as usize));
            greatest = greatest.max(slot);
            *to = slot as usize * tokens;
        }
        greatest < self.tables.scored
    }

    /// Unpacks the residuals of the tile's places.
    fn unpack(&self, rows: ResidualRows<'_>, tile: &mut Tile) {
        let (dim, bytes, count) = (self.codec.dim(), self.codec.residual_bytes(), tile.count);
        let places = &tile.places[..count];
        let weights = &mut tile.weights[..count * dim];
        let factors = places.iter().map(|place| rows.factors[*place as usize]);
        match &self.residuals {
            Residuals::Buckets { fields, weight_scale } => {
                let kernel = self.query.kernel();
                let first = places.first().map_or(0, |first| *first as usize);
                if places
                    .last()
                    .is_some_and(|last| *last as usize + 1 - first == count)
                {
                    kernel.unpack(fields, &rows.residuals[first * bytes..][..count * bytes], weights);
                } else {
                    for (place, weights) in places.iter().zip(weights.chunks_exact_mut(dim)) {
                        let packed = &rows.residuals[*place as usize * bytes..][..bytes];
                        kernel.unpack(fields, packed, weights);
                    }
                }
                tile.weight_scales = [*weight_scale; ROW_TILE];
                for (inverse, code) in tile.inverse_norms.iter_mut().zip(factors) {
                    *inverse = pack::inverse_norm(code);
                }
            }
            Residuals::Trellis { trellis, .. } => {
                let mut before = [0; ROW_TILE];
                let scales = tile.weight_scales.iter_mut().zip(&mut tile.inverse_norms);
                for ((before, code), (scale, inverse)) in before.iter_mut().zip(factors).zip(scales) {
                    let factors = trellis.factors(code);
                    *before = factors.before;
                    (*scale, *inverse) = (factors.scale, factors.inverse_norm);
                }
                let rows_at = (places, &before[..count]);
                trellis.unpack(self.query.kernel(), rows_at, rows.residuals, weights);
            }
        }
    }

    /// MaxSim with the reconstructed tokens in single precision: with buckets, the score of the reference.
    #[must_use]
    pub fn score_exact(&self, rows: ResidualRows<'_>) -> f32 {
        match &self.residuals {
            Residuals::Buckets { .. } => self.score_decoded(rows),
            Residuals::Trellis { turned, .. } => self.score_turned(rows, turned),
        }
    }

    fn score_decoded(&self, rows: ResidualRows<'_>) -> f32 {
        let (dim, bytes) = (self.codec.dim(), self.codec.residual_bytes());
        let mut wide = vec![0.0; ROW_TILE.min(rows.len()) * dim];
        let mut maxima = self.query.panels().maxima();
        for first in (0..rows.len()).step_by(ROW_TILE) {
            let count = ROW_TILE.min(rows.len() - first);
            let residuals = rows.residuals[first * bytes..].chunks_exact(bytes);
            for ((at, residual), out) in (first..)
                .zip(residuals)
                .zip(wide.chunks_exact_mut(dim))
                .take(count)
            {
                self.codec
                    .decode(rows.codes.get(at), residual, rows.factors[at], out);
            }
            self.query
                .kernel()
                .maxsim_f32(self.query.panels(), &wide[..count * dim], &mut maxima);
        }
        self.query.panels().total(&maxima)
    }

    /// The query meets centroids as it is and residuals turned, so that no token has to be turned back. Where the
    /// centroids are scored already, int8 scores tell which tokens can hold a maximum at all.
    fn score_turned(&self, rows: ResidualRows<'_>, turned: &Panels) -> f32 {
        let mut maxima = vec![f32::NEG_INFINITY; self.query.num_tokens()];
        match self.nearly_greatest(rows) {
            Some(places) => {
                self.raise_exactly(
                    rows,
                    places.iter().map(|place| *place as usize),
                    turned,
                    &mut maxima,
                );
            }
            None => self.raise_exactly(rows, 0..rows.len(), turned, &mut maxima),
        }
        maxima.iter().sum()
    }

    fn raise_exactly(
        &self,
        rows: ResidualRows<'_>,
        mut places: impl ExactSizeIterator<Item = usize>,
        turned: &Panels,
        maxima: &mut [f32],
    ) {
        let (dim, tokens) = (self.codec.dim(), self.query.num_tokens());
        let kernel = self.query.kernel();
        let mut tile = Tile::new(places.len(), dim);
        let most = ROW_TILE.min(places.len());
        let mut wide = vec![0.0; most * dim];
        let (mut straight, mut residual) = (vec![0.0; most * tokens], vec![0.0; most * tokens]);
        while tile.take(&mut places) > 0 {
            let wide = &mut wide[..tile.count * dim];
            for (place, out) in tile.places.iter().zip(wide.chunks_exact_mut(dim)) {
                out.copy_from_slice(self.codec.centroid(rows.codes.get(*place as usize)));
            }
            kernel.scores_f32(self.query.panels(), wide, &mut straight);
            self.unpack(rows, &mut tile);
            for (out, byte) in wide.iter_mut().zip(&tile.weights) {
                *out = f32::from((byte ^ 0x80).cast_signed());
            }
            kernel.scores_f32(turned, wide, &mut residual);
            let sums = straight.chunks_exact(tokens).zip(residual.chunks_exact(tokens));
            let factors = tile.weight_scales.iter().zip(&tile.inverse_norms);
            for ((straight, residual), (scale, inverse)) in sums.zip(factors).take(tile.count) {
                for ((most, c), r) in maxima.iter_mut().zip(straight).zip(residual) {
                    *most = most.max((c + r * scale) * inverse);
                }
            }
        }
    }

    /// The places of the tokens whose int8 score comes so near a query token's greatest that rounding may be what keeps it
    /// below; none where the centroids are not scored, or where it would take too much memory to find out.
    fn nearly_greatest(&self, rows: ResidualRows<'_>) -> Option<Vec<u32>> {
        let (dim, tokens) = (self.codec.dim(), self.query.num_tokens());
        if self.tables.scored == 0 || rows.len() <= ROW_TILE || rows.len() * tokens > MOST_SCORES {
            return None;
        }
        let mut scores = vec![0.0; rows.len() * tokens];
        let mut tile = Tile::new(rows.len(), dim);
        let mut weights = ByteRows::default();
        let (mut places, mut out) = (0..rows.len(), scores.as_mut_slice());
        let mut floors = vec![f32::NEG_INFINITY; tokens];
        while tile.take(&mut places) > 0 {
            if !self.find_centroids(rows.codes, &mut tile) {
                return None;
            }
            self.unpack(rows, &mut tile);
            let (here, rest) = out.split_at_mut(tile.count * tokens);
            weights.values.clear();
            weights
                .values
                .extend_from_slice(&tile.weights[..tile.count * dim]);
            weights.scales.clear();
            weights
                .scales
                .extend_from_slice(&tile.weight_scales[..tile.count]);
            self.query
                .kernel()
                .scores_i8(&self.turned, tokens, &weights, here);
            let parts = tile.centroids.iter().zip(&tile.inverse_norms);
            for (scores, (start, inverse)) in here.chunks_exact_mut(tokens).zip(parts) {
                let centroid = &self.tables.scores[*start..][..tokens];
                for ((score, c), floor) in scores.iter_mut().zip(centroid).zip(&mut floors) {
                    *score = (*score + c) * inverse;
                    *floor = floor.max(*score);
                }
            }
            out = rest;
        }
        floors
            .iter_mut()
            .zip(&self.rounding)
            .for_each(|(floor, off)| *floor -= off);
        let near = |scores: &[f32]| {
            let above = scores
                .iter()
                .zip(&floors)
                .map(|(score, floor)| u8::from(score >= floor));
            above.fold(0, |any, above| any | above) != 0
        };
        let rows = scores.chunks_exact(tokens).zip(0u32..);
        Some(
            rows.filter(|(scores, _)| near(scores))
                .map(|(_, place)| place)
                .collect(),
        )
    }
}

impl Tile {
    fn new(rows: usize, dim: usize) -> Self {
        Self {
            places: [0; ROW_TILE],
            count: 0,
            weights: vec![0; ROW_TILE.min(rows) * dim],
            weight_scales: [0.0; ROW_TILE],
            centroids: [0; ROW_TILE],
            inverse_norms: [0.0; ROW_TILE],
        }
    }

    /// Takes the next places, as many as fit; returns how many.
    fn take(&mut self, places: &mut impl Iterator<Item = usize>) -> usize {
        self.count = 0;
        for (to, place) in self.places.iter_mut().zip(places) {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a document has at most 8,192 tokens"
            )]
            {
                *to = place as u32;
            }
            self.count += 1;
        }
        self.count
    }
}

impl CentroidTables {
    /// The levels of a query's groups; no scores yet.
    fn begin(&mut self, codec: &ResidualCodec, query: &MaxSimQuery, groups: &Directions) {
        let units = &groups.units;
        let step = |unit: &f32| if *unit > 0.0 { unit.recip() } else { 0.0 };
        let steps: Vec<f32> = units.iter().map(step).collect();
        self.scores.clear();
        self.asked.clear();
        (self.next_slot, self.scored) = (0, 0);
        self.slots.clear();
        self.slots.resize(codec.len(), UNKNOWN);
        self.levels.resize(codec.len() * units.len(), 0);
        let sums = BytePanels::new(&groups.sums, codec.dim());
        query
            .kernel()
            .levels_i8(&sums, codec.byte_rows(), &steps, &mut self.levels);
    }

    /// Where a centroid's scores are; those of a code beyond the last, the last's.
    #[inline]
    fn slot(&self, code: u32) -> u32 {
        let last = self.slots.last().copied().unwrap_or(UNKNOWN);
        self.slots.get(code as usize).copied().unwrap_or(last)
    }

    /// Gives a centroid the next slot, unless it has one.
    #[inline]
    fn ask(&mut self, code: u32) {
        let at = (code as usize).min(self.slots.len() - 1);
        if self.slots[at] == UNKNOWN {
            self.slots[at] = self.next_slot;
            self.next_slot += 1;
            #[expect(clippy::cast_possible_truncation, reason = "at most the code")]
            self.asked.push(at as u32);
        }
    }
}
