//! `latewood check`

use std::fmt::Write;

use super::args::{Global, TargetArgs};
use super::output::{Failure, print, print_json};

pub(super) fn run(global: &Global, args: &TargetArgs) -> Result<(), Failure> {
    let db = super::options(global, None).read_only(true).open(&args.db)?;
    let mut reports = Vec::new();
    for collection in super::chosen(&db, args.collection.as_deref())? {
        reports.push(collection.check()?);
    }
    let damaged = reports.iter().any(|report| report.is_damaged());
    if global.json {
        print_json(&reports)?;
    } else {
        let mut text = String::new();
        for report in &reports {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{report}");
        }
        print(text)?;
    }
    if damaged {
        return Err(Failure::Said(
            "the database is damaged".to_owned(),
            "what is derived is rebuilt by `latewood optimize`; restore the other files from a backup",
        ));
    }
    Ok(())
}
