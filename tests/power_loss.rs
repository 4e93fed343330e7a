//! After a power loss at any moment of any operation everything that was durable is there, and nothing by half. The command
//! `power_loss` tries as many images as one likes.

use latewood_tests::power_loss::{CATALOG, KINDS, run};

/// Of each kind of operation.
const IMAGES: u64 = 1000;
/// Of recoveries after a kill, which few of them put to the test.
const REOPENED: u64 = 6000;
/// Of sled's files, where opening an image takes longer.
const CATALOG_IMAGES: u64 = 160;

#[test]
fn a_power_loss_at_any_moment_loses_nothing_durable_and_halves_nothing() {
    let report = run(&KINDS, IMAGES, 11, 2).unwrap_or_else(|what| panic!("{what}"));
    for kind in KINDS {
        assert!(report.images[kind] >= IMAGES, "{kind}: {report:?}");
    }
}

#[test]
fn a_power_loss_after_a_kill_finds_what_the_next_process_built_upon() {
    let report = run(&["reopen"], REOPENED, 12, 2).unwrap_or_else(|what| panic!("{what}"));
    assert!(report.images["reopen"] >= REOPENED, "{report:?}");
}

#[test]
fn whatever_becomes_of_the_catalog_is_never_an_error() {
    let report = run(&[CATALOG], CATALOG_IMAGES, 11, 2).unwrap_or_else(|what| panic!("{what}"));
    assert!(report.images[CATALOG] >= CATALOG_IMAGES, "{report:?}");
}
