//! Recall and latency of late interaction on token embeddings of one's own: the token index against the exhaustive scan.
//!
//!     cargo run --release -p latewood-query --example token_index -- FOLDER --db DIR [--bits 2] [--queries 200]
//!
//! The database in DIR is made from FOLDER when there is none, and used again when there is. FOLDER holds documents.npy (float16, tokens x dim), doclens.npy (int32) and queries.npy (float32, queries x tokens x
//! dim), the shape in which ColBERT embeddings are usually kept.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use half::f16;
use latewood_codecs::TokenMatrix;
use latewood_query::{
    CostModel, Outcome, PlanChoice, PlanName, ProbeSettings, QueryRequest, Resources, Stage, execute, explain,
};
use latewood_storage::{
    CollectionStore, Durability, OptimizeOptions, Payload, Record, Schema, Snapshot, Store, StoreOptions,
    TokensSpec,
};

const USAGE: &str = "usage: token_index FOLDER --db DIR [--bits 2] [--queries 200] [--docs N]";
const NAME: &str = "tokens";

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments.first().ok_or(USAGE)?;
    let option = |name: &str| {
        arguments
            .iter()
            .position(|a| a == name)
            .and_then(|at| arguments.get(at + 1))
    };
    let bits: u8 = option("--bits").map_or(Ok(2), |bits| bits.parse())?;
    let limit: usize = option("--queries").map_or(Ok(200), |n| n.parse())?;
    let documents: usize = option("--docs").map_or(Ok(usize::MAX), |n| n.parse())?;
    let database = option("--db").ok_or(USAGE)?;

    let folder = Path::new(folder);
    let queries = Npy::read(&folder.join("queries.npy"))?;
    let [_, tokens, dim] = queries.shape[..] else {
        return Err("queries.npy is not queries x tokens x dim".into());
    };
    let options = StoreOptions {
        durability: Durability::None,
        ..StoreOptions::default()
    };
    let store = Store::open(database, options)?;
    if store.collections()?.is_empty() {
        let schema = Schema {
            tokens: Some(TokensSpec {
                dim,
                bits,
                original: None,
            }),
            ..Schema::default()
        };
        ingest(
            store.create_collection(NAME, schema)?.as_ref(),
            folder,
            dim,
            documents,
        )?;
    }
    let snapshot = store.collection(NAME)?.snapshot();
    println!("{} documents, {} tokens", snapshot.len(), snapshot.num_tokens());
    let requests: Vec<QueryRequest> = queries
        .f32s()
        .chunks_exact(tokens * dim)
        .take(limit)
        .map(|query| QueryRequest {
            tokens: Some((query.to_vec(), dim)),
            plan: PlanChoice::Named(PlanName::MaxSim),
            ..QueryRequest::default()
        })
        .collect();
    measure(&snapshot, &requests)
}

fn ingest(collection: &CollectionStore, folder: &Path, dim: usize, most: usize) -> Result<(), Failure> {
    let documents = Npy::read(&folder.join("documents.npy"))?;
    let lengths = Npy::read(&folder.join("doclens.npy"))?.i32s();
    let begun = Instant::now();
    let mut records = Vec::new();
    let (mut at, mut id) = (0, 0u64);
    for length in lengths.into_iter().take(most) {
        let end = at + usize::try_from(length)?;
        let tokens = TokenMatrix::new(dim, documents.f16s(at * dim..end * dim))?;
        let payload = Payload::new();
        records.push(Record {
            id: id.into(),
            text: None,
            payload,
            dense: None,
            tokens: Some(tokens),
        });
        (at, id) = (end, id + 1);
    }
    collection.bulk(records, &|_| ControlFlow::Continue(()))?;
    println!("ingested in {:.1} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    collection.optimize(&OptimizeOptions {
        retrain: true,
        ..OptimizeOptions::default()
    })?;
    println!(
        "codebook, codes and posting lists in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// The settings that are tried: n_probe, candidates, refine.
const SETTINGS: &[(usize, usize, usize)] = &[
    (4, 512, 256),
    (8, 256, 128),
    (8, 512, 256),
    (16, 256, 128),
    (16, 256, 256),
    (16, 512, 128),
    (16, 512, 192),
    (16, 512, 256),
    (16, 512, 384),
    (16, 1_024, 512),
    (32, 512, 256),
    (32, 512, 512),
];

fn measure(snapshot: &Snapshot, requests: &[QueryRequest]) -> Result<(), Failure> {
    // Costs under which the planner always scans, or always takes the index.
    let scans = CostModel {
        posting: 1e9,
        ..CostModel::default()
    };
    let indexes = CostModel {
        maxsim_pair: 1e3,
        ..CostModel::default()
    };
    let exact: Vec<QueryRequest> = requests
        .iter()
        .map(|r| QueryRequest {
            exact: true,
            ..r.clone()
        })
        .collect();
    let exact = run(snapshot, &exact, &scans, None)?;
    println!("exact scan: {}", exact.latency);
    let codes = run(snapshot, requests, &scans, None)?;
    println!(
        "scan of codes: {}; recall@10 {:.4}",
        codes.latency,
        recall(&codes, &exact)
    );
    for &(n_probe, candidates, refine) in SETTINGS {
        let settings = ProbeSettings {
            n_probe,
            candidates,
            refine,
        };
        let found = run(snapshot, requests, &indexes, Some(settings))?;
        let recall = recall(&found, &exact);
        println!(
            "n_probe {n_probe:>3}, candidates {candidates:>5}, refine {refine:>4}: recall@10 {recall:.4}, {}",
            found.latency
        );
    }
    let found = run(snapshot, requests, &indexes, None)?;
    println!(
        "defaults: recall@10 {:.4}, {}",
        recall(&found, &exact),
        found.latency
    );
    println!("\n{}", found.stages);
    println!(
        "{}",
        explain(
            snapshot,
            &requests[0],
            &CostModel::default(),
            Resources::default()
        )?
    );
    Ok(())
}

struct Measured {
    rankings: Vec<Vec<u64>>,
    latency: String,
    stages: String,
}

fn run(
    snapshot: &Snapshot,
    requests: &[QueryRequest],
    cost: &CostModel,
    settings: Option<ProbeSettings>,
) -> Result<Measured, Failure> {
    let (mut rankings, mut times) = (Vec::new(), Vec::new());
    let mut stages: BTreeMap<(usize, String), Vec<f64>> = BTreeMap::new();
    for request in requests {
        let mut plan = explain(snapshot, request, cost, Resources::default())?;
        if let (Some(settings), Some(first)) = (settings, plan.stages.first_mut()) {
            first.stage = Stage::MaxsimIndex(settings);
        }
        let Outcome { hits, profile } = execute(snapshot, request, &plan, Resources::default())?;
        times.push(profile.total_microseconds);
        for (at, stage) in profile.stages.iter().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "an average")]
            let per_unit = stage.microseconds / stage.work.max(1) as f64;
            stages
                .entry((at, stage.name.clone()))
                .or_default()
                .extend([stage.microseconds, per_unit]);
        }
        rankings.push(hits.iter().map(|hit| u64::from(hit.position.ordinal)).collect());
    }
    let median = |all: &[f64], offset| percentile(all.iter().copied().skip(offset).step_by(2).collect(), 50);
    let stages = stages.iter().map(|((_, name), all)| {
        format!(
            "{name:<28} p50 {:>9.1} us, {:.5} us a unit of work\n",
            median(all, 0),
            median(all, 1)
        )
    });
    let stages = stages.collect();
    let (p50, p95) = (percentile(times.clone(), 50), percentile(times, 95));
    Ok(Measured {
        rankings,
        latency: format!("p50 {:.2} ms, p95 {:.2} ms", p50 / 1e3, p95 / 1e3),
        stages,
    })
}

fn percentile(mut values: Vec<f64>, share: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values
        .get(values.len() * share / 100)
        .or(values.last())
        .copied()
        .unwrap_or(f64::NAN)
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn recall(found: &Measured, exact: &Measured) -> f64 {
    let shared: usize = found
        .rankings
        .iter()
        .zip(&exact.rankings)
        .map(|(found, exact)| found.iter().filter(|id| exact.contains(id)).count())
        .sum();
    shared as f64 / exact.rankings.iter().map(Vec::len).sum::<usize>().max(1) as f64
}

/// An array as numpy writes it, C order, little-endian.
struct Npy {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Npy {
    fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = fs::read(path)?;
        let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let text = std::str::from_utf8(&bytes[10..10 + header])?;
        let shape = text
            .split_once("'shape': (")
            .and_then(|(_, rest)| rest.split_once(')'))
            .ok_or("no shape")?
            .0;
        let shape = shape
            .split(',')
            .map(str::trim)
            .filter(|n| !n.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            shape,
            bytes: bytes[10 + header..].to_vec(),
        })
    }

    fn f16s(&self, range: std::ops::Range<usize>) -> Vec<f16> {
        let bytes = &self.bytes[2 * range.start..2 * range.end];
        bytes
            .chunks_exact(2)
            .map(|b| f16::from_le_bytes([b[0], b[1]]))
            .collect()
    }

    fn f32s(&self) -> Vec<f32> {
        self.bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect()
    }

    fn i32s(&self) -> Vec<i32> {
        self.bytes
            .chunks_exact(4)
            .map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect()
    }
}
