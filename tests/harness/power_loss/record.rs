//! Records every state of the disk during an operation.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use latewood::{Database, DatabaseOptions, Durability, Maintenance, StorageBackend};

use super::Round;
use crate::disk::{Call, Hook, HookedDisk, RecordingDisk};
use crate::ledger::{Collections, Ledger};
use crate::operation::{Operation, read_all};
use crate::random::Random;

/// Where the database is. Its parent is durable, it itself is not at first.
pub(super) const PATH: &str = "/data/db";
const COLLECTIONS: [&str; 2] = ["a", "b"];

/// Where it is backed up to.
pub(super) const BACKUP: &str = "/data/backup";

/// A backup that has begun.
#[derive(Clone, Debug)]
pub(super) struct Copied {
    pub(super) contents: Collections,
    /// Whether it was acknowledged.
    pub(super) done: bool,
}

/// The disk at a moment, and what it had promised by then.
#[derive(Debug)]
pub(super) struct Moment {
    pub(super) disk: RecordingDisk,
    pub(super) ledger: Ledger,
    pub(super) copied: Option<Copied>,
    pub(super) after: String,
}

/// Takes a moment after each change, while it is told to.
#[derive(Debug)]
pub(super) struct Recorder {
    disk: RecordingDisk,
    pub(super) ledger: Mutex<Ledger>,
    copied: Mutex<Option<Copied>>,
    moments: Mutex<Option<Vec<Moment>>>,
}

impl Hook for Recorder {
    fn after(&self, call: Call, path: &Path) {
        if call.changes() {
            self.take(|| format!("{call:?} {}", path.display()));
        }
    }
}

impl Recorder {
    pub(super) fn new(disk: &RecordingDisk, ledger: Ledger) -> Arc<Self> {
        Arc::new(Self {
            disk: disk.clone(),
            ledger: Mutex::new(ledger),
            copied: Mutex::default(),
            moments: Mutex::default(),
        })
    }

    /// The disk that tells this recorder of its changes.
    pub(super) fn hooked(self: &Arc<Self>) -> Arc<dyn StorageBackend> {
        Arc::new(HookedDisk::new(
            Arc::new(self.disk.clone()),
            Arc::clone(self) as Arc<dyn Hook>,
        ))
    }

    fn take(&self, after: impl Fn() -> String) {
        if let Some(moments) = &mut *self.moments.lock().unwrap_or_else(PoisonError::into_inner) {
            moments.push(Moment {
                disk: self.disk.fork(),
                ledger: self.ledger.lock().unwrap_or_else(PoisonError::into_inner).clone(),
                copied: self.copied.lock().unwrap_or_else(PoisonError::into_inner).clone(),
                after: after(),
            });
        }
    }

    /// Records what happens in `f`, its beginning and its end included.
    pub(super) fn during<T>(&self, f: impl FnOnce() -> T) -> (T, Vec<Moment>) {
        *self.moments.lock().unwrap() = Some(Vec::new());
        self.take(|| "nothing".to_owned());
        let done = f();
        self.take(|| "the last call".to_owned());
        (done, self.moments.lock().unwrap().take().unwrap_or_default())
    }
}

/// How databases are opened on these disks.
pub(super) fn options(disk: Arc<dyn StorageBackend>, durability: Durability) -> DatabaseOptions {
    Database::options()
        .backend(disk)
        .durability(durability)
        .maintenance(Maintenance::Manual)
        .threads(1)
}

struct Workload {
    round: Round,
    random: Random,
    version: u64,
    recorder: Arc<Recorder>,
    database: Database,
}

/// Runs a round and returns its moments.
pub(super) fn record(round: Round) -> Result<Vec<Moment>, String> {
    let disk = RecordingDisk::with_dir(Path::new("/data"));
    let recorder = Recorder::new(&disk, Ledger::default());
    let open = || {
        let maintenance = match round.kind {
            "merge" => Maintenance::Background,
            _ => Maintenance::Manual,
        };
        let options = options(recorder.hooked(), round.durability).maintenance(maintenance);
        options.open(PATH).map_err(|error| error.to_string())
    };
    if round.kind == "open" {
        let (opened, moments) = recorder.during(open);
        return opened.map(|_| moments);
    }
    let mut workload = Workload {
        database: open()?,
        random: Random::new(round.seed),
        version: 0,
        round,
        recorder: Arc::clone(&recorder),
    };
    let operations = workload.random.below(14);
    for _ in 0..operations {
        workload.any()?;
    }
    match round.kind {
        "merge" => workload.merge(),
        "close" => {
            let Workload { database, .. } = workload;
            let (closed, moments) = recorder.during(|| database.close());
            closed.map(|()| moments).map_err(|error| error.to_string())
        }
        "backup" => workload.backup(),
        "reopen" => workload.reopen(),
        kind => {
            let (collection, operation) = workload.of_kind(kind)?;
            let (done, moments) = recorder.during(|| workload.run(collection, &operation));
            done.map(|()| moments)
        }
    }
}

impl Workload {
    fn run(&mut self, collection: &str, operation: &Operation) -> Result<(), String> {
        self.version += 1;
        let durable = self.round.durability == Durability::Sync;
        let (database, ledger) = (&self.database, &self.recorder.ledger);
        operation
            .run_and_note(database, collection, self.version, ledger, durable)
            .map_err(|error| format!("{operation:?}: {error}"))
    }

    fn exists(&self, collection: &str) -> bool {
        self.recorder.ledger.lock().unwrap().current(collection).is_some()
    }

    /// An operation of any kind.
    fn any(&mut self) -> Result<(), String> {
        let collection = COLLECTIONS[self.random.index(2)];
        let exists = self.exists(collection);
        let operation = Operation::choose(&mut self.random, exists);
        self.run(collection, &operation)
    }

    /// An operation of a kind, and a collection for which it can be.
    fn of_kind(&mut self, kind: &str) -> Result<(&'static str, Operation), String> {
        let collection = COLLECTIONS[self.random.index(2)];
        let needed = kind != "create";
        if self.exists(collection) != needed {
            self.run(
                collection,
                if needed {
                    &Operation::Create
                } else {
                    &Operation::Drop
                },
            )?;
        }
        Ok((collection, Operation::of_kind(kind, &mut self.random)))
    }

    /// Copies the database.
    fn backup(&mut self) -> Result<Vec<Moment>, String> {
        let recorder = Arc::clone(&self.recorder);
        let contents = recorder.ledger.lock().unwrap().acknowledged();
        let note = |done: bool| {
            *recorder.copied.lock().unwrap() = Some(Copied {
                contents: contents.clone(),
                done,
            });
        };
        let (done, moments) = recorder.during(|| {
            note(false);
            let done = self.database.backup(BACKUP, false);
            note(true);
            done
        });
        done.map(|_| moments).map_err(|error| error.to_string())
    }

    /// Loads so many segments that the background merges some.
    fn merge(&mut self) -> Result<Vec<Moment>, String> {
        const SEGMENTS: u64 = 8;
        if !self.exists("a") {
            self.run("a", &Operation::Create)?;
        }
        let recorder = Arc::clone(&self.recorder);
        let (done, moments) = recorder.during(|| {
            for _ in 0..=SEGMENTS {
                let operation = Operation::of_kind("ingest", &mut self.random);
                self.run("a", &operation)?;
            }
            let patience = Instant::now();
            let collection = self.database.collection("a").map_err(|error| error.to_string())?;
            while collection.stats().map_err(|error| error.to_string())?.segments > SEGMENTS {
                if patience.elapsed() > Duration::from_secs(20) {
                    return Err("the background merged nothing".to_owned());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        });
        done.map(|()| moments)
    }

    /// The process is killed during an operation, and the next one recovers what it left; what that reads is promised.
    fn reopen(mut self) -> Result<Vec<Moment>, String> {
        let recorder = Arc::clone(&self.recorder);
        const KINDS: [&str; 8] = [
            "flush", "flush", "flush", "ingest", "optimize", "create", "drop", "batch",
        ];
        const KILLED: usize = 8;
        let kind = KINDS[self.random.index(KINDS.len())];
        let (collection, operation) = self.of_kind(kind)?;
        let (done, moments) = recorder.during(|| self.run(collection, &operation));
        done?;
        // Where everything was synced, the next process finds nothing to finish.
        let moments: Vec<Moment> = moments
            .into_iter()
            .filter(|moment| moment.disk.unsynced_names() > 0)
            .collect();
        let mut recorded = Vec::new();
        for _ in 0..moments.len().min(KILLED) {
            let killed = &moments[self.random.index(moments.len())];
            let next = Recorder::new(&killed.disk.fork(), killed.ledger.clone());
            let (done, during) = next.during(|| recover(&next, self.round.durability));
            done.map_err(|what| format!("killed after {}: {what}", killed.after))?;
            recorded.extend(during);
        }
        Ok(recorded)
    }
}

/// Opens what a killed process left, and writes to it.
pub(super) fn recover(recorder: &Arc<Recorder>, durability: Durability) -> Result<(), String> {
    let database = options(recorder.hooked(), durability)
        .open(PATH)
        .map_err(|error| error.to_string())?;
    let found = read_all(&database)?;
    let mut ledger = recorder.ledger.lock().unwrap();
    ledger.end();
    ledger.check(&found)?;
    *ledger = Ledger::of(found.clone());
    drop(ledger);
    for name in found.keys() {
        let durable = durability == Durability::Sync;
        Operation::Upsert(3)
            .run_and_note(&database, name, 1_000_000, &recorder.ledger, durable)
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}
