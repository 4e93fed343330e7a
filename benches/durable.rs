//! What durability costs: single upserts beside a bare loop of append and fdatasync, upserts from several threads, batches
//! beside the disk's sequential writing, and opening after a kill.
//!
//! `durable [FOLDER]`; rounds of both loops alternate, so that a disk that slows down slows both.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use latewood::{Collection, Database, Document, Error, Maintenance, Metric, SchemaBuilder};

const DIM: usize = 128;
/// Writers, and the numbers of a vector, up to those of large models of sentences.
const WRITES: [(usize, usize); 7] = [
    (1, DIM),
    (2, DIM),
    (4, DIM),
    (1, 384),
    (1, 768),
    (2, 768),
    (1, 1536),
];
const ROUNDS: usize = 20;
const UPSERTS: usize = 50;
const THREADS: u64 = 8;
/// Batches in a round.
const BATCHES: usize = 10;
const BATCH_ROUNDS: usize = 10;
const BATCH: usize = 500;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let parent = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(parent)?;
    let path = folder.path().join("db");
    let database = Database::options().maintenance(Maintenance::Manual).open(&path)?;
    let schema = SchemaBuilder::new().dense(DIM, Metric::Cosine);
    let notes = database.create_collection("notes", schema.clone())?;
    single(folder.path(), &notes)?;
    threads(&notes)?;
    batches(
        folder.path(),
        &database.create_collection("batches", schema)?,
        (1, DIM),
    )?;
    // By itself, and as an application has it, where threads make segments and graphs meanwhile. A database for each, so that
    // none is measured beside what another left to do.
    for maintenance in [Maintenance::Manual, Maintenance::Background] {
        println!("{maintenance:?}");
        for (writers, dim) in WRITES {
            let schema = SchemaBuilder::new().dense(dim, Metric::Cosine);
            let other = tempfile::tempdir_in(folder.path())?;
            let options = Database::options().maintenance(maintenance);
            let database = options.open(other.path().join("db"))?;
            let collection = database.create_collection("batches", schema)?;
            batches(other.path(), &collection, (writers, dim))?;
            database.close()?;
        }
    }
    // Dropped and not closed, it is found as a kill would leave it, but for what was not handed over.
    let before = notes.count(None)? + database.collection("batches")?.count(None)?;
    drop((notes, database));
    recovery(&path, before)
}

fn document(id: u64) -> Document {
    document_of(id, DIM)
}

fn document_of(id: u64, dim: usize) -> Document {
    let vector: Vec<f32> = (0..dim)
        .map(|i| ((id as usize * 31 + i * 17) % 97) as f32 - 48.0)
        .collect();
    Document::new(id)
        .text(format!("The tree of number {id} has a ring for each year."))
        .dense(vector)
}

fn last_log(path: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(path.join("wal"))? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

/// Microseconds of the middle of these times.
fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// What everything is measured beside: appends to a file, each synced.
struct Bare {
    file: File,
    frame: Vec<u8>,
    /// Microseconds of each append.
    times: Vec<f64>,
}

impl Bare {
    fn create(path: &Path, size: usize) -> Outcome<Self> {
        Ok(Self {
            file: OpenOptions::new().append(true).create_new(true).open(path)?,
            frame: vec![7; size],
            times: Vec::new(),
        })
    }

    fn append(&mut self) -> Outcome<()> {
        let begun = Instant::now();
        self.file.write_all(&self.frame)?;
        self.file.sync_data()?;
        self.times.push(begun.elapsed().as_secs_f64() * 1e6);
        Ok(())
    }
}

fn single(folder: &Path, notes: &Collection) -> Outcome<()> {
    let logs = folder.join("db/collections/notes");
    let before = last_log(&logs)?;
    notes.upsert(document(0))?;
    let mut bare = Bare::create(&folder.join("bare"), usize::try_from(last_log(&logs)? - before)?)?;
    let mut upserts = Vec::new();
    for round in 0..ROUNDS {
        for _ in 0..UPSERTS {
            bare.append()?;
        }
        for i in 0..UPSERTS {
            let document = document((round * UPSERTS + i) as u64);
            let begun = Instant::now();
            notes.upsert(document)?;
            upserts.push(begun.elapsed().as_secs_f64() * 1e6);
        }
    }
    let (size, bare, upserts) = (bare.frame.len(), median(bare.times), median(upserts));
    println!(
        "append of {size} bytes + fdatasync {bare:.0} us, durable upsert {upserts:.0} us: {:.2} times",
        upserts / bare
    );
    Ok(())
}

fn threads(notes: &Collection) -> Outcome<()> {
    const EACH: u64 = 250;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let write = |thread: u64| (0..EACH).try_for_each(|i| notes.upsert(document(thread * EACH + i)));
        let handles: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || write(thread)))
            .collect();
        let joined = handles.into_iter().map(|handle| handle.join().expect("a writer"));
        joined.collect::<Result<(), Error>>()
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{THREADS} threads: {:.0} durable upserts a second",
        (THREADS * EACH) as f64 / seconds
    );
    Ok(())
}

/// Batches and as many appends of as many bytes, in turn by rounds, so that both see the same disk.
fn batches(folder: &Path, collection: &Collection, (writers, dim): (usize, usize)) -> Outcome<()> {
    let frame = frame_bytes(dim)?;
    let mut bare = Bare::create(&folder.join(format!("sequential-{}", collection.name())), frame)?;
    let mut written = Vec::new();
    let mut seconds = 0.0;
    for round in 0..BATCH_ROUNDS {
        for _ in 0..BATCHES {
            bare.append()?;
        }
        // What the caller does to make documents is not counted.
        let mut ready: Vec<Vec<Vec<Document>>> = vec![Vec::new(); writers];
        for number in round * BATCHES..(round + 1) * BATCHES {
            let batch = (0..BATCH).map(|i| document_of((number * BATCH + i) as u64, dim));
            ready[number % writers].push(batch.collect());
        }
        let begun = Instant::now();
        written.extend(write_all(collection, ready)?);
        seconds += begun.elapsed().as_secs_f64();
    }
    let count = BATCH_ROUNDS * BATCHES;
    let disk = (count * frame) as f64 / bare.times.iter().sum::<f64>();
    let ours = (count * frame) as f64 / seconds / 1e6;
    println!(
        "batches of {BATCH} of {dim} numbers, {writers} writers: {:.0} documents and {ours:.0} MB of log a second; the same bytes \
         appended and synced: {disk:.0} MB a second: {:.2} of that; by the medians of a batch {:.2}",
        (count * BATCH) as f64 / seconds,
        ours / disk,
        median(bare.times) / median(written) * writers as f64,
    );
    Ok(())
}

/// Microseconds of each batch, each list of them written by a thread of its own.
fn write_all(collection: &Collection, lists: Vec<Vec<Vec<Document>>>) -> Outcome<Vec<f64>> {
    let write = |batches: Vec<Vec<Document>>| {
        let upsert = |documents| {
            let begun = Instant::now();
            collection.upsert_many(documents)?;
            Ok(begun.elapsed().as_secs_f64() * 1e6)
        };
        batches
            .into_iter()
            .map(upsert)
            .collect::<Result<Vec<f64>, Error>>()
    };
    let times = std::thread::scope(|scope| {
        let spawned = lists.into_iter().map(|mine| scope.spawn(move || write(mine)));
        let handles: Vec<_> = spawned.collect();
        let joined = handles.into_iter().map(|handle| handle.join().expect("a writer"));
        joined.collect::<Result<Vec<Vec<f64>>, Error>>()
    })?;
    Ok(times.concat())
}

/// Bytes that a batch takes in the log.
fn frame_bytes(dim: usize) -> Outcome<usize> {
    let folder = tempfile::tempdir()?;
    let database = Database::open(folder.path().join("db"))?;
    let schema = SchemaBuilder::new().dense(dim, Metric::Cosine);
    let one = database.create_collection("one", schema)?;
    let logs = folder.path().join("db/collections/one");
    let before = last_log(&logs)?;
    one.upsert_many((0..BATCH as u64).map(|id| document_of(id, dim)))?;
    Ok(usize::try_from(last_log(&logs)? - before)?)
}

fn recovery(path: &Path, expected: u64) -> Outcome<()> {
    let open = || -> Outcome<(Database, f64)> {
        let begun = Instant::now();
        let database = Database::options().maintenance(Maintenance::Manual).open(path)?;
        let mut found = 0;
        for name in database.collections()? {
            found += database.collection(&name)?.count(None)?;
        }
        let seconds = begun.elapsed().as_secs_f64();
        assert_eq!(found, expected, "every document is there");
        Ok((database, seconds))
    };
    let (database, replayed) = open()?;
    for name in database.collections()? {
        database.collection(&name)?.flush()?;
    }
    database.close()?;
    let (_, clean) = open()?;
    println!(
        "open with {expected} documents: not closed before, so the last log is replayed, {:.0} ms; all in segments {:.1} ms",
        replayed * 1e3,
        clean * 1e3
    );
    Ok(())
}
