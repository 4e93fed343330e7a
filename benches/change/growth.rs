//! How long it takes until an insert is found and a delete is not, as the collection grows.

use std::path::Path;
use std::time::Instant;

use latewood::{Collection, Database, Document, Durability, Maintenance, TokenMatrix};
use latewood_benches::Failure;
use latewood_benches::ask::number_of;
use latewood_benches::times::Times;

use crate::args::Args;
use crate::{NAME, document, schema};

/// Single inserts and deletes at each size.
const SINGLE: usize = 200;
/// The collection grows by this factor.
const GROWTH: usize = 2;
/// Sizes that are measured.
const SIZES: usize = 5;

pub(crate) fn run(args: &Args, dim: usize, path: &Path, matrices: &[TokenMatrix]) -> Result<(), Failure> {
    let most = matrices.len().saturating_sub(SINGLE);
    let sizes = (0..SIZES)
        .rev()
        .map(|halvings| most / GROWTH.pow(halvings as u32));
    let db = Database::options()
        .maintenance(Maintenance::Manual)
        .durability(Durability::Buffered)
        .open(path)?;
    let collection = db.create_collection(NAME, schema(args, dim))?;
    println!(
        "\n{SINGLE} single inserts and deletes, handed to the operating system (`Durability::Buffered`):\n"
    );
    println!(
        "| documents | insert, p50 µs | p95 µs | query that finds it, p50 ms | delete, p50 µs | p95 µs |"
    );
    println!("|---|---|---|---|---|---|");
    let mut there = 0;
    for size in sizes {
        let added = (there..size).map(|id| document(id, &matrices[id]));
        collection
            .ingest(added.collect::<Vec<_>>())
            .optimize(true)
            .run()?;
        there = size;
        measure(&collection, there, matrices)?;
    }
    drop(collection);
    Ok(db.close()?)
}

fn measure(collection: &Collection, documents: usize, matrices: &[TokenMatrix]) -> Result<(), Failure> {
    let (mut inserts, mut queries, mut deletes) = (Vec::new(), Vec::new(), Vec::new());
    let first = matrices.len() - SINGLE;
    for (id, matrix) in (first..).zip(&matrices[first..]) {
        inserts.push(microseconds(|| Ok(collection.upsert(document(id, matrix))?))?);
        let mut found = None;
        queries.push(microseconds(|| {
            let rows = Document::new(0_u64)
                .tokens(matrix.clone())
                .tokens
                .map(|rows| rows.to_rows());
            let query = collection
                .query()
                .tokens(rows.unwrap_or_default())
                .limit(1)
                .with_payload(false);
            found = query.run()?.first().map(|hit| number_of(&hit.id)).transpose()?;
            Ok(())
        })?);
        if found.is_none_or(|found| found as usize != id && matrices[found as usize] != *matrix) {
            return Err(format!("document {id} was not found right after its insert, but {found:?}").into());
        }
    }
    // Half of the deletes hit documents in segments, half those that came last.
    for at in 0..SINGLE {
        let id = if at % 2 == 0 {
            first + at
        } else {
            at * (documents / SINGLE).max(1) % documents
        };
        deletes.push(microseconds(|| Ok(collection.delete(id as u64)?))?);
        if collection.contains(id as u64)? {
            return Err(format!("document {id} was found after its delete").into());
        }
    }
    let (inserts, queries, deletes) = (Times::new(inserts), Times::new(queries), Times::new(deletes));
    println!(
        "| {documents} | {:.0} | {:.0} | {:.2} | {:.0} | {:.0} |",
        inserts.p50(),
        inserts.p95(),
        queries.p50() / 1e3,
        deletes.p50(),
        deletes.p95()
    );
    for id in (first..).take(SINGLE) {
        collection.delete(id as u64)?;
    }
    Ok(())
}

fn microseconds(mut work: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed().as_secs_f64() * 1e6)
}
