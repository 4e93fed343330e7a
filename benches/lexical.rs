//! BM25: quality on judged queries, time of a query, and bytes, of texts alone.
//!
//! `lexical CORPUS.jsonl QUERIES.jsonl QRELS.tsv [--stemmer LANGUAGE]`

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use latewood::evaluation::{Judgments, Measures, mean_measures};
use latewood::import::{JsonLines, read_queries};
use latewood::{Database, Document, Language, LexicalSpec, Metric, SchemaBuilder};

#[derive(Parser)]
struct Args {
    corpus: PathBuf,
    queries: PathBuf,
    qrels: PathBuf,
    #[arg(long)]
    stemmer: Option<String>,
    /// Each query is asked so often; the fastest counts
    #[arg(long, default_value_t = 5)]
    repeat: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let stemmer = match &args.stemmer {
        Some(name) => Some(Language::named(name).ok_or("no such language")?),
        None => None,
    };
    let mut documents = Vec::new();
    // A collection needs vectors: some that cost little.
    for (number, document) in (0..=u16::MAX).cycle().zip(JsonLines::open(&args.corpus)?) {
        let angle = f32::from(number);
        documents.push(document?.dense(vec![angle.sin(), angle.cos()]));
    }
    let spec = LexicalSpec {
        stemmer,
        ..LexicalSpec::default()
    };
    let schema = || SchemaBuilder::new().dense(2, Metric::Cosine);
    let place = tempfile::tempdir()?;
    let without = ingest(
        &place.path().join("without"),
        schema().without_lexical(),
        &documents,
    )?;
    let path = place.path().join("with");
    let with = ingest(&path, schema().lexical(spec), &documents)?;
    println!(
        "{} documents: written in {with:.2} s, without the index in {without:.2} s",
        documents.len()
    );
    println!("index: {} bytes", bytes_of(&path, "lexical")?);
    let db = Database::options().threads(1).read_only(true).open(&path)?;
    let collection = db.collection("c")?;
    let judgments = Judgments::read(&args.qrels)?;
    let queries = read_queries(&args.queries)?;
    for limit in [10, 100] {
        let (mut measured, mut times) = (Vec::new(), Vec::new());
        for query in &queries {
            let mut fastest = f64::INFINITY;
            let mut ids = Vec::new();
            for _ in 0..args.repeat {
                let begun = Instant::now();
                let hits = collection
                    .query()
                    .text(&query.text)
                    .plan("bm25")
                    .limit(limit)
                    .with_payload(false)
                    .run()?;
                fastest = fastest.min(begun.elapsed().as_secs_f64() * 1e6);
                ids = hits.iter().map(|hit| hit.id.to_string()).collect();
            }
            times.push(fastest);
            measured.extend(Measures::of(&judgments, &query.id, &ids));
        }
        times.sort_by(f64::total_cmp);
        let mean = mean_measures(&measured);
        println!(
            "top {limit}: p50 {:.1} us, p95 {:.1} us; nDCG@10 {:.4}, MRR@10 {:.4}, recall@10 {:.3}, recall@100 {:.3}",
            times[times.len() / 2],
            times[times.len() * 95 / 100],
            mean.ndcg_at_10,
            mean.mrr_at_10,
            mean.recall_at_10,
            mean.recall_at_100
        );
    }
    Ok(())
}

fn ingest(path: &Path, schema: SchemaBuilder, documents: &[Document]) -> Result<f64, latewood::Error> {
    let db = Database::options().create(true).threads(1).open(path)?;
    let collection = db.create_collection("c", schema)?;
    let begun = Instant::now();
    for batch in documents.chunks(10_000) {
        collection.upsert_many(batch.iter().cloned())?;
    }
    collection.optimize(|_| std::ops::ControlFlow::Continue(()))?;
    let seconds = begun.elapsed().as_secs_f64();
    drop(collection);
    db.close()?;
    Ok(seconds)
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
