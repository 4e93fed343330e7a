//! Where ids live: in sled, or in the hash index of each segment. 100,000 ids of about 20 bytes each.
//!
//! `cargo run --release -p latewood-benches --bin primary_keys`

use std::fs;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use latewood_codecs::{DenseCodec, Metric};
use latewood_storage::{
    DenseSpec, DocumentId, Maintenance, OptimizeOptions, Payload, Record, Schema, Snapshot, Store,
    StoreOptions,
};

const IDS: u64 = 100_000;
const LOOKUPS: u64 = 200_000;
const SEGMENTS: u64 = 8;

fn id(n: u64) -> String {
    format!("lib-{:08x}-dev-{n:06}", n.wrapping_mul(2_654_435_761) as u32)
}

/// The n-th lookup: an id in a shuffled order.
fn shuffled(n: u64) -> u64 {
    n.wrapping_mul(7_368_787) % IDS
}

fn report(what: &str, bytes: u64, insert: Duration, open: Duration, lookup: Duration) {
    println!(
        "{what:<28} {:>7.1} bytes/key  insert {:>9.0}/s  open {:>7.2} ms  lookup {:>9.0}/s",
        bytes as f64 / IDS as f64,
        IDS as f64 / insert.as_secs_f64(),
        open.as_secs_f64() * 1e3,
        LOOKUPS as f64 / lookup.as_secs_f64(),
    );
}

fn folder_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir)
        .expect("a folder")
        .map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| {
            if entry.path().is_dir() {
                folder_bytes(&entry.path())
            } else {
                entry.metadata().map_or(0, |m| m.len())
            }
        })
        .sum()
}

fn in_sled(dir: &Path) {
    let open = || {
        sled::Config::default()
            .path(dir)
            .cache_capacity(16 << 20)
            .open()
            .expect("sled opens")
    };
    let database = open();
    let start = Instant::now();
    for n in 0..IDS {
        let mut place = [0; 12];
        place[..8].copy_from_slice(&(n % SEGMENTS).to_le_bytes());
        place[8..].copy_from_slice(&(n as u32).to_le_bytes());
        database.insert(id(n).as_bytes(), &place).expect("an insert");
    }
    database.flush().expect("a flush");
    fs::File::open(dir.join("db"))
        .and_then(|file| file.sync_all())
        .expect("a sync");
    let insert = start.elapsed();
    drop(database);
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    let database = open();
    let opened = start.elapsed();
    let start = Instant::now();
    for n in 0..LOOKUPS {
        black_box(
            database
                .get(id(shuffled(n)).as_bytes())
                .expect("a lookup")
                .expect("it is there"),
        );
    }
    report("sled", folder_bytes(dir), insert, opened, start.elapsed());
}

fn find_all(snapshot: &Snapshot) -> Duration {
    let start = Instant::now();
    for n in 0..LOOKUPS {
        black_box(
            snapshot
                .find(&DocumentId::Str(id(shuffled(n))))
                .expect("a lookup")
                .expect("it is there"),
        );
    }
    start.elapsed()
}

fn in_segments(dir: &Path) {
    let options = StoreOptions {
        maintenance: Maintenance::Manual,
        ..StoreOptions::default()
    };
    let store = Store::open(dir, options.clone()).expect("it is created");
    let dense = DenseSpec {
        dim: 1,
        metric: Metric::L2,
        codec: DenseCodec::F32,
    };
    let c = store
        .create_collection(
            "c",
            Schema {
                dense: Some(dense),
                ..Schema::default()
            },
        )
        .expect("a collection");
    let record = |n: u64| Record {
        id: DocumentId::Str(id(n)),
        text: None,
        payload: Payload::new(),
        dense: Some(vec![0.0]),
        tokens: None,
        vectors: latewood_storage::Vectors::new(),
    };
    // The time is that of whole documents, with files for their other parts.
    let start = Instant::now();
    for chunk in 0..SEGMENTS {
        let per = IDS / SEGMENTS;
        let records = (chunk * per..(chunk + 1) * per).map(record).collect();
        c.bulk(records, &|_| ControlFlow::Continue(())).expect("a load");
    }
    let insert = start.elapsed();
    let reopen = |store: Store| {
        store.close().expect("it closes");
        let start = Instant::now();
        let store = Store::open(dir, options.clone()).expect("it opens");
        let c = store.collection("c").expect("the collection opens");
        (start.elapsed(), store, c)
    };
    let (opened, store, c) = reopen(store);
    let lookup = find_all(&c.snapshot());
    let ids = c.stats().expect("stats").bytes["ids"];
    report("hash index, 8 segments", ids, insert, opened, lookup);
    c.optimize(&OptimizeOptions::default()).expect("an optimize");
    let (opened, _store, c) = reopen(store);
    let lookup = find_all(&c.snapshot());
    let ids = c.stats().expect("stats").bytes["ids"];
    report("hash index, 1 segment", ids, insert, opened, lookup);
}

fn main() {
    let dir = tempfile::tempdir().expect("a folder");
    in_sled(&dir.path().join("sled"));
    in_segments(&dir.path().join("segments"));
}
