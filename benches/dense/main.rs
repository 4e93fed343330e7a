//! Dense vectors: size, build, recall and queries a second of the graph, one thread a query.
//!
//!     cargo run --release -p latewood-benches --bin dense -- VECTORS.npy QUERIES.npy [--json]
//!
//! Both are float16 or float32, rows x dimensions, and compared by cosine.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use latewood::{Collection, Database, DenseCodec, Document, Maintenance, Metric, PlanName, SchemaBuilder};
use latewood_benches::nearest::nearest;
use latewood_benches::recall::Recall;
use latewood_benches::rows::Rows;
use latewood_benches::times::{self, Times};
use latewood_benches::{Failure, ask};
use serde_json::json;

const NAME: &str = "dense";
/// Vectors that are handed over at a time.
const BATCH: usize = 65_536;

/// Size, build, recall and queries a second of dense search
#[derive(Debug, Parser)]
struct Args {
    /// Vectors, rows x dimensions
    vectors: PathBuf,
    /// Queries, rows x dimensions
    queries: PathBuf,
    /// Only the first so many vectors
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Only the first so many queries
    #[arg(long, value_name = "N", default_value_t = 1000)]
    queries_limit: usize,
    /// Hits of a query
    #[arg(long, default_value_t = 10)]
    k: usize,
    /// Codecs of the vectors, each a collection of its own: f32, f16, int8, rabitq8, rabitq12
    #[arg(long, default_value = "f16,int8", value_delimiter = ',')]
    codecs: Vec<String>,
    /// Breadths of the walk
    #[arg(
        long,
        default_value = "10,16,24,32,48,64,96,128,192,256,512",
        value_delimiter = ','
    )]
    ef: Vec<usize>,
    /// Rounds over all queries; the quickest counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Threads of the build
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Folder that keeps the databases; without it they are temporary
    #[arg(long, value_name = "DIR")]
    db: Option<PathBuf>,
    /// Print a line of JSON a setting
    #[arg(long)]
    json: bool,
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let vectors = Rows::read(&args.vectors, args.limit)?;
    let queries = Rows::read(&args.queries, Some(args.queries_limit))?;
    if vectors.dim != queries.dim {
        let (expected, got) = (vectors.dim, queries.dim);
        return Err(format!("queries of {got} numbers for vectors of {expected}").into());
    }
    let truth = nearest(
        &vectors.values,
        &queries.values,
        vectors.dim,
        args.k,
        args.threads,
    );
    if !args.json {
        let (rows, dim, asked) = (vectors.len(), vectors.dim, queries.len());
        let load = times::load().unwrap_or_default();
        println!(
            "{rows} vectors of {dim}, {asked} queries, top {}, load {load}\n",
            args.k
        );
        println!(
            "| codec | ef_search | recall@{} | queries a second | p50 ms | p95 ms | bytes a vector | build s |",
            args.k
        );
        println!("|---|---|---|---|---|---|---|---|");
    }
    let temporary = tempfile::tempdir()?;
    for codec in &args.codecs {
        let folder = args.db.as_deref().unwrap_or(temporary.path()).join(codec);
        let built = build(&args, &vectors, DenseCodec::from_name(codec)?, &folder)?;
        let db = Database::options().threads(1).read_only(true).open(&folder)?;
        let collection = db.collection(NAME)?;
        #[expect(clippy::cast_precision_loss, reason = "a size to print")]
        let bytes = collection.stats()?.bytes_total as f64 / vectors.len() as f64;
        for &ef in &args.ef {
            let (found, times, seconds) = measure(&args, &collection, &queries, ef)?;
            let recall = Recall::at(args.k, &found, &truth).mean;
            #[expect(clippy::cast_precision_loss, reason = "a count of queries")]
            let qps = queries.len() as f64 / seconds;
            let (p50, p95) = (times.p50(), times.p95());
            if args.json {
                let line = json!({
                    "engine": "latewood", "codec": codec, "ef": ef, "recall": recall, "qps": qps.round(), "p50_ms": p50,
                    "p95_ms": p95, "bytes_per_vector": bytes, "build_s": built,
                });
                println!("{line}");
            } else {
                let built = built.map_or_else(String::new, |seconds| format!("{seconds:.1}"));
                println!(
                    "| {codec} | {ef} | {recall:.4} | {qps:.0} | {p50:.4} | {p95:.4} | {bytes:.0} | {built} |"
                );
            }
        }
        drop(collection);
        db.close()?;
    }
    Ok(())
}

/// Builds a collection unless it is there; the seconds that it took.
fn build(args: &Args, vectors: &Rows, codec: DenseCodec, folder: &Path) -> Result<Option<f64>, Failure> {
    if folder.exists() {
        return Ok(None);
    }
    let options = Database::options().threads(args.threads);
    let db = options.maintenance(Maintenance::Manual).open(folder)?;
    let schema = SchemaBuilder::new()
        .dense(vectors.dim, Metric::Cosine)
        .dense_codec(codec);
    let collection = db.create_collection(NAME, schema)?;
    let begun = Instant::now();
    let documents = vectors.iter().zip(0u64..);
    let documents = documents.map(|(row, id)| Document::new(id).dense(row));
    collection
        .ingest(documents)
        .encode_batch(BATCH)
        .optimize(true)
        .run()?;
    let seconds = begun.elapsed().as_secs_f64();
    drop(collection);
    db.close()?;
    Ok(Some(seconds))
}

type Measured = (Vec<Vec<u32>>, Times, f64);

/// The hits of each query, the times of the quickest round, and its seconds.
fn measure(args: &Args, collection: &Collection, queries: &Rows, ef: usize) -> Result<Measured, Failure> {
    let mut best: Option<Measured> = None;
    for _ in 0..args.rounds.max(1) {
        let (mut found, mut times, mut seconds) = (Vec::new(), Vec::new(), 0.0);
        for query in queries.iter() {
            let asked = collection
                .query()
                .dense(query)
                .plan(PlanName::DENSE)
                .limit(args.k)
                .ef_search(ef)
                .with_payload(false)
                .with_text(false);
            let begun = Instant::now();
            let hits = asked.run()?;
            let took = begun.elapsed().as_secs_f64();
            seconds += took;
            times.push(took * 1e3);
            let ids: Result<Vec<u32>, Failure> = hits.iter().map(|hit| ask::number_of(&hit.id)).collect();
            found.push(ids?);
        }
        if best.as_ref().is_none_or(|(_, _, before)| seconds < *before) {
            best = Some((found, Times::new(times), seconds));
        }
    }
    best.ok_or_else(|| "no round".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
        let args = Args::parse_from(["dense", "V.npy", "Q.npy", "--ef", "10,20"]);
        assert_eq!((args.ef.len(), args.codecs.len()), (2, 2));
    }
}
