//! Whether the planner knows what a query will take, and keeps a budget.
//!
//!     cargo run --release -p latewood-benches --bin planner -- estimates DB... --queries Q
//!     cargo run --release -p latewood-benches --bin planner -- budgets DB... --queries Q --qrels R
//!
//! Each DB is `DATABASE/COLLECTION` with an encoder; a reranker and a lexical index add plans. `estimates` compares what was
//! estimated with what queries took, over plans, depths, numbers of hits and filters. `budgets` judges every plan, draws the
//! front of latency against nDCG, and runs queries with budgets.

mod budgets;
mod estimates;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use latewood::import::read_queries;
use latewood::{Collection, Database};
use latewood_benches::{Failure, times};

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Estimated against actual latency
    Estimates(estimates::Args),
    /// Budgets kept, and plans on the front
    Budgets(budgets::Args),
}

fn main() -> Result<(), Failure> {
    println!("load {}", times::load().unwrap_or_default());
    match Args::parse().command {
        Command::Estimates(args) => estimates::run(&args),
        Command::Budgets(args) => budgets::run(&args),
    }
}

/// A collection, named as DATABASE/COLLECTION.
fn open(path: &Path) -> Result<Collection, Failure> {
    let (Some(database), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Err(format!("{}: expected DATABASE/COLLECTION", path.display()).into());
    };
    Ok(Database::open(database)?.collection(name)?)
}

fn queries(path: &PathBuf, most: usize) -> Result<Vec<(String, String)>, Failure> {
    let queries = read_queries(path)?.into_iter().take(most);
    Ok(queries.map(|query| (query.id, query.text)).collect())
}
