//! Group commit and the published snapshot, as they are in the product, on locks that choose which thread goes on: many
//! orders are tried, and one that fails is printed so that it can be had again (`shuttle::replay`).

#![expect(
    dead_code,
    reason = "the parts are built here without those who use the rest of them"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use group_commit::GroupCommit;
use latewood_storage::StorageError;
use poison::Poison;
use published::Published;
use shuttle::sync::Mutex;
use shuttle::thread;

/// What the product takes from `storage/src/sync.rs`.
mod sync {
    use std::sync::Arc;
    pub(crate) use std::sync::PoisonError;

    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};

    /// A pointer that is read and replaced, in one step each.
    #[derive(Debug)]
    pub(crate) struct Swap<T>(Mutex<Arc<T>>);

    impl<T> Swap<T> {
        pub(crate) fn from_pointee(value: T) -> Self {
            Self(Mutex::new(Arc::new(value)))
        }

        pub(crate) fn load(&self) -> Box<Arc<T>> {
            Box::new(self.load_full())
        }

        pub(crate) fn load_full(&self) -> Arc<T> {
            Arc::clone(&self.0.lock().unwrap())
        }

        pub(crate) fn store(&self, value: Arc<T>) {
            *self.0.lock().unwrap() = value;
        }
    }
}

mod error {
    pub(crate) use latewood_storage::{Result, StorageError};
}

#[path = "../../storage/src/group_commit.rs"]
mod group_commit;
#[path = "../../storage/src/poison.rs"]
mod poison;
#[path = "../../storage/src/published.rs"]
mod published;

/// Orders that are tried of each model.
const ORDERS: usize = 3000;
const WRITERS: u64 = 3;
const EACH: u64 = 2;

/// A collection of which only the order of things is left.
struct Model {
    group: GroupCommit<u64>,
    snapshot: Published<Snapshot>,
    /// The log: what was appended, and how much of it was synced.
    log: Mutex<(Vec<u64>, usize)>,
    poison: Poison,
    /// The sync that fails, counted from 1; 0 for none.
    failing: u64,
    syncs: AtomicU64,
}

#[derive(Clone, Debug, Default)]
struct Snapshot {
    segments: Vec<u64>,
    memtable: Vec<u64>,
}

type Told = Result<u64, StorageError>;

impl Snapshot {
    fn items(&self) -> Vec<u64> {
        [&self.segments[..], &self.memtable[..]].concat()
    }
}

impl Model {
    fn new(failing: u64) -> Arc<Self> {
        Arc::new(Self {
            group: GroupCommit::default(),
            snapshot: Published::new(Snapshot::default()),
            log: Mutex::new((Vec::new(), 0)),
            poison: Poison::default(),
            failing,
            syncs: AtomicU64::new(0),
        })
    }

    /// As a collection commits: append all, sync once, show all.
    fn commit(&self, item: u64) -> Told {
        self.poison.check()?;
        self.group.submit(item, |items| {
            let count = items.len();
            let applied = self.snapshot.change(|current| self.log_and_apply(current, items));
            applied.unwrap_or_else(|error| (0..count).map(|_| Err(error.clone())).collect())
        })
    }

    fn log_and_apply(
        &self,
        current: &Snapshot,
        items: Vec<u64>,
    ) -> Result<(Snapshot, Vec<Told>), StorageError> {
        self.poison.check()?;
        let mut log = self.log.lock().unwrap();
        let first = log.0.len() as u64;
        log.0.extend(&items);
        if self.syncs.fetch_add(1, Ordering::Relaxed) + 1 == self.failing {
            self.poison.set("a sync failed".to_owned());
            self.poison.check()?;
        }
        log.1 = log.0.len();
        drop(log);
        let results = (first..).zip(&items).map(|(sequence, _)| Ok(sequence)).collect();
        let mut next = current.clone();
        next.memtable.extend(items);
        Ok((next, results))
    }

    /// As a memtable becomes a segment: pinned, written while others commit, and put in the place of what it holds.
    fn flush(&self) {
        let pinned = self.snapshot.load_full();
        thread::yield_now();
        let flushed = self.snapshot.change(|current| {
            let mut next = Snapshot::clone(current);
            next.segments.extend(&pinned.memtable);
            next.memtable = current.memtable[pinned.memtable.len()..].to_vec();
            Ok((next, ()))
        });
        flushed.unwrap();
    }

    /// Looks at one moment after another: none goes back, and nothing is visible that is not durable.
    fn read(&self) {
        let mut before = Vec::new();
        for _ in 0..4 {
            let items = self.snapshot.load_full().items();
            assert!(items.starts_with(&before), "{items:?} after {before:?}");
            let log = self.log.lock().unwrap();
            assert!(log.0[..log.1].starts_with(&items), "what is visible is durable");
            drop(log);
            before = items;
            thread::yield_now();
        }
    }

    fn write(&self, writer: u64) -> Vec<(u64, Told)> {
        let items = (0..EACH).map(|i| writer * 100 + i);
        let commit = |item| {
            let told = self.commit(item);
            let seen = self.snapshot.load().items();
            assert_eq!(
                told.is_ok(),
                seen.contains(&item),
                "visible is what was acknowledged"
            );
            (item, told)
        };
        items.map(commit).collect()
    }
}

/// Writers, one who flushes and one who reads; what the writers were told.
fn run(model: &Arc<Model>) -> Vec<(u64, Told)> {
    let spawn = |writer: u64| {
        let model = Arc::clone(model);
        thread::spawn(move || model.write(writer))
    };
    let writers: Vec<_> = (0..WRITERS).map(spawn).collect();
    let (flushing, reading) = (Arc::clone(model), Arc::clone(model));
    let others = [
        thread::spawn(move || flushing.flush()),
        thread::spawn(move || reading.read()),
    ];
    let told = writers.into_iter().flat_map(|writer| writer.join().unwrap());
    let told = told.collect();
    others.into_iter().for_each(|other| other.join().unwrap());
    told
}

#[test]
fn every_commit_is_applied_once_and_told_its_own_number() {
    let check = || {
        let model = Model::new(0);
        let told = run(&model);
        let log = model.log.lock().unwrap().0.clone();
        for (item, sequence) in told {
            assert_eq!(log[usize::try_from(sequence.unwrap()).unwrap()], item);
        }
        assert_eq!(model.snapshot.load().items(), log);
        assert_eq!(log.len() as u64, WRITERS * EACH);
    };
    shuttle::check_random(check, ORDERS);
}

#[test]
fn after_a_failed_sync_nothing_more_is_acknowledged() {
    let check = || {
        let model = Model::new(2);
        let told = run(&model);
        let durable = model.log.lock().unwrap().1;
        let acknowledged = told.iter().filter(|(_, told)| told.is_ok()).count();
        assert_eq!(
            (acknowledged, model.snapshot.load().items().len()),
            (durable, durable)
        );
        if model.syncs.load(Ordering::Relaxed) > 1 {
            assert!(model.commit(999).is_err(), "it is poisoned");
            assert!(
                told.iter()
                    .any(|(_, told)| matches!(told, Err(StorageError::Poisoned { .. })))
            );
        }
    };
    shuttle::check_random(check, ORDERS);
}

#[test]
fn a_group_has_one_leader_at_a_time_and_no_one_waits_for_ever() {
    let check = || {
        let group = Arc::new(GroupCommit::<u64>::default());
        let leading = Arc::new(Mutex::new(0_u64));
        let submit = |item: u64| {
            let (group, leading) = (Arc::clone(&group), Arc::clone(&leading));
            thread::spawn(move || {
                let commit = |items: Vec<u64>| {
                    *leading.lock().unwrap() += 1;
                    thread::yield_now();
                    let mut leaders = leading.lock().unwrap();
                    assert_eq!(*leaders, 1, "one leads at a time");
                    *leaders -= 1;
                    // One that finishes less than all is one that broke off.
                    let done = items.into_iter().take_while(|item| *item != 1);
                    done.map(|item| Ok(item * 2)).collect()
                };
                (item, group.submit(item, commit))
            })
        };
        let threads: Vec<_> = (0..4).map(submit).collect();
        for thread in threads {
            match thread.join().unwrap() {
                (item, Ok(result)) => assert!(item != 1 && result == item * 2),
                (_, Err(error)) => assert!(matches!(error, StorageError::Poisoned { .. }), "{error}"),
            }
        }
    };
    shuttle::check_random(check, ORDERS);
}
