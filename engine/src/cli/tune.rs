//! `latewood tune`

use std::fmt::Write;
use std::ops::ControlFlow;

use super::args::{Global, TuneArgs};
use super::measured_queries;
use super::output::{Failure, count, print, print_json};
use super::progress;
use crate::{BreadthTable, Collection, QuerySource, TunedTable};

pub(super) fn run(global: &Global, args: &TuneArgs) -> Result<(), Failure> {
    let db = super::options(global, None).open(&args.target.db)?;
    let collection = super::with_models(db.collection(&args.target.collection)?, &args.models)?;
    if args.dense || collection.schema().tokens.is_none() {
        tune_dense(global, args, &collection)?;
        drop(collection);
        return Ok(db.close()?);
    }
    let queries = match measured_queries::given(&args.queries, &collection)? {
        Some(queries) if queries.is_empty() => return Err(measured_queries::none()),
        queries => queries,
    };
    let bar = progress::bar(global, "tune", Some(0));
    let table = collection.tune(queries.as_deref(), |p| {
        bar.set_length(p.total);
        bar.set_position(p.done);
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    let table = table?;
    if global.json {
        print_json(&table)?;
    } else {
        print(as_text(collection.name(), table.as_ref()))?;
    }
    drop(collection);
    Ok(db.close()?)
}

fn tune_dense(global: &Global, args: &TuneArgs, collection: &Collection) -> Result<(), Failure> {
    let queries = match measured_queries::given_dense(&args.queries, collection)? {
        Some(queries) if queries.is_empty() => return Err(measured_queries::none()),
        queries => queries,
    };
    let bar = progress::bar(global, "tune", Some(0));
    let table = collection.tune_dense(queries.as_deref(), |p| {
        bar.set_length(p.total);
        bar.set_position(p.done);
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    let table = table?;
    if global.json {
        print_json(&table)
    } else {
        print(breadths_as_text(collection.name(), table.as_ref()))
    }
}

fn breadths_as_text(name: &str, table: Option<&BreadthTable>) -> String {
    let Some(table) = table else {
        return format!("{name}: nothing to tune: there is no graph over dense vectors\n");
    };
    let mut text = format!(
        "{name}: graphs of {} rows; recall@{} on {} queries {}\n{:>7}  {:<23}  settings\n",
        count(table.rows),
        table.k,
        count(table.queries as u64),
        source(table.source),
        "target",
        "recall (95% interval)"
    );
    for entry in &table.entries {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:>7}  {}  ef_search {}",
            entry.target, entry.measured, entry.ef_search
        );
    }
    text
}

fn source(source: QuerySource) -> &'static str {
    match source {
        QuerySource::Caller => "as given",
        _ => "made of its documents",
    }
}

fn as_text(name: &str, table: Option<&TunedTable>) -> String {
    let Some(table) = table else {
        return format!(
            "{name}: nothing to tune: there is no token index, or scanning everything is as fast\n"
        );
    };
    let source = source(table.source);
    let mut text = format!(
        "{name}: {} tokens; recall@{} on {} queries {source}\n{:>7}  {:<23}  settings\n",
        count(table.tokens),
        table.k,
        count(table.queries as u64),
        "target",
        "recall (95% interval)"
    );
    for entry in &table.entries {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:>7}  {}  {}",
            entry.target, entry.measured, entry.settings
        );
    }
    text
}
