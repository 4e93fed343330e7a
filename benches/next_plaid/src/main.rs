//! What next-plaid does with the same token embeddings: a line of JSON for each setting, as `late_interaction --peers`
//! reads them.
//!
//!     cargo run --release -- DATA [--limit DOCUMENTS] [--queries 200] [--bits 4] [--settings 8/4096,4/1024,4/256]
//!
//! DATA is the folder of the late_interaction bench, which writes the exact ranking that recall is measured against:
//! exact.npy, or exact-LIMIT.npy for a part of the documents. The index is built on all cores in a temporary folder, or
//! in `--index DIR`, which is used again when it is there; a query runs on one thread.

mod npy;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ndarray::Array2;
use next_plaid::{IndexConfig, MmapIndex, SearchParameters};
use npy::Npy;
use serde_json::json;

const USAGE: &str = "usage: next-plaid-bench DATA [--limit DOCUMENTS] [--queries 200] [--bits 4] \
                     [--settings 8/4096,4/1024,4/256] [--index DIR]";
const K: usize = 10;
const WARM_UP: usize = 5;

type Failure = Box<dyn Error + Send + Sync>;

struct Args {
    data: PathBuf,
    limit: Option<usize>,
    queries: usize,
    bits: usize,
    settings: Vec<(usize, usize)>,
    index: PathBuf,
}

impl Args {
    fn parse() -> Result<Self, Failure> {
        let all: Vec<String> = std::env::args().skip(1).collect();
        let option = |name: &str| Some(all.get(all.iter().position(|a| a == name)? + 1)?.as_str());
        let pair = |text: &str| -> Result<(usize, usize), Failure> {
            let (probe, full) = text.split_once('/').ok_or(USAGE)?;
            Ok((probe.parse()?, full.parse()?))
        };
        let temporary = || std::env::temp_dir().join(format!("next-plaid-{}", std::process::id()));
        Ok(Self {
            data: all.first().ok_or(USAGE)?.into(),
            limit: option("--limit").map(str::parse).transpose()?,
            queries: option("--queries").unwrap_or("200").parse()?,
            bits: option("--bits").unwrap_or("4").parse()?,
            settings: option("--settings")
                .unwrap_or("8/4096,4/1024,4/256")
                .split(',')
                .map(pair)
                .collect::<Result<_, _>>()?,
            index: option("--index").map_or_else(temporary, PathBuf::from),
        })
    }
}

fn main() -> Result<(), Failure> {
    let args = Args::parse()?;
    let (index, build_s) = match fs::read_to_string(args.index.join("build_seconds")) {
        Ok(seconds) => (MmapIndex::load(&args.index.to_string_lossy())?, seconds.parse()?),
        Err(_) => build(&args)?,
    };
    let bytes_per_token = folder_bytes(&args.index)? as f64 / index.num_embeddings() as f64;
    let (queries, truth) = (read_queries(&args)?, read_truth(&args)?);
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    for &(n_ivf_probe, n_full_scores) in &args.settings {
        let parameters = SearchParameters {
            n_ivf_probe,
            n_full_scores,
            top_k: K,
            ..SearchParameters::default()
        };
        let Measured {
            times,
            cpu_mean_ms,
            recall,
        } = one_thread.install(|| measure(&index, &parameters, &queries, &truth))?;
        let line = json!({
            "name": "next-plaid 1.8.5",
            "setting": format!("{} bits, probe {n_ivf_probe}, {n_full_scores} full scores", args.bits),
            "documents": index.num_documents(),
            "queries": times.len(),
            "p50_ms": percentile(&times, 0.5),
            "p95_ms": percentile(&times, 0.95),
            "cpu_mean_ms": cpu_mean_ms,
            "recall_at_10": recall,
            "bytes_per_token": bytes_per_token,
            "build_s": build_s,
        });
        println!("{line}");
    }
    Ok(())
}

/// Builds the index at next-plaid's defaults, on all cores; returns the seconds that it took.
fn build(args: &Args) -> Result<(MmapIndex, f64), Failure> {
    let mut tokens = Npy::open(&args.data.join("documents.npy"))?;
    let mut lengths = Npy::open(&args.data.join("doclens.npy"))?;
    let documents = args.limit.unwrap_or(usize::MAX).min(lengths.shape[0]);
    let (dim, mut first, mut matrices) = (tokens.shape[1], 0, Vec::with_capacity(documents));
    for length in lengths.counts(0, documents)? {
        let numbers = tokens.floats(first * dim, length * dim)?;
        matrices.push(Array2::from_shape_vec((length, dim), numbers)?);
        first += length;
    }
    let config = IndexConfig {
        nbits: args.bits,
        ..IndexConfig::default()
    };
    let begun = Instant::now();
    let index = MmapIndex::create_with_kmeans(&matrices, &args.index.to_string_lossy(), &config)?;
    let seconds = begun.elapsed().as_secs_f64();
    fs::write(args.index.join("build_seconds"), seconds.to_string())?;
    Ok((index, seconds))
}

fn read_queries(args: &Args) -> Result<Vec<Array2<f32>>, Failure> {
    let mut queries = Npy::open(&args.data.join("queries.npy"))?;
    let [count, tokens, dim] = queries.shape[..] else {
        return Err("queries.npy: expected queries x tokens x dim".into());
    };
    (0..count.min(args.queries))
        .map(|i| {
            let numbers = queries.floats(i * tokens * dim, tokens * dim)?;
            Ok(Array2::from_shape_vec((tokens, dim), numbers)?)
        })
        .collect()
}

/// The documents of the exact top for each query.
fn read_truth(args: &Args) -> Result<Vec<Vec<usize>>, Failure> {
    let name = args
        .limit
        .map_or("exact.npy".to_owned(), |n| format!("exact-{n}.npy"));
    let mut exact = Npy::open(&args.data.join(name))?;
    let [count, depth] = exact.shape[..] else {
        return Err("the exact ranking: expected queries x documents".into());
    };
    if count < args.queries {
        return Err(format!(
            "the exact ranking has {count} queries, {} were asked for",
            args.queries
        )
        .into());
    }
    let numbers = exact.counts(0, count * depth)?;
    Ok(numbers
        .chunks(depth)
        .map(|row| row[..K.min(depth)].to_vec())
        .collect())
}

struct Measured {
    /// Milliseconds of each query, sorted.
    times: Vec<f64>,
    /// Milliseconds on a processor, on average; where the system tells them.
    cpu_mean_ms: Option<f64>,
    recall: f64,
}

/// Milliseconds that this thread has run on a processor so far.
fn thread_cpu_ms() -> Option<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split_whitespace().next()?.parse::<f64>().ok()? / 1e6)
}

fn measure(
    index: &MmapIndex,
    parameters: &SearchParameters,
    queries: &[Array2<f32>],
    truth: &[Vec<usize>],
) -> Result<Measured, Failure> {
    for query in &queries[..WARM_UP.min(queries.len())] {
        index.search(query, parameters, None)?;
    }
    let (mut times, mut shared, mut wanted) = (Vec::new(), 0, 0);
    let before = thread_cpu_ms();
    for (query, truth) in queries.iter().zip(truth) {
        let begun = Instant::now();
        let found = index.search(query, parameters, None)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        let is_true = |id: &&i64| usize::try_from(**id).is_ok_and(|id| truth.contains(&id));
        shared += found.passage_ids.iter().filter(is_true).count();
        wanted += truth.len();
    }
    let cpu = thread_cpu_ms().zip(before).map(|(after, before)| after - before);
    times.sort_by(f64::total_cmp);
    Ok(Measured {
        cpu_mean_ms: cpu.map(|cpu| cpu / times.len() as f64),
        times,
        recall: shared as f64 / wanted as f64,
    })
}

/// By nearest rank.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

fn folder_bytes(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            folder_bytes(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}
