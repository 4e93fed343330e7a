//! The ratios that the field is known by, on this machine: MaxSim against a cross-encoder over the same candidates, residual
//! codes against 16-bit tokens, and retrieve-and-rerank against a cross-encoder that reads everything.
//!
//!     cargo run --release -p latewood-benches --bin headline

mod args;
mod candidates;
mod compression;
mod everything;
mod flops;
mod material;
mod spread;

use clap::Parser;
use latewood_benches::{Failure, times};

use args::Args;
use material::Material;

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let material = Material::load(&args)?;
    println!(
        "{} documents, {} judged queries, 1 thread, {} rounds, load {}; models {}\n",
        material.documents.len(),
        material.queries.len(),
        args.rounds,
        times::load().unwrap_or_default(),
        material.models.names
    );
    let place = tempfile::tempdir()?;
    let stored = material.store(place.path())?;
    let pass = candidates::report(&material, &stored, &args)?;
    compression::report(&material, &args)?;
    everything::report(&material, &args, &pass)
}
