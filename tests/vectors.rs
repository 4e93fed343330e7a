//! Vectors of named fields: by the library and by the command line, from a line of JSON to a hit, an export and a backup.

use std::path::Path;

use latewood::{
    Database, Document, Error, LexicalSpec, Metric, NamedVector, QueryError, SchemaBuilder, StorageError,
};
use latewood_tests::command::{Ran, run};

const BINARY: &str = env!("CARGO_BIN_EXE_latewood-under-test");

fn latewood<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Ran {
    run(BINARY, arguments)
}

fn sparse(indices: &[u32], values: &[f32]) -> NamedVector {
    NamedVector::Sparse {
        indices: indices.to_vec(),
        values: values.to_vec(),
    }
}

#[test]
fn documents_bring_vectors_by_name_and_queries_ask_by_it() {
    let place = tempfile::tempdir().unwrap();
    let db = Database::open(place.path().join("db")).unwrap();
    let schema = SchemaBuilder::new()
        .dense(2, Metric::Cosine)
        .lexical(LexicalSpec::default())
        .sparse("splade")
        .sparse("other")
        .vector("title", 3, Metric::InnerProduct);
    let c = db.create_collection("c", schema).unwrap();
    c.upsert_many([
        Document::new("owl")
            .text("owls hunt at night")
            .dense(vec![1.0, 0.0])
            .sparse("splade", [9, 2], [1.0, 0.5])
            .vector("title", [1.0, 2.0, 3.0]),
        Document::new("bat")
            .text("bats hear at night")
            .dense(vec![0.0, 1.0])
            .sparse("splade", [2, 7], [3.0, 1.0])
            .sparse("other", [1], [1.0]),
        Document::new("log")
            .text("a log is kept")
            .dense(vec![1.0, 1.0])
            .vector("title", [0.5, 0.0, -1.0]),
    ])
    .unwrap();
    for flushed in [false, true] {
        let ids = |plan: &str| {
            let query = c
                .query()
                .sparse("splade", [2, 9], [1.0, 1.0])
                .lexical("owls")
                .dense(vec![0.0, 1.0]);
            let hits = query.plan(plan).run().unwrap();
            hits.iter().map(|hit| hit.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(ids("sparse:splade"), ["bat", "owl"], "flushed: {flushed}");
        assert_eq!(ids("bm25/sparse:splade"), ["owl", "bat"]);
        assert_eq!(ids("bm25/sparse:splade/dense").len(), 3);
        assert_eq!(ids("auto").len(), 3);
        let titled = c.query().vector("title", [1.0, 0.0, 1.0]).run().unwrap();
        let titled: Vec<_> = titled.iter().map(|hit| (hit.id.to_string(), hit.score)).collect();
        assert_eq!(
            titled,
            [("owl".to_owned(), 4.0), ("log".to_owned(), -0.5)],
            "two have a title"
        );
        let both = c
            .query()
            .vector("title", [1.0, 0.0, 1.0])
            .sparse("splade", [2], [1.0]);
        let plan = both.clone().explain().unwrap();
        assert_eq!(plan.name.to_string(), "sparse:splade/dense:title");
        assert_eq!(both.run().unwrap().len(), 3);
        let other = c.query().sparse("other", [1], [1.0]).run().unwrap();
        assert_eq!((other.len(), other[0].score), (1, 1.0));
        let bat = c.get("bat").unwrap().unwrap();
        assert_eq!(bat.vectors["splade"], sparse(&[2, 7], &[3.0, 1.0]));
        assert_eq!(
            c.get("owl").unwrap().unwrap().vectors["splade"],
            sparse(&[2, 9], &[0.5, 1.0]),
            "in order"
        );
        c.flush().unwrap();
    }
    let copy = place.path().join("copy");
    db.backup(&copy, false).unwrap();
    let copied = Database::open(&copy).unwrap().collection("c").unwrap();
    let hits = copied.query().sparse("splade", [7], [2.0]).run().unwrap();
    assert_eq!((hits.len(), hits[0].score), (1, 2.0));
    assert!(copied.check().unwrap().findings.is_empty());
}

#[test]
fn what_is_wrong_with_a_vector_is_told_by_the_field_s_name() {
    let place = tempfile::tempdir().unwrap();
    let db = Database::open(place.path().join("db")).unwrap();
    let c = db
        .create_collection("c", SchemaBuilder::new().sparse("splade"))
        .unwrap();
    let upsert =
        |indices: &[u32], values: &[f32]| c.upsert(Document::new(1).sparse("splade", indices, values));
    for (indices, values, said) in [
        (&[1, 1][..], &[1.0, 2.0][..], "1 twice"),
        (&[1, 2], &[1.0], "got 1"),
        (&[1], &[f32::NAN], "NaN"),
        (&[1], &[0.0], "above 0"),
    ] {
        let error = upsert(indices, values).unwrap_err();
        assert!(
            matches!(&error, Error::NamedVector { name, .. } if name == "splade"),
            "{error}"
        );
        assert!(error.to_string().contains(said), "{error}");
        let error = c.query().sparse("splade", indices, values).run().unwrap_err();
        assert!(
            matches!(&error, Error::Query(QueryError::NamedVector { .. })),
            "{error}"
        );
    }
    let error = c
        .upsert(Document::new(1).sparse("title", [1], [1.0]))
        .unwrap_err();
    assert!(
        matches!(error, Error::Storage(StorageError::InvalidRecord { .. })),
        "{error}"
    );
    assert!(
        error.to_string().contains("splade"),
        "it says what there is: {error}"
    );
    let error = c.query().sparse("title", [1], [1.0]).run().unwrap_err();
    assert!(
        matches!(&error, Error::Query(QueryError::UnknownVector { .. })),
        "{error}"
    );
    let d = db
        .create_collection("t", SchemaBuilder::new().vector("title", 2, Metric::Cosine))
        .unwrap();
    for (vector, said) in [
        (vec![1.0], "dimension 1"),
        (vec![f32::NAN, 1.0], "finite"),
        (vec![0.0, 0.0], "zeros"),
    ] {
        let error = d
            .upsert(Document::new(1).vector("title", vector.clone()))
            .unwrap_err();
        assert!(
            error.to_string().contains("title") && error.to_string().contains(said),
            "{error}"
        );
        if said != "zeros" {
            let error = d.query().vector("title", vector).run().unwrap_err();
            assert!(
                matches!(&error, Error::Query(QueryError::NamedVector { name, .. }) if name == "title"),
                "{error}"
            );
        }
    }
    let error = d
        .upsert(Document::new(1).sparse("title", [1], [1.0]))
        .unwrap_err();
    assert!(error.to_string().contains("dense 2 cosine"), "{error}");
    let error = d.query().sparse("title", [1], [1.0]).run().unwrap_err();
    assert!(error.to_string().contains("dense 2 cosine"), "{error}");
    let error = d
        .query()
        .vector("title", [1.0, 0.0])
        .plan("sparse:title")
        .run()
        .unwrap_err();
    assert!(
        matches!(&error, Error::Query(QueryError::UnknownVector { .. })),
        "{error}"
    );
    assert!(
        db.create_collection("e", SchemaBuilder::new().vector("x", 0, Metric::Cosine))
            .is_err()
    );
    c.upsert(Document::new(2)).unwrap();
    c.upsert(Document::new(3).sparse("splade", [], [])).unwrap();
    assert!(
        c.get(3).unwrap().unwrap().vectors.is_empty(),
        "a vector of nothing is none"
    );
    assert!(c.query().sparse("splade", [1], [1.0]).run().unwrap().is_empty());
    let twice = SchemaBuilder::new().sparse("a").sparse("a");
    assert!(db.create_collection("d", twice).is_err());
}

fn write(path: &Path, lines: &str) -> String {
    std::fs::write(path, lines).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_command_line_takes_them_from_lines_of_json() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let db = path("db");
    let created = latewood(&[
        "create",
        &db,
        "c",
        "--sparse",
        "splade",
        "--vector",
        "title:2:ip:f32",
        "--lexical",
        "--json",
    ])
    .ok()
    .json();
    let kinds = &created["schema"]["vectors"];
    assert_eq!(
        (&kinds[1]["kind"], &kinds[0]["kind"], &kinds[0]["dim"]),
        (&"sparse".into(), &"dense".into(), &2.into())
    );
    let lines = r#"{"_id": "a", "text": "one", "_vectors": {"splade": {"indices": [3, 1], "values": [0.1, 2.5]}}}
{"_id": "b", "text": "two words", "_vectors": {"splade": {"indices": [3], "values": [1.5]}, "title": [0.1, 7]}}
{"_id": "c", "text": "three words", "_vectors": {"title": [1, 0.5]}}
"#;
    let ingested = latewood(&[
        "ingest",
        &db,
        "c",
        &write(&place.path().join("d.jsonl"), lines),
        "--json",
    ])
    .ok();
    assert_eq!(ingested.json()["documents"], 3);
    let ask = r#"{"splade": {"indices": [3, 1], "values": [1.0, 0.5]}}"#;
    let found = latewood(&[
        "search",
        &db,
        "c",
        "words",
        "--vectors",
        ask,
        "--plan",
        "sparse:splade",
        "--json",
    ])
    .ok();
    let found = found.json();
    assert_eq!(
        (&found[0]["id"], &found[1]["id"], &found[2]),
        (&"b".into(), &"a".into(), &serde_json::Value::Null)
    );
    assert_eq!(found[0]["scored_by"], "sparse");
    let fused = [
        "--plan",
        "bm25/sparse:splade",
        "--weights",
        "bm25=0,sparse:splade=1",
        "--analyze",
    ];
    let base = ["search", &db, "c", "words", "--vectors", ask];
    let text = latewood(&[&base[..], &fused].concat()).ok().stdout;
    for part in [
        "plan bm25/sparse:splade (named",
        "sparse (splade)",
        "splade 1",
        "postings read",
        "fuse",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let queries = write(
        &place.path().join("q.jsonl"),
        "{\"_id\": \"q1\", \"_vectors\": {\"splade\": {\"indices\": [1], \"values\": [2]}}}\n{\"_id\": \"q2\", \"text\": \"three\"}\n{\"_id\": \"q3\", \"_vectors\": {\"title\": [1, 0]}}\n",
    );
    let out = path("run.txt");
    latewood(&["run", &db, "c", "--queries", &queries, "--out", &out]).ok();
    let run = std::fs::read_to_string(&out).unwrap();
    let hits: Vec<Vec<&str>> = run
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!((hits[0][0], hits[0][2], hits[0][4]), ("q1", "a", "5"));
    assert_eq!((hits[1][0], hits[1][2]), ("q2", "c"));
    assert_eq!((hits[2][0], hits[2][2], hits[3][2]), ("q3", "c", "b"));
    let exported = latewood(&["export", &db, "--vectors"]).ok().stdout;
    let again = write(&place.path().join("e.jsonl"), &exported);
    assert!(exported.contains("\"splade\":{\"indices\":[1,3]"), "{exported}");
    let second = path("db2");
    latewood(&[
        "create",
        &second,
        "c",
        "--sparse",
        "splade",
        "--vector",
        "title:2:ip:f32",
        "--lexical",
    ])
    .ok();
    latewood(&["ingest", &second, "c", &again]).ok();
    assert_eq!(latewood(&["export", &second, "--vectors"]).ok().stdout, exported);
    let stats = latewood(&["stats", &db, "c"]).ok().stdout;
    assert!(
        stats.contains("sparse-1") && stats.contains("postings-1") && stats.contains("dense-0"),
        "{stats}"
    );
    latewood(&["check", &db, "--full"]).ok();
    let refused = latewood(&[
        "search",
        &db,
        "c",
        "x",
        "--vectors",
        ask,
        "--plan",
        "sparse:title",
    ]);
    assert!(
        refused.code != Some(0) && refused.stderr.contains("splade"),
        "{}",
        refused.stderr
    );
    let refused = latewood(&["search", &db, "c", "x", "--vectors", "[1]"]);
    assert!(
        refused.code != Some(0) && refused.stderr.contains("indices"),
        "{}",
        refused.stderr
    );
    for bad in [
        "title",
        "title:x",
        "title:2:far",
        "title:2:ip:f64",
        "title:2:ip:f32:more",
    ] {
        let refused = latewood(&["create", &second, "d", "--vector", bad]);
        assert!(refused.code != Some(0), "{bad}");
    }
    let refused = latewood(&["create", &second, "d", "--sparse", "a:b"]);
    assert!(
        refused.code != Some(0) && refused.stderr.contains("letters"),
        "{}",
        refused.stderr
    );
}
