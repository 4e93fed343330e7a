//! What becomes of dense search when the vectors change: recall, latency, size, and what the merges take.
//!
//!     cargo run --release -p latewood-benches --bin dense_change -- VECTORS.npy QUERIES.npy [--limit N]
//!
//! The first N vectors are those in the end, N more are there on the way. A collection of which half has been deleted, one
//! of which nine tenths were replaced in rounds, and some to which a share was added are each asked in turn with one that
//! was built at once. What a merge takes is the processor's time of all threads; beside it stands what the same merge takes
//! when it builds the graph anew, as it does where the graph's file is damaged.

mod args;
mod collection;
mod state;

use args::Args;
use clap::Parser;
use collection::Folder;
use latewood_benches::nearest::nearest;
use latewood_benches::rows::Rows;
use latewood_benches::{Failure, times};
use state::Compared;

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let vectors = Rows::read(&args.vectors, args.limit.map(|limit| 2 * limit))?;
    let queries = Rows::read(&args.queries, Some(args.queries_limit))?;
    if vectors.dim != queries.dim {
        let (expected, got) = (vectors.dim, queries.dim);
        return Err(format!("queries of {got} numbers for vectors of {expected}").into());
    }
    let n = vectors.len() / 2;
    let (k, of_the_end) = (args.k, &vectors.values[..n * vectors.dim]);
    let truth = nearest(of_the_end, &queries.values, vectors.dim, k, args.threads);
    let temporary = tempfile::tempdir()?;
    let at = |name: &str| Folder::new(temporary.path(), name, args.threads);
    println!(
        "{n} vectors of {} in the end, {} queries, top {k}, load {}\n",
        vectors.dim,
        queries.len(),
        times::load().unwrap_or_default()
    );
    let fresh = at("fresh");
    let cpu = fresh.build(&vectors, 0..n)?;
    let compared = Compared {
        args: &args,
        fresh: &fresh,
        queries: &queries,
        truth: &truth,
    };
    compared.print_header();
    compared.print(
        "built at once",
        &fresh,
        &format!("{cpu:.1}, loading and tuning with it"),
    )?;
    let bench = Bench {
        vectors: &vectors,
        n,
        compared: &compared,
    };
    if !args.no_deletes {
        bench.delete_half(&at("halved"), &at("halved_anew"))?;
    }
    for &rounds in &args.rounds {
        bench.replace(&at(&format!("replaced_{rounds}")), rounds)?;
    }
    for &percent in &args.shares {
        let name = format!("added_{percent}");
        bench.add(&at(&name), &at(&format!("{name}_anew")), percent)?;
    }
    Ok(())
}

struct Bench<'a> {
    vectors: &'a Rows,
    /// Vectors in the end.
    n: usize,
    compared: &'a Compared<'a>,
}

impl Bench<'_> {
    /// Twice as many, of which half is deleted.
    fn delete_half(&self, folder: &Folder, anew: &Folder) -> Result<(), Failure> {
        let n = self.n;
        folder.build(self.vectors, (0..2 * n).map(|at| at / 2 + at % 2 * n))?;
        folder.change(self.vectors, n..2 * n, 0..0)?;
        self.compared
            .print("half deleted, before any merge", folder, "")?;
        self.merge("half deleted", folder, anew)
    }

    /// Nine tenths replaced in so many rounds, each merged before the next.
    fn replace(&self, folder: &Folder, rounds: usize) -> Result<(), Failure> {
        let kept = self.n / 10;
        let changing = self.n - kept;
        folder.build(self.vectors, (0..kept).chain(self.n..self.n + changing))?;
        let (mut cpu, mut done) = (0.0, 0);
        for round in 1..=rounds {
            let next = changing * round / rounds;
            folder.change(
                self.vectors,
                self.n + done..self.n + next,
                kept + done..kept + next,
            )?;
            cpu += folder.merge()?;
            done = next;
        }
        let name = format!("nine tenths replaced in {rounds} rounds, each merged");
        self.compared.print(&name, folder, &format!("{cpu:.1} in all"))
    }

    /// A share added to the rest.
    fn add(&self, folder: &Folder, anew: &Folder, percent: usize) -> Result<(), Failure> {
        let before = self.n - self.n * percent / 100;
        folder.build(self.vectors, 0..before)?;
        folder.change(self.vectors, 0..0, before..self.n)?;
        self.merge(&format!("{percent}% added"), folder, anew)
    }

    /// Merges, and merges a copy whose graphs are damaged.
    fn merge(&self, name: &str, folder: &Folder, anew: &Folder) -> Result<(), Failure> {
        folder.copy_with_damaged_graphs(anew)?;
        let (cpu, cpu_anew) = (folder.merge()?, anew.merge()?);
        let share = cpu / cpu_anew;
        let took = format!("{cpu:.2}, {share:.2} of that of building anew");
        self.compared.print(&format!("{name}, merged"), folder, &took)?;
        let name = format!("{name}, merged with graphs built anew");
        self.compared.print(&name, anew, &format!("{cpu_anew:.2}"))
    }
}
