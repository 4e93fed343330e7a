//! Indexes of fast-plaid become collections, with that engine's own scores, and go back.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use latewood::import::{ImportError, NpyReader, PlaidIndex};
use latewood::{
    Collection, Database, Document, DocumentId, Error, Metric, OptimizeProgress, OriginalCodec,
    SchemaBuilder, TokenCodec,
};
use latewood_tests::command::{run, write_npy, write_npy_bytes};
use latewood_tests::words::unit_vector;
use serde_json::Value;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_latewood-under-test");
const QUERY_TOKENS: usize = 8;
const DIM: usize = 32;
const QUIET: fn(&OptimizeProgress) -> ControlFlow<()> = |_| ControlFlow::Continue(());

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/plaid")
        .join(name)
}

/// A copy of a fixture, to be damaged.
fn copy(name: &str, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(fixture(name)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn queries() -> Vec<Vec<f32>> {
    let mut reader = NpyReader::open(fixture("queries.npy")).unwrap();
    let mut numbers = Vec::new();
    reader.read_f32(3 * QUERY_TOKENS, &mut numbers).unwrap();
    numbers.chunks(QUERY_TOKENS * DIM).map(<[f32]>::to_vec).collect()
}

/// The recorded scores of a fixture: `which`[query][document].
fn recorded(name: &str, which: &str) -> Vec<Vec<f32>> {
    let text = std::fs::read_to_string(fixture(name).join("scores.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    serde_json::from_value(all[which].clone()).unwrap()
}

fn import(folder: &Path, db: &Path) -> Result<Collection, Error> {
    let db = Database::open(db)?;
    db.import_plaid("plaid", PlaidIndex::open(folder)?, SchemaBuilder::new(), QUIET)
}

/// The scores of all documents, by number, of a collection whose ids are 0, 1, ...
fn scores(collection: &Collection, query: &[f32], exact: bool) -> Vec<f32> {
    let documents = usize::try_from(collection.count(None).unwrap()).unwrap();
    let rows: Vec<Vec<f32>> = query.chunks(DIM).map(<[f32]>::to_vec).collect();
    let query = collection
        .query()
        .tokens(rows)
        .limit(documents)
        .plan("maxsim")
        .exact(exact);
    let mut scores = vec![f32::NAN; documents];
    for hit in query.run().unwrap() {
        let DocumentId::U64(id) = hit.id else {
            panic!("{:?}", hit.id)
        };
        scores[usize::try_from(id).unwrap()] = hit.score;
    }
    scores
}

#[test]
fn scores_are_those_of_fast_plaid() {
    for name in ["merged", "chunks", "deleted"] {
        let place = tempfile::tempdir().unwrap();
        let collection = import(&fixture(name), &place.path().join("db")).unwrap();
        let (own, from_bytes) = (recorded(name, "fast_plaid"), recorded(name, "from_bytes"));
        for (number, query) in queries().iter().enumerate() {
            for exact in [true, false] {
                let found = scores(&collection, query, exact);
                assert_eq!(found.len(), own[number].len());
                for (document, score) in found.iter().enumerate() {
                    let context =
                        format!("{name}, query {number}, document {document}, exact {exact}: {score}");
                    let expected = from_bytes[number][document];
                    assert!((score - expected).abs() < 1e-4, "{context} for {expected}");
                    // fast-plaid multiplies in half precision: its scores of up to 8 are off by up to 0.0022.
                    let expected = own[number][document];
                    assert!(
                        (score - expected).abs() < 1e-3 * expected.max(1.0),
                        "{context} for {expected}"
                    );
                }
            }
        }
    }
}

/// The bytes of the payload of a fixture's `codes` or `residuals`, without the padding of a merged file.
fn payload(folder: &Path, what: &str, rows: usize, row_bytes: usize) -> Vec<u8> {
    let body = |path: &Path| {
        let reader = NpyReader::open(path).unwrap();
        let offset = usize::try_from(reader.header().data_offset).unwrap();
        std::fs::read(path).unwrap().split_off(offset)
    };
    let merged = folder.join(format!("merged_{what}.npy"));
    let mut bytes = if merged.exists() {
        body(&merged)
    } else {
        let chunks = (0..).map(|i| folder.join(format!("{i}.{what}.npy")));
        chunks
            .take_while(|path| path.exists())
            .flat_map(|path| body(&path))
            .collect()
    };
    bytes.truncate(rows * row_bytes);
    bytes
}

#[test]
fn an_export_has_the_bytes_of_the_import() {
    for (name, bits) in [("merged", 2), ("chunks", 4), ("deleted", 2)] {
        let place = tempfile::tempdir().unwrap();
        let collection = import(&fixture(name), &place.path().join("db")).unwrap();
        let exported = place.path().join("out");
        let report = collection.export_plaid(&exported, QUIET).unwrap();
        let index = PlaidIndex::open(&exported).unwrap();
        assert_eq!(
            (report.documents, report.tokens, report.encoded),
            (index.documents(), index.tokens(), 0)
        );
        let rows = usize::try_from(report.tokens).unwrap();
        for (what, row_bytes) in [("codes", 8), ("residuals", DIM * bits / 8)] {
            assert_eq!(
                payload(&exported, what, rows, row_bytes),
                payload(&fixture(name), what, rows, row_bytes),
                "{name}: {what}"
            );
        }
        for file in ["centroids.npy", "bucket_cutoffs.npy", "bucket_weights.npy"] {
            let numbers = |folder: &Path| {
                let mut reader = NpyReader::open(folder.join(file)).unwrap();
                let mut out = Vec::new();
                reader
                    .read_f32(usize::try_from(reader.rows()).unwrap(), &mut out)
                    .unwrap();
                out
            };
            assert_eq!(numbers(&exported), numbers(&fixture(name)), "{name}: {file}");
        }
        let again = import(&exported, &place.path().join("again")).unwrap();
        for query in &queries() {
            assert_eq!(scores(&again, query, true), scores(&collection, query, true));
        }
    }
}

#[test]
fn an_imported_collection_is_one_like_any_other() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("db");
    let collection = import(&fixture("merged"), &path).unwrap();
    let query = &queries()[0];
    let before = scores(&collection, query, true);
    let row: Vec<f32> = query[..DIM].to_vec();
    collection.delete(3_u64).unwrap();
    collection
        .upsert(Document::new(3_u64).tokens(vec![row.clone()]))
        .unwrap();
    assert_eq!(collection.count(None).unwrap(), 14);
    collection.optimize(QUIET).unwrap();
    let after = scores(&collection, query, true);
    for (document, (before, after)) in before.iter().zip(&after).enumerate() {
        assert_eq!(
            before == after,
            document != 3,
            "document {document}: {before} and {after}"
        );
    }
    // What the codebook had not coded is coded for the export: the memtable here, a segment with other codes elsewhere.
    collection.upsert(Document::new("new").tokens(vec![row])).unwrap();
    let out = place.path().join("out");
    let report = collection.export_plaid(&out, QUIET).unwrap();
    assert_eq!((report.documents, report.encoded), (15, 1));
    let ids = std::fs::read_to_string(out.join("ids.txt")).unwrap();
    assert_eq!(ids.lines().count(), 15);
    assert_eq!(ids.lines().last(), Some("new"));
    let index = PlaidIndex::open(&out)
        .unwrap()
        .with_ids(out.join("ids.txt"))
        .unwrap();
    let db = Database::open(place.path().join("again")).unwrap();
    let again = db
        .import_plaid("again", index, SchemaBuilder::new(), QUIET)
        .unwrap();
    assert!(again.contains("new").unwrap() && again.contains("13").unwrap());
    assert!(again.check().unwrap().findings.is_empty() && collection.check().unwrap().findings.is_empty());
    // A folder that holds something is left alone.
    let error = collection.export_plaid(&out, QUIET).unwrap_err();
    assert!(matches!(error, Error::Export { .. }), "{error}");
}

#[test]
fn a_chunk_with_files_of_its_own_is_newer_than_the_merged_ones() {
    let place = tempfile::tempdir().unwrap();
    let (index, rows) = (place.path().join("index"), 27);
    copy("deleted", &index);
    let expected = import(&index, &place.path().join("expected")).unwrap();
    // The second chunk, 27 tokens behind the 22 of the first, with files of its own; what the merged files have is old.
    for (what, descr, row_bytes, shape) in [
        ("codes", "<i8", 8, format!("({rows},)")),
        ("residuals", "|u1", 8, format!("({rows}, 8)")),
    ] {
        let merged = index.join(format!("merged_{what}.npy"));
        let reader = NpyReader::open(&merged).unwrap();
        let start = usize::try_from(reader.header().data_offset).unwrap() + 22 * row_bytes;
        let mut bytes = std::fs::read(&merged).unwrap();
        let own = bytes[start..start + rows * row_bytes].to_vec();
        write_npy_bytes(&index.join(format!("1.{what}.npy")), descr, &shape, &own);
        bytes[start..start + rows * row_bytes].fill(1);
        std::fs::write(&merged, bytes).unwrap();
    }
    let found = import(&index, &place.path().join("found")).unwrap();
    for query in &queries() {
        assert_eq!(scores(&found, query, true), scores(&expected, query, true));
    }
}

#[test]
fn next_plaid_wraps_its_manifest() {
    let place = tempfile::tempdir().unwrap();
    let index = place.path().join("index");
    copy("deleted", &index);
    let expected = import(&index, &place.path().join("expected")).unwrap();
    for what in ["codes", "residuals"] {
        let path = index.join(format!("merged_{what}.manifest.json"));
        let plain: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let wrapped = serde_json::json!({"chunks": plain, "padding_rows": 3, "num_chunks": 3});
        std::fs::write(&path, wrapped.to_string()).unwrap();
    }
    let found = import(&index, &place.path().join("found")).unwrap();
    let query = &queries()[0];
    assert_eq!(scores(&found, query, true), scores(&expected, query, true));
}

#[test]
fn a_trellis_codebook_is_exported_in_buckets() {
    let place = tempfile::tempdir().unwrap();
    let db = Database::open(place.path().join("db")).unwrap();
    let schema = SchemaBuilder::new()
        .tokens(16, 4)
        .token_codec(TokenCodec::Trellis);
    let collection = db.create_collection("trellis", schema).unwrap();
    let tokens = |n: u64| -> Vec<Vec<f32>> {
        let word = |i: u64| format!("w{}", (n * 31 + i * i * 7) % 997);
        (0..16).map(|i| unit_vector(&word(i), 16)).collect()
    };
    let document = |n: u64| Document::new(n).tokens(tokens(n));
    collection.upsert_many((0..300).map(document)).unwrap();
    collection.optimize(QUIET).unwrap();
    let out = place.path().join("out");
    let report = collection.export_plaid(&out, QUIET).unwrap();
    assert_eq!(
        (report.documents, report.tokens, report.encoded),
        (300, 4800, 300)
    );
    let index = PlaidIndex::open(&out).unwrap();
    let again = db
        .import_plaid("again", index, SchemaBuilder::new(), QUIET)
        .unwrap();
    for n in [0, 77, 299] {
        let top = |collection: &Collection| {
            let query = collection.query().tokens(tokens(n)).plan("maxsim").exact(true);
            query.limit(1).run().unwrap().remove(0)
        };
        let (before, after) = (top(&collection), top(&again));
        assert_eq!((&before.id, &after.id), (&n.into(), &n.into()));
        // 16 tokens, each reconstructed twice with the loss of 4 bits.
        assert!(
            (before.score - after.score).abs() < 0.3,
            "{} and {}",
            before.score,
            after.score
        );
    }
}

/// What importing a damaged copy of `merged` says; there is no collection afterwards.
fn refusal(damage: impl FnOnce(&Path)) -> ImportError {
    let place: TempDir = tempfile::tempdir().unwrap();
    let index = place.path().join("index");
    copy("merged", &index);
    damage(&index);
    let db = Database::open(place.path().join("db")).unwrap();
    let import = |index| db.import_plaid("plaid", index, SchemaBuilder::new(), QUIET);
    let error = PlaidIndex::open(&index)
        .map_err(Error::from)
        .and_then(import)
        .unwrap_err();
    assert!(db.collections().unwrap().is_empty(), "{error}");
    match error {
        Error::Import(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_missing_or_damaged_is_named() {
    let names =
        |error: &ImportError, file: &str| assert!(error.to_string().contains(file), "{file}: {error}");
    let files = [
        "metadata.json",
        "centroids.npy",
        "bucket_cutoffs.npy",
        "bucket_weights.npy",
        "doclens.0.json",
        "merged_codes.npy",
        "merged_residuals.npy",
    ];
    for file in files {
        let missing = refusal(|index| std::fs::remove_file(index.join(file)).unwrap());
        assert!(matches!(missing, ImportError::Io { .. }), "{missing}");
        // Without the merged file, the chunk's own is looked for.
        names(&missing, &file.replace("merged_", "0."));
        let cut = refusal(|index| {
            let bytes = std::fs::read(index.join(file)).unwrap();
            std::fs::write(index.join(file), &bytes[..bytes.len() / 2]).unwrap();
        });
        names(&cut, file);
    }
    let weights = refusal(|index| {
        write_npy(
            &index.join("bucket_weights.npy"),
            &[4],
            &[-0.1, f32::NAN, 0.1, 0.2],
        )
    });
    names(&weights, "bucket_weights.npy");
    let cutoffs = refusal(|index| write_npy(&index.join("bucket_cutoffs.npy"), &[3], &[0.2, 0.1, 0.3]));
    names(&cutoffs, "bucket_cutoffs.npy");
    let narrow = refusal(|index| write_npy(&index.join("centroids.npy"), &[2, 16], &[0.25; 32]));
    names(&narrow, "merged_residuals.npy");
    let odd = refusal(|index| write_npy(&index.join("centroids.npy"), &[2, 12], &[0.25; 24]));
    names(&odd, "centroids.npy");
    let few = refusal(|index| write_npy(&index.join("centroids.npy"), &[1, DIM], &[0.25; DIM]));
    names(&few, "merged_codes.npy");
    let longer = refusal(|index| std::fs::write(index.join("doclens.0.json"), "[70, 70]").unwrap());
    names(&longer, "doclens.0.json");
    let bits = refusal(|index| {
        std::fs::write(index.join("metadata.json"), r#"{"nbits": 3, "num_chunks": 1}"#).unwrap()
    });
    names(&bits, "metadata.json");
    let colbert = refusal(|index| {
        std::fs::write(
            index.join("metadata.json"),
            r#"{"config": {"nbits": 2}, "num_chunks": 1}"#,
        )
        .unwrap()
    });
    assert!(colbert.to_string().contains("ColBERT"), "{colbert}");
    let float = refusal(|index| write_npy(&index.join("merged_codes.npy"), &[107], &[0.0; 107]));
    names(&float, "merged_codes.npy");
}

#[test]
fn a_document_without_tokens_is_refused_and_leaves_no_collection() {
    let place = tempfile::tempdir().unwrap();
    let index = place.path().join("index");
    copy("merged", &index);
    let lengths: Vec<u32> =
        serde_json::from_slice(&std::fs::read(index.join("doclens.0.json")).unwrap()).unwrap();
    let moved: Vec<u32> = [&[0, lengths[0] + lengths[1]], &lengths[2..]].concat();
    std::fs::write(
        index.join("doclens.0.json"),
        serde_json::to_string(&moved).unwrap(),
    )
    .unwrap();
    let db = Database::open(place.path().join("db")).unwrap();
    let index = PlaidIndex::open(&index).unwrap();
    let error = db
        .import_plaid("plaid", index, SchemaBuilder::new(), QUIET)
        .unwrap_err();
    assert!(
        matches!(error, Error::Storage(_)) && error.to_string().contains("document 0"),
        "{error}"
    );
    assert!(db.collections().unwrap().is_empty());
}

#[test]
fn a_schema_that_the_index_cannot_fill_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let db = Database::open(place.path()).unwrap();
    let refused = [
        SchemaBuilder::new().dense(4, Metric::Cosine),
        SchemaBuilder::new().keep_original(OriginalCodec::F16),
        SchemaBuilder::new().token_dim(64),
        SchemaBuilder::new().bits(4),
        SchemaBuilder::new().token_codec(TokenCodec::Trellis),
    ];
    for schema in refused {
        let index = PlaidIndex::open(fixture("merged")).unwrap();
        let error = db.import_plaid("a", index, schema, QUIET).unwrap_err();
        assert!(matches!(error, Error::Schema { .. }), "{error}");
    }
    let stop = |_: &OptimizeProgress| ControlFlow::Break(());
    let index = PlaidIndex::open(fixture("merged")).unwrap();
    assert!(db.import_plaid("a", index, SchemaBuilder::new(), stop).is_err());
    assert!(db.collections().unwrap().is_empty());
    let plain = db
        .create_collection("plain", SchemaBuilder::new().tokens(8, 2))
        .unwrap();
    let error = plain.export_plaid(place.path().join("out"), QUIET).unwrap_err();
    assert!(error.to_string().contains("optimize"), "{error}");
}

#[test]
fn the_commands_import_and_export() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let (db, out, ids) = (path("db"), path("out"), path("ids.txt"));
    let index = fixture("chunks").to_str().unwrap().to_owned();
    let names: String = (0..14).map(|i| format!("doc-{i}\n")).collect();
    std::fs::write(&ids, &names).unwrap();
    let made = run(
        BINARY,
        &["import-plaid", &index, &db, "papers", "--ids", &ids, "--json"],
    )
    .ok()
    .json();
    assert_eq!(
        (&made["documents"], &made["tokens"], &made["bits"]),
        (&14.into(), &78.into(), &4.into())
    );
    let written = run(BINARY, &["export-plaid", &db, "papers", &out, "--json"])
        .ok()
        .json();
    assert_eq!(
        (&written["documents"], &written["encoded"]),
        (&14.into(), &0.into())
    );
    assert_eq!(
        std::fs::read_to_string(Path::new(&out).join("ids.txt")).unwrap(),
        names
    );
    let again = run(BINARY, &["import-plaid", &out, &db, "again"]).ok();
    assert!(
        again
            .stdout
            .contains("14 documents, 78 tokens of 32 numbers at 4 bits, 32 centroids"),
        "{}",
        again.stdout
    );
    std::fs::write(&ids, "one\ntwo\n").unwrap();
    let short = run(BINARY, &["import-plaid", &index, &db, "short", "--ids", &ids]);
    assert!(
        short.code == Some(1) && short.stderr.contains("2 ids, and 14 documents"),
        "{}",
        short.stderr
    );
    let nothing = run(BINARY, &["import-plaid", &path("none"), &db, "none"]);
    assert!(
        nothing.code == Some(1) && nothing.stderr.contains("metadata.json"),
        "{}",
        nothing.stderr
    );
    let twice = run(BINARY, &["export-plaid", &db, "papers", &out]);
    assert!(
        twice.code == Some(1) && twice.stderr.contains("not empty"),
        "{}",
        twice.stderr
    );
}
