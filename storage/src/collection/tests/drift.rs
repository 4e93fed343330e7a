//! Documents that are unlike those that the codebook was trained for: noticed, kept exact until there is a codebook for
//! them, and no reader or writer waits for it.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use latewood_codecs::{TokenMatrix, maxsim};

use super::support::*;
use crate::collection::CodebookFit;
use crate::segment::{AwaitedTokens, TokenRows};
use crate::{
    CollectionStore, Maintenance, MemoryBackend, Operation, OptimizeOptions, Record, Schema, StorageError,
    Store, TokensSpec,
};

const DIM: usize = 16;
pub(super) const TOKENS: u64 = 16;
/// Hang guard only: nothing is asserted about how long things take.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Numbers that are the same on every run (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn float(&mut self) -> f32 {
        f32::from(u16::try_from(self.next() >> 48).unwrap()) / 32_768.0 - 1.0
    }
}

/// Tokens near some of the 40 directions of a world.
fn tokens(world: u64, id: u64) -> Vec<f32> {
    let mut random = Random(world * 1_000_003 + id);
    let mut out = Vec::new();
    for _ in 0..TOKENS {
        let mut direction = Random(world * 7_919 + random.next() % 40);
        direction.next();
        out.extend((0..DIM).map(|_| direction.float() + 0.2 * random.float()));
    }
    out
}

fn document(world: u64, id: u64) -> Record {
    Record {
        dense: None,
        tokens: Some(TokenMatrix::from_f32(DIM, &tokens(world, id)).unwrap()),
        ..record(id, 1)
    }
}

pub(super) fn write(c: &CollectionStore, world: u64, ids: std::ops::Range<u64>) {
    for id in ids.clone().step_by(100) {
        let batch = (id..(id + 100).min(ids.end)).map(|id| Operation::Upsert(document(world, id)));
        c.commit(batch.collect()).unwrap();
    }
}

fn tokens_only() -> Schema {
    let spec = TokensSpec {
        dim: DIM,
        ..schema().tokens.unwrap()
    };
    Schema {
        dense: None,
        tokens: Some(spec),
        ..schema()
    }
}

pub(super) fn create(maintenance: Maintenance) -> (Store, Arc<CollectionStore>) {
    let options = crate::StoreOptions {
        maintenance,
        ..options(MemoryBackend::default())
    };
    let store = Store::open(PATH, options).unwrap();
    let c = store.create_collection("c", tokens_only()).unwrap();
    write(&c, 1, 0..1_500);
    c.optimize(&OptimizeOptions::default()).unwrap();
    (store, c)
}

fn fits(c: &CollectionStore) -> Vec<CodebookFit> {
    c.codebooks()
        .unwrap()
        .iter()
        .map(|codebook| codebook.fit)
        .collect()
}

/// The mean score of a document with its own tokens, as they are stored: 1 a token where nothing is lost.
fn kept(c: &CollectionStore, world: u64, ids: std::ops::Range<u64>) -> f32 {
    let snapshot = c.snapshot();
    let scores = ids.clone().map(|id| {
        let stored = snapshot
            .get(&id.into())
            .unwrap()
            .unwrap()
            .tokens
            .unwrap()
            .to_f32();
        let mut own = tokens(world, id);
        for token in own.chunks_mut(DIM) {
            let norm = token.iter().map(|x| x * x).sum::<f32>().sqrt();
            token.iter_mut().for_each(|x| *x /= norm);
        }
        maxsim(&own, &stored, DIM).unwrap()
    });
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    let total = (TOKENS * (ids.end - ids.start)) as f32;
    scores.sum::<f32>() / total
}

#[test]
fn documents_of_the_same_kind_are_coded_at_once() {
    let (_store, c) = create(Maintenance::Manual);
    write(&c, 1, 1_500..1_800);
    c.flush().unwrap();
    let [codebook] = &c.codebooks().unwrap()[..] else {
        panic!("one was trained")
    };
    assert_eq!(
        (codebook.fit, codebook.tokens),
        (CodebookFit::Good, 1_800 * TOKENS)
    );
    assert!((0.8..1.2).contains(&codebook.drift.unwrap()), "{codebook:?}");
    assert_eq!(c.stats().unwrap().raw_tokens, 0);
}

#[test]
fn a_codebook_can_be_trained_before_what_it_codes_is_written() {
    let store = Store::open(PATH, options(MemoryBackend::default())).unwrap();
    let c = store.create_collection("c", tokens_only()).unwrap();
    let lengths = vec![u32::try_from(TOKENS).unwrap(); 1_000];
    let read = |id: usize, token: usize, out: &mut [f32]| {
        out.copy_from_slice(&tokens(1, id as u64)[token * DIM..][..DIM]);
        Ok(())
    };
    let awaited = AwaitedTokens {
        path: Path::new("/tokens.npy"),
        lengths: &lengths,
        read: &read,
    };
    assert!(c.should_train_for(1 << 20) && !c.should_train_for(1_000));
    let go = |_| ControlFlow::Continue(());
    let stop = |_| ControlFlow::Break(());
    assert!(matches!(
        c.train_for(&awaited, &stop),
        Err(StorageError::Cancelled)
    ));
    assert!(c.codebooks().unwrap().is_empty());
    assert_eq!(c.train_for(&awaited, &go).unwrap(), 1024);
    assert!(!c.should_train_for(1 << 20), "there is one");
    c.bulk((0..1_000).map(|id| document(1, id)).collect(), &go)
        .unwrap();
    assert_eq!(c.stats().unwrap().raw_tokens, 0);
    assert_eq!(fits(&c), [CodebookFit::Good]);
    let coded = kept(&c, 1, 0..1_000);
    // Another collection is optimized when all is there: nothing is lost against that.
    let later = store.create_collection("later", tokens_only()).unwrap();
    later
        .bulk((0..1_000).map(|id| document(1, id)).collect(), &go)
        .unwrap();
    later.optimize(&OptimizeOptions::default()).unwrap();
    assert_eq!(later.stats().unwrap().raw_tokens, 0);
    let kept = kept(&later, 1, 0..1_000);
    assert!((coded - kept).abs() < 1e-3, "{coded} {kept}");
}

#[test]
fn a_drift_is_noticed_and_optimize_handles_it_without_touching_older_codes() {
    let (_store, c) = create(Maintenance::Manual);
    let codes = |c: &CollectionStore| {
        let snapshot = c.snapshot();
        let tokens = snapshot.segments()[0].segment.tokens().unwrap().unwrap();
        match tokens.rows {
            TokenRows::Residual { rows, .. } => rows.residuals.to_vec(),
            TokenRows::Raw(_) => panic!("they were coded"),
        }
    };
    let before = codes(&c);
    write(&c, 2, 1_500..1_900);
    c.flush().unwrap();
    let [codebook] = &c.codebooks().unwrap()[..] else {
        panic!("no other was trained yet")
    };
    assert_eq!(codebook.fit, CodebookFit::Drifted);
    assert!(codebook.drift.unwrap() > 1.3, "{codebook:?}");
    assert_eq!(
        c.stats().unwrap().raw_tokens,
        400 * TOKENS,
        "they wait for a codebook"
    );
    assert!(kept(&c, 2, 1_500..1_900) > 0.999);

    let report = c.optimize(&OptimizeOptions::default()).unwrap();
    assert!(
        report.trained_centroids.is_some() && report.segments_after == 2,
        "{report:?}"
    );
    assert_eq!(fits(&c), [CodebookFit::Replaced, CodebookFit::Good]);
    assert_eq!(codes(&c), before);
    assert!(kept(&c, 2, 1_500..1_900) > 0.99, "{}", kept(&c, 2, 1_500..1_900));

    // Both kinds are written on; the newest codebook knows both.
    write(&c, 1, 1_900..2_000);
    write(&c, 2, 2_000..2_100);
    c.flush().unwrap();
    assert_eq!(c.stats().unwrap().raw_tokens, 0);
    assert!(c.check(true).unwrap().is_empty());
    let retrain = OptimizeOptions {
        retrain: true,
        ..OptimizeOptions::default()
    };
    c.optimize(&retrain).unwrap();
    assert_eq!(
        (c.snapshot().segments().len(), fits(&c)),
        (1, vec![CodebookFit::Good])
    );
}

fn wait(what: &str, until: impl Fn() -> bool) {
    let begun = Instant::now();
    while !until() {
        assert!(begun.elapsed() < PATIENCE, "still not: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_background_handles_a_drift_while_readers_and_writers_go_on() {
    let (store, c) = create(Maintenance::Background);
    let settled = Arc::new(AtomicUsize::new(0));
    let heard = Arc::clone(&settled);
    c.on_settled(move || {
        heard.fetch_add(1, Ordering::Relaxed);
    });
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let snapshot = c.snapshot();
                assert!(snapshot.len() >= 1_500);
                for id in [3_u64, 700, 1_499] {
                    assert!(snapshot.get(&id.into()).unwrap().is_some());
                }
            }
        });
        // Enough for a pause to code them, and for a codebook of their own.
        write(&c, 2, 1_500..2_600);
        wait("two codebooks, nothing raw", || {
            fits(&c) == [CodebookFit::Replaced, CodebookFit::Good] && c.stats().unwrap().raw_tokens == 0
        });
        done.store(true, Ordering::Release);
        reader.join().unwrap();
    });
    wait("told", || settled.load(Ordering::Relaxed) > 0);
    assert!(kept(&c, 2, 1_500..2_600) > 0.99 && kept(&c, 1, 0..1_500) > 0.99);
    assert_eq!(c.snapshot().len(), 2_600);
    store.close().unwrap();
}

#[test]
fn a_pause_brings_what_has_changed_into_one_segment() {
    let (store, c) = create(Maintenance::Background);
    write(&c, 1, 700..1_500);
    let deletes = (0..100).map(|id| Operation::Delete(id.into()));
    c.commit(deletes.collect()).unwrap();
    wait("one segment, nothing deleted or raw", || {
        let stats = c.stats().unwrap();
        (stats.segments, stats.deleted, stats.raw_tokens) == (1, 0, 0)
    });
    assert_eq!((c.snapshot().len(), fits(&c)), (1_400, vec![CodebookFit::Good]));
    store.close().unwrap();
}
