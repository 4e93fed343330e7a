//! MaxSim of a query against residual codes.

use super::codec::{Quantizer, ResidualCodec};
use super::codes::{Codes, ResidualRows};
use super::directions::Directions;
use super::exact::ExactPanel;
use super::pack;
use super::tables::CentroidTables;
use super::tile::{Scratch, Tile};
use super::trellis::Trellis;
use crate::error::CodecError;
use crate::kernel::{BytePanels, LANES, ROW_TILE, ResidualTile, Unpack, prefetch, quantize};
use crate::maxsim::MaxSimQuery;

/// A query bound to a codec. It knows the levels of its token groups with every centroid, which rank documents for
/// candidates, and has its tokens in int8; the scores of its tokens with centroids are computed for those that are asked
/// for, or for all.
#[derive(Clone, Debug)]
pub struct ResidualQuery<'a> {
    pub(super) codec: &'a ResidualCodec,
    pub(super) query: &'a MaxSimQuery,
    pub(super) tables: CentroidTables,
    groups: Directions,
    /// The query as centroids meet it.
    straight: BytePanels,
    /// The query as residuals meet it: turned, with a trellis.
    pub(super) turned: BytePanels,
    /// The sums of its groups likewise.
    turned_groups: BytePanels,
    pub(super) residuals: Residuals<'a>,
    /// What rounding a query token to int8 may take from a score, with much to spare.
    pub(super) rounding: Vec<f32>,
    complete: bool,
}

/// How far a token's centroid may fall short of the best one of a group, in levels.
#[derive(Clone, Debug)]
pub struct Within {
    levels: Vec<u8>,
}

/// What reading the residuals of a quantizer takes.
#[derive(Clone, Debug)]
pub(super) enum Residuals<'a> {
    Buckets {
        fields: Unpack,
        weight_scale: f32,
    },
    Trellis {
        trellis: &'a Trellis,
        panels: Vec<ExactPanel>,
    },
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
        let mut sums = groups.sums.clone();
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
                trellis.rotate(&mut sums);
                let bytes = BytePanels::new(&turned, dim);
                let more = bytes.rounding(&turned);
                rounding.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                let panels = ExactPanel::of(query.tokens(), &turned, dim);
                (bytes, Residuals::Trellis { trellis, panels })
            }
        };
        Ok(Self {
            codec,
            query,
            tables,
            groups,
            straight,
            turned,
            turned_groups: BytePanels::new(&sums, dim),
            residuals,
            rounding,
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
    /// no group. A group is a token, or several at a cosine of 0.7 or more, whose sum stands for them.
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

    /// The levels that so many standard deviations are of what [residuals](ResidualCodec::residual_spread) and the angles
    /// within a group let a score vary by.
    #[must_use]
    pub fn within(&self, deviations: f32) -> Within {
        let residual = self.codec.residual_spread();
        let levels = self.groups.spreads.iter().map(|spread| {
            let levels = deviations * residual.hypot(*spread) * 255.0;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 255")]
            let levels = levels.round().clamp(0.0, 255.0) as u8;
            levels
        });
        Within {
            levels: levels.collect(),
        }
    }

    /// Appends the places of the tokens that may hold the maximum of a group: those whose centroid comes so near to the best
    /// one of at least one group. What their scores are read from is on its way into the cache then.
    pub fn contenders(&self, rows: ResidualRows<'_>, within: &Within, out: &mut Vec<u32>) {
        let (kernel, first) = (self.query.kernel(), out.len());
        let (levels, units) = (&self.tables.levels, &self.groups.units);
        match rows.codes {
            Codes::U16(codes) => kernel.contenders_u16(levels, units, codes, &within.levels, out),
            Codes::U32(codes) => kernel.contenders_u32(levels, units, codes, &within.levels, out),
        }
        let bytes = self.codec.residual_bytes();
        prefetch(rows.factors);
        for place in &out[first..] {
            prefetch(&rows.residuals[*place as usize * bytes..][..bytes]);
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
        let (kernel, tokens) = (self.query.kernel(), self.query.num_tokens());
        self.tables
            .score_asked(kernel, &self.straight, tokens, self.codec.byte_rows());
    }

    /// Scores the query's tokens with all centroids, so that [`score`](Self::score) is quick for any document.
    pub fn complete(&mut self) {
        if !self.complete {
            let (kernel, tokens) = (self.query.kernel(), self.query.num_tokens());
            self.tables
                .score_all(kernel, &self.straight, tokens, self.codec.byte_rows());
            self.complete = true;
        }
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

    /// MaxSim of the groups, from the codes of some of a document's tokens: as [`score`](Self::score), with the sum of a
    /// group for its members and the [level](Self::centroid_levels) of a centroid for its score.
    #[must_use]
    pub fn score_groups(&self, rows: ResidualRows<'_>, places: &[u32]) -> f32 {
        let mut places = places.iter().map(|place| *place as usize);
        Scratch::with(self.codec.dim(), self.groups.units.len(), |scratch| {
            let Scratch { tile, scores, maxima } = scratch;
            while tile.take(&mut places) > 0 {
                self.group_scores(rows.codes, tile, scores);
                self.unpack(rows, tile);
                self.raise(&self.turned_groups, tile, scores, maxima);
            }
            maxima[..self.num_groups()].iter().sum()
        })
    }

    fn scored(&self, rows: ResidualRows<'_>, mut places: impl Iterator<Item = usize>) -> f32 {
        let lanes = self.turned.panels() * LANES;
        let total = Scratch::with(self.codec.dim(), lanes, |Scratch { tile, maxima, .. }| {
            while tile.take(&mut places) > 0 {
                if !self.find_centroids(rows.codes, tile) {
                    return None;
                }
                self.unpack(rows, tile);
                self.raise(&self.turned, tile, &self.tables.scores, maxima);
            }
            Some(self.query.panels().total(maxima))
        });
        total.unwrap_or_else(|| self.score_exact(rows))
    }

    fn raise(&self, query: &BytePanels, tile: &Tile, centroid_scores: &[f32], maxima: &mut [f32]) {
        let count = tile.count;
        let tile = ResidualTile {
            weights: &tile.weights[..count * self.codec.dim()],
            weight_scales: &tile.weight_scales[..count],
            centroids: &tile.centroids[..count],
            centroid_scores,
            inverse_norms: &tile.inverse_norms[..count],
        };
        self.query.kernel().maxsim_residual(query, &tile, maxima);
    }

    /// The groups' scores with the rows' centroids, from their levels.
    fn group_scores(&self, codes: Codes<'_>, tile: &mut Tile, scores: &mut Vec<f32>) {
        let (units, last) = (&self.groups.units, self.codec.len() - 1);
        let (width, count) = (units.len(), tile.count);
        scores.resize(ROW_TILE * width, 0.0);
        for (start, place) in tile.centroids.iter_mut().zip(&tile.places).take(count) {
            *start = (codes.get(*place as usize) as usize).min(last) * width;
        }
        let starts = &tile.centroids[..count];
        self.query
            .kernel()
            .level_scores(&self.tables.levels, units, starts, scores);
        for (start, at) in tile.centroids.iter_mut().zip(0..) {
            *start = at * width;
        }
    }

    /// Where the scores of the rows' centroids begin; false if there are none yet of one of them.
    pub(super) fn find_centroids(&self, codes: Codes<'_>, tile: &mut Tile) -> bool {
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
    pub(super) fn unpack(&self, rows: ResidualRows<'_>, tile: &mut Tile) {
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
}
