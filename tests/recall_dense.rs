//! The recall that a caller asks of dense search: tuned, kept, explained, and met on queries that no tuning has seen.

use std::ops::ControlFlow;

use latewood::{
    Database, Document, Error, FieldType, Maintenance, Metric, QuerySource, SchemaBuilder, TUNED_TARGETS,
};
use latewood_tests::command::{Ran, run, write_npy};

const DIM: usize = 24;
const DOCUMENTS: u64 = 6_000;
const TOPICS: u64 = 60;

/// Numbers that are the same on every run (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn float(&mut self) -> f32 {
        self.below(1 << 24) as f32 / (1 << 23) as f32 - 1.0
    }

    /// A vector near the direction of some topic.
    fn vector(&mut self, spread: f32) -> Vec<f32> {
        let mut direction = Random(1_000 * self.below(TOPICS));
        (0..DIM)
            .map(|_| direction.float() + spread * self.float())
            .collect()
    }
}

fn vectors(count: u64, seed: u64, spread: f32) -> Vec<Vec<f32>> {
    let mut random = Random(seed);
    (0..count).map(|_| random.vector(spread)).collect()
}

fn go() -> impl Fn(&latewood::OptimizeProgress) -> ControlFlow<()> {
    |_| ControlFlow::Continue(())
}

#[test]
fn the_recall_asked_of_the_graph_is_tuned_kept_explained_and_met() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let options = Database::options().maintenance(Maintenance::Manual).threads(2);
        options.open(folder.path()).unwrap()
    };
    let db = open();
    let schema = SchemaBuilder::new().dense(DIM, Metric::Cosine);
    let c = db.create_collection("c", schema).unwrap();
    let documents = (0_u64..).zip(vectors(DOCUMENTS, 1, 0.8));
    c.ingest(documents.map(|(id, vector)| Document::new(id).dense(vector)))
        .optimize(true)
        .run()
        .unwrap();
    let others = vectors(150, 99, 0.8);
    let report = c
        .measure_dense_recall(&others, 10, &TUNED_TARGETS, |_, _| ())
        .unwrap();
    for row in &report.targets {
        assert!(row.recall.high >= row.target, "{row:?}");
        assert!(row.settings.is_none());
    }
    assert!(
        report.targets[0].ef_search.unwrap() < 100,
        "{:?}",
        report.targets[0]
    );
    let explained = |recall: f64| {
        let query = c.query().dense(others[0].clone()).recall(recall).limit(10);
        query.explain().unwrap().to_string()
    };
    assert!(
        explained(0.9).contains("recall 0.9 asked: ef_search "),
        "{}",
        explained(0.9)
    );
    assert!(explained(1.0).contains("dense scan"), "{}", explained(1.0));
    // Queries unlike the documents are for the caller to show: they win, and the table outlives the process.
    let far = vectors(150, 98, 1.5);
    let own = c.tune_dense(Some(&far), go()).unwrap().unwrap();
    assert_eq!((own.source, own.queries), (QuerySource::Caller, 150));
    let unseen = vectors(150, 97, 1.5);
    let report = c
        .measure_dense_recall(&unseen, 10, &TUNED_TARGETS, |_, _| ())
        .unwrap();
    for row in &report.targets {
        assert!(row.recall.high >= row.target, "{row:?}");
    }
    c.optimize(go()).unwrap();
    drop(c);
    db.close().unwrap();
    let db = open();
    let c = db.collection("c").unwrap();
    let plan = c.query().dense(others[0].clone()).explain().unwrap().to_string();
    assert!(plan.contains("on 150 queries"), "{plan}");
    assert!(matches!(c.tune_dense(Some(&[]), go()), Err(Error::Query(_))));
    assert!(
        c.tune_dense(Some(&[vec![1.0; 3]]), go()).is_err(),
        "another dimension"
    );
    let stopped = c.tune_dense(None, |_| ControlFlow::Break(()));
    assert!(stopped.is_err());
    drop(c);
    db.close().unwrap();
    on_the_command_line(folder.path(), &others);
}

/// Under a filter that lets through a tenth, drawn by chance, rows are found by the cells that they are in.
#[test]
fn the_recall_asked_is_met_under_a_filter_of_a_tenth() {
    const MANY: u64 = 40_000;
    let folder = tempfile::tempdir().unwrap();
    let options = Database::options().maintenance(Maintenance::Manual).threads(2);
    let db = options.open(folder.path()).unwrap();
    let schema = SchemaBuilder::new()
        .dense(DIM, Metric::Cosine)
        .field("lot", FieldType::Int);
    let c = db.create_collection("c", schema).unwrap();
    let mut lots = Random(7);
    let documents = (0_u64..).zip(vectors(MANY, 1, 0.8));
    let documents =
        documents.map(|(id, vector)| Document::new(id).dense(vector).field("lot", lots.below(10)));
    c.ingest(documents).optimize(true).run().unwrap();
    let (mut found, mut of, mut probed) = (0, 0, 0);
    for query in vectors(100, 99, 0.8) {
        let asked = || c.query().dense(query.clone()).filter("lot = 3").limit(10);
        let ids = |hits: Vec<latewood::Hit>| hits.into_iter().map(|hit| hit.id);
        let truth: Vec<_> = ids(asked().exact(true).run().unwrap()).collect();
        let analysis = asked().recall(0.9).analyze().unwrap();
        let note = |stage: &latewood::StageProfile| stage.note.clone().unwrap_or_default();
        probed += usize::from(
            analysis
                .profile
                .stages
                .iter()
                .any(|stage| note(stage).contains("near cells")),
        );
        assert_eq!(analysis.hits.len(), 10);
        found += ids(analysis.hits).filter(|id| truth.contains(id)).count();
        of += truth.len();
    }
    let recall = found as f64 / of as f64;
    assert!(recall >= 0.9 && probed > 90, "{recall}, {probed} of 100 by cells");
}

fn said(arguments: &[&str]) -> String {
    let Ran { code, stdout, stderr } = run(env!("CARGO_BIN_EXE_latewood-under-test"), arguments);
    assert_eq!(code, Some(0), "{stderr}");
    stdout
}

fn on_the_command_line(db: &std::path::Path, queries: &[Vec<f32>]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queries.npy");
    let numbers: Vec<f32> = queries.iter().flatten().copied().collect();
    write_npy(&file, &[queries.len(), DIM], &numbers);
    let (db, file) = (db.to_str().unwrap(), file.to_str().unwrap());
    let out = said(&["tune", db, "c", "--queries", file, "--limit", "60"]);
    assert!(
        out.contains("on 60 queries as given") && out.contains("ef_search"),
        "{out}"
    );
    let out = said(&["recall", db, "c", "--queries", file, "--target", "0.9"]);
    assert!(out.contains("150 queries") && out.contains("ef_search"), "{out}");
    let out = said(&["recall", db, "c", "--limit", "20", "--target", "0.9"]);
    assert!(out.contains("made of its documents"), "{out}");
}
