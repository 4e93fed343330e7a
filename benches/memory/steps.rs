//! What the watched processes do.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use latewood::{Collection, Database, DatabaseOptions, Maintenance, SchemaBuilder};
use latewood_benches::Failure;
use latewood_benches::ask;
use latewood_benches::dataset::Dataset;
use latewood_benches::times::Times;

use crate::args::{Args, Step};

const NAME: &str = "c";

fn options(args: &Args) -> DatabaseOptions {
    Database::options()
        .maintenance(Maintenance::Manual)
        .memory_budget_bytes(args.budget << 20)
}

/// Runs a step; what it prints is for the watcher.
pub(crate) fn run(args: &Args, step: Step, path: &Path) -> Result<(), Failure> {
    match step {
        Step::Ingest => ingest(args, path),
        Step::Build => build(args, path),
        Step::Query => query(args, path, (args.queries, args.recall)),
        Step::Scan => query(args, path, (args.scans, Some(1.0))),
    }
}

fn ingest(args: &Args, path: &Path) -> Result<(), Failure> {
    let data = Dataset::open(&args.data, args.limit)?;
    let database = options(args).open(path)?;
    let schema = SchemaBuilder::new().tokens(data.dim(), args.bits);
    let collection = database.create_collection(NAME, schema)?;
    collection.try_ingest(data.documents_to_ingest()?).run()?;
    drop(collection);
    Ok(database.close()?)
}

fn build(args: &Args, path: &Path) -> Result<(), Failure> {
    let database = options(args).open(path)?;
    let collection = database.collection(NAME)?;
    collection.optimize(|_| ControlFlow::Continue(()))?;
    drop(collection);
    Ok(database.close()?)
}

/// Prints the first query's time, the median and the 95th percentile of the others, in milliseconds.
fn query(args: &Args, path: &Path, (count, recall): (usize, Option<f64>)) -> Result<(), Failure> {
    let data = Dataset::open(&args.data, args.limit)?;
    let (rows, _) = data.queries(count)?;
    let queries = ask::queries(&rows, data.dim());
    let database = options(args).read_only(true).threads(1).open(path)?;
    let name = database.collections()?.into_iter().next().unwrap_or_default();
    let collection = database.collection(&name)?;
    let ask = |collection: &Collection, tokens: &latewood::QueryTokens| -> Result<f64, Failure> {
        let begun = Instant::now();
        let query = collection.query().tokens(tokens.clone()).with_payload(false);
        let query = match recall {
            Some(recall) => query.recall(recall),
            None => query,
        };
        query.run()?;
        Ok(begun.elapsed().as_secs_f64() * 1e3)
    };
    let first = queries
        .first()
        .map_or(Ok(f64::NAN), |tokens| ask(&collection, tokens))?;
    let mut times = Vec::new();
    for _ in 0..args.rounds {
        for tokens in &queries {
            times.push(ask(&collection, tokens)?);
        }
    }
    let times = Times::new(times);
    println!("{first} {} {}", times.p50(), times.p95());
    Ok(())
}
