//! Mutates what a target takes, without looking at coverage: it needs no tool but the compiler.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::Target;
use crate::hostile::{Random, mutate};

/// How long.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Everything but the end follows from it.
    pub seed: u64,
    /// At least so many inputs.
    pub least: u64,
    /// And as many as fit.
    pub time: Duration,
}

/// Feeds a target; how many inputs, and how many it took for right.
///
/// # Errors
/// The input that made it panic, as a file, and the seed that makes it again.
pub fn drive(target: &Target, settings: &Settings) -> Result<(u64, u64), String> {
    let corpus = (target.corpus)();
    assert!(!corpus.is_empty(), "{} has nothing to begin with", target.name);
    let begun = Instant::now();
    let (mut done, mut right) = (0, 0);
    while done < settings.least || begun.elapsed() < settings.time {
        let seed = settings.seed.wrapping_add(done);
        let mut random = Random(seed);
        let mut input = corpus[random.below(corpus.len())].clone();
        // What was not changed must be right: a target that refuses everything shows nothing.
        if done > 0 {
            mutate(&mut input, &mut random);
        }
        match catch_unwind(AssertUnwindSafe(|| (target.run)(&input))) {
            Ok(taken) => right += u64::from(taken),
            Err(_) => {
                let kept = std::env::temp_dir().join(format!("{}-{seed}", target.name));
                let told = std::fs::write(&kept, &input)
                    .map_or_else(|e| e.to_string(), |()| kept.display().to_string());
                return Err(format!(
                    "{} panicked at seed {seed}; the input is in {told}",
                    target.name
                ));
            }
        }
        done += 1;
    }
    Ok((done, right))
}
