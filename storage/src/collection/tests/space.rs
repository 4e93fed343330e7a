//! What a database takes on the disk, and that what was deleted is gone from it.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::support::*;
use crate::segment::ProgressFn;
use crate::{
    CollectionStore, MemoryBackend, Operation, OptimizeOptions, OptimizeReport, Record, StorageBackend, Store,
};

const QUIET: &ProgressFn<'static> = &|_| ControlFlow::Continue(());

/// The files of a folder and of those in it, with what they hold.
fn files(backend: &MemoryBackend, folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in backend.list(folder).unwrap() {
        let path = folder.join(&entry.name);
        if entry.is_dir {
            found.extend(files(backend, &path));
        } else {
            found.push((path.display().to_string(), backend.read(&path).unwrap()));
        }
    }
    found
}

fn holding(backend: &MemoryBackend, secret: &[u8]) -> Vec<String> {
    let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    let all = files(backend, Path::new(PATH)).into_iter();
    all.filter(|(_, bytes)| holds(bytes))
        .map(|(path, _)| path)
        .collect()
}

/// A vector by which a document is found in any file that holds it: in logs and segments it is stored as it is.
fn mark(seed: u64) -> Vec<f32> {
    (1..5_u8)
        .map(|i| (seed as f32 + 0.123).sin() * f32::from(i))
        .collect()
}

fn bytes_of_mark(seed: u64) -> Vec<u8> {
    bytemuck::cast_slice(&mark(seed)).to_vec()
}

fn secret(id: u64, seed: u64) -> Record {
    Record {
        text: Some(format!("secret {seed}")),
        dense: Some(mark(seed)),
        ..record(id, 1)
    }
}

fn optimize(collection: &CollectionStore) -> OptimizeReport {
    collection.optimize(&OptimizeOptions::default()).unwrap()
}

/// Documents that stay, in the log, in segments of both kinds, and beside them those of `ids`, whose texts are secrets.
fn with_secrets(backend: &MemoryBackend, ids: &[u64]) -> (Store, Arc<CollectionStore>) {
    let (store, c) = create(backend);
    c.bulk((100..160).map(|id| record(id, 1)).collect(), QUIET)
        .unwrap();
    c.bulk(ids.iter().map(|id| secret(*id, *id)).collect(), QUIET)
        .unwrap();
    c.commit(
        ids.iter()
            .map(|id| Operation::Upsert(secret(*id, *id + 50)))
            .collect(),
    )
    .unwrap();
    (store, c)
}

#[test]
fn what_was_deleted_or_replaced_is_in_no_file_after_an_optimize() {
    let backend = MemoryBackend::default();
    let (_store, c) = with_secrets(&backend, &[1, 2, 3]);
    let found = |seed: u64| holding(&backend, &bytes_of_mark(seed));
    assert!(!found(1).is_empty(), "the first version is in a segment");
    assert!(!found(51).is_empty(), "the second is in the log");
    assert!(!holding(&backend, b"secret 51").is_empty(), "its text too");
    c.flush().unwrap();
    assert!(!found(51).is_empty(), "and then in another segment");
    c.commit(vec![delete(1)]).unwrap();
    optimize(&c);
    for gone in [1, 2, 3, 51] {
        assert_eq!(found(gone), Vec::<String>::new());
        assert_eq!(
            holding(&backend, format!("secret {gone}").as_bytes()),
            Vec::<String>::new()
        );
    }
    assert!(!found(52).is_empty(), "the search finds what is there");
    // Texts in segments are compressed: of those that are there every row is live, and no folder is left but theirs.
    let snapshot = c.snapshot();
    let folders = backend.list(&c.dir().join("segments")).unwrap();
    assert_eq!(folders.len(), snapshot.segments().len());
    assert_eq!(snapshot.num_deleted(), 0);
}

#[test]
fn what_a_snapshot_still_reads_is_gone_once_it_is_and_the_next_optimize_has_run() {
    let backend = MemoryBackend::default();
    let (_store, c) = with_secrets(&backend, &[1]);
    c.flush().unwrap();
    let pinned = c.snapshot();
    c.commit(vec![delete(1)]).unwrap();
    optimize(&c);
    let found = || holding(&backend, &bytes_of_mark(51));
    assert!(!found().is_empty(), "a reader may still want it");
    drop(pinned);
    optimize(&c);
    assert_eq!(found(), Vec::<String>::new());
}

#[test]
fn after_an_optimize_a_database_takes_what_its_live_documents_would() {
    let bytes = |backend: &MemoryBackend| {
        let all = files(backend, Path::new(PATH));
        all.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
    };
    let backend = MemoryBackend::default();
    let (_store, c) = create(&backend);
    for round in 0..20 {
        let from = round * 40;
        c.commit(
            (from..from + 200)
                .map(|id| Operation::Upsert(secret(id, id + round)))
                .collect(),
        )
        .unwrap();
        c.commit((from..from + 40).map(delete).collect()).unwrap();
        c.flush().unwrap();
    }
    let before = bytes(&backend);
    optimize(&c);
    let after = bytes(&backend);
    let built = MemoryBackend::default();
    let (_store, fresh) = create(&built);
    let records: Vec<Record> = contents_of(&c);
    assert_eq!(records.len(), 160);
    fresh.bulk(records, QUIET).unwrap();
    optimize(&fresh);
    let live = bytes(&built);
    assert!(2 * after <= 3 * live, "{after} bytes, {live} when built at once");
    assert!(
        before > 3 * live,
        "{before} before: there was something to reclaim"
    );
}

fn contents_of(collection: &CollectionStore) -> Vec<Record> {
    let snapshot = collection.snapshot();
    let mut records = Vec::new();
    for view in snapshot.segments() {
        let live = (0..view.segment.len()).filter(|ordinal| view.is_live(*ordinal));
        records.extend(live.map(|ordinal| view.segment.record(ordinal).unwrap()));
    }
    records
}
