//! Late interaction or dense search under filters: whether every match comes, what recall it has, and what it takes.
//!
//!     cargo run --release -p latewood-benches --bin filters -- DATA [--limit DOCUMENTS] [--k 1,10,100]
//!     cargo run --release -p latewood-benches --bin filters -- --dense VECTORS.npy --dense-queries QUERIES.npy [--limit ROWS]
//!
//! Filters let a half to a thousandth of the documents through: drawn at random, nearest to the query, or farthest from it.

mod columns;
mod dense;
mod table;

use std::path::PathBuf;

use clap::Parser;
use columns::Columns;
use latewood::{Collection, Database, Document, FieldType, Maintenance, SchemaBuilder};
use latewood_benches::dataset::Dataset;
use latewood_benches::{Failure, ask, times};

const NAME: &str = "tokens";

/// Recall and latency of late interaction under filters
#[derive(Debug, Parser)]
struct Args {
    /// Folder with documents.npy, doclens.npy, queries.npy
    #[arg(required_unless_present = "dense")]
    data: Option<PathBuf>,
    /// Dense vectors instead: rows x dimensions
    #[arg(
        long,
        value_name = "FILE.npy",
        requires = "dense_queries",
        conflicts_with = "data"
    )]
    dense: Option<PathBuf>,
    /// Their queries
    #[arg(long, value_name = "FILE.npy")]
    dense_queries: Option<PathBuf>,
    /// Breadths of the graph search over dense vectors, instead of recalls
    #[arg(long, value_delimiter = ',')]
    ef: Vec<usize>,
    /// Times that each dense query is asked; the least counts
    #[arg(long, value_name = "N", default_value_t = 1)]
    rounds: usize,
    /// Only the first so many documents
    #[arg(long, value_name = "DOCUMENTS")]
    limit: Option<usize>,
    /// Only the first so many queries
    #[arg(long, value_name = "N", default_value_t = 200)]
    queries: usize,
    /// Bits of residual
    #[arg(long, default_value_t = 2)]
    bits: u8,
    /// Hits of a query
    #[arg(long, default_value = "10", value_delimiter = ',')]
    k: Vec<usize>,
    /// Recalls to ask for; of late interaction beside the default
    #[arg(long, default_value = "0.9,0.95,0.99", value_delimiter = ',')]
    recalls: Vec<f64>,
    /// Shares of the documents that filters let through
    #[arg(long, default_value = "0.5,0.1,0.01,0.001", value_delimiter = ',')]
    shares: Vec<f64>,
    /// Folder of the database, used again when it is there; without it it is temporary
    #[arg(long, value_name = "DIR")]
    db: Option<PathBuf>,
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let Some(folder) = &args.data else {
        return dense::run(&args);
    };
    let data = Dataset::open(folder, args.limit)?;
    let (rows, _) = data.queries(args.queries)?;
    let matrices = ask::matrices(&data)?;
    let columns = Columns::new(&matrices, &rows, data.dim());
    let temporary = tempfile::tempdir()?;
    let path = args.db.clone().unwrap_or_else(|| temporary.path().join("db"));
    if !path.exists() {
        eprintln!("building {}", path.display());
        let db = Database::options().maintenance(Maintenance::Manual).open(&path)?;
        let mut schema = SchemaBuilder::new().tokens(data.dim(), args.bits);
        for name in columns.names() {
            schema = schema.field(name, FieldType::Int);
        }
        let collection = db.create_collection(NAME, schema)?;
        let documents = matrices.into_iter().enumerate().map(|(id, matrix)| {
            let document = Document::new(id as u64).tokens(matrix);
            columns
                .values(id)
                .fold(document, |document, (name, place)| document.field(name, place))
        });
        collection
            .ingest(documents.collect::<Vec<_>>())
            .optimize(true)
            .run()?;
        drop(collection);
        db.close()?;
    }
    let db = Database::options().threads(1).read_only(true).open(&path)?;
    let collection: Collection = db.collection(NAME)?;
    println!(
        "{} documents, {} tokens, {} bits, {} queries, load {}\n",
        data.documents(),
        data.tokens(),
        args.bits,
        rows.len(),
        times::load().unwrap_or_default()
    );
    let queries = ask::queries(&rows, data.dim());
    for &k in &args.k {
        let case = table::Case {
            collection: &collection,
            queries: &queries,
            columns: &columns,
            k,
        };
        case.print(&args.recalls, &args.shares)?;
    }
    drop(collection);
    Ok(db.close()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
        let args = Args::parse_from(["filters", "DATA", "--k", "1,10"]);
        assert_eq!((args.k.len(), args.recalls.len(), args.shares.len()), (2, 3, 4));
    }
}
