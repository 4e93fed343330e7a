//! What becomes of recall, latency and size when half of the documents are replaced in small batches.
//!
//!     cargo run --release -p latewood-benches --bin change -- DATA [--limit DOCUMENTS] [--batch 200]
//!
//! A collection is built of documents half of which have other contents than in the end; then these are replaced, some by
//! an upsert, some by a delete and an insert under another id. It is measured when the work in the background has come to rest, and after an
//! optimize, each beside a collection that was built of the same documents at once.

mod args;
mod growth;
mod kinds;
mod replace;
mod state;

use std::path::Path;

use args::Args;
use clap::Parser;
use latewood::{Collection, Database, Document, Maintenance, SchemaBuilder, TokenMatrix};
use latewood_benches::dataset::Dataset;
use latewood_benches::{Failure, ask, exact, times};
use state::{Compared, State};

/// The name of every collection here.
const NAME: &str = "tokens";

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let all = Dataset::open(&args.data, None)?.documents();
    let documents = args.limit.unwrap_or(all * 2 / 3);
    if documents < 4 || documents * 3 / 2 > all {
        let message = format!(
            "expected a limit from 4 to {}, two thirds of the documents in DATA, got {documents}: the other third is what \
             is replaced",
            all * 2 / 3
        );
        return Err(message.into());
    }
    let data = Dataset::open(&args.data, Some(documents))?;
    let (rows, _) = data.queries(args.queries)?;
    let mut matrices = ask::matrices(&Dataset::open(&args.data, Some(documents * 3 / 2))?)?;
    let (queries, truth) = if args.drift {
        let (of_the_end, _) = matrices.split_at_mut(documents);
        kinds::turn_odd(of_the_end, data.dim())?;
        kinds::queries(&rows, data.dim(), of_the_end)?
    } else {
        (
            ask::queries(&rows, data.dim()),
            exact::load_or_compute(&data, &rows, 2)?,
        )
    };
    let folder = tempfile::tempdir()?;
    let (fresh, changed) = (folder.path().join("fresh"), folder.path().join("changed"));
    println!(
        "{documents} documents, {} tokens, {} bits, {} queries, load {}\n",
        data.tokens(),
        args.bits,
        queries.len(),
        times::load().unwrap_or_default()
    );

    let compared = Compared {
        fresh: &fresh,
        changed: &changed,
        queries: &queries,
        truth: &truth,
    };
    eprintln!("building afresh");
    let of = |id: usize, content: usize| document(id, &matrices[content]);
    build(&args, data.dim(), &fresh, (0..documents).map(|id| of(id, id)))?;
    eprintln!("building what is replaced");
    let versions = replace::Versions { documents };
    build(
        &args,
        data.dim(),
        &changed,
        versions.before().map(|(id, content)| of(id, content)),
    )?;
    State::print_header();
    compared.print_alone("as built, before any change", &changed)?;
    eprintln!("replacing");
    let (db, collection) = open(&changed)?;
    let replaced = replace::run(&collection, &versions, args.batch, &of, &queries)?;
    let rest = state::wait_for_rest(&collection)?;
    state::print_codebooks(&collection)?;
    compared.print("when the background has come to rest")?;
    collection.optimize(|_| std::ops::ControlFlow::Continue(()))?;
    compared.print("after an optimize")?;
    drop(collection);
    db.close()?;
    replaced.print(rest);
    if !args.no_growth {
        growth::run(&args, data.dim(), &folder.path().join("growing"), &matrices)?;
    }
    Ok(())
}

fn document(id: usize, content: &TokenMatrix) -> Document {
    Document::new(id as u64).tokens(content.clone())
}

/// A collection built and optimized at once.
fn build(
    args: &Args,
    dim: usize,
    path: &Path,
    documents: impl Iterator<Item = Document> + Send,
) -> Result<(), Failure> {
    let db = Database::options().maintenance(Maintenance::Manual).open(path)?;
    let collection = db.create_collection(NAME, schema(args, dim))?;
    collection.ingest(documents).optimize(true).run()?;
    drop(collection);
    Ok(db.close()?)
}

fn schema(args: &Args, dim: usize) -> SchemaBuilder {
    let schema = SchemaBuilder::new().tokens(dim, args.bits);
    match args.codec {
        Some(codec) => schema.token_codec(codec),
        None => schema,
    }
}

fn open(path: &Path) -> Result<(Database, Collection), Failure> {
    let db = Database::open(path)?;
    let collection = db.collection(NAME)?;
    Ok((db, collection))
}
