use latewood_codecs::{DenseCodec, Metric};
use serde_json::json;

use super::*;
use crate::schema::{DenseSpec, TokensSpec};

fn schema() -> Schema {
    Schema {
        dense: Some(DenseSpec {
            dim: 2,
            metric: Metric::Cosine,
            codec: DenseCodec::F32,
        }),
        tokens: Some(TokensSpec {
            dim: 8,
            bits: 2,
            codec: latewood_codecs::TokenCodec::default(),
            original: None,
            pool_factor: 1,
        }),
        fields: vec![
            FieldSpec {
                name: "tags".to_owned(),
                kind: FieldType::Keyword,
            },
            FieldSpec {
                name: "year".to_owned(),
                kind: FieldType::Int,
            },
        ],
        ..Schema::default()
    }
}

fn record(id: &str) -> Record {
    Record {
        id: id.into(),
        text: Some("t".to_owned()),
        payload: crate::document::Payload::new(),
        dense: Some(vec![3.0, 4.0]),
        tokens: Some(TokenMatrix::from_f32(8, &[0.5; 16]).unwrap()),
        vectors: crate::document::Vectors::new(),
    }
}

#[test]
fn vectors_of_named_fields_are_checked_by_name() {
    let mut schema = schema();
    let named = |name: &str| crate::schema::VectorSpec {
        name: name.to_owned(),
        kind: VectorKind::Sparse,
    };
    schema.vectors = vec![named("a"), named("b-2")];
    schema.validate().unwrap();
    let sparse = |indices: &[u32]| {
        let vector = latewood_codecs::SparseVector::new(indices.to_vec(), vec![1.0; indices.len()]);
        VectorValue::Sparse(vector.unwrap())
    };
    let mut good = record("x");
    good.vectors = Vectors::from([("a".to_owned(), sparse(&[3])), ("b-2".to_owned(), sparse(&[]))]);
    schema.prepare(&mut good).unwrap();
    assert_eq!(
        good.vectors.keys().collect::<Vec<_>>(),
        ["a"],
        "one of nothing is none"
    );
    good.vectors.insert("c".to_owned(), sparse(&[1]));
    let error = schema.prepare(&mut good).unwrap_err().to_string();
    assert!(error.contains("\"c\"") && error.contains("a, b-2"), "{error}");
    assert!(schema.fits(&good).is_err());
    for bad in ["", "a:b", "a/b", "é", "-a", &"x".repeat(65)] {
        schema.vectors = vec![named(bad)];
        assert!(schema.validate().is_err(), "{bad}");
    }
    schema.vectors = vec![named("a"), named("a")];
    assert!(schema.validate().unwrap_err().to_string().contains("twice"));
    schema.vectors = (0..17).map(|n| named(&n.to_string())).collect();
    assert!(schema.validate().unwrap_err().to_string().contains("at most 16"));
    let alone = Schema {
        vectors: vec![named("a")],
        ..Schema::default()
    };
    alone.validate().unwrap();
    let json = alone.to_json().unwrap();
    assert!(
        json.contains(r#""vectors":[{"name":"a","kind":"sparse"}]"#),
        "{json}"
    );
    assert_eq!(serde_json::from_str::<Schema>(&json).unwrap(), alone);
}

fn fault(change: impl FnOnce(&mut Record)) -> RecordFault {
    let mut bad = record("a");
    change(&mut bad);
    match schema().prepare(&mut bad).unwrap_err() {
        StorageError::InvalidRecord { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn a_good_record_is_prepared() {
    let mut good = record("a");
    schema().prepare(&mut good).unwrap();
    assert_eq!(good.dense.unwrap(), [0.6, 0.8]);
}

#[test]
fn tokens_are_pooled_by_the_schema_s_factor() {
    let mut pooling = schema();
    pooling.tokens.as_mut().unwrap().pool_factor = 2;
    let mut numbers = [0.0f32; 40];
    (0..5).for_each(|token| numbers[token * 8 + token / 2] = 1.0);
    let tokens = TokenMatrix::from_f32(8, &numbers).unwrap();
    let mut record = Record {
        tokens: Some(tokens.clone()),
        ..record("a")
    };
    schema().prepare(&mut record).unwrap();
    assert_eq!(record.tokens.as_ref(), Some(&tokens));
    pooling.prepare(&mut record).unwrap();
    let pooled = record.tokens.unwrap();
    assert_eq!(
        pooled.as_f16(),
        [
            &tokens.as_f16()[..8],
            &tokens.as_f16()[16..24],
            &tokens.as_f16()[32..]
        ]
        .concat()
    );
}

#[test]
fn each_fault_is_told_apart() {
    assert!(matches!(
        fault(|r| r.id = "".into()),
        RecordFault::IdLength { got: 0, .. }
    ));
    assert!(matches!(
        fault(|r| r.id = "x".repeat(1025).into()),
        RecordFault::IdLength { got: 1025, .. }
    ));
    assert_eq!(fault(|r| r.text = Some(String::new())), RecordFault::EmptyText);
    assert!(matches!(
        fault(|r| r.dense = None),
        RecordFault::MissingVector { .. }
    ));
    assert!(matches!(
        fault(|r| r.tokens = None),
        RecordFault::MissingVector { .. }
    ));
    assert!(matches!(
        fault(|r| r.dense = Some(vec![1.0])),
        RecordFault::Dimension {
            field: "dense",
            expected: 2,
            got: 1
        }
    ));
    assert!(matches!(
        fault(|r| r.tokens = Some(TokenMatrix::from_f32(16, &[0.5; 16]).unwrap())),
        RecordFault::Dimension {
            field: "tokens",
            expected: 8,
            got: 16
        }
    ));
    assert!(matches!(
        fault(|r| r.dense = Some(vec![f32::NAN, 1.0])),
        RecordFault::Vector { .. }
    ));
    assert!(matches!(
        fault(|r| r.dense = Some(vec![0.0, 0.0])),
        RecordFault::Vector { .. }
    ));
    let mistyped = fault(|r| drop(r.payload.insert("year".to_owned(), json!("1999"))));
    assert!(mistyped.to_string().contains("integer"), "{mistyped}");
    let mistyped = fault(|r| drop(r.payload.insert("tags".to_owned(), json!(["a", 1]))));
    assert!(matches!(mistyped, RecordFault::FieldType { .. }));
}

#[test]
fn null_and_undeclared_fields_pass() {
    let mut good = record("a");
    good.payload.insert("year".to_owned(), Value::Null);
    good.payload.insert("other".to_owned(), json!({"free": [1, "x"]}));
    schema().prepare(&mut good).unwrap();
}

#[test]
fn an_id_twice_in_a_batch_is_refused() {
    let mut batch = vec![Operation::Upsert(record("a")), Operation::Delete("a".into())];
    let error = prepare_batch(&schema(), &mut batch).unwrap_err();
    assert!(
        matches!(
            error,
            StorageError::InvalidRecord {
                reason: RecordFault::DuplicateId,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn schemas_out_of_range_are_refused() {
    assert!(Schema::default().validate().is_err());
    schema().validate().unwrap();
    let mut bad = schema();
    bad.tokens.as_mut().unwrap().dim = 12;
    assert!(bad.validate().unwrap_err().to_string().contains("multiple of 8"));
    let mut bad = schema();
    bad.tokens.as_mut().unwrap().bits = 3;
    assert!(bad.validate().is_err());
    for factor in [0, MAX_POOL_FACTOR + 1] {
        let mut bad = schema();
        bad.tokens.as_mut().unwrap().pool_factor = factor;
        assert!(bad.validate().unwrap_err().to_string().contains("pool factor"));
    }
    let mut bad = schema();
    bad.dense.as_mut().unwrap().dim = 0;
    assert!(bad.validate().is_err());
    let mut bad = schema();
    bad.fields.push(bad.fields[0].clone());
    assert!(bad.validate().unwrap_err().to_string().contains("twice"));
}
