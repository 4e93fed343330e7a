//! Builds what a disk may hold after a power loss at any moment of any operation, and opens it.
//!
//! A round does a few operations that a seed chooses, records every state of the disk during one more, and for each state
//! loses what was not synced in many ways. What is left must open, hold what was acknowledged as durable, and no half of
//! anything.

mod catalog;
mod examine;
mod record;

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;

use latewood::Durability;

use crate::disk::Loss;
use crate::random::Random;
use record::Moment;

/// What is recorded: an operation, or one of the other ways in which a database is changed.
pub const KINDS: [&str; 13] = [
    "open", "create", "upsert", "delete", "batch", "ingest", "flush", "optimize", "merge", "drop", "close",
    "reopen", "backup",
];
/// What is tried of the catalog, whose files pass the recorder by.
pub const CATALOG: &str = "catalog";

/// What was tried.
#[derive(Debug, Default)]
pub struct Report {
    /// Images that differ, by kind.
    pub images: BTreeMap<&'static str, u64>,
    /// Moments at which they were taken, by kind.
    pub moments: BTreeMap<&'static str, u64>,
    /// Rounds, by kind.
    pub rounds: BTreeMap<&'static str, u64>,
}

/// How a round goes.
#[derive(Clone, Copy, Debug)]
struct Round {
    kind: &'static str,
    seed: u64,
    durability: Durability,
}

/// Tries at least so many images of each of these kinds, on so many threads.
///
/// # Errors
/// What was found in the first image that is not as it must be, and how to have it again.
pub fn run(kinds: &[&'static str], images: u64, seed: u64, threads: usize) -> Result<Report, String> {
    let report = Mutex::new(Report::default());
    for kind in kinds {
        let next = Mutex::new(0_u64);
        let outcome = std::thread::scope(|scope| {
            let worker = || -> Result<(), String> {
                loop {
                    let number = {
                        let mut next = next.lock().unwrap();
                        if report.lock().unwrap().images.get(kind).copied().unwrap_or(0) >= images {
                            return Ok(());
                        }
                        *next += 1;
                        *next - 1
                    };
                    let (moments, distinct) = one(kind, seed, number)?;
                    let mut report = report.lock().unwrap();
                    *report.rounds.entry(kind).or_default() += 1;
                    *report.moments.entry(kind).or_default() += moments;
                    *report.images.entry(kind).or_default() += distinct;
                }
            };
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
            handles.into_iter().try_for_each(|handle| {
                handle
                    .join()
                    .unwrap_or_else(|_| Err("a panic, see above".to_owned()))
            })
        });
        outcome.map_err(|what| format!("{kind}, seed {seed}: {what}"))?;
    }
    Ok(report.into_inner().unwrap())
}

/// One round; the moments recorded and the images that differ.
fn one(kind: &'static str, seed: u64, number: u64) -> Result<(u64, u64), String> {
    let mut random = Random::new(seed ^ number.wrapping_mul(0x9E37_79B9));
    if kind == CATALOG {
        return catalog::one(random.bits()).map_err(|what| format!("round {number}: {what}"));
    }
    let durability = [
        Durability::Sync,
        Durability::Sync,
        Durability::Buffered,
        Durability::None,
    ][random.index(4)];
    let round = Round {
        kind,
        seed: random.bits(),
        durability,
    };
    let moments = record::record(round).map_err(|what| format!("round {number}, {durability:?}: {what}"))?;
    let mut seen = HashSet::new();
    for (at, moment) in moments.iter().enumerate() {
        // The same image is another once more was promised.
        let promised = format!("{:?} {:?}", moment.ledger, moment.copied);
        for loss in losses(moment, &mut random) {
            let (image, fingerprint) = moment.disk.after(loss);
            if seen.insert((fingerprint, promised.clone())) {
                examine::examine(&image, moment, &mut random).map_err(|what| {
                    format!(
                        "round {number}, {durability:?}, moment {at} of {} (after {}), lost {loss:?}: {what}",
                        moments.len(),
                        moment.after
                    )
                })?;
            }
        }
    }
    Ok((moments.len() as u64, seen.len() as u64))
}

/// The ways in which what was not synced at a moment is lost.
fn losses(moment: &Moment, random: &mut Random) -> Vec<Loss> {
    const NAMES: usize = 6;
    const RANDOM: usize = 4;
    let names = moment.disk.unsynced_names();
    let mut losses = vec![Loss::Everything, Loss::Nothing];
    let chosen: Vec<usize> = if names <= NAMES {
        (0..names).collect()
    } else {
        (0..NAMES).map(|_| random.index(names)).collect()
    };
    for name in chosen {
        losses.extend([Loss::AllButName(name), Loss::Name(name)]);
    }
    losses.extend((0..RANDOM).map(|_| Loss::Random(random.bits())));
    losses
}
