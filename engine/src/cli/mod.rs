//! The command line: `latewood create | ingest | search | explain | analyze | explain-hit | run | eval | recall | tune | tune-fusion |
//! advise | doctor | facets | pairs | scan | stats | check | repair | backup | optimize | export | import-plaid | export-plaid | model`.
//!
//! Exit code 0 when everything went well, 1 after an error, 2 after a wrong usage, 3 where `doctor` found something. Results go to
//! standard output, as text or with `--json`; progress and errors go to standard error.

mod advise;
mod agreement;
mod args;
mod backup;
mod check;
mod create;
mod doctor;
mod eval;
mod explain;
mod explain_chart;
mod explain_hit;
mod export;
mod facets;
mod heat_map;
mod ingest;
mod latency;
mod matrices;
mod measured_queries;
mod model;
mod optimize;
mod output;
mod pairs;
mod plaid;
mod progress;
mod recall;
mod repair;
mod run;
mod scan;
mod search;
mod stages;
mod stats;
mod svg;
mod tune;
mod tune_fusion;
mod tune_plans;

use std::process::ExitCode;

use clap::Parser;

use crate::error::Error;
use crate::{Collection, Database, DatabaseOptions, Maintenance};
use args::{Command, Global, Latewood};
use output::Failure;

/// Runs the command that the arguments of this process name.
pub fn main() -> ExitCode {
    let arguments = Latewood::parse();
    match run_command(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::BrokenPipe) => ExitCode::SUCCESS,
        Err(Failure::Findings) => ExitCode::from(3),
        Err(failure) => {
            output::print_failure(&failure);
            ExitCode::FAILURE
        }
    }
}

fn run_command(arguments: &Latewood) -> Result<(), Failure> {
    let global = &arguments.global;
    match &arguments.command {
        Command::Create(create) => create::run(global, create),
        Command::Ingest(ingest) => ingest::run(global, ingest),
        Command::Search(search) => search::run(global, search),
        Command::Explain(explain) => explain::explain(global, explain),
        Command::Analyze(analyze) => explain::analyze(global, analyze),
        Command::ExplainHit(explain) => explain_hit::run(global, explain),
        Command::Run(run) => run::run(global, run),
        Command::Eval(eval) => eval::run(global, eval),
        Command::Recall(recall) => recall::run(global, recall),
        Command::Tune(tune) => tune::run(global, tune),
        Command::TunePlans(tune) => tune_plans::run(global, tune),
        Command::TuneFusion(tune) => tune_fusion::run(global, tune),
        Command::Advise(advise) => advise::run(global, advise),
        Command::Doctor(doctor) => doctor::run(global, doctor),
        Command::Facets(facets) => facets::run(global, facets),
        Command::Pairs(pairs) => pairs::run(global, pairs),
        Command::Scan(scan) => scan::run(global, scan),
        Command::Stats(target) => stats::run(global, target),
        Command::Check(check) => check::run(global, check),
        Command::Repair(repair) => repair::run(global, repair),
        Command::Backup(backup) => backup::run(global, backup),
        Command::Optimize(target) => optimize::run(global, target),
        Command::Export(export) => export::run(global, export),
        Command::ImportPlaid(import) => plaid::import(global, import),
        Command::ExportPlaid(export) => plaid::export(global, export),
        Command::Model(model) => model::run(global, model),
    }
}

/// The options that the global arguments ask for.
fn options(global: &Global, threads: Option<usize>) -> DatabaseOptions {
    let mut options = DatabaseOptions::default().create(false);
    if let Some(threads) = global.threads.or(threads) {
        options = options.threads(threads);
    }
    if let Some(mib) = global.memory_mib {
        options = options.memory_budget_bytes(mib << 20);
    }
    for folder in &global.models {
        options = options.models(folder);
    }
    match global.onnxruntime() {
        Some(library) => options.onnxruntime(library),
        None => options,
    }
}

/// A collection to read from.
fn open_to_read(
    global: &Global,
    target: &args::CollectionArgs,
    models: &args::ModelArgs,
    threads: Option<usize>,
) -> Result<Collection, Error> {
    let db = options(global, threads).read_only(true).open(&target.db)?;
    with_models(db.collection(&target.collection)?, models)
}

/// A collection to ingest into.
fn open_to_write(global: &Global, args: &args::IngestArgs) -> Result<Collection, Error> {
    // What the background would merge meanwhile, the optimize at the end would merge again.
    let maintenance = if args.no_optimize {
        Maintenance::Background
    } else {
        Maintenance::Manual
    };
    let db = options(global, None)
        .maintenance(maintenance)
        .open(&args.target.db)?;
    with_models(db.collection(&args.target.collection)?, &args.models)
}

fn with_models(collection: Collection, models: &args::ModelArgs) -> Result<Collection, Error> {
    if let Some(encoder) = &models.encoder {
        collection.set_encoder(encoder.as_str())?;
    }
    Ok(collection)
}

/// The collections that a command with an optional COLLECTION is about.
fn chosen(db: &Database, collection: Option<&str>) -> Result<Vec<Collection>, Error> {
    match collection {
        Some(name) => Ok(vec![db.collection(name)?]),
        None => db.collections()?.iter().map(|name| db.collection(name)).collect(),
    }
}
