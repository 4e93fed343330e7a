//! From a file of documents to ranked answers: `cargo run --release --example quickstart`.
//!
//! Encodes 600 package descriptions with the models inside the library, stores them, closes the database, opens it again,
//! and answers a few questions by dense search, by late interaction, and with a rerank.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use latewood::evaluation::{Judgments, Measures, mean_measures};
use latewood::import::{JsonLines, read_queries};
use latewood::{Collection, Database, FieldType, SchemaBuilder};

const PLANS: [(&str, &str); 3] = [
    ("dense", "one vector a document"),
    ("maxsim", "one vector a token, late interaction"),
    ("dense+rerank", "dense, then a cross-encoder reads the first 20"),
];

const QUESTIONS: [&str; 3] = [
    "find prime factors of large numbers",
    "play internet radio",
    "keep passwords in an encrypted file",
];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("latewood-quickstart-{}", std::process::id()));
    let outcome = show(&folder);
    std::fs::remove_dir_all(&folder).ok();
    outcome
}

fn show(folder: &Path) -> Result<(), Box<dyn Error>> {
    write(folder)?;

    let begun = Instant::now();
    let db = Database::options().create(false).open(folder)?;
    let packages = db.collection("packages")?;
    println!(
        "Opened again in {:.1} ms: {} documents.",
        ms(begun),
        packages.count(None)?
    );
    packages.query().text("warm up").plan("dense+rerank").run()?;

    for question in QUESTIONS {
        ask(&packages, question)?;
    }
    judge(&packages)?;

    let question = "a library to parse dates";
    println!("\nWhat the planner would do with {question:?} among Python packages, and why:\n");
    let query = || {
        packages
            .query()
            .text(question)
            .filter("section = \"python\" and installed_kib < 1000")
    };
    println!("{}", query().explain()?);
    println!("{}", query().analyze()?.profile);
    bill(&packages)?;
    db.close()?;
    Ok(())
}

/// Creates the database, writes the documents, and closes it.
fn write(folder: &Path) -> Result<(), Box<dyn Error>> {
    let db = Database::open(folder)?;
    let schema = SchemaBuilder::new()
        .encoder("tiny")
        .reranker("tiny")
        .field("section", FieldType::Keyword)
        .field("installed_kib", FieldType::Int)
        .field("tags", FieldType::Keyword);
    let packages = db.create_collection("packages", schema)?;
    let report = packages
        .try_ingest(JsonLines::open(data("packages.jsonl"))?)
        .optimize(true)
        .run()?;
    println!(
        "Encoded and stored {} documents ({} tokens) in {:.1} s, indexed them in {:.1} s.",
        report.documents,
        report.tokens,
        report.ingest.as_secs_f64(),
        report.optimize.as_secs_f64()
    );
    db.close()?;
    Ok(())
}

/// One question, answered by every plan.
fn ask(packages: &Collection, question: &str) -> Result<(), Box<dyn Error>> {
    println!("\n{question}");
    for (plan, what) in PLANS {
        let begun = Instant::now();
        let hits = packages
            .query()
            .text(question)
            .plan(plan)
            .limit(3)
            .with_text(true)
            .run()?;
        println!("  {plan:<13} {:>6.2} ms   {what}", ms(begun));
        for hit in hits {
            let text = hit.text.unwrap_or_default();
            let line: String = text.lines().next().unwrap_or_default().chars().take(64).collect();
            println!("    {:>8.3}  {:<28} {line}", hit.score, hit.id.to_string());
        }
    }
    Ok(())
}

/// Every plan over the judged queries.
fn judge(packages: &Collection) -> Result<(), Box<dyn Error>> {
    let judgments = Judgments::read(data("qrels.tsv"))?;
    let queries = read_queries(data("queries.jsonl"))?;
    println!(
        "\nOver {} judged queries:          nDCG@10   recall@10   ms a query",
        queries.len()
    );
    for (plan, _) in PLANS {
        let mut measured = Vec::new();
        let begun = Instant::now();
        for query in &queries {
            let hits = packages
                .query()
                .text(&query.text)
                .plan(plan)
                .with_payload(false)
                .run()?;
            let ranking: Vec<String> = hits.iter().map(|hit| hit.id.to_string()).collect();
            measured.extend(Measures::of(&judgments, &query.id, &ranking));
        }
        let time = ms(begun) / queries.len() as f64;
        let mean = mean_measures(&measured);
        println!(
            "  {plan:<32} {:>7.3}   {:>9.3}   {time:>10.2}",
            mean.ndcg_at_10, mean.recall_at_10
        );
    }
    Ok(())
}

/// What it takes on disk.
fn bill(packages: &Collection) -> Result<(), Box<dyn Error>> {
    let stats = packages.stats()?;
    println!(
        "On disk: {:.0} bytes a document, {:.1} bytes a token of late interaction.",
        stats.bytes_per_document, stats.bytes_per_token
    );
    let mut components: Vec<_> = stats.bytes.iter().filter(|(_, bytes)| **bytes > 0).collect();
    components.sort_by(|a, b| b.1.cmp(a.1));
    for (component, bytes) in components {
        println!(
            "  {component:<12} {:>8.1} KiB {:>8.1} bytes a document",
            *bytes as f64 / 1024.0,
            *bytes as f64 / stats.documents as f64
        );
    }
    Ok(())
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples/data")
        .join(name)
}

fn ms(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}
