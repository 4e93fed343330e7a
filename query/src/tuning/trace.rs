//! Where the true hits of one query stand after each step of the token index. One walk tells for every setting at once
//! which of them it would have kept.

use std::collections::HashMap;
use std::time::Instant;

use super::grid::{Grid, MARGINS};
use super::interval::Found;
use crate::candidates::{Scope, refine, token_index};
use crate::error::QueryError;
use crate::hits::Position;
use crate::token_scorer::TokenScorer;
use crate::top_k::Scored;

/// One query: for each n_probe and each cut of the candidates, the margin at which each true hit that passes the cut is
/// scored from its codes.
pub(super) struct Trace {
    /// `[n_probe][cut][true hit]`, rising; hits that did not pass, or that no margin reaches, are left out.
    margins: Vec<Vec<Vec<f64>>>,
    /// The margins at which documents are scored from their codes, rising, given candidates enough.
    scored: Vec<f64>,
    /// What its steps took.
    pub(super) times: Times,
    /// True hits that stand in no index and are scanned under every setting.
    scanned: usize,
    hits: usize,
}

/// What the steps of one query took, in microseconds.
#[derive(Clone, Debug)]
pub(super) struct Times {
    /// Gathering scores with each n_probe.
    pub(super) gather: Vec<f64>,
    /// The centroid interaction of a candidate.
    pub(super) interaction: f64,
    /// Scoring a document from its codes.
    pub(super) codes: f64,
}

fn microseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}

impl Trace {
    /// Walks the index with every n_probe of the grid; `hits` is the exhaustive answer.
    pub(super) fn walk(
        scope: &Scope<'_>,
        scorer: &mut TokenScorer<'_>,
        hits: &[Position],
        grid: &Grid,
    ) -> Result<Self, QueryError> {
        let indexed = token_index::indexed(scope, scorer)?;
        let is_indexed = |hit: &&Position| indexed.get(hit.segment as usize).copied().unwrap_or(false);
        let sought: Vec<Position> = hits.iter().filter(is_indexed).copied().collect();
        let mut candidates = Vec::with_capacity(grid.n_probes.len());
        let mut gather = Vec::with_capacity(grid.n_probes.len());
        for &n_probe in &grid.n_probes {
            let begun = Instant::now();
            let probes = token_index::probe(scorer, n_probe);
            let mut gathered = token_index::gather(scope, scorer, &probes, grid.deepest())?.candidates;
            gather.push(microseconds(begun));
            gathered.sort_unstable();
            candidates.push(gathered);
        }
        // How far down codes are read hardly depends on the candidates: most of those that fewer lists leave out stand low.
        let mut widest = candidates.last().cloned().unwrap_or_default();
        let (count, begun) = (widest.len(), Instant::now());
        token_index::interact(scope, scorer, &mut widest, count);
        let interaction = microseconds(begun) / count.max(1) as f64;
        let most = MARGINS.last().copied().map_or(0.0, f64::from);
        let begun = Instant::now();
        let reached = refine::margins(scope, scorer, widest, hits.len(), most);
        let codes = microseconds(begun) / reached.len().max(1) as f64;
        let margin_of: HashMap<Position, f64> = reached.iter().copied().collect();
        let passing = |candidates: &Vec<Scored>| {
            let hits = sought.iter().filter_map(|hit| {
                let at = candidates
                    .iter()
                    .position(|candidate| candidate.position == *hit)?;
                Some((at, *margin_of.get(hit)?))
            });
            let mut hits: Vec<(usize, f64)> = hits.collect();
            hits.sort_unstable_by(|(_, a), (_, b)| a.total_cmp(b));
            let cuts = grid.cuts.iter().map(|&cut| {
                let passed = hits.iter().filter(|(at, _)| *at < cut);
                passed.map(|(_, margin)| *margin).collect()
            });
            cuts.collect()
        };
        Ok(Self {
            margins: candidates.iter().map(passing).collect(),
            scored: reached.into_iter().map(|(_, margin)| margin).collect(),
            times: Times {
                gather,
                interaction,
                codes,
            },
            scanned: hits.len() - sought.len(),
            hits: hits.len(),
        })
    }

    /// How many of the true hits a setting of the grid finds, by the places of its n_probe and its cut.
    pub(super) fn found(&self, n_probe: usize, cut: usize, margin: f32) -> Found {
        let margins = self.margins.get(n_probe).and_then(|cuts| cuts.get(cut));
        let kept = margins.map_or(0, |all| {
            all.partition_point(|&reached| reached <= f64::from(margin))
        });
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Found {
            found: count(self.scanned + kept),
            of: count(self.hits),
        }
    }

    /// How many documents are scored from their codes, of enough candidates.
    pub(super) fn scored(&self, margin: f32) -> usize {
        self.scored
            .partition_point(|&reached| reached <= f64::from(margin))
    }
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
    let scope = Scope::new(snapshot, &matches, None);
    let query = latewood_codecs::MaxSimQuery::new(dim, tokens)?;
    let mut scorer = TokenScorer::new(snapshot, &query)?;
    scorer.bind()?;
    Ok(Trace::walk(&scope, &mut scorer, hits, &grid)?.found(0, 0, settings.margin))
}
