//! Whether a reader ever waits for the writer: at each of the writer's calls to the disk, the writer waits for a reader who
//! reads in every way. If the reader waited for the writer, neither would go on.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use latewood::{Collection, Database, Error, Filter, Maintenance, MemoryBackend};

use super::history::{CLOCK, document, ids, schema};
use crate::disk::{Call, Hook, HookedDisk};

const READER: &str = "reader";
/// After so long a reader waits forever.
const FOREVER: Duration = Duration::from_secs(30);

/// The writer's side: asks the reader, and waits for the answer.
#[derive(Debug)]
struct Asking {
    turn: Mutex<(Sender<()>, Receiver<()>)>,
    calls: Mutex<Vec<Call>>,
    stuck: Mutex<Option<String>>,
}

impl Hook for Asking {
    fn before(&self, call: Call, path: &Path, len: usize) -> io::Result<usize> {
        if std::thread::current().name() == Some(READER) {
            return Ok(len);
        }
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        if stuck.is_none() && turn.0.send(()).is_ok() {
            match turn.1.recv_timeout(FOREVER) {
                Ok(()) => self
                    .calls
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(call),
                Err(RecvTimeoutError::Disconnected) => {}
                Err(RecvTimeoutError::Timeout) => {
                    *stuck = Some(format!(
                        "a reader waits for the writer's {call:?} of {}",
                        path.display()
                    ));
                }
            }
        }
        Ok(len)
    }
}

/// Does everything that a writer can do, with readers between; how often there was a reader, by call.
///
/// # Errors
/// Where a reader waited, or what failed.
pub fn without_waiting(maintenance: Maintenance) -> Result<Vec<Call>, String> {
    let ((ask, asked), (answer, answered)) = (channel(), channel());
    let asking = Arc::new(Asking {
        turn: Mutex::new((ask, answered)),
        calls: Mutex::default(),
        stuck: Mutex::default(),
    });
    let quiet = MemoryBackend::default();
    let hooked = HookedDisk::new(Arc::new(quiet), Arc::clone(&asking) as Arc<dyn Hook>);
    let options = Database::options().maintenance(maintenance).threads(1);
    let told = |error: Error| error.to_string();
    let reader_of = move |database: Database| {
        std::thread::Builder::new()
            .name(READER.to_owned())
            .spawn(move || {
                let collection = database.collection("c")?;
                while asked.recv().is_ok() {
                    read_all_ways(&database, &collection)?;
                    if answer.send(()).is_err() {
                        break;
                    }
                }
                Ok::<(), Error>(())
            })
    };
    let database = {
        // Opening asks no one.
        let name = std::thread::Builder::new().name(READER.to_owned());
        let opened = name.spawn(move || {
            let database = options.backend(Arc::new(hooked)).open("/db")?;
            let collection = database.create_collection("c", schema())?;
            collection.upsert(document(CLOCK, 1))?;
            collection.query().dense(vec![0.0; 4]).run()?;
            Ok::<Database, Error>(database)
        });
        opened
            .map_err(|error| error.to_string())?
            .join()
            .expect("it opens")
            .map_err(told)?
    };
    let reader = reader_of(database.clone()).map_err(|error| error.to_string())?;
    let written = write_all_ways(&database);
    let calls = std::mem::take(&mut *asking.calls.lock().unwrap_or_else(PoisonError::into_inner));
    let stuck = asking.stuck.lock().unwrap_or_else(PoisonError::into_inner).take();
    // The reader ends when no one can ask any more.
    *asking.turn.lock().unwrap_or_else(PoisonError::into_inner) = (channel().0, channel().1);
    let read = reader.join().expect("the reader does not panic");
    match stuck {
        Some(stuck) => Err(stuck),
        None => written.and(read).map(|()| calls).map_err(told),
    }
}

fn read_all_ways(database: &Database, collection: &Collection) -> Result<(), Error> {
    database.collections()?;
    let again = database.collection("c")?;
    again.get(CLOCK)?;
    collection.contains(3)?;
    collection.count(&Filter::eq("group", 1))?;
    collection
        .documents()?
        .take(3)
        .try_for_each(|read| read.map(drop))?;
    collection.scroll().limit(3).run()?;
    let token = vec![vec![1.0; 8]];
    collection.query().dense(vec![1.0; 4]).limit(3).run()?;
    collection
        .query()
        .tokens(token.clone())
        .filter("group = 2")
        .run()?;
    collection
        .query()
        .dense(vec![1.0; 4])
        .tokens(token)
        .plan("dense+maxsim")
        .run()?;
    collection.stats()?;
    Ok(())
}

fn write_all_ways(database: &Database) -> Result<(), Error> {
    let collection = database.collection("c")?;
    let everything = |_: &latewood::OptimizeProgress| ControlFlow::Continue(());
    for change in 2..4 {
        collection.upsert(document(1, change))?;
        collection.upsert_many((1..4).flat_map(ids).map(|id| document(id, change)))?;
        collection.delete(2)?;
        collection.flush()?;
        collection
            .ingest(ids(5).map(|id| document(id, change)).collect::<Vec<_>>())
            .run()?;
        collection.upsert(document(3, change))?;
        collection.optimize(everything)?;
    }
    let other = database.create_collection("d", schema())?;
    other.upsert(document(1, 1))?;
    database.drop_collection("d")
}
