//! Writes, flushes, bulk loads and merges, seen now and after a reopen.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use super::support::*;
use crate::segment::ProgressFn;
use crate::wal::log_path;
use crate::{MemoryBackend, Operation, OptimizeOptions, StorageBackend, StorageError};

const QUIET: &ProgressFn<'static> = &|_| ControlFlow::Continue(());

fn versions(pairs: &[(u64, u32)]) -> BTreeMap<u64, u32> {
    pairs.iter().copied().collect()
}

#[test]
fn what_was_acknowledged_is_there_after_the_process_ends() {
    let backend = MemoryBackend::default();
    let (_store, c) = create(&backend);
    assert_eq!(c.commit(vec![upsert(1, 1), upsert(2, 1)]).unwrap(), 1);
    assert_eq!(c.commit(vec![delete(1), upsert(3, 1)]).unwrap(), 2);
    let expected = versions(&[(2, 1), (3, 1)]);
    assert_eq!(contents(&c), expected);
    let (_again, c) = reopen(&backend);
    assert_eq!(contents(&c), expected);
    assert_eq!(c.snapshot().sequence(), 2);
    assert_eq!(c.commit(vec![upsert(2, 2)]).unwrap(), 3);
    assert_eq!(contents(&c), versions(&[(2, 2), (3, 1)]));
}

#[test]
fn a_log_cut_at_any_byte_keeps_whole_batches() {
    let backend = MemoryBackend::default();
    let (_store, c) = create(&backend);
    let log = log_path(c.dir(), 1);
    let mut ends = vec![(backend.read(&log).unwrap().len(), contents(&c))];
    for i in 0..4 {
        c.commit(vec![upsert(i, 1), upsert(i + 1, 2), delete(i + 7)])
            .unwrap();
        ends.push((backend.read(&log).unwrap().len(), contents(&c)));
    }
    for cut in ends[0].0..=ends[4].0 {
        let image = backend.image();
        image.append(&log).unwrap().truncate(cut as u64).unwrap();
        let (_store, c) = reopen(&image);
        let expected = &ends.iter().rfind(|(end, _)| *end <= cut).unwrap().1;
        assert_eq!(&contents(&c), expected, "cut {cut}");
        if cut % 37 == 0 {
            c.commit(vec![upsert(99, 1)]).unwrap();
            assert!(c.contains(&99.into()).unwrap());
        }
    }
}

#[test]
fn a_flush_moves_documents_and_drops_their_log() {
    let backend = MemoryBackend::default();
    let (_store, c) = create(&backend);
    for version in 1..=3 {
        c.commit((0..20).map(|id| upsert(id, version)).collect()).unwrap();
        c.commit(vec![delete(u64::from(version))]).unwrap();
        c.flush().unwrap();
        assert!(c.snapshot().memtable().is_empty());
        assert_eq!(c.snapshot().segments().len(), version as usize);
    }
    c.flush().unwrap();
    assert_eq!(
        c.snapshot().segments().len(),
        3,
        "nothing to flush makes no segment"
    );
    let expected: BTreeMap<u64, u32> = (0..20).filter(|id| *id != 3).map(|id| (id, 3)).collect();
    assert_eq!(contents(&c), expected);
    let logs = backend.list(&c.dir().join("wal")).unwrap();
    assert_eq!(
        logs.iter().map(|log| log.name.as_str()).collect::<Vec<_>>(),
        ["4"]
    );
    let (_again, c) = reopen(&backend);
    assert_eq!(contents(&c), expected);
    assert_eq!(c.snapshot().sequence(), 6);
    assert!(c.check(true).unwrap().is_empty());
}

#[test]
fn a_flush_of_deletions_alone_lasts() {
    let backend = MemoryBackend::default();
    let (_store, c) = create(&backend);
    c.commit(vec![upsert(1, 1), upsert(2, 1)]).unwrap();
    c.flush().unwrap();
    c.commit(vec![delete(1)]).unwrap();
    c.flush().unwrap();
    let (_again, c) = reopen(&backend);
    assert_eq!(contents(&c), versions(&[(2, 1)]));
    assert_eq!(c.stats().unwrap().deleted, 1);
}

#[test]
fn a_bulk_load_replaces_what_is_in_segments_and_in_the_log_and_stays_replaced() {
    let backend = MemoryBackend::default();
    let (_store, c) = create(&backend);
    c.commit(vec![upsert(1, 1), upsert(2, 1), upsert(9, 1)]).unwrap();
    c.flush().unwrap();
    c.commit(vec![upsert(2, 2), upsert(3, 2), delete(4), upsert(8, 2)])
        .unwrap();
    c.bulk(
        vec![record(1, 5), record(2, 5), record(3, 5), record(4, 5)],
        QUIET,
    )
    .unwrap();
    let expected = versions(&[(1, 5), (2, 5), (3, 5), (4, 5), (8, 2), (9, 1)]);
    assert_eq!(contents(&c), expected);
    let (_again, again) = reopen(&backend);
    assert_eq!(
        contents(&again),
        expected,
        "older changes in the log do not come back over the load"
    );
    c.commit(vec![upsert(2, 6), delete(3)]).unwrap();
    let expected = versions(&[(1, 5), (2, 6), (4, 5), (8, 2), (9, 1)]);
    let (_again, again) = reopen(&backend);
    assert_eq!(contents(&again), expected, "later changes in the log do");
    c.flush().unwrap();
    let (_again, again) = reopen(&backend);
    assert_eq!(contents(&again), expected);
}

#[test]
fn a_load_that_is_broken_off_leaves_nothing() {
    let backend = MemoryBackend::default();
    let (_store, c) = create(&backend);
    c.commit(vec![upsert(1, 1)]).unwrap();
    let error = c
        .bulk(vec![record(1, 2), record(2, 2)], &|_| ControlFlow::Break(()))
        .unwrap_err();
    assert!(matches!(error, StorageError::Cancelled), "{error}");
    assert!(backend.list(&c.dir().join("segments")).unwrap().is_empty());
    assert_eq!(contents(&c), versions(&[(1, 1)]));
    c.bulk(vec![record(1, 3)], QUIET).unwrap();
    assert_eq!(contents(&reopen(&backend).1), versions(&[(1, 3)]));
}

#[test]
fn a_bad_batch_changes_nothing() {
    let backend = MemoryBackend::default();
    let (_store, c) = create(&backend);
    c.commit(vec![upsert(1, 1)]).unwrap();
    let mut bad = record(3, 1);
    bad.dense = Some(vec![f32::NAN; 4]);
    let error = c
        .commit(vec![upsert(2, 1), delete(1), Operation::Upsert(bad.clone())])
        .unwrap_err();
    assert!(matches!(error, StorageError::InvalidRecord { .. }), "{error}");
    let error = c.bulk(vec![record(2, 1), bad], QUIET).unwrap_err();
    assert!(matches!(error, StorageError::InvalidRecord { .. }), "{error}");
    let error = c.commit(vec![upsert(2, 1), upsert(2, 2)]).unwrap_err();
    assert!(error.to_string().contains("once in a batch"), "{error}");
    assert_eq!(contents(&c), versions(&[(1, 1)]));
    assert_eq!(contents(&reopen(&backend).1), versions(&[(1, 1)]));
}

#[test]
fn optimize_leaves_one_segment_without_deleted_rows() {
    let backend = MemoryBackend::default();
    let (_store, c) = create(&backend);
    for version in 1..=4 {
        c.commit(
            (0..30)
                .map(|id| upsert(id * u64::from(version), version))
                .collect(),
        )
        .unwrap();
        c.flush().unwrap();
    }
    let before = contents(&c);
    let report = c.optimize(&OptimizeOptions::default()).unwrap();
    assert_eq!((report.segments_before, report.segments_after), (4, 1));
    assert!(report.reclaimed > 0);
    assert_eq!(contents(&c), before);
    assert_eq!(c.stats().unwrap().deleted, 0);
    assert_eq!(
        backend.list(&c.dir().join("segments")).unwrap().len(),
        1,
        "merged segments are gone"
    );
    let (_again, c) = reopen(&backend);
    assert_eq!(contents(&c), before);
    c.commit((0..200).map(delete).collect()).unwrap();
    c.optimize(&OptimizeOptions::default()).unwrap();
    assert!(c.snapshot().is_empty() && c.snapshot().segments().is_empty());
}

#[test]
fn optimize_builds_the_graph_that_one_load_left_out() {
    let backend = MemoryBackend::default();
    let (_store, c) = create(&backend);
    c.bulk((0..1500).map(|id| record(id, 1)).collect(), QUIET)
        .unwrap();
    let graph = || {
        let snapshot = c.snapshot();
        assert_eq!(snapshot.segments().len(), 1);
        snapshot.segments()[0].segment.graph().unwrap().is_some()
    };
    assert!(!graph());
    c.optimize(&OptimizeOptions::default()).unwrap();
    assert!(graph());
    let before = c.snapshot().segments()[0].segment.id();
    c.optimize(&OptimizeOptions::default()).unwrap();
    assert_eq!(
        c.snapshot().segments()[0].segment.id(),
        before,
        "nothing is left to do"
    );
}

#[test]
fn optimize_trains_a_codebook_and_documents_still_match() {
    let backend = MemoryBackend::default();
    let (_store, c) = create(&backend);
    c.bulk((0..3000).map(|id| record(id, 1)).collect(), QUIET)
        .unwrap();
    assert!(c.snapshot().codebook().is_none());
    let report = c.optimize(&OptimizeOptions::default()).unwrap();
    assert!(report.trained_centroids.is_some());
    c.commit(vec![upsert(5000, 2)]).unwrap();
    c.flush().unwrap();
    let (_again, c) = reopen(&backend);
    let snapshot = c.snapshot();
    let codebook = snapshot.codebook().unwrap().id;
    assert!(
        snapshot
            .segments()
            .iter()
            .all(|view| view.segment.codebook_id() == Some(codebook))
    );
    assert_eq!(contents(&c).len(), 3001);
    assert!(c.check(true).unwrap().is_empty(), "{:?}", c.check(true));
}

#[test]
fn leftovers_are_removed_at_open_and_numbers_are_not_used_twice() {
    let backend = MemoryBackend::default();
    let (_store, c) = create(&backend);
    c.commit(vec![upsert(1, 1)]).unwrap();
    c.flush().unwrap();
    let image = backend.image();
    let dir = c.dir();
    for path in [
        "manifest-7",
        "CURRENT.new",
        "wal/1",
        "codebooks/3",
        "segments/1/tombstones-9",
    ] {
        image.create(&dir.join(path)).unwrap();
    }
    image.create_dir_all(&dir.join("segments/5")).unwrap();
    image.create(&dir.join("segments/5/meta")).unwrap();
    image
        .create_dir_all(Path::new("/db/collections/other.creating/wal"))
        .unwrap();
    let store = crate::Store::open(PATH, options(image.clone())).unwrap();
    let c = store.collection("c").unwrap();
    for path in [
        "manifest-7",
        "CURRENT.new",
        "wal/1",
        "codebooks/3",
        "segments/1/tombstones-9",
        "segments/5",
    ] {
        assert!(!image.exists(&dir.join(path)).unwrap(), "{path}");
    }
    assert!(!image.exists(Path::new("/db/collections/other.creating")).unwrap());
    c.commit(vec![upsert(2, 1)]).unwrap();
    c.flush().unwrap();
    assert_eq!(contents(&c), versions(&[(1, 1), (2, 1)]));
}

#[test]
fn concurrent_writers_all_succeed_and_share_syncs() {
    let backend = MemoryBackend::default();
    let (_store, c) = create(&backend);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let c = &c;
            scope.spawn(move || {
                for i in 0..50 {
                    c.commit(vec![upsert(thread * 100 + i, 1)]).unwrap();
                    assert!(
                        c.contains(&(thread * 100 + i).into()).unwrap(),
                        "visible once acknowledged"
                    );
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..5 {
                c.flush().unwrap();
            }
            c.optimize(&OptimizeOptions::default()).unwrap();
        });
    });
    assert_eq!(contents(&c).len(), 400);
    assert_eq!(contents(&reopen(&backend).1).len(), 400);
}
