//! `latewood import-plaid` and `latewood export-plaid`

use std::ops::ControlFlow;
use std::time::Instant;

use serde_json::json;

use super::args::{ExportPlaidArgs, Global, ImportPlaidArgs};
use super::ingest::show_optimize;
use super::output::{Failure, count, print, print_json};
use super::progress;
use crate::SchemaBuilder;
use crate::import::PlaidIndex;

pub(super) fn import(global: &Global, args: &ImportPlaidArgs) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut index = PlaidIndex::open(&args.folder)?;
    if let Some(ids) = &args.ids {
        index = index.with_ids(ids)?;
    }
    let (documents, tokens) = (index.documents(), index.tokens());
    let (dim, bits, centroids) = (index.dim(), index.bits(), index.centroids());
    let schema = SchemaBuilder::new();
    let schema = match &args.encoder {
        Some(encoder) => schema.encoder(encoder.as_str()),
        None => schema,
    };
    let db = super::options(global, None).create(true).open(&args.target.db)?;
    let bar = progress::bar(global, "import", Some(0));
    let collection = db.import_plaid(&args.target.collection, index, schema, |p| {
        show_optimize(&bar, p);
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();
    let seconds = begun.elapsed().as_secs_f64();
    let name = collection.name();
    if global.json {
        return print_json(&json!({
            "collection": name, "documents": documents, "tokens": tokens,
            "dim": dim, "bits": bits, "centroids": centroids, "seconds": seconds,
        }));
    }
    print(format!(
        "{name}: {} documents, {} tokens of {dim} numbers at {bits} bits, {} centroids, in {seconds:.1} s\n",
        count(documents),
        count(tokens),
        count(centroids as u64),
    ))
}

pub(super) fn export(global: &Global, args: &ExportPlaidArgs) -> Result<(), Failure> {
    let db = super::options(global, None)
        .read_only(true)
        .open(&args.target.db)?;
    let collection = db.collection(&args.target.collection)?;
    let bar = progress::bar(global, "export", Some(0));
    let report = collection.export_plaid(&args.folder, |p| {
        show_optimize(&bar, p);
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();
    if global.json {
        return print_json(&json!({
            "documents": report.documents, "tokens": report.tokens, "encoded": report.encoded,
        }));
    }
    print(format!(
        "{}: {} documents, {} tokens to {} ({} coded for it)\n",
        collection.name(),
        count(report.documents),
        count(report.tokens),
        args.folder.display(),
        count(report.encoded),
    ))
}
