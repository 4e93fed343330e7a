//! What read-only handles see of the catalog. sled lets one process in, so the values of each collection are also kept in
//! a file of their own, which any process may read: `catalog/readers/NAME`, a checksum and a JSON object by key.
//!
//! It is written without an fsync and read without trust: a file that is missing, cut short or altered is as good as none.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::checksum::crc32;

/// The folder of these files.
#[derive(Debug)]
pub(super) struct ReadersCopy {
    dir: PathBuf,
}

impl ReadersCopy {
    /// That of the catalog in a folder.
    pub(super) fn of(catalog: &Path) -> Self {
        Self {
            dir: catalog.join("readers"),
        }
    }

    pub(super) fn has(&self, collection: &str) -> bool {
        self.dir.join(collection).exists()
    }

    /// Replaces the values of a collection. A copy that cannot be written is not missed.
    pub(super) fn write(&self, collection: &str, values: &BTreeMap<String, Value>) {
        if let Err(error) = self.try_write(collection, values) {
            tracing::warn!(collection, %error, "read-only handles will not see what the catalog has");
        }
    }

    fn try_write(&self, collection: &str, values: &BTreeMap<String, Value>) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let json = serde_json::to_string(values)?;
        let text = format!("{:08x}\n{json}", crc32(json.as_bytes()));
        let draft = self.dir.join(format!("{collection}.new"));
        fs::write(&draft, text)?;
        fs::rename(&draft, self.dir.join(collection))
    }

    pub(super) fn remove(&self, collection: &str) {
        // What is not there, or cannot go, belongs to no collection and is not read.
        let _ = fs::remove_file(self.dir.join(collection));
    }

    /// The values of all collections, as far as they are whole.
    pub(super) fn read(&self) -> Vec<(String, BTreeMap<String, Value>)> {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let text = fs::read_to_string(entry.path()).ok()?;
                Some((name, parse(&text)?))
            })
            .collect()
    }
}

/// The values in the text of a copy, if it is whole.
pub(crate) fn parse(text: &str) -> Option<BTreeMap<String, Value>> {
    let (crc, json) = text.split_once('\n')?;
    let whole = u32::from_str_radix(crc, 16).ok()? == crc32(json.as_bytes());
    if whole {
        serde_json::from_str(json).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_come_back_unless_the_file_is_not_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let copy = ReadersCopy::of(dir.path());
        assert!(copy.read().is_empty() && !copy.has("a"));
        let values = BTreeMap::from([("tuned".to_owned(), json!({"n_probe": 8}))]);
        copy.write("a", &values);
        assert!(copy.has("a"));
        assert_eq!(copy.read(), [("a".to_owned(), values)]);
        let file = dir.path().join("readers/a");
        let text = fs::read_to_string(&file).unwrap();
        for damaged in [
            text.replace('8', "9"),
            text[..text.len() - 3].to_owned(),
            String::new(),
            "x\n{}".to_owned(),
        ] {
            fs::write(&file, damaged).unwrap();
            assert!(copy.read().is_empty());
        }
        copy.remove("a");
        assert!(!copy.has("a"));
    }
}
