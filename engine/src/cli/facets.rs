//! `latewood facets`

use std::fmt::Write;

use super::args::{FacetsArgs, Global};
use super::output::{Failure, count, print, print_json};
use crate::FacetCounts;

pub(super) fn run(global: &Global, args: &FacetsArgs) -> Result<(), Failure> {
    let db = super::options(global, None)
        .read_only(true)
        .open(&args.target.db)?;
    let collection = db.collection(&args.target.collection)?;
    let filter = args.filter.as_deref().map(Into::into);
    let mut counts = collection.facets(&args.field, filter)?;
    if let Some(limit) = args.limit {
        counts.values.truncate(limit);
    }
    if global.json {
        print_json(&counts)
    } else {
        print(as_text(&counts))
    }
}

fn as_text(counts: &FacetCounts) -> String {
    let mut text = String::new();
    for facet in &counts.values {
        // Writing to a string does not fail.
        let _ = match facet.value.as_str() {
            Some(value) => writeln!(text, "{:>12}  {value}", count(facet.count)),
            None => writeln!(text, "{:>12}  {}", count(facet.count), facet.value),
        };
    }
    let (documents, missing) = (count(counts.documents), count(counts.missing));
    let _ = writeln!(text, "of {documents} documents, {missing} without it");
    if let Some(note) = &counts.note {
        let _ = writeln!(text, "{note}");
    }
    text
}
