//! Silent mistakes of a collection: what works, and gives worse or slower answers than it could.

use latewood_query::{DEFAULT_RECALL, Matches, statistics};
use latewood_storage::CodebookFit;
use serde::Serialize;

use super::Collection;
use super::doctor_sample::Sample;
use crate::error::Error;

/// Deleted rows from which they are worth reclaiming, and their share of all.
const BLOAT: (u64, f64) = (100, 0.25);
/// Rows outside graphs, and tokens outside token indexes, from which an index is due; and their share of all.
const GRAPH_FROM: u64 = 1_000;
const TOKENS_FROM: u64 = 65_536;
const WITHOUT_INDEX: f64 = 0.25;
/// What the generator of queries begins with: not what tuning begins with.
const SEED: u64 = 0x0064_6f63_746f_7200;

/// How [`Collection::doctor`] looks.
#[derive(Clone, Debug, PartialEq)]
pub struct DoctorOptions {
    /// Documents whose texts are encoded again. Default: 64.
    pub texts: usize,
    /// Queries that the recall is measured with, made of documents; 0: it is not measured. Default: 100.
    pub queries: usize,
    /// The recall@10 that is asked for, above 0, at most 1. Default: 0.99, what a query asks for that names none.
    pub recall: f64,
}

impl Default for DoctorOptions {
    fn default() -> Self {
        Self {
            texts: 64,
            queries: 100,
            recall: DEFAULT_RECALL,
        }
    }
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingCode {
    /// Stored vectors are not those that the collection's encoder makes of the stored texts.
    OtherModel,
    /// The collection's encoder cannot be loaded, so that texts can neither be ingested nor asked.
    EncoderUnavailable,
    /// Texts are longer than the encoder's window, and their ends are not in the vectors.
    TextsCut,
    /// Vectors compared by inner product differ in length, so that long ones rank high whatever is asked.
    Unnormalised,
    /// A payload field that looks like one to filter by is not declared: filters read it from payloads.
    FieldNotDeclared,
    /// A declared field is in no payload.
    FieldWithoutValues,
    /// Tokens are unlike, or many times as many as, those that the codebook was trained for.
    CodebookDrift,
    /// The indexes find less of the exhaustive answer than is asked for.
    RecallBelowTarget,
    /// Deleted documents take a large part of the room.
    Bloat,
    /// Many dense vectors are in no graph: each is compared with each query.
    GraphMissing,
    /// Many tokens are in no token index: each is compared with each query.
    TokenIndexMissing,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Answers are right, and cost more than they need to.
    Notice,
    /// Answers may be worse than they could be.
    Warning,
    /// Answers mean nothing, or cannot be had.
    Error,
}

/// One silent mistake.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What is wrong, for programs.
    pub code: FindingCode,
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong, with the figures that were measured.
    pub what: String,
    /// What to do about it: a command or a call.
    pub cure: String,
}

impl Finding {
    pub(super) fn new(code: FindingCode, severity: Severity, what: String, cure: impl Into<String>) -> Self {
        Self {
            code,
            severity,
            what,
            cure: cure.into(),
        }
    }
}

impl Collection {
    /// Looks for silent mistakes, the gravest first; of a healthy collection it finds none. Vectors, texts and payloads are judged by
    /// a sample spread evenly over the documents, the recall as [`Self::measure_recall`] does, by queries made of documents. Nothing
    /// is changed. Damage is what [`Self::check`] looks for.
    ///
    /// # Errors
    /// Damaged files; a recall out of range; a text that the encoder refuses.
    pub fn doctor(&self, options: &DoctorOptions) -> Result<Vec<Finding>, Error> {
        let mut findings = Vec::new();
        let sample = Sample::draw(self)?;
        sample.encoder(options.texts, &mut findings)?;
        sample.lengths(&mut findings);
        sample.fields(&mut findings);
        self.drift(&mut findings)?;
        self.without_index(&mut findings)?;
        self.recall_below(options, &mut findings)?;
        self.bloat(&mut findings)?;
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Ok(findings)
    }

    fn optimize_command(&self) -> String {
        format!("latewood optimize DB {}", self.name())
    }

    fn drift(&self, findings: &mut Vec<Finding>) -> Result<(), Error> {
        for codebook in self.store.codebooks()? {
            let how = match codebook.fit {
                CodebookFit::Drifted => "documents have come that are unlike those before",
                CodebookFit::Outgrown => "the collection has at least four times as many",
                _ => continue,
            };
            let drift = codebook.drift.map_or_else(
                || "an unknown squared distance to its centroids".to_owned(),
                |drift| format!("{drift:.2} times its squared distance to its centroids"),
            );
            let what = format!(
                "codebook {} was trained on {} tokens, and {how}: {drift}",
                codebook.id, codebook.trained_on_tokens
            );
            let cure = self.optimize_command();
            findings.push(Finding::new(
                FindingCode::CodebookDrift,
                Severity::Warning,
                what,
                cure,
            ));
        }
        Ok(())
    }

    fn without_index(&self, findings: &mut Vec<Finding>) -> Result<(), Error> {
        let snapshot = self.snapshot()?;
        let counts = statistics(&snapshot, &Matches::evaluate(&snapshot, None)?)?;
        let own = counts
            .dense
            .iter()
            .map(|dense| ("dense vectors".to_owned(), dense));
        let named = counts
            .vectors
            .iter()
            .map(|(name, dense)| (format!("vectors {name}"), dense));
        for (vectors, dense) in own.chain(named) {
            let all = dense.graph_rows + dense.other_rows;
            if is_due(dense.other_rows, GRAPH_FROM, all) {
                let what = format!(
                    "{} of {all} {vectors} are in no graph: every query reads them all",
                    dense.other_rows
                );
                let cure = self.optimize_command();
                findings.push(Finding::new(
                    FindingCode::GraphMissing,
                    Severity::Notice,
                    what,
                    cure,
                ));
            }
        }
        if let Some(tokens) = counts.tokens {
            let all = tokens.indexed_tokens + tokens.whole_tokens;
            if is_due(tokens.whole_tokens, TOKENS_FROM, all) {
                let what = format!(
                    "{} of {all} tokens are in no index: every query reads them all",
                    tokens.whole_tokens
                );
                let cure = self.optimize_command();
                findings.push(Finding::new(
                    FindingCode::TokenIndexMissing,
                    Severity::Notice,
                    what,
                    cure,
                ));
            }
        }
        Ok(())
    }

    fn recall_below(&self, options: &DoctorOptions, findings: &mut Vec<Finding>) -> Result<(), Error> {
        if options.queries == 0 || self.count(None)? == 0 {
            return Ok(());
        }
        const K: usize = 10;
        let targets = [options.recall];
        let mut reports = Vec::new();
        let tokens = self.pseudo_queries(options.queries, SEED)?;
        if !tokens.is_empty() {
            let report = self.measure_recall(&tokens, K, &targets, |_, _| ())?;
            reports.push(("the token index", "", report));
        }
        let vectors = self.pseudo_vectors(options.queries, SEED)?;
        if !vectors.is_empty() {
            let report = self.measure_dense_recall(&vectors, K, &targets, |_, _| ())?;
            reports.push(("the graph", " --dense", report));
        }
        for (index, flag, report) in reports {
            for row in report.targets.iter().filter(|row| row.recall.high < row.target) {
                let what = format!(
                    "{index} gives recall@{K} {} where {} is asked, on {} queries made of documents",
                    row.recall, row.target, report.queries
                );
                let cure = format!("latewood tune DB {}{flag}", self.name());
                findings.push(Finding::new(
                    FindingCode::RecallBelowTarget,
                    Severity::Warning,
                    what,
                    cure,
                ));
            }
        }
        Ok(())
    }

    fn bloat(&self, findings: &mut Vec<Finding>) -> Result<(), Error> {
        let stats = self.store.stats()?;
        let (deleted, all) = (stats.deleted, stats.deleted + stats.documents);
        let share = deleted as f64 / all.max(1) as f64;
        if deleted >= BLOAT.0 && share >= BLOAT.1 {
            let bytes: u64 = stats.bytes.values().sum();
            let what = format!(
                "{deleted} of {all} documents in the files are deleted or replaced: about {:.0} of {bytes} bytes",
                bytes as f64 * share
            );
            let cure = self.optimize_command();
            findings.push(Finding::new(FindingCode::Bloat, Severity::Notice, what, cure));
        }
        Ok(())
    }
}

fn is_due(without: u64, from: u64, all: u64) -> bool {
    without >= from && without as f64 >= WITHOUT_INDEX * all as f64
}
