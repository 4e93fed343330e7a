//! Readers: snapshots that stay, read-only handles that refresh, damage that is told.

use std::sync::Arc;

use super::support::*;
use crate::backend::write_file;
use crate::manifest::{current_path, manifest_path};
use crate::wal::log_path;
use crate::{MemoryBackend, OptimizeOptions, Severity, StorageBackend, StorageError, Store, StoreOptions};

#[test]
fn a_snapshot_stays_as_it_was_while_everything_changes() {
    let backend = MemoryBackend::default();
    let (store, c) = create(&backend);
    c.commit((0..50).map(|id| upsert(id, 1)).collect()).unwrap();
    c.flush().unwrap();
    c.commit((50..60).map(|id| upsert(id, 1)).collect()).unwrap();
    let pinned = c.snapshot();
    c.commit((0..60).filter(|id| id % 2 == 0).map(delete).collect())
        .unwrap();
    c.optimize(&OptimizeOptions::default()).unwrap();
    c.commit((0..60).map(|id| upsert(id, 2)).collect()).unwrap();
    c.optimize(&OptimizeOptions::default()).unwrap();
    store.drop_collection("c").unwrap();
    assert_eq!(pinned.len(), 60);
    for id in 0..60 {
        assert_eq!(pinned.get(&id.into()).unwrap().unwrap().text, record(id, 1).text);
    }
    assert!(matches!(
        c.commit(vec![upsert(1, 1)]).unwrap_err(),
        StorageError::Dropped { .. }
    ));
    assert!(matches!(
        store.collection("c").unwrap_err(),
        StorageError::NoCollection { .. }
    ));
    let again = store.create_collection("c", schema()).unwrap();
    assert!(again.snapshot().is_empty() && again.uid() != c.uid());
}

#[test]
fn a_read_only_handle_sees_the_log_and_refreshes() {
    let backend = MemoryBackend::default();
    let (_store, c) = create(&backend);
    c.commit(vec![upsert(1, 1)]).unwrap();
    let read_only = || StoreOptions {
        read_only: true,
        ..options(backend.clone())
    };
    let reader = Store::open(PATH, read_only()).unwrap();
    let r = reader.collection("c").unwrap();
    assert_eq!(contents(&r), contents(&c));
    c.commit(vec![upsert(2, 1)]).unwrap();
    c.flush().unwrap();
    c.commit(vec![upsert(1, 2)]).unwrap();
    assert_eq!(r.snapshot().len(), 1, "not before it is refreshed");
    r.refresh().unwrap();
    assert_eq!(contents(&r), contents(&c));
    let segment = Arc::clone(&r.snapshot().segments()[0].segment);
    r.refresh().unwrap();
    assert!(
        Arc::ptr_eq(&segment, &r.snapshot().segments()[0].segment),
        "what is open is not opened again"
    );
    c.optimize(&OptimizeOptions::default()).unwrap();
    assert_eq!(contents(&r), contents(&c), "a reader can go on with merged files");
    r.refresh().unwrap();
    assert_eq!(contents(&r), contents(&c));
    assert!(matches!(
        r.commit(vec![upsert(3, 1)]).unwrap_err(),
        StorageError::ReadOnly { .. }
    ));
    assert!(matches!(
        reader.create_collection("d", schema()).unwrap_err(),
        StorageError::ReadOnly { .. }
    ));
}

#[test]
fn there_is_one_writer() {
    let backend = MemoryBackend::default();
    let (store, c) = create(&backend);
    let error = Store::open(PATH, options(backend.clone())).unwrap_err();
    assert!(matches!(error, StorageError::Locked { .. }), "{error}");
    store.close().unwrap();
    let again = Store::open(PATH, options(backend.clone())).unwrap();
    assert!(matches!(
        c.commit(vec![upsert(1, 1)]).unwrap_err(),
        StorageError::Closed
    ));
    assert!(matches!(
        store.create_collection("d", schema()).unwrap_err(),
        StorageError::Closed
    ));
    again.collection("c").unwrap().commit(vec![upsert(1, 1)]).unwrap();
}

#[test]
fn names_schemas_and_options_are_checked() {
    let backend = MemoryBackend::default();
    let missing = StoreOptions {
        create: false,
        ..options(backend.clone())
    };
    assert!(matches!(
        Store::open(PATH, missing).unwrap_err(),
        StorageError::NoDatabase { .. }
    ));
    let starved = StoreOptions {
        memory_budget_bytes: 1,
        ..options(backend.clone())
    };
    assert!(matches!(
        Store::open(PATH, starved).unwrap_err(),
        StorageError::InvalidOption { .. }
    ));
    let (store, _c) = create(&backend);
    for name in ["", "../up", "a/b", "a.creating", "-x", "ü", &"x".repeat(65)] {
        let error = store.create_collection(name, schema()).unwrap_err();
        assert!(
            matches!(error, StorageError::InvalidName { .. }),
            "{name:?}: {error}"
        );
        assert!(
            matches!(
                store.collection(name).unwrap_err(),
                StorageError::NoCollection { .. }
            ),
            "{name:?}"
        );
        assert!(
            matches!(
                store.drop_collection(name).unwrap_err(),
                StorageError::NoCollection { .. }
            ),
            "{name:?}"
        );
    }
    assert!(matches!(
        store.create_collection("c", schema()).unwrap_err(),
        StorageError::CollectionExists { .. }
    ));
    assert!(matches!(
        store
            .create_collection("d", crate::Schema::default())
            .unwrap_err(),
        StorageError::InvalidSchema { .. }
    ));
    store.create_collection("b-2", schema()).unwrap();
    assert_eq!(store.collections().unwrap(), ["b-2", "c"]);
    let error = store.collection("x").unwrap_err().to_string();
    assert!(error.contains("b-2, c"), "{error}");
}

#[test]
fn damage_to_manifest_pointer_and_log_is_told_or_repaired() {
    let backend = MemoryBackend::default();
    let (_store, c) = create(&backend);
    c.commit(vec![upsert(1, 1)]).unwrap();
    c.flush().unwrap();
    c.commit(vec![upsert(2, 1)]).unwrap();
    c.commit(vec![upsert(3, 1)]).unwrap();
    let dir = c.dir();
    let expected = contents(&c);
    let replace = |path: &std::path::Path, bytes: &[u8]| {
        let image = backend.image();
        image.remove_file(path).unwrap();
        write_file(&image, path, bytes).unwrap();
        image
    };
    let open = |image: &MemoryBackend| Store::open(PATH, options(image.clone())).unwrap().collection("c");

    let image = replace(&current_path(dir), b"");
    assert_eq!(
        contents(&open(&image).unwrap()),
        expected,
        "a lost pointer is stood in for"
    );
    assert_eq!(contents(&open(&image).unwrap()), expected, "and written again");

    let manifest = manifest_path(dir, 2);
    let good = backend.read(&manifest).unwrap();
    for cut in [0, 1, good.len() / 2, good.len() - 1] {
        let image = replace(&manifest, &good[..cut]);
        let current = image.read(&current_path(dir)).unwrap();
        let opened = open(&image).unwrap();
        assert_eq!(contents(&opened), expected, "the copy in CURRENT stands in");
        let image = replace(&manifest, &good[..cut]);
        image.remove_file(&current_path(dir)).unwrap();
        write_file(&image, &current_path(dir), &current[..32]).unwrap();
        let error = open(&image).unwrap_err();
        assert!(
            matches!(&error, StorageError::Corruption { file, .. } if *file == manifest),
            "{error}"
        );
    }
    let log = log_path(dir, 2);
    let mut bytes = backend.read(&log).unwrap();
    bytes[100] ^= 1;
    let error = open(&replace(&log, &bytes)).unwrap_err();
    assert!(
        matches!(&error, StorageError::Corruption { file, .. } if *file == log),
        "{error}"
    );
    let image = backend.image();
    image.remove_file(&log).unwrap();
    let error = open(&image).unwrap_err();
    assert!(
        matches!(&error, StorageError::Corruption { file, .. } if *file == log),
        "{error}"
    );
}

#[test]
fn check_finds_a_flipped_byte_in_a_segment() {
    let backend = MemoryBackend::default();
    let (_store, c) = create(&backend);
    c.commit((0..40).map(|id| upsert(id, 1)).collect()).unwrap();
    c.flush().unwrap();
    assert!(c.check(true).unwrap().is_empty());
    let folder = c.snapshot().segments()[0].segment.dir().to_owned();
    for name in ["ids", "documents", "dense", "tokens", "columns"] {
        let image = backend.image();
        let path = folder.join(name);
        let mut bytes = image.read(&path).unwrap();
        bytes[64] ^= 0x10;
        image.remove_file(&path).unwrap();
        write_file(&image, &path, &bytes).unwrap();
        let (_store, c) = reopen(&image);
        let findings = c.check(true).unwrap();
        assert!(
            findings
                .iter()
                .any(|f| f.severity == Severity::Damage && f.path.ends_with(name)),
            "{name}: {findings:?}"
        );
    }
}
