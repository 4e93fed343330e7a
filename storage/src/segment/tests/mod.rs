//! Whole segments, written and read back.

mod corruption;
mod graph_merging;
mod lexical;
mod merging;
mod recall;
mod round_trip;
mod sparse;
mod training;

use std::path::Path;
use std::sync::Arc;

use latewood_codecs::{
    DenseCodec, Metric, OriginalCodec, ResidualCodec, SparseVector, TokenCodec, TokenMatrix,
};
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde_json::json;

use super::random::SplitMix64;
use super::{Codebook, Segment, SegmentOptions, SegmentView};
use crate::backend::{MemoryBackend, StorageBackend};
use crate::document::{DocumentId, Record, VectorValue, Vectors};
use crate::error::Result;
use crate::schema::{DenseSpec, FieldSpec, FieldType, Schema, TokensSpec, VectorKind, VectorSpec};
use crate::text::LexicalSpec;

const DENSE_DIM: usize = 12;
const TOKEN_DIM: usize = 16;
const SPLADE: &str = "splade";
const TITLE: &str = "title";

fn pool() -> Arc<ThreadPool> {
    Arc::new(ThreadPoolBuilder::new().num_threads(2).build().unwrap())
}

fn options(id: u64) -> SegmentOptions {
    SegmentOptions {
        graph_min_rows: 50,
        ..SegmentOptions::new(id, pool())
    }
}

fn backend() -> MemoryBackend {
    let backend = MemoryBackend::default();
    backend.create_dir_all(Path::new("/c/segments")).unwrap();
    backend
}

fn schema(codec: DenseCodec, bits: u8, original: Option<OriginalCodec>) -> Schema {
    let field = |name: &str, kind| FieldSpec {
        name: name.to_owned(),
        kind,
    };
    Schema {
        dense: Some(DenseSpec {
            dim: DENSE_DIM,
            metric: Metric::Cosine,
            codec,
        }),
        tokens: Some(TokensSpec {
            dim: TOKEN_DIM,
            bits,
            codec: TokenCodec::default(),
            original,
            pool_factor: 1,
        }),
        fields: vec![
            field("lang", FieldType::Keyword),
            field("tags", FieldType::Keyword),
            field("year", FieldType::Int),
            field("price", FieldType::Float),
            field("open", FieldType::Bool),
            field("when", FieldType::Datetime),
            field("at", FieldType::Geo),
            field("maker.name", FieldType::Keyword),
        ],
        lexical: Some(LexicalSpec::default()),
        vectors: vec![
            VectorSpec {
                name: SPLADE.to_owned(),
                kind: VectorKind::Sparse,
            },
            VectorSpec {
                name: TITLE.to_owned(),
                kind: VectorKind::Dense(DenseSpec {
                    dim: 5,
                    metric: Metric::InnerProduct,
                    codec: DenseCodec::F32,
                }),
            },
        ],
        ..Schema::default()
    }
}

/// A number in -1..1.
fn number(random: &mut SplitMix64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "test data")]
    let number = (random.unit() * 2.0 - 1.0) as f32;
    number
}

fn unit_rows(random: &mut SplitMix64, rows: usize, dim: usize) -> Vec<f32> {
    let mut values: Vec<f32> = (0..rows * dim).map(|_| number(random)).collect();
    for row in values.chunks_mut(dim) {
        Metric::Cosine.prepare(row).unwrap();
    }
    values
}

/// A sparse vector of a few dimensions, some of them in most documents; every fourth document has none. And a dense one.
fn vectors(n: u64, random: &mut SplitMix64) -> Vectors {
    let mut weights = std::collections::BTreeMap::new();
    for _ in 0..random.below(30) {
        let dimension = match random.below(8) {
            0 => u32::MAX - u32::try_from(random.below(3)).unwrap(),
            1..4 => u32::try_from(random.below(2_000_000)).unwrap(),
            _ => u32::try_from(random.below(12)).unwrap(),
        };
        weights.insert(dimension, number(random).abs() + 0.001);
    }
    let (indices, values) = weights.into_iter().unzip();
    let vector = SparseVector::new(indices, values).unwrap();
    let there = !n.is_multiple_of(4) && !vector.is_empty();
    let named = there.then(|| (SPLADE.to_owned(), VectorValue::Sparse(vector)));
    let title: Vec<f32> = (0..5).map(|_| number(random)).collect();
    // Of the first hundred all have one, of the others two in three.
    let there = n < 100 || !n.is_multiple_of(3);
    let title = there.then(|| (TITLE.to_owned(), VectorValue::Dense(title)));
    named.into_iter().chain(title).collect()
}

/// A document that varies in every part with its number.
fn record(n: u64) -> Record {
    let mut random = SplitMix64::new(n);
    let id = if n.is_multiple_of(3) {
        DocumentId::U64(n)
    } else {
        DocumentId::from(format!("дерево-{n}-木"))
    };
    let text = (n % 4 != 1).then(|| {
        format!(
            "Text {n}: {}",
            "spätholz ".repeat(usize::try_from(n % 90).unwrap())
        )
    });
    let payload = match n % 5 {
        0 => json!({}),
        1 => json!({
            "lang": "de", "tags": ["b", "a", "b"], "year": 1900 + n, "price": 1.5, "open": true,
            "when": format!("20{:02}-02-03T04:05:06.5Z", n % 100), "maker": { "name": "Ada" },
            "at": { "lat": 52.5, "lon": (n % 180) as f64 },
        }),
        2 => {
            json!({ "lang": "日本語", "tags": [], "year": -5, "price": 3, "open": false, "other": { "deep": [1, null] } })
        }
        3 => json!({ "lang": null, "tags": "solo", "price": -0.25 }),
        _ => json!({ "lang": format!("l{}", n % 7), "year": i64::MIN, "open": null }),
    };
    let tokens = 1 + usize::try_from(random.below(9)).unwrap();
    Record {
        id,
        text,
        payload: payload.as_object().unwrap().clone(),
        dense: Some(unit_rows(&mut random, 1, DENSE_DIM)),
        tokens: Some(TokenMatrix::from_f32(TOKEN_DIM, &unit_rows(&mut random, tokens, TOKEN_DIM)).unwrap()),
        vectors: vectors(n, &mut random),
    }
}

fn records(range: std::ops::Range<u64>) -> Vec<Arc<Record>> {
    range.map(|n| Arc::new(record(n))).collect()
}

/// A codebook of random centroids.
fn codebook(id: u64, bits: u8, centroids: usize) -> Arc<Codebook> {
    let mut random = SplitMix64::new(id + 99);
    let centroids = unit_rows(&mut random, centroids, TOKEN_DIM);
    let heldout = unit_rows(&mut random, 300, TOKEN_DIM);
    let codec = ResidualCodec::fit_buckets(bits, TOKEN_DIM, centroids, &heldout).unwrap();
    Arc::new(Codebook {
        id,
        codec,
        trained_on_tokens: 300,
        distortion: None,
    })
}

fn open(
    backend: &dyn StorageBackend,
    dir: &Path,
    schema: &Schema,
    codebooks: &[Arc<Codebook>],
) -> Result<Segment> {
    Segment::open(backend, dir, schema, &|id| {
        codebooks.iter().find(|c| c.id == id).cloned()
    })
}

fn view(segment: Segment, deleted: &[u32]) -> SegmentView {
    SegmentView {
        segment: Arc::new(segment),
        tombstones: Arc::new(deleted.iter().copied().collect()),
    }
}
