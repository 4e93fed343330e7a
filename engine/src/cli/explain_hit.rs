//! `latewood explain-hit`

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

use super::args::Global;
use super::heat_map::{HeatMap, page};
use super::output::{Failure, print, print_json};
use super::search::QueryArgs;
use super::svg::write_file;
use crate::{Collection, DocumentId, HitExplanation};

#[derive(Debug, Args)]
pub(super) struct ExplainHitArgs {
    #[command(flatten)]
    query: QueryArgs,
    /// The document
    id: String,
    /// Write the same as a page of HTML as well
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
}

pub(super) fn run(global: &Global, args: &ExplainHitArgs) -> Result<(), Failure> {
    let collection = args.query.open(global)?;
    let id = document_id(&collection, &args.id)?;
    let explanation = args.query.query(&collection).explain_hit(id)?;
    let stages = stages(&explanation);
    let map = HeatMap::of(&explanation);
    if let Some(path) = &args.html {
        write_file(path, &page(args.query.text(), &args.id, &stages, map.as_ref()))?;
    }
    if global.json {
        return print_json(&explanation);
    }
    let coloured = std::io::stdout().is_terminal();
    let map = map.map_or_else(
        || "no tokens were matched: late interaction has no part in this plan, or the document has no tokens\n".to_owned(),
        |map| map.text(coloured),
    );
    print(format!("{stages}{map}"))
}

/// An id as it was written, or as the number that it may be.
fn document_id(collection: &Collection, text: &str) -> Result<DocumentId, Failure> {
    match text.parse::<u64>() {
        Ok(number) if !collection.contains(text)? => Ok(number.into()),
        _ => Ok(text.into()),
    }
}

/// A line for each stage.
fn stages(explanation: &HitExplanation) -> String {
    let path = &explanation.path;
    let mut text = format!("document {}, plan {}\n", explanation.id, path.plan.name);
    if !path.matches_filter {
        text.push_str("  the filter leaves it out\n");
    }
    for stage in &path.stages {
        let name = stage.stage.name().to_string();
        // Writing to a string does not fail.
        let _ = match (stage.rank, stage.score) {
            (Some(rank), Some(score)) => {
                writeln!(
                    text,
                    "  {name:<16} rank {rank} of {}, score {score:.4}",
                    stage.candidates
                )
            }
            _ => writeln!(text, "  {name:<16} not among the {} candidates", stage.candidates),
        };
    }
    text
}
