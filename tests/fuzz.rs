//! Every decoder is fed what no writer wrote: it refuses or takes it, and does not panic.
//!
//! `LATEWOOD_FUZZ_SECONDS` is the time for each decoder, `LATEWOOD_FUZZ_SEED` begins elsewhere. The same decoders are
//! fuzzed by programs led by coverage: see `fuzz/README.md`.

use std::time::Duration;

use latewood_tests::fuzz::{Settings, TARGETS, drive, target};

/// Inputs that are tried however slow the machine is.
const LEAST: u64 = 200;
const SECONDS: u64 = 8;

fn setting(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn attack(name: &str) {
    let settings = Settings {
        seed: setting("LATEWOOD_FUZZ_SEED", 1),
        least: LEAST,
        time: Duration::from_secs(setting("LATEWOOD_FUZZ_SECONDS", SECONDS)),
    };
    let target = target(name).unwrap();
    let (done, right) = drive(&target, &settings).unwrap_or_else(|what| panic!("{what}"));
    println!("{name}: {done} inputs, {right} of them taken for right");
    assert!(right > 0, "{name} refuses what it should take");
}

macro_rules! decoders {
    ($($name:ident)*) => {
        $(#[test] fn $name() { attack(stringify!($name)); })*

        #[test]
        fn every_target_is_here_and_has_a_program_led_by_coverage() {
            let here = [$(stringify!($name)),*];
            assert_eq!(TARGETS.map(|target| target.name), here);
            let manifest = include_str!("../fuzz/Cargo.toml");
            for name in here {
                assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in fuzz/Cargo.toml");
            }
        }
    };
}

decoders! {
    manifest current log closed tombstones codebook meta ids documents columns dense graph tokens original ivf
    lexical sparse sparse_index records postings readers_copy database npy documents_jsonl queries_jsonl filter judgments plaid model
}
