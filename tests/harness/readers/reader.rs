//! A reader, in the writer's process or in its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use latewood::{Collection, Database};

use super::PATIENCE;
use super::history::History;
use super::look::look;
use crate::command::Arguments;
use crate::random::Random;

/// What a reader has done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Report {
    pub(super) looks: u64,
    /// Moments of the history that it saw.
    pub(super) moments: u64,
}

/// What a reader knows.
#[derive(Debug)]
pub(super) struct Reading {
    history: History,
    random: Random,
    said: PathBuf,
    /// So many looks are asked for, at a history of so many changes.
    wanted: (u64, u64),
    report: Report,
}

impl Report {
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            looks: self.looks + other.looks,
            moments: self.moments + other.moments,
        }
    }

    /// That of a process, once it has ended; it is ended when everyone is to stop.
    pub(super) fn of_process(mut child: Child, stop: &AtomicBool) -> Result<Self, String> {
        while child.try_wait().map_err(|error| error.to_string())?.is_none() {
            if stop.load(Ordering::Relaxed) {
                let _ = child.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut numbers = told.split_whitespace().map(str::parse);
        match (output.status.success(), numbers.next(), numbers.next()) {
            (true, Some(Ok(looks)), Some(Ok(moments))) => Ok(Self { looks, moments }),
            _ => Err(format!(
                "a reader process ended with {}: {told}{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            )),
        }
    }
}

impl Reading {
    pub(super) fn new(seed: u64, number: u64, said: &Path, wanted: (u64, u64)) -> Self {
        Self {
            history: History::new(seed),
            random: Random::new(seed.wrapping_add(number * 7919 + 1)),
            said: said.to_owned(),
            wanted,
            report: Report::default(),
        }
    }

    /// Looks so often, beside the writer in its process.
    pub(super) fn threads(mut self, database: &Database, stop: &AtomicBool) -> Result<Report, String> {
        let collection = database.collection("c").map_err(|error| error.to_string())?;
        while !self.is_done() && !stop.load(Ordering::Relaxed) {
            let acknowledged = self.acknowledged();
            self.look(&collection, acknowledged)?;
        }
        Ok(self.report)
    }

    fn is_done(&self) -> bool {
        self.report.looks >= self.wanted.0 && self.history.number >= self.wanted.1
    }

    /// One look, which shows what was acknowledged before, and nothing that never was.
    fn look(&mut self, collection: &Collection, acknowledged: u64) -> Result<(), String> {
        let before = self.history.number;
        // Who looks at less than that goes back in the history, and is told so.
        self.history.advance(acknowledged);
        look(collection, &mut self.history, &mut self.random).map_err(|what| {
            let look = self.report.looks;
            format!("look {look}, seen {before}, acknowledged {acknowledged}: {what}")
        })?;
        self.report.looks += 1;
        self.report.moments += u64::from(self.history.number > before);
        Ok(())
    }

    /// The last change that the writer was told is made.
    fn acknowledged(&self) -> u64 {
        let bytes = fs::read(&self.said).unwrap_or_default();
        bytes
            .first_chunk::<8>()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

/// Reads in this process: opens read-only, looks some times between one refresh and the next, and opens anew now and then.
pub fn read() -> Result<(), String> {
    const NAMES: [&str; 6] = ["directory", "said", "seed", "number", "looks", "changes"];
    let arguments = Arguments::from_list(std::env::args().skip(2), &NAMES);
    let path = |name: &str| PathBuf::from(arguments.text(name).unwrap_or_default());
    let of = |name: &str| arguments.number(name, 0);
    let wanted = (of("looks"), of("changes"));
    let mut reading = Reading::new(of("seed"), of("number"), &path("said"), wanted);
    let began = Instant::now();
    while reading.acknowledged() == 0 {
        if began.elapsed() > PATIENCE {
            return Err("the writer does not begin".to_owned());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    while !reading.is_done() {
        let open = Database::options()
            .read_only(true)
            .threads(1)
            .open(path("directory"));
        let database = open.map_err(|error| format!("it does not open: {error}"))?;
        let collection = database
            .collection("c")
            .map_err(|error| format!("it does not open: {error}"))?;
        for _ in 0..200 {
            // What was acknowledged before the refresh is seen after it.
            let acknowledged = reading.acknowledged();
            collection
                .refresh()
                .map_err(|error| format!("it does not refresh: {error}"))?;
            for _ in 0..1 + reading.random.below(12) {
                reading.look(&collection, acknowledged)?;
            }
            if reading.is_done() {
                break;
            }
        }
    }
    println!("{} {}", reading.report.looks, reading.report.moments);
    Ok(())
}
