//! What a writer costs those who read: the same queries on one thread, idle, while another thread ingests, idle again, while
//! it optimizes, and idle at the end.
//!
//! `beside DATA DATABASE COLLECTION [--seconds 15] [--plan maxsim] [--load 3000]`: DATA has documents.npy, doclens.npy and
//! queries.npy; the collection is written to, so give a copy. One thread reads, on a core of its own; one writes, and with what
//! runs in the background it has the other cores.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use latewood::import::{NpyReader, VectorFiles};
use latewood::{Collection, Database, Document, Error, Maintenance};
use latewood_benches::times::{Times, load};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Query latency beside a writer
#[derive(Debug, Parser)]
struct Args {
    /// Folder with documents.npy, doclens.npy, queries.npy
    data: PathBuf,
    /// A database that may be changed
    database: PathBuf,
    /// Its collection
    collection: String,
    /// Seconds of each part; the optimize takes as long as it takes
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Documents of one load, written again and again
    #[arg(long, default_value_t = 3000)]
    load: usize,
    /// The plan
    #[arg(long, default_value = "maxsim")]
    plan: String,
    /// Lists a group of query tokens, and candidates: the same all the time, whatever is measured anew meanwhile
    #[arg(long, default_value = "48,3072", value_delimiter = ',')]
    settings: Vec<usize>,
    /// Memory that the database may hold; where it is less than the files, their pages come and go
    #[arg(long, default_value_t = 1024)]
    memory_mib: u64,
    /// Nothing merges or flushes in the background
    #[arg(long)]
    manual: bool,
    /// Give the reader no core of its own
    #[arg(long)]
    shared: bool,
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

struct Bench {
    collection: Collection,
    queries: Vec<Vec<f32>>,
    plan: String,
    settings: [usize; 2],
    next: usize,
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    let reader = if args.shared { None } else { own_core()? };
    let maintenance = if args.manual {
        Maintenance::Manual
    } else {
        Maintenance::Background
    };
    let database = Database::options()
        .maintenance(maintenance)
        .memory_budget_bytes(args.memory_mib << 20)
        .create(false)
        .open(&args.database)?;
    let documents = documents(&args)?;
    let mut bench = Bench {
        collection: database.collection(&args.collection)?,
        queries: queries(&args.data.join("queries.npy"))?,
        plan: args.plan.clone(),
        settings: args.settings[..]
            .try_into()
            .map_err(|_| "expected two settings")?,
        next: 0,
    };
    let writer = bench.collection.clone();
    let writers_cores = sched_getaffinity(None)?;
    if let Some(reader) = &reader {
        sched_setaffinity(None, reader)?;
    }
    let part = Duration::from_secs(args.seconds);
    println!(
        "{} documents, plan {}, load {}",
        writer.count(None)?,
        args.plan,
        load().unwrap_or_default()
    );
    bench.queries_until(|began| began.elapsed() > part / 3)?;
    let idle = bench.queries_until(|began| began.elapsed() > part)?;
    report("idle", &idle, &idle);
    let (ingest, written) = bench.beside(|stop| {
        // The thread is a child of the reader's.
        sched_setaffinity(None, &writers_cores).expect("these cores were this process's a moment ago");
        ingest(&writer, &documents, part, stop)
    })?;
    report("ingest", &ingest, &idle);
    let after = bench.queries_until(|began| began.elapsed() > part)?;
    report("idle, before the optimize", &after, &idle);
    let (optimize, seconds) = bench.beside(|_| {
        sched_setaffinity(None, &writers_cores).expect("these cores were this process's a moment ago");
        let began = Instant::now();
        writer.optimize(|_| ControlFlow::Continue(()))?;
        Ok(began.elapsed().as_secs_f64())
    })?;
    report("optimize", &optimize, &after);
    let last = bench.queries_until(|began| began.elapsed() > part)?;
    report("idle, after it", &last, &idle);
    println!(
        "{written} documents were written beside the queries, and the optimize took {seconds:.1} s; load {}",
        load().unwrap_or_default()
    );
    database.close()?;
    Ok(())
}

/// Leaves the last core to the reader, and the others to this thread and those that it begins; `None` where there is one core.
fn own_core() -> Outcome<Option<CpuSet>> {
    let all = sched_getaffinity(None)?;
    let mut cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).collect();
    let Some(last) = cores.pop().filter(|_| !cores.is_empty()) else {
        return Ok(None);
    };
    let set = |cores: &[usize]| {
        let mut set = CpuSet::new();
        cores.iter().for_each(|core| set.set(*core));
        set
    };
    sched_setaffinity(None, &set(&cores))?;
    Ok(Some(set(&[last])))
}

impl Bench {
    /// Milliseconds of single queries, one after another, until it is enough.
    fn queries_until(&mut self, enough: impl Fn(Instant) -> bool) -> Result<Times, Error> {
        let began = Instant::now();
        let mut milliseconds = Vec::new();
        while !enough(began) {
            let tokens = self.queries[self.next % self.queries.len()].clone();
            self.next += 1;
            let asked = Instant::now();
            let [lists, candidates] = self.settings;
            let hits = self
                .collection
                .query()
                .tokens(tokens)
                .n_probe(lists)
                .candidates(candidates)
                .plan(self.plan.as_str())
                .limit(10)
                .run()?;
            milliseconds.push(asked.elapsed().as_secs_f64() * 1e3);
            assert_eq!(hits.len(), 10, "there are more documents than that");
        }
        Ok(Times::new(milliseconds))
    }

    /// The same beside another thread, as long as it works.
    fn beside<T: Send>(
        &mut self,
        work: impl FnOnce(&AtomicBool) -> Result<T, Error> + Send,
    ) -> Result<(Times, T), Error> {
        let (done, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let result = work(&stop);
                done.store(true, Ordering::Release);
                result
            });
            let times = self.queries_until(|_| done.load(Ordering::Acquire));
            stop.store(true, Ordering::Release);
            let result = worker.join().expect("the writer does not panic")?;
            Ok((times?, result))
        })
    }
}

/// Writes the same documents for some time: every other load in batches of 100 through the log, every other as a segment.
fn ingest(
    collection: &Collection,
    documents: &[Document],
    time: Duration,
    stop: &AtomicBool,
) -> Result<usize, Error> {
    let began = Instant::now();
    let mut written = 0;
    let over = || began.elapsed() > time || stop.load(Ordering::Acquire);
    while !over() {
        for batch in documents.chunks(100) {
            if over() {
                return Ok(written);
            }
            collection.upsert_many(batch.to_vec())?;
            written += batch.len();
        }
        collection.flush()?;
        collection.ingest(documents.to_vec()).optimize(false).run()?;
        written += documents.len();
    }
    Ok(written)
}

fn documents(args: &Args) -> Outcome<Vec<Document>> {
    let file = |name: &str| args.data.join(name);
    let all = VectorFiles::open(
        Some(&file("documents.npy")),
        Some(&file("doclens.npy")),
        None,
        None,
    )?;
    Ok(all.take(args.load).collect::<Result<_, _>>()?)
}

/// Token matrices, row after row.
fn queries(path: &Path) -> Outcome<Vec<Vec<f32>>> {
    let mut reader = NpyReader::open(path)?;
    let [queries, tokens, _] = reader.header().shape[..] else {
        return Err("expected queries x tokens x dimensions".into());
    };
    let tokens = usize::try_from(tokens)?;
    (0..queries)
        .map(|_| {
            let mut rows = Vec::new();
            reader.read_f32(tokens, &mut rows)?;
            Ok(rows)
        })
        .collect()
}

fn report(part: &str, times: &Times, beside: &Times) {
    println!(
        "{part:<26} p50 {:.2} ms, p99 {:.2} ms: {:.2} and {:.2} times idle",
        times.p50(),
        times.percentile(0.99),
        times.p50() / beside.p50(),
        times.percentile(0.99) / beside.percentile(0.99)
    );
}
