//! What durability costs: single upserts beside a bare loop of append and fdatasync, upserts from several threads, batches
//! beside the disk's sequential writing, and opening after a kill.
//!
//! `durable [FOLDER]`; rounds of both loops alternate, so that a disk that slows down slows both.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use latewood::{Collection, Database, Document, Error, Maintenance, Metric, SchemaBuilder};

const DIM: usize = 128;
const ROUNDS: usize = 20;
const UPSERTS: usize = 50;
const THREADS: u64 = 8;
const BATCHES: usize = 100;
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
        &database.create_collection("batches", schema.clone())?,
        1,
    )?;
    // As an application has it: the worker makes segments, and a batch is coded while the one before is on its way to the disk.
    // A database for each, so that none is measured beside what another left to do.
    for writers in [1, 2, 4] {
        let other = tempfile::tempdir_in(folder.path())?;
        let background = Database::open(other.path().join("db"))?;
        batches(
            other.path(),
            &background.create_collection("batches", schema.clone())?,
            writers,
        )?;
        background.close()?;
    }
    // Dropped and not closed, it is found as a kill would leave it, but for what was not handed over.
    let before = notes.count(None)? + database.collection("batches")?.count(None)?;
    drop((notes, database));
    recovery(&path, before)
}

fn document(id: u64) -> Document {
    let vector: Vec<f32> = (0..DIM)
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

fn single(folder: &Path, notes: &Collection) -> Outcome<()> {
    let logs = folder.join("db/collections/notes");
    let before = last_log(&logs)?;
    notes.upsert(document(0))?;
    let frame = vec![7; usize::try_from(last_log(&logs)? - before)?];
    let mut file = OpenOptions::new()
        .append(true)
        .create_new(true)
        .open(folder.join("bare"))?;
    let (mut bare, mut upserts) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for _ in 0..UPSERTS {
            let begun = Instant::now();
            file.write_all(&frame)?;
            file.sync_data()?;
            bare.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        for i in 0..UPSERTS {
            let document = document((round * UPSERTS + i) as u64);
            let begun = Instant::now();
            notes.upsert(document)?;
            upserts.push(begun.elapsed().as_secs_f64() * 1e6);
        }
    }
    let (bare, upserts) = (median(bare), median(upserts));
    println!(
        "append of {} bytes + fdatasync {bare:.0} us, durable upsert {upserts:.0} us: {:.2} times",
        frame.len(),
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

fn batches(folder: &Path, collection: &Collection, writers: usize) -> Outcome<()> {
    let logs = folder.join("db/collections").join(collection.name());
    let batch = |number: usize| (0..BATCH).map(move |i| document((number * BATCH + i) as u64));
    // What the caller does to make documents is not counted.
    let mut ready: Vec<Vec<Vec<Document>>> = vec![Vec::new(); writers];
    for number in 0..BATCHES {
        ready[number % writers].push(batch(number).collect());
    }
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let write = |batches: Vec<Vec<Document>>| {
            let upsert = |documents| collection.upsert_many(documents).map(drop);
            batches.into_iter().try_for_each(upsert)
        };
        let handles: Vec<_> = ready
            .drain(..)
            .map(|mine| scope.spawn(move || write(mine)))
            .collect();
        let joined = handles.into_iter().map(|handle| handle.join().expect("a writer"));
        joined.collect::<Result<(), Error>>()
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    // The memtable may have become a segment on the way; as many bytes went through the log.
    let bytes = (last_log(&logs)? as f64).max((BATCHES * BATCH * DIM * 4) as f64);
    let disk = sequential(
        &folder.join(format!("sequential-{}", collection.name())),
        bytes as usize / BATCHES,
    )?;
    println!(
        "batches of {BATCH}, {writers} writers: {:.0} documents and {:.0} MB of log a second; the same bytes appended and synced: {:.0} MB a \
         second: {:.2} of that",
        (BATCHES * BATCH) as f64 / seconds,
        bytes / seconds / 1e6,
        disk / 1e6,
        bytes / seconds / disk,
    );
    Ok(())
}

/// Bytes a second of as many appends of `size` bytes, each synced.
fn sequential(path: &Path, size: usize) -> io::Result<f64> {
    let bytes = vec![5; size];
    let mut file = OpenOptions::new().append(true).create_new(true).open(path)?;
    let begun = Instant::now();
    for _ in 0..BATCHES {
        file.write_all(&bytes)?;
        file.sync_data()?;
    }
    Ok((BATCHES * size) as f64 / begun.elapsed().as_secs_f64())
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
