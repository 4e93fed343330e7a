//! A database one of whose files an enemy has written, with checksums that are right.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use latewood::{Database, Maintenance, MemoryBackend, StorageBackend};

use super::Target;
use crate::hostile::{create, files, look};
use crate::reseal::resealed;

const PATH: &str = "/db";

/// The first byte says which file, what follows is in it.
pub(super) const DATABASE: Target = Target {
    name: "database",
    run: |bytes| {
        let Some((which, contents)) = bytes.split_first() else {
            return false;
        };
        let all = whole();
        let Some(path) = all.keys().nth(usize::from(*which) % all.len()) else {
            return false;
        };
        let changed: BTreeMap<PathBuf, Vec<u8>> =
            resealed(path, contents.to_vec(), |path| all.get(path).cloned())
                .into_iter()
                .collect();
        let disk = MemoryBackend::default();
        for (path, before) in all {
            write(&disk, path, changed.get(path).unwrap_or(before));
        }
        try_all(&disk)
    },
    corpus: || {
        let all = whole().values().zip(0_u8..);
        all.map(|(contents, which)| [&[which][..], contents].concat())
            .collect()
    },
};

fn whole() -> &'static BTreeMap<PathBuf, Vec<u8>> {
    static WHOLE: OnceLock<BTreeMap<PathBuf, Vec<u8>>> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("db");
        create(&folder);
        let inside = |path: &PathBuf| Path::new(PATH).join(path.strip_prefix(&folder).unwrap());
        let all = files(&folder.join("collections")).into_iter();
        all.map(|path| (inside(&path), std::fs::read(&path).unwrap()))
            .collect()
    })
}

fn write(disk: &MemoryBackend, path: &Path, bytes: &[u8]) {
    let folder = path.parent().unwrap_or(path);
    disk.create_dir_all(folder)
        .and_then(|()| disk.create(path)?.write_all(bytes))
        .expect("there is memory");
}

/// Reads, searches and writes; whether all of it went well.
fn try_all(disk: &MemoryBackend) -> bool {
    let options = || {
        Database::options()
            .backend(Arc::new(disk.clone()))
            .maintenance(Maintenance::Manual)
            .memory_budget_bytes(64 << 20)
            .threads(1)
    };
    let read = options().read_only(true).open(PATH).and_then(|db| look(&db));
    let written = options().create(false).open(PATH).and_then(|db| {
        let collection = db.collection("c")?;
        collection.delete(8)?;
        collection.flush()?;
        look(&db)
    });
    read.is_ok() & written.is_ok()
}
