//! What is written is what is read.

use std::path::Path;
use std::sync::Arc;

use latewood_codecs::{
    DenseCodec, DenseCodes, DenseParts, DenseRows, OriginalCodec, ResidualCodec, ResidualCodes, TokenMatrix,
};

use super::{TOKEN_DIM, backend, codebook, open, options, record, records, schema, unit_rows};
use crate::document::{DocumentId, Record};
use crate::error::{RecordFault, StorageError};
use crate::schema::Schema;
use crate::segment::random::SplitMix64;
use crate::segment::{Codebook, ColumnView, Component, TokenRows, write_segment};

const DIR: &str = "/c/segments/7";

#[test]
fn everything_but_codes_comes_back_as_it_was() {
    let (backend, schema, records) = (backend(), schema(DenseCodec::F32, 2, None), records(0..300));
    let info = write_segment(&backend, Path::new(DIR), &schema, None, &records, &options(7)).unwrap();
    let segment = open(&backend, Path::new(DIR), &schema, &[]).unwrap();
    assert_eq!((segment.id(), segment.len(), info.rows), (7, 300, 300));
    assert_eq!(segment.bytes().values().sum::<u64>(), info.bytes);
    for (ordinal, record) in (0..).zip(&records) {
        assert_eq!(segment.record(ordinal).unwrap(), **record);
        assert_eq!(segment.find(&record.id).unwrap(), Some(ordinal));
        assert_eq!(segment.text(ordinal).unwrap(), record.text);
        assert_eq!(segment.payload(ordinal).unwrap(), record.payload);
    }
    assert_eq!(segment.find(&DocumentId::U64(1)).unwrap(), None);
    assert_eq!(segment.find(&"".into()).unwrap(), None);
    assert!(segment.document_id(300).is_err());
    assert!(segment.record(300).is_err());
    let tokens: usize = records.iter().map(|r| r.tokens.as_ref().unwrap().len()).sum();
    assert_eq!(segment.num_tokens(), tokens as u64);
    assert!(segment.ivf().unwrap().is_none());
    assert!(segment.verify().iter().all(|h| h.damage.is_none()));
}

#[test]
fn residual_codes_are_those_of_the_codec() {
    for (bits, original) in [
        (1, None),
        (2, Some(OriginalCodec::F16)),
        (4, Some(OriginalCodec::Int8)),
    ] {
        let (backend, schema, records) = (
            backend(),
            schema(DenseCodec::F16, bits, original),
            records(0..120),
        );
        let codebook = codebook(3, bits, 20);
        write_segment(
            &backend,
            Path::new(DIR),
            &schema,
            Some(&codebook),
            &records,
            &options(7),
        )
        .unwrap();
        let segment = open(&backend, Path::new(DIR), &schema, std::slice::from_ref(&codebook)).unwrap();
        let tokens = segment.tokens().unwrap().unwrap();
        let ivf = segment.ivf().unwrap().unwrap();
        let mut lists = vec![Vec::new(); 20];
        for (ordinal, record) in (0..).zip(&records) {
            let matrix = record.tokens.as_ref().unwrap();
            let mut expected = ResidualCodes::default();
            codebook.codec.encode(&matrix.to_f32(), &mut expected);
            let rows = tokens.residual(ordinal).unwrap();
            let codes: Vec<u32> = (0..rows.len()).map(|t| rows.codes.get(t)).collect();
            assert_eq!(codes, expected.codes);
            assert_eq!(rows.residuals, expected.residuals);
            assert_eq!(rows.factors, expected.factors);
            assert!(tokens.raw(ordinal).is_none());
            let back = segment.record(ordinal).unwrap().tokens.unwrap();
            match original {
                Some(OriginalCodec::F16) => assert_eq!(&back, matrix),
                _ => assert_eq!(back.len(), matrix.len()),
            }
            for code in codes {
                lists[code as usize].push(ordinal);
            }
        }
        for (centroid, list) in (0..).zip(&mut lists) {
            list.dedup();
            let mut found = Vec::new();
            ivf.postings(centroid, &mut found).unwrap();
            assert_eq!(&found, list);
            assert_eq!(ivf.count(centroid), list.len());
        }
        assert_eq!(segment.original().unwrap().is_some(), original.is_some());
        assert!(segment.verify().iter().all(|h| h.damage.is_none()));
    }
}

#[test]
fn more_centroids_than_two_bytes_can_name() {
    let mut random = SplitMix64::new(8);
    let centroids = unit_rows(&mut random, 70_000, TOKEN_DIM);
    let (cutoffs, weights) = (vec![-0.1, 0.0, 0.1], vec![-0.15, -0.05, 0.05, 0.15]);
    let codec = ResidualCodec::from_parts(TOKEN_DIM, 2, centroids, cutoffs, weights).unwrap();
    let codebook = Arc::new(Codebook {
        id: 1,
        codec,
        trained_on_tokens: 1,
        distortion: None,
    });
    let (backend, schema, records) = (backend(), schema(DenseCodec::F32, 2, None), records(0..30));
    write_segment(
        &backend,
        Path::new(DIR),
        &schema,
        Some(&codebook),
        &records,
        &options(7),
    )
    .unwrap();
    let segment = open(&backend, Path::new(DIR), &schema, std::slice::from_ref(&codebook)).unwrap();
    let (tokens, mut largest) = (segment.tokens().unwrap().unwrap(), 0);
    for (ordinal, record) in (0..).zip(&records) {
        let mut codes = Vec::new();
        codebook
            .codec
            .assign(&record.tokens.as_ref().unwrap().to_f32(), &mut codes);
        let rows = tokens.residual(ordinal).unwrap();
        assert_eq!(
            (0..rows.len()).map(|t| rows.codes.get(t)).collect::<Vec<_>>(),
            codes
        );
        largest = codes.into_iter().fold(largest, u32::max);
        let mut list = Vec::new();
        segment
            .ivf()
            .unwrap()
            .unwrap()
            .postings(rows.codes.get(0), &mut list)
            .unwrap();
        assert!(list.contains(&ordinal));
    }
    assert!(largest > 65_535, "{largest}");
}

#[test]
fn dense_codes_are_those_of_the_codec() {
    for codec in DenseCodec::ALL {
        let (backend, schema, records) = (backend(), schema(codec, 2, None), records(0..600));
        write_segment(&backend, Path::new(DIR), &schema, None, &records, &options(7)).unwrap();
        let segment = open(&backend, Path::new(DIR), &schema, &[]).unwrap();
        let spec = schema.dense.as_ref().unwrap();
        let mut coded = DenseCodes::default();
        let vectors: Vec<f32> = records.iter().flat_map(|r| r.dense.clone().unwrap()).collect();
        codec.encode(spec.metric, &vectors, spec.dim, &mut coded).unwrap();
        let codes: rkyv::util::AlignedVec<64> = {
            let mut aligned = rkyv::util::AlignedVec::new();
            aligned.extend_from_slice(&coded.codes);
            aligned
        };
        let parts = DenseParts {
            codes: &codes,
            ..coded.parts()
        };
        let expected = DenseRows::new(codec, spec.metric, spec.dim, parts).unwrap();
        let found = segment.dense().unwrap().unwrap();
        for (a, b) in (0..600).zip((0..600).rev()) {
            assert_eq!(found.pair_score(a, b), expected.pair_score(a, b));
        }
        assert!(segment.graph().unwrap().is_some());
    }
}

#[test]
fn columns_hold_what_the_payload_says() {
    let (backend, schema, records) = (backend(), schema(DenseCodec::Int8, 2, None), records(0..77));
    write_segment(&backend, Path::new(DIR), &schema, None, &records, &options(7)).unwrap();
    let segment = open(&backend, Path::new(DIR), &schema, &[]).unwrap();
    let column = |name| segment.column(name).unwrap().unwrap();
    let (ColumnView::Keyword(lang), ColumnView::Keyword(tags)) = (column("lang"), column("tags")) else {
        panic!()
    };
    let (ColumnView::Int(year), ColumnView::Float(price)) = (column("year"), column("price")) else {
        panic!()
    };
    let ColumnView::Bool(open) = column("open") else {
        panic!()
    };
    let (ColumnView::Datetime(when), ColumnView::Geo(at)) = (column("when"), column("at")) else {
        panic!()
    };
    let ColumnView::Keyword(maker) = column("maker.name") else {
        panic!()
    };
    assert_eq!(when.get(1), crate::parse_datetime("2001-02-03T04:05:06.5Z"));
    assert_eq!(at.get(6), crate::GeoPoint::new(52.5, 6.0));
    assert_eq!(maker.term(maker.terms_of(11)[0]), "Ada");
    assert_eq!((maker.with_prefix("A"), maker.with_prefix("B")), (0..1, 1..1));
    assert_eq!((when.get(2), at.get(0), maker.terms_of(3).len()), (None, None, 0));
    assert!(segment.column("other").unwrap().is_none());
    for (row, record) in (0..).zip(&records) {
        let value = |name: &str| record.payload.get(name);
        let terms = |column: super::super::KeywordColumn<'_>| -> Vec<String> {
            column
                .terms_of(row)
                .iter()
                .map(|&t| column.term(t).to_owned())
                .collect()
        };
        let expected: Vec<String> = value("lang")
            .and_then(|v| v.as_str())
            .map(str::to_owned)
            .into_iter()
            .collect();
        assert_eq!(terms(lang), expected);
        let expected: &[&str] = match row % 5 {
            1 => &["a", "b"],
            3 => &["solo"],
            _ => &[],
        };
        assert_eq!(terms(tags), expected);
        assert_eq!(year.get(row), value("year").and_then(serde_json::Value::as_i64));
        assert_eq!(price.get(row), value("price").and_then(serde_json::Value::as_f64));
        assert_eq!(open.get(row), value("open").and_then(serde_json::Value::as_bool));
    }
    let terms: Vec<&str> = (0..).map(|t| lang.term(t)).take(lang.num_terms()).collect();
    assert!(terms.is_sorted() && terms.len() == 9, "{terms:?}");
    let japanese = lang.find("日本語").unwrap();
    assert_eq!(lang.term(japanese), "日本語");
    assert_eq!(
        (lang.find("d"), lang.lower_bound("a"), tags.lower_bound("zz")),
        (None, 0, 3)
    );
    assert_eq!((year.get(77), lang.terms_of(77)), (None, &[][..]));
}

#[test]
fn documents_of_one_token_and_of_the_most() {
    let mut random = SplitMix64::new(5);
    let long = |n: usize, random: &mut SplitMix64| {
        let tokens = TokenMatrix::from_f32(TOKEN_DIM, &unit_rows(random, n, TOKEN_DIM)).unwrap();
        Arc::new(Record {
            tokens: Some(tokens),
            text: Some("x".repeat(n * 40)),
            ..record(n as u64)
        })
    };
    let records: Vec<_> = [1, 8192, 1, 3]
        .map(|n| long(n, &mut random))
        .into_iter()
        .enumerate()
        .map(|(i, r)| {
            Arc::new(Record {
                id: (i as u64).into(),
                ..(*r).clone()
            })
        })
        .collect();
    let schema = schema(DenseCodec::F32, 2, None);
    let codebook = codebook(1, 2, 32);
    for codebook in [None, Some(&codebook)] {
        let backend = backend();
        write_segment(&backend, Path::new(DIR), &schema, codebook, &records, &options(7)).unwrap();
        let known: Vec<_> = codebook.cloned().into_iter().collect();
        let segment = open(&backend, Path::new(DIR), &schema, &known).unwrap();
        let tokens = segment.tokens().unwrap().unwrap();
        let lengths: Vec<usize> = (0..4).map(|d| tokens.range(d).len()).collect();
        assert_eq!(lengths, [1, 8192, 1, 3]);
        assert_eq!(tokens.range(4).len(), 0);
        assert_eq!(matches!(tokens.rows, TokenRows::Raw(_)), codebook.is_none());
        for (ordinal, record) in (0..).zip(&records) {
            assert_eq!(segment.text(ordinal).unwrap(), record.text);
        }
    }
}

#[test]
fn a_segment_of_no_documents_opens() {
    let (backend, schema) = (backend(), schema(DenseCodec::Int8, 2, None));
    let codebook = codebook(1, 2, 8);
    write_segment(
        &backend,
        Path::new(DIR),
        &schema,
        Some(&codebook),
        &[],
        &options(7),
    )
    .unwrap();
    let segment = open(&backend, Path::new(DIR), &schema, &[codebook]).unwrap();
    assert!(segment.is_empty());
    assert_eq!(segment.find(&1.into()).unwrap(), None);
    assert_eq!(segment.dense().unwrap().unwrap().len(), 0);
    assert_eq!(segment.tokens().unwrap().unwrap().num_tokens(), 0);
    assert!(
        segment.verify().iter().all(|h| h.damage.is_none()),
        "{:?}",
        segment.verify()
    );
}

#[test]
fn bad_documents_leave_nothing_behind() {
    use crate::backend::StorageBackend;
    let (backend, schema) = (backend(), schema(DenseCodec::F32, 2, None));
    let write = |records: &[Arc<Record>]| {
        write_segment(&backend, Path::new(DIR), &schema, None, records, &options(7))
            .map(drop)
            .unwrap_err()
    };
    let twice = [Arc::new(record(1)), Arc::new(record(2)), Arc::new(record(1))];
    let fault = |error| match error {
        StorageError::InvalidRecord { reason, .. } => reason,
        other => panic!("{other}"),
    };
    assert_eq!(fault(write(&twice)), RecordFault::DuplicateId);
    let bare = Arc::new(Record {
        dense: None,
        ..record(1)
    });
    assert!(matches!(fault(write(&[bare])), RecordFault::MissingVector { .. }));
    let bare = Arc::new(Record {
        tokens: None,
        ..record(1)
    });
    assert!(matches!(fault(write(&[bare])), RecordFault::MissingVector { .. }));
    assert!(!backend.exists(Path::new(DIR)).unwrap());
}

#[test]
fn another_schema_is_refused() {
    let (backend, first) = (backend(), schema(DenseCodec::F32, 2, None));
    write_segment(
        &backend,
        Path::new(DIR),
        &first,
        None,
        &records(0..3),
        &options(7),
    )
    .unwrap();
    for other in [
        schema(DenseCodec::F16, 2, None),
        schema(DenseCodec::F32, 4, None),
        Schema::default(),
    ] {
        let error = open(&backend, Path::new(DIR), &other, &[]).unwrap_err();
        assert!(matches!(error, StorageError::Corruption { .. }), "{error}");
    }
    let names: std::collections::BTreeSet<&str> = Component::all().map(Component::name).collect();
    assert_eq!(
        names.len(),
        Component::all().count(),
        "every file has a name of its own"
    );
}
