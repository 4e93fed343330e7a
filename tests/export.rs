//! A collection that is exported as plain files and read back is the same, to the bit.

use std::collections::BTreeMap;
use std::sync::Arc;

use latewood::import::ExportedFolder;
use latewood::{
    Database, DenseCodec, Document, DocumentId, Maintenance, MemoryBackend, Metric, NamedVector,
    OriginalCodec, SchemaBuilder, TokenMatrix,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const DENSE: usize = 3;
const TOKENS: usize = 8;

fn id() -> impl Strategy<Value = DocumentId> {
    prop_oneof![
        any::<u64>().prop_map(DocumentId::U64),
        "\\PC{1,12}|[\\n\\t\"\\\\ x]{1,6}".prop_map(DocumentId::Str)
    ]
}

/// Any keys, those among them that mean something in a line of JSON.
fn payload() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        3 => "[a-z]{1,6}",
        1 => prop::sample::select(vec!["_id", "title", "text", "_text", "_dense", "_tokens", "_vectors", "_payload"]).prop_map(str::to_owned),
    ];
    let value = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        Just(json!({"nested": [1, "two", null]})),
    ];
    prop::collection::btree_map(key, value, 0..4).prop_map(|map| Value::Object(Map::from_iter(map)))
}

fn text() -> impl Strategy<Value = Option<String>> {
    let some = "[ \\n\\t]{0,2}\\PC{0,10}[a-z]\\PC{0,10}[ \\n]{0,2}";
    prop_oneof![1 => Just(None), 4 => some.prop_map(Some)]
}

fn number() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => -2.0_f32..2.0,
        1 => prop::sample::select(vec![0.0, -0.0, 1e-40, f32::MIN_POSITIVE, 1e30, -3.5e-20]),
    ]
}

fn sparse() -> impl Strategy<Value = Option<(Vec<u32>, Vec<f32>)>> {
    let weight = prop_oneof![
        1e-30_f32..1e30,
        0.0001_f32..3.0,
        Just(f32::MIN_POSITIVE),
        Just(1e-40)
    ];
    let dimension = prop_oneof![any::<u32>(), 0_u32..30, Just(u32::MAX)];
    let entries = prop::collection::btree_map(dimension, weight, 1..300);
    prop::option::of(entries.prop_map(|entries| entries.into_iter().unzip()))
}

fn document() -> impl Strategy<Value = Document> {
    let dense =
        prop::collection::vec(number(), DENSE).prop_filter("a direction", |v| v.iter().any(|x| *x != 0.0));
    let tokens = prop::collection::vec(-1.0_f32..1.0, TOKENS..TOKENS * 4);
    let title = prop::option::of(prop::collection::vec(number(), 2));
    (id(), text(), payload(), dense, tokens, sparse(), title).prop_map(
        |(id, text, payload, dense, mut tokens, sparse, title)| {
            tokens.truncate(tokens.len() / TOKENS * TOKENS);
            let mut document = Document::new(id).payload(payload).dense(dense);
            document.text = text;
            if let Some(title) = title {
                document = document.vector("title", title);
            }
            if let Some((indices, values)) = sparse {
                document = document.sparse("splade", indices, values);
            }
            document.tokens(TokenMatrix::from_f32(TOKENS, &tokens).unwrap())
        },
    )
}

fn database() -> Database {
    Database::options()
        .backend(Arc::new(MemoryBackend::default()))
        .maintenance(Maintenance::Manual)
        .threads(1)
        .open("/db")
        .unwrap()
}

fn schema(metric: Metric) -> SchemaBuilder {
    SchemaBuilder::new()
        .dense(DENSE, metric)
        .dense_codec(DenseCodec::F32)
        .tokens(TOKENS, 2)
        .keep_original(OriginalCodec::F16)
        .sparse("splade")
        .vector_as("title", 2, Metric::L2, DenseCodec::F32)
}

type Bits = (Option<String>, Value, Vec<u32>, Vec<u16>, Vec<(u32, u32)>);

/// Everything in a document, floats by their bits.
fn bits(document: &Document) -> Bits {
    let tokens = match document.tokens.as_ref().unwrap() {
        latewood::TokenRows::Matrix(matrix) => matrix.as_f16().iter().map(|x| x.to_bits()).collect(),
        latewood::TokenRows::Rows(_) => panic!("they are checked"),
    };
    let dense = document.dense.iter().flatten().map(|x| x.to_bits()).collect();
    let mut dense: Vec<u32> = dense;
    if let Some(NamedVector::Dense(title)) = document.vectors.get("title") {
        dense.extend(title.iter().map(|x| x.to_bits()));
    }
    let sparse = match document.vectors.get("splade") {
        Some(NamedVector::Sparse { indices, values }) => {
            let weights = values.iter().map(|x| x.to_bits());
            indices.iter().copied().zip(weights).collect()
        }
        _ => Vec::new(),
    };
    (
        document.text.clone(),
        document.payload.clone(),
        dense,
        tokens,
        sparse,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_exported_and_read_back_is_the_same(
        documents in prop::collection::vec(document(), 1..12),
        flushed in 0_usize..12,
        cosine in any::<bool>(),
    ) {
        let metric = if cosine { Metric::Cosine } else { Metric::L2 };
        let (first, second) = (database(), database());
        let from = first.create_collection("c", schema(metric)).unwrap();
        for (at, document) in documents.iter().enumerate() {
            from.upsert(document.clone()).unwrap();
            if at == flushed {
                from.flush().unwrap();
            }
        }
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("export");
        let count = from.export(&folder, |_| ()).unwrap();

        let stored: Vec<Document> = from.documents().unwrap().map(Result::unwrap).collect();
        if !cosine {
            let given: BTreeMap<_, _> = documents.iter().map(|d| (d.id.clone(), bits(d))).collect();
            let kept: BTreeMap<_, _> = stored.iter().map(|d| (d.id.clone(), bits(d))).collect();
            prop_assert_eq!(kept, given);
        }
        let read: Vec<Document> = ExportedFolder::open(&folder).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(count, read.len() as u64);
        for (stored, read) in stored.iter().zip(&read) {
            prop_assert_eq!((&stored.id, bits(stored)), (&read.id, bits(read)));
        }
        let to = second.create_collection("c", schema(metric)).unwrap();
        to.try_ingest(ExportedFolder::open(&folder).unwrap()).optimize(false).run().unwrap();
        let again: BTreeMap<_, _> = to.documents().unwrap().map(Result::unwrap).map(|d| (d.id.clone(), bits(&d))).collect();
        let expected: BTreeMap<_, _> = stored.iter().map(|d| (d.id.clone(), bits(d))).collect();
        prop_assert_eq!(again, expected);
        let passed: Vec<Document> = ExportedFolder::open(&folder).unwrap().skip(1).map(Result::unwrap).collect();
        prop_assert_eq!(passed.len(), stored.len() - 1);
        if let (Some(second), Some(passed)) = (stored.get(1), passed.first()) {
            prop_assert_eq!(bits(second), bits(passed));
        }
    }
}

#[test]
fn a_folder_that_is_not_whole_is_told() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("export");
    let db = database();
    let c = db.create_collection("c", schema(Metric::L2)).unwrap();
    for id in 0..3_u64 {
        c.upsert(
            Document::new(id)
                .text("t")
                .dense(vec![1.0; DENSE])
                .tokens(vec![vec![0.5; TOKENS]]),
        )
        .unwrap();
    }
    c.export(&folder, |_| ()).unwrap();
    let again = c.export(&folder, |_| ()).unwrap_err();
    assert!(again.to_string().contains("empty"), "{again}");
    let lines = folder.join("documents.jsonl");
    let whole = std::fs::read_to_string(&lines).unwrap();
    let last = |text: &str| {
        std::fs::write(&lines, text).unwrap();
        ExportedFolder::open(&folder).unwrap().last().unwrap()
    };
    assert!(last(&whole).is_ok());
    for other in [whole.lines().next().unwrap(), &format!("{whole}{{\"_id\": 9}}\n")] {
        let error = last(other).unwrap_err();
        assert!(error.to_string().contains("do not belong together"), "{error}");
    }
    std::fs::remove_file(lines).unwrap();
    assert!(ExportedFolder::open(&folder).is_err());
}
