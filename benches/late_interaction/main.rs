//! Late interaction on token embeddings of one's own: size, build, recall and latency, beside those of other engines.
//!
//!     cargo run --release -p latewood-benches --bin late_interaction -- DATA [--bits 2] [--limit DOCUMENTS]
//!
//! DATA is a folder as `latewood_benches::dataset::Dataset` says. For each recall target the cheapest setting of the
//! token index is chosen on half of the queries and reported on the other half. docs/benchmarks.md explains the figures.

mod args;
mod collection;
mod exhaustive;
mod measure;
mod report;
mod sweep;
mod tables;

use args::Args;
use clap::Parser;
use latewood_benches::dataset::Dataset;
use latewood_benches::{Failure, exact, peers, times};
use report::{DataSummary, Report};

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let data = Dataset::open(&args.data, args.limit)?;
    let (queries, query_tokens) = data.queries(args.queries.unwrap_or(usize::MAX))?;
    if queries.len() < 2 {
        return Err(
            "one query: expected at least two, half to choose settings and half to report them".into(),
        );
    }
    let mut peers_read = Vec::new();
    for path in &args.peers {
        peers_read.extend(peers::read(path)?);
    }
    let load_before = times::load();
    let truth = if args.no_float32 {
        None
    } else {
        Some(exact::load_or_compute(&data, &queries, args.threads())?)
    };
    let float32 = match truth {
        Some(_) => exhaustive::float32(&data, &queries)?,
        None => None,
    };
    let mut codecs = Vec::new();
    for codec in &args.bits {
        codecs.push(collection::run(&args, *codec, &data, &queries, truth.as_deref())?);
    }
    let report = Report {
        data: DataSummary {
            documents: data.documents(),
            tokens: data.tokens(),
            dim: data.dim(),
            queries: queries.len(),
            query_tokens,
        },
        float32,
        codecs,
        peers: peers_read,
        load: (load_before, times::load()),
    };
    if let Some(path) = &args.svg {
        std::fs::write(path, report.svg())?;
    }
    if args.json {
        println!("{:#}", report.json());
    } else {
        print!("{}", tables::markdown(&report));
    }
    Ok(())
}
