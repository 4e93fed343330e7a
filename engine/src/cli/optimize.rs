//! `latewood optimize`

use std::ops::ControlFlow;

use super::args::{Global, TargetArgs};
use super::ingest::show_optimize;
use super::output::{Failure, bytes, count, print, print_json};
use super::progress;
use crate::OptimizeReport;

pub(super) fn run(global: &Global, args: &TargetArgs) -> Result<(), Failure> {
    let db = super::options(global, None).open(&args.db)?;
    let mut reports = Vec::new();
    for collection in super::chosen(&db, args.collection.as_deref())? {
        let bar = progress::bar(global, "optimize", Some(0));
        let report = collection.optimize(|p| {
            show_optimize(&bar, p);
            ControlFlow::Continue(())
        });
        bar.finish_and_clear();
        let report = report?;
        if !global.json {
            print(as_text(collection.name(), &report))?;
        }
        reports.push(report);
    }
    if global.json {
        print_json(&reports)?;
    }
    Ok(db.close()?)
}

fn as_text(name: &str, report: &OptimizeReport) -> String {
    let codebook = match report.trained_centroids {
        Some(centroids) => format!(", a codebook of {} centroids", count(centroids as u64)),
        None => String::new(),
    };
    format!(
        "{name}: {} segments -> {}, {} -> {}, {} deleted documents reclaimed{codebook}\n",
        report.segments_before,
        report.segments_after,
        bytes(report.bytes_before),
        bytes(report.bytes_after),
        count(report.reclaimed),
    )
}
