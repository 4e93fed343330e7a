//! `latewood doctor`

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::args::Global;
use super::output::{Failure, print, print_json};
use crate::doctor::{DoctorOptions, Finding, Severity};

#[derive(Debug, Args)]
#[command(after_help = "Exit code: 0 nothing found, 3 findings, 1 an error, 2 a wrong usage.")]
pub(super) struct DoctorArgs {
    /// The database directory
    db: PathBuf,
    /// The collection; default: all
    collection: Option<String>,
    /// Texts to encode again
    #[arg(long, value_name = "N", default_value_t = DoctorOptions::default().texts)]
    texts: usize,
    /// Queries to measure the recall with; 0: do not
    #[arg(long, value_name = "N", default_value_t = DoctorOptions::default().queries)]
    queries: usize,
    /// The recall@10 that is asked for
    #[arg(long, value_name = "RECALL", default_value_t = DoctorOptions::default().recall)]
    recall: f64,
}

pub(super) fn run(global: &Global, args: &DoctorArgs) -> Result<(), Failure> {
    let db = super::options(global, None).read_only(true).open(&args.db)?;
    let options = DoctorOptions {
        texts: args.texts,
        queries: args.queries,
        recall: args.recall,
    };
    let mut all = Vec::new();
    for collection in super::chosen(&db, args.collection.as_deref())? {
        all.push((collection.name().to_owned(), collection.doctor(&options)?));
    }
    if global.json {
        let rows = all
            .iter()
            .map(|(name, findings)| json!({"collection": name, "findings": findings}));
        print_json(&rows.collect::<Vec<_>>())?;
    } else {
        print(
            all.iter()
                .map(|(name, findings)| as_text(name, findings))
                .collect::<String>(),
        )?;
    }
    if all.iter().any(|(_, findings)| !findings.is_empty()) {
        return Err(Failure::Findings);
    }
    Ok(())
}

// Writing to a string does not fail, so the results of `writeln!` are not looked at.
fn as_text(name: &str, findings: &[Finding]) -> String {
    if findings.is_empty() {
        return format!("{name}: nothing found\n");
    }
    let noun = if findings.len() == 1 {
        "finding"
    } else {
        "findings"
    };
    let mut text = format!("{name}: {} {noun}\n", findings.len());
    for finding in findings {
        let severity = match finding.severity {
            Severity::Notice => "notice",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let _ = writeln!(text, "  {severity}: {}\n    cure: {}", finding.what, finding.cure);
    }
    text
}
