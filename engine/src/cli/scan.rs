//! `latewood scan`

use serde_json::{Value, json};

use super::args::{Global, ScanArgs};
use super::output::{Failure, print, print_json};
use crate::Document;

pub(super) fn run(global: &Global, args: &ScanArgs) -> Result<(), Failure> {
    let db = super::options(global, None)
        .read_only(true)
        .open(&args.target.db)?;
    let collection = db.collection(&args.target.collection)?;
    let mut scan = collection.scan().offset(args.offset).limit(args.limit);
    if let Some(filter) = &args.filter {
        scan = scan.filter(filter.as_str());
    }
    if let Some((field, descending)) = &args.order_by {
        scan = scan.order_by(field, *descending);
    }
    let documents: Vec<Value> = scan.run()?.iter().map(as_json).collect();
    if global.json {
        return print_json(&documents);
    }
    print(
        documents
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>(),
    )
}

/// The document without its vectors.
fn as_json(document: &Document) -> Value {
    json!({ "id": document.id, "text": document.text, "payload": document.payload })
}
