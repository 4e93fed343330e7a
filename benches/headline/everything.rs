//! Retrieve and rerank against a cross-encoder that reads everything.

use std::time::Instant;

use latewood::models::TextEncoder;
use latewood::{Document, Metric, SchemaBuilder};
use latewood_benches::Failure;
use latewood_benches::random::Random;

use crate::args::Args;
use crate::candidates::Pass;
use crate::material::{Material, open};
use crate::spread::Spread;

/// Sentences of the task that the bi-encoder was introduced with, and its pairs (Reimers and Gurevych, "Sentence-BERT", 2019).
const SENTENCES: usize = 10_000;
const PAIRS: usize = SENTENCES * (SENTENCES - 1) / 2;

pub(crate) fn report(material: &Material, args: &Args, pass: &Pass) -> Result<(), Failure> {
    queries(material, args, pass)?;
    pairs(material, args)
}

/// One query over all documents.
fn queries(material: &Material, args: &Args, pass: &Pass) -> Result<(), Failure> {
    let texts: Vec<&str> = material
        .documents
        .iter()
        .filter_map(|d| d.text.as_deref())
        .collect();
    let mut seconds = Vec::new();
    for query in material.queries.iter().take(args.everything) {
        let begun = Instant::now();
        let scores = material
            .models
            .cross
            .rerank(&query.text, &texts, texts.len(), None)?;
        seconds.push(begun.elapsed().as_secs_f64());
        if scores.scored != texts.len() {
            return Err(format!("{} of {} texts were scored", scores.scored, texts.len()).into());
        }
    }
    let all = Spread::of(&seconds);
    let depth = args.depth.min(texts.len());
    let query_s = pass.query_ms.times(1e-3);
    println!(
        "A query, from its text to the ranking; the spread of the second row is of {} queries:\n",
        seconds.len()
    );
    println!("| | passes | seconds | GFLOPs of passes | nDCG@10 |\n|---|---|---|---|---|");
    println!(
        "| retrieve {depth} and rerank | {depth} | {query_s} | {:.2} | {:.4} (dense alone {:.4}) |",
        pass.flops * depth as f64 / 1e9,
        pass.reranked_ndcg,
        pass.dense_ndcg
    );
    println!(
        "| rerank all {} documents | {} | {all} | {:.2} | |",
        texts.len(),
        texts.len(),
        pass.flops * texts.len() as f64 / 1e9
    );
    println!(
        "\n{:.1} times as long, measured, for {:.1} times the passes.\n",
        all.median / query_s.median,
        texts.len() as f64 / depth as f64
    );
    Ok(())
}

/// All pairs of sentences.
fn pairs(material: &Material, args: &Args) -> Result<(), Failure> {
    let sentences: Vec<&str> = material
        .documents
        .iter()
        .filter_map(|d| d.text.as_deref()?.split_inclusive(". ").next())
        .collect();
    let read = args.passes.min(sentences.len().saturating_sub(1));
    let (first, others) = sentences.split_first().ok_or("no sentences")?;
    let (mut pass_s, mut encode_s, mut score_s) = (Vec::new(), Vec::new(), Vec::new());
    let score = AllPairs::build(material)?;
    for _ in 0..args.rounds {
        let begun = Instant::now();
        material.models.cross.rerank(first, &others[..read], read, None)?;
        pass_s.push(begun.elapsed().as_secs_f64() / read as f64);
        let begun = Instant::now();
        material.models.dense.encode_documents(&sentences, None)?;
        encode_s.push(begun.elapsed().as_secs_f64() / sentences.len() as f64);
        score_s.push(score.seconds()?);
    }
    let cross = Spread::of(&pass_s).times(PAIRS as f64);
    let encode = Spread::of(&encode_s).times(SENTENCES as f64);
    let score = Spread::of(&score_s);
    println!("The most similar pairs of {SENTENCES} sentences, {PAIRS} pairs:\n");
    println!("| | seconds | how |\n|---|---|---|");
    println!(
        "| cross-encoder | {cross} | extrapolated: {PAIRS} passes at {:.0} a second, measured over {read} pairs of first sentences; {:.1} hours |",
        PAIRS as f64 / cross.median,
        cross.median / 3600.0
    );
    println!(
        "| bi-encoder: encode | {encode} | extrapolated: {SENTENCES} at {:.0} a second, measured over {} first sentences |",
        SENTENCES as f64 / encode.median,
        sentences.len()
    );
    println!(
        "| bi-encoder: score every pair | {score} | measured, over {SENTENCES} random vectors of {} numbers |",
        material.dense_dim()
    );
    let both = encode.median + score.median;
    println!(
        "| bi-encoder: both | {both:.1} | {:.0} times less |",
        cross.median / both
    );
    Ok(())
}

/// Random vectors of as many numbers as the bi-encoder's: what scoring takes does not depend on their values.
struct AllPairs {
    db: latewood::Database,
    _place: tempfile::TempDir,
}

impl AllPairs {
    fn build(material: &Material) -> Result<Self, Failure> {
        let place = tempfile::tempdir()?;
        let db = open(&place.path().join("pairs"))?;
        let dim = material.dense_dim();
        let collection = db.create_collection("pairs", SchemaBuilder::new().dense(dim, Metric::Cosine))?;
        let mut random = Random::new(1, 0);
        let documents: Vec<Document> = (0..SENTENCES as u64)
            .map(|id| {
                let vector: Vec<f32> = (0..dim).map(|_| (random.unit() - 0.5) as f32).collect();
                Document::new(id).dense(vector)
            })
            .collect();
        collection.ingest(documents).optimize(false).run()?;
        Ok(Self { db, _place: place })
    }

    fn seconds(&self) -> Result<f64, Failure> {
        let collection = self.db.collection("pairs")?;
        let begun = Instant::now();
        let found = collection.pairs(100).exact(true).run()?;
        if found.len() != 100 {
            return Err(format!("{} pairs of 100", found.len()).into());
        }
        Ok(begun.elapsed().as_secs_f64())
    }
}
