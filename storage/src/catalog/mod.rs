//! The catalog: small JSON values by collection and key. Derived or measured, so it can always be rebuilt.
//!
//! It lives in sled, which is trusted with nothing else: its own crash window is repaired before it is opened, its panics
//! are caught, every value carries a checksum, and when it cannot be read it is removed and filled again. What was only
//! measured (calibration, tuned parameters) is then measured again.

mod database;
mod readers;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::checksum::crc32;
use crate::collection::CollectionStore;
use crate::error::{Result, StorageError};
use database::{Database, Failed};
use readers::ReadersCopy;
pub(crate) use readers::parse as parse_readers_copy;

/// The most bytes of a value's JSON: larger ones would leak space in sled.
pub const MAX_VALUE_BYTES: usize = 4096;
/// The key whose value says what the catalog knows of a collection.
const COMPLETE: &str = "\u{1}complete";

/// Small JSON values by collection and key.
#[derive(Debug)]
pub struct Catalog {
    database: Mutex<Database>,
    /// Where a writer leaves what read-only handles may know.
    readers: Option<ReadersCopy>,
}

/// What the catalog knows of a collection.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Complete {
    /// Tells a collection from an earlier one of its name.
    uid: u64,
    /// The commit up to which the values are complete.
    sequence: u64,
}

impl Catalog {
    /// Opens the catalog in a folder of the real disk, rebuilding it when it cannot be read.
    pub(crate) fn open(dir: &Path) -> Self {
        Self {
            database: Mutex::new(Database::open(dir)),
            readers: Some(ReadersCopy::of(dir)),
        }
    }

    /// A catalog that is lost with the handle.
    pub(crate) fn in_memory() -> Self {
        Self {
            database: Mutex::new(Database::in_memory()),
            readers: None,
        }
    }

    /// What a writer has left of the catalog in a folder for read-only handles. Later values are lost with the handle.
    pub(crate) fn open_read_only(dir: &Path) -> Self {
        let catalog = Self::in_memory();
        for (collection, values) in ReadersCopy::of(dir).read() {
            for (key, value) in values {
                let _ = catalog.put(&collection, &key, &value);
            }
        }
        catalog
    }

    /// The value of a key, if there is a whole one.
    #[must_use]
    pub fn get(&self, collection: &str, key: &str) -> Option<Value> {
        let key = full_key(collection, key);
        let bytes = self.with(|database| database.get(&key))??;
        decode(&key, &bytes)
    }

    /// Every whole value of a collection, by key.
    fn values(&self, collection: &str) -> BTreeMap<String, Value> {
        let prefix = full_key(collection, "");
        let all = self.with(|database| database.values(&prefix)).unwrap_or_default();
        all.iter()
            .filter_map(|(key, bytes)| {
                let name = String::from_utf8(key.get(prefix.len()..)?.to_vec()).ok()?;
                Some((name, decode(key, bytes)?))
            })
            .collect()
    }

    fn copy_for_readers(&self, collection: &str) {
        if let Some(readers) = &self.readers {
            readers.write(collection, &self.values(collection));
        }
    }

    /// Stores a value and makes it durable, as far as the catalog is.
    ///
    /// # Errors
    /// [`StorageError::InvalidOption`] for a value of more than [`MAX_VALUE_BYTES`].
    pub fn put(&self, collection: &str, key: &str, value: &Value) -> Result<()> {
        let json = value.to_string();
        if json.len() > MAX_VALUE_BYTES {
            return Err(StorageError::InvalidOption {
                name: "catalog value",
                expected: format!("at most {MAX_VALUE_BYTES} bytes of JSON"),
                got: format!("{} for {key:?}; store less, or split it", json.len()),
            });
        }
        let key = full_key(collection, key);
        let mut bytes = checksum(&key, json.as_bytes()).to_le_bytes().to_vec();
        bytes.extend_from_slice(json.as_bytes());
        self.with(|database| database.put(&key, &bytes));
        self.copy_for_readers(collection);
        Ok(())
    }

    /// Removes every value of a collection.
    pub fn remove(&self, collection: &str) {
        let prefix = full_key(collection, "");
        self.with(|database| database.remove(&prefix));
        if let Some(readers) = &self.readers {
            readers.remove(collection);
        }
    }

    /// Catches up with the collections that there are.
    pub(crate) fn catch_up<'a>(&self, collections: impl Iterator<Item = &'a CollectionStore>) {
        let mut known: Vec<&str> = Vec::new();
        for collection in collections {
            known.push(collection.name());
            self.catch_up_one(collection);
        }
        let names = self.with(|database| database.collections()).unwrap_or_default();
        for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
            self.remove(name);
        }
    }

    pub(crate) fn catch_up_one(&self, collection: &CollectionStore) {
        let name = collection.name();
        let complete: Option<Complete> = self
            .get(name, COMPLETE)
            .and_then(|value| serde_json::from_value(value).ok());
        let sequence = collection.snapshot().sequence();
        if complete.is_some_and(|complete| complete.uid == collection.uid() && complete.sequence <= sequence)
        {
            if self.readers.as_ref().is_some_and(|readers| !readers.has(name)) {
                self.copy_for_readers(name);
            }
            return;
        }
        self.remove(name);
        let schema = collection.schema();
        let models = json!({ "encoder": schema.encoder, "reranker": schema.reranker });
        // A schema of very many fields does not fit; the manifest has it.
        for (key, value) in [("schema", json!(schema.as_ref())), ("models", models)] {
            let _ = self.put(name, key, &value);
        }
        let _ = self.put(
            name,
            COMPLETE,
            &json!(Complete {
                uid: collection.uid(),
                sequence
            }),
        );
    }

    /// Runs `f`; when the catalog cannot be read, rebuilds it and tries once more.
    fn with<T>(&self, f: impl Fn(&mut Database) -> std::result::Result<T, Failed>) -> Option<T> {
        let mut database: MutexGuard<'_, Database> =
            self.database.lock().unwrap_or_else(PoisonError::into_inner);
        match database.guarded(&f) {
            Ok(value) => Some(value),
            Err(Failed(reason)) => {
                tracing::warn!(reason, "the catalog is damaged and starts anew");
                database.start_anew();
                database.guarded(&f).ok()
            }
        }
    }
}

fn full_key(collection: &str, key: &str) -> Vec<u8> {
    let mut bytes = collection.as_bytes().to_vec();
    bytes.push(0);
    bytes.extend_from_slice(key.as_bytes());
    bytes
}

fn decode(key: &[u8], bytes: &[u8]) -> Option<Value> {
    let (crc, json) = bytes.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*crc) != checksum(key, json) {
        tracing::warn!("a value of the catalog is damaged and counts as absent");
        return None;
    }
    serde_json::from_slice(json).ok()
}

/// The key takes part, so that a value found under another key is noticed.
fn checksum(key: &[u8], json: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(crc32(key));
    hasher.update(json);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn works(catalog: &Catalog) {
        catalog.put("a", "tuned", &json!({"n_probe": 8})).unwrap();
        catalog.put("ab", "tuned", &json!(1)).unwrap();
        assert_eq!(catalog.get("a", "tuned"), Some(json!({"n_probe": 8})));
        catalog.remove("a");
        assert_eq!(
            (catalog.get("a", "tuned"), catalog.get("ab", "tuned")),
            (None, Some(json!(1)))
        );
        let long = Value::String("x".repeat(MAX_VALUE_BYTES));
        assert!(
            catalog
                .put("a", "k", &long)
                .unwrap_err()
                .to_string()
                .contains("4096")
        );
    }

    #[test]
    fn values_come_back_until_removed() {
        works(&Catalog::in_memory());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog");
        works(&Catalog::open(&path));
        assert_eq!(
            Catalog::open(&path).get("ab", "tuned"),
            Some(json!(1)),
            "after opening it again"
        );
    }

    #[test]
    fn read_only_handles_see_what_a_writer_has_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog");
        assert_eq!(Catalog::open_read_only(&path).get("a", "tuned"), None);
        assert!(!path.exists());
        let writer = Catalog::open(&path);
        works(&writer);
        writer.put("ab", "other", &json!("x")).unwrap();
        let reader = Catalog::open_read_only(&path);
        assert_eq!(reader.get("ab", "tuned"), Some(json!(1)), "beside a writer");
        assert_eq!(reader.get("ab", "other"), Some(json!("x")));
        assert_eq!(reader.get("a", "tuned"), None, "it was removed");
        reader.put("ab", "tuned", &json!(2)).unwrap();
        assert_eq!(Catalog::open_read_only(&path).get("ab", "tuned"), Some(json!(1)));
    }

    #[test]
    fn garbage_in_any_file_is_survived() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog");
        works(&Catalog::open(&path));
        for name in ["conf", "db"] {
            let file = path.join(name);
            assert!(file.exists(), "sled has a file {name}");
            std::fs::write(&file, b"garbage garbage garbage garbage").unwrap();
            works(&Catalog::open(&path));
            std::fs::write(&file, b"").unwrap();
            works(&Catalog::open(&path));
        }
        std::fs::write(path.join("snap.00000000000000FF.generating"), b"half").unwrap();
        let catalog = Catalog::open(&path);
        assert_eq!(
            catalog.get("ab", "tuned"),
            Some(json!(1)),
            "an unfinished snapshot costs nothing"
        );
        drop(catalog);
        std::fs::remove_dir_all(&path).unwrap();
        works(&Catalog::open(&path));
    }
}
