//! What the files take while documents are replaced without end, beside a collection that is built of the same at once.

use std::sync::Arc;

use latewood_codecs::TokenMatrix;

use super::support::*;
use crate::collection::worker::Duty;
use crate::{CollectionStore, Operation, OptimizeOptions, Record, Schema, Store, TokensSpec};

const DIM: usize = 32;
const TOKENS: u32 = 32;
const LIVE: u64 = 2_400;
const ROUNDS: u64 = 20;
/// Documents that a round replaces.
const EACH: u64 = LIVE / 10;
const BATCH: usize = 60;

fn create(backend: &FaultyBackend) -> (Store, Arc<CollectionStore>) {
    let store = Store::open(PATH, options(backend.clone())).unwrap();
    let spec = TokensSpec {
        dim: DIM,
        bits: 2,
        ..schema().tokens.unwrap()
    };
    let schema = Schema {
        dense: None,
        tokens: Some(spec),
        vectors: Vec::new(),
        ..schema()
    };
    let collection = store.create_collection("c", schema).unwrap();
    (store, collection)
}

/// Tokens near some of 40 directions.
fn document(id: u64) -> Record {
    let number = |seed: u64| (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / 8_388_608.0 - 1.0;
    let row = |token: u64| {
        let direction = (id * 31 + token * token) % 40;
        let near = move |i: u64| number(direction * 100 + i) + 0.2 * number(id * 4_099 + token * 37 + i);
        (1..=DIM as u64).map(near).collect::<Vec<f32>>()
    };
    let tokens: Vec<f32> = (0..u64::from(TOKENS)).flat_map(row).collect();
    Record {
        dense: None,
        tokens: Some(TokenMatrix::from_f32(DIM, &tokens).unwrap()),
        vectors: Default::default(),
        ..record(id, 1)
    }
}

fn write(c: &CollectionStore, ids: std::ops::Range<u64>) {
    for from in ids.clone().step_by(BATCH) {
        let batch = (from..(from + BATCH as u64).min(ids.end)).map(|id| Operation::Upsert(document(id)));
        c.commit(batch.collect()).unwrap();
    }
}

/// Bytes of a collection that is built of documents of these ids at once.
fn built(ids: std::ops::Range<u64>) -> u64 {
    let backend = FaultyBackend::new();
    let (_store, c) = create(&backend);
    write(&c, ids);
    c.optimize(&OptimizeOptions::default()).unwrap();
    backend.inner.bytes()
}

/// Replaces all documents twice, and has done after each batch what the background threads do; the most bytes that the
/// files took at any time, and the most after a round.
fn churn(pauses: bool) -> (u64, u64) {
    let backend = FaultyBackend::new();
    let (_store, c) = create(&backend);
    write(&c, 0..LIVE);
    c.optimize(&OptimizeOptions::default()).unwrap();
    let work = |paused| {
        c.maintain(Duty::Flush, paused).unwrap();
        c.maintain(Duty::Merge, paused).unwrap();
    };
    backend.take_most();
    let (mut most, mut settled) = (0, 0);
    for round in 0..ROUNDS {
        for from in (round * EACH..(round + 1) * EACH).step_by(BATCH) {
            let deletes = (from..from + BATCH as u64).map(|id| Operation::Delete(id.into()));
            let upserts = (from..from + BATCH as u64).map(|id| Operation::Upsert(document(LIVE + id)));
            c.commit(deletes.chain(upserts).collect()).unwrap();
            most = most.max(backend.inner.bytes());
            work(false);
        }
        if pauses {
            work(true);
        }
        most = most.max(backend.take_most());
        settled = settled.max(backend.inner.bytes());
        let ids = || (round + 1) * EACH..(round + 1) * EACH + LIVE;
        assert_eq!(c.snapshot().len(), LIVE);
        for id in ids().step_by(97) {
            assert!(c.contains(&id.into()).unwrap(), "{id}");
        }
    }
    (most, settled)
}

#[test]
fn documents_that_are_replaced_without_pause_take_at_most_two_and_a_half_times_what_lives() {
    let live = built(ROUNDS * EACH..ROUNDS * EACH + LIVE);
    let (most, settled) = churn(false);
    let shares = format!("{most} at most, {settled} after a round, {live} when built at once");
    assert!(2 * most <= 5 * live, "{shares}");
    assert!(settled <= 2 * live, "{shares}");
}

#[test]
fn documents_that_are_replaced_with_pauses_take_at_most_half_more_than_what_lives_after_each() {
    let live = built(ROUNDS * EACH..ROUNDS * EACH + LIVE);
    let (most, settled) = churn(true);
    let shares = format!("{most} at most, {settled} after a pause, {live} when built at once");
    assert!(2 * most <= 5 * live, "{shares}");
    assert!(2 * settled <= 3 * live, "{shares}");
}
