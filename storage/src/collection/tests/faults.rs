//! A disk that fails at each call once: nothing acknowledged is lost, nothing refused is there by half.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::support::*;
use crate::{CollectionStore, Operation, OptimizeOptions, Result, StorageError, Store};

/// A change and what the collection holds after it.
type Model = BTreeMap<u64, u32>;

/// What each step writes.
fn changes(step: u32) -> Vec<Operation> {
    let id = u64::from(step);
    vec![
        upsert(id, step),
        upsert(id % 3, step),
        delete(id.saturating_sub(4)),
    ]
}

fn apply(model: &Model, step: u32) -> Model {
    let mut next = model.clone();
    let id = u64::from(step);
    if step % 4 == 3 {
        next.insert(id, step);
        next.insert(id % 2 + 1, step);
        return next;
    }
    next.insert(id, step);
    next.insert(id % 3, step);
    next.remove(&id.saturating_sub(4));
    next
}

/// One step: a commit, or every fourth time a bulk load, some followed by a flush or an optimize.
fn run(c: &CollectionStore, step: u32) -> Result<u64> {
    let id = u64::from(step);
    if step % 4 == 3 {
        c.bulk(vec![record(id, step), record(id % 2 + 1, step)], &|_| {
            ControlFlow::Continue(())
        })
    } else {
        c.commit(changes(step))
    }
}

fn maintain(c: &CollectionStore, step: u32) -> Result<()> {
    match step {
        5 | 9 => c.flush(),
        10 => c.optimize(&OptimizeOptions::default()).map(drop),
        _ => Ok(()),
    }
}

const STEPS: std::ops::Range<u32> = 5..14;

/// Runs the workload with a fault at call `n`; whether the fault came to pass.
fn try_fault(fault: Fault, n: i64) -> bool {
    let backend = FaultyBackend::new();
    let store = Store::open(PATH, options(backend.clone())).unwrap();
    let c = store.create_collection("c", schema()).unwrap();
    backend.arm(fault, n);
    let (mut model, mut refused) = (Model::new(), None);
    for step in STEPS {
        match run(&c, step) {
            Ok(_) => model = apply(&model, step),
            Err(error) => {
                assert!(
                    !matches!(error, StorageError::Corruption { .. }),
                    "{fault:?} {n}: {error}"
                );
                refused = Some(step);
                break;
            }
        }
        if maintain(&c, step).is_err() {
            break;
        }
    }
    let fired = backend.fired();
    assert_eq!(
        contents(&c),
        model,
        "{fault:?} {n}: what is visible is what was acknowledged"
    );
    // What was refused may be found after the process ended, but only whole.
    let half = refused.map(|step| apply(&model, step));
    let after = contents(&reopen(&backend.inner).1);
    assert!(
        after == model || Some(&after) == half.as_ref(),
        "{fault:?} {n}: {after:?} instead of {model:?}"
    );
    backend.disarm();
    if fault == Fault::Full {
        // The disk has room again: the same handle goes on.
        c.commit(vec![upsert(77, 7)]).unwrap();
        c.optimize(&OptimizeOptions::default()).unwrap();
        model.insert(77, 7);
        assert_eq!(contents(&c), model, "{fault:?} {n}");
    }
    drop((c, store));
    let (_store, c) = reopen(&backend.inner);
    c.commit(vec![upsert(88, 8)]).unwrap();
    c.optimize(&OptimizeOptions::default()).unwrap();
    assert!(c.check(true).unwrap().is_empty());
    fired
}

#[test]
fn a_full_disk_at_any_write_loses_nothing_and_is_got_over() {
    let mut n = 0;
    while try_fault(Fault::Full, n) {
        n += 1;
    }
    assert!(n > 20, "only {n} writes were tried");
}

#[test]
fn a_failed_sync_at_any_moment_loses_nothing() {
    let mut n = 0;
    while try_fault(Fault::Sync, n) {
        n += 1;
    }
    assert!(n > 20, "only {n} syncs were tried");
}

#[test]
fn a_failed_create_rename_or_map_at_any_moment_loses_nothing() {
    let mut n = 0;
    while try_fault(Fault::Other, n) {
        n += 1;
    }
    assert!(n > 20, "only {n} calls were tried");
}

#[test]
fn a_failed_sync_of_the_log_poisons_the_handle() {
    let backend = FaultyBackend::new();
    let store = Store::open(PATH, options(backend.clone())).unwrap();
    let c = store.create_collection("c", schema()).unwrap();
    c.commit(vec![upsert(1, 1)]).unwrap();
    backend.arm(Fault::Sync, 0);
    assert!(matches!(
        c.commit(vec![upsert(2, 1)]).unwrap_err(),
        StorageError::Io { .. }
    ));
    let error = c.commit(vec![upsert(3, 1)]).unwrap_err();
    assert!(matches!(error, StorageError::Poisoned { .. }), "{error}");
    assert!(matches!(c.flush().unwrap_err(), StorageError::Poisoned { .. }));
    assert_eq!(c.snapshot().len(), 1, "reads go on");
    assert!(!c.check(false).unwrap().is_empty());
    store.close().unwrap();
    drop((c, store));
    let store = Store::open(PATH, options(backend.inner.clone())).unwrap();
    store.collection("c").unwrap().commit(vec![upsert(3, 1)]).unwrap();
}
