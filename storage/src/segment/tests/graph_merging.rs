//! Graphs that were merged again and again are sound, and found with as well as those built at once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::Arc;

use latewood_codecs::{DenseCodec, Int4Codec, Metric};
use proptest::prelude::*;
use rayon::ThreadPoolBuilder;

use super::recall::{DIM, clustered, search};
use super::{DENSE_DIM, TITLE, backend, number, open, record, view};
use crate::backend::{MemoryBackend, StorageBackend, write_file};
use crate::document::Record;
use crate::schema::{DenseSpec, Schema, VectorKind, VectorSpec};
use crate::segment::random::SplitMix64;
use crate::segment::{
    Component, GraphOptions, GraphSearch, GraphView, SegmentOptions, SegmentView, merge_segments,
    write_segment,
};

/// Segments of one schema, written and merged.
struct Ground {
    backend: MemoryBackend,
    schema: Schema,
    threads: usize,
    min_rows: usize,
    next: u64,
}

impl Ground {
    fn new(schema: Schema, threads: usize) -> Self {
        Self {
            backend: backend(),
            schema,
            threads,
            min_rows: 50,
            next: 0,
        }
    }

    fn options(&mut self) -> (SegmentOptions, PathBuf) {
        self.next += 1;
        let pool = ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .build()
            .unwrap();
        let options = SegmentOptions {
            graph_min_rows: self.min_rows,
            ..SegmentOptions::new(self.next, Arc::new(pool))
        };
        (options, format!("/c/segments/{}", self.next).into())
    }

    fn write(&mut self, records: &[Arc<Record>], deleted: &[u32]) -> SegmentView {
        let (options, dir) = self.options();
        write_segment(&self.backend, &dir, &self.schema, None, records, &options).unwrap();
        view(open(&self.backend, &dir, &self.schema, &[]).unwrap(), deleted)
    }

    fn merge(&mut self, sources: &[SegmentView], deleted: &[u32]) -> SegmentView {
        let (options, dir) = self.options();
        let progress = |_| ControlFlow::Continue(());
        merge_segments(
            &self.backend,
            &dir,
            &self.schema,
            None,
            sources,
            &options,
            &progress,
        )
        .unwrap();
        view(open(&self.backend, &dir, &self.schema, &[]).unwrap(), deleted)
    }

    fn graph_file(&self, view: &SegmentView) -> Vec<u8> {
        let path = view.segment.dir().join(Component::Graph.name());
        self.backend.read(&path).unwrap()
    }
}

fn dense_schema() -> Schema {
    Schema {
        dense: Some(DenseSpec {
            dim: DIM,
            metric: Metric::Cosine,
            codec: DenseCodec::F32,
        }),
        ..Schema::default()
    }
}

/// Whether each list is within its limit and leads to other rows of its level, each once, and every row is reached.
fn check(graph: &GraphView<'_>) {
    let m = GraphOptions::default().m;
    let levels: BTreeMap<u32, u8> = graph.upper().collect();
    let level = |row: u32| levels.get(&row).copied().unwrap_or(0);
    let rows = u32::try_from(graph.len()).unwrap();
    for row in 0..rows {
        for on in 0..=level(row) {
            let links = graph.neighbours(on, row);
            assert!(links.len() <= if on == 0 { 2 * m } else { m });
            assert!(
                links
                    .clone()
                    .all(|near| near < rows && near != row && level(near) >= on)
            );
            assert_eq!(links.collect::<BTreeSet<_>>().len(), links.len());
        }
    }
    let entry = graph.entry().unwrap();
    assert_eq!(level(entry), levels.values().copied().max().unwrap_or(0));
    let (mut reached, mut next) = (BTreeSet::from([entry]), vec![entry]);
    while let Some(row) = next.pop() {
        next.extend(graph.neighbours(0, row).filter(|near| reached.insert(*near)));
    }
    assert_eq!(reached.len(), graph.len(), "rows that cannot be reached");
}

/// The share of the ten nearest rows of many that a narrow walk finds.
fn recall(view: &SegmentView, queries: Range<usize>) -> f64 {
    let (rows, mut memory) = (view.segment.dense().unwrap().unwrap(), GraphSearch::new());
    let (mut found, mut asked) = (0, 0);
    let step = (queries.len() / 300).max(1);
    for query in queries.step_by(step) {
        let mut exact: Vec<f32> = (0..rows.len()).map(|row| rows.pair_score(query, row)).collect();
        exact.sort_by(|a, b| b.total_cmp(a));
        let near = search(&view.segment, query, 32, &mut memory);
        found += near.iter().filter(|near| near.score >= exact[9]).count();
        asked += 10;
    }
    f64::from(u32::try_from(found).unwrap()) / f64::from(asked)
}

fn compare(ground: &mut Ground, merged: &SegmentView, records: &[Arc<Record>]) {
    let graph = merged.segment.graph().unwrap().unwrap();
    assert_eq!(graph.len(), records.len());
    check(&graph);
    let fresh = ground.write(records, &[]);
    assert!(
        ground.graph_file(&fresh) != ground.graph_file(merged),
        "it was built anew"
    );
    let (fresh, merged) = (recall(&fresh, 0..records.len()), recall(merged, 0..records.len()));
    assert!(merged >= fresh - 0.01 && fresh > 0.9, "{merged} for {fresh}");
}

#[test]
fn with_half_or_two_thirds_deleted_it_finds_what_a_fresh_one_finds() {
    let (all, mut ground) = (clustered(6000), Ground::new(dense_schema(), 2));
    for of_six in [3, 4] {
        let mut random = SplitMix64::new(5);
        let deleted: BTreeSet<u32> = (0..6000).filter(|_| random.below(6) < of_six).collect();
        let source = ground.write(&all, &Vec::from_iter(deleted.iter().copied()));
        let merged = ground.merge(&[source], &[]);
        let live = (0..).zip(&all).filter(|(row, _)| !deleted.contains(row));
        let live: Vec<_> = live.map(|(_, record)| Arc::clone(record)).collect();
        compare(&mut ground, &merged, &live);
    }
}

#[test]
fn nine_tenths_replaced_in_rounds_it_finds_what_a_fresh_one_finds() {
    const ROUND: usize = 400;
    let (all, mut ground) = (clustered(19 * ROUND), Ground::new(dense_schema(), 2));
    let mut live: Vec<Arc<Record>> = all[..10 * ROUND].to_vec();
    let mut merged = ground.write(&live, &[]);
    for added in all[10 * ROUND..].chunks(ROUND) {
        let deleted: Vec<u32> = (0..u32::try_from(ROUND).unwrap()).collect();
        merged.tombstones = Arc::new(deleted.into_iter().collect());
        let sources = [merged, ground.write(added, &[])];
        merged = ground.merge(&sources, &[]);
        live.drain(..ROUND);
        live.extend_from_slice(added);
        check(&merged.segment.graph().unwrap().unwrap());
    }
    compare(&mut ground, &merged, &live);
}

#[test]
fn new_rows_that_are_like_each_other_and_unlike_the_rest_are_found() {
    let (mut all, mut ground) = (clustered(4260), Ground::new(dense_schema(), 2));
    let mut random = SplitMix64::new(17);
    let centre: Vec<f32> = (0..DIM).map(|_| number(&mut random)).collect();
    for record in &mut all[4000..] {
        let mut vector: Vec<f32> = centre.iter().map(|c| c + 0.3 * number(&mut random)).collect();
        Metric::Cosine.prepare(&mut vector).unwrap();
        Arc::make_mut(record).dense = Some(vector);
    }
    let sources = [ground.write(&all[..4000], &[]), ground.write(&all[4000..], &[])];
    let (merged, fresh) = (ground.merge(&sources, &[]), ground.write(&all, &[]));
    let (merged, fresh) = (recall(&merged, 4000..4260), recall(&fresh, 4000..4260));
    assert!(merged >= fresh - 0.01 && fresh > 0.9, "{merged} for {fresh}");
}

/// The codes of the centres, and the cell of each row.
fn cells_of(view: &SegmentView) -> (Vec<Vec<u8>>, Vec<u32>) {
    let graph = view.segment.graph().unwrap().unwrap();
    let cells = graph.cells().unwrap();
    let centres = (0..cells.centres().len()).map(|cell| cells.centres().row(cell).0.to_vec());
    let mut of_row = vec![u32::MAX; graph.len()];
    let mut rows = Vec::new();
    for cell in (0..).take(cells.centres().len()) {
        rows.clear();
        cells.append_rows(cell, &mut rows);
        for &row in &rows {
            of_row[row as usize] = cell;
        }
    }
    assert!(!of_row.contains(&u32::MAX), "a row without a cell");
    (centres.collect(), of_row)
}

#[test]
fn cells_stay_where_most_rows_have_them_and_are_made_anew_where_not() {
    let (all, mut ground) = (clustered(12_000), Ground::new(dense_schema(), 2));
    let (most, few) = (
        ground.write(&all[..6_000], &[5, 6]),
        ground.write(&all[6_000..7_000], &[]),
    );
    let ((centres, before), merged) = (cells_of(&most), ground.merge(&[most.clone(), few], &[]));
    let (kept, after) = cells_of(&merged);
    assert_eq!((centres.clone(), &before[7..]), (kept, &after[5..5_998]));
    let graph = merged.segment.graph().unwrap().unwrap();
    let (centres_of, codec) = (
        graph.cells().unwrap().centres(),
        Int4Codec::new(Metric::Cosine, DIM),
    );
    for (record, cell) in all[6_000..7_000].iter().zip(&after[5_998..]) {
        let query = codec.query(record.dense.as_ref().unwrap());
        let of = |cell: usize| query.score(centres_of, cell);
        assert!((0..centres_of.len()).all(|other| of(other) <= of(*cell as usize)));
    }
    let other_half = ground.write(&all[6_000..], &[]);
    let (anew, _) = cells_of(&ground.merge(&[most, other_half], &[]));
    assert!(anew.len() > centres.len() && !anew.contains(&centres[0]));
}

#[test]
fn a_small_graph_is_taken_up_by_a_large_one_that_keeps_its_levels() {
    let (all, mut ground) = (clustered(1500), Ground::new(dense_schema(), 2));
    let sources = [
        ground.write(&all[..300], &[]),
        ground.write(&all[300..], &[7, 900]),
    ];
    let merged = ground.merge(&sources, &[]);
    let upper = |view: &SegmentView| -> BTreeMap<u32, u8> {
        view.segment.graph().unwrap().unwrap().upper().collect()
    };
    let new = |old: u32| 300 + old - u32::from(old > 7) - u32::from(old > 900);
    let before = upper(&sources[1]);
    let kept = before.iter().filter(|(row, _)| ![7, 900].contains(*row));
    let kept: BTreeMap<u32, u8> = kept.map(|(row, level)| (new(*row), *level)).collect();
    let mut after = upper(&merged);
    after.retain(|row, _| *row >= 300);
    assert_eq!(after, kept);
    compare(&mut ground, &merged, &{
        let rest = (0..).zip(&all[300..]).filter(|(row, _)| ![7, 900].contains(row));
        let rest = rest.map(|(_, record)| record);
        all[..300].iter().chain(rest).cloned().collect::<Vec<_>>()
    });
}

#[test]
fn a_graph_that_is_damaged_or_all_but_deleted_is_built_anew() {
    let (all, mut ground) = (clustered(1200), Ground::new(dense_schema(), 2));
    let deleted: Vec<u32> = (0..1200).filter(|row| row % 5 == 0).collect();
    let live = |deleted: &[u32]| -> Vec<Arc<Record>> {
        let live = (0..).zip(&all).filter(|(row, _)| !deleted.contains(row));
        live.map(|(_, record)| Arc::clone(record)).collect()
    };
    let whole = ground.write(&all, &deleted);
    let mut bytes = ground.graph_file(&whole);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    let damaged = ground.write(&all, &[]);
    let path = damaged.segment.dir().join(Component::Graph.name());
    ground.backend.remove_file(&path).unwrap();
    write_file(&ground.backend, &path, &bytes).unwrap();
    let damaged = open(&ground.backend, damaged.segment.dir(), &ground.schema, &[]).unwrap();
    assert!(damaged.graph().unwrap().is_none());
    let merged = ground.merge(&[view(damaged, &deleted)], &[]);
    let fresh = ground.write(&live(&deleted), &[]);
    assert!(ground.graph_file(&merged) == ground.graph_file(&fresh));

    let most: Vec<u32> = (0..1200).filter(|row| row % 5 != 0).collect();
    let source = ground.write(&all, &most);
    let merged = ground.merge(&[source], &[]);
    let fresh = ground.write(&live(&most), &[]);
    assert!(ground.graph_file(&merged) == ground.graph_file(&fresh));
}

/// Documents with a dense vector, and two in three with another in a named field.
fn small_schema() -> Schema {
    let spec = |dim, metric| DenseSpec {
        dim,
        metric,
        codec: DenseCodec::F16,
    };
    Schema {
        dense: Some(spec(DENSE_DIM, Metric::Cosine)),
        vectors: vec![VectorSpec {
            name: TITLE.to_owned(),
            kind: VectorKind::Dense(spec(5, Metric::L2)),
        }],
        ..Schema::default()
    }
}

fn small(number: u64) -> Arc<Record> {
    let mut record = record(number);
    (record.text, record.tokens) = (None, None);
    record.payload.clear();
    record.vectors.retain(|name, _| name == TITLE);
    Arc::new(record)
}

/// One step: of each hundred rows so many are deleted, and so many documents come.
#[derive(Clone, Debug)]
struct Step {
    deleted: u64,
    added: u64,
    seed: u64,
}

fn step() -> impl Strategy<Value = Step> {
    (0..70_u64, 0..150_u64, any::<u64>()).prop_map(|(deleted, added, seed)| Step { deleted, added, seed })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_sequence_of_merges_leaves_sound_graphs(steps in prop::collection::vec(step(), 1..7)) {
        let mut grounds = [Ground::new(small_schema(), 1), Ground::new(small_schema(), 3)];
        let mut live: Vec<Arc<Record>> = (0..150).map(small).collect();
        let mut merged = grounds.each_mut().map(|ground| ground.write(&live, &[]));
        let mut next = 150;
        for Step { deleted, added, seed } in steps {
            let mut random = SplitMix64::new(seed);
            let dead: Vec<u32> = (0..).take(live.len()).filter(|_| random.below(100) < deleted).collect();
            let new: Vec<Arc<Record>> = (next..next + added).map(small).collect();
            next += added;
            merged = std::array::from_fn(|at| {
                let old = SegmentView {
                    tombstones: Arc::new(dead.iter().copied().collect()),
                    ..merged[at].clone()
                };
                let new = grounds[at].write(&new, &[]);
                // The larger does not always come first.
                let sources = if seed % 2 == 0 { [old, new] } else { [new, old] };
                grounds[at].merge(&sources, &[])
            });
            let mut row = 0;
            live.retain(|_| { row += 1; !dead.contains(&(row - 1)) });
            let place = if seed % 2 == 0 { live.len() } else { 0 };
            live.splice(place..place, new);
            let fresh = grounds[0].write(&live, &[]);
            prop_assert_eq!(merged[0].segment.len() as usize, live.len());
            for (merged, fresh) in [
                (merged[0].segment.graph().unwrap(), fresh.segment.graph().unwrap()),
                (merged[0].segment.named_graph(0), fresh.segment.named_graph(0)),
            ] {
                prop_assert_eq!(merged.is_some(), fresh.is_some());
                if let (Some(merged), Some(fresh)) = (merged, fresh) {
                    check(&merged);
                    check(&fresh);
                    let (merged, fresh) = (merged.codes().unwrap(), fresh.codes().unwrap());
                    prop_assert_eq!(merged.len(), fresh.len());
                    prop_assert!((0..merged.len()).all(|row| merged.row(row) == fresh.row(row)));
                }
            }
            let files = [0, 1].map(|at| grounds[at].graph_file_if_any(&merged[at]));
            prop_assert!(files[0] == files[1], "it depends on the number of threads");
        }
    }
}

impl Ground {
    fn graph_file_if_any(&self, view: &SegmentView) -> Option<Vec<u8>> {
        view.segment.graph().unwrap().map(|_| self.graph_file(view))
    }
}
