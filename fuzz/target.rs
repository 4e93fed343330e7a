//! Feeds the decoder that this program is named after.
#![no_main]

use std::sync::OnceLock;

use latewood_tests::fuzz::{Target, target};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static TARGET: OnceLock<Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| target(env!("CARGO_BIN_NAME")).expect("a decoder of this name"));
    (target.run)(bytes);
});
