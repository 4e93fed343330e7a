//! Writers are killed, at random moments and at chosen calls to the disk, and nothing that they acknowledged is lost. The
//! command `crash` does it as often as one likes.

use std::path::Path;

use latewood_tests::crash::{Settings, run};

const CYCLES: u64 = 240;

#[test]
fn a_killed_writer_loses_nothing_that_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings {
        writer: Path::new(env!("CARGO_BIN_EXE_crash")).to_owned(),
        directory: directory.path().to_owned(),
        cycles: CYCLES,
        seed: 7,
        jobs: 4,
    };
    let report = run(&settings).unwrap_or_else(|what| panic!("{what}"));
    assert_eq!(report.cycles, CYCLES);
    assert!(
        report.acknowledged > CYCLES,
        "the writers wrote something: {report:?}"
    );
    assert!(report.backups > 10, "they made backups: {report:?}");
    assert!(
        report.kills.len() > 10,
        "they were killed in many places: {report:?}"
    );
}
