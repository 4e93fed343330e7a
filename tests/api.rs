//! The public API as a user meets it: write, reopen, read, query, ingest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use latewood::{
    CancelToken, Collection, Database, Document, DocumentId, Error, FieldType, Filter, Metric, PlanName,
    SchemaBuilder,
};
use latewood_tests::words::{WordEncoder, WordReranker, unit_vector};
use serde_json::json;
use tempfile::TempDir;

fn database() -> (TempDir, Database) {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::options().threads(2).open(folder.path()).unwrap();
    (folder, db)
}

fn words(db: &Database) -> Collection {
    let schema = SchemaBuilder::new()
        .encoder(Arc::new(WordEncoder::new("words")))
        .reranker(Arc::new(WordReranker::new("overlap")))
        .field("year", FieldType::Int)
        .field("tags", FieldType::Keyword);
    db.create_collection("words", schema).unwrap()
}

fn animals() -> Vec<Document> {
    let texts = [
        ("owl", "owls hunt mice at night", 2020),
        ("fox", "the fox hunts hares at dusk", 2021),
        ("bee", "bees gather pollen in spring", 2022),
        ("ant", "ants carry leaves all day", 2023),
        ("bat", "bats hunt moths at night by echo", 2024),
    ];
    texts
        .into_iter()
        .map(|(id, text, year)| {
            Document::new(id)
                .text(text)
                .field("year", year)
                .field("tags", json!([id, "animal"]))
        })
        .collect()
}

fn ids(hits: &[latewood::Hit]) -> Vec<String> {
    hits.iter().map(|hit| hit.id.to_string()).collect()
}

#[test]
fn what_is_written_is_there_after_reopening() {
    let (folder, db) = database();
    let schema = SchemaBuilder::new()
        .dense(4, Metric::Cosine)
        .tokens(8, 2)
        .field("n", FieldType::Int);
    let collection = db.create_collection("own", schema).unwrap();
    let token: Vec<f32> = unit_vector("x", 8);
    let document = |n: u64| {
        let mut dense = vec![0.1; 4];
        dense[usize::try_from(n % 4).unwrap()] = 1.0;
        Document::new(n)
            .dense(dense)
            .tokens(vec![token.clone(); 3])
            .field("n", n)
            .text(format!("document {n}"))
    };
    collection.upsert_many((0..20).map(document)).unwrap();
    collection.delete(7_u64).unwrap();
    collection.upsert(document(3).field("n", 300)).unwrap();
    db.close().unwrap();

    let db = Database::open(folder.path()).unwrap();
    assert_eq!(db.collections().unwrap(), ["own"]);
    let collection = db.collection("own").unwrap();
    assert_eq!(collection.count(None).unwrap(), 19);
    assert!(!collection.contains(7_u64).unwrap());
    assert_eq!(collection.get(7_u64).unwrap(), None);
    let three = collection.get(3_u64).unwrap().unwrap();
    assert_eq!(three.payload, json!({ "n": 300 }));
    assert_eq!(three.text.as_deref(), Some("document 3"));
    assert_eq!(three.tokens.unwrap().to_rows().len(), 3);
    let dense = three.dense.unwrap();
    assert!(
        (dense.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-3,
        "{dense:?}"
    );

    let hits = collection
        .query()
        .dense(vec![0.0, 1.0, 0.0, 0.0])
        .filter("n < 8")
        .limit(3)
        .run()
        .unwrap();
    assert_eq!(ids(&hits), ["1", "5", "0"]);
    assert_eq!(hits[0].payload.as_ref().unwrap()["n"], 1);
    db.drop_collection("own").unwrap();
    assert!(db.collections().unwrap().is_empty());
}

#[test]
fn every_plan_finds_the_right_document() {
    let (_folder, db) = database();
    let collection = words(&db);
    collection.upsert_many(animals()).unwrap();
    for flushed in [false, true] {
        for plan in PlanName::ALL {
            let hits = collection
                .query()
                .text("bats and moths")
                .plan(plan.clone())
                .limit(2)
                .with_text(true)
                .run()
                .unwrap();
            assert_eq!(hits[0].id, DocumentId::from("bat"), "{plan}, flushed: {flushed}");
            assert_eq!(hits[0].text.as_deref(), Some("bats hunt moths at night by echo"));
            if plan.uses_dense() || plan.uses_tokens() && !plan.uses_words() {
                assert_eq!(hits.len(), 2, "{plan}");
            }
            assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
        }
        collection.flush().unwrap();
    }
    let auto = collection.query().text("bees").run().unwrap();
    assert_eq!(auto[0].id, DocumentId::from("bee"));
    assert_eq!(auto.len(), 5);
}

#[test]
fn filters_windows_and_selections() {
    let (_folder, db) = database();
    let collection = words(&db);
    collection.upsert_many(animals()).unwrap();
    let built = Filter::all([Filter::gte("year", 2021), !Filter::eq("tags", "ant")]);
    assert_eq!(collection.count(&built).unwrap(), 3);
    let query = || collection.query().text("bats hunt at night").plan("maxsim");
    let filtered = query().filter(&built).run().unwrap();
    assert_eq!(ids(&filtered).len(), 3);
    assert_eq!(
        ids(&query()
            .filter("year >= 2021 and not tags = \"ant\"")
            .run()
            .unwrap()),
        ids(&filtered)
    );
    let all = ids(&query().run().unwrap());
    assert_eq!(ids(&query().offset(1).limit(2).run().unwrap()), all[1..3]);
    let bare = query().with_payload(false).run().unwrap();
    assert!(bare[0].payload.is_none() && bare[0].text.is_none());
    let some = query().with_payload(["year"]).run().unwrap();
    assert_eq!(
        some[0].payload.as_ref().unwrap().keys().collect::<Vec<_>>(),
        ["year"]
    );
    let best = query().run().unwrap()[0].score;
    assert_eq!(query().min_score(best).run().unwrap().len(), 1);
}

#[test]
fn explain_and_analyze_tell_the_same_story() {
    let (_folder, db) = database();
    let collection = words(&db);
    collection.upsert_many(animals()).unwrap();
    let query = || {
        collection
            .query()
            .text("hunt at night")
            .plan("dense+maxsim+rerank")
            .limit(3)
    };
    let plan = query().explain().unwrap();
    assert_eq!(plan.name, PlanName::DENSE_MAXSIM_RERANK);
    assert!(plan.to_string().contains("rerank"));
    let analysis = query().analyze().unwrap();
    // What was spent before, and so the estimate of all, is another time's.
    let mut again = analysis.plan.clone();
    (again.beside, again.spent_microseconds) = (plan.beside, plan.spent_microseconds);
    assert_eq!(again, plan);
    assert_eq!(analysis.hits.len(), 3);
    let names: Vec<&str> = analysis
        .profile
        .stages
        .iter()
        .map(|stage| stage.name.as_str())
        .collect();
    assert!(
        names.contains(&"encode") && names.iter().any(|name| name.contains("rerank")),
        "{names:?}"
    );
    let sum: f64 = analysis
        .profile
        .stages
        .iter()
        .map(|stage| stage.microseconds)
        .sum();
    let total = analysis.profile.total_microseconds;
    assert!(sum <= total * 1.001 && sum >= total * 0.95, "{sum} of {total}");
}

#[test]
fn a_batch_is_one_write() {
    let (_folder, db) = database();
    let collection = words(&db);
    collection.upsert_many(animals()).unwrap();
    collection
        .batch()
        .upsert(Document::new("cow").text("cows eat grass"))
        .delete("owl")
        .commit()
        .unwrap();
    assert!(collection.contains("cow").unwrap() && !collection.contains("owl").unwrap());
    let refused = collection
        .batch()
        .delete("fox")
        .upsert(Document::new("bad").text("  "))
        .commit();
    assert!(refused.is_err());
    assert!(collection.contains("fox").unwrap() && !collection.contains("bad").unwrap());
    assert!(collection.batch().is_empty());
    collection.batch().commit().unwrap();
}

#[test]
fn a_scroll_repeats_and_misses_nothing_while_others_write() {
    let (_folder, db) = database();
    let collection = words(&db);
    let document = |n: u64| Document::new(n).text("same text").field("year", n);
    collection.upsert_many((0..25).map(document)).unwrap();
    let mut seen = Vec::new();
    let mut page = collection.scroll().limit(10).filter("year < 20").run().unwrap();
    loop {
        seen.extend(page.documents.iter().map(|d| d.id.to_string()));
        collection.upsert(document(1)).unwrap();
        collection.upsert(document(100)).unwrap();
        collection.flush().unwrap();
        match page.next {
            Some(cursor) => {
                page = collection
                    .scroll()
                    .limit(10)
                    .filter("year < 20")
                    .after(cursor)
                    .run()
                    .unwrap()
            }
            None => break,
        }
    }
    let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(seen, expected);
    let all: Vec<Document> = collection.documents().unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(all.len(), 26);
}

#[test]
fn an_ingest_is_the_same_as_single_writes() {
    let (_folder, db) = database();
    let collection = words(&db);
    let progress = AtomicUsize::new(0);
    let document = |n: usize| Document::new(format!("d{n}")).text(format!("word{} filler text", n % 50));
    let report = collection
        .ingest((0..300).map(document))
        .encode_batch(64)
        .on_progress(|p| {
            progress.fetch_add(1, Ordering::Relaxed);
            assert!(p.written <= p.documents);
        })
        .optimize(true)
        .run()
        .unwrap();
    assert_eq!((report.documents, report.tokens, report.skipped), (300, 900, 0));
    assert!(progress.load(Ordering::Relaxed) >= 5);
    assert_eq!(collection.count(None).unwrap(), 300);
    let hits = collection
        .query()
        .text("word7")
        .plan("maxsim")
        .limit(6)
        .run()
        .unwrap();
    let mut found = ids(&hits);
    found.sort();
    assert_eq!(found, ["d107", "d157", "d207", "d257", "d57", "d7"]);
    let stats = collection.stats().unwrap();
    assert_eq!((stats.documents, stats.tokens, stats.segments), (300, 900, 1));
    assert!(stats.bytes_per_token > 0.0 && stats.bytes_total >= stats.token_bytes());
}

#[test]
fn the_last_of_several_documents_of_one_id_stays() {
    let (_folder, db) = database();
    let collection = words(&db);
    let document = |n: u64| Document::new(n % 3).text(format!("version {n}")).field("year", n);
    collection.ingest((0..9).map(document)).run().unwrap();
    assert_eq!(collection.count(None).unwrap(), 3);
    assert_eq!(collection.get(2_u64).unwrap().unwrap().payload["year"], 8);
}

#[test]
fn a_cancelled_ingest_goes_on_where_it_stopped() {
    let (folder, db) = database();
    let collection = words(&db);
    let read = Arc::new(AtomicUsize::new(0));
    let documents = |read: Arc<AtomicUsize>| {
        (0..500_usize).map(move |n| {
            read.fetch_add(1, Ordering::Relaxed);
            Document::new(format!("d{n}")).text("some text")
        })
    };
    let token = CancelToken::new();
    let stopped = collection
        .ingest(documents(read.clone()))
        .encode_batch(50)
        .resume("input")
        .cancel(&token)
        .on_progress(|p| {
            if p.documents >= 200 {
                token.cancel();
            }
        })
        .run();
    let Err(Error::Cancelled { done }) = stopped else {
        panic!("{stopped:?}")
    };
    assert!((200..500).contains(&done));
    assert_eq!(collection.count(None).unwrap(), done);
    drop(collection);
    db.close().unwrap();

    let db = Database::open(folder.path()).unwrap();
    let collection = db.collection("words").unwrap();
    collection
        .set_encoder(Arc::new(WordEncoder::new("words")))
        .unwrap();
    let report = collection.ingest(documents(read)).resume("input").run().unwrap();
    assert_eq!((report.skipped, report.documents), (done, 500 - done));
    assert_eq!(collection.count(None).unwrap(), 500);
    // What is complete is forgotten: the same input again is written again, and changes nothing.
    let again = collection
        .ingest((0..3_u64).map(|n| Document::new(format!("d{n}")).text("new text")))
        .resume("input")
        .run();
    assert_eq!(again.unwrap().skipped, 0);
    assert_eq!(collection.count(None).unwrap(), 500);
}

#[test]
fn a_faulty_document_stops_an_ingest_and_keeps_what_came_before() {
    let (_folder, db) = database();
    let collection = words(&db);
    let documents = (0..100_u64).map(|n| {
        if n == 70 {
            Document::new(n)
        } else {
            Document::new(n).text("fine")
        }
    });
    let error = collection.ingest(documents).encode_batch(20).run().unwrap_err();
    assert!(matches!(error, Error::MissingVector { .. }), "{error}");
    assert_eq!(collection.count(None).unwrap(), 60);
}

#[test]
fn readers_see_one_moment_while_a_writer_goes_on() {
    let (folder, db) = database();
    let collection = words(&db);
    collection.upsert_many(animals()).unwrap();
    collection.flush().unwrap();
    let reader = Database::options().read_only(true).open(folder.path()).unwrap();
    let view = reader.collection("words").unwrap();
    assert_eq!(view.count(None).unwrap(), 5);
    assert!(view.upsert(Document::new("x").dense(vec![1.0; 32])).is_err());
    let documents = collection.documents().unwrap();
    collection.delete("owl").unwrap();
    assert_eq!(documents.count(), 5);
    assert_eq!(collection.count(None).unwrap(), 4);
}

#[test]
fn handles_are_used_from_many_threads() {
    let (_folder, db) = database();
    let collection = words(&db);
    std::thread::scope(|scope| {
        for worker in 0..4_u64 {
            let collection = collection.clone();
            scope.spawn(move || {
                for n in 0..25 {
                    collection
                        .upsert(Document::new(worker * 1000 + n).text("shared work"))
                        .unwrap();
                    assert!(!collection.query().text("work").limit(1).run().unwrap().is_empty());
                }
            });
        }
    });
    assert_eq!(collection.count(None).unwrap(), 100);
}

#[test]
fn the_built_in_models_answer_in_plain_english() {
    let (folder, db) = database();
    let schema = SchemaBuilder::new().encoder("tiny").reranker("tiny");
    let collection = db.create_collection("notes", schema).unwrap();
    collection
        .upsert_many([
            Document::new("editor").text("A small text editor for the console."),
            Document::new("player").text("Plays music files and internet radio."),
            Document::new("firewall").text("Filters network packets and blocks intruders."),
        ])
        .unwrap();
    db.close().unwrap();
    let db = Database::open(folder.path()).unwrap();
    let collection = db.collection("notes").unwrap();
    for plan in PlanName::ALL {
        let hits = collection
            .query()
            .text("listen to songs")
            .plan(plan.clone())
            .run()
            .unwrap();
        if plan.legs() == [latewood::Leg::Bm25] {
            assert!(hits.is_empty(), "{plan}: no document has one of the words");
            continue;
        }
        assert_eq!(hits[0].id, DocumentId::from("player"), "{plan}");
    }
    let stats = collection.stats().unwrap();
    assert_eq!(stats.encoder.unwrap().identity.source, "builtin");
}
