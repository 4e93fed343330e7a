//! The writer.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;

use latewood::{Collection, Database};

use super::history::{CLOCK, Change, History, document, ids, schema};
use crate::random::Random;

/// Makes one change after another, and flushes, merges and optimizes between them.
#[derive(Debug)]
pub(super) struct Writer {
    collection: Collection,
    history: History,
    random: Random,
    acknowledged: File,
    maintained: u64,
}

impl Writer {
    /// One that has made the first change.
    pub(super) fn new(database: &Database, seed: u64, directory: &Path) -> Result<Self, String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let collection = database
            .create_collection("c", schema())
            .map_err(|error| told(&error))?;
        let path = directory.join("acknowledged");
        let mut writer = Self {
            collection,
            history: History::new(seed),
            random: Random::new(seed ^ 0x57AB),
            acknowledged: File::create(path).map_err(|error| told(&error))?,
            maintained: 0,
        };
        writer.step()?;
        Ok(writer)
    }

    pub(super) fn changes(&self) -> u64 {
        self.history.number
    }

    pub(super) fn maintained(&self) -> u64 {
        self.maintained
    }

    /// The next change, which readers are told of when it is acknowledged; sometimes a flush or an optimize after it.
    pub(super) fn step(&mut self) -> Result<(), String> {
        let change = self.history.next();
        let number = self.history.number;
        self.make(change, number)
            .map_err(|error| format!("change {number}, {change:?}: {error}"))?;
        say(&self.acknowledged, number).map_err(|error| error.to_string())?;
        let done = match self.random.below(120) {
            0..=4 => self.collection.flush(),
            5 => self.collection.optimize(|_| ControlFlow::Continue(())).map(drop),
            _ => return Ok(()),
        };
        self.maintained += 1;
        done.map_err(|error| format!("after change {number}: {error}"))
    }

    fn make(&self, change: Change, number: u64) -> Result<(), latewood::Error> {
        let clock = || document(CLOCK, number);
        let batch = self.collection.batch();
        let batch = match change {
            Change::Write(group) => ids(group).fold(batch, |batch, id| batch.upsert(document(id, number))),
            Change::Remove(group) => ids(group).fold(batch, latewood::Batch::delete),
            Change::Load(group) => {
                let documents = ids(group).map(|id| document(id, number)).chain([clock()]);
                return self
                    .collection
                    .ingest(documents.collect::<Vec<_>>())
                    .optimize(false)
                    .run()
                    .map(drop);
            }
        };
        batch.upsert(clock()).commit()
    }
}

/// Eight bytes that other processes read.
#[cfg(unix)]
fn say(file: &File, number: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, &number.to_le_bytes(), 0)
}

#[cfg(windows)]
fn say(file: &File, number: u64) -> std::io::Result<()> {
    std::os::windows::fs::FileExt::seek_write(file, &number.to_le_bytes(), 0).map(drop)
}
