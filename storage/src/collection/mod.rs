//! One collection: its files, its writer and its snapshots.

mod bulk;
mod check;
mod coded;
mod commit;
mod context;
mod fit;
mod flush;
mod load;
mod merge;
mod optimize;
mod policy;
mod pretrain;
mod state;
mod stats;
mod survey;
mod sweep;
#[cfg(test)]
mod tests;
mod worker;

pub use check::{Finding, Severity};
pub use coded::CodedDocuments;
pub(crate) use context::Context;
pub use fit::{CodebookFit, CodebookStats};
pub(crate) use load::{codebook_path, load_locked, segment_dir};
pub use optimize::{OptimizeOptions, OptimizeReport};
pub use stats::StorageStats;
pub(crate) use survey::survey;
pub(crate) use sweep::sweep;

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::backend::{StorageBackend, write_file};
use crate::document::{DocumentId, Record};
use crate::error::{IoContext, Result, StorageError};
use crate::group_commit::GroupCommit;
use crate::manifest::{Current, Manifest, current_path, manifest_path};
use crate::options::Maintenance;
use crate::poison::Poison;
use crate::published::Published;
use crate::schema::Schema;
use crate::segment::SegmentView;
use crate::snapshot::Snapshot;
use crate::telemetry;
use crate::wal::WalWriter;
use commit::Prepared;
use state::{Cause, State};
use worker::{Duty, Workers};

/// One collection of a [`crate::Store`]. Shared freely between threads: readers take a [`Snapshot`] and wait for no one;
/// writers are applied one group at a time.
#[derive(Debug)]
pub struct CollectionStore {
    name: String,
    dir: PathBuf,
    uid: u64,
    context: Arc<Context>,
    schema: Arc<Schema>,
    snapshot: Published<Snapshot>,
    /// `None` when the database is open read-only.
    state: Mutex<Option<State>>,
    group: GroupCommit<Prepared>,
    poison: Poison,
    dropped: AtomicBool,
    closing: AtomicBool,
    /// Held while a memtable becomes a segment.
    flushing: Mutex<()>,
    /// Held while segments become one.
    merging: Mutex<()>,
    /// Bytes of the log that is written to.
    log_bytes: AtomicU64,
    workers: Workers,
    settled: OnceLock<Settled>,
}

/// What is called when the work in the background has changed how the collection is searched.
struct Settled(Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Settled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Settled")
    }
}

impl CollectionStore {
    /// Writes the files of a new, empty collection into `dir`.
    pub(crate) fn create(context: &Context, dir: &Path, schema: &Schema) -> Result<()> {
        let backend = context.backend();
        for folder in ["wal", "segments", "codebooks"] {
            let path = dir.join(folder);
            backend.create_dir_all(&path).at("create", &path)?;
        }
        WalWriter::create(backend, dir, 1, 1)?;
        let schema = schema.to_json()?;
        let manifest = Manifest {
            number: 1,
            uid: draw_uid(),
            schema,
            first_log: 1,
            next_segment: 1,
            next_codebook: 1,
            ..Manifest::default()
        };
        let bytes = manifest.encode()?;
        write_file(backend.as_ref(), &manifest_path(dir, 1), &bytes)?;
        let current = Current::to(1, bytes);
        write_file(backend.as_ref(), &current_path(dir), &current.encode())?;
        backend.sync_dir(dir).at("sync", dir)
    }

    /// Opens a collection: manifest, leftovers removed, segments, logs replayed.
    pub(crate) fn open(context: Arc<Context>, name: &str, dir: PathBuf) -> Result<Arc<Self>> {
        let backend = context.backend().as_ref();
        let read_only = context.options.read_only;
        let loaded = if read_only {
            load::load(backend, &dir, None)?
        } else {
            load::load_locked(backend, &dir)?
        };
        let poison = Poison::default();
        let state = if read_only {
            None
        } else {
            sync_names(backend, &dir)?;
            let unused = sweep::sweep(backend, &dir, &loaded.manifest);
            let mut state = State::new(&context, &dir, &loaded, unused)?;
            if loaded.stood_in {
                state.install(&context, &dir, &poison, &loaded.snapshot, Cause::Merge)?;
            }
            Some(state)
        };
        let log_bytes = state.as_ref().map_or(0, |state| state.wal.len());
        let collection = Arc::new(Self {
            name: name.to_owned(),
            dir,
            uid: loaded.manifest.uid,
            context,
            schema: Arc::clone(&loaded.snapshot.schema),
            snapshot: Published::new(loaded.snapshot),
            state: Mutex::new(state),
            group: GroupCommit::default(),
            poison,
            dropped: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            flushing: Mutex::default(),
            merging: Mutex::default(),
            log_bytes: AtomicU64::new(log_bytes),
            workers: Workers::default(),
            settled: OnceLock::new(),
        });
        if !read_only {
            telemetry::gauge(&collection.name, &collection.snapshot.load());
        }
        if collection.works_in_background() {
            collection.workers.start(&collection)?;
            collection.workers.wake(Duty::Flush);
            collection.workers.wake(Duty::Merge);
        }
        Ok(collection)
    }

    /// The collection's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The collection's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A number drawn when the collection was created: another one of the same name, created later, has another.
    #[must_use]
    pub fn uid(&self) -> u64 {
        self.uid
    }

    /// What the collection holds.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The collection as it is now; later writes do not change it.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The whole document of an id.
    ///
    /// # Errors
    /// [`StorageError::Corruption`] when a file is damaged.
    pub fn get(&self, id: &DocumentId) -> Result<Option<Record>> {
        self.snapshot().get(id)
    }

    /// Whether there is a document of an id.
    ///
    /// # Errors
    /// [`StorageError::Corruption`] when an index of ids is damaged.
    pub fn contains(&self, id: &DocumentId) -> Result<bool> {
        Ok(self.snapshot().find(id)?.is_some())
    }

    /// Sees what the writer's process has written since this read-only handle was opened or refreshed. On a writer's own
    /// handle there is nothing to do.
    ///
    /// # Errors
    /// [`StorageError::Corruption`], [`StorageError::Io`]; the handle keeps the snapshot that it had.
    pub fn refresh(&self) -> Result<()> {
        if self.context.options.read_only {
            // One after another: what a slower call has read must not take the place of what is newer.
            return self.snapshot.change(|previous| {
                let loaded = load::load(self.context.backend().as_ref(), &self.dir, Some(previous))?;
                Ok((loaded.snapshot, ()))
            });
        }
        Ok(())
    }

    /// Stops the background thread, makes everything durable, and refuses writes from now on. A memtable that would take
    /// long to replay is flushed first.
    ///
    /// # Errors
    /// What the last flush or sync says; the collection is closed all the same.
    pub(crate) fn close(&self) -> Result<()> {
        const QUICK_TO_REPLAY: u64 = 4 << 20;
        if self.context.options.read_only {
            return Ok(());
        }
        self.closing.store(true, Ordering::Release);
        self.workers.stop();
        let healthy = self.poison.reason().is_none() && !self.dropped.load(Ordering::Acquire);
        let flushed = if healthy && self.snapshot().memtable.bytes() > QUICK_TO_REPLAY {
            self.flush()
        } else {
            Ok(())
        };
        let mut state = self.lock_state();
        let Some(mut state) = state.take() else {
            return flushed;
        };
        self.snapshot.forget_unread();
        state.remove_retired(self.context.backend().as_ref());
        if healthy {
            let synced = flushed.and(state.sync(&self.poison));
            if synced.is_ok() {
                state
                    .wal
                    .closed()
                    .write(self.context.backend().as_ref(), &self.dir);
            }
            synced
        } else {
            flushed
        }
    }

    /// Makes what was written durable, whatever the options say of it.
    pub(crate) fn hand_over(&self) -> Result<()> {
        match self.lock_state().as_mut() {
            Some(state) => state.sync(&self.poison),
            None => Ok(()),
        }
    }

    /// Ends the background threads. A writer that fills the memtable flushes it from now on.
    pub(crate) fn stop_background(&self) {
        self.workers.stop();
    }

    /// Has `call` called on a background thread of its own, in a pause of writing, after a codebook was trained or segments
    /// were merged: settings that were measured before may no longer be the best. Flushes and merges go on meanwhile. Only
    /// the first call counts.
    pub fn on_settled(&self, call: impl Fn() + Send + Sync + 'static) {
        let _ = self.settled.set(Settled(Box::new(call)));
    }

    fn call_settled(&self) {
        if let Some(Settled(call)) = self.settled.get() {
            call();
        }
    }

    /// Whether long work in the background should break off: the collection is being closed or dropped.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.stopping() || self.workers.stopping()
    }

    /// Whether more than one of the background threads is at work. Who was called by one, see [`Self::on_settled`], lets the
    /// others go first: together they would leave no core to those who search.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.workers.several_at_work()
    }

    /// Whether the segments of a snapshot are still those of the collection. Once they are not, who still measures with it
    /// measures what was, and keeps the disk from being cleared of it.
    #[must_use]
    pub fn is_in_force(&self, snapshot: &Snapshot) -> bool {
        let now = self.snapshot.load();
        let same = |view: &SegmentView| {
            now.segments
                .iter()
                .any(|other| Arc::ptr_eq(&other.segment, &view.segment))
        };
        snapshot.segments.iter().all(same)
    }

    /// Has its directory renamed to be removed, and refuses writes from then on. Where that fails the collection goes on, or
    /// is poisoned if it is unknown which name the disk has.
    pub(crate) fn drop_by(self: &Arc<Self>, rename: impl FnOnce() -> Result<()>) -> Result<()> {
        self.workers.stop();
        let mut state = self.lock_state();
        if let Err(error) = rename() {
            drop(state);
            if error.is_failed_sync() {
                self.poison.set(error.to_string());
            } else if self.works_in_background() {
                self.workers.start(self)?;
            }
            return Err(error);
        }
        self.dropped.store(true, Ordering::Release);
        *state = None;
        telemetry::dropped(&self.name);
        Ok(())
    }

    fn works_in_background(&self) -> bool {
        let options = &self.context.options;
        !options.read_only && options.maintenance == Maintenance::Background
    }

    /// An error unless writes are allowed.
    fn writable(&self, action: &'static str) -> Result<()> {
        self.context.writable(action)?;
        if self.dropped.load(Ordering::Acquire) {
            return Err(StorageError::Dropped {
                name: self.name.clone(),
            });
        }
        self.poison.check()
    }

    fn lock_state(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `f` on the writer's state, alone.
    fn with_state<T>(&self, action: &'static str, f: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut state = self.lock_state();
        self.writable(action)?;
        f(state.as_mut().ok_or(StorageError::Closed)?)
    }

    /// Whether long work should break off: the database is being closed, or the collection dropped.
    fn stopping(&self) -> bool {
        self.context.closed() || self.dropped.load(Ordering::Acquire) || self.closing.load(Ordering::Acquire)
    }
}

impl Drop for CollectionStore {
    fn drop(&mut self) {
        if let Some(mut state) = self.lock_state().take()
            && self.poison.reason().is_none()
        {
            match state.wal.write() {
                Ok(()) => state
                    .wal
                    .closed()
                    .write(self.context.backend().as_ref(), &self.dir),
                Err(failure) => {
                    tracing::error!(collection = self.name, error = %failure.error, "the last writes could not be handed over");
                }
            }
            self.snapshot.forget_unread();
            state.remove_retired(self.context.backend().as_ref());
        }
    }
}

/// Makes the names of a collection durable that an earlier process may have been killed before it could sync: the manifest
/// that was read, and the log that is written on, before what they replaced is removed.
fn sync_names(backend: &dyn StorageBackend, dir: &Path) -> Result<()> {
    backend.sync_dir(dir).at("sync", dir)?;
    let logs = dir.join("wal");
    backend.sync_dir(&logs).at("sync", &logs)
}

/// A number that no two collections share, for all practical purposes. Each `RandomState` has keys of its own.
pub(crate) fn draw_uid() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
