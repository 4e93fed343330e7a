//! After a power loss at any moment of any operation everything that was durable is there, and nothing by half.

use latewood_tests::power_loss::{KINDS, run};

/// The command `power_loss` tries as many as one likes.
const IMAGES: u64 = 150;

#[test]
fn a_power_loss_at_any_moment_loses_nothing_durable_and_halves_nothing() {
    let report = run(&KINDS, IMAGES, 11, 2).unwrap_or_else(|what| panic!("{what}"));
    for kind in KINDS {
        assert!(report.images[kind] >= IMAGES, "{kind}: {report:?}");
    }
}
