//! What a database takes on the disk, catalog included, beside what its live documents take in one that was built of them
//! at once: under steady changes, and after an optimize.
//!
//! `churn DATA [DOCUMENTS]`: half of DOCUMENTS (default: 10,000) are in the collection at any time; in each of 20 rounds a
//! tenth of those are replaced by documents that have not been there, a batch of 200 at a time, while the background merges.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use latewood::{Collection, Database, Document, SchemaBuilder};
use latewood_benches::Failure;
use latewood_benches::dataset::Dataset;

const ROUNDS: usize = 20;
const BATCH: usize = 200;
/// Between two looks at the files.
const PAUSE: Duration = Duration::from_millis(20);

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = arguments
        .next()
        .map(PathBuf::from)
        .ok_or("expected a folder with documents.npy")?;
    let most: usize = match arguments.next() {
        Some(number) => number.to_string_lossy().parse()?,
        None => 10_000,
    };
    let data = Dataset::open(&folder, Some(most))?;
    let documents: Vec<Document> = data.documents_to_ingest()?.collect::<Result<_, _>>()?;
    let live = documents.len() / 2;
    let scratch = tempfile::tempdir()?;
    let built = build(&scratch.path().join("built"), data.dim(), &documents[..live])?;
    println!("{live} documents built at once: {built} bytes of all files\n");
    let path = scratch.path().join("churned");
    let database = Database::open(&path)?;
    let collection = database.create_collection("c", SchemaBuilder::new().tokens(data.dim(), 2))?;
    collection
        .ingest(documents[..live].iter().cloned())
        .optimize(true)
        .run()?;
    println!("| round | most, of live bytes | at its end | deleted |");
    println!("|---|---|---|---|");
    let mut worst: f64 = 0.0;
    for round in 0..ROUNDS {
        let most = replace(&path, &collection, &documents, live, round)? as f64 / built as f64;
        let now = bytes_of(&path)? as f64 / built as f64;
        println!(
            "| {} | {most:.2} | {now:.2} | {} |",
            round + 1,
            collection.stats()?.deleted
        );
        worst = worst.max(most);
    }
    collection.optimize(|_| ControlFlow::Continue(()))?;
    let after = bytes_of(&path)? as f64 / built as f64;
    println!("\nmost in any round {worst:.2}, asked 2.5; after an optimize {after:.2}, asked 1.5");
    drop(collection);
    database.close()?;
    println!("closed {:.2}", bytes_of(&path)? as f64 / built as f64);
    Ok(())
}

/// Bytes of a database that is made of these documents at once.
fn build(path: &Path, dim: usize, documents: &[Document]) -> Result<u64, Failure> {
    let database = Database::open(path)?;
    let collection = database.create_collection("c", SchemaBuilder::new().tokens(dim, 2))?;
    collection
        .ingest(documents.iter().cloned())
        .optimize(true)
        .run()?;
    drop(collection);
    database.close()?;
    bytes_of(path)
}

/// Replaces a tenth of the documents; the most bytes that the files took meanwhile and until the background rests.
fn replace(
    path: &Path,
    collection: &Collection,
    documents: &[Document],
    live: usize,
    round: usize,
) -> Result<u64, Failure> {
    let (mut most, each) = (0, live / 10);
    let places = round * each..(round + 1) * each;
    for batch in places.collect::<Vec<_>>().chunks(BATCH) {
        let mut changes = collection.batch();
        for place in batch {
            let gone = &documents[place % documents.len()];
            let comes = &documents[(place + live) % documents.len()];
            changes = changes.delete(gone.id.clone()).upsert(comes.clone());
        }
        changes.commit()?;
        most = most.max(bytes_of(path)?);
    }
    // A steady stream leaves the background some time: as long as a pause of the writer.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        most = most.max(bytes_of(path)?);
        std::thread::sleep(PAUSE);
    }
    Ok(most)
}

/// Bytes of all files of a folder; those that go meanwhile do not count.
fn bytes_of(folder: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(0);
    };
    for entry in entries {
        let Ok(entry) = entry else { continue };
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() {
            bytes_of(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}
