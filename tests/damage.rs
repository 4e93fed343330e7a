//! Damage, repair and backup from the command line, and databases of this format's first version.

use std::fs;
use std::path::{Path, PathBuf};

use latewood::{Database, Document, FieldType, Filter, Metric, NamedVector, SchemaBuilder, StorageError};
use latewood_tests::command::{Ran, run};

fn latewood(arguments: &[&str]) -> Ran {
    run(env!("CARGO_BIN_EXE_latewood-under-test"), arguments)
}

fn document(n: u64) -> Document {
    let angle = n as f32 / 10.0;
    Document::new(n)
        .text(format!("the text of document {n}, which no other document has"))
        .dense(vec![angle.cos(), angle.sin(), 0.5, 1.0])
        .field("year", 1900 + n)
}

/// A database of 60 documents: 40 in a segment, of which two are deleted, and 20 in the log.
fn filled(path: &Path) {
    let db = Database::open(path).unwrap();
    let schema = SchemaBuilder::new()
        .dense(4, Metric::Cosine)
        .field("year", FieldType::Int);
    let collection = db.create_collection("c", schema).unwrap();
    collection.upsert_many((0..42).map(document)).unwrap();
    collection.flush().unwrap();
    [40_u64, 41]
        .into_iter()
        .for_each(|id| collection.delete(id).unwrap());
    collection.upsert_many((42..62).map(document)).unwrap();
    drop(collection);
    db.close().unwrap();
}

fn find(folder: &Path, name: &str) -> PathBuf {
    let mut stack = vec![folder.to_owned()];
    while let Some(folder) = stack.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                stack.push(path);
            } else if path.file_name().unwrap() == name {
                return path;
            }
        }
    }
    panic!("no file {name}");
}

fn years(path: &Path) -> Vec<i64> {
    let collection = Database::options()
        .read_only(true)
        .open(path)
        .unwrap()
        .collection("c")
        .unwrap();
    let mut years: Vec<i64> = collection
        .documents()
        .unwrap()
        .map(|document| document.unwrap().payload["year"].as_i64().unwrap())
        .collect();
    years.sort_unstable();
    years
}

#[test]
fn check_names_file_and_offset_and_repair_mends() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("db");
    filled(&db);
    let (name, expected) = (db.to_str().unwrap(), years(&db));
    assert_eq!(expected.len(), 60);
    latewood(&["check", name, "--full"]).ok();
    let ids = find(&db, "ids");
    let good = fs::read(&ids).unwrap();
    let mut bytes = good.clone();
    bytes[70] ^= 4;
    fs::write(&ids, &bytes).unwrap();
    let checked = latewood(&["check", name, "--full", "--json"]);
    assert_eq!(checked.code, Some(1), "{}", checked.stdout);
    let finding = &checked.json()[0]["findings"][0];
    assert_eq!(finding["path"], ids.to_str().unwrap());
    assert!(
        finding["offset"].as_u64().unwrap() <= 70 && finding["severity"] == "damage",
        "{finding}"
    );
    let report = latewood(&["repair", name, "--json"]).ok().json();
    assert_eq!(
        (&report[0]["documents"], &report[0]["lost"]),
        (&60.into(), &0.into()),
        "{report}"
    );
    let kept = PathBuf::from(report[0]["kept_in"].as_str().unwrap());
    assert_eq!(
        fs::read(find(&kept, "ids")).unwrap(),
        bytes,
        "the damaged file is kept"
    );
    latewood(&["check", name, "--full"]).ok();
    assert_eq!(years(&db), expected);
    assert!(
        latewood(&["repair", name, "--collection", "c"])
            .ok()
            .stdout
            .contains("nothing to repair")
    );
    assert_eq!(latewood(&["repair", name, "--collection", "d"]).code, Some(1));
}

#[test]
fn what_is_left_of_a_lost_document_can_be_ingested_again() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("db");
    filled(&db);
    let dense = find(&db, "dense");
    let mut bytes = fs::read(&dense).unwrap();
    bytes[64..96].fill(0xEE);
    fs::write(&dense, &bytes).unwrap();
    let report = latewood(&["repair", db.to_str().unwrap(), "--json"]).ok().json();
    let lost =
        fs::read_to_string(PathBuf::from(report[0]["kept_in"].as_str().unwrap()).join("lost.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = lost
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(report[0]["lost"], lines.len());
    assert_eq!(years(&db).len() + lines.len(), 60);
    assert!(
        lines
            .iter()
            .all(|line| line["lost"] == serde_json::json!(["dense vector"]))
    );
    let seven = lines
        .iter()
        .find(|line| line["id"] == 7)
        .expect("one small file is one block");
    assert_eq!(
        (&seven["year"], &seven["text"]),
        (
            &1907.into(),
            &"the text of document 7, which no other document has".into()
        )
    );
}

#[test]
fn a_backup_of_a_database_in_use_is_opened_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let (db, copy, linked) = (
        folder.path().join("db"),
        folder.path().join("copy"),
        folder.path().join("linked"),
    );
    filled(&db);
    let expected = years(&db);
    let writer = Database::open(&db).unwrap();
    let collection = writer.collection("c").unwrap();
    latewood(&["backup", db.to_str().unwrap(), copy.to_str().unwrap()]).ok();
    writer.backup(&linked, true).unwrap();
    assert!(
        writer.backup(&linked, true).is_err(),
        "there is something in the folder"
    );
    (0_u64..60).for_each(|id| {
        collection.delete(id).unwrap();
    });
    collection.flush().unwrap();
    for backup in [&copy, &linked] {
        assert_eq!(years(backup), expected);
        latewood(&["check", backup.to_str().unwrap(), "--full"]).ok();
        let restored = Database::open(backup).unwrap().collection("c").unwrap();
        restored.upsert(document(99)).unwrap();
        assert_eq!(restored.count(None).unwrap(), 61);
    }
    assert_eq!(
        collection.count(None).unwrap(),
        2,
        "the original goes its own way"
    );
}

#[test]
fn a_newer_format_is_refused_with_the_version_that_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let reads = format!("reads up to {}", latewood_storage::wire::FORMAT_VERSION);
    for name in ["meta", "ids", "CURRENT"] {
        let path = find(folder.path(), name);
        let good = fs::read(&path).unwrap();
        let mut bytes = good.clone();
        bytes[8] = 9;
        let crc = latewood_storage::checksum::crc32(&bytes[..12]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        fs::write(&path, &bytes).unwrap();
        let checked = latewood(&["check", folder.path().to_str().unwrap(), "--full"]);
        assert_eq!(checked.code, Some(1));
        let text = format!("{}{}", checked.stdout, checked.stderr);
        assert!(
            text.contains("format version 9") && text.contains(&reads),
            "{name}: {text}"
        );
        let repaired = latewood(&["repair", folder.path().to_str().unwrap()]);
        assert_eq!(
            repaired.code,
            Some(1),
            "{name}: a newer file is not damaged: {}",
            repaired.stdout
        );
        assert_eq!(fs::read(&path).unwrap(), bytes, "{name} is left as it is");
        fs::write(&path, &good).unwrap();
    }
    let db = Database::options().create(false).open(folder.path()).unwrap();
    let error = db.collection("nope").unwrap_err();
    assert!(matches!(
        error,
        latewood::Error::Storage(StorageError::NoCollection { .. })
    ));
}

/// A database of each format version that was ever written: `fixtures/formats/N`.
fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/formats")
}

/// Writes the fixture of the version that this build writes, once: a released one must never change.
#[test]
#[ignore = "writes a fixture"]
fn write_the_fixture_of_this_version() {
    // What a version came to hold later stands beside what its first databases held.
    let folder = fixtures().join(latewood_storage::wire::FORMAT_VERSION.to_string());
    assert!(!folder.exists(), "there is one");
    latewood_tests::hostile::create(&folder);
    fs::remove_file(folder.join("LOCK")).unwrap();
}

/// A copy of a fixture, to be written to.
fn copied(fixture: &Path, place: &Path) -> PathBuf {
    let db = place.join("db");
    for file in latewood_tests::hostile::files(fixture) {
        let target = db.join(file.strip_prefix(fixture).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, &target).unwrap();
    }
    db
}

#[test]
fn any_one_file_of_a_codebook_of_any_version_may_be_lost_and_is_made_again() {
    let mut mended = Vec::new();
    for entry in fs::read_dir(fixtures()).unwrap() {
        let fixture = entry.unwrap().path();
        for lost in ["1", "1.second", "1.spare"] {
            if !fixture.join("collections/c/codebooks").join(lost).exists() {
                continue;
            }
            let place = tempfile::tempdir().unwrap();
            let db = copied(&fixture, place.path());
            let codebooks = db.join("collections/c/codebooks");
            fs::remove_file(codebooks.join(lost)).unwrap();
            let at = format!("{} without {lost}", fixture.display());
            assert_eq!(latewood_tests::hostile::attempt(&db), (true, 20), "{at}");
            latewood(&["repair", db.to_str().unwrap()]).ok();
            let other = if lost == "1" { "1.spare" } else { "1" };
            fs::remove_file(codebooks.join(other)).unwrap();
            assert_eq!(
                latewood_tests::hostile::attempt(&db),
                (true, 20),
                "{at}, mended, and without {other}"
            );
            mended.push(lost);
        }
    }
    mended.sort_unstable();
    assert!(mended.contains(&"1.second") && mended.len() > 8, "{mended:?}");
}

#[test]
fn databases_of_every_format_version_open() {
    let (mut versions, mut with_vectors, mut with_columns) = (0, 0, 0);
    for entry in fs::read_dir(fixtures()).unwrap() {
        let fixture = entry.unwrap().path();
        let place = tempfile::tempdir().unwrap();
        let db = copied(&fixture, place.path());
        latewood(&["check", db.to_str().unwrap(), "--full"]).ok();
        assert_eq!(
            latewood_tests::hostile::attempt(&db),
            (true, 20),
            "{}",
            fixture.display()
        );
        let collection = Database::open(&db).unwrap().collection("c").unwrap();
        let text = |id: u64| collection.get(id).unwrap().and_then(|document| document.text);
        for (id, version) in [(0, 1), (4, 3), (6, 3), (1_100, 2), (1_114, 2)] {
            assert_eq!(
                text(id),
                Some(format!("document {id} in version {version}")),
                "{}",
                fixture.display()
            );
        }
        assert_eq!(
            (text(3), text(5), collection.count(None).unwrap()),
            (None, None, 1_113)
        );
        let rows: Vec<Vec<f32>> = collection
            .get(1_000_u64)
            .unwrap()
            .unwrap()
            .tokens
            .unwrap()
            .to_rows();
        let best = collection
            .query()
            .tokens(&rows)
            .plan("maxsim")
            .limit(1)
            .run()
            .unwrap();
        assert!(
            best[0].score > 4.99,
            "five tokens find themselves: {}",
            best[0].score
        );
        if !collection.schema().vectors.is_empty() {
            let vectors = collection.get(1_001_u64).unwrap().unwrap().vectors;
            let sparse = NamedVector::Sparse {
                indices: vec![1, 101, u32::MAX],
                values: vec![13.0 / 8.0 + 0.25, 2.0, 0.125],
            };
            assert_eq!(vectors.get("splade"), Some(&sparse), "{}", fixture.display());
            let query = collection
                .query()
                .named_vector("splade", sparse)
                .plan("sparse:splade");
            let best = query.limit(1).run().unwrap();
            assert!(
                best[0].score >= 1.875 * 1.875 + 4.0,
                "it finds itself: {}",
                best[0].score
            );
            let title = collection.get(1_001_u64).unwrap().unwrap().vectors["title"].clone();
            let query = collection
                .query()
                .named_vector("title", title)
                .plan("dense:title");
            let best = query.limit(1).run().unwrap();
            assert!(best[0].score > 0.99, "it finds its like: {}", best[0].score);
            with_vectors += 1;
        }
        if collection
            .schema()
            .fields
            .iter()
            .any(|field| field.name == "when")
        {
            // Of 1,115 ids those with id % 200 = 26, then those at latitude and longitude 30; 3 and 5 are deleted.
            let count = |filter: &str| collection.count(&filter.parse::<Filter>().unwrap()).unwrap();
            let years = count(r#"when >= "1926-01-01" and when < "1927-01-01""#);
            let places = count("geo_radius(at, 30.0, 30.0, 1000)");
            assert_eq!((years, places), (6, 7), "{}", fixture.display());
            let words = collection
                .query()
                .text("document 1001")
                .plan("bm25")
                .limit(1)
                .run()
                .unwrap();
            assert_eq!(words[0].id, 1_001_u64.into(), "{}", fixture.display());
            with_columns += 1;
        }
        versions += 1;
    }
    assert!(versions >= latewood_storage::wire::FORMAT_VERSION && with_vectors > 0 && with_columns > 0);
}
