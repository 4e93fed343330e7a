//! `latewood optimize`

use std::ops::ControlFlow;

use super::args::{Global, TargetArgs};
use super::ingest::show_optimize;
use super::output::{Failure, print, print_json};
use super::progress;

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
            print(format!("{}: {report}\n", collection.name()))?;
        }
        reports.push(report);
    }
    if global.json {
        print_json(&reports)?;
    }
    Ok(db.close()?)
}
