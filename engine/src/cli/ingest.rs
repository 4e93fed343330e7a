//! `latewood ingest`

use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde_json::json;

use super::args::{Global, IngestArgs};
use super::output::{Failure, count, print, print_json};
use super::progress;
use crate::import::{ExportedFolder, JsonLines, VectorFiles, fingerprint};
use crate::{Collection, Ingest, IngestReport, OptimizeProgress};

pub(super) fn run(global: &Global, args: &IngestArgs) -> Result<(), Failure> {
    let collection = super::open_to_write(global, args)?;
    let (ingest, bar) = start(global, args, &collection)?;
    let inputs = inputs(args);
    let ingest = if inputs.is_empty() {
        ingest
    } else {
        ingest.resume(fingerprint(&inputs)?)
    };
    let optimize_bar = progress::bar(global, "optimize", Some(0));
    let report = ingest
        .optimize(!args.no_optimize)
        .on_progress(|p| {
            bar.set_position(p.documents);
            bar.set_message(format!("documents, {} tokens", count(p.tokens)));
        })
        .on_optimize(|p| show_optimize(&optimize_bar, p))
        .run();
    bar.finish_and_clear();
    optimize_bar.finish_and_clear();
    let report = report?;
    if global.json {
        print_json(&as_json(&report))
    } else {
        print(as_text(&collection, &report))
    }
}

fn start<'a>(
    global: &Global,
    args: &IngestArgs,
    collection: &'a Collection,
) -> Result<(Ingest<'a>, ProgressBar), Failure> {
    if let Some(folder) = args.file.as_ref().filter(|path| path.is_dir()) {
        let documents = ExportedFolder::open(folder)?;
        let bar = progress::bar(global, "ingest", Some(documents.documents()));
        return Ok((collection.try_ingest(documents), bar));
    }
    if let Some(file) = &args.file {
        return Ok((
            collection.try_ingest(JsonLines::open(file)?),
            progress::bar(global, "ingest", None),
        ));
    }
    let path = |path: &'_ Option<PathBuf>| path.clone();
    let files = VectorFiles::open(
        path(&args.multi).as_deref(),
        path(&args.doclens).as_deref(),
        path(&args.dense).as_deref(),
        path(&args.ids).as_deref(),
    )?;
    let bar = progress::bar(global, "ingest", Some(files.documents()));
    Ok((collection.ingest_files(files)?, bar))
}

/// The files that identify the input; none for standard input, which cannot be taken up again.
fn inputs(args: &IngestArgs) -> Vec<PathBuf> {
    [&args.file, &args.multi, &args.doclens, &args.dense, &args.ids]
        .into_iter()
        .flatten()
        .filter(|path| path.as_path() != Path::new("-"))
        .flat_map(|path| match path.is_dir() {
            true => ExportedFolder::files(path),
            false => vec![path.clone()],
        })
        .collect()
}

pub(super) fn show_optimize(bar: &ProgressBar, progress: &OptimizeProgress) {
    bar.set_length(progress.total);
    bar.set_position(progress.done);
    bar.set_message(progress.step);
}

fn as_json(report: &IngestReport) -> serde_json::Value {
    json!({
        "documents": report.documents,
        "tokens": report.tokens,
        "skipped": report.skipped,
        "ingest_seconds": report.ingest.as_secs_f64(),
        "optimize_seconds": report.optimize.as_secs_f64(),
        "tokens_per_second": per_second(report, report.tokens),
        "documents_per_second": per_second(report, report.documents),
    })
}

/// Over all the time that it took, the final optimize included.
fn per_second(report: &IngestReport, things: u64) -> f64 {
    let seconds = (report.ingest + report.optimize).as_secs_f64();
    if seconds > 0.0 {
        (things as f64 / seconds).round()
    } else {
        0.0
    }
}

fn as_text(collection: &Collection, report: &IngestReport) -> String {
    let skipped = match report.skipped {
        0 => String::new(),
        n => format!(" ({} were there already)", count(n)),
    };
    format!(
        "{}: {} documents, {} tokens{skipped} in {:.1} s, optimized in {:.1} s: {} documents/s, {} tokens/s\n",
        collection.name(),
        count(report.documents),
        count(report.tokens),
        report.ingest.as_secs_f64(),
        report.optimize.as_secs_f64(),
        per_second(report, report.documents),
        per_second(report, report.tokens),
    )
}
