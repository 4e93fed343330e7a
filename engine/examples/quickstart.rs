//! The whole pipeline on real text, with the models inside the library: encode, store, close, reopen, and search through
//! every kind of plan, side by side.
//!
//!     cargo run --release --example quickstart
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use latewood::evaluation::{Judgments, Measures, mean_measures};
use latewood::import::{JsonLines, TextQuery, read_queries};
use latewood::{Collection, Database, FieldType, OriginalCodec, SchemaBuilder};

type Outcome<T> = Result<T, Box<dyn Error>>;

const PLANS: [&str; 5] = ["dense", "maxsim", "dense+maxsim", "dense+rerank", "maxsim+rerank"];
const QUESTIONS: [&str; 4] = [
    "edit photographs and pictures",
    "back up my files with encryption",
    "look at the packets on my network",
    "play chess against the computer",
];

fn main() -> Outcome<()> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data");
    let folder = std::env::temp_dir().join(format!("latewood-quickstart-{}", std::process::id()));
    ingest(&folder, &data.join("packages.jsonl"))?;

    let start = Instant::now();
    let db = Database::options().create(false).open(&folder)?;
    let packages = db.collection("packages")?;
    println!("reopened in {}\n", pretty(start.elapsed()));

    for question in QUESTIONS {
        side_by_side(&packages, question)?;
    }
    filtered(&packages)?;
    judged(&packages, &read_queries(data.join("queries.jsonl"))?, &Judgments::read(data.join("qrels.tsv"))?)?;
    bill(&packages)?;
    println!("How the planner sees it:\n\n{}", packages.query().text(QUESTIONS[0]).explain()?);

    drop(packages);
    db.close()?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Encodes the corpus with the built-in model and stores text, payload, sentence vectors and token matrices.
fn ingest(folder: &PathBuf, corpus: &Path) -> Outcome<()> {
    let db = Database::open(folder)?;
    let schema = SchemaBuilder::new()
        .encoder("tiny")
        .reranker("tiny")
        .bits(4)
        .keep_original(OriginalCodec::F16)
        .field("section", FieldType::Keyword)
        .field("installed_kib", FieldType::Int);
    let packages = db.create_collection("packages", schema)?;
    let report = packages.try_ingest(JsonLines::open(corpus)?).run()?;
    println!(
        "ingested {} documents, {} tokens: encoded and stored in {}, indexed in {}",
        report.documents,
        report.tokens,
        pretty(report.ingest),
        pretty(report.optimize)
    );
    db.close()?;
    Ok(())
}

/// The best three answers of each plan, with what the query took.
fn side_by_side(packages: &Collection, question: &str) -> Outcome<()> {
    println!("\x1b[1m{question}\x1b[0m");
    for plan in ["dense", "maxsim", "maxsim+rerank"] {
        let start = Instant::now();
        let hits = packages.query().text(question).plan(plan).limit(3).run()?;
        let took = pretty(start.elapsed());
        let names: Vec<String> = hits.iter().map(|hit| format!("{} ({:.2})", hit.id, hit.score)).collect();
        println!("  {plan:<14} {took:>8}   {}", names.join("  "));
    }
    println!();
    Ok(())
}

fn filtered(packages: &Collection) -> Outcome<()> {
    let filter = r#"section in ("games", "science") and installed_kib < 2000"#;
    let hits = packages.query().text("simulation of planets").filter(filter).limit(3).run()?;
    println!("\x1b[1msimulation of planets\x1b[0m, where {filter}");
    for hit in hits {
        let text = hit.text.unwrap_or_default();
        println!("  {:<24} {}", hit.id.to_string(), text.chars().take(80).collect::<String>().replace('\n', " "));
    }
    println!();
    Ok(())
}

/// What each plan is worth on the judged queries, and what it takes.
fn judged(packages: &Collection, queries: &[TextQuery], judgments: &Judgments) -> Outcome<()> {
    println!("{} judged queries   nDCG@10   MRR@10   recall@10   ms a query", queries.len());
    for plan in PLANS {
        let mut measures = Vec::new();
        let start = Instant::now();
        for query in queries {
            let hits = packages.query().text(&query.text).plan(plan).limit(100).run()?;
            let ranking: Vec<String> = hits.iter().map(|hit| hit.id.to_string()).collect();
            measures.extend(Measures::of(judgments, &query.id, &ranking));
        }
        let ms = start.elapsed().as_secs_f64() * 1e3 / queries.len() as f64;
        let mean = mean_measures(&measures);
        println!("  {plan:<17} {:>7.3}  {:>7.3}   {:>9.3}   {ms:>10.2}", mean.ndcg_at_10, mean.mrr_at_10, mean.recall_at_10);
    }
    println!();
    Ok(())
}

fn bill(packages: &Collection) -> Outcome<()> {
    let stats = packages.stats()?;
    println!("On disk: {:.0} bytes a document, {:.1} bytes a token", stats.bytes_per_document, stats.bytes_per_token);
    for (component, bytes) in stats.bytes.iter().filter(|(_, bytes)| **bytes > 0) {
        println!("  {component:<12} {:>7.0} bytes a document", *bytes as f64 / stats.documents as f64);
    }
    println!();
    Ok(())
}

fn pretty(duration: Duration) -> String {
    match duration.as_secs_f64() {
        s if s >= 1.0 => format!("{s:.1} s"),
        s => format!("{:.1} ms", s * 1e3),
    }
}
