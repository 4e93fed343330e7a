//! `latewood check`

use std::fmt::Write;

use super::args::{CheckArgs, Global};
use super::output::{Failure, print, print_json};

pub(super) fn run(global: &Global, args: &CheckArgs) -> Result<(), Failure> {
    let db = super::options(global, None)
        .read_only(true)
        .open(&args.target.db)?;
    let names = match &args.target.collection {
        Some(name) => vec![name.clone()],
        None => db.collections()?,
    };
    let mut reports = Vec::new();
    for name in names {
        reports.push(db.check(&name, args.full)?);
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
            "restore the files from a backup, or run `latewood repair`, which keeps every whole document",
        ));
    }
    Ok(())
}
