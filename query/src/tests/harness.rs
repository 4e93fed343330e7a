//! Small collections, in memory, and the brute force that their answers are compared with.

use std::ops::ControlFlow;
use std::sync::Arc;

use latewood_codecs::{DenseCodec, Metric, OriginalCodec, TokenCodec, TokenMatrix, maxsim};
use latewood_storage::{
    CollectionStore, DenseSpec, DocumentId, FieldSpec, FieldType, LexicalSpec, Maintenance, MemoryBackend,
    Operation, OptimizeOptions, Record, Schema, Snapshot, Store, StoreOptions, TokensSpec,
};
use serde_json::json;

use crate::{CostModel, Hit, Outcome, Plan, PlanChoice, PlanName, QueryRequest, Resources, search};

pub(super) const DENSE_DIM: usize = 16;
pub(super) const TOKEN_DIM: usize = 8;
/// No test writes an id beyond.
const MOST_DOCUMENTS: u64 = 6_000;

/// A generator of numbers that are the same on every run (xorshift64*, Vigna 2016).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 33) % n
    }

    /// Between -1 and 1.
    pub(super) fn float(&mut self) -> f32 {
        let bits = u16::try_from(self.next() >> 48).unwrap();
        f32::from(bits) / 32_768.0 - 1.0
    }

    pub(super) fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }

    /// Whole numbers from -2 to 2: their sums are exact in any order, and tie often.
    pub(super) fn wholes(&mut self, n: usize) -> Vec<f32> {
        (0..n)
            .map(|_| f32::from(u8::try_from(self.below(5)).unwrap()) - 2.0)
            .collect()
    }

    /// Tokens of exactly unit length whose dot products with whole numbers are exact.
    pub(super) fn halves(&mut self, tokens: usize) -> Vec<f32> {
        let mut out = vec![0.0; tokens * TOKEN_DIM];
        for token in out.chunks_exact_mut(TOKEN_DIM) {
            let first = usize::try_from(self.below(2)).unwrap();
            for at in 0..4 {
                token[2 * at + first] = if self.below(2) == 0 { 0.5 } else { -0.5 };
            }
        }
        out
    }

    /// Tokens of unit length around a few directions, as those of real texts are.
    pub(super) fn clustered(&mut self, tokens: usize, clusters: u64) -> Vec<f32> {
        let mut out = Vec::with_capacity(tokens * TOKEN_DIM);
        for _ in 0..tokens {
            let mut direction = Random::new(1_000 + self.below(clusters));
            direction.next();
            let token: Vec<f32> = (0..TOKEN_DIM)
                .map(|_| direction.float() + 0.25 * self.float())
                .collect();
            let norm = token.iter().map(|x| x * x).sum::<f32>().sqrt();
            out.extend(token.iter().map(|x| x / norm));
        }
        out
    }
}

pub(super) fn schema(metric: Metric, codec: DenseCodec, bits: u8, original: Option<OriginalCodec>) -> Schema {
    let field = |name: &str, kind| FieldSpec {
        name: name.to_owned(),
        kind,
    };
    Schema {
        dense: Some(DenseSpec {
            dim: DENSE_DIM,
            metric,
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
            field("tags", FieldType::Keyword),
            field("year", FieldType::Int),
            field("price", FieldType::Float),
            field("open", FieldType::Bool),
        ],
        lexical: Some(LexicalSpec::default()),
        ..Schema::default()
    }
}

pub(super) fn plain() -> Schema {
    schema(Metric::InnerProduct, DenseCodec::F32, 2, None)
}

/// A document whose fields, text and vectors follow from the generator.
pub(super) fn record(id: u64, dense: Vec<f32>, tokens: &[f32], random: &mut Random) -> Record {
    let mut payload = json!({});
    let tag = |n: u64| format!("tag{n}");
    match random.below(4) {
        0 => {}
        1 => payload["tags"] = json!(tag(random.below(5))),
        2 => payload["tags"] = json!([tag(random.below(5)), tag(random.below(5))]),
        _ => payload["tags"] = json!([]),
    }
    if random.below(5) > 0 {
        payload["year"] = json!(1990 + random.below(40));
        payload["price"] = json!(f64::from(random.float()) * 10.0);
    }
    if random.below(3) > 0 {
        payload["open"] = json!(random.below(2) == 0);
    }
    Record {
        id: id.into(),
        text: Some(format!("document {id}")),
        payload: payload.as_object().unwrap().clone(),
        dense: Some(dense),
        tokens: Some(TokenMatrix::from_f32(TOKEN_DIM, tokens).unwrap()),
        vectors: latewood_storage::Vectors::new(),
    }
}

/// Records whose scores are exact in any order of summation, and tie often.
pub(super) fn exact_records(count: u64, random: &mut Random) -> Vec<Record> {
    (0..count)
        .map(|id| {
            let tokens = usize::try_from(1 + random.below(4)).unwrap();
            let (mut dense, tokens) = (random.wholes(DENSE_DIM), random.halves(tokens));
            dense[0] = 1.0;
            record(id, dense, &tokens, random)
        })
        .collect()
}

/// Records like real ones.
pub(super) fn natural_records(count: u64, random: &mut Random) -> Vec<Record> {
    (0..count)
        .map(|id| {
            let tokens = usize::try_from(2 + random.below(8)).unwrap();
            let (dense, tokens) = (random.floats(DENSE_DIM), random.clustered(tokens, 40));
            record(id, dense, &tokens, random)
        })
        .collect()
}

/// A collection in memory.
pub(super) struct Fixture {
    pub(super) collection: Arc<CollectionStore>,
    _store: Store,
}

impl Fixture {
    pub(super) fn new(schema: Schema) -> Self {
        let options = StoreOptions {
            backend: Arc::new(MemoryBackend::default()),
            maintenance: Maintenance::Manual,
            threads: 1,
            ..StoreOptions::default()
        };
        let store = Store::open("/db", options).unwrap();
        let collection = store.create_collection("c", schema).unwrap();
        Self {
            collection,
            _store: store,
        }
    }

    /// Into the memtable.
    pub(super) fn upsert(&self, records: &[Record]) {
        let batch = records.iter().cloned().map(Operation::Upsert).collect();
        self.collection.commit(batch).unwrap();
    }

    /// Into a segment of its own.
    pub(super) fn bulk(&self, records: &[Record]) {
        self.collection
            .bulk(records.to_vec(), &|_| ControlFlow::Continue(()))
            .unwrap();
    }

    pub(super) fn delete(&self, ids: &[u64]) {
        let batch = ids.iter().map(|id| Operation::Delete((*id).into())).collect();
        self.collection.commit(batch).unwrap();
    }

    pub(super) fn optimize(&self) {
        let options = OptimizeOptions {
            retrain: true,
            ..OptimizeOptions::default()
        };
        self.collection.optimize(&options).unwrap();
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.collection.snapshot()
    }

    pub(super) fn search(&self, request: &QueryRequest) -> (Plan, Outcome) {
        self.search_with(request, &CostModel::default())
    }

    pub(super) fn search_with(&self, request: &QueryRequest, cost: &CostModel) -> (Plan, Outcome) {
        search(&self.snapshot(), request, cost, Resources::default()).unwrap()
    }

    pub(super) fn hits(&self, request: &QueryRequest) -> Vec<Hit> {
        self.search(request).1.hits
    }
}

/// Costs under which an index is always taken where there is one.
pub(super) fn indexes_only() -> CostModel {
    CostModel {
        dense_row_per_1000_dims: 1e6,
        maxsim_pair: 1e6,
        graph_hop: 1e-6,
        posting: 1e-6,
        ..CostModel::default()
    }
}

pub(super) fn dense_request(dense: Vec<f32>, limit: usize) -> QueryRequest {
    QueryRequest {
        dense: Some(dense),
        limit,
        plan: PlanChoice::Named(PlanName::DENSE),
        ..QueryRequest::default()
    }
}

pub(super) fn maxsim_request(tokens: Vec<f32>, limit: usize) -> QueryRequest {
    let plan = PlanChoice::Named(PlanName::MAXSIM);
    QueryRequest {
        tokens: Some((tokens, TOKEN_DIM)),
        limit,
        plan,
        ..QueryRequest::default()
    }
}

pub(super) fn ids(hits: &[Hit]) -> Vec<DocumentId> {
    hits.iter().map(|hit| hit.id.clone()).collect()
}

/// Every live document that `passes`, with its score computed from what is stored, best first.
pub(super) fn ranking(
    snapshot: &Snapshot,
    request: &QueryRequest,
    passes: impl Fn(&Record) -> bool,
) -> Vec<(DocumentId, f32)> {
    let metric = snapshot.schema().dense.as_ref().unwrap().metric;
    let mut scored: Vec<(DocumentId, f32)> = (0..MOST_DOCUMENTS)
        .filter_map(|id| snapshot.get(&id.into()).unwrap())
        .filter(|record| passes(record))
        .map(|record| {
            let score = match (&request.dense, &request.tokens) {
                (Some(query), None) => {
                    let mut query = query.clone();
                    metric.prepare(&mut query).unwrap();
                    metric.score(&query, record.dense.as_ref().unwrap())
                }
                (_, Some((query, dim))) => {
                    maxsim(query, &record.tokens.as_ref().unwrap().to_f32(), *dim).unwrap()
                }
                _ => panic!("nothing to score by"),
            };
            (record.id, score)
        })
        .collect();
    scored.sort_by(|a, b| b.1.total_cmp(&a.1));
    scored
}

/// Whether hits are the best of a ranking: each score within `tolerance` of the brute force, and none better left out.
pub(super) fn assert_best(hits: &[Hit], ranking: &[(DocumentId, f32)], limit: usize, tolerance: f32) {
    assert_eq!(hits.len(), limit.min(ranking.len()));
    for (hit, (_, expected)) in hits.iter().zip(ranking) {
        let (_, own) = ranking
            .iter()
            .find(|(id, _)| *id == hit.id)
            .expect("a hit that is in no ranking");
        assert!(
            (hit.score - own).abs() <= tolerance,
            "{} scored {}, not {own}",
            hit.id,
            hit.score
        );
        assert!(
            (hit.score - expected).abs() <= tolerance,
            "rank of {} has {expected}, not {}",
            hit.id,
            hit.score
        );
    }
    assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
}

/// The share of the best of a ranking that hits found.
pub(super) fn recall(hits: &[Hit], ranking: &[(DocumentId, f32)]) -> f64 {
    let best = &ranking[..hits.len().min(ranking.len())];
    let found = hits
        .iter()
        .filter(|hit| best.iter().any(|(id, _)| *id == hit.id))
        .count();
    f64::from(u32::try_from(found).unwrap()) / f64::from(u32::try_from(best.len().max(1)).unwrap())
}
