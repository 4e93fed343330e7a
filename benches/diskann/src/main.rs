//! What the diskann crate does with dense vectors: a line of JSON for each breadth of the search.
//!
//!     cargo run --release -- VECTORS.npy QUERIES.npy [--degree 32] [--build 100] [--breadths 16,32,64,128,256]
//!
//! Both are float16 or float32, rows x dimensions, compared by cosine. A Vamana graph in memory over float32, built on two
//! threads by single inserts; a query runs on one thread. Bytes are those of vectors and links.

#[path = "../../next_plaid/src/npy.rs"]
#[allow(dead_code, reason = "int32 arrays are read by the other bench")]
mod npy;

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use diskann::graph::config::{Builder, MaxDegree};
use diskann::graph::search::Knn;
use diskann::graph::search_output_buffer::IdDistance;
use diskann::provider::DefaultContext;
use diskann_providers::index::diskann_async::{MemoryIndex, new_index};
use diskann_providers::model::graph::provider::async_::common::{FullPrecision, NoDeletes};
use diskann_providers::model::graph::provider::async_::inmem::{DefaultProviderParameters, SetStartPoints};
use diskann_vector::distance::Metric;
use npy::Npy;
use serde_json::json;

const USAGE: &str =
    "usage: diskann-bench VECTORS.npy QUERIES.npy [--degree 32] [--build 100] [--breadths 16,32,64,128,256]";
const K: usize = 10;
const THREADS: usize = 2;

type Failure = Box<dyn Error + Send + Sync>;

struct Rows {
    dim: usize,
    numbers: Vec<f32>,
}

impl Rows {
    /// The rows of a file, brought to unit length.
    fn read(path: &str) -> Result<Self, Failure> {
        let mut file = Npy::open(path.as_ref())?;
        let [rows, dim] = file.shape[..] else {
            return Err(format!("{path}: expected rows x dimensions").into());
        };
        let mut numbers = file.floats(0, rows * dim)?;
        for row in numbers.chunks_exact_mut(dim) {
            let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-9);
            row.iter_mut().for_each(|x| *x /= norm);
        }
        Ok(Self { dim, numbers })
    }

    fn len(&self) -> usize {
        self.numbers.len() / self.dim
    }

    fn row(&self, at: usize) -> &[f32] {
        &self.numbers[at * self.dim..][..self.dim]
    }

    /// The nearest rows by the dot product.
    fn nearest(&self, query: &[f32]) -> Vec<u32> {
        let score = |row: &[f32]| row.iter().zip(query).map(|(a, b)| a * b).sum::<f32>();
        let scores = self.numbers.chunks_exact(self.dim).map(score);
        let mut scored: Vec<(f32, u32)> = scores.zip(0..).collect();
        scored.select_nth_unstable_by(K - 1, |a, b| b.0.total_cmp(&a.0));
        scored[..K].iter().map(|(_, at)| *at).collect()
    }
}

fn main() -> Result<(), Failure> {
    let all: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| Some(all.get(all.iter().position(|a| a == name)? + 1)?.as_str());
    let [vectors, queries, ..] = &all[..] else {
        return Err(USAGE.into());
    };
    let degree: usize = option("--degree").unwrap_or("32").parse()?;
    let build: usize = option("--build").unwrap_or("100").parse()?;
    let (vectors, queries) = (Rows::read(vectors)?, Rows::read(queries)?);
    let begun = Instant::now();
    let (index, max_degree) = build_index(&vectors, degree, build)?;
    let build_s = begun.elapsed().as_secs_f64();
    let truth: Vec<Vec<u32>> = (0..queries.len())
        .map(|at| vectors.nearest(queries.row(at)))
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for breadth in option("--breadths").unwrap_or("16,32,64,128,256").split(',') {
        let breadth: usize = breadth.parse()?;
        let (mut seconds, mut hits) = (0.0, 0);
        for (at, truth) in truth.iter().enumerate() {
            let begun = Instant::now();
            let (mut ids, mut distances) = (vec![0_u32; K], vec![0.0; K]);
            let mut found = IdDistance::new(&mut ids, &mut distances);
            let (knn, context) = (Knn::new_default(breadth)?, DefaultContext);
            runtime.block_on(index.search(knn, &FullPrecision, &context, queries.row(at), &mut found))?;
            seconds += begun.elapsed().as_secs_f64();
            hits += ids.iter().filter(|id| truth.contains(id)).count();
        }
        let line = json!({
            "engine": "diskann 0.61", "degree": degree, "build": build, "breadth": breadth, "build_s": build_s,
            "qps": truth.len() as f64 / seconds, "recall@10": hits as f64 / (K * truth.len()) as f64,
            "bytes_per_vector": 4 * vectors.dim + 4 * (max_degree as usize + 1),
        });
        println!("{line}");
    }
    Ok(())
}

fn build_index(vectors: &Rows, degree: usize, build: usize) -> Result<(MemoryIndex<f32>, u32), Failure> {
    let metric = Metric::CosineNormalized;
    let config = Builder::new(degree, MaxDegree::default_slack(), build, metric.into()).build()?;
    let parameters = DefaultProviderParameters {
        max_points: vectors.len(),
        frozen_points: diskann::utils::ONE,
        metric,
        dim: vectors.dim,
        prefetch_lookahead: None,
        prefetch_cache_line_level: None,
        max_degree: config.max_degree_u32().get(),
    };
    let max_degree = parameters.max_degree;
    let index = new_index::<f32, _>(config, parameters, NoDeletes)?;
    let mut mean = vec![0.0; vectors.dim];
    for row in vectors.numbers.chunks_exact(vectors.dim) {
        mean.iter_mut()
            .zip(row)
            .for_each(|(mean, x)| *mean += x / vectors.len() as f32);
    }
    index.provider().set_start_points(std::iter::once(&mean[..]))?;
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| -> Result<(), Failure> {
        let insert = || -> Result<(), Failure> {
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= vectors.len() {
                    return Ok(());
                }
                let id = u32::try_from(at)?;
                runtime.block_on(index.insert(&FullPrecision, &DefaultContext, &id, vectors.row(at)))?;
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(insert)).collect();
        for thread in threads {
            thread.join().map_err(|_| "an insert panicked")??;
        }
        Ok(())
    })?;
    Ok((index, max_degree))
}
