//! `latewood recall`

use std::fmt::Write;
use std::path::Path;

use super::args::{Global, RecallArgs};
use super::measured_queries;
use super::output::{Failure, count, print, print_json};
use super::progress;
use crate::{RecallAtTarget, RecallReport, TUNED_TARGETS};

/// Queries that are made where none are given.
const QUERIES: usize = 200;
/// What their generator begins with: not what tuning begins with, so that other queries are measured than were tuned on.
const SEED: u64 = 0x7265_6361_6c6c;

pub(super) fn run(global: &Global, args: &RecallArgs) -> Result<(), Failure> {
    let collection = super::open_to_read(global, &args.target, &args.models, Some(1))?;
    let targets = if args.targets.is_empty() {
        TUNED_TARGETS.as_slice()
    } else {
        &args.targets
    };
    let bar = progress::bar(global, "recall", Some(0));
    let tell = |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    };
    let made = args.queries.limit.unwrap_or(QUERIES);
    let report = if args.dense || collection.schema().tokens.is_none() {
        let queries = match measured_queries::given_dense(&args.queries, &collection)? {
            Some(queries) => queries,
            None => collection.pseudo_vectors(made, SEED)?,
        };
        some(&queries)?;
        collection.measure_dense_recall(&queries, args.k, targets, tell)
    } else {
        let queries = match measured_queries::given(&args.queries, &collection)? {
            Some(queries) => queries,
            None => collection.pseudo_queries(made, SEED)?,
        };
        some(&queries)?;
        collection.measure_recall(&queries, args.k, targets, tell)
    };
    bar.finish_and_clear();
    let report = report?;
    if global.json {
        print_json(&report)
    } else {
        print(as_text(&report, args.queries.queries.as_deref()))
    }
}

fn some<T>(queries: &[T]) -> Result<(), Failure> {
    if queries.is_empty() {
        return Err(measured_queries::none());
    }
    Ok(())
}

fn as_text(report: &RecallReport, queries: Option<&Path>) -> String {
    let source = match queries {
        Some(path) => format!("of {}", path.display()),
        None => "made of its documents".to_owned(),
    };
    let mut text = format!(
        "{}: {} documents, {} tokens; recall@{} on {} queries {source}\n",
        report.collection,
        count(report.documents),
        count(report.tokens),
        report.k,
        count(report.queries as u64)
    );
    let has_original = report.targets.iter().any(|row| row.original.is_some());
    let original = if has_original {
        "  of the original tier "
    } else {
        ""
    };
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "{:>7}  {:<23}{original}  {:>8}  {:>8}  settings",
        "target", "recall (95% interval)", "p50 ms", "p95 ms"
    );
    for row in &report.targets {
        let _ = writeln!(text, "{}", line(row));
    }
    text
}

fn line(row: &RecallAtTarget) -> String {
    let original = row
        .original
        .map_or_else(String::new, |measured| format!("  {measured}"));
    let settings = match (row.settings, row.ef_search) {
        (Some(settings), _) => settings.to_string(),
        (None, Some(ef_search)) => format!("ef_search {ef_search}"),
        (None, None) => "scan of everything".to_owned(),
    };
    format!(
        "{:>7}  {}{original}  {:>8.3}  {:>8.3}  {settings}",
        row.target, row.recall, row.p50_milliseconds, row.p95_milliseconds
    )
}
