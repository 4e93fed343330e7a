//! Random operations against a map.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::support::*;
use crate::{MemoryBackend, OptimizeOptions, StorageBackend, StoreOptions};

#[derive(Clone, Debug)]
enum Step {
    Batch(Vec<(u64, bool)>),
    Bulk(Vec<u64>),
    Flush,
    Optimize,
    /// The process ends; what it wrote is found by the next.
    Crash,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0_u64..24;
    let ids = proptest::collection::btree_set(id.clone(), 1..8);
    prop_oneof![
        6 => proptest::collection::btree_map(id, any::<bool>(), 1..6).prop_map(|map| Step::Batch(map.into_iter().collect())),
        2 => ids.prop_map(|ids| Step::Bulk(ids.into_iter().collect())),
        2 => Just(Step::Flush),
        1 => Just(Step::Optimize),
        2 => Just(Step::Crash),
        1 => Just(Step::Close),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn any_history_leaves_what_a_map_would_hold(steps in proptest::collection::vec(step(), 1..40)) {
        let mut backend = MemoryBackend::default();
        let (mut store, mut c) = create(&backend);
        let mut model: BTreeMap<u64, u32> = BTreeMap::new();
        for (version, step) in (1_u32..).zip(&steps) {
            match step {
                Step::Batch(changes) => {
                    let batch = changes.iter().map(|(id, keep)| if *keep { upsert(*id, version) } else { delete(*id) });
                    c.commit(batch.collect()).unwrap();
                    for (id, keep) in changes {
                        if *keep { model.insert(*id, version) } else { model.remove(id) };
                    }
                }
                Step::Bulk(ids) => {
                    let records = ids.iter().map(|id| record(*id, version)).collect();
                    c.bulk(records, &|_| ControlFlow::Continue(())).unwrap();
                    model.extend(ids.iter().map(|id| (*id, version)));
                }
                Step::Flush => c.flush().unwrap(),
                Step::Optimize => drop(c.optimize(&OptimizeOptions::default()).unwrap()),
                Step::Crash | Step::Close => {
                    if matches!(step, Step::Close) {
                        store.close().unwrap();
                    }
                    backend = backend.image();
                    drop((c, store));
                    let read_only = StoreOptions { read_only: true, ..options(backend.clone()) };
                    let reader = crate::Store::open(PATH, read_only).unwrap();
                    prop_assert_eq!(contents(&reader.collection("c").unwrap()), model.clone());
                    store = crate::Store::open(PATH, options(backend.clone())).unwrap();
                    c = store.collection("c").unwrap();
                }
            }
            prop_assert_eq!(contents(&c), model.clone());
        }
        prop_assert!(c.check(true).unwrap().is_empty());
        let folders = backend.list(&c.dir().join("segments")).unwrap().len();
        prop_assert_eq!(folders, c.snapshot().segments().len(), "no folder is left over");
    }
}
