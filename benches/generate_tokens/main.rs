//! Token embeddings of any number, made up with the statistics of real ones: for collections that are larger than the
//! data at hand.
//!
//!     cargo run --release -p latewood-benches --bin generate_tokens -- OUT --tokens 10000000 [--dim 128] [--seed 1]
//!
//! Writes documents.npy (float16), doclens.npy and queries.npy into the folder OUT, a document at a time. What the
//! numbers imitate, and how well they do, is in `model`.

mod lengths;
mod model;
mod spectrum;

use std::path::PathBuf;

use clap::Parser;
use latewood_benches::Failure;
use latewood_benches::npy::NpyWriter;

use lengths::Lengths;
use model::Model;

/// Made-up token embeddings with the statistics of real ones
#[derive(Debug, Parser)]
struct Args {
    /// Folder to write documents.npy, doclens.npy and queries.npy into
    out: PathBuf,
    /// Tokens of all documents
    #[arg(long, default_value_t = 10_000_000)]
    tokens: u64,
    /// Numbers a token, at least 8
    #[arg(long, default_value_t = 128)]
    dim: usize,
    /// The same seed gives the same files
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Queries of 32 tokens
    #[arg(long, default_value_t = 200)]
    queries: u32,
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    if args.tokens == 0 || args.queries == 0 || args.dim < 8 || !args.dim.is_multiple_of(8) {
        return Err("expected at least one token, one query, and a dimension that is a multiple of 8".into());
    }
    generate(&args)
}

fn generate(args: &Args) -> Result<(), Failure> {
    std::fs::create_dir_all(&args.out)?;
    let path = |name: &str| args.out.join(name);
    let lengths = Lengths::new(args.seed).up_to(args.tokens);
    let documents = u32::try_from(lengths.len())?;
    let mut file = NpyWriter::create(&path("doclens.npy"), "<i4", &[u64::from(documents)])?;
    file.i32(&lengths)?;
    file.finish()?;

    let model = Model::new(args.seed, args.dim, documents);
    let mut file = NpyWriter::create(&path("documents.npy"), "<f2", &[args.tokens, args.dim as u64])?;
    let mut rows = Vec::new();
    for (document, &length) in (0..).zip(&lengths) {
        rows.clear();
        model.document(document, length, &mut rows);
        file.f16(&rows)?;
    }
    file.finish()?;

    let shape = [
        u64::from(args.queries),
        model::QUERY_TOKENS as u64,
        args.dim as u64,
    ];
    let mut file = NpyWriter::create(&path("queries.npy"), "<f4", &shape)?;
    for query in 0..args.queries {
        rows.clear();
        model.query(query, documents, &mut rows);
        file.f32(&rows)?;
    }
    Ok(file.finish()?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use latewood_benches::dataset::Dataset;

    use super::*;

    fn made(out: &Path, seed: u64) -> Vec<Vec<u8>> {
        let args = Args {
            out: out.to_owned(),
            tokens: 3_000,
            dim: 32,
            seed,
            queries: 3,
        };
        generate(&args).unwrap();
        let names = ["documents.npy", "doclens.npy", "queries.npy"];
        names.map(|name| std::fs::read(out.join(name)).unwrap()).to_vec()
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let first = made(&folder.path().join("a"), 1);
        assert_eq!(first, made(&folder.path().join("b"), 1));
        let other = made(&folder.path().join("c"), 2);
        assert!(first.iter().zip(&other).all(|(a, b)| a != b));
    }

    #[test]
    fn there_are_as_many_tokens_as_asked_for_and_all_have_length_one() {
        let folder = tempfile::tempdir().unwrap();
        made(folder.path(), 5);
        let data = Dataset::open(folder.path(), None).unwrap();
        assert_eq!((data.tokens(), data.dim()), (3_000, 32));
        let mut rows = Vec::new();
        data.rows().unwrap().read_f32(3_000, &mut rows).unwrap();
        let (queries, tokens) = data.queries(9).unwrap();
        assert_eq!((queries.len(), tokens), (3, model::QUERY_TOKENS));
        for row in rows.chunks(32).chain(queries.iter().flat_map(|q| q.chunks(32))) {
            let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            assert!((norm - 1.0).abs() < 2e-3, "{norm}");
        }
    }
}
