//! Late interaction: the scan, the token index, and scores anew for what another stage has found.

use latewood_codecs::MaxSimQuery;

use super::units::Units;
use super::{Run, refined};
use crate::candidates::maxsim_scan::Precision;
use crate::candidates::{maxsim_scan, refine, token_index, waiting};
use crate::error::QueryError;
use crate::plan::ProbeSettings;
use crate::profile::StageProfile;
use crate::token_scorer::TokenScorer;
use crate::top_k::Scored;

impl Run<'_> {
    fn maxsim_query(&self) -> Result<MaxSimQuery, QueryError> {
        match &self.request.tokens {
            Some((tokens, dim)) => Ok(MaxSimQuery::new(*dim, tokens)?),
            None => Err(QueryError::OtherSnapshot { what: "plan" }),
        }
    }

    /// Every matching document: from its codes first, the best of them over the best tier.
    pub(super) fn maxsim_scan(&mut self, keep: usize) -> Result<Vec<Scored>, QueryError> {
        let query = self.maxsim_query()?;
        let mut scorer = TokenScorer::new(self.snapshot, &query)?;
        let units = Units::of(self.snapshot, &query);
        if self.request.exact {
            if scorer.ends_in_codes() {
                self.bind(&mut scorer, units)?;
                scorer.complete();
            }
            let scanned = maxsim_scan::scan(&self.scope(), &scorer, Precision::Best, keep);
            let found = scanned.top.into_sorted();
            let stage = units.best("maxsim scan", self.matches.count(), found.len(), scanned.tokens);
            self.watch.stage(stage);
            return Ok(found);
        }
        self.bind(&mut scorer, units)?;
        scorer.complete();
        let scanned = maxsim_scan::scan(&self.scope(), &scorer, Precision::Codes, refined(keep));
        let mut found = scanned.top.into_sorted();
        self.watch.stage(units.codes(
            "maxsim scan: codes",
            self.matches.count(),
            found.len(),
            scanned.tokens,
        ));
        self.finish_exactly(&scorer, units, "maxsim scan: exact", &mut found, keep);
        Ok(found)
    }

    /// Scores the centroids, as a stage of its own.
    fn bind(&mut self, scorer: &mut TokenScorer<'_>, units: Units) -> Result<(), QueryError> {
        let centroids = scorer.bind()?;
        if centroids > 0 {
            self.watch.stage(StageProfile {
                name: "maxsim: centroids".to_owned(),
                candidates_in: centroids,
                candidates_out: centroids,
                bytes: centroids * units.dim * 4,
                flops: 2 * centroids * units.dim * units.query_tokens,
                work: centroids * units.query_tokens,
                ..StageProfile::default()
            });
        }
        Ok(())
    }

    fn finish_exactly(
        &mut self,
        scorer: &TokenScorer<'_>,
        units: Units,
        name: &str,
        found: &mut Vec<Scored>,
        keep: usize,
    ) {
        let before = found.len() as u64;
        let tokens = refine::exactly(&self.scope(), scorer, found, keep);
        self.watch.stage(units.best(name, before, found.len(), tokens));
    }

    /// The token index: centroids, postings, interaction, codes, exact scores; what has no index is scanned.
    pub(super) fn maxsim_index(
        &mut self,
        settings: ProbeSettings,
        keep: usize,
    ) -> Result<Vec<Scored>, QueryError> {
        let query = self.maxsim_query()?;
        let mut scorer = TokenScorer::new(self.snapshot, &query)?;
        let units = Units::of(self.snapshot, &query);
        self.bind(&mut scorer, units)?;

        let indexed = token_index::indexed(&self.scope(), &scorer)?;
        let wanted = settings.candidates.max(keep);
        let mut found = if self.matching_in(&indexed) <= wanted as u64 {
            token_index::all_matching(&self.scope(), &indexed)
        } else {
            let Some(found) = self.gather((&scorer, units), &indexed, settings.n_probe, wanted, keep)? else {
                return self.scan_instead(&mut scorer, units, keep);
            };
            found
        };
        self.refine(&mut scorer, units, &mut found, settings, keep);
        self.add_unindexed(&mut scorer, units, &indexed, keep, &mut found);
        self.finish_exactly(&scorer, units, "maxsim index: exact", &mut found, keep);
        Ok(found)
    }

    /// Gathers scores from posting lists; `None` when the probed lists met fewer matches than are wanted and exist.
    fn gather(
        &mut self,
        (scorer, units): (&TokenScorer<'_>, Units),
        indexed: &[bool],
        n_probe: usize,
        wanted: usize,
        keep: usize,
    ) -> Result<Option<Vec<Scored>>, QueryError> {
        let groups = scorer
            .bound()
            .first()
            .map_or(0, |bound| bound.num_groups() as u64);
        let probes = token_index::probe(scorer, n_probe);
        let gathered = token_index::gather(&self.scope(), scorer, &probes, wanted)?;
        let found = gathered.candidates;
        self.watch.stage(StageProfile {
            name: "maxsim index: postings".to_owned(),
            candidates_in: gathered.met,
            candidates_out: found.len() as u64,
            bytes: gathered.postings * 2,
            flops: gathered.postings,
            // The cost model counts the lists of every token, whatever groups they form.
            work: gathered.postings * units.query_tokens / groups.max(1),
            note: Some(format!("n_probe {n_probe}, {groups} groups of query tokens")),
            ..StageProfile::default()
        });
        let enough = found.len() >= keep || gathered.met >= self.matching_in(indexed);
        Ok(enough.then_some(found))
    }

    /// Cuts gathered documents by full centroid interaction, and then by their scores from codes.
    fn refine(
        &mut self,
        scorer: &mut TokenScorer<'_>,
        units: Units,
        found: &mut Vec<Scored>,
        settings: ProbeSettings,
        keep: usize,
    ) {
        let before = found.len() as u64;
        let refine = settings.refine.max(keep);
        let tokens = token_index::interact(&self.scope(), scorer, found, refine);
        self.watch.stage(units.interaction(before, found.len(), tokens));
        let before = found.len() as u64;
        let margin = f64::from(settings.margin);
        let read = refine::by_codes(&self.scope(), scorer, found, keep, refined(keep), margin);
        let stage = units.codes("maxsim index: codes", before, found.len(), read.scored);
        let stopped = format!("{} documents, {} of their tokens", read.documents, read.tokens);
        self.watch.stage(StageProfile {
            // What the cost model counts are the tokens of the documents that were looked at.
            work: units.stage("", 0, 0, read.tokens).work,
            note: Some(format!("{stopped}, {} scored", read.scored)),
            ..stage
        });
    }

    fn matching_in(&self, wanted: &[bool]) -> u64 {
        let segments = self.matches.segments().iter().zip(wanted);
        segments
            .filter(|(_, wanted)| **wanted)
            .map(|(segment, _)| u64::from(segment.count()))
            .sum()
    }

    /// The probed lists met fewer matches than are wanted and exist: all matches are scored.
    fn scan_instead(
        &mut self,
        scorer: &mut TokenScorer<'_>,
        units: Units,
        keep: usize,
    ) -> Result<Vec<Scored>, QueryError> {
        scorer.complete();
        let scanned = maxsim_scan::scan(&self.scope(), scorer, Precision::Codes, refined(keep));
        let mut found = scanned.top.into_sorted();
        let mut stage = units.codes(
            "maxsim scan: codes",
            self.matches.count(),
            found.len(),
            scanned.tokens,
        );
        stage.note = Some("the probed lists held too few matches".to_owned());
        self.watch.stage(stage);
        self.finish_exactly(scorer, units, "maxsim scan: exact", &mut found, keep);
        Ok(found)
    }

    /// Adds the best of the segments without posting lists and of the memtable.
    fn add_unindexed(
        &mut self,
        scorer: &mut TokenScorer<'_>,
        units: Units,
        indexed: &[bool],
        keep: usize,
        found: &mut Vec<Scored>,
    ) {
        let wanted = |segment: usize| !indexed.get(segment).copied().unwrap_or(false);
        if (0..indexed.len()).any(|segment| wanted(segment) && scorer.is_coded(segment)) {
            scorer.complete();
        }
        let waiting = self.matches.memtable().len() as u64;
        let scanned = maxsim_scan::segments(&self.scope(), scorer, Precision::Codes, refined(keep), wanted);
        if scanned.tokens > 0 {
            let more = scanned.top.into_sorted();
            let rest = self.matches.count() - self.matching_in(indexed) - waiting;
            self.watch
                .stage(units.best("maxsim scan: unindexed", rest, more.len(), scanned.tokens));
            found.extend(more);
        }
        if waiting > 0 {
            let most = 2 * refined(keep) + 8;
            let (more, looked) = waiting::look(&self.scope(), scorer, found, keep, most);
            self.watch.stage(StageProfile {
                bytes: looked.rough * units.dim + looked.exact * units.dim * 2,
                note: Some(format!("{} of their tokens exactly", looked.exact)),
                ..units.stage(
                    "maxsim: memtable",
                    waiting,
                    more.len(),
                    looked.rough + looked.exact,
                )
            });
            found.extend(more);
        }
    }

    pub(super) fn rescore(&mut self, found: &mut Vec<Scored>, keep: usize) -> Result<(), QueryError> {
        let query = self.maxsim_query()?;
        let mut scorer = TokenScorer::new(self.snapshot, &query)?;
        let units = Units::of(self.snapshot, &query);
        if scorer.ends_in_codes() {
            self.bind(&mut scorer, units)?;
        }
        self.finish_exactly(&scorer, units, "maxsim rescore", found, keep);
        Ok(())
    }
}
