//! Opening what an ended process left on a real disk.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use latewood_codecs::{DenseCodec, Metric};
use latewood_storage::{
    CollectionStore, DenseSpec, DocumentId, Durability, Maintenance, Operation, OptimizeOptions, Payload,
    Record, Schema, StorageError, Store, StoreOptions,
};
use serde_json::json;

fn record(id: u64, text: &str) -> Record {
    Record {
        id: id.into(),
        text: Some(text.to_owned()),
        payload: Payload::new(),
        dense: Some(vec![id as f32, 1.0]),
        tokens: None,
        vectors: latewood_storage::Vectors::new(),
    }
}

fn schema() -> Schema {
    let dense = DenseSpec {
        dim: 2,
        metric: Metric::Cosine,
        codec: DenseCodec::F16,
    };
    Schema {
        dense: Some(dense),
        ..Schema::default()
    }
}

fn upsert(id: u64, text: &str) -> Operation {
    Operation::Upsert(record(id, text))
}

fn open(path: &Path, options: StoreOptions) -> (Store, Arc<CollectionStore>) {
    let store = Store::open(path, options).expect("it opens");
    let collection = store.collection("c").expect("the collection opens");
    (store, collection)
}

fn texts(c: &CollectionStore) -> BTreeMap<u64, String> {
    let snapshot = c.snapshot();
    let text = |id: u64| Some((id, snapshot.get(&DocumentId::U64(id)).expect("it reads")?.text?));
    (0..200).filter_map(text).collect()
}

/// Every file below a folder, with its length and time of change.
fn files(dir: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        let meta = fs::metadata(&path).expect("its metadata");
        if meta.is_dir() {
            found.extend(files(&path));
        }
        found.insert(path, (meta.len(), meta.modified().expect("a time")));
    }
    found
}

fn filled(path: &Path) -> BTreeMap<u64, String> {
    let store = Store::open(path, StoreOptions::default()).expect("it is created");
    let c = store.create_collection("c", schema()).expect("a collection");
    c.bulk((0..100).map(|id| record(id, "bulk")).collect(), &|_| {
        ControlFlow::Continue(())
    })
    .expect("a load");
    c.commit(vec![upsert(5, "flushed"), Operation::Delete(6.into())])
        .expect("a commit");
    c.flush().expect("a flush");
    c.commit(vec![upsert(7, "logged"), upsert(150, "logged")])
        .expect("a commit");
    texts(&c)
}

#[test]
fn a_dropped_database_opens_with_everything() {
    let dir = tempfile::tempdir().expect("a folder");
    let expected = filled(dir.path());
    let (store, c) = open(dir.path(), StoreOptions::default());
    assert_eq!(texts(&c), expected);
    assert_eq!(
        (expected[&5].as_str(), expected[&7].as_str(), expected.len()),
        ("flushed", "logged", 100)
    );
    c.optimize(&OptimizeOptions::default()).expect("an optimize");
    assert_eq!(texts(&c), expected);
    store.close().expect("it closes");
    drop((store, c));
    assert_eq!(texts(&open(dir.path(), StoreOptions::default()).1), expected);
}

#[test]
fn a_read_only_open_beside_a_writer_changes_no_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let expected = filled(dir.path());
    let (writer, c) = open(
        dir.path(),
        StoreOptions {
            maintenance: Maintenance::Manual,
            ..StoreOptions::default()
        },
    );
    let before = files(dir.path());
    let read_only = StoreOptions {
        read_only: true,
        ..StoreOptions::default()
    };
    let (reader, r) = open(dir.path(), read_only.clone());
    assert_eq!(texts(&r), expected);
    assert!(reader.catalog().expect("a catalog").get("c", "schema").is_some());
    r.check(true).expect("a check");
    reader.close().expect("it closes");
    assert_eq!(files(dir.path()), before);
    c.commit(vec![upsert(199, "later")]).expect("a commit");
    c.optimize(&OptimizeOptions::default()).expect("an optimize");
    r.refresh().expect("a refresh");
    assert_eq!(texts(&r), texts(&c));
    drop((writer, c));
}

#[cfg(unix)]
#[test]
fn a_folder_without_write_permission_can_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a folder");
    let expected = filled(dir.path());
    let set = |mode: u32| {
        for path in files(dir.path())
            .into_keys()
            .filter(|path| path.is_dir())
            .chain([dir.path().to_owned()])
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("permissions");
        }
    };
    set(0o555);
    let (_store, r) = open(
        dir.path(),
        StoreOptions {
            read_only: true,
            ..StoreOptions::default()
        },
    );
    assert_eq!(texts(&r), expected);
    set(0o755);
}

#[test]
fn a_second_writer_is_told_who_the_first_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path(), StoreOptions::default()).expect("it is created");
    let error = Store::open(dir.path(), StoreOptions::default()).expect_err("there is a writer");
    assert!(
        matches!(&error, StorageError::Locked { pid: Some(pid), .. } if *pid == std::process::id()),
        "{error}"
    );
    assert!(error.to_string().contains("read-only"), "{error}");
    drop(store);
    Store::open(dir.path(), StoreOptions::default()).expect("the first has gone");
}

#[test]
fn a_lost_or_damaged_catalog_is_rebuilt() {
    let dir = tempfile::tempdir().expect("a folder");
    let expected = filled(dir.path());
    let catalog = dir.path().join("catalog");
    for damage in ["none", "removed", "garbage"] {
        match damage {
            "removed" => fs::remove_dir_all(&catalog).expect("it is removed"),
            "garbage" => fs::write(catalog.join("db"), vec![0xA5; 70_000]).expect("it is overwritten"),
            _ => {}
        }
        let (store, c) = open(dir.path(), StoreOptions::default());
        assert_eq!(texts(&c), expected, "{damage}");
        let value = store
            .catalog()
            .expect("a catalog")
            .get("c", "schema")
            .expect("a copy of the schema");
        assert_eq!(value, json!(schema()), "{damage}");
        store
            .catalog()
            .expect("a catalog")
            .put("c", "tuned", &json!({"ef_search": 64}))
            .expect("a value");
        store.close().expect("it closes");
    }
}

#[test]
fn a_full_memtable_becomes_a_segment_by_itself() {
    let dir = tempfile::tempdir().expect("a folder");
    for maintenance in [Maintenance::Manual, Maintenance::Background] {
        let path = dir.path().join(format!("{maintenance:?}"));
        let options = StoreOptions {
            maintenance,
            durability: Durability::Buffered,
            memory_budget_bytes: 16 << 20,
            ..StoreOptions::default()
        };
        let store = Store::open(&path, options).expect("it is created");
        let c = store.create_collection("c", schema()).expect("a collection");
        let long = "late wood is dense ".repeat(500);
        for id in 0..1500 {
            c.commit(vec![upsert(id, &long)]).expect("a commit");
        }
        assert!(c.snapshot().memtable().bytes() < 9 << 20, "{maintenance:?}");
        assert!(!c.snapshot().segments().is_empty(), "{maintenance:?}");
        assert_eq!(c.snapshot().len(), 1500);
    }
}
