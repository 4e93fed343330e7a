//! Which texts run together, and on which threads.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// How inputs of different lengths share a run of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Batching {
    /// One input a run: the graph's numbers depend on what else is in the batch.
    Single,
    /// Inputs of similar length, padded to the longest and masked: at most so many tokens and rows in a run.
    Padded { tokens: usize, rows: usize },
}

/// Positions into `lengths`, in batches, the longest first: a long batch at the end would leave the other threads idle.
pub(crate) fn batches(lengths: &[usize], batching: Batching) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    let length = |&i: &usize| lengths.get(i).copied().unwrap_or(0);
    order.sort_by_key(|i| std::cmp::Reverse(length(i)));
    let (tokens, rows) = match batching {
        Batching::Single => (0, 1),
        Batching::Padded { tokens, rows } => (tokens, rows),
    };
    let mut out = Vec::new();
    let mut rest = order.as_slice();
    while let Some(first) = rest.first() {
        let fit = (tokens / length(first).max(1)).clamp(1, rows).min(rest.len());
        let (batch, tail) = rest.split_at(fit);
        out.push(batch.to_vec());
        rest = tail;
    }
    out
}

/// Runs `work` on each job, in order of their beginning, on at most `threads` threads; `done` sees each result on the
/// calling thread, in any order. The first error stops the others from beginning and is returned.
pub(crate) fn in_parallel<J: Sync, R: Send, E: Send>(
    jobs: &[J],
    threads: usize,
    work: impl Fn(&J) -> Result<R, E> + Sync,
    mut done: impl FnMut(usize, R),
) -> Result<(), E> {
    if threads.min(jobs.len()) <= 1 {
        for (i, job) in jobs.iter().enumerate() {
            done(i, work(job)?);
        }
        return Ok(());
    }
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let (sender, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            let (sender, next, failed, work) = (sender.clone(), &next, &failed, &work);
            scope.spawn(move || {
                while !failed.load(Ordering::Relaxed) {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(i) else { break };
                    let result = work(job);
                    failed.fetch_or(result.is_err(), Ordering::Relaxed);
                    if sender.send((i, result)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut outcome = Ok(());
        for (i, result) in results {
            match result {
                Ok(result) => done(i, result),
                Err(error) if outcome.is_ok() => outcome = Err(error),
                Err(_) => {}
            }
        }
        outcome
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_every_position_once_within_their_budget() {
        let lengths: Vec<usize> = (0..500).map(|i| 1 + (i * 7919) % 128).collect();
        let batches = batches(
            &lengths,
            Batching::Padded {
                tokens: 512,
                rows: 16,
            },
        );
        let mut seen: Vec<usize> = batches.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..500).collect::<Vec<_>>());
        for batch in &batches {
            let longest = batch.iter().map(|&i| lengths[i]).max().unwrap();
            assert!(
                batch.len() <= 16 && longest * batch.len() <= 512,
                "{} rows of {longest}",
                batch.len()
            );
        }
        let longest: Vec<usize> = batches.iter().map(|b| lengths[b[0]]).collect();
        assert!(longest.is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn a_single_batching_and_a_text_over_the_budget_run_alone() {
        assert_eq!(batches(&[3, 5], Batching::Single), [[1], [0]]);
        assert_eq!(
            batches(
                &[900, 2],
                Batching::Padded {
                    tokens: 512,
                    rows: 16
                }
            ),
            [[0], [1]]
        );
        assert!(batches(&[], Batching::Single).is_empty());
    }

    #[test]
    fn every_job_is_done_on_any_number_of_threads() {
        let jobs: Vec<u64> = (0..100).collect();
        for threads in [1, 2, 7] {
            let mut squares = vec![0; 100];
            in_parallel(&jobs, threads, |&j| Ok::<_, ()>(j * j), |i, r| squares[i] = r).unwrap();
            assert!(squares.iter().zip(&jobs).all(|(s, j)| *s == j * j));
        }
    }

    #[test]
    fn an_error_is_returned_and_stops_the_rest() {
        let jobs: Vec<u64> = (0..10_000).collect();
        for threads in [1, 3] {
            let mut finished = 0;
            let outcome = in_parallel(
                &jobs,
                threads,
                |&j| if j == 5 { Err(j) } else { Ok(()) },
                |_, ()| finished += 1,
            );
            assert_eq!(outcome, Err(5));
            assert!(finished < 10_000);
        }
    }
}
