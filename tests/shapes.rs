//! Late interaction at every shape: tokens of 32 to 1,024 numbers, queries of 1 to 512 tokens, every codec and number of
//! bits. What is nearest is found, by a scan and through the token index.

use std::ops::ControlFlow;

use latewood::{
    Collection, CostModel, Database, Document, DocumentId, QueryError, SchemaBuilder, StorageError,
    TokenCodec, TokenRows,
};
use latewood_query::{QueryRequest, Resources, search};
use latewood_storage::{Store, StoreOptions};
use latewood_tests::words::unit_vector;

const DOCUMENTS: u64 = 320;
/// Enough of them for a codebook.
const TOKENS: u64 = 14;

fn document(n: u64, dim: usize) -> Vec<Vec<f32>> {
    // Of a few hundred words, so that words are shared, as they are in texts.
    let word = |i: u64| format!("word {}", (n * 17 + i * i * 13 + n * n % 7 * i) % 401);
    (0..TOKENS).map(|i| unit_vector(&word(i), dim)).collect()
}

/// Words of document `n`, each turned a little aside, over and over.
fn query(n: u64, tokens: usize, dim: usize) -> Vec<Vec<f32>> {
    let words = document(n, dim);
    let turned = |(i, word): (usize, &Vec<f32>)| {
        let noise = unit_vector(&format!("noise {n} {i}"), dim);
        word.iter().zip(noise).map(|(w, x)| w + 0.1 * x).collect()
    };
    words
        .iter()
        .cycle()
        .take(tokens)
        .enumerate()
        .map(turned)
        .collect()
}

fn filled(db: &Database, dim: usize, bits: u8, codec: TokenCodec) -> Collection {
    let schema = SchemaBuilder::new().tokens(dim, bits).token_codec(codec);
    let collection = db.create_collection("shapes", schema).unwrap();
    let documents = (0..DOCUMENTS).map(|n| Document::new(n).tokens(document(n, dim)));
    collection.ingest(documents).optimize(true).run().unwrap();
    assert!(
        collection
            .optimize(|_| ControlFlow::Continue(()))
            .unwrap()
            .trained_centroids
            .is_none()
    );
    collection
}

/// The best document through the token index, which a model of costs without cheap scans makes the planner take.
fn through_the_index(db: &Database, rows: &[Vec<f32>], dim: usize) -> DocumentId {
    let options = StoreOptions {
        read_only: true,
        ..StoreOptions::default()
    };
    let store = Store::open(db.path(), options).unwrap();
    let snapshot = store.collection("shapes").unwrap().snapshot();
    let cost = CostModel {
        maxsim_pair: 1e6,
        exact_pair: 1e6,
        ..CostModel::default()
    };
    let request = QueryRequest {
        tokens: Some((rows.concat(), dim)),
        limit: 3,
        candidates: Some(64),
        ..QueryRequest::default()
    };
    let (plan, outcome) = search(&snapshot, &request, &cost, Resources::default()).unwrap();
    assert!(plan.to_string().contains("index"), "{plan}");
    outcome.hits[0].id.clone()
}

#[test]
fn the_nearest_is_found_at_every_shape() {
    let shapes = [
        (32, 1, TokenCodec::Buckets),
        (48, 4, TokenCodec::Trellis),
        (96, 2, TokenCodec::Buckets),
        (128, 1, TokenCodec::Trellis),
        (256, 2, TokenCodec::Trellis),
        (1024, 2, TokenCodec::Trellis),
        (1024, 4, TokenCodec::Buckets),
    ];
    for (dim, bits, codec) in shapes {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(folder.path()).unwrap();
        let collection = filled(&db, dim, bits, codec);
        for (n, tokens) in [
            (5, 3),
            (200, 14),
            (77, 31),
            (318, 32),
            (9, 33),
            (150, 100),
            (44, 512),
        ] {
            let rows = query(n, tokens, dim);
            let context = format!("{tokens} tokens of {dim}, {bits} bits, {codec:?}");
            let ask = || collection.query().tokens(rows.clone()).plan("maxsim").limit(3);
            let exhaustive = ask().exact(true).run().unwrap();
            let found = ask().run().unwrap();
            assert_eq!(found[0].id, exhaustive[0].id, "{context}");
            assert!((found[0].score - exhaustive[0].score).abs() < 1e-3, "{context}");
            assert_eq!(through_the_index(&db, &rows, dim), exhaustive[0].id, "{context}");
            if tokens >= 14 {
                assert_eq!(exhaustive[0].id, n.into(), "{context}");
            }
        }
        // A single token is shared by many documents; the best score is a copy of it.
        let one = query(5, 1, dim);
        let best = collection
            .query()
            .tokens(one)
            .plan("maxsim")
            .limit(1)
            .run()
            .unwrap();
        assert!(
            best[0].score > 0.8,
            "{dim} numbers, {bits} bits, {codec:?}: {}",
            best[0].score
        );
    }
}

#[test]
fn a_query_beyond_512_tokens_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path()).unwrap();
    let collection = db
        .create_collection("shapes", SchemaBuilder::new().tokens(32, 2))
        .unwrap();
    collection
        .upsert(Document::new(1_u64).tokens(document(1, 32)))
        .unwrap();
    let ask = |tokens| collection.query().tokens(query(1, tokens, 32)).run();
    assert_eq!(ask(512).unwrap()[0].id, 1_u64.into());
    let error = ask(513).unwrap_err();
    assert!(
        matches!(
            error,
            latewood::Error::Query(QueryError::QueryTokens { got: 513, most: 512 })
        ),
        "{error:?}"
    );
    for dim in [0, 4, 12, 1032] {
        let error = db
            .create_collection("bad", SchemaBuilder::new().tokens(dim, 2))
            .unwrap_err();
        assert!(
            matches!(
                error,
                latewood::Error::Storage(StorageError::InvalidSchema { .. })
            ),
            "{error:?}"
        );
    }
}

/// Vectors that are stored of a document.
fn stored_tokens(collection: &Collection, n: u64) -> usize {
    match collection.get(n).unwrap().unwrap().tokens {
        Some(TokenRows::Matrix(matrix)) => matrix.len(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn pooled_documents_are_found_by_unpooled_queries() {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path()).unwrap();
    let schema = |factor| SchemaBuilder::new().tokens(32, 4).pool_factor(factor);
    let collection = db.create_collection("pooled", schema(3)).unwrap();
    // Fourteen tokens in five vectors, by every way of writing.
    let written = |n: u64| Document::new(n).tokens(document(n, 32));
    collection.upsert(written(0)).unwrap();
    collection.batch().upsert(written(1)).commit().unwrap();
    collection.ingest((2..40).map(written)).run().unwrap();
    for n in [0_u64, 1, 2, 39] {
        assert_eq!(stored_tokens(&collection, n), 5, "document {n}");
        let best = collection.query().tokens(document(n, 32)).limit(1).run().unwrap();
        assert_eq!(best[0].id, n.into());
        assert!(
            best[0].score < TOKENS as f32 * 0.999,
            "means are not the tokens: {}",
            best[0].score
        );
    }
    drop(collection);
    db.close().unwrap();
    let db = Database::open(folder.path()).unwrap();
    let collection = db.collection("pooled").unwrap();
    assert_eq!(collection.schema().tokens.as_ref().unwrap().pool_factor, 3);
    assert_eq!(stored_tokens(&collection, 1), 5);
    for factor in [0, 33] {
        let error = db.create_collection("bad", schema(factor)).unwrap_err();
        assert!(
            error.to_string().contains("pool factor of 1 (no pooling) to 32"),
            "{error}"
        );
    }
    let error = db
        .create_collection("bad", SchemaBuilder::new().dense_dim(4).pool_factor(2))
        .unwrap_err();
    assert!(matches!(error, latewood::Error::Schema { .. }), "{error}");
}
