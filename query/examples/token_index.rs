//! Recall and latency of late interaction on token embeddings of one's own: the token index against the exhaustive scan.
//!
//!     cargo run --release -p latewood-query --example token_index -- FOLDER [--bits 2] [--queries 200] [--docs N]
//!
//! FOLDER holds documents.npy (float16, tokens x dim), doclens.npy (int32) and queries.npy (float32, queries x tokens x
//! dim), the shape in which ColBERT embeddings are usually kept.

use std::collections::HashSet;
use std::error::Error;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use half::f16;
use latewood_codecs::TokenMatrix;
use latewood_query::{CostModel, Outcome, PlanChoice, PlanName, QueryRequest, Resources, explain, search};
use latewood_storage::{
    Durability, OptimizeOptions, Record, Schema, Snapshot, Store, StoreOptions, TokensSpec,
};

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments
        .first()
        .ok_or("usage: token_index FOLDER [--bits 2] [--queries 200] [--docs N]")?;
    let option = |name: &str| {
        arguments
            .iter()
            .position(|a| a == name)
            .and_then(|at| arguments.get(at + 1))
    };
    let bits: u8 = option("--bits").map_or(Ok(2), |bits| bits.parse())?;
    let limit: usize = option("--queries").map_or(Ok(200), |n| n.parse())?;
    let docs: usize = option("--docs").map_or(Ok(usize::MAX), |n| n.parse())?;

    let folder = Path::new(folder);
    let (documents, queries) = (
        Npy::read(&folder.join("documents.npy"))?,
        Npy::read(&folder.join("queries.npy"))?,
    );
    let lengths = Npy::read(&folder.join("doclens.npy"))?.i32s();
    let dim = *documents.shape.last().ok_or("documents.npy has no dimension")?;
    let home = tempfile_dir()?;
    let store = Store::open(
        &home,
        StoreOptions {
            create: true,
            durability: Durability::None,
            ..StoreOptions::default()
        },
    )?;
    let schema = Schema {
        tokens: Some(TokensSpec {
            dim,
            bits,
            original: None,
        }),
        ..Schema::default()
    };
    let collection = store.create_collection("tokens", schema)?;

    let begun = Instant::now();
    let mut records = Vec::new();
    let (mut at, mut id) = (0, 0u64);
    for length in lengths.into_iter().take(docs) {
        let end = at + usize::try_from(length)?;
        let tokens = TokenMatrix::new(dim, documents.f16s(at * dim..end * dim))?;
        records.push(Record {
            id: id.into(),
            text: None,
            payload: Default::default(),
            dense: None,
            tokens: Some(tokens),
        });
        (at, id) = (end, id + 1);
    }
    collection.bulk(records, &|_| ControlFlow::Continue(()))?;
    println!(
        "{id} documents, {at} tokens, ingested in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let begun = Instant::now();
    collection.optimize(&OptimizeOptions {
        retrain: true,
        ..OptimizeOptions::default()
    })?;
    println!(
        "codebook and posting lists in {:.1} s",
        begun.elapsed().as_secs_f64()
    );

    let snapshot = collection.snapshot();
    let tokens = queries
        .shape
        .get(1)
        .copied()
        .ok_or("queries.npy is not queries x tokens x dim")?;
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
    measure(&snapshot, &requests)?;
    fs::remove_dir_all(&home)?;
    Ok(())
}

fn measure(snapshot: &Snapshot, requests: &[QueryRequest]) -> Result<(), Failure> {
    // A scan is always cheaper than an index that costs the earth, and the other way round.
    let scans = CostModel {
        posting: 1e9,
        ..CostModel::default()
    };
    let indexes = CostModel {
        maxsim_pair: 1e3,
        ..CostModel::default()
    };
    let (exact, _, _) = run(snapshot, requests, &CostModel::default(), |r| r.exact = true)?;
    let (codes, scan, profile) = run(snapshot, requests, &scans, |_| {})?;
    println!(
        "scan: {scan}; recall@10 against the exact scores {:.4}",
        recall(&codes, &exact)
    );
    println!("{profile}");
    for n_probe in [4, 8, 16, 32, 64] {
        for candidates in [128, 256, 512, 1024] {
            let (found, index, profile) = run(snapshot, requests, &indexes, |r| {
                r.n_probe = Some(n_probe);
                r.candidates = Some(candidates);
            })?;
            let recall = recall(&found, &exact);
            println!("n_probe {n_probe:>3}, candidates {candidates:>5}: recall@10 {recall:.4}, {index}");
            if (n_probe, candidates) == (16, 256) {
                println!("{profile}");
            }
        }
    }
    let (found, index, profile) = run(snapshot, requests, &indexes, |_| {})?;
    println!("defaults: recall@10 {:.4}, {index}", recall(&found, &exact));
    println!("{profile}");
    let request = &requests[0];
    println!(
        "{}",
        explain(snapshot, request, &CostModel::default(), Resources::default())?
    );
    Ok(())
}

type Ranking = Vec<u64>;

fn run(
    snapshot: &Snapshot,
    requests: &[QueryRequest],
    cost: &CostModel,
    change: impl Fn(&mut QueryRequest),
) -> Result<(Vec<Ranking>, String, String), Failure> {
    let (mut rankings, mut times) = (Vec::new(), Vec::new());
    let mut last = String::new();
    for request in requests {
        let mut request = request.clone();
        change(&mut request);
        let begun = Instant::now();
        let (_, Outcome { hits, profile }) = search(snapshot, &request, cost, Resources::default())?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        rankings.push(hits.iter().map(|hit| u64::from(hit.position.ordinal)).collect());
        last = profile.to_string();
    }
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    Ok((
        rankings,
        format!("p50 {:.2} ms, p95 {:.2} ms", at(50), at(95)),
        last,
    ))
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn recall(found: &[Ranking], exact: &[Ranking]) -> f64 {
    let shared: usize = found
        .iter()
        .zip(exact)
        .map(|(found, exact)| {
            let exact: HashSet<_> = exact.iter().collect();
            found.iter().filter(|id| exact.contains(id)).count()
        })
        .sum();
    shared as f64 / exact.iter().map(Vec::len).sum::<usize>().max(1) as f64
}

fn tempfile_dir() -> Result<std::path::PathBuf, Failure> {
    let dir = std::env::temp_dir().join(format!("latewood-token-index-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    Ok(dir)
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
