//! `latewood repair`

use std::fmt::Write;

use latewood_storage::RepairReport;
use serde_json::{Value, json};

use super::args::{Global, RepairArgs};
use super::output::{Failure, print, print_json};
use crate::error::Error;

pub(super) fn run(global: &Global, args: &RepairArgs) -> Result<(), Failure> {
    let repaired = super::options(global, None).repair(&args.db, args.collection.as_deref())?;
    let failed = repaired.iter().any(|(_, report)| report.is_err());
    if global.json {
        let values: Vec<Value> = repaired
            .iter()
            .map(|(name, report)| as_json(name, report))
            .collect();
        print_json(&values)?;
    } else {
        let mut text = String::new();
        for (name, report) in &repaired {
            // Writing to a string does not fail.
            let _ = match report {
                Ok(report) => write_report(&mut text, report),
                Err(error) => writeln!(text, "{name}: {error}"),
            };
        }
        print(text)?;
    }
    if failed {
        return Err(Failure::Said(
            "a collection could not be repaired".to_owned(),
            "nothing of it was changed; restore it from a backup",
        ));
    }
    Ok(())
}

fn as_json(name: &str, report: &Result<RepairReport, Error>) -> Value {
    match report {
        Ok(report) => json!(report),
        Err(error) => json!({"collection": name, "error": error.to_string()}),
    }
}

fn write_report(text: &mut String, report: &RepairReport) -> std::fmt::Result {
    let RepairReport {
        collection,
        documents,
        lost,
        from_one_tier,
        ..
    } = report;
    let Some(kept_in) = &report.kept_in else {
        return writeln!(text, "{collection}: {documents} documents, nothing to repair");
    };
    writeln!(text, "{collection}: {documents} documents, {lost} lost")?;
    for finding in &report.findings {
        writeln!(text, "  found: {}", finding.message)?;
    }
    for rebuilt in &report.rebuilt {
        writeln!(text, "  rebuilt: {rebuilt}")?;
    }
    for uncertain in &report.uncertain {
        writeln!(text, "  uncertain: {uncertain}")?;
    }
    if *from_one_tier > 0 {
        writeln!(
            text,
            "  {from_one_tier} documents have their tokens from one of two tiers"
        )?;
    }
    if !report.lost_ids.is_empty() {
        let ids: Vec<String> = report.lost_ids.iter().map(ToString::to_string).collect();
        writeln!(text, "  lost: {}", ids.join(", "))?;
    }
    writeln!(
        text,
        "  the damaged files, and what is left of lost documents, are in {}",
        kept_in.display()
    )
}
