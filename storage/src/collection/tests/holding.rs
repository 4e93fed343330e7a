//! Writers wait where queries would have to look at ever more tokens that are not coded.

use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use super::drift::{PATIENCE, TOKENS, create, write};
use crate::Maintenance;
use crate::collection::policy::HOLD_WRITERS;

#[test]
fn tokens_wait_in_memory_only_so_far_as_coding_keeps_up() {
    let (_store, c) = create(Maintenance::Background);
    let (first, end) = (10_000, 10_000 + 2 * HOLD_WRITERS / TOKENS);
    let waiting = || c.snapshot().memtable().num_tokens();
    let a_batch = 100 * TOKENS;
    thread::scope(|scope| {
        // No flush ends before this is let go of.
        let flushing = c.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = scope.spawn(|| write(&c, 1, first..end));
        let begun = Instant::now();
        while waiting() < HOLD_WRITERS {
            assert!(begun.elapsed() < PATIENCE, "{} tokens wait", waiting());
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(200));
        assert!(waiting() < HOLD_WRITERS + a_batch, "{} tokens wait", waiting());
        assert!(!writer.is_finished());
        drop(flushing);
        writer.join().unwrap();
    });
    assert!(waiting() < HOLD_WRITERS + a_batch, "{} tokens wait", waiting());
    let snapshot = c.snapshot();
    assert!((first..end).all(|id| snapshot.get(&id.into()).unwrap().is_some()));
}
