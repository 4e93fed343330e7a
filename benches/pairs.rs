//! The most similar pairs of 10,000 sentences: by every pair, by the index, and what a cross-encoder would take.
//!
//!     cargo run --release -p latewood-benches --bin pairs -- VECTORS.npy [--limit 10000] [-k 100] [--reranker FOLDER]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use latewood::import::NpyReader;
use latewood::{Collection, Database, Document, Maintenance, Metric, Pair, SchemaBuilder};
use latewood_benches::{Failure, times};

/// The most similar pairs, exactly and by the index
#[derive(Debug, Parser)]
struct Args {
    /// Dense vectors of the sentences: rows x dimensions
    vectors: PathBuf,
    /// Only the first so many
    #[arg(long, value_name = "ROWS", default_value_t = 10_000)]
    limit: usize,
    /// Pairs
    #[arg(short, long, default_value_t = 100)]
    k: usize,
    /// Threads
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The cross-encoder whose cost is measured: `tiny` (built in), or a model folder
    #[arg(long, default_value = "tiny")]
    reranker: String,
    /// Texts that it reads: lines with "text"; default: the packages of the examples
    #[arg(long, value_name = "FILE.jsonl")]
    texts: Option<PathBuf>,
    /// Pairs of texts that it reads
    #[arg(long, default_value_t = 200)]
    passes: usize,
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let place = tempfile::tempdir()?;
    let options = Database::options().threads(args.threads);
    let db = options
        .maintenance(Maintenance::Manual)
        .open(place.path().join("db"))?;
    let collection = build(&db, &args)?;
    let documents = collection.count(None)?;
    let all = documents * documents.saturating_sub(1) / 2;
    let (exact, exact_s) = timed(|| Ok(collection.pairs(args.k).exact(true).run()?))?;
    let (found, found_s) = timed(|| Ok(collection.pairs(args.k).run()?))?;
    let is_same = |a: &Pair, b: &Pair| (&a.first, &a.second) == (&b.first, &b.second);
    let both = found
        .iter()
        .filter(|pair| exact.iter().any(|other| is_same(pair, other)))
        .count();
    let recall = both as f64 / exact.len().max(1) as f64;
    let pass_ms = cross_encoder(&collection, &args)?;
    println!(
        "{documents} sentences, the {} best of {all} pairs, {} threads, load {}\n",
        args.k,
        args.threads,
        times::load().unwrap_or_default()
    );
    println!("| how | seconds | recall of the exact pairs |\n|---|---|---|");
    println!("| every pair scored | {exact_s:.2} | 1 |");
    println!("| by the index | {found_s:.2} | {recall:.3} |");
    let hours = pass_ms * all as f64 / 3.6e6;
    println!(
        "| cross-encoder `{}`, {all} passes of {pass_ms:.3} ms, extrapolated | {:.0} ({hours:.1} h) | |",
        args.reranker,
        hours * 3600.0
    );
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<(T, f64), Failure> {
    let begun = Instant::now();
    let done = work()?;
    Ok((done, begun.elapsed().as_secs_f64()))
}

fn build(db: &Database, args: &Args) -> Result<Collection, Failure> {
    let mut reader = NpyReader::open(&args.vectors)?;
    let rows = usize::try_from(reader.rows())?.min(args.limit);
    let (dim, mut values) = (reader.row_len(), Vec::new());
    reader.read_f32(rows, &mut values)?;
    let schema = SchemaBuilder::new()
        .dense(dim, Metric::Cosine)
        .reranker(args.reranker.as_str());
    let collection = db.create_collection("sentences", schema)?;
    let documents = values
        .chunks_exact(dim)
        .zip(0u64..)
        .map(|(row, id)| Document::new(id).dense(row));
    collection.ingest(documents).optimize(true).run()?;
    Ok(collection)
}

/// Milliseconds of a pass of the cross-encoder over two texts, on its threads.
fn cross_encoder(collection: &Collection, args: &Args) -> Result<f64, Failure> {
    let shipped = || {
        PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../engine/examples/data/packages.jsonl"
        ))
    };
    let path = args.texts.clone().unwrap_or_else(shipped);
    let mut texts = Vec::new();
    for line in BufReader::new(std::fs::File::open(path)?)
        .lines()
        .take(args.passes + 1)
    {
        let line: serde_json::Value = serde_json::from_str(&line?)?;
        // The first sentence, as the task is one of sentences.
        let text = line["text"].as_str().unwrap_or_default();
        texts.push(text.split_inclusive(". ").next().unwrap_or_default().to_owned());
    }
    let (query, others) = texts.split_first().ok_or("no texts")?;
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    let reranker = collection.reranker()?;
    reranker.score(query, &others[..others.len().min(8)], None)?;
    let (_, seconds) = timed(|| Ok(reranker.score(query, &others, None)?))?;
    Ok(seconds * 1e3 / others.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
        let args = Args::parse_from(["pairs", "V.npy", "-k", "5"]);
        assert_eq!((args.limit, args.k, args.passes), (10_000, 5, 200));
    }
}
