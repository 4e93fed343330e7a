//! Replacing half of the documents in small batches, with queries in between.

use std::time::{Duration, Instant};

use latewood::{Collection, Document, QueryTokens};
use latewood_benches::Failure;
use latewood_benches::ask::{self, Ask};
use latewood_benches::times::Times;

/// Documents 0 to N, of which those of odd number had other contents before: every other of them under its own id, the
/// rest under an id that is gone in the end.
pub(crate) struct Versions {
    pub(crate) documents: usize,
}

/// What replacing took.
pub(crate) struct Replaced {
    batches: Times,
    queries: Times,
    batch: usize,
    total: Duration,
}

impl Versions {
    /// Id and content of each document before, contents counted through all that are read.
    pub(crate) fn before(&self) -> impl Iterator<Item = (usize, usize)> + Send {
        let n = self.documents;
        (0..n).map(move |at| match at % 4 {
            0 | 2 => (at, at),
            1 => (at, n + at / 2),
            _ => (n + at, n + at / 2),
        })
    }

    /// The numbers of the documents that change, in an order that is none.
    fn changing(&self) -> Vec<usize> {
        let mut numbers: Vec<usize> = (0..self.documents).filter(|at| at % 2 == 1).collect();
        numbers.sort_by_key(|at| (*at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        numbers
    }

    /// The id that goes when a document comes under another.
    fn gone(&self, at: usize) -> Option<usize> {
        (at % 4 == 3).then_some(self.documents + at)
    }
}

/// Replaces them; after each batch a query is run.
pub(crate) fn run(
    collection: &Collection,
    versions: &Versions,
    batch: usize,
    document: &impl Fn(usize, usize) -> Document,
    queries: &[QueryTokens],
) -> Result<Replaced, Failure> {
    let (mut batches, mut times) = (Vec::new(), Vec::new());
    let asked = Ask { k: 10, recall: None };
    let begun = Instant::now();
    for (number, changing) in versions.changing().chunks(batch.max(1)).enumerate() {
        let mut changes = collection.batch();
        for &at in changing {
            changes = changes.upsert(document(at, at));
            if let Some(gone) = versions.gone(at) {
                changes = changes.delete(gone as u64);
            }
        }
        let written = Instant::now();
        changes.commit()?;
        batches.push(written.elapsed().as_secs_f64() * 1e3);
        times.push(ask::one(collection, &queries[number % queries.len()], asked, None)?.1);
    }
    let expected = versions.documents as u64;
    let count = collection.count(None)?;
    if count != expected {
        return Err(format!("{count} documents after the change, expected {expected}").into());
    }
    Ok(Replaced {
        batches: Times::new(batches),
        queries: Times::new(times),
        batch,
        total: begun.elapsed(),
    })
}

impl Replaced {
    pub(crate) fn print(&self, rest: Duration) {
        println!(
            "\nbatches of {}: p50 {:.1} ms, p95 {:.1} ms; a query after each, beside the work in the background: p50 {:.2} ms, \
             p95 {:.2} ms; all in {:.1} s, at rest after {:.1} s more",
            self.batch,
            self.batches.p50(),
            self.batches.p95(),
            self.queries.p50(),
            self.queries.p95(),
            self.total.as_secs_f64(),
            rest.as_secs_f64()
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Versions;

    #[test]
    fn every_content_is_there_once_before_and_the_ids_are_those_of_the_numbers_in_the_end() {
        let versions = Versions { documents: 10 };
        let before: Vec<(usize, usize)> = versions.before().collect();
        let contents: BTreeSet<usize> = before.iter().map(|(_, content)| *content).collect();
        assert_eq!(
            contents.into_iter().collect::<Vec<_>>(),
            [0, 2, 4, 6, 8, 10, 11, 12, 13, 14]
        );
        let mut ids: BTreeSet<usize> = before.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids.len(), 10);
        for at in versions.changing() {
            if let Some(gone) = versions.gone(at) {
                assert!(ids.remove(&gone));
            }
            ids.insert(at);
        }
        assert_eq!(ids.into_iter().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    }
}
