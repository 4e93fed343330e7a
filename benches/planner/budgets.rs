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
/// Queries that tell which plans are quick enough to be measured by all of them.
const FIRST: usize = 16;
/// How far apart queries in a row are.
const STRIDE: usize = 7;
/// Depths of reranks.
const DEPTHS: [usize; 4] = [5, 10, 20, 50];

/// What is asked of each query.
#[derive(Clone)]
enum Asked {
    Plan(PlanName, usize),
    Budget(f64),
}

/// What it came to.
struct Point {
    asked: Asked,
    times: Times,
    ndcg: f64,
    /// Of each query.
    each: Vec<f64>,
    /// How many queries each plan answered.
    plans: HashMap<String, usize>,
    cut: usize,
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

/// What the budgets came to.
#[derive(Default)]
struct Counts {
    pairs: usize,
    kept: usize,
    on_front: usize,
    not_surely_off: usize,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let queries = super::queries(&args.queries, args.count)?;
    let judgments = Judgments::read(&args.qrels)?;
    let (tuning, reported) = queries.split_at(queries.len() / 2);
    let mut counts = Counts::default();
    println!(
        "| collection | budget ms | p50 | p95 | p95/budget | nDCG@10 | plan | cut in | front |\n|---|---|---|---|---|---|---|---|---|"
    );
    for path in &args.collections {
        let collection = super::open(path)?;
        collection.calibrate()?;
        if !args.unjudged && !args.judged {
            let begun = Instant::now();
            collection.tune_plans(tuning, &judgments)?;
            eprintln!("plans judged in {:.0} s", begun.elapsed().as_secs_f64());
        }
        let budgets: Vec<Asked> = args.budgets.iter().copied().map(Asked::Budget).collect();
        let first = &reported[..reported.len().min(FIRST)];
        let slowest = slowest(&measure(&collection, &budgets, first, &judgments)?);
        let all = [budgets, rivals(&collection, first, &judgments, slowest)?].concat();
        // In turn, so that what else the machine does falls on all alike.
        let points = measure(&collection, &all, reported, &judgments)?;
        for point in &points {
            if let Asked::Plan(plan, depth) = &point.asked {
                eprintln!("{plan} {depth} {:.2} ms {:.4}", point.times.p50(), point.ndcg);
            }
        }
        report(&path.display().to_string(), &points, reported.len(), &mut counts);
    }
    println!(
        "p95 within 1.1 of the budget: {} of {}; on the front: {}, not surely off it: {}",
        counts.kept, counts.pairs, counts.on_front, counts.not_surely_off
    );
    Ok(())
}

fn slowest(points: &[Point]) -> f64 {
    points.iter().map(|point| point.times.p50()).fold(0.0, f64::max)
}

/// Every plan, reranks to several depths; but for those that take much longer than any answer within a budget did, which cannot be
/// on the quicker side of it.
fn rivals(
    collection: &Collection,
    first: &[(String, String)],
    judgments: &Judgments,
    slowest: f64,
) -> Result<Vec<Asked>, Failure> {
    let mut quick = Vec::new();
    for plan in PlanName::ALL {
        let depths: &[usize] = if plan.reranks() { &DEPTHS } else { &[0] };
        for depth in depths {
            let asked = Asked::Plan(plan.clone(), *depth);
            let tried = measure(collection, std::slice::from_ref(&asked), first, judgments)?;
            let p50 = tried[0].times.p50();
            if p50 < 1.5 * slowest {
                quick.push(asked);
            } else {
                eprintln!("{plan} {depth} {p50:.2} ms: beyond every answer within a budget");
            }
        }
    }
    Ok(quick)
}

fn report(path: &str, points: &[Point], queries: usize, counts: &mut Counts) {
    for point in points {
        let Asked::Budget(budget) = point.asked else {
            continue;
        };
        let rivals = points
            .iter()
            .filter(|other| matches!(other.asked, Asked::Plan(..)));
        let better = rivals.clone().find(|other| other.beats(point));
        let surely = rivals.clone().any(|other| other.surely_beats(point));
        let plan = point.plans.iter().max_by_key(|(_, count)| **count);
        let (plan, times) = plan.map_or(("", 0), |(plan, times)| (plan, *times));
        let ratio = point.times.p95() / budget;
        let front = better.map_or_else(
            || "yes".to_owned(),
            |other| {
                let sure = if surely { "no" } else { "perhaps not" };
                let Asked::Plan(name, depth) = &other.asked else {
                    return sure.to_owned();
                };
                format!(
                    "{sure}: {name} {depth} {:.2} ms {:.4}",
                    other.times.p50(),
                    other.ndcg
                )
            },
        );
        println!(
            "| {path} | {budget} | {:.2} | {:.2} | {ratio:.2} | {:.4} | {plan} ({times} of {queries}) | {} | {front} |",
            point.times.p50(),
            point.times.p95(),
            point.ndcg,
            point.cut,
        );
        counts.pairs += 1;
        counts.kept += usize::from(ratio <= 1.1);
        counts.on_front += usize::from(better.is_none());
        counts.not_surely_off += usize::from(!surely);
    }
}

/// Asks every query for each of these. One query after the other is another one, so that the caches help no more than they will.
fn measure(
    collection: &Collection,
    all: &[Asked],
    queries: &[(String, String)],
    judgments: &Judgments,
) -> Result<Vec<Point>, Failure> {
    let mut times = vec![Vec::new(); all.len()];
    let mut measured = vec![vec![None; queries.len()]; all.len()];
    let mut plans = vec![HashMap::<String, usize>::new(); all.len()];
    let mut cut = vec![0; all.len()];
    for round in 0..queries.len() {
        for (at, asked) in all.iter().enumerate() {
            let number = (round + STRIDE * at) % queries.len();
            let (id, text) = &queries[number];
            let begun = Instant::now();
            let analysis = ask(collection, asked, text).analyze()?;
            times[at].push(begun.elapsed().as_secs_f64() * 1e3);
            let found: Vec<String> = analysis.hits.iter().map(|hit| hit.id.to_string()).collect();
            measured[at][number] = Measures::of(judgments, id, &found);
            *plans[at].entry(analysis.plan.name.to_string()).or_default() += 1;
            cut[at] += usize::from(!analysis.cut.is_empty());
        }
    }
    let columns = times.into_iter().zip(measured).zip(plans.into_iter().zip(cut));
    let points = all
        .iter()
        .zip(columns)
        .map(|(asked, ((times, measured), (plans, cut)))| {
            let measured: Vec<Measures> = measured.into_iter().flatten().collect();
            Point {
                asked: asked.clone(),
                times: Times::new(times),
                ndcg: mean_measures(&measured).ndcg_at_10,
                each: measured.iter().map(|measures| measures.ndcg_at_10).collect(),
                plans,
                cut,
            }
        });
    Ok(points.collect())
}

fn ask<'a>(collection: &'a Collection, asked: &Asked, text: &str) -> Query<'a> {
    let query = collection.query().text(text).with_payload(false);
    match asked {
        Asked::Budget(budget) => query.budget(Duration::from_secs_f64(budget / 1e3)),
        Asked::Plan(plan, 0) => query.plan(plan.clone()),
        Asked::Plan(plan, depth) => query.plan(plan.clone()).rerank_depth(*depth),
    }
}
