//! Concurrent writers share one append and one sync: whoever finds no leader commits for everyone who waits.

use std::collections::HashMap;

use crate::error::{Result, StorageError};
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A queue of commits.
#[derive(Debug)]
pub(crate) struct GroupCommit<T> {
    queue: Mutex<Queue<T>>,
    done: Condvar,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: Vec<(u64, T)>,
    results: HashMap<u64, Result<u64>>,
    next_ticket: u64,
    led: bool,
}

impl<T> Default for GroupCommit<T> {
    fn default() -> Self {
        let queue = Queue {
            waiting: Vec::new(),
            results: HashMap::new(),
            next_ticket: 0,
            led: false,
        };
        Self {
            queue: Mutex::new(queue),
            done: Condvar::new(),
        }
    }
}

impl<T> GroupCommit<T> {
    /// Commits `item` together with whatever else waits; returns its result. `commit` gets the items in order of arrival
    /// and gives one result for each; one call runs at a time.
    pub(crate) fn submit(&self, item: T, commit: impl Fn(Vec<T>) -> Vec<Result<u64>>) -> Result<u64> {
        let mut queue = self.lock();
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        queue.waiting.push((ticket, item));
        loop {
            if let Some(result) = queue.results.remove(&ticket) {
                return result;
            }
            if queue.led {
                queue = self.done.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            queue.led = true;
            let (tickets, items) = std::mem::take(&mut queue.waiting).into_iter().unzip();
            drop(queue);
            let mut lead = Lead {
                group: self,
                tickets,
                results: Vec::new(),
            };
            lead.results = commit(items);
            drop(lead);
            queue = self.lock();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands out the results when it goes, also when the commit panicked: then everyone else gets an error.
struct Lead<'a, T> {
    group: &'a GroupCommit<T>,
    tickets: Vec<u64>,
    results: Vec<Result<u64>>,
}

impl<T> Drop for Lead<'_, T> {
    fn drop(&mut self) {
        let mut queue = self.group.lock();
        let mut results = std::mem::take(&mut self.results).into_iter();
        for ticket in &self.tickets {
            let missing = || {
                Err(StorageError::Poisoned {
                    reason: "a commit did not finish".to_owned(),
                })
            };
            queue
                .results
                .insert(*ticket, results.next().unwrap_or_else(missing));
        }
        queue.led = false;
        self.group.done.notify_all();
    }
}
