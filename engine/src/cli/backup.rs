//! `latewood backup`

use super::args::{BackupArgs, Global};
use super::output::{Failure, print, print_json};

pub(super) fn run(global: &Global, args: &BackupArgs) -> Result<(), Failure> {
    let db = super::options(global, None).read_only(true).open(&args.db)?;
    let report = db.backup(&args.to, args.link)?;
    if global.json {
        return print_json(&report);
    }
    let lines = report
        .collections
        .iter()
        .map(|(name, documents)| format!("{name}: {documents} documents\n"));
    print(lines.collect::<String>())
}
