//! Durable commits against bare fdatasync, bulk loads, and what an open costs.
//!
//! `cargo run --release -p latewood-benches --bin storage`

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use half::f16;
use latewood_codecs::{DenseCodec, Metric, TokenCodec, TokenMatrix};
use latewood_storage::{
    DenseSpec, Maintenance, Operation, Payload, Record, Schema, Store, StoreOptions, TokensSpec,
};

const DOCUMENTS: u64 = 55_685;
const TOKENS: usize = 64;
const TOKEN_DIM: usize = 128;
const DENSE_DIM: usize = 384;
const COMMITS: u64 = 500;

fn schema() -> Schema {
    Schema {
        dense: Some(DenseSpec {
            dim: DENSE_DIM,
            metric: Metric::Cosine,
            codec: DenseCodec::F16,
        }),
        tokens: Some(TokensSpec {
            dim: TOKEN_DIM,
            bits: 2,
            codec: TokenCodec::default(),
            original: None,
            pool_factor: 1,
        }),
        ..Schema::default()
    }
}

fn record(id: u64, tokens: usize) -> Record {
    let mut seed = id;
    let mut random = || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((seed >> 40) as f32 / (1 << 24) as f32 - 0.5) * 0.3
    };
    let numbers: Vec<f16> = (0..tokens * TOKEN_DIM).map(|_| f16::from_f32(random())).collect();
    Record {
        id: id.into(),
        text: Some(format!(
            "document {id}: {}",
            "growth rings of late wood ".repeat(12)
        )),
        payload: Payload::new(),
        dense: Some((0..DENSE_DIM).map(|_| random()).collect()),
        tokens: Some(TokenMatrix::new(TOKEN_DIM, numbers).expect("a matrix")),
        vectors: latewood_storage::Vectors::new(),
    }
}

fn resident_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap_or("VmRSS: 0");
    line.split_whitespace()
        .nth(1)
        .and_then(|n| n.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1024.0
}

/// Microseconds of an append of `bytes` and an fdatasync.
fn bare_fdatasync(path: &Path, bytes: usize) -> f64 {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .expect("a file");
    let block = vec![7; bytes];
    let start = Instant::now();
    for _ in 0..COMMITS {
        file.write_all(&block)
            .and_then(|()| file.sync_data())
            .expect("a durable append");
    }
    start.elapsed().as_secs_f64() * 1e6 / COMMITS as f64
}

fn durable_commits(dir: &Path) {
    let options = StoreOptions {
        maintenance: Maintenance::Manual,
        ..StoreOptions::default()
    };
    let store = Store::open(dir.join("commits"), options).expect("it is created");
    let c = store.create_collection("c", schema()).expect("a collection");
    let mut records: Vec<Record> = (0..COMMITS).map(|id| record(id, TOKENS)).collect();
    let before = c.stats().expect("stats").bytes["wal"];
    let start = Instant::now();
    for record in records.drain(..) {
        c.commit(vec![Operation::Upsert(record)]).expect("a commit");
    }
    let commit = start.elapsed().as_secs_f64() * 1e6 / COMMITS as f64;
    let frame = (c.stats().expect("stats").bytes["wal"] - before) / COMMITS;
    let bare = bare_fdatasync(&dir.join("bare"), frame as usize);
    println!(
        "single durable upsert of {frame} bytes: {commit:.0} us; bare append + fdatasync {bare:.0} us; ratio {:.2}",
        commit / bare
    );
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let c = &c;
            scope.spawn(move || {
                for i in 0..COMMITS / 8 {
                    c.commit(vec![Operation::Upsert(record(1_000 * (thread + 1) + i, 8))])
                        .expect("a commit");
                }
            });
        }
    });
    let each = start.elapsed().as_secs_f64() * 1e6 / COMMITS as f64;
    println!("8 threads of small durable upserts: {each:.0} us each");
}

fn bulk_and_open(dir: &Path) {
    let path = dir.join("bulk");
    let options = StoreOptions {
        maintenance: Maintenance::Manual,
        ..StoreOptions::default()
    };
    let store = Store::open(&path, options.clone()).expect("it is created");
    let c = store.create_collection("c", schema()).expect("a collection");
    let mut first = 0;
    while first < DOCUMENTS {
        let last = (first + 10_000).min(DOCUMENTS);
        let records: Vec<Record> = (first..last).map(|id| record(id, TOKENS)).collect();
        let (count, start) = (records.len(), Instant::now());
        c.bulk(records, &|_| ControlFlow::Continue(())).expect("a load");
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "bulk of {count}: {seconds:.2} s, {:.0} tokens/s",
            (count * TOKENS) as f64 / seconds
        );
        first = last;
    }
    store.close().expect("it closes");
    drop((c, store));
    // A process of its own, so that nothing is in memory yet.
    let status = std::process::Command::new(std::env::current_exe().expect("this binary"))
        .env("LATEWOOD_BENCH_OPEN", &path)
        .status();
    assert!(status.is_ok_and(|status| status.success()));
}

fn open_only(path: &Path) {
    let before = resident_mib();
    let start = Instant::now();
    let store = Store::open(path, StoreOptions::default()).expect("it opens");
    let c = store.collection("c").expect("the collection opens");
    let ms = start.elapsed().as_secs_f64() * 1e3;
    println!(
        "open of {} documents: {ms:.1} ms, {:.1} MiB resident ({before:.1} before)",
        c.snapshot().len(),
        resident_mib()
    );
    store.close().expect("it closes");
}

fn main() {
    if let Some(path) = std::env::var_os("LATEWOOD_BENCH_OPEN") {
        return open_only(Path::new(&path));
    }
    let dir = tempfile::tempdir_in(".").expect("a folder on the disk at hand");
    durable_commits(dir.path());
    bulk_and_open(dir.path());
}
