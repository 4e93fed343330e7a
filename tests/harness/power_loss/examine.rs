//! Opens an image and looks whether it is as it must be.

use std::sync::{Arc, Mutex};

use latewood::{Database, Durability};

use super::record::{BACKUP, Copied, Moment, PATH, Recorder, options, recover};
use crate::disk::{Loss, RecordingDisk};
use crate::ledger::Ledger;
use crate::operation::{Operation, read_all};
use crate::random::Random;

/// Opens an image and compares it with what may be found. Some are first read beside no writer, some written to
/// afterwards, and some lose their power once more while they are recovered.
pub(super) fn examine(image: &RecordingDisk, moment: &Moment, random: &mut Random) -> Result<(), String> {
    let ledger = &moment.ledger;
    if let Some(copied) = &moment.copied {
        restore(image, copied).map_err(|what| format!("the backup: {what}"))?;
    }
    if random.one_in(4) {
        read_only(image, ledger)?;
    }
    if random.one_in(32) {
        twice(image, ledger, random)?;
    }
    let database = open(image)?;
    let found = read_all(&database)?;
    ledger.check(&found)?;
    if random.one_in(12) {
        write(database, image, Ledger::of(found))?;
    }
    Ok(())
}

/// A backup is whole, or there is none yet.
fn restore(image: &RecordingDisk, copied: &Copied) -> Result<(), String> {
    let options = options(Arc::new(image.fork()), Durability::Sync).create(false);
    let found = match options.open(BACKUP) {
        Ok(database) => read_all(&database)?,
        Err(latewood::Error::Storage(latewood::StorageError::NoDatabase { .. })) if !copied.done => {
            return Ok(());
        }
        Err(error) => return Err(error.to_string()),
    };
    if found == copied.contents {
        Ok(())
    } else {
        Err(format!("found {found:?} instead of {:?}", copied.contents))
    }
}

fn open(image: &RecordingDisk) -> Result<Database, String> {
    options(Arc::new(image.clone()), Durability::Sync)
        .open(PATH)
        .map_err(|error| format!("it does not open: {error}"))
}

fn read_only(image: &RecordingDisk, ledger: &Ledger) -> Result<(), String> {
    let options = options(Arc::new(image.clone()), Durability::Sync).read_only(true);
    match options.open(PATH) {
        Ok(database) => ledger.check(&read_all(&database)?),
        // A reader creates nothing.
        Err(latewood::Error::Storage(latewood::StorageError::NoDatabase { .. })) => {
            ledger.check(&Default::default())
        }
        Err(error) => Err(format!("it cannot be read: {error}")),
    }
}

/// Every operation, then a check and another open.
fn write(database: Database, image: &RecordingDisk, ledger: Ledger) -> Result<(), String> {
    let ledger = Mutex::new(ledger);
    let mut names: Vec<String> = ledger.lock().unwrap().acknowledged().into_keys().collect();
    let run = |name: &str, operation: &Operation| {
        operation
            .run_and_note(&database, name, 2_000_000, &ledger, true)
            .map_err(|error| format!("{operation:?} on {name} afterwards: {error}"))
    };
    run("new", &Operation::Create)?;
    names.push("new".to_owned());
    for name in &names {
        run(name, &Operation::Upsert(1))?;
        run(name, &Operation::Ingest(vec![1, 2, 5]))?;
        run(name, &Operation::Delete(2))?;
        run(name, &Operation::Optimize)?;
        let collection = database.collection(name).map_err(|error| error.to_string())?;
        collection.flush().map_err(|error| error.to_string())?;
        let report = collection.check().map_err(|error| error.to_string())?;
        if !report.findings.is_empty() {
            return Err(format!("afterwards: {report}"));
        }
    }
    ledger.lock().unwrap().check(&read_all(&database)?)?;
    database.close().map_err(|error| error.to_string())?;
    let ledger = ledger.into_inner().unwrap();
    ledger.check(&read_all(&open(image)?)?)
}

/// The power fails again while the image is recovered.
fn twice(image: &RecordingDisk, ledger: &Ledger, random: &mut Random) -> Result<(), String> {
    let recorder = Recorder::new(&image.fork(), ledger.clone());
    let (recovered, moments) = recorder.during(|| recover(&recorder, Durability::Sync));
    recovered?;
    for moment in &moments {
        for loss in [Loss::Everything, Loss::Nothing, Loss::Random(random.bits())] {
            let (again, _) = moment.disk.after(loss);
            let what = || format!("after a second power loss ({loss:?}, after {})", moment.after);
            let found = open(&again).and_then(|database| read_all(&database));
            let found = found.map_err(|error| format!("{}: {error}", what()))?;
            moment
                .ledger
                .check(&found)
                .map_err(|error| format!("{}: {error}", what()))?;
        }
    }
    Ok(())
}
