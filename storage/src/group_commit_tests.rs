//! Group commit on threads of the system; `interleavings/tests` has it on threads whose order is chosen.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::group_commit::GroupCommit;

#[test]
fn everyone_gets_the_result_of_their_own_item() {
    let (group, calls, barrier) = (GroupCommit::default(), AtomicU64::new(0), Barrier::new(8));
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let (group, calls, barrier) = (&group, &calls, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for i in 0..200 {
                    let item = thread * 1000 + i;
                    let result = group.submit(item, |items| {
                        calls.fetch_add(1, Ordering::Relaxed);
                        items.into_iter().map(|item| Ok(item * 2)).collect()
                    });
                    assert_eq!(result.unwrap(), item * 2);
                }
            });
        }
    });
    assert!(calls.load(Ordering::Relaxed) <= 1600);
}

#[test]
fn followers_are_let_go_when_the_leader_panics() {
    let group = GroupCommit::default();
    let (entered, panicked) = (Barrier::new(2), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let lead = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                group.submit(1, |_| {
                    entered.wait();
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    panic!("in the middle of a commit");
                })
            }));
            assert!(lead.is_err());
            panicked.fetch_add(1, Ordering::Relaxed);
        });
        entered.wait();
        assert_eq!(
            group
                .submit(2, |items| items.iter().map(|_| Ok(7)).collect())
                .unwrap(),
            7
        );
    });
    assert_eq!(panicked.load(Ordering::Relaxed), 1);
}
