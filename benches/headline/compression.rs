//! Residual codes against tokens of 16-bit floats: bytes of the files, and what they cost in the ranking.

use std::path::Path;
use std::time::Instant;

use latewood::{SchemaBuilder, Stats};
use latewood_benches::Failure;
use latewood_benches::recall::Recall;
use latewood_benches::times::median;

use crate::args::Args;
use crate::material::{Material, ids, open};
use crate::spread::Spread;

const TOP: usize = 10;

/// A collection of token matrices alone, searched exhaustively.
struct Width {
    name: String,
    stats: Stats,
    rankings: Vec<Vec<String>>,
    scan_ms: Spread,
}

pub(crate) fn report(material: &Material, args: &Args) -> Result<(), Failure> {
    let place = tempfile::tempdir()?;
    let widths = [None, Some(4), Some(2), Some(1)]
        .iter()
        .map(|&bits| build(material, args, place.path(), bits))
        .collect::<Result<Vec<Width>, Failure>>()?;
    let [raw, ..] = widths.as_slice() else {
        return Ok(());
    };
    println!("Token matrices as on disk, and the exhaustive MaxSim over them:\n");
    println!(
        "| tokens | bytes a token: rows | codebook and posting lists | all | times smaller | rows alone | recall@10 of f16 | nDCG@10 | MRR@10 | ms a scan |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let per_token = |stats: &Stats, bytes: u64| bytes as f64 / stats.tokens as f64;
    let rows = |stats: &Stats| per_token(stats, stats.bytes.get("tokens").copied().unwrap_or(0));
    let all = |stats: &Stats| per_token(stats, stats.token_bytes());
    for width in &widths {
        let stats = &width.stats;
        let shared = recall(&raw.rankings, &width.rankings);
        let measures = material.measure(&width.rankings);
        println!(
            "| {} | {:.1} | {:.1} | {:.1} | {:.2} | {:.2} | {:.3} ± {:.3} | {:.4} | {:.4} | {} |",
            width.name,
            rows(stats),
            all(stats) - rows(stats),
            all(stats),
            all(&raw.stats) / all(stats),
            rows(&raw.stats) / rows(stats),
            shared.mean,
            shared.margin,
            measures.ndcg_at_10,
            measures.mrr_at_10,
            width.scan_ms
        );
    }
    println!();
    Ok(())
}

/// The collection at a width; without one nothing trains a codebook, and the tokens stay as they were loaded.
fn build(material: &Material, args: &Args, folder: &Path, bits: Option<u8>) -> Result<Width, Failure> {
    let name = bits.map_or_else(
        || "f16".to_owned(),
        |bits| {
            if bits == 1 {
                "1 bit".to_owned()
            } else {
                format!("{bits} bits")
            }
        },
    );
    let db = open(&folder.join(&name))?;
    let schema = SchemaBuilder::new().tokens(material.token_dim(), bits.unwrap_or(2));
    let collection = db.create_collection("tokens", schema)?;
    let documents = material.documents.iter().cloned().map(|mut document| {
        (document.text, document.dense) = (None, None);
        document
    });
    collection.ingest(documents).optimize(bits.is_some()).run()?;
    let stats = collection.stats()?;
    let raw = if bits.is_some() { 0 } else { stats.tokens };
    if stats.raw_tokens != raw {
        return Err(format!(
            "{name}: {} tokens are not coded, expected {raw}",
            stats.raw_tokens
        )
        .into());
    }
    let (mut rankings, mut medians) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        let mut times = Vec::new();
        rankings.clear();
        for query in &material.queries {
            let begun = Instant::now();
            let hits = collection
                .query()
                .tokens(query.tokens.clone())
                .exact(true)
                .limit(TOP)
                .run()?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            rankings.push(ids(&hits));
        }
        medians.push(median(times));
    }
    db.close()?;
    Ok(Width {
        name,
        stats,
        rankings,
        scan_ms: Spread::of(&medians),
    })
}

/// The share of the first ten by f16 that is among the first ten.
fn recall(truth: &[Vec<String>], found: &[Vec<String>]) -> Recall {
    let shares: Vec<f64> = truth
        .iter()
        .zip(found)
        .map(|(truth, found)| {
            let both = found.iter().filter(|id| truth.contains(id)).count();
            both as f64 / truth.len().max(1) as f64
        })
        .collect();
    Recall::of(&shares)
}
