//! Hostile database folders: no bytes make the process panic, or take memory without measure.
//!
//! `LATEWOOD_FUZZ_SECONDS` makes the attack go on for so long, `LATEWOOD_FUZZ_SEED` begins it elsewhere.

use std::time::{Duration, Instant};

use latewood_tests::hostile::{attack, attempt, create};

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The most memory that this process has ever held, in KiB, where the system says so.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

#[test]
fn no_hostile_folder_panics_or_takes_memory_without_measure() {
    let place = tempfile::tempdir().unwrap();
    let whole = place.path().join("whole");
    create(&whole);
    assert_eq!(
        attempt(&whole),
        (true, 20),
        "untouched, it is read, written and searched"
    );
    let before = peak_kib();
    let begun = Instant::now();
    let (attacks, time) = match setting("LATEWOOD_FUZZ_SECONDS") {
        Some(seconds) => (u64::MAX, Duration::from_secs(seconds)),
        None => (150, Duration::MAX),
    };
    let first = setting("LATEWOOD_FUZZ_SEED").unwrap_or(1);
    let mut failures = Vec::new();
    let mut done = 0;
    while done < attacks && begun.elapsed() < time {
        failures.extend(attack(&whole, first.wrapping_add(done)).err());
        done += 1;
    }
    println!(
        "{done} folders in {} s, peak {:?} KiB, {before:?} before",
        begun.elapsed().as_secs(),
        peak_kib()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    if let (Some(before), Some(after)) = (before, peak_kib()) {
        assert!(
            after < before + (512 << 10),
            "{after} KiB at most, {before} before the attack"
        );
    }
}
