//! Tokens that come as codes: stored as they are, whole or not at all.

use std::ops::ControlFlow;

use latewood_codecs::{ResidualCodec, ResidualCodes, TokenCodec};

use super::support::*;
use crate::{
    CodedBlock, CodedDocuments, CollectionStore, MemoryBackend, Operation, OptimizeOptions, Record, Result,
    Schema, StorageError, Store, TokensSpec,
};

fn coded_schema() -> Schema {
    Schema {
        tokens: Some(TokensSpec {
            dim: 8,
            bits: 2,
            codec: TokenCodec::Buckets,
            original: None,
            pool_factor: 1,
        }),
        dense: None,
        ..schema()
    }
}

fn codec() -> ResidualCodec {
    let centroids: Vec<f32> = (0..64).map(|i| if i % 9 == 0 { 1.0 } else { 0.0 }).collect();
    let (cutoffs, weights) = (vec![-0.1, 0.0, 0.1], vec![-0.2, -0.05, 0.05, 0.2]);
    ResidualCodec::from_parts(8, 2, centroids, cutoffs, weights).unwrap()
}

fn bare(id: u64, version: u32) -> Record {
    Record {
        dense: None,
        tokens: None,
        ..record(id, version)
    }
}

/// Documents of 1, 2, ... tokens, and the codes of all of them.
fn documents(ids: &[u64], version: u32) -> (CodedDocuments, ResidualCodes) {
    let lengths: Vec<u32> = (1..).take(ids.len()).collect();
    let tokens: u32 = lengths.iter().sum();
    let numbers: Vec<f32> = (0..tokens * 8)
        .map(|i| f32::from(u8::try_from((i * 29 + version) % 31).unwrap()) / 16.0 - 0.9)
        .collect();
    let mut codes = ResidualCodes::default();
    codec().encode(&numbers, &mut codes);
    let records = ids.iter().map(|&id| bare(id, version)).collect();
    let documents = CodedDocuments {
        records,
        lengths,
        codec: codec(),
    };
    (documents, codes)
}

/// The codes in blocks of so many tokens, which need not be whole documents.
fn blocks(codes: &ResidualCodes, tokens: usize) -> impl Iterator<Item = Result<CodedBlock>> {
    let blocks = codes.codes.chunks(tokens).zip(codes.residuals.chunks(tokens * 2));
    blocks.map(|(codes, residuals)| {
        Ok(CodedBlock {
            codes: codes.to_vec(),
            residuals: residuals.to_vec(),
        })
    })
}

fn load(c: &CollectionStore, ids: &[u64], version: u32) -> Result<u64> {
    let (documents, codes) = documents(ids, version);
    c.bulk_coded(documents, blocks(&codes, 4), &|_| ControlFlow::Continue(()))
}

fn create(backend: &MemoryBackend) -> (Store, std::sync::Arc<CollectionStore>) {
    let store = Store::open(PATH, options(backend.clone())).unwrap();
    let collection = store.create_collection("c", coded_schema()).unwrap();
    (store, collection)
}

/// Live ids with their versions.
fn versions(c: &CollectionStore) -> Vec<(u64, i64)> {
    let snapshot = c.snapshot();
    let version = |id: u64| {
        Some((
            id,
            snapshot.get(&id.into()).unwrap()?.payload["version"].as_i64()?,
        ))
    };
    let found: Vec<_> = (0..40).filter_map(version).collect();
    assert_eq!(snapshot.len(), found.len() as u64);
    found
}

#[test]
fn codes_are_stored_as_they_came_and_found_after_the_process_ends() {
    let backend = MemoryBackend::default();
    let (_store, c) = create(&backend);
    let (documents, codes) = documents(&[5, 6, 7], 1);
    c.bulk_coded(documents, blocks(&codes, 4), &|_| ControlFlow::Continue(()))
        .unwrap();
    for c in [&c, &reopen(&backend).1] {
        let snapshot = c.snapshot();
        let [view] = snapshot.segments() else {
            panic!("one segment was written")
        };
        let tokens = view.segment.tokens().unwrap().unwrap();
        let mut stored = ResidualCodes::default();
        for ordinal in 0..3 {
            let rows = tokens.residual(ordinal).unwrap();
            assert_eq!(rows.len(), ordinal as usize + 1);
            stored
                .codes
                .extend((0..rows.len()).map(|token| rows.codes.get(token)));
            stored.residuals.extend(rows.residuals);
            stored.factors.extend(rows.factors);
        }
        assert_eq!(stored, codes);
        assert!(view.segment.ivf().unwrap().is_some());
        assert_eq!(versions(c), [(5, 1), (6, 1), (7, 1)]);
        assert!(c.check(true).unwrap().is_empty());
    }
}

#[test]
fn later_documents_are_coded_with_the_codebook_that_came() {
    let backend = MemoryBackend::default();
    let (_store, c) = create(&backend);
    load(&c, &[1, 2, 3], 1).unwrap();
    load(&c, &[3, 4], 2).unwrap();
    let fresh = Record {
        dense: None,
        ..record(9, 3)
    };
    c.commit(vec![Operation::Upsert(fresh), Operation::Delete(1.into())])
        .unwrap();
    let expected = [(2, 1), (3, 2), (4, 2), (9, 3)];
    assert_eq!(versions(&c), expected);
    c.optimize(&OptimizeOptions::default()).unwrap();
    for c in [&c, &reopen(&backend).1] {
        assert_eq!(versions(c), expected);
        let snapshot = c.snapshot();
        // Each import has a codebook of its own, and codes are not made anew from codes.
        assert_eq!((snapshot.segments().len(), snapshot.codebooks().len()), (2, 2));
        for codebook in snapshot.codebooks().values() {
            assert_eq!(codebook.codec.centroids(), codec().centroids());
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_whole() {
    let backend = MemoryBackend::default();
    let (store, c) = create(&backend);
    load(&c, &[1], 1).unwrap();
    let quiet = &|_| ControlFlow::Continue(());
    let (mut long, codes) = documents(&[2, 3], 2);
    long.lengths[1] += 1;
    let error = c.bulk_coded(long, blocks(&codes, 2), quiet).unwrap_err();
    assert!(error.to_string().contains("expected 4 codes"), "{error}");
    let (mut empty, codes) = documents(&[2, 3], 2);
    empty.lengths = vec![0, 3];
    let error = c.bulk_coded(empty, blocks(&codes, 2), quiet).unwrap_err();
    assert!(matches!(error, StorageError::InvalidRecord { .. }), "{error}");
    let (fine, mut codes) = documents(&[2, 3], 2);
    codes.codes[1] = 8;
    let error = c.bulk_coded(fine, blocks(&codes, 2), quiet).unwrap_err();
    assert!(matches!(error, StorageError::Codec(_)), "{error}");
    let (twice, codes) = documents(&[2, 2], 2);
    let error = c.bulk_coded(twice, blocks(&codes, 2), quiet).unwrap_err();
    assert!(matches!(error, StorageError::InvalidRecord { .. }), "{error}");
    let (fine, _) = documents(&[2, 3], 2);
    let failing = std::iter::once(Err(StorageError::Closed));
    let error = c.bulk_coded(fine, failing, quiet).unwrap_err();
    assert!(
        matches!(error, StorageError::Closed),
        "the source's own error: {error}"
    );
    let other = store.create_collection("other", schema()).unwrap();
    let error = load(&other, &[1], 1).unwrap_err();
    assert!(matches!(error, StorageError::InvalidSchema { .. }), "{error}");
    assert_eq!(versions(&c), [(1, 1)]);
    assert_eq!(c.snapshot().codebooks().len(), 1);
    assert!(c.check(true).unwrap().is_empty());
}

#[test]
fn a_failing_disk_at_any_call_leaves_all_or_nothing() {
    for fault in [Fault::Full, Fault::Sync, Fault::Other] {
        let mut n = 0;
        loop {
            let backend = FaultyBackend::new();
            let store = Store::open(PATH, options(backend.clone())).unwrap();
            let c = store.create_collection("c", coded_schema()).unwrap();
            load(&c, &[1, 2], 1).unwrap();
            backend.arm(fault, n);
            let loaded = load(&c, &[2, 3], 2).is_ok();
            let fired = backend.fired();
            let (before, after) = ([(1, 1), (2, 1)], [(1, 1), (2, 2), (3, 2)]);
            backend.disarm();
            assert_eq!(versions(&c) == after, loaded, "{fault:?} {n}");
            drop((c, store));
            let (_store, c) = reopen(&backend.inner);
            let found = versions(&c);
            // What was refused may be found after the process ended, but only whole.
            assert!(
                found == after || (!loaded && found == before),
                "{fault:?} {n}: {found:?}"
            );
            load(&c, &[3], 5).unwrap();
            c.optimize(&OptimizeOptions::default()).unwrap();
            assert!(c.check(true).unwrap().is_empty(), "{fault:?} {n}");
            if !fired {
                break;
            }
            n += 1;
        }
        assert!(n > 10, "only {n} calls of {fault:?} were tried");
    }
}

#[test]
fn an_error_of_the_source_may_be_of_any_type() {
    #[derive(Debug, PartialEq)]
    enum Own {
        Storage,
        Source(&'static str),
    }
    impl From<StorageError> for Own {
        fn from(_: StorageError) -> Self {
            Self::Storage
        }
    }
    let backend = MemoryBackend::default();
    let (_store, c) = create(&backend);
    let (fine, _) = documents(&[2], 2);
    let failing = std::iter::once(Err(Own::Source("unplugged")));
    let error = c
        .bulk_coded(fine, failing, &|_| ControlFlow::Continue(()))
        .unwrap_err();
    assert_eq!(error, Own::Source("unplugged"));
    let (fine, _) = documents(&[2], 2);
    let none = std::iter::empty::<Result<CodedBlock, Own>>();
    let error = c
        .bulk_coded(fine, none, &|_| ControlFlow::Continue(()))
        .unwrap_err();
    assert_eq!(error, Own::Storage);
}
