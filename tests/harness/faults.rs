//! Lets each call to the disk fail once, in every way, while every kind of operation is done.

use std::path::Path;
use std::sync::{Arc, Mutex};

use latewood::{Database, DatabaseOptions, Durability, Error, Maintenance, StorageBackend, StorageError};

use crate::disk::{Call, Failing, Failure, HookedDisk, Loss, RecordingDisk};
use crate::ledger::Ledger;
use crate::operation::{Operation, read_all};

const PATH: &str = "/data/db";

/// Every call, with every way in which it can fail.
pub fn all() -> Vec<(Call, Failure)> {
    let failures = |call: Call| {
        let short = (call == Call::Write).then_some(Failure::Short);
        let full = call.may_need_room().then_some(Failure::Full);
        [Some(Failure::Broken), short, full]
            .into_iter()
            .flatten()
            .map(move |failure| (call, failure))
    };
    Call::ALL.into_iter().flat_map(failures).collect()
}

/// The workload: each step is an operation on a collection, or a new start of the process.
fn workload() -> Vec<Option<(&'static str, Operation)>> {
    let batch = || Operation::Batch([(1, true), (2, true), (3, false), (4, true)].into());
    let on = |collection, operation| Some((collection, operation));
    vec![
        on("a", Operation::Create),
        on("a", Operation::Upsert(3)),
        on("a", batch()),
        on("a", Operation::Ingest(vec![5, 6, 7])),
        on("a", Operation::Upsert(5)),
        on("a", Operation::Flush),
        on("a", Operation::Delete(6)),
        None,
        on("a", Operation::Optimize),
        on("a", Operation::Upsert(8)),
        on("b", Operation::Create),
        on("b", batch()),
        on("a", Operation::Ingest(vec![1, 8])),
        on("a", Operation::Optimize),
        on("a", Operation::Drop),
        on("b", Operation::Flush),
        on("b", Operation::Upsert(1)),
    ]
}

struct Run {
    disk: RecordingDisk,
    failing: Arc<Failing>,
    ledger: Mutex<Ledger>,
    version: u64,
    call: Call,
    failure: Failure,
}

/// Runs the workload with the `n`-th call of a kind failing; whether it came to that.
///
/// # Errors
/// What is not as it must be.
pub fn try_fault(call: Call, failure: Failure, n: u64) -> Result<bool, String> {
    let disk = RecordingDisk::with_dir(Path::new("/data"));
    let failing = Arc::new(Failing::new(&disk));
    failing.arm(call, failure, n);
    let mut run = Run {
        failing,
        disk,
        ledger: Mutex::default(),
        version: 0,
        call,
        failure,
    };
    run.go()
        .map_err(|what| format!("{call:?} {n} {failure:?}: {what}"))
}

impl Run {
    fn go(&mut self) -> Result<bool, String> {
        let (database, refused) = self.work()?;
        let Some(database) = database else {
            // It did not open: once the disk is well, it does.
            let fired = self.failing.disarm();
            let found = read_all(&self.open().map_err(|error| format!("opening again: {error}"))?)?;
            self.ledger.lock().unwrap().check(&found)?;
            return Ok(fired);
        };
        self.visible(&database, "at the end")?;
        self.images()?;
        let fired = self.failing.disarm();
        if let Some(refused) = refused {
            self.goes_on(&database, &refused)?;
        }
        drop(database);
        self.again()?;
        Ok(fired)
    }

    /// Does the workload; the database unless it did not open, and the first error.
    fn work(&mut self) -> Result<(Option<Database>, Option<Error>), String> {
        let mut refused = None;
        let mut database = match self.open() {
            Ok(database) => database,
            Err(_) => return Ok((None, None)),
        };
        for step in workload() {
            let Some((collection, operation)) = step else {
                drop(database);
                // What was poisoned is well again.
                refused = None;
                database = match self.open() {
                    Ok(database) => database,
                    Err(_) => return Ok((None, None)),
                };
                continue;
            };
            self.version += 1;
            let exists = self.ledger.lock().unwrap().current(collection).is_some();
            if exists == (operation == Operation::Create) {
                continue;
            }
            let done = operation.run_and_note(&database, collection, self.version, &self.ledger, true);
            if let Err(error) = done {
                if matches!(error, Error::Storage(StorageError::Corruption { .. })) {
                    return Err(format!(
                        "{operation:?}: the disk is not damaged, and it says {error}"
                    ));
                }
                self.visible(&database, &format!("after {operation:?}, which said {error},"))?;
                self.poisoned(&database, collection, &operation, &error)?;
                refused.get_or_insert(error);
            }
        }
        Ok((Some(database), refused))
    }

    fn options(&self) -> DatabaseOptions {
        let disk: Arc<dyn StorageBackend> = Arc::new(HookedDisk::new(
            Arc::new(self.disk.clone()),
            Arc::clone(&self.failing) as Arc<dyn crate::disk::Hook>,
        ));
        Database::options()
            .backend(disk)
            .durability(Durability::Sync)
            .maintenance(Maintenance::Manual)
            .threads(1)
    }

    fn open(&self) -> Result<Database, Error> {
        let database = self.options().open(PATH)?;
        // Collections are opened when they are asked for.
        for name in database.collections()? {
            database.collection(&name)?;
        }
        Ok(database)
    }

    /// What is visible is what was acknowledged.
    fn visible(&self, database: &Database, when: &str) -> Result<(), String> {
        let acknowledged = self.ledger.lock().unwrap().acknowledged();
        // The call that fails may be the reader's own.
        match read_all(database).or_else(|_| read_all(database)) {
            Ok(found) if found == acknowledged => Ok(()),
            // A file that could not be mapped when it was opened is missing until it is opened again, and says so.
            Err(_) if self.call == Call::Map => Ok(()),
            Ok(found) => Err(format!(
                "{when} {found:?} is visible, and {acknowledged:?} was acknowledged"
            )),
            Err(error) => Err(format!("{when} reading fails: {error}")),
        }
    }

    /// If the power is lost now, what was acknowledged is there.
    fn images(&self) -> Result<(), String> {
        for loss in [
            Loss::Everything,
            Loss::Nothing,
            Loss::Random(1),
            Loss::Random(2),
            Loss::Random(3),
        ] {
            let (image, _) = self.disk.after(loss);
            let opened = options_of(&image).open(PATH).map_err(|error| error.to_string());
            let found = opened.and_then(|database| read_all(&database));
            let checked = found.and_then(|found| self.ledger.lock().unwrap().check(&found));
            checked.map_err(|what| format!("after a power loss ({loss:?}): {what}"))?;
        }
        Ok(())
    }

    /// After a failed sync the handle refuses to write, and says so.
    fn poisoned(
        &mut self,
        database: &Database,
        collection: &str,
        operation: &Operation,
        error: &Error,
    ) -> Result<(), String> {
        let Error::Storage(
            StorageError::Io {
                action: "sync", path, ..
            }
            | StorageError::Full { action: "sync", path },
        ) = error
        else {
            return Ok(());
        };
        // A draft that fails is thrown away.
        if path.to_string_lossy().contains(".creating") {
            return Ok(());
        }
        let (name, next) = match operation {
            Operation::Create => ("c", Operation::Create),
            _ => (collection, Operation::Upsert(11)),
        };
        self.version += 1;
        match next.run_and_note(database, name, self.version, &self.ledger, true) {
            Err(Error::Storage(StorageError::Poisoned { .. })) => Ok(()),
            other => Err(format!(
                "after {operation:?} said {error}, a write says {other:?}"
            )),
        }
    }

    /// The disk is well again: the handle goes on, unless a sync has failed; then it says so.
    fn goes_on(&mut self, database: &Database, refused: &Error) -> Result<(), String> {
        let uncertain = matches!(self.call, Call::Sync | Call::SyncDir | Call::Truncate)
            || refused.to_string().contains("could not sync")
            || refused.to_string().contains("left to sync");
        let names = self.ledger.lock().unwrap().acknowledged().into_keys();
        for name in names {
            for operation in [Operation::Upsert(9), Operation::Flush, Operation::Optimize] {
                self.version += 1;
                match operation.run_and_note(database, &name, self.version, &self.ledger, true) {
                    Ok(()) => {}
                    Err(error @ Error::Storage(StorageError::Poisoned { .. }))
                        if uncertain || self.failure != Failure::Full =>
                    {
                        if !error.to_string().contains("open it again") {
                            return Err(format!("{error}: does not say what to do"));
                        }
                    }
                    Err(_) if self.call == Call::Map => {}
                    Err(error) => {
                        return Err(format!("{operation:?} on {name} once the disk is well: {error}"));
                    }
                }
            }
        }
        self.images()
    }

    /// The next process finds everything and can do everything.
    fn again(&mut self) -> Result<(), String> {
        self.disk = self.disk.fork();
        self.failing = Arc::new(Failing::new(&self.disk));
        let database = self.open().map_err(|error| format!("opening again: {error}"))?;
        let found = read_all(&database)?;
        self.ledger.lock().unwrap().end();
        self.ledger.lock().unwrap().check(&found)?;
        self.ledger = Mutex::new(Ledger::of(found.clone()));
        for name in found.keys() {
            for operation in [Operation::Upsert(10), Operation::Optimize] {
                self.version += 1;
                operation
                    .run_and_note(&database, name, self.version, &self.ledger, true)
                    .map_err(|error| format!("{operation:?} by the next process: {error}"))?;
            }
            let report = database
                .collection(name)
                .and_then(|collection| collection.check());
            let report = report.map_err(|error| error.to_string())?;
            if !report.findings.is_empty() {
                return Err(format!("in the next process: {report}"));
            }
        }
        self.visible(&database, "in the next process")?;
        self.images()
    }
}

fn options_of(image: &RecordingDisk) -> DatabaseOptions {
    Database::options()
        .backend(Arc::new(image.clone()))
        .maintenance(Maintenance::Manual)
        .threads(1)
}
