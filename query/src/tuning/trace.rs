//! Where the true hits of one query stand after each step of the token index. One walk tells for every setting at once
//! which of them it would have kept.

use std::collections::HashMap;

use super::grid::Grid;
use super::interval::Found;
use crate::candidates::{Scope, token_index};
use crate::error::QueryError;
use crate::hits::Position;
use crate::token_scorer::TokenScorer;
use crate::top_k::Scored;

/// One query: for each n_probe and each cut of the candidates, the place that each true hit has by its centroid
/// interaction among the candidates that pass the cut.
pub(super) struct Trace {
    /// `[n_probe][cut][true hit]`, sorted; hits that did not pass are left out.
    places: Vec<Vec<Vec<usize>>>,
    /// True hits that stand in no index and are scanned under every setting.
    scanned: usize,
    hits: usize,
}

impl Trace {
    /// Walks the index with every n_probe of the grid; `hits` is the exhaustive answer.
    pub(super) fn walk(
        scope: &Scope<'_>,
        scorer: &TokenScorer<'_>,
        hits: &[Position],
        grid: &Grid,
    ) -> Result<Self, QueryError> {
        let indexed = token_index::indexed(scope, scorer)?;
        let is_indexed = |hit: &&Position| indexed.get(hit.segment as usize).copied().unwrap_or(false);
        let sought: Vec<Position> = hits.iter().filter(is_indexed).copied().collect();
        let mut interactions = HashMap::new();
        let mut places = Vec::with_capacity(grid.n_probes.len());
        for &n_probe in &grid.n_probes {
            let probes = token_index::probe(scorer, n_probe);
            let mut gathered = token_index::gather(scope, scorer, &probes, grid.deepest())?;
            gathered.candidates.sort_unstable();
            let candidates: Vec<Scored> = gathered
                .candidates
                .iter()
                .map(|&Scored { position, .. }| Scored {
                    position,
                    score: *interactions
                        .entry(position)
                        .or_insert_with(|| scorer.interaction(position)),
                })
                .collect();
            places.push(places_after(&candidates, &sought, &grid.cuts));
        }
        Ok(Self {
            places,
            scanned: hits.len() - sought.len(),
            hits: hits.len(),
        })
    }

    /// How many of the true hits a setting of the grid keeps, by its place in the grid.
    pub(super) fn found(&self, n_probe: usize, cut: usize, refine: usize) -> Found {
        let places = self.places.get(n_probe).and_then(|cuts| cuts.get(cut));
        let kept = places.map_or(0, |places| places.partition_point(|&place| place < refine));
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Found {
            found: count(self.scanned + kept),
            of: count(self.hits),
        }
    }
}

/// For each cut of the candidates, the places that the sought have in order of score among those that pass it.
fn places_after(candidates: &[Scored], sought: &[Position], cuts: &[usize]) -> Vec<Vec<usize>> {
    let mut places = vec![Vec::new(); cuts.len()];
    for position in sought {
        let Some(at) = candidates
            .iter()
            .position(|candidate| candidate.position == *position)
        else {
            continue;
        };
        let hit = &candidates[at];
        let (mut before, mut looked_at) = (0, 0);
        for (cut, places) in cuts.iter().zip(&mut places) {
            let end = (*cut).min(candidates.len());
            let more = candidates.get(looked_at..end).unwrap_or_default();
            before += more.iter().filter(|other| *other < hit).count();
            looked_at = end.max(looked_at);
            if at < end {
                places.push(before);
            }
        }
    }
    places.iter_mut().for_each(|places| places.sort_unstable());
    places
}

/// What is found with one setting, by the trace of it alone.
#[cfg(test)]
pub(crate) fn found_with(
    snapshot: &latewood_storage::Snapshot,
    (tokens, dim): (&[f32], usize),
    hits: &[Position],
    settings: crate::ProbeSettings,
) -> Result<Found, QueryError> {
    let grid = Grid {
        n_probes: vec![settings.n_probe],
        cuts: vec![settings.candidates],
    };
    let matches = crate::Matches::evaluate(snapshot, None)?;
    let scope = Scope {
        snapshot,
        matches: &matches,
        pool: None,
    };
    let query = latewood_codecs::MaxSimQuery::new(dim, tokens)?;
    let mut scorer = TokenScorer::new(snapshot, &query)?;
    scorer.bind()?;
    Ok(Trace::walk(&scope, &scorer, hits, &grid)?.found(0, 0, settings.refine))
}
