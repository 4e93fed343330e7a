//! Merged segments hold the live rows of their sources, in order, and copies of their codes.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use latewood_codecs::{DenseCodec, OriginalCodec};

use super::{backend, codebook, open, options, records, schema, view};
use crate::backend::{MemoryBackend, StorageBackend};
use crate::document::Record;
use crate::error::StorageError;
use crate::schema::Schema;
use crate::segment::{Codebook, ColumnView, Component, SegmentView, Stage, merge_segments, write_segment};

const OUT: &str = "/c/segments/9";

/// Writes a segment of documents of these numbers.
fn source(
    backend: &MemoryBackend,
    schema: &Schema,
    id: u64,
    records: &[Arc<Record>],
    codebook: Option<&Arc<Codebook>>,
    deleted: &[u32],
) -> SegmentView {
    let dir = format!("/c/segments/{id}");
    write_segment(backend, Path::new(&dir), schema, codebook, records, &options(id)).unwrap();
    let known: Vec<_> = codebook.cloned().into_iter().collect();
    view(open(backend, Path::new(&dir), schema, &known).unwrap(), deleted)
}

fn merge(
    backend: &MemoryBackend,
    schema: &Schema,
    codebook: Option<&Arc<Codebook>>,
    sources: &[SegmentView],
) -> SegmentView {
    let (info, remaps) = merge_segments(
        backend,
        Path::new(OUT),
        schema,
        codebook,
        sources,
        &options(9),
        &|_| ControlFlow::Continue(()),
    )
    .unwrap();
    let mut next = 0;
    for (source, remap) in sources.iter().zip(&remaps) {
        assert_eq!(remap.len(), source.segment.len() as usize);
        for old in 0..source.segment.len() + 2 {
            let expected = source.is_live(old).then_some(next);
            assert_eq!(remap.get(old), expected);
            next += u32::from(expected.is_some());
        }
    }
    assert_eq!(info.rows, next);
    let known: Vec<_> = codebook.cloned().into_iter().collect();
    let merged = open(backend, Path::new(OUT), schema, &known).unwrap();
    assert!(
        merged.verify().iter().all(|h| h.damage.is_none()),
        "{:?}",
        merged.verify()
    );
    assert_eq!(merged.bytes().values().sum::<u64>(), info.bytes);
    view(merged, &[])
}

#[test]
fn raw_segments_merge_into_what_writing_the_rest_gives() {
    let (backend, schema, all) = (backend(), schema(DenseCodec::F32, 2, None), records(0..400));
    let (first, second) = (&all[..250], &all[250..]);
    let deleted: Vec<u32> = (0..250).filter(|n| n % 7 == 2).chain(60..130).collect();
    let sources = [
        source(&backend, &schema, 1, first, None, &deleted),
        source(&backend, &schema, 2, second, None, &[0, 149, 4_000_000]),
    ];
    let merged = merge(&backend, &schema, None, &sources).segment;
    let live = (0..250u32).filter(|n| !deleted.contains(n)).chain(251..399);
    let expected: Vec<&Arc<Record>> = live.map(|n| &all[n as usize]).collect();
    assert_eq!(merged.len() as usize, expected.len());
    for (ordinal, record) in (0..).zip(expected) {
        assert_eq!(merged.record(ordinal).unwrap(), **record);
        assert_eq!(merged.find(&record.id).unwrap(), Some(ordinal));
    }
    assert_eq!(
        merged.find(&all[2].id).unwrap(),
        None,
        "a deleted document is gone"
    );
    assert!(merged.graph().unwrap().is_some());
}

#[test]
fn residual_codes_of_the_same_codebook_are_copied_byte_for_byte() {
    let schema = schema(DenseCodec::Int8, 2, Some(OriginalCodec::Int8));
    let (backend, all, codebook) = (backend(), records(0..200), codebook(4, 2, 24));
    let at_once = source(&backend, &schema, 3, &all, Some(&codebook), &[]);
    let parts = [
        source(&backend, &schema, 1, &all[..90], Some(&codebook), &[]),
        source(&backend, &schema, 2, &all[90..], Some(&codebook), &[]),
    ];
    let merged = merge(&backend, &schema, Some(&codebook), &parts);
    for component in [
        Component::Tokens,
        Component::Original,
        Component::Ivf,
        Component::Lexical,
        Component::Ids,
        Component::Dense,
    ] {
        let read = |dir: &Path| backend.read(&dir.join(component.name())).unwrap();
        assert!(
            read(merged.segment.dir()) == read(at_once.segment.dir()),
            "{component:?}"
        );
    }
}

#[test]
fn deleted_rows_leave_tokens_and_lists() {
    let schema = schema(DenseCodec::F16, 4, None);
    let (backend, all, codebook) = (backend(), records(0..60), codebook(4, 4, 16));
    let deleted: Vec<u32> = (0..60).filter(|n| n % 2 == 1).collect();
    let sources = [source(&backend, &schema, 1, &all, Some(&codebook), &deleted)];
    let merged = merge(&backend, &schema, Some(&codebook), &sources).segment;
    let even: Vec<_> = all.iter().step_by(2).cloned().collect();
    let expected = source(&backend, &schema, 2, &even, Some(&codebook), &[]).segment;
    for component in [Component::Ivf, Component::Columns, Component::Lexical] {
        let read = |dir: &Path| backend.read(&dir.join(component.name())).unwrap();
        assert!(read(merged.dir()) == read(expected.dir()), "{component:?}");
    }
    let (merged, expected) = (
        merged.tokens().unwrap().unwrap(),
        expected.tokens().unwrap().unwrap(),
    );
    for ordinal in 0..30 {
        let (a, b) = (
            merged.residual(ordinal).unwrap(),
            expected.residual(ordinal).unwrap(),
        );
        assert!(
            (a.residuals, a.factors) == (b.residuals, b.factors),
            "row {ordinal}"
        );
        assert!((0..a.len()).all(|token| a.codes.get(token) == b.codes.get(token)));
    }
    // Of all tokens, those of deleted rows included.
    let of_all = sources[0].segment.tokens().unwrap().unwrap().distortion;
    assert!(of_all.is_some() && merged.distortion == of_all && expected.distortion != of_all);
    let everything: Vec<u32> = (0..60).collect();
    backend.remove_dir_all(Path::new(OUT)).unwrap();
    let nothing = view(
        open(
            &backend,
            sources[0].segment.dir(),
            &schema,
            std::slice::from_ref(&codebook),
        )
        .unwrap(),
        &everything,
    );
    assert!(
        merge(&backend, &schema, Some(&codebook), &[nothing])
            .segment
            .is_empty()
    );
}

#[test]
fn raw_and_foreign_codes_are_encoded_with_the_new_codebook() {
    let schema = schema(DenseCodec::F32, 2, Some(OriginalCodec::F16));
    let (backend, all) = (backend(), records(0..150));
    let (old, new) = (codebook(1, 2, 8), codebook(2, 2, 24));
    let sources = [
        source(&backend, &schema, 1, &all[..70], None, &[]),
        source(&backend, &schema, 2, &all[70..], Some(&old), &[]),
    ];
    let merged = merge(&backend, &schema, Some(&new), &sources).segment;
    let expected = source(&backend, &schema, 3, &all, Some(&new), &[]).segment;
    for component in [Component::Tokens, Component::Original, Component::Ivf] {
        let read = |dir: &Path| backend.read(&dir.join(component.name())).unwrap();
        assert!(read(merged.dir()) == read(expected.dir()), "{component:?}");
    }
    backend.remove_dir_all(Path::new(OUT)).unwrap();
    let raw = merge(&backend, &schema, None, &sources).segment;
    for (ordinal, record) in (0..).zip(&all) {
        assert_eq!(raw.record(ordinal).unwrap().tokens, record.tokens);
    }
}

#[test]
fn damaged_columns_come_back_from_the_payloads() {
    let (backend, schema, all) = (backend(), schema(DenseCodec::F32, 2, None), records(0..40));
    let good = source(&backend, &schema, 1, &all, None, &[3]);
    let path = good.segment.dir().join(Component::Columns.name());
    let mut bytes = backend.read(&path).unwrap();
    bytes[64] ^= 1;
    backend.remove_file(&path).unwrap();
    crate::backend::write_file(&backend, &path, &bytes).unwrap();
    let damaged = view(open(&backend, good.segment.dir(), &schema, &[]).unwrap(), &[3]);
    let error = damaged.segment.column("lang").unwrap_err();
    assert!(
        matches!(&error, StorageError::Corruption { file, offset: 64, .. } if *file == path),
        "{error}"
    );
    let merged = merge(&backend, &schema, None, &[damaged]).segment;
    let ColumnView::Int(year) = merged.column("year").unwrap().unwrap() else {
        panic!()
    };
    assert_eq!(year.get(1), Some(1901));
    let (Some(ColumnView::Datetime(when)), Some(ColumnView::Geo(at))) =
        (merged.column("when").unwrap(), merged.column("at").unwrap())
    else {
        panic!()
    };
    assert!(when.get(1).is_some() && at.get(1).is_some() && at.get(2).is_none());
}

#[test]
fn a_merge_can_be_cancelled_at_every_stage() {
    let schema = schema(DenseCodec::F32, 2, None);
    let (backend, all, codebook) = (backend(), records(0..120), codebook(1, 2, 16));
    let sources = [source(&backend, &schema, 1, &all, None, &[])];
    let run = |stop: Option<Stage>| {
        let seen = RefCell::new(Vec::new());
        let progress = |p: crate::segment::Progress| {
            assert!(p.done <= p.total);
            seen.borrow_mut().push(p.stage);
            if stop == Some(p.stage) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let result = merge_segments(
            &backend,
            Path::new(OUT),
            &schema,
            Some(&codebook),
            &sources,
            &options(9),
            &progress,
        );
        (result.map(drop), seen.into_inner())
    };
    let (done, mut stages) = run(None);
    done.unwrap();
    backend.remove_dir_all(Path::new(OUT)).unwrap();
    stages.dedup();
    assert_eq!(
        stages,
        [
            Stage::Documents,
            Stage::Dense,
            Stage::Terms,
            Stage::Tokens,
            Stage::Graph,
            Stage::Postings,
            // Those of the named fields.
            Stage::Graph
        ]
    );
    for stage in stages {
        assert!(
            matches!(run(Some(stage)).0, Err(StorageError::Cancelled)),
            "{stage:?}"
        );
        assert!(!backend.exists(Path::new(OUT)).unwrap());
    }
}
