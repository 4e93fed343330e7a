//! Each call to the disk fails once: nothing acknowledged is lost, nothing refused is visible, nothing panics, and once the
//! disk is well the database goes on.

use std::collections::BTreeMap;
use std::sync::Mutex;

use latewood_tests::disk::Call;
use latewood_tests::faults::{all, try_fault};

#[test]
fn any_call_may_fail_once_in_any_way() {
    let left = Mutex::new(all());
    let tried: Mutex<BTreeMap<Call, u64>> = Mutex::default();
    let wrong: Mutex<Vec<String>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((call, failure)) = { left.lock().unwrap().pop() } {
                    for n in 0.. {
                        match try_fault(call, failure, n) {
                            Ok(true) => *tried.lock().unwrap().entry(call).or_default() += 1,
                            Ok(false) => break,
                            Err(what) => wrong.lock().unwrap().push(what),
                        }
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    let tried = tried.into_inner().unwrap();
    // Each is reached: a workload that does not come there shows nothing.
    for (call, least) in [
        (Call::Write, 200),
        (Call::Sync, 140),
        (Call::SyncDir, 100),
        (Call::Map, 40),
    ] {
        assert!(tried[&call] >= least, "{call:?}: {tried:?}");
    }
    for call in Call::ALL.into_iter().filter(|call| *call != Call::Truncate) {
        assert!(tried[&call] > 0, "{call:?}: {tried:?}");
    }
}
