//! `latewood tune-plans`

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use super::args::{CollectionArgs, Global, ModelArgs};
use super::output::{Failure, print, print_json};
use crate::QualityTable;
use crate::evaluation::Judgments;
use crate::import::read_queries;

#[derive(Debug, Args)]
pub(super) struct TunePlansArgs {
    #[command(flatten)]
    target: CollectionArgs,
    /// Lines {"_id", "text"}
    #[arg(long, value_name = "FILE.jsonl")]
    queries: PathBuf,
    /// Judgments: query, document, relevance (BEIR), or query, 0, document, relevance (TREC)
    #[arg(long, value_name = "FILE.tsv")]
    qrels: PathBuf,
    /// Only the first N queries
    #[arg(long, value_name = "N")]
    limit_queries: Option<usize>,
    #[command(flatten)]
    models: ModelArgs,
}

pub(super) fn run(global: &Global, args: &TunePlansArgs) -> Result<(), Failure> {
    let db = super::options(global, None).open(&args.target.db)?;
    let collection = super::with_models(db.collection(&args.target.collection)?, &args.models)?;
    let judgments = Judgments::read(&args.qrels)?;
    let mut queries = read_queries(&args.queries)?;
    queries.truncate(args.limit_queries.unwrap_or(usize::MAX));
    let queries: Vec<(String, String)> = queries.into_iter().map(|query| (query.id, query.text)).collect();
    let table = collection.tune_plans(&queries, &judgments)?;
    if global.json {
        print_json(&table)?;
    } else {
        print(as_text(&table))?;
    }
    drop(collection);
    Ok(db.close()?)
}

fn as_text(table: &QualityTable) -> String {
    let mut plans: Vec<_> = table.plans.iter().collect();
    plans.sort_by(|a, b| b.ndcg_at_10.total_cmp(&a.ndcg_at_10));
    let mut text = format!(
        "{} judged queries; a query with a budget is answered by the first of these that fits it\n{:<32} {:>6} {:>9} {:>9}\n",
        table.queries, "plan", "depth", "nDCG@10", "p50 ms"
    );
    for quality in plans {
        let depth = quality
            .rerank_depth
            .map_or_else(|| "-".to_owned(), |depth| depth.to_string());
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:<32} {depth:>6} {:>9.4} {:>9.3}",
            quality.plan.to_string(),
            quality.ndcg_at_10,
            quality.milliseconds.unwrap_or(f64::NAN)
        );
    }
    text
}
