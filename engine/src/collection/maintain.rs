//! Flush, optimize, check.

use std::fmt;
use std::ops::ControlFlow;
use std::time::Instant;

use latewood_storage::{Finding, OptimizeOptions, OptimizeReport, Progress, Severity, Stage};
use serde::Serialize;

use super::Collection;
use crate::error::Error;

/// How far an optimize is: a step, and how much of it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OptimizeProgress {
    /// What is being made.
    pub step: &'static str,
    /// Units done: documents, tokens, passages or queries.
    pub done: u64,
    /// Units to do.
    pub total: u64,
}

impl From<Progress> for OptimizeProgress {
    fn from(progress: Progress) -> Self {
        Self {
            step: step_name(progress.stage),
            done: progress.done,
            total: progress.total,
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The collection.
    pub collection: String,
    /// Live documents.
    pub documents: u64,
    /// What is not as it should be; empty if all is well.
    pub findings: Vec<Finding>,
}

impl CheckReport {
    /// Whether something that was stored cannot be read. Derived files do not count: they can be rebuilt.
    pub fn is_damaged(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.severity >= Severity::Damage)
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.findings.is_empty() {
            return write!(
                f,
                "{}: {} documents, nothing is damaged",
                self.collection, self.documents
            );
        }
        write!(
            f,
            "{}: {} documents, {} findings",
            self.collection,
            self.documents,
            self.findings.len()
        )?;
        for finding in &self.findings {
            let severity = match finding.severity {
                Severity::Unfinished => "unfinished",
                Severity::Derived => "to rebuild",
                _ => "damage",
            };
            write!(f, "\n  {severity}: {}", finding.message)?;
        }
        Ok(())
    }
}

impl Collection {
    /// Writes what is in memory to segment files. Writes are durable without it.
    pub fn flush(&self) -> Result<(), Error> {
        Ok(self.store.flush()?)
    }

    /// Brings the collection into its best shape: trains the codebook, merges everything into one segment, builds the
    /// indexes, reclaims the space of deleted documents, [calibrates](Self::calibrate) the planner, and
    /// [tunes](Self::tune) the token index and [the graph](Self::tune_dense). Readers and writers go on meanwhile.
    ///
    /// `progress` may break it off; the collection stays as it was then, or, in the last step, as it was tuned before.
    pub fn optimize(
        &self,
        progress: impl Fn(&OptimizeProgress) -> ControlFlow<()>,
    ) -> Result<OptimizeReport, Error> {
        let report = |step: Progress| progress(&step.into());
        let begun = Instant::now();
        let done = self.store.optimize(&OptimizeOptions {
            progress: Some(&report),
            ..OptimizeOptions::default()
        })?;
        let optimize = begun.elapsed();
        self.calibrate()?;
        self.tune_after(optimize, &progress)?;
        self.tune_dense_after(optimize, &progress)?;
        Ok(done)
    }

    /// Reads everything and verifies every checksum and structure.
    pub fn check(&self) -> Result<CheckReport, Error> {
        Ok(CheckReport {
            collection: self.name().to_owned(),
            documents: self.count(None)?,
            findings: self.store.check(true)?,
        })
    }
}

fn step_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Documents => "documents",
        Stage::Dense => "dense vectors",
        Stage::Graph => "graph",
        Stage::Tokens => "tokens",
        Stage::Postings => "posting lists",
        Stage::Terms => "words",
        Stage::Sample => "sample for the codebook",
        Stage::Centroids => "codebook",
        _ => "segment",
    }
}
