//! Readers in the writer's process and in others see one moment after another. The command `readers` looks as often as one
//! likes.

use std::path::Path;

use latewood::{Durability, Maintenance};
use latewood_tests::disk::Call;
use latewood_tests::readers::{Settings, run, without_waiting};

const LOOKS: u64 = 24_000;
const CHANGES: u64 = 300;

#[test]
fn readers_beside_a_writer_see_one_moment_after_another() {
    for (seed, durability, maintenance) in [
        (5, Durability::Sync, Maintenance::Background),
        (6, Durability::Buffered, Maintenance::Manual),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings {
            reader: Path::new(env!("CARGO_BIN_EXE_readers")).to_owned(),
            directory: directory.path().to_owned(),
            looks: LOOKS,
            changes: CHANGES,
            seed,
            threads: 2,
            processes: 1,
            durability,
            maintenance,
        };
        let outcome = run(&settings).unwrap_or_else(|what| panic!("{what}"));
        assert!(
            outcome.inside >= LOOKS / 3 * 2 && outcome.outside >= LOOKS / 3,
            "{outcome:?}"
        );
        assert!(outcome.moments > 100 && outcome.maintained > 0, "{outcome:?}");
    }
}

#[test]
fn no_reader_waits_for_the_writer() {
    for maintenance in [Maintenance::Manual, Maintenance::Background] {
        let calls = without_waiting(maintenance).unwrap_or_else(|what| panic!("{maintenance:?}: {what}"));
        for call in [
            Call::Write,
            Call::Sync,
            Call::SyncDir,
            Call::Create,
            Call::Rename,
            Call::Map,
            Call::RemoveFile,
            Call::RemoveDir,
        ] {
            assert!(calls.contains(&call), "{call:?} is not among {calls:?}");
        }
    }
}
