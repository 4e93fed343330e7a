//! The recall that a caller asks for: tuned, kept, explained, and met on queries that no tuning has seen.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::OnceLock;

use latewood::{
    Collection, Database, DenseCodec, Document, Error, Maintenance, Metric, OptimizeProgress, QueryError,
    QuerySource, QueryTokens, SchemaBuilder, StorageError, TUNED_TARGETS,
};
use latewood_tests::command::{Ran, run, write_npy};
use serde_json::json;
use tempfile::TempDir;

const DIM: usize = 32;
/// So many that tuning takes the faster way to the exhaustive answer.
const DOCUMENTS: u64 = 8_400;
const TOPICS: u64 = 300;

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

    /// A token near one of the directions of a topic.
    fn token(&mut self, topic: u64, spread: f32) -> Vec<f32> {
        let mut direction = Random(1_000 * topic + self.below(6));
        let token: Vec<f32> = (0..DIM)
            .map(|_| direction.float() + spread * self.float())
            .collect();
        let norm = token.iter().map(|x| x * x).sum::<f32>().sqrt();
        token.iter().map(|x| x / norm).collect()
    }

    /// Tokens of a few topics, of which low numbers are the common ones.
    fn text(&mut self, tokens: u64, topics: u64, spread: f32) -> Vec<Vec<f32>> {
        let topics: Vec<u64> = (0..topics)
            .map(|_| self.below(TOPICS).min(self.below(TOPICS)))
            .collect();
        (0..tokens)
            .map(|at| self.token(topics[usize::try_from(at).unwrap() % topics.len()], spread))
            .collect()
    }
}

fn queries(count: usize, seed: u64) -> Vec<QueryTokens> {
    let mut random = Random(seed);
    (0..count).map(|_| random.text(12, 3, 0.9).into()).collect()
}

/// A database of one collection, tuned by its optimize on queries made of its documents. It is made once and copied.
fn database() -> TempDir {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::options()
            .maintenance(Maintenance::Manual)
            .threads(2)
            .open(folder.path())
            .unwrap();
        let c = db
            .create_collection("c", SchemaBuilder::new().tokens(DIM, 4))
            .unwrap();
        let mut random = Random(1);
        let documents = (0..DOCUMENTS).map(|id| {
            let tokens = 8 + random.below(16);
            Document::new(id).tokens(random.text(tokens, 4, 0.5))
        });
        c.ingest(documents.collect::<Vec<_>>())
            .optimize(true)
            .run()
            .unwrap();
        db.close().unwrap();
        folder
    });
    let copy = tempfile::tempdir().unwrap();
    copy_folder(made.path(), copy.path());
    copy
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn open(folder: &Path, read_only: bool) -> (Database, Collection) {
    let options = Database::options().maintenance(Maintenance::Manual).threads(2);
    let db = options.read_only(read_only).open(folder).unwrap();
    let c = db.collection("c").unwrap();
    (db, c)
}

fn go(_: &OptimizeProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn explained(c: &Collection, recall: Option<f64>) -> String {
    let query = c.query().tokens(queries(1, 9).remove(0));
    let query = match recall {
        Some(recall) => query.recall(recall),
        None => query,
    };
    let mut plan = query.explain().unwrap();
    // What was spent before it was planned is another time's.
    (plan.beside, plan.spent_microseconds) = (latewood::Estimate::default(), 0.0);
    plan.to_string()
}

#[test]
fn the_recall_asked_is_met_on_queries_that_no_tuning_has_seen() {
    let folder = database();
    let (_db, c) = open(folder.path(), false);
    let fresh = queries(150, 77);
    for tuning in [None, Some(queries(150, 33))] {
        let table = c.tune(tuning.as_deref(), go).unwrap().expect("an index to tune");
        let source = if tuning.is_some() {
            QuerySource::Caller
        } else {
            QuerySource::Documents
        };
        assert_eq!((table.source, table.k), (source, 10));
        let targets: Vec<f64> = table.entries.iter().map(|entry| entry.target).collect();
        assert_eq!(targets, TUNED_TARGETS);
        let report = c
            .measure_recall(&fresh, 10, &[0.8, 0.95, 0.99, 1.0], |_, _| ())
            .unwrap();
        assert_eq!((report.documents, report.queries), (DOCUMENTS, 150));
        let [low, middle, high, all] = &report.targets[..] else {
            panic!("{report:?}")
        };
        for row in [low, middle, high] {
            // Missed by no more than chance explains.
            assert!(row.recall.high >= row.target, "{row:?} of {table:?}");
            assert!(row.p50_milliseconds <= row.p95_milliseconds && row.original.is_none());
        }
        let narrow = low.settings.unwrap();
        let wide = high.settings.unwrap();
        assert!(
            narrow.n_probe < wide.n_probe
                || narrow.candidates < wide.candidates
                || narrow.margin < wide.margin,
            "{report:?}"
        );
        assert!(
            low.recall.recall < 1.0,
            "a target that costs nothing shows nothing: {low:?}"
        );
        assert_eq!((all.target, all.settings, all.recall.recall), (1.0, None, 1.0));
    }
}

/// Vectors that together are larger than the least memory budget.
fn add_ballast(folder: &Path) {
    let (db, _) = open(folder, false);
    let schema = SchemaBuilder::new()
        .dense(1024, Metric::Cosine)
        .dense_codec(DenseCodec::F32);
    let ballast = db.create_collection("ballast", schema).unwrap();
    let mut random = Random(2);
    let documents =
        (0..4000u64).map(|id| Document::new(id).dense((0..1024).map(|_| random.float()).collect::<Vec<_>>()));
    ballast.ingest(documents).run().unwrap();
    db.close().unwrap();
}

#[test]
fn a_budget_smaller_than_the_files_changes_no_answer() {
    let folder = database();
    add_ballast(folder.path());
    let answers = |budget: u64| {
        let options = Database::options().read_only(true).memory_budget_bytes(budget);
        let db = options.open(folder.path()).unwrap();
        let (c, _ballast) = (db.collection("c").unwrap(), db.collection("ballast").unwrap());
        let mut answers = Vec::new();
        // The first while, in which it is looked whether anything comes from disk, and then once more.
        for _ in 0..2 {
            for query in queries(20, 5) {
                let query = c.query().tokens(query).n_probe(16).candidates(500);
                let found = query.run().unwrap();
                answers.push(
                    found
                        .iter()
                        .map(|hit| (hit.id.clone(), hit.score))
                        .collect::<Vec<_>>(),
                );
                assert_eq!(answers.last().unwrap().len(), 10);
            }
            std::thread::sleep(std::time::Duration::from_millis(30));
        }
        answers
    };
    assert_eq!(answers(16 << 20), answers(1 << 30));
}

#[test]
fn a_table_survives_reopening_and_readers_see_it() {
    let folder = database();
    let (db, c) = open(folder.path(), false);
    let plan = explained(&c, Some(0.95));
    assert!(
        plan.contains("recall 0.95 asked: n_probe ") && plan.contains(" queries"),
        "{plan}"
    );
    assert!(explained(&c, None).contains("recall 0.99 by default: "));
    let (_reader, r) = open(folder.path(), true);
    assert_eq!(explained(&r, Some(0.95)), plan, "beside the writer");
    db.close().unwrap();
    drop(c);
    let (_db, c) = open(folder.path(), false);
    assert_eq!(explained(&c, Some(0.95)), plan, "after reopening");
    assert!(
        c.query()
            .tokens(queries(1, 9).remove(0))
            .recall(0.95)
            .n_probe(1)
            .candidates(32)
            .explain()
            .unwrap()
            .to_string()
            .contains("n_probe 1, candidates 32"),
        "what the caller sets wins"
    );
}

#[test]
fn without_the_catalog_there_are_defaults_and_no_error() {
    let folder = database();
    for read_only in [true, false] {
        fs::remove_dir_all(folder.path().join("catalog")).unwrap_or_default();
        let (db, c) = open(folder.path(), read_only);
        let plan = explained(&c, Some(0.95));
        assert!(
            plan.contains("has not been tuned") || plan.contains("scan"),
            "{plan}"
        );
        assert!(!plan.contains("measured 0."), "{plan}");
        assert_eq!(
            c.query()
                .tokens(queries(1, 9).remove(0))
                .recall(0.95)
                .run()
                .unwrap()
                .len(),
            10
        );
        db.close().unwrap();
    }
    let (_db, c) = open(folder.path(), false);
    c.optimize(go).unwrap();
    assert!(
        explained(&c, Some(0.95)).contains("measured 0."),
        "the next optimize tunes again"
    );
}

#[test]
fn a_table_is_not_used_for_a_collection_that_has_outgrown_it() {
    let folder = database();
    let (_db, c) = open(folder.path(), false);
    let table = c.tune(None, go).unwrap().unwrap();
    let mut random = Random(5);
    let more = (DOCUMENTS..3 * DOCUMENTS).map(|id| {
        let tokens = 10 + random.below(16);
        Document::new(id).tokens(random.text(tokens, 4, 0.5))
    });
    c.ingest(more.collect::<Vec<_>>()).run().unwrap();
    let plan = explained(&c, Some(0.95));
    assert!(plan.contains("out of date") || plan.contains("scan"), "{plan}");
    assert!(!plan.contains(&format!("on {} queries", table.queries)), "{plan}");
}

#[test]
fn the_background_tunes_again_a_collection_that_has_outgrown_its_table() {
    let folder = database();
    let db = Database::options().threads(2).open(folder.path()).unwrap();
    let c = db.collection("c").unwrap();
    assert!(explained(&c, Some(0.95)).contains("measured 0."));
    let mut random = Random(6);
    let more = (DOCUMENTS..DOCUMENTS * 5 / 2).map(|id| {
        let tokens = 8 + random.below(16);
        Document::new(id).tokens(random.text(tokens, 4, 0.5))
    });
    c.ingest(more.collect::<Vec<_>>()).optimize(false).run().unwrap();
    let stale = explained(&c, Some(0.95));
    assert!(
        stale.contains("out of date") || stale.contains("measured 0."),
        "{stale}"
    );
    // A hang guard: nothing is asserted about how long it takes.
    let begun = std::time::Instant::now();
    loop {
        let stats = c.stats().unwrap();
        if stats.segments == 1 && stats.raw_tokens == 0 && explained(&c, Some(0.95)).contains("measured 0.") {
            break;
        }
        assert!(
            begun.elapsed().as_secs() < 240,
            "{stats:?} {}",
            explained(&c, Some(0.95))
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(c.count(None).unwrap(), DOCUMENTS * 5 / 2);
    db.close().unwrap();
}

#[test]
fn a_recall_that_is_no_share_is_refused() {
    let folder = database();
    let (_db, c) = open(folder.path(), true);
    for bad in [0.0, -1.0, 1.5, f64::NAN, f64::INFINITY] {
        let query = || c.query().tokens(queries(1, 9).remove(0)).recall(bad);
        for error in [query().run().unwrap_err(), query().explain().unwrap_err()] {
            assert!(
                matches!(error, Error::Query(QueryError::Recall { .. })),
                "{bad}: {error}"
            );
        }
        let error = c
            .measure_recall(&queries(1, 9), 10, &[bad], |_, _| ())
            .unwrap_err();
        assert!(error.to_string().contains("above 0 and at most 1"), "{error}");
    }
    assert!(c.measure_recall(&[], 10, &[0.9], |_, _| ()).is_err());
    assert!(matches!(
        c.tune(Some(&[]), go),
        Err(Error::Query(QueryError::NothingToSearch))
    ));
    let other: QueryTokens = vec![vec![1.0; 8]].into();
    assert!(matches!(
        c.tune(Some(&[other]), go),
        Err(Error::Query(QueryError::Dimension { got: 8, .. }))
    ));
}

#[test]
fn a_tuning_that_is_broken_off_leaves_what_was_tuned_before() {
    let folder = database();
    let (_db, c) = open(folder.path(), false);
    let before = explained(&c, Some(0.9));
    let stop = |progress: &OptimizeProgress| {
        if progress.step == "recall" && progress.done > 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let error = c.tune(Some(&queries(20, 3)), stop).unwrap_err();
    assert!(
        matches!(error, Error::Storage(StorageError::Cancelled)),
        "{error}"
    );
    assert_eq!(explained(&c, Some(0.9)), before);
}

fn latewood(arguments: &[&str]) -> Ran {
    run(env!("CARGO_BIN_EXE_latewood-under-test"), arguments)
}

#[test]
fn the_command_measures_each_target() {
    let folder = database();
    let db = folder.path().to_str().unwrap();
    let own = folder.path().join("queries.npy");
    let own = own.to_str().unwrap();
    let mut random = Random(21);
    let numbers: Vec<f32> = (0..30).flat_map(|_| random.text(12, 3, 0.9).concat()).collect();
    write_npy(Path::new(own), &[30, 12, DIM], &numbers);

    for (queries, count) in [
        (&["--limit", "40"][..], 40),
        (&["--queries", own], 30),
        (&["--queries", own, "--limit", "7"], 7),
    ] {
        let base = ["recall", db, "c", "--target", "0.8,0.95", "--json"];
        let report = latewood(&[&base, queries].concat()).ok().json();
        assert_eq!((&report["queries"], &report["k"]), (&json!(count), &json!(10)));
        let rows = report["targets"].as_array().unwrap();
        let targets: Vec<f64> = rows.iter().map(|row| row["target"].as_f64().unwrap()).collect();
        assert_eq!(targets, [0.8, 0.95, 1.0]);
        for row in rows {
            let recall = |part: &str| row["recall"][part].as_f64().unwrap();
            assert!(
                recall("low") <= recall("recall") && recall("recall") <= recall("high"),
                "{row}"
            );
            assert!(recall("high") >= row["target"].as_f64().unwrap(), "{row}");
            assert!(
                row["p50_milliseconds"].as_f64().unwrap() > 0.0 && row["original"].is_null(),
                "{row}"
            );
        }
        assert!(
            rows[0]["settings"]["n_probe"].as_u64() >= Some(1) && rows[2]["settings"].is_null(),
            "{report}"
        );
    }
    let text = latewood(&["recall", db, "c", "--limit", "5", "--target", "0.9", "-k", "3"])
        .ok()
        .stdout;
    assert!(
        text.contains("recall@3 on 5 queries made of its documents") && text.contains("scan of everything"),
        "{text}"
    );

    let out = folder.path().join("out.run");
    let out = out.to_str().unwrap();
    latewood(&["run", db, "c", "--multi", own, "--recall", "0.9", "--out", out]).ok();
    assert_eq!(fs::read_to_string(out).unwrap().lines().count(), 300);
}

#[test]
fn the_command_tunes_on_the_queries_that_are_given() {
    let folder = database();
    let db = folder.path().to_str().unwrap();
    let own = folder.path().join("queries.npy");
    let mut random = Random(23);
    let numbers: Vec<f32> = (0..60).flat_map(|_| random.text(12, 3, 0.9).concat()).collect();
    write_npy(&own, &[60, 12, DIM], &numbers);
    let own = own.to_str().unwrap();

    let table = latewood(&["tune", db, "c", "--queries", own, "--limit", "50", "--json"])
        .ok()
        .json();
    assert_eq!(
        (&table["queries"], &table["source"]),
        (&json!(50), &json!("caller"))
    );
    assert_eq!(table["entries"].as_array().unwrap().len(), 7);
    let taken = latewood(&["recall", db, "c", "--limit", "3", "--target", "0.95", "--json"])
        .ok()
        .json();
    assert_eq!(
        taken["targets"][0]["settings"], table["entries"][2]["settings"],
        "what was found is what queries take from now on"
    );

    let text = latewood(&["tune", db, "c"]).ok().stdout;
    assert!(
        text.contains("queries made of its documents") && text.contains("n_probe"),
        "{text}"
    );
    let empty = folder.path().join("none.npy");
    write_npy(&empty, &[0, 12, DIM], &[]);
    let refused = latewood(&["tune", db, "c", "--queries", empty.to_str().unwrap()]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    latewood(&["create", db, "plain", "--dense", "8"]).ok();
    let nothing = latewood(&["tune", db, "plain"]).ok().stdout;
    assert!(
        nothing.contains("nothing to tune: there is no graph"),
        "{nothing}"
    );
}

#[test]
fn the_command_refuses_what_cannot_be_measured() {
    let folder = database();
    let db = folder.path().to_str().unwrap();
    for bad in ["0", "1.5", "NaN", "much"] {
        assert_eq!(
            latewood(&["recall", db, "c", "--target", bad]).code,
            Some(2),
            "{bad}"
        );
        assert_eq!(
            latewood(&["search", db, "c", "text", "--recall", bad]).code,
            Some(2),
            "{bad}"
        );
    }
    let queries = folder.path().join("queries.jsonl");
    fs::write(&queries, "{\"_id\": \"1\", \"text\": \"owls\"}\n").unwrap();
    let refused = latewood(&["recall", db, "c", "--queries", queries.to_str().unwrap()]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("has no encoder"), "{}", refused.stderr);
    latewood(&["create", db, "plain", "--dense", "8"]).ok();
    let refused = latewood(&["recall", db, "plain"]);
    assert!(
        refused.code == Some(1) && refused.stderr.contains("no query to measure with"),
        "{}",
        refused.stderr
    );
}
