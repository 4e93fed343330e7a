//! Opening a large database whose writer was killed: `reopen [FOLDER] [DOCUMENTS]`.
//!
//! A process of its own loads DOCUMENTS (default: 1,000,000) with dense vectors of 8 numbers, writes single batches until the
//! memtable is all but full, and is aborted. Then the database is opened, as it was left, with its log to be replayed; once
//! more, as that left it; without its catalog; and after everything was flushed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use latewood::{Database, DenseCodec, Document, Maintenance, Metric, SchemaBuilder};
use latewood_benches::Failure;

const DIM: usize = 8;
const DOCUMENTS: u64 = 1_000_000;
/// Documents that wait in the log: a few less than make a memtable full.
const WAITING: u64 = 16_000;
const BATCH: u64 = 500;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [write, path, documents] = arguments.as_slice()
        && write == "write"
    {
        return write_and_abort(Path::new(path), documents.parse()?);
    }
    let parent = arguments.first().map_or_else(std::env::temp_dir, PathBuf::from);
    let documents = arguments.get(1).map_or(Ok(DOCUMENTS), |text| text.parse())?;
    let folder = tempfile::tempdir_in(parent)?;
    let path = folder.path().join("db");
    let text = path.to_string_lossy().into_owned();
    let ended = Command::new(std::env::current_exe()?)
        .args(["write", &text, &documents.to_string()])
        .status()?;
    if ended.code().is_some() {
        return Err(format!("the writer ended with {ended} before it was aborted").into());
    }
    let expected = documents + WAITING;
    println!("{expected} documents, of which {WAITING} are in the log");
    open("after a kill", &path, expected)?;
    open("once more", &path, expected)?;
    fs::remove_dir_all(path.join("catalog"))?;
    open("without the catalog", &path, expected)?;
    let database = options().open(&path)?;
    database.collection("c")?.flush()?;
    database.close()?;
    open("all in segments", &path, expected)
}

fn options() -> latewood::DatabaseOptions {
    Database::options().maintenance(Maintenance::Manual)
}

fn open(what: &str, path: &Path, expected: u64) -> Result<(), Failure> {
    let begun = Instant::now();
    let database = options().open(path)?;
    let collection = database.collection("c")?;
    let opened = begun.elapsed().as_secs_f64();
    let count = collection.count(None)?;
    if count != expected {
        return Err(format!("{what}: {count} documents, {expected} were acknowledged").into());
    }
    let found = collection.query().dense(vector(7).as_slice()).limit(1).run()?;
    let answered = begun.elapsed().as_secs_f64();
    println!(
        "{what}: open {:.1} ms, first answer {:.1} ms, {} segments, found {:?}",
        opened * 1e3,
        answered * 1e3,
        collection.stats()?.segments,
        found.first().map(|hit| &hit.id)
    );
    Ok(())
}

fn write_and_abort(path: &Path, documents: u64) -> Result<(), Failure> {
    let database = options().open(path)?;
    let schema = SchemaBuilder::new()
        .dense(DIM, Metric::Cosine)
        .dense_codec(DenseCodec::F32);
    let collection = database.create_collection("c", schema)?;
    collection.ingest((0..documents).map(document)).run()?;
    for first in (documents..documents + WAITING).step_by(usize::try_from(BATCH)?) {
        let last = (first + BATCH).min(documents + WAITING);
        collection.upsert_many((first..last).map(document))?;
    }
    std::process::abort()
}

fn vector(id: u64) -> Vec<f32> {
    let part = |i: u64| ((id.wrapping_mul(2_654_435_761) >> (3 * i)) % 97) as f32 - 48.5;
    (0..DIM as u64).map(part).collect()
}

fn document(id: u64) -> Document {
    Document::new(id).dense(vector(id))
}
