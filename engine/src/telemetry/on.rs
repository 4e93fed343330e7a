//! What there is with the feature.

use std::sync::Arc;
use std::time::Duration;

use latewood_query::StageProfile;
use metrics::{SharedString, Unit, counter, describe_counter, describe_histogram, histogram};
use tracing::field::Empty;
use tracing::span::EnteredSpan;
use tracing::{debug_span, info_span};

use super::Work;
use crate::error::Error;
use crate::search::Analysis;

/// A span around some work, entered until it is dropped.
#[must_use = "it ends when it is dropped"]
pub(crate) struct Around(#[expect(dead_code, reason = "its drop is what counts")] EnteredSpan);

impl Around {
    pub(crate) fn begin(work: Work, collection: &str) -> Self {
        let span = match work {
            Work::ExplainHit => debug_span!(target: "latewood::query", "explain hit", collection),
            Work::Tune => info_span!(target: "latewood::tune", "tune", collection),
            Work::TuneDense => info_span!(target: "latewood::tune", "tune dense", collection),
        };
        Self(span.entered())
    }
}

/// A query that was asked: its span is entered until it ends.
pub(crate) struct Asked {
    collection: SharedString,
    span: EnteredSpan,
}

impl Asked {
    pub(crate) fn begin(collection: &str) -> Self {
        let span = debug_span!(
            target: "latewood::query",
            "query",
            collection,
            plan = Empty,
            hits = Empty,
            bytes = Empty,
            flops = Empty,
            work = Empty,
            microseconds = Empty,
            cuts = Empty,
            error = Empty,
        );
        Self {
            collection: shared(collection),
            span: span.entered(),
        }
    }

    /// Counts what it did, or that it failed.
    pub(crate) fn end(self, answer: &Result<Analysis, Error>) {
        match answer {
            Ok(analysis) => {
                self.record(analysis);
                self.count(analysis);
            }
            Err(error) => {
                let kind = kind(error);
                self.span.record("error", kind);
                counter!("latewood_query_errors_total", "collection" => self.collection, "kind" => kind)
                    .increment(1);
            }
        }
    }

    fn record(&self, analysis: &Analysis) {
        let sum = |of: fn(&StageProfile) -> u64| analysis.profile.stages.iter().map(of).sum::<u64>();
        self.span.record("plan", analysis.plan.name.name().as_str());
        self.span.record("hits", analysis.hits.len());
        self.span.record("bytes", sum(|stage| stage.bytes));
        self.span.record("flops", sum(|stage| stage.flops));
        self.span.record("work", sum(|stage| stage.work));
        self.span
            .record("microseconds", analysis.profile.total_microseconds);
        self.span.record("cuts", analysis.cut.len());
    }

    fn count(self, analysis: &Analysis) {
        let (collection, plan) = (self.collection, shared(&analysis.plan.name.name()));
        let labels = [("collection", collection.clone()), ("plan", plan)];
        counter!("latewood_queries_total", &labels).increment(1);
        histogram!("latewood_query_seconds", &labels).record(seconds(analysis.profile.total_microseconds));
        if !analysis.cut.is_empty() {
            counter!("latewood_budget_cuts_total", "collection" => collection.clone()).increment(1);
        }
        for stage in &analysis.profile.stages {
            let labels = [("collection", collection.clone()), ("stage", shared(&stage.name))];
            histogram!("latewood_stage_seconds", &labels).record(seconds(stage.microseconds));
            counter!("latewood_candidates_total", &labels).increment(stage.candidates_out);
            counter!("latewood_bytes_read_total", &labels).increment(stage.bytes);
        }
    }
}

/// Counts background work that failed and is tried again.
pub(crate) fn background_failed(collection: &str) {
    counter!("latewood_background_failures_total", "collection" => shared(collection)).increment(1);
}

/// Which part an error came from: its message may quote what was asked, and is no label.
fn kind(error: &Error) -> &'static str {
    match error {
        Error::Query(_) => "query",
        Error::Storage(_) => "storage",
        Error::Model(_) | Error::ModelUnavailable { .. } | Error::NoModel { .. } => "model",
        _ => "other",
    }
}

fn seconds(microseconds: f64) -> Duration {
    Duration::try_from_secs_f64(microseconds / 1e6).unwrap_or_default()
}

fn shared(text: &str) -> SharedString {
    SharedString::from_shared(Arc::from(text))
}

/// Tells the recorder what each counter, histogram and gauge of Latewood means, and its unit. Call it once, when the recorder is
/// installed.
pub fn describe() {
    latewood_storage::telemetry::describe();
    let counters = [
        (
            "latewood_queries_total",
            Unit::Count,
            "queries that were answered, by plan",
        ),
        (
            "latewood_query_errors_total",
            Unit::Count,
            "queries that ended in an error, by the part that it came from",
        ),
        (
            "latewood_budget_cuts_total",
            Unit::Count,
            "queries for whose budget something was given up",
        ),
        (
            "latewood_candidates_total",
            Unit::Count,
            "candidates that stages left, by stage",
        ),
        (
            "latewood_bytes_read_total",
            Unit::Bytes,
            "stored bytes that stages read, by stage",
        ),
    ];
    for (name, unit, text) in counters {
        describe_counter!(name, unit, text);
    }
    describe_histogram!(
        "latewood_query_seconds",
        Unit::Seconds,
        "from the request to the hits, by plan"
    );
    describe_histogram!(
        "latewood_stage_seconds",
        Unit::Seconds,
        "what stages took, by stage"
    );
}
