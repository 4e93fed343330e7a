//! sled behind a wall: what it may do wrong ends here.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Pages that sled keeps. It takes several times as much memory.
const CACHE_BYTES: u64 = 16 << 20;
const FLUSH_EVERY_MS: u64 = 500;
/// How often opening is tried while a handle that was dropped has not let go yet.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// The catalog cannot be read or written, and why.
#[derive(Debug)]
pub(super) struct Failed(pub(super) String);

impl From<sled::Error> for Failed {
    fn from(error: sled::Error) -> Self {
        Self(error.to_string())
    }
}

/// Keys and values, sorted by key.
#[derive(Debug)]
pub(super) enum Database {
    Sled { database: sled::Db, dir: PathBuf },
    Memory(BTreeMap<Vec<u8>, Vec<u8>>),
}

impl Database {
    pub(super) fn in_memory() -> Self {
        Self::Memory(BTreeMap::new())
    }

    /// Opens the database of a folder; one that cannot be opened is removed and begun anew, in memory if need be.
    pub(super) fn open(dir: &Path) -> Self {
        let mut outcome = open_sled(dir);
        if let Err(Failed(reason)) = &outcome {
            tracing::warn!(reason, dir = %dir.display(), "the catalog cannot be opened and starts anew");
            let _ = fs::remove_dir_all(dir);
            outcome = open_sled(dir);
        }
        match outcome {
            Ok(database) => Self::Sled {
                database,
                dir: dir.to_owned(),
            },
            Err(Failed(reason)) => {
                tracing::warn!(reason, dir = %dir.display(), "no catalog can be kept; it is in memory only");
                Self::in_memory()
            }
        }
    }

    /// Replaces the database by an empty one.
    pub(super) fn start_anew(&mut self) {
        if let Self::Sled { dir, .. } = self {
            let dir = std::mem::take(dir);
            // sled must be gone before its files are.
            *self = Self::in_memory();
            let _ = fs::remove_dir_all(&dir);
            *self = Self::open(&dir);
        }
    }

    /// Runs `f`, turning a panic into a failure.
    pub(super) fn guarded<T>(&mut self, f: impl Fn(&mut Self) -> Result<T, Failed>) -> Result<T, Failed> {
        catch_unwind(AssertUnwindSafe(|| f(self))).unwrap_or_else(|_| Err(Failed("sled panicked".to_owned())))
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failed> {
        match self {
            Self::Sled { database, .. } => Ok(database.get(key)?.map(|value| value.to_vec())),
            Self::Memory(map) => Ok(map.get(key).cloned()),
        }
    }

    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failed> {
        match self {
            Self::Sled { database, dir } => {
                database.insert(key, value)?;
                make_durable(database, dir)
            }
            Self::Memory(map) => {
                map.insert(key.to_vec(), value.to_vec());
                Ok(())
            }
        }
    }

    /// Every key that begins with `prefix`, with its value.
    pub(super) fn values(&self, prefix: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Failed> {
        match self {
            Self::Sled { database, .. } => database
                .scan_prefix(prefix)
                .map(|entry| {
                    let (key, value) = entry?;
                    Ok((key.to_vec(), value.to_vec()))
                })
                .collect(),
            Self::Memory(map) => Ok(map
                .range(prefix.to_vec()..)
                .take_while(|(key, _)| key.starts_with(prefix))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()),
        }
    }

    /// Removes every key that begins with `prefix`.
    pub(super) fn remove(&mut self, prefix: &[u8]) -> Result<(), Failed> {
        match self {
            Self::Sled { database, dir } => {
                let keys = database
                    .scan_prefix(prefix)
                    .keys()
                    .collect::<Result<Vec<_>, _>>()?;
                for key in &keys {
                    database.remove(key)?;
                }
                if keys.is_empty() {
                    Ok(())
                } else {
                    make_durable(database, dir)
                }
            }
            Self::Memory(map) => {
                map.retain(|key, _| !key.starts_with(prefix));
                Ok(())
            }
        }
    }

    /// The collections that have a key: what stands before the first zero byte.
    pub(super) fn collections(&self) -> Result<Vec<String>, Failed> {
        let name = |key: &[u8]| {
            let name = key.split(|byte| *byte == 0).next().unwrap_or_default();
            String::from_utf8_lossy(name).into_owned()
        };
        let mut names: Vec<String> = match self {
            Self::Sled { database, .. } => database
                .iter()
                .keys()
                .map(|key| Ok(name(&key?)))
                .collect::<Result<_, sled::Error>>()?,
            Self::Memory(map) => map.keys().map(|key| name(key)).collect(),
        };
        names.dedup();
        Ok(names)
    }
}

fn open_sled(dir: &Path) -> Result<sled::Db, Failed> {
    remove_unfinished_snapshots(dir);
    let config = sled::Config::default()
        .path(dir)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(Some(FLUSH_EVERY_MS))
        .use_compression(false);
    for attempt in 1.. {
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(database)) => return Ok(database),
            Ok(Err(sled::Error::Io(error))) if attempt < ATTEMPTS && is_locked(&error) => {
                std::thread::sleep(PAUSE)
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => break,
        }
    }
    Err(Failed("sled panicked".to_owned()))
}

// sled wraps the lock's error in one of kind Other.
fn is_locked(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.to_string().contains("WouldBlock")
}

/// sled takes an unfinished snapshot for its newest and refuses to open. It is superseded by the log, so it can go.
fn remove_unfinished_snapshots(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("snap.") && name.ends_with(".generating"))
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// On Linux sled's flush ends in `sync_file_range`, which promises nothing at a power loss: its file is synced as well.
fn make_durable(database: &sled::Db, dir: &Path) -> Result<(), Failed> {
    database.flush()?;
    File::open(dir.join("db"))
        .and_then(|file| file.sync_all())
        .map_err(|error| Failed(error.to_string()))
}
