//! Budgets kept, and plans on the front of latency against nDCG.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use latewood::evaluation::{Judgments, Measures, Paired, mean_measures};
use latewood::{Collection, PlanName, Query};
use latewood_benches::{Failure, times::Times};

#[derive(clap::Args)]
pub(super) struct Args {
    /// DATABASE/COLLECTION
    #[arg(required = true)]
    collections: Vec<PathBuf>,
    /// Lines {"_id", "text"}
    #[arg(long)]
    queries: PathBuf,
    /// Judgments
    #[arg(long)]
    qrels: PathBuf,
    /// Judged queries: the first half tunes the plans, the second is reported
    #[arg(long, default_value_t = 200)]
    count: usize,
    /// Milliseconds
    #[arg(long, value_delimiter = ',', default_values_t = [1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0, 50.0, 80.0])]
    budgets: Vec<f64>,
    /// Do not judge the plans first: quality is given up step by step
    #[arg(long)]
    unjudged: bool,
    /// The plans were judged by a run before, which the collection remembers
    #[arg(long, conflicts_with = "unjudged")]
    judged: bool,
}

/// A point is dominated by one that is faster by more than this share,
const FASTER: f64 = 0.05;
/// and better by more than this nDCG; surely so where the 95% interval of the paired difference begins above 0.
const BETTER: f64 = 0.005;
const SEED: u64 = 1;
/// Queries that tell whether a plan is quick enough to be measured by all of them.
const FIRST: usize = 16;

struct Point {
    name: String,
    times: Times,
    ndcg: f64,
    /// Of each query.
    each: Vec<f64>,
}

impl Point {
    /// Whether it is quicker and better than another.
    fn beats(&self, other: &Self) -> bool {
        self.times.p50() < other.times.p50() * (1.0 - FASTER) && self.ndcg > other.ndcg + BETTER
    }

    /// Whether that is no chance of the queries.
    fn surely_beats(&self, other: &Self) -> bool {
        let differences: Vec<f64> = self.each.iter().zip(&other.each).map(|(a, b)| a - b).collect();
        self.beats(other) && Paired::of(&differences, SEED).low > 0.0
    }
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let queries = super::queries(&args.queries, args.count)?;
    let judgments = Judgments::read(&args.qrels)?;
    let (tuning, reported) = queries.split_at(queries.len() / 2);
    let (mut kept, mut on_front, mut not_surely_off, mut pairs) = (0, 0, 0, 0);
    println!(
        "| collection | budget ms | p50 | p95 | p95/budget | nDCG@10 | plan | cut in | front |\n|---|---|---|---|---|---|---|---|---|"
    );
    for path in &args.collections {
        let collection = super::open(path)?;
        collection.calibrate()?;
        if !args.unjudged && !args.judged {
            collection.tune_plans(tuning, &judgments)?;
        }
        let longest = args.budgets.iter().copied().fold(0.0, f64::max);
        let points = points(&collection, reported, &judgments, longest)?;
        for budget in &args.budgets {
            let within = Duration::from_secs_f64(budget / 1e3);
            let mut plans: HashMap<String, usize> = HashMap::new();
            let mut cut = 0;
            let point = measure("auto".to_owned(), reported, &judgments, |text| {
                let analysis = collection
                    .query()
                    .text(text)
                    .budget(within)
                    .with_payload(false)
                    .analyze()?;
                *plans.entry(analysis.plan.name.to_string()).or_default() += 1;
                cut += usize::from(!analysis.cut.is_empty());
                Ok(analysis.hits.iter().map(|hit| hit.id.to_string()).collect())
            })?;
            let better = points.iter().find(|other| other.beats(&point));
            let surely = points.iter().any(|other| other.surely_beats(&point));
            let plan = plans
                .iter()
                .max_by_key(|(_, count)| **count)
                .map_or("", |(plan, _)| plan);
            let ratio = point.times.p95() / budget;
            println!(
                "| {} | {budget} | {:.2} | {:.2} | {ratio:.2} | {:.4} | {plan} ({} of {}) | {cut} | {} |",
                path.display(),
                point.times.p50(),
                point.times.p95(),
                point.ndcg,
                plans.get(plan).copied().unwrap_or_default(),
                reported.len(),
                better.map_or_else(
                    || "yes".to_owned(),
                    |other| {
                        let sure = if surely { "no" } else { "perhaps not" };
                        format!(
                            "{sure}: {} {:.2} ms {:.4}",
                            other.name,
                            other.times.p50(),
                            other.ndcg
                        )
                    }
                ),
            );
            pairs += 1;
            kept += usize::from(ratio <= 1.1);
            on_front += usize::from(better.is_none());
            not_surely_off += usize::from(!surely);
        }
    }
    println!(
        "p95 within 1.1 of the budget: {kept} of {pairs}; on the front: {on_front} of {pairs}, not surely off it: {not_surely_off}"
    );
    Ok(())
}

/// Every plan, reranks to several depths; but for those that take longer than the longest budget, which cannot be quicker than
/// what a budget chose.
fn points(
    collection: &Collection,
    queries: &[(String, String)],
    judgments: &Judgments,
    longest: f64,
) -> Result<Vec<Point>, Failure> {
    let mut points = Vec::new();
    for plan in PlanName::ALL {
        let depths: &[usize] = if plan.reranks() { &[5, 10, 20, 50] } else { &[0] };
        for depth in depths {
            let query = |text: &str| -> Query<'_> {
                let query = collection
                    .query()
                    .text(text)
                    .plan(plan.clone())
                    .with_payload(false);
                if *depth > 0 {
                    query.rerank_depth(*depth)
                } else {
                    query
                }
            };
            let name = format!("{plan} {depth}");
            let ranking = |text: &str| Ok(query(text).run()?.iter().map(|hit| hit.id.to_string()).collect());
            let first = &queries[..queries.len().min(FIRST)];
            let tried = measure(name.clone(), first, judgments, ranking)?;
            if tried.times.p50() > 1.2 * longest {
                eprintln!("{name} {:.2} ms: beyond every budget", tried.times.p50());
                continue;
            }
            points.push(measure(name, queries, judgments, ranking)?);
        }
    }
    for point in &points {
        eprintln!("{} {:.2} ms {:.4}", point.name, point.times.p50(), point.ndcg);
    }
    Ok(points)
}

fn measure(
    name: String,
    queries: &[(String, String)],
    judgments: &Judgments,
    mut ranking: impl FnMut(&str) -> Result<Vec<String>, Failure>,
) -> Result<Point, Failure> {
    let (mut measured, mut times) = (Vec::new(), Vec::new());
    for (id, text) in queries {
        let begun = Instant::now();
        let found = ranking(text)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        measured.extend(Measures::of(judgments, id, &found));
    }
    Ok(Point {
        name,
        times: Times::new(times),
        ndcg: mean_measures(&measured).ndcg_at_10,
        each: measured.iter().map(|measures| measures.ndcg_at_10).collect(),
    })
}
