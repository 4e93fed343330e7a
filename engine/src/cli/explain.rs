//! `latewood explain` and `latewood analyze`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::args::Global;
use super::explain_chart::{analysis_chart, plan_chart};
use super::output::{Failure, print, print_json};
use super::search::{QueryArgs, as_text};
use super::svg::write_file;

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    query: QueryArgs,
    /// Draw the stages, and what was rejected, into this file as well
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
}

pub(super) fn explain(global: &Global, args: &ExplainArgs) -> Result<(), Failure> {
    let collection = args.query.open(global)?;
    // A reader does not see what the writer measured: the estimates shall be those of this machine all the same.
    collection.calibrate()?;
    let plan = args.query.query(&collection).explain()?;
    if let Some(path) = &args.svg {
        write_file(path, &plan_chart(args.query.text(), &plan))?;
    }
    if global.json {
        print_json(&json!({ "plan": plan }))
    } else {
        print(plan.to_string())
    }
}

pub(super) fn analyze(global: &Global, args: &ExplainArgs) -> Result<(), Failure> {
    let collection = args.query.open(global)?;
    collection.calibrate()?;
    // Loads the models and touches the files once: what is measured is a collection in use.
    args.query.query(&collection).run()?;
    let analysis = args.query.query(&collection).analyze()?;
    if let Some(path) = &args.svg {
        write_file(path, &analysis_chart(args.query.text(), &analysis))?;
    }
    if global.json {
        return print_json(&analysis);
    }
    let hits = as_text(&analysis.hits, args.query.offset);
    print(format!("{analysis}\n{hits}"))
}
