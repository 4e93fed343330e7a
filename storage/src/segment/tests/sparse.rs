//! The inverted index of sparse vectors says of each dimension which rows have it, and bounds their weights.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use latewood_codecs::DenseCodec;

use super::{SPLADE, backend, open, options, records, schema};
use crate::document::{Record, VectorValue};
use crate::segment::{Segment, SegmentOptions, SparseBlock, write_segment};

const DIR: &str = "/c/segments/7";

fn segment(records: &[Arc<Record>], options: &SegmentOptions) -> Segment {
    let (backend, schema) = (backend(), schema(DenseCodec::F32, 2, None));
    write_segment(&backend, Path::new(DIR), &schema, None, records, options).unwrap();
    open(&backend, Path::new(DIR), &schema, &[]).unwrap()
}

/// The rows of each dimension with their weights.
fn expected(records: &[Arc<Record>]) -> BTreeMap<u32, Vec<(u32, f32)>> {
    let mut lists: BTreeMap<u32, Vec<(u32, f32)>> = BTreeMap::new();
    for (row, record) in (0..).zip(records) {
        let vector = record.vectors.get(SPLADE).and_then(VectorValue::sparse);
        for (dimension, weight) in vector
            .into_iter()
            .flat_map(|v| v.indices().iter().zip(v.values()))
        {
            lists.entry(*dimension).or_default().push((row, *weight));
        }
    }
    lists
}

fn assert_index(segment: &Segment, records: &[Arc<Record>]) {
    let (index, mut block) = (segment.sparse_index(0).unwrap(), SparseBlock::default());
    let lists = expected(records);
    assert!(lists.values().any(|list| list.len() > 300) && lists.contains_key(&u32::MAX));
    for (dimension, postings) in lists {
        let list = index.list(dimension).unwrap().unwrap();
        let greatest = postings.iter().map(|p| p.1).fold(0.0, f32::max);
        assert_eq!((list.len(), list.greatest()), (postings.len(), greatest));
        assert_eq!(index.count(dimension) as usize, postings.len());
        let mut at = 0;
        for number in 0..list.blocks() {
            assert_eq!(list.seek(0, postings[at].0), number, "the block of a row");
            list.read(number, &mut block).unwrap();
            for (row, code) in block.rows.iter().zip(&block.codes) {
                let (expected, weight) = postings[at];
                assert_eq!(*row, expected, "dimension {dimension}");
                let bound = f64::from(*code) * list.unit();
                let room = f64::from(greatest) / 255.0;
                let weight = f64::from(weight);
                assert!(
                    bound >= weight * (1.0 - 1e-9) && bound < weight + room * 1.001,
                    "{bound} for {weight}"
                );
                at += 1;
            }
        }
        assert_eq!(at, postings.len());
    }
    assert!(index.list(1_999_999_999).unwrap().is_none());
    assert_eq!(index.count(1_999_999_999), 0);
}

#[test]
fn an_index_says_what_the_rows_say_however_little_it_holds_at_once() {
    let records = records(0..900);
    assert_index(&segment(&records, &options(7)), &records);
    let little = SegmentOptions {
        memory_bytes: 32 * 64,
        ..options(7)
    };
    assert_index(&segment(&records, &little), &records);
}

#[test]
fn rows_come_back_with_the_weights_that_they_had() {
    let records = records(0..300);
    let segment = segment(&records, &options(7));
    let rows = segment.sparse(0).unwrap().unwrap();
    assert!(segment.sparse(1).unwrap().is_none() && segment.sparse_index(1).is_none());
    assert!(segment.named(0).unwrap().is_none() && segment.named_graph(0).is_none());
    for (row, record) in (0..).zip(&records) {
        let vector = rows.vector(row).unwrap().map(VectorValue::Sparse);
        assert_eq!(vector.as_ref(), record.vectors.get(SPLADE));
        assert_eq!(segment.vectors(row).unwrap(), record.vectors);
    }
    let entries: usize = expected(&records).values().map(Vec::len).sum();
    assert_eq!((rows.len(), rows.entries()), (300, entries as u64));
    assert!(rows.vector(300).unwrap().is_none());
}

#[test]
fn dense_vectors_of_a_field_are_those_of_the_rows_that_have_one() {
    for (from, all) in [(0, true), (200, false)] {
        let records = records(from..from + 100);
        let segment = segment(&records, &options(7));
        let named = segment.named(1).unwrap().unwrap();
        let there = records
            .iter()
            .filter(|r| r.vectors.contains_key(super::TITLE))
            .count();
        assert_eq!((named.len() as usize, there == 100), (there, all));
        assert_eq!(named.documents().is_none(), all);
        for (row, record) in (0..).zip(&records) {
            let expected = record.vectors.get(super::TITLE).and_then(VectorValue::dense);
            assert_eq!(named.vector(row).as_deref(), expected, "row {row}");
        }
        assert!(named.vector(100).is_none());
        let graph = segment.named_graph(1).unwrap();
        assert_eq!(
            graph.len(),
            named.len() as usize,
            "a graph over those that there are"
        );
    }
}
