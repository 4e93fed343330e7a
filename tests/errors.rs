//! Bad input from the library: each kind is a typed error that says what was expected, what came and what to do, and
//! nothing of it is written.

use std::sync::Arc;

use latewood::{
    Collection, Database, Document, Error, FieldType, Metric, QueryError, RecordFault, SchemaBuilder,
    StorageError,
};
use latewood_tests::words::{WordEncoder, WordReranker};
use serde_json::json;
use tempfile::TempDir;

const DIM: usize = 4;

fn own_vectors() -> (TempDir, Database, Collection) {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path()).unwrap();
    let schema = SchemaBuilder::new()
        .dense(DIM, Metric::Cosine)
        .tokens(8, 2)
        .field("year", FieldType::Int);
    let collection = db.create_collection("own", schema).unwrap();
    (folder, db, collection)
}

fn good(id: &str) -> Document {
    Document::new(id)
        .dense(vec![1.0; DIM])
        .tokens(vec![vec![1.0; 8]; 2])
        .field("year", 2020)
}

/// Writes a good and a bad document together: neither may be there afterwards.
fn refused(document: Document) -> Error {
    let (_folder, _db, collection) = own_vectors();
    let error = collection.upsert_many([good("good"), document]).unwrap_err();
    assert_eq!(collection.count(None).unwrap(), 0, "{error}");
    explained(&error);
    error
}

/// The message and the hint say something, and neither advises to delete data.
fn explained(error: &Error) {
    let text = format!("{error} {}", error.hint().unwrap_or_default()).to_lowercase();
    assert!(text.len() > 20, "{text}");
    for word in ["delete the", "remove the folder", "rm -", "start over"] {
        assert!(!text.contains(word), "{text}");
    }
}

fn record_fault(error: &Error) -> &RecordFault {
    match error {
        Error::Storage(StorageError::InvalidRecord { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn vectors_that_do_not_fit() {
    let wrong = refused(Document {
        dense: Some(vec![1.0; 5]),
        ..good("bad")
    });
    assert!(
        matches!(
            record_fault(&wrong),
            RecordFault::Dimension {
                expected: DIM,
                got: 5,
                ..
            }
        ),
        "{wrong}"
    );
    assert!(wrong.to_string().contains("bad"), "{wrong}");
    let nan = refused(Document {
        dense: Some(vec![1.0, f32::NAN, 0.0, 0.0]),
        ..good("bad")
    });
    assert!(nan.to_string().contains("NaN"), "{nan}");
    refused(Document {
        dense: Some(vec![0.0; DIM]),
        ..good("bad")
    });
    refused(Document {
        dense: Some(vec![f32::INFINITY; DIM]),
        ..good("bad")
    });
    refused(good("bad").tokens(vec![vec![1.0; 16]; 2]));
    refused(good("bad").tokens(vec![vec![0.0; 8]; 2]));
    refused(good("bad").tokens(vec![vec![f32::NAN; 8]; 2]));
    refused(good("bad").tokens(Vec::<Vec<f32>>::new()));
    refused(good("bad").tokens(vec![vec![1.0; 8]; 8193]));
    let ragged = refused(good("bad").tokens(vec![vec![1.0; 8], vec![1.0; 7]]));
    assert!(
        matches!(
            ragged,
            Error::RaggedTokens {
                row: 1,
                expected: 8,
                got: 7,
                ..
            }
        ),
        "{ragged}"
    );
}

#[test]
fn documents_that_lack_something() {
    let missing = refused(Document {
        dense: None,
        ..good("bad")
    });
    assert!(
        matches!(
            missing,
            Error::MissingVector {
                field: "dense vector",
                ..
            }
        ),
        "{missing}"
    );
    let missing = refused(Document {
        tokens: None,
        ..good("bad").text("has a text")
    });
    assert!(
        matches!(
            missing,
            Error::MissingVector {
                field: "token matrix",
                ..
            }
        ),
        "{missing}"
    );
    let empty = refused(good("bad").text(" \n\t"));
    assert!(matches!(empty, Error::EmptyText { .. }), "{empty}");
    refused(good(""));
    refused(good(&"x".repeat(5000)));
}

#[test]
fn payloads_that_do_not_fit() {
    let error = refused(good("bad").payload(json!([1, 2])));
    assert!(
        matches!(error, Error::PayloadNotObject { got: "an array", .. }),
        "{error}"
    );
    let error = refused(good("bad").field("year", "two thousand"));
    assert!(
        matches!(record_fault(&error), RecordFault::FieldType { .. }),
        "{error}"
    );
}

#[test]
fn an_id_twice_in_a_batch() {
    let (_folder, _db, collection) = own_vectors();
    let error = collection
        .upsert_many([good("a"), good("b"), good("a")])
        .unwrap_err();
    assert!(
        matches!(record_fault(&error), RecordFault::DuplicateId),
        "{error}"
    );
    assert_eq!(collection.count(None).unwrap(), 0);
}

#[test]
fn queries_that_cannot_be_answered() {
    let (_folder, _db, collection) = own_vectors();
    collection.upsert(good("a")).unwrap();
    let query = || collection.query().dense(vec![1.0; DIM]);
    let refused = |query: latewood::Query<'_>| {
        let error = query.run().unwrap_err();
        explained(&error);
        match error {
            Error::Query(e) => e,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(
        refused(query().limit(0)),
        QueryError::Window { limit: 0, .. }
    ));
    assert!(matches!(
        refused(query().offset(usize::MAX)),
        QueryError::Window { .. }
    ));
    assert!(matches!(
        refused(query().filter("colour = \"red\"")),
        QueryError::UnknownField { .. }
    ));
    assert!(matches!(
        refused(query().filter("year = \"x\"")),
        QueryError::FieldType { .. }
    ));
    assert!(matches!(
        refused(query().filter("year >")),
        QueryError::FilterSyntax { .. }
    ));
    assert!(matches!(
        refused(query().plan("fast")),
        QueryError::UnknownPlan { .. }
    ));
    assert!(matches!(
        refused(query().plan("maxsim")),
        QueryError::PlanNeeds { .. }
    ));
    assert!(matches!(
        refused(query().candidates(0)),
        QueryError::Tunable { .. }
    ));
    let dense = |vector: Vec<f32>| refused(collection.query().dense(vector));
    assert!(matches!(
        dense(vec![1.0; 3]),
        QueryError::Dimension {
            expected: DIM,
            got: 3,
            ..
        }
    ));
    assert!(matches!(dense(vec![f32::NAN; DIM]), QueryError::NotFinite { .. }));
    dense(vec![0.0; DIM]);
    let tokens = |rows: Vec<Vec<f32>>| refused(collection.query().tokens(rows));
    assert!(matches!(
        tokens(vec![vec![1.0; 8]; 10_000]),
        QueryError::QueryTokens {
            got: 10_000,
            most: 512
        }
    ));
    assert!(matches!(
        tokens(vec![vec![1.0; 16]]),
        QueryError::Dimension { .. }
    ));
    tokens(vec![vec![1.0; 8], vec![1.0; 4]]);
    tokens(vec![]);
    assert!(matches!(refused(collection.query()), QueryError::NothingToSearch));
    assert!(matches!(
        refused(collection.query().text("  ")),
        QueryError::EmptyText
    ));
}

#[test]
fn collections_and_databases_that_are_not_there() {
    let (folder, db, _collection) = own_vectors();
    let error = db.collection("nope").unwrap_err();
    assert!(
        matches!(&error, Error::Storage(StorageError::NoCollection { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("own"), "{error}");
    let again = db
        .create_collection("own", SchemaBuilder::new().dense(2, Metric::L2))
        .unwrap_err();
    assert!(
        matches!(again, Error::Storage(StorageError::CollectionExists { .. })),
        "{again}"
    );
    let name = db
        .create_collection("../up", SchemaBuilder::new().dense(2, Metric::L2))
        .unwrap_err();
    assert!(
        matches!(name, Error::Storage(StorageError::InvalidName { .. })),
        "{name}"
    );
    let locked = Database::open(folder.path()).unwrap_err();
    assert!(
        matches!(locked, Error::Storage(StorageError::Locked { .. })),
        "{locked}"
    );
    let missing = Database::options()
        .create(false)
        .open(folder.path().join("none"))
        .unwrap_err();
    assert!(
        matches!(missing, Error::Storage(StorageError::NoDatabase { .. })),
        "{missing}"
    );
}

#[test]
fn schemas_that_make_no_sense() {
    let (_folder, db, _collection) = own_vectors();
    let refused = |schema: SchemaBuilder| {
        let error = db.create_collection("x", schema).unwrap_err();
        explained(&error);
        error
    };
    assert!(matches!(refused(SchemaBuilder::new()), Error::Schema { .. }));
    assert!(matches!(
        refused(SchemaBuilder::new().bits(2)),
        Error::Schema { .. }
    ));
    refused(SchemaBuilder::new().tokens(7, 2));
    refused(SchemaBuilder::new().tokens(8, 3));
    refused(SchemaBuilder::new().dense(0, Metric::Cosine));
    refused(
        SchemaBuilder::new()
            .dense(2, Metric::Cosine)
            .field("a", FieldType::Int)
            .field("a", FieldType::Bool),
    );
    let encoder = Arc::new(WordEncoder::new("words"));
    let error = refused(SchemaBuilder::new().encoder(encoder).dense(99, Metric::Cosine));
    assert!(
        error.to_string().contains("99") && error.to_string().contains("32"),
        "{error}"
    );
    assert!(db.collections().unwrap() == ["own"]);
}

#[test]
fn models_that_are_missing_or_others() {
    let (folder, db, own) = own_vectors();
    let error = own.query().text("words").run().unwrap_err();
    assert!(matches!(error, Error::NoModel { role: "encoder", .. }), "{error}");
    let error = own
        .query()
        .text("words")
        .dense(vec![1.0; DIM])
        .plan("dense+rerank")
        .run()
        .unwrap_err();
    assert!(
        matches!(error, Error::NoModel { role: "reranker", .. }),
        "{error}"
    );
    let nowhere = db
        .create_collection("x", SchemaBuilder::new().encoder("/no/such/model"))
        .unwrap_err();
    assert!(matches!(nowhere, Error::Model(_)), "{nowhere}");

    let schema = SchemaBuilder::new()
        .encoder(Arc::new(WordEncoder::new("first")))
        .reranker(Arc::new(WordReranker::new("overlap")));
    db.create_collection("words", schema).unwrap();
    drop(own);
    db.close().unwrap();
    let db = Database::open(folder.path()).unwrap();
    let words = db.collection("words").unwrap();
    let error = words
        .set_encoder(Arc::new(WordEncoder::new("second")))
        .unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, Error::ModelMismatch { role: "encoder", .. }),
        "{text}"
    );
    assert!(text.contains("first") && text.contains("second"), "{text}");
    let error = words
        .upsert(Document::new("a").text("needs the encoder"))
        .unwrap_err();
    assert!(
        matches!(error, Error::ModelNotNamed { role: "encoder", .. }),
        "{error}"
    );
    let error = words
        .set_reranker(Arc::new(WordReranker::new("other")))
        .unwrap_err();
    assert!(
        matches!(error, Error::ModelMismatch { role: "reranker", .. }),
        "{error}"
    );
    words.set_encoder(Arc::new(WordEncoder::new("first"))).unwrap();
    words.upsert(Document::new("a").text("now it is there")).unwrap();
}

#[test]
fn a_damaged_file_is_an_error_and_not_a_panic() {
    let (folder, db, collection) = own_vectors();
    collection
        .upsert_many((0..50).map(|n| good(&format!("d{n}"))))
        .unwrap();
    collection.flush().unwrap();
    drop(collection);
    db.close().unwrap();
    let mut files = Vec::new();
    find_files(&folder.path().join("collections"), &mut files);
    assert!(files.len() > 3, "{files:?}");
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        if bytes.is_empty() {
            continue;
        }
        let mut damaged = bytes.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x40;
        std::fs::write(&file, &damaged).unwrap();
        // Whatever the file: every answer is right, or an error that says so.
        let outcome = Database::options()
            .read_only(true)
            .open(folder.path())
            .and_then(|db| {
                let collection = db.collection("own")?;
                let hits = collection.query().dense(vec![1.0; DIM]).limit(50).run()?;
                collection.get("d7")?;
                Ok(hits.len())
            });
        match outcome {
            Ok(found) => assert_eq!(found, 50, "{}", file.display()),
            Err(error) => explained(&error),
        }
        std::fs::write(&file, &bytes).unwrap();
    }
}

fn find_files(folder: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find_files(&path, files)
        } else {
            files.push(path)
        }
    }
}
