//! Sparse vectors: time of a query, and bytes, beside a scan of everything.
//!
//! `sparse [--documents 100000] [--queries 500] [--json] [--dump FOLDER]`
//!
//! The vectors are made: dimensions of 30,000 by Zipf's law (1 / (rank + 10)), weights of a log-normal law, about 120 of
//! a document; queries of about 30, half of them of some document and half by the same law. `--dump` writes them as
//! compressed rows (`indptr`, `indices`, `values` of documents and of queries, `.npy`) for other programs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use latewood::{Collection, Database, Document, SchemaBuilder};
use latewood_benches::random::Random;
use serde_json::json;

const DIMENSIONS: usize = 30_000;
const DOCUMENT_ENTRIES: usize = 120;
const QUERY_ENTRIES: usize = 30;

#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 100_000)]
    documents: usize,
    #[arg(long, default_value_t = 500)]
    queries: usize,
    /// Each query is asked so often; the fastest counts
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the vectors are written for other programs
    #[arg(long)]
    dump: Option<PathBuf>,
    #[arg(long)]
    json: bool,
}

type Sparse = BTreeMap<u32, f32>;

/// Draws vectors.
struct Law {
    /// The share of all dimensions up to each.
    cumulated: Vec<f64>,
    random: Random,
}

impl Law {
    fn new(seed: u64) -> Self {
        let mut sum = 0.0;
        let share = |rank: usize| {
            sum += 1.0 / (rank as f64 + 10.0);
            sum
        };
        Self {
            cumulated: (0..DIMENSIONS).map(share).collect(),
            random: Random::new(seed, 0),
        }
    }

    fn dimension(&mut self) -> u32 {
        let all = self.cumulated.last().copied().unwrap_or(1.0);
        let at = self.random.unit() * all;
        self.cumulated.partition_point(|sum| *sum < at) as u32
    }

    /// Of a median of 0.5, two thirds between 0.25 and 1.
    fn weight(&mut self) -> f32 {
        let angle = std::f64::consts::TAU * self.random.unit();
        let normal = (-2.0 * self.random.unit().ln()).sqrt() * angle.cos();
        (0.5 * (0.7 * normal).exp()) as f32
    }

    fn vector(&mut self, entries: usize, of: Option<&Sparse>) -> Sparse {
        let mut vector = Sparse::new();
        let wanted = entries / 2 + self.random.below(entries);
        let own: Vec<u32> = of.into_iter().flat_map(|of| of.keys().copied()).collect();
        for at in 0..wanted {
            let taken = !own.is_empty() && at % 2 == 0;
            let dimension = if taken {
                own[self.random.below(own.len())]
            } else {
                self.dimension()
            };
            let weight = self.weight();
            vector.insert(dimension, weight);
        }
        vector
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let mut law = Law::new(args.seed);
    let documents: Vec<Sparse> = (0..args.documents)
        .map(|_| law.vector(DOCUMENT_ENTRIES, None))
        .collect();
    let queries: Vec<Sparse> = (0..args.queries)
        .map(|_| {
            let of = law.random.below(documents.len());
            law.vector(QUERY_ENTRIES, documents.get(of))
        })
        .collect();
    if let Some(folder) = &args.dump {
        std::fs::create_dir_all(folder)?;
        dump(folder, "documents", &documents)?;
        dump(folder, "queries", &queries)?;
    }
    let place = tempfile::tempdir()?;
    let path = place.path().join("db");
    let built = build(&path, &documents)?;
    let db = Database::options().threads(1).read_only(true).open(&path)?;
    let collection = db.collection("c")?;
    let bytes = |name: &str| bytes_of(&path, name);
    let (rows, index) = (bytes("sparse-0")?, bytes("postings-0")?);
    let (own, found) = measure(&queries, args.repeat, |query| ask(&collection, query))?;
    let scan = Scan::new(&documents);
    let naive = &queries[..queries.len().min(50)];
    let (scanned, truth) = measure(naive, 1, |query| Ok(scan.best(query)))?;
    let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 * b.abs();
    let same = found
        .iter()
        .zip(&truth)
        .all(|(a, b)| a.len() == b.len() && a.iter().zip(b).all(close));
    let entries: usize = documents.iter().map(Sparse::len).sum();
    let per = |bytes: u64| bytes as f64 / documents.len() as f64;
    let report = json!({
        "documents": documents.len(),
        "entries_per_document": entries as f64 / documents.len() as f64,
        "entries_per_query": queries.iter().map(Sparse::len).sum::<usize>() as f64 / queries.len() as f64,
        "build_s": built,
        "p50_us": percentile(&own, 0.5),
        "p95_us": percentile(&own, 0.95),
        "scan_p50_us": percentile(&scanned, 0.5),
        "bytes_per_document": per(rows + index),
        "rows_bytes_per_document": per(rows),
        "index_bytes_per_document": per(index),
        "csr_bytes_per_document": 8.0 * entries as f64 / documents.len() as f64,
        "same_scores_as_the_scan": same,
    });
    if args.json {
        println!("{report}");
    } else {
        println!("{report:#}");
    }
    if same {
        Ok(())
    } else {
        Err("the scan finds others".into())
    }
}

fn build(path: &Path, documents: &[Sparse]) -> Result<f64, latewood::Error> {
    let db = Database::options().create(true).threads(1).open(path)?;
    let collection = db.create_collection("c", SchemaBuilder::new().sparse("splade"))?;
    let begun = Instant::now();
    let all = (0_u64..).zip(documents).map(|(id, vector)| {
        let (indices, values): (Vec<u32>, Vec<f32>) = vector.iter().map(|(d, w)| (*d, *w)).unzip();
        Document::new(id).sparse("splade", indices, values)
    });
    collection.ingest(all).optimize(true).run()?;
    let seconds = begun.elapsed().as_secs_f64();
    drop(collection);
    db.close()?;
    Ok(seconds)
}

fn ask(collection: &Collection, query: &Sparse) -> Result<Vec<f32>, latewood::Error> {
    let (indices, values): (Vec<u32>, Vec<f32>) = query.iter().map(|(d, w)| (*d, *w)).unzip();
    let query = collection
        .query()
        .sparse("splade", indices, values)
        .plan("sparse:splade");
    let hits = query.with_payload(false).run()?;
    Ok(hits.iter().map(|hit| hit.score).collect())
}

/// The fastest time of each query in microseconds, and what it found.
fn measure(
    queries: &[Sparse],
    repeat: usize,
    ask: impl Fn(&Sparse) -> Result<Vec<f32>, latewood::Error>,
) -> Result<(Vec<f64>, Vec<Vec<f32>>), latewood::Error> {
    let (mut times, mut all) = (Vec::new(), Vec::new());
    for query in queries {
        let (mut fastest, mut found) = (f64::INFINITY, Vec::new());
        for _ in 0..repeat {
            let begun = Instant::now();
            found = ask(query)?;
            fastest = fastest.min(begun.elapsed().as_secs_f64() * 1e6);
        }
        times.push(fastest);
        all.push(found);
    }
    Ok((times, all))
}

fn percentile(times: &[f64], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

/// Everything in memory, row after row; a query is spread over all dimensions, and every entry is multiplied.
struct Scan {
    ends: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f32>,
}

impl Scan {
    fn new(documents: &[Sparse]) -> Self {
        let (mut ends, mut indices, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for vector in documents {
            indices.extend(vector.keys());
            values.extend(vector.values());
            ends.push(indices.len());
        }
        Self {
            ends,
            indices,
            values,
        }
    }

    fn best(&self, query: &Sparse) -> Vec<f32> {
        let mut spread = vec![0.0f32; DIMENSIONS];
        query
            .iter()
            .for_each(|(dimension, weight)| spread[*dimension as usize] = *weight);
        let mut start = 0;
        let mut scores = Vec::with_capacity(self.ends.len());
        for &end in &self.ends {
            let pairs = self.indices[start..end].iter().zip(&self.values[start..end]);
            scores.push(
                pairs
                    .map(|(dimension, weight)| spread[*dimension as usize] * weight)
                    .sum::<f32>(),
            );
            start = end;
        }
        let most = scores.len().min(10);
        scores.select_nth_unstable_by(most - 1, |a, b| b.total_cmp(a));
        scores.truncate(most);
        scores.sort_by(|a, b| b.total_cmp(a));
        scores.retain(|score| *score > 0.0);
        scores
    }
}

fn dump(folder: &Path, name: &str, vectors: &[Sparse]) -> std::io::Result<()> {
    let mut ends = vec![0i64];
    for vector in vectors {
        ends.push(ends.last().copied().unwrap_or(0) + vector.len() as i64);
    }
    let indices: Vec<u8> = vectors
        .iter()
        .flat_map(|v| v.keys())
        .flat_map(|d| d.to_le_bytes())
        .collect();
    let values: Vec<u8> = vectors
        .iter()
        .flat_map(|v| v.values())
        .flat_map(|w| w.to_le_bytes())
        .collect();
    let ends: Vec<u8> = ends.iter().flat_map(|end| end.to_le_bytes()).collect();
    for (part, descr, bytes, width) in [
        ("indptr", "<i8", ends, 8),
        ("indices", "<u4", indices, 4),
        ("values", "<f4", values, 4),
    ] {
        let mut header = format!(
            "{{'descr': '{descr}', 'fortran_order': False, 'shape': ({},), }}",
            bytes.len() / width
        );
        while (header.len() + 11) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(bytes);
        std::fs::write(folder.join(format!("{name}-{part}.npy")), file)?;
    }
    Ok(())
}

fn bytes_of(folder: &Path, name: &str) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            bytes += bytes_of(&path, name)?;
        } else if path.file_name().is_some_and(|file| file == name) {
            bytes += path.metadata()?.len();
        }
    }
    Ok(bytes)
}
