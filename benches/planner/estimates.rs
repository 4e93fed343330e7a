//! Estimated against actual latency.

use std::collections::BTreeMap;
use std::path::PathBuf;

use latewood::{Collection, PlanName};
use latewood_benches::random::Random;
use latewood_benches::{Failure, times::Times};

#[derive(clap::Args)]
pub(super) struct Args {
    /// DATABASE/COLLECTION
    #[arg(required = true)]
    collections: Vec<PathBuf>,
    /// Lines {"_id", "text"}
    #[arg(long)]
    queries: PathBuf,
    /// Queries a collection
    #[arg(long, default_value_t = 600)]
    count: usize,
    /// Filters, one of which or none is given to each query
    #[arg(long = "filter")]
    filters: Vec<String>,
    /// Print each query's ratio
    #[arg(long)]
    each: bool,
}

/// Actual over estimated, of the whole query and of what was still to come when it was planned.
#[derive(Default)]
struct Ratios {
    whole: Vec<f64>,
    planned: Vec<f64>,
}

impl Ratios {
    fn line(&self, name: &str) -> String {
        let within = |ratios: &[f64]| {
            let good = ratios
                .iter()
                .filter(|ratio| (1.0 / 1.5..=1.5).contains(*ratio))
                .count();
            100.0 * good as f64 / ratios.len().max(1) as f64
        };
        let planned = Times::new(self.planned.clone());
        format!(
            "| {name} | {} | {:.1} | {:.1} | {:.2} | {:.2} | {:.2} |",
            self.whole.len(),
            within(&self.whole),
            within(&self.planned),
            planned.percentile(0.05),
            planned.p50(),
            planned.percentile(0.95)
        )
    }

    fn add(&mut self, whole: f64, planned: f64) {
        self.whole.push(whole);
        self.planned.push(planned);
    }
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let texts = super::queries(&args.queries, usize::MAX)?;
    let mut all = BTreeMap::new();
    for path in &args.collections {
        let collection = super::open(path)?;
        let calibrating = std::time::Instant::now();
        collection.calibrate()?;
        println!(
            "{}: calibrated in {:.2} s",
            path.display(),
            calibrating.elapsed().as_secs_f64()
        );
        measure(args, &collection, &path.display().to_string(), &texts, &mut all)?;
    }
    println!(
        "| | queries | whole within 1.5, % | still to come within 1.5, % | actual/estimated p5 | p50 | p95 |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (name, ratios) in &all {
        println!("{}", ratios.line(name));
    }
    Ok(())
}

fn measure(
    args: &Args,
    collection: &Collection,
    path: &str,
    texts: &[(String, String)],
    all: &mut BTreeMap<String, Ratios>,
) -> Result<(), Failure> {
    let mut random = Random::new(7, 0);
    for _ in 0..args.count {
        let (_, text) = &texts[random.below(texts.len())];
        let plan = PlanName::ALL[random.below(PlanName::ALL.len())].clone();
        let limit = [1, 3, 10, 30, 100][random.below(5)];
        let depth = [3, 7, 15, 30][random.below(4)];
        let filter = random.below(args.filters.len() + 1).checked_sub(1);
        let mut query = collection
            .query()
            .text(text)
            .plan(plan.clone())
            .limit(limit)
            .rerank_depth(depth)
            .with_payload(random.below(2) == 0);
        if let Some(filter) = filter {
            query = query.filter(args.filters[filter].as_str());
        }
        let analysis = query.analyze()?;
        let (estimated, actual) = (
            analysis.plan.estimate().microseconds,
            analysis.profile.total_microseconds,
        );
        let spent = analysis.plan.spent_microseconds;
        let (whole, planned) = (actual / estimated, (actual - spent) / (estimated - spent));
        if args.each {
            println!(
                "{path} {plan} k{limit} depth {depth} filter {filter:?}: {actual:.0} us, {estimated:.0} estimated, {spent:.0} spent, {planned:.2}"
            );
            for (at, stage) in analysis.plan.stages.iter().enumerate() {
                let took = analysis.profile.stages.iter().filter(|s| s.planned == Some(at));
                let took: f64 = took.map(|s| s.microseconds).sum();
                println!(
                    "    {}: {took:.0} us, {:.0} estimated",
                    stage.stage, stage.estimate.microseconds
                );
            }
        }
        for name in [
            "all".to_owned(),
            path.to_owned(),
            format!("plan {plan}"),
            format!("filter {filter:?}"),
        ] {
            all.entry(name).or_default().add(whole, planned);
        }
    }
    Ok(())
}
