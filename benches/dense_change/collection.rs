//! A collection of dense vectors in a folder of its own: built, changed, merged, copied.

use std::ops::Range;
use std::path::{Path, PathBuf};

use latewood::{Collection, Database, Document, Maintenance, Metric, SchemaBuilder};
use latewood_benches::Failure;
use latewood_benches::rows::Rows;
use latewood_benches::times::process_cpu_s;
use latewood_storage::{OptimizeOptions, Store, StoreOptions};

/// The name of every collection here.
const NAME: &str = "vectors";
/// Vectors that are handed over at a time.
const BATCH: usize = 65_536;

pub(crate) struct Folder {
    path: PathBuf,
    threads: usize,
}

impl Folder {
    pub(crate) fn new(parent: &Path, name: &str, threads: usize) -> Self {
        let path = parent.join(name);
        Self { path, threads }
    }

    /// Builds it of these vectors, which are their ids too; the processor's seconds.
    pub(crate) fn build(
        &self,
        vectors: &Rows,
        numbers: impl Iterator<Item = usize> + Send,
    ) -> Result<f64, Failure> {
        let before = process_cpu_s();
        let (db, schema) = (
            self.writer()?,
            SchemaBuilder::new().dense(vectors.dim, Metric::Cosine),
        );
        let collection = db.create_collection(NAME, schema)?;
        let ingest = collection.ingest(numbers.map(|at| document(vectors, at)));
        ingest.encode_batch(BATCH).optimize(true).run()?;
        drop(collection);
        db.close()?;
        Ok(since(before))
    }

    /// Deletes some vectors and adds others. Nothing is merged.
    pub(crate) fn change(
        &self,
        vectors: &Rows,
        deleted: Range<usize>,
        added: Range<usize>,
    ) -> Result<(), Failure> {
        let db = self.writer()?;
        let collection = db.collection(NAME)?;
        let mut batch = collection.batch();
        for number in deleted {
            batch = batch.delete(number as u64);
        }
        batch.commit()?;
        let ingest = collection.ingest(added.map(|at| document(vectors, at)));
        ingest.encode_batch(BATCH).optimize(false).run()?;
        drop(collection);
        Ok(db.close()?)
    }

    /// Merges everything; the processor's seconds.
    pub(crate) fn merge(&self) -> Result<f64, Failure> {
        let options = StoreOptions {
            maintenance: latewood_storage::Maintenance::Manual,
            threads: self.threads,
            ..StoreOptions::default()
        };
        let store = Store::open(&self.path, options)?;
        let collection = store.collection(NAME)?;
        let before = process_cpu_s();
        collection.optimize(&OptimizeOptions::default())?;
        let took = since(before);
        drop(collection);
        store.close()?;
        Ok(took)
    }

    /// Copies it, with a byte of each graph changed.
    pub(crate) fn copy_with_damaged_graphs(&self, to: &Self) -> Result<(), Failure> {
        copy_damaged(&self.path, &to.path)
    }

    /// Opens it to be asked, on one thread.
    pub(crate) fn reader(&self) -> Result<(Database, Collection), Failure> {
        let options = Database::options().threads(1).read_only(true);
        let db = options.open(&self.path)?;
        let collection = db.collection(NAME)?;
        Ok((db, collection))
    }

    fn writer(&self) -> Result<Database, Failure> {
        let options = Database::options()
            .threads(self.threads)
            .maintenance(Maintenance::Manual);
        Ok(options.open(&self.path)?)
    }
}

fn copy_damaged(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let name = entry?.file_name();
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy_damaged(&from, &to)?;
            continue;
        }
        let mut bytes = std::fs::read(&from)?;
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle)
            && name == "graph"
        {
            *byte ^= 1;
        }
        std::fs::write(to, bytes)?;
    }
    Ok(())
}

fn document(vectors: &Rows, number: usize) -> Document {
    Document::new(number as u64).dense(vectors.row(number))
}

fn since(before: Option<f64>) -> f64 {
    let seconds = before.and_then(|before| Some(process_cpu_s()? - before));
    seconds.unwrap_or(f64::NAN)
}
