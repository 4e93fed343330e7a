//! `latewood export`

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::args::{ExportArgs, Global};
use serde_json::json;

use super::output::{Failure, print, print_json};
use super::progress;
use crate::error::Error;

pub(super) fn run(global: &Global, args: &ExportArgs) -> Result<(), Failure> {
    let db = super::options(global, None).read_only(true).open(&args.db)?;
    let mut collections = super::chosen(&db, args.collection.as_deref())?;
    let collection = match (collections.pop(), collections.is_empty()) {
        (Some(only), true) => only,
        _ => {
            let message = format!(
                "the database has the collections: {}",
                db.collections()?.join(", ")
            );
            return Err(Failure::Said(message, "name the one to export"));
        }
    };
    if let Some(folder) = &args.folder {
        let bar = progress::bar(global, "export", Some(collection.count(None)?));
        let written = collection.export(folder, |written| bar.set_position(written))?;
        bar.finish_and_clear();
        return match global.json {
            true => print_json(&json!({ "documents": written, "folder": folder })),
            false => print(format!("{written} documents in {}\n", folder.display())),
        };
    }
    let documents = collection.documents()?;
    let bar = progress::bar(global, "export", Some(documents.total()));
    let mut output: Box<dyn Write> = if args.out == Path::new("-") {
        Box::new(BufWriter::new(io::stdout().lock()))
    } else {
        let file = File::create(&args.out).map_err(|source| Error::Write {
            path: args.out.clone(),
            source,
        })?;
        Box::new(BufWriter::new(file))
    };
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
        _ => Error::Write {
            path: args.out.clone(),
            source,
        }
        .into(),
    };
    for document in documents {
        let line = document?.to_json(args.vectors);
        writeln!(output, "{line}").map_err(failed)?;
        bar.inc(1);
    }
    output.flush().map_err(failed)?;
    bar.finish_and_clear();
    Ok(())
}
