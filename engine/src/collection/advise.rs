//! Whether the rerank, late interaction and residual bits pay on a collection, by judged queries.

use std::collections::BTreeMap;
use std::time::Duration;

use latewood_query::PlanName;
use serde::Serialize;

use super::Collection;
use super::advise_bits::{Widths, bits_advice};
use super::advise_rerank::rerank_advice;
use super::advise_settings::Settings;
use super::advise_storage::StorageBill;
use crate::error::Error;
use crate::evaluation::{Judged, Judgments, Paired, Table, Verdict, best, judge};
use crate::model_source::RerankerSource;

/// What advice is asked for.
#[derive(Clone, Debug)]
pub struct AdviseOptions {
    /// The least gain of nDCG@10 that is worth paying for, 0 to 1. Default 0.01.
    pub worth: f64,
    /// Depths of the rerank that are tried, 1 to 100. Default 5, 10, 20, 50, 100.
    pub depths: Vec<usize>,
    /// The reranker, if not the collection's own.
    pub reranker: Option<RerankerSource>,
    /// A rerank that gains nothing at 10 candidates is tried deeper only if that is expected to take no longer. Default 10 s.
    pub patience: Duration,
    /// Documents that are coded at each width for the advice on residual bits, at most; 0 does without that advice. Of documents
    /// whose tokens are not kept the text is encoded again. Default 8,000.
    pub bits_documents: usize,
    /// Splits and resamples follow from it. Default 1.
    pub seed: u64,
}

impl Default for AdviseOptions {
    fn default() -> Self {
        Self {
            worth: 0.01,
            depths: vec![5, 10, 20, 50, 100],
            reranker: None,
            patience: Duration::from_secs(10),
            bits_documents: 8_000,
            seed: 1,
        }
    }
}

/// Which stages pay on a collection, and what they cost.
#[derive(Clone, Debug, Serialize)]
pub struct Advice {
    /// Judged queries with a relevant document: the labels.
    pub queries: usize,
    /// The least gain of nDCG@10 that is worth paying for.
    pub worth: f64,
    /// A cross-encoder's rerank, over the best ranking without it.
    pub rerank: Answer,
    /// Late interaction, over the best ranking without it and without a rerank.
    pub late_interaction: Answer,
    /// Residual bits: wider token codes than those of 1 bit a number.
    pub bits: Answer<Widths>,
    /// What the vectors of a document take.
    pub storage: Option<StorageBill>,
}

/// The answer to one question: a [`Comparison`], or [`Widths`].
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answer<T = Comparison> {
    /// It was measured.
    Measured(Box<T>),
    /// It was not, and why.
    NotMeasured {
        /// What is missing, and what to do.
        reason: String,
    },
}

/// What was measured of an option against the baseline.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The answer. [`Comparison::options`] is what it counts in.
    #[serde(flatten)]
    pub judged: Judged,
    /// The best ranking without the option.
    pub baseline: Figures,
    /// The options, cheapest first.
    pub options: Vec<Figures>,
    /// By how much the best order of the deepest candidates would beat the baseline, in nDCG@10; for a rerank.
    pub oracle_gap: Option<f64>,
    /// Bytes a document that the option takes on disk.
    pub bytes_per_document: f64,
    /// What else is worth knowing.
    pub note: Option<String>,
}

/// What a setting gives and costs, over all queries.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// The plan.
    pub plan: PlanName,
    /// Its fusion, where it fuses; its weights as [`Query::fusion`](crate::Query::fusion) takes them.
    pub fusion: Option<latewood_query::Fusion>,
    /// Its rerank depth, if it reranks.
    pub depth: Option<usize>,
    /// Mean nDCG@10.
    #[serde(rename = "ndcg@10")]
    pub ndcg_at_10: f64,
    /// Its difference from the baseline, each query by itself.
    pub gain: Paired,
    /// Mean time of a query as it was measured; of a rerank the time of a pair, measured, for each candidate.
    pub milliseconds: f64,
}

impl Answer {
    /// The verdict, where there is one.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::Measured(comparison) => Some(comparison.judged.verdict),
            Self::NotMeasured { .. } => None,
        }
    }

    /// What the verdict says to use, with its depth if it is a rerank; none for any other verdict.
    #[must_use]
    pub fn used(&self) -> Option<&Figures> {
        match self {
            Self::Measured(comparison) => match comparison.judged.verdict {
                Verdict::Use { option } => comparison.options.get(option),
                _ => None,
            },
            Self::NotMeasured { .. } => None,
        }
    }
}

impl<T> Answer<T> {
    pub(super) fn not_measured(reason: impl Into<String>) -> Self {
        Self::NotMeasured {
            reason: reason.into(),
        }
    }
}

impl Comparison {
    /// The option that the judged queries choose, whatever the verdict on it is.
    #[must_use]
    pub fn option(&self) -> Option<&Figures> {
        self.options.get(self.judged.option)
    }
}

impl Collection {
    /// Advises whether a rerank and late interaction pay on this collection, to which depth, and with how many residual bits: by paired differences of nDCG@10
    /// over judged queries (id and text), each measured on halves of the queries that did not choose, against the best of
    /// single searches and tuned fusions ([`judge`](crate::evaluation::judge())). Every search runs once for each query;
    /// the cross-encoder reads each pair once. What other bits would give is measured by coding documents anew ([`Widths`]).
    /// Nothing is kept.
    ///
    /// # Errors
    /// Options out of their range, no query with a relevant document, a collection that cannot be searched by text, and what a
    /// query refuses.
    pub fn advise(
        &self,
        queries: &[(String, String)],
        judgments: &Judgments,
        options: &AdviseOptions,
    ) -> Result<Advice, Error> {
        check(options)?;
        let judged: Vec<&(String, String)> = queries
            .iter()
            .filter(|(id, _)| judgments.has_relevant(id))
            .collect();
        if judged.is_empty() {
            return Err(refused(format!(
                "none of the {} queries has a relevant document in the judgments: check that both use the same query ids",
                queries.len()
            )));
        }
        let settings = Settings::measure(self, &judged, judgments)?;
        let storage = self.storage_bill()?;
        let token_bytes = storage.as_ref().map_or(0.0, |bill| bill.tokens_on_disk);
        Ok(Advice {
            queries: judged.len(),
            worth: options.worth,
            late_interaction: late_interaction_advice(&settings, options, token_bytes),
            rerank: rerank_advice(self, &settings, judgments, options)?,
            bits: bits_advice(self, &settings, judgments, options, storage.as_ref())?,
            storage,
        })
    }
}

fn late_interaction_advice(settings: &Settings, options: &AdviseOptions, bytes: f64) -> Answer {
    let (late, plain): (Vec<usize>, Vec<usize>) =
        (0..settings.len()).partition(|&at| settings.plan(at).uses_tokens());
    if late.is_empty() {
        return Answer::not_measured(
            "the collection has no token matrices: create one with an encoder that gives them",
        );
    }
    if plain.is_empty() {
        return Answer::not_measured(
            "there is no other search to compare it with: create the collection with a dense vector or a lexical index",
        );
    }
    let mut late = late;
    late.sort_by(|&a, &b| settings.milliseconds(a).total_cmp(&settings.milliseconds(b)));
    let rows = |of: &[usize]| -> Table { of.iter().map(|&at| settings.row(at).clone()).collect() };
    let (baselines, table) = (rows(&plain), rows(&late));
    let mut judged = judge(&baselines, |_| &table, options.worth, options.seed);
    let baseline = settings.figures(plain[judged.baseline], None, options.seed);
    // Of the many fusions of one plan the best is shown, and of the plan that was chosen the chosen one.
    let shown = best_of_each_plan(settings, &late, late[judged.option]);
    judged.option = shown
        .iter()
        .position(|&at| at == late[judged.option])
        .unwrap_or(0);
    if let Verdict::Use { option } = &mut judged.verdict {
        *option = judged.option;
    }
    let figures = shown
        .iter()
        .map(|&at| settings.figures(at, Some(plain[judged.baseline]), options.seed))
        .collect();
    Answer::Measured(Box::new(Comparison {
        judged,
        baseline,
        options: figures,
        oracle_gap: None,
        bytes_per_document: bytes,
        note: None,
    }))
}

fn best_of_each_plan(settings: &Settings, of: &[usize], chosen: usize) -> Vec<usize> {
    let mut by_plan: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for &at in of {
        by_plan.entry(settings.plan(at).to_string()).or_default().push(at);
    }
    let chosen_plan = settings.plan(chosen).to_string();
    let mut shown: Vec<usize> = by_plan
        .into_iter()
        .map(|(plan, group)| {
            if plan == chosen_plan {
                return chosen;
            }
            let table: Table = group.iter().map(|&at| settings.row(at).clone()).collect();
            group[best(&table, |_| true, 0.0)]
        })
        .collect();
    shown.sort_by(|&a, &b| settings.milliseconds(a).total_cmp(&settings.milliseconds(b)));
    shown
}

fn check(options: &AdviseOptions) -> Result<(), Error> {
    if !(0.0..=1.0).contains(&options.worth) {
        return Err(refused(format!(
            "the gain worth paying for is {}: give a difference of nDCG@10, 0 to 1",
            options.worth
        )));
    }
    let most = super::tune_fusion::DEPTH;
    if let Some(depth) = options.depths.iter().find(|depth| !(1..=most).contains(*depth)) {
        return Err(refused(format!(
            "a rerank depth of {depth}: give depths from 1 to {most}"
        )));
    }
    if options.depths.is_empty() {
        return Err(refused(
            "no rerank depth to try: give depths from 1 to 100".to_owned(),
        ));
    }
    Ok(())
}

pub(super) fn refused(reason: String) -> Error {
    Error::Advise { reason }
}
