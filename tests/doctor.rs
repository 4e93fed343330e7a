//! Doctor: each silent mistake made on purpose is found, and a healthy collection has none.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use latewood::doctor::{DoctorOptions, Finding, FindingCode, Severity};
use latewood::models::TextEncoder;
use latewood::{Collection, Database, Document, FieldType, Maintenance, Metric, SchemaBuilder};
use latewood_tests::command::run;
use latewood_tests::random::Random;
use latewood_tests::words::WordEncoder;

fn go() -> impl Fn(&latewood::OptimizeProgress) -> ControlFlow<()> {
    |_| ControlFlow::Continue(())
}

/// A collection in a folder of its own, which nothing is done to behind its back.
fn made(
    schema: SchemaBuilder,
    documents: Vec<Document>,
    optimize: bool,
) -> (tempfile::TempDir, Database, Collection) {
    let place = tempfile::tempdir().unwrap();
    let options = Database::options().maintenance(Maintenance::Manual).threads(2);
    let db = options.open(place.path()).unwrap();
    let collection = db.create_collection("c", schema).unwrap();
    collection.ingest(documents).optimize(optimize).run().unwrap();
    (place, db, collection)
}

fn found(collection: &Collection) -> Vec<Finding> {
    collection.doctor(&DoctorOptions::default()).unwrap()
}

fn codes(findings: &[Finding]) -> BTreeSet<FindingCode> {
    findings.iter().map(|finding| finding.code).collect()
}

/// The only thing found is this; what is said of it.
fn only(collection: &Collection, code: FindingCode) -> String {
    let findings = found(collection);
    assert_eq!(codes(&findings), [code].into(), "{findings:#?}");
    assert!(!findings[0].cure.is_empty());
    findings[0].what.clone()
}

fn vector(random: &mut Random, dim: usize) -> Vec<f32> {
    (0..dim).map(|_| random.unit() as f32 - 0.5).collect()
}

fn vectors(count: u64, dim: usize) -> Vec<Document> {
    let random = &mut Random::new(7);
    (0..count)
        .map(|id| Document::new(id).dense(vector(random, dim)))
        .collect()
}

fn matrices(ids: std::ops::Range<u64>) -> Vec<Document> {
    let random = &mut Random::new(ids.start + 1);
    ids.map(|id| Document::new(id).tokens((0..100).map(|_| vector(random, 8)).collect::<Vec<_>>()))
        .collect()
}

fn notes(count: u64) -> Vec<Document> {
    let words = [
        "owl", "crash", "log", "garden", "winter", "engine", "novel", "market",
    ];
    let word = |n: u64| words[(n % 8) as usize];
    (0..count)
        .map(|id| {
            Document::new(id)
                .text(format!("the {} of the {} number {id}", word(id), word(id / 8)))
                .field("year", 2000 + id % 20)
        })
        .collect()
}

#[test]
fn a_healthy_collection_has_no_findings() {
    let schema = SchemaBuilder::new().encoder("tiny").field("year", FieldType::Int);
    let (place, db, collection) = made(schema, notes(1_200), true);
    assert_eq!(found(&collection), []);
    let (_empty, _db, nothing) = made(SchemaBuilder::new().dense(4, Metric::Cosine), vec![], false);
    assert_eq!(found(&nothing), []);
    drop(collection);
    db.close().unwrap();
    let path = place.path().to_str().unwrap();
    let ran = run(env!("CARGO_BIN_EXE_latewood-under-test"), &["doctor", path, "c"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "c: nothing found\n"),
        "{}",
        ran.stderr
    );
}

#[test]
fn vectors_of_another_model_are_found_and_the_command_says_so() {
    let random = &mut Random::new(3);
    let documents = notes(60)
        .into_iter()
        .map(|note| note.dense(vector(random, 128)))
        .collect();
    let schema = SchemaBuilder::new().encoder("tiny").without_tokens();
    let (place, db, collection) = made(schema, documents, false);
    let what = only(&collection, FindingCode::OtherModel);
    assert!(what.contains("60 of 60 texts"), "{what}");
    drop(collection);
    db.close().unwrap();
    let path = place.path().to_str().unwrap();
    let doctor = |more: &[&str]| {
        run(
            env!("CARGO_BIN_EXE_latewood-under-test"),
            &[&["doctor", path], more].concat(),
        )
    };
    let ran = doctor(&["c"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(
        ran.stdout
            .contains("c: 1 finding\n  error: the stored dense vectors of 60 of 60")
            && ran.stderr.is_empty()
    );
    let json = doctor(&["--json"]).json();
    assert_eq!(
        (&json[0]["collection"], &json[0]["findings"][0]["code"]),
        (&"c".into(), &"other_model".into())
    );
    assert_eq!(doctor(&["nobody"]).code, Some(1));
    assert_eq!(doctor(&["c", "--recall", "x"]).code, Some(2));
}

#[test]
fn tokens_of_another_model_are_found() {
    let random = &mut Random::new(3);
    let matrix = |random: &mut Random| (0..12).map(|_| vector(random, 64)).collect::<Vec<_>>();
    let documents = notes(60)
        .into_iter()
        .map(|note| note.tokens(matrix(random)))
        .collect();
    let schema = SchemaBuilder::new().encoder("tiny").without_dense();
    let (_place, _db, collection) = made(schema, documents, false);
    assert!(only(&collection, FindingCode::OtherModel).contains("stored tokens of 60 of 60"));
}

#[test]
fn texts_that_are_cut_are_found_with_how_much() {
    let mut documents = notes(30);
    documents.extend((30..40_u64).map(|id| Document::new(id).text("word after word ".repeat(1_000))));
    let (_place, _db, collection) = made(
        SchemaBuilder::new().encoder("tiny").without_tokens(),
        documents,
        false,
    );
    let what = only(&collection, FindingCode::TextsCut);
    assert!(
        what.contains("10 of 40 texts (25%)") && what.contains("cut off"),
        "{what}"
    );
}

#[test]
fn uneven_lengths_under_inner_product_are_found() {
    let (_place, _db, collection) = made(
        SchemaBuilder::new().dense(8, Metric::InnerProduct),
        vectors(200, 8),
        false,
    );
    assert!(only(&collection, FindingCode::Unnormalised).contains("dense vectors under inner product"));
    let named = vectors(200, 8).into_iter().map(|d| {
        let mut unit = vec![0.0; 8];
        unit[0] = 1.0;
        let vector = d.dense.clone().unwrap();
        d.dense(unit).vector("title", vector)
    });
    let schema = SchemaBuilder::new()
        .dense(8, Metric::InnerProduct)
        .vector("title", 8, Metric::InnerProduct);
    let (_place, _db, collection) = made(schema, named.collect(), false);
    assert!(only(&collection, FindingCode::Unnormalised).contains("vectors title"));
}

#[test]
fn fields_that_do_not_fit_the_payloads_are_found() {
    let documents = vectors(1_000, 8).into_iter().enumerate().map(|(at, d)| {
        d.field("colour", ["red", "blue"][at % 2])
            .field("url", format!("/{at}"))
    });
    let schema = SchemaBuilder::new()
        .dense(8, Metric::Cosine)
        .field("color", FieldType::Keyword);
    let (_place, _db, collection) = made(schema, documents.collect(), true);
    let findings = found(&collection);
    assert_eq!(
        codes(&findings),
        [FindingCode::FieldNotDeclared, FindingCode::FieldWithoutValues].into(),
        "{findings:#?}"
    );
    assert!(
        findings[0].severity == Severity::Warning && findings[0].what.contains("\"color\""),
        "{findings:#?}"
    );
    assert!(
        findings[1].what.contains("\"colour\" is in 1000 of 1000"),
        "{findings:#?}"
    );
}

#[test]
fn missing_indexes_are_found_until_optimize() {
    let (_place, _db, collection) = made(
        SchemaBuilder::new().dense(8, Metric::Cosine),
        vectors(1_500, 8),
        false,
    );
    assert!(only(&collection, FindingCode::GraphMissing).contains("1500 of 1500"));
    collection.optimize(go()).unwrap();
    assert_eq!(found(&collection), []);
    let (_place, _db, collection) = made(SchemaBuilder::new().tokens(8, 2), matrices(0..700), false);
    assert!(only(&collection, FindingCode::TokenIndexMissing).contains("70000 of 70000"));
}

#[test]
fn a_codebook_that_is_outgrown_is_found() {
    let (_place, _db, collection) = made(SchemaBuilder::new().tokens(8, 2), matrices(0..60), true);
    assert_eq!(found(&collection), []);
    collection
        .ingest(matrices(60..360))
        .optimize(false)
        .run()
        .unwrap();
    assert!(only(&collection, FindingCode::CodebookDrift).contains("was trained on 6000 tokens"));
}

#[test]
fn deleted_documents_that_take_room_are_found() {
    let (_place, _db, collection) = made(
        SchemaBuilder::new().dense(8, Metric::Cosine),
        vectors(400, 8),
        false,
    );
    for id in 0..150_u64 {
        collection.delete(id).unwrap();
    }
    assert!(only(&collection, FindingCode::Bloat).contains("150 of 400"));
}

#[test]
fn a_recall_below_what_is_asked_is_found() {
    let (_place, _db, collection) = made(
        SchemaBuilder::new().dense(32, Metric::Cosine),
        vectors(6_000, 32),
        true,
    );
    // Tuned on one document again and again, the graph seems to need no breadth.
    let easy = vec![vectors(1, 32)[0].dense.clone().unwrap(); 400];
    collection.tune_dense(Some(&easy), go()).unwrap();
    assert!(only(&collection, FindingCode::RecallBelowTarget).contains("the graph gives recall@10"));
}

#[test]
fn an_encoder_that_cannot_be_loaded_is_found() {
    let encoder: Arc<dyn TextEncoder> = Arc::new(WordEncoder::new("words"));
    let schema = SchemaBuilder::new().encoder(encoder);
    let (place, db, collection) = made(schema, notes(30), false);
    assert_eq!(found(&collection), []);
    drop(collection);
    db.close().unwrap();
    let db = Database::options().read_only(true).open(place.path()).unwrap();
    only(&db.collection("c").unwrap(), FindingCode::EncoderUnavailable);
}
