//! The graph finds what an exhaustive scan finds.

use std::path::Path;
use std::sync::Arc;

use latewood_codecs::{DenseCodec, Metric};
use rayon::ThreadPoolBuilder;

use super::{backend, number, open};
use crate::backend::StorageBackend;
use crate::document::Record;
use crate::schema::{DenseSpec, Schema};
use crate::segment::random::SplitMix64;
use crate::segment::{Component, GraphSearch, Scored, Segment, SegmentOptions, write_segment};

pub(super) const DIM: usize = 24;

/// Rows in clusters of unequal sizes, with some rows twice.
pub(super) fn clustered(rows: usize) -> Vec<Arc<Record>> {
    let mut random = SplitMix64::new(11);
    let centres: Vec<Vec<f32>> = (0..60)
        .map(|_| (0..DIM).map(|_| number(&mut random)).collect())
        .collect();
    let mut vectors: Vec<Vec<f32>> = Vec::with_capacity(rows);
    while vectors.len() < rows {
        let cluster = random.below(60).min(random.below(60));
        let centre = &centres[usize::try_from(cluster).unwrap()];
        let mut vector: Vec<f32> = centre.iter().map(|c| c + 0.3 * number(&mut random)).collect();
        Metric::Cosine.prepare(&mut vector).unwrap();
        if random.below(20) == 0 {
            vectors.push(vector.clone());
        }
        vectors.push(vector);
    }
    vectors.truncate(rows);
    let record = |(n, vector)| Record {
        id: (n as u64).into(),
        text: None,
        payload: serde_json::Map::new(),
        dense: Some(vector),
        tokens: None,
        vectors: crate::document::Vectors::new(),
    };
    vectors
        .into_iter()
        .enumerate()
        .map(record)
        .map(Arc::new)
        .collect()
}

fn written(records: &[Arc<Record>], codec: DenseCodec, metric: Metric, threads: usize) -> (Segment, Vec<u8>) {
    let (backend, dir) = (backend(), Path::new("/c/segments/1"));
    let schema = Schema {
        dense: Some(DenseSpec {
            dim: DIM,
            metric,
            codec,
        }),
        ..Schema::default()
    };
    let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let options = SegmentOptions::new(1, Arc::new(pool));
    write_segment(&backend, dir, &schema, None, records, &options).unwrap();
    let graph = backend.read(&dir.join(Component::Graph.name())).unwrap();
    (open(&backend, dir, &schema, &[]).unwrap(), graph)
}

/// The ten rows nearest to a row, by descent through the levels.
pub(super) fn search(segment: &Segment, query: usize, ef: usize, memory: &mut GraphSearch) -> Vec<Scored> {
    let (rows, graph) = (
        segment.dense().unwrap().unwrap(),
        segment.graph().unwrap().unwrap(),
    );
    let score = |row: u32| rows.pair_score(query, row as usize);
    let entry = graph.entry().unwrap();
    let mut found = vec![Scored {
        score: score(entry),
        row: entry,
    }];
    for level in (0..=graph.max_level()).rev() {
        let ef = if level == 0 { ef } else { 1 };
        found = memory.search(
            graph.len(),
            &found,
            ef,
            |row| graph.neighbours(level, row),
            |_| (),
            |rows, scores| {
                for (to, row) in scores.iter_mut().zip(rows) {
                    *to = score(*row);
                }
            },
        );
    }
    found.truncate(10);
    found
}

#[test]
fn recall_is_high_under_every_codec_and_metric() {
    let records = clustered(4000);
    for (codec, metric) in [
        (DenseCodec::F32, Metric::Cosine),
        (DenseCodec::Int8, Metric::Cosine),
        (DenseCodec::Rabitq8, Metric::Cosine),
        (DenseCodec::Rabitq12, Metric::L2),
        (DenseCodec::F16, Metric::L2),
    ] {
        let (segment, _) = written(&records, codec, metric, 2);
        let rows = segment.dense().unwrap().unwrap();
        let mut memory = GraphSearch::new();
        let mut found = 0;
        for query in (0..4000).step_by(40) {
            let mut exact: Vec<f32> = (0..4000).map(|row| rows.pair_score(query, row)).collect();
            exact.sort_by(|a, b| b.total_cmp(a));
            found += search(&segment, query, 128, &mut memory)
                .iter()
                .filter(|s| s.score >= exact[9])
                .count();
        }
        assert!(found >= 970, "{codec:?} {metric:?}: {found} of 1000");
    }
}

#[test]
fn every_row_can_be_found() {
    let (segment, _) = written(&clustered(3000), DenseCodec::F32, Metric::Cosine, 2);
    let mut memory = GraphSearch::new();
    let found = |query: &usize| {
        let best = search(&segment, *query, 64, &mut memory);
        best.first().is_some_and(|s| s.score > 0.9999)
    };
    let reached = (0..3000).filter(found).count();
    assert!(reached >= 2995, "{reached} of 3000");
}

#[test]
fn the_graph_does_not_depend_on_the_number_of_threads() {
    let records = clustered(1500);
    let (_, one) = written(&records, DenseCodec::F32, Metric::Cosine, 1);
    let (_, three) = written(&records, DenseCodec::F32, Metric::Cosine, 3);
    assert!(one == three);
}

#[test]
fn a_graph_of_equal_rows_and_of_few_is_built() {
    for rows in [1000, 1001] {
        let same: Vec<_> = clustered(2)
            .iter()
            .cycle()
            .take(rows)
            .enumerate()
            .map(|(n, r)| {
                Arc::new(Record {
                    id: (n as u64).into(),
                    ..(**r).clone()
                })
            })
            .collect();
        let (segment, _) = written(&same, DenseCodec::F32, Metric::InnerProduct, 2);
        assert_eq!(search(&segment, 0, 64, &mut GraphSearch::new()).len(), 10);
    }
}
