//! A writer in a process of its own is killed at random moments; what it had acknowledged is there, whole, and the
//! database can be written to again.
//!
//! The writer is this very test binary, run again for its ignored test. It says on standard output what it is about to
//! write and what was acknowledged.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use latewood_codecs::{DenseCodec, Metric, TokenCodec, TokenMatrix};
use latewood_storage::{
    CollectionStore, DenseSpec, DocumentId, Operation, OptimizeOptions, Payload, Record, Schema, Store,
    StoreOptions, TokensSpec,
};

const CYCLES: u64 = 25;
const IDS: u64 = 40;
const DIRECTORY: &str = "LATEWOOD_CRASH_DIRECTORY";
const SEED: &str = "LATEWOOD_CRASH_SEED";

/// A small generator, so that a failure can be had again by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

fn schema() -> Schema {
    Schema {
        dense: Some(DenseSpec {
            dim: 4,
            metric: Metric::L2,
            codec: DenseCodec::F32,
        }),
        tokens: Some(TokensSpec {
            dim: 8,
            bits: 2,
            codec: TokenCodec::default(),
            original: None,
            pool_factor: 1,
        }),
        ..Schema::default()
    }
}

fn record(id: u64, version: u64) -> Record {
    let mut numbers = [0.0; 16];
    numbers[(id % 8) as usize] = 1.0;
    numbers[8 + (version % 8) as usize] = 1.0;
    let text = format!(
        "{version} of {id}. {}",
        "Rings are counted from the bark inwards. ".repeat((id % 60) as usize)
    );
    Record {
        id: id.into(),
        text: Some(text),
        payload: Payload::new(),
        dense: Some(vec![id as f32, version as f32, 0.0, 1.0]),
        tokens: Some(TokenMatrix::from_f32(8, &numbers).expect("a good matrix")),
    }
}

fn open(directory: &Path) -> (Store, Arc<CollectionStore>) {
    let store = Store::open(directory, StoreOptions::default()).expect("the database opens");
    let collection = match store.collection("c") {
        Ok(collection) => collection,
        Err(_) => store
            .create_collection("c", schema())
            .expect("the collection is created"),
    };
    (store, collection)
}

/// Document to version; none for a deletion.
type Changes = BTreeMap<u64, Option<u64>>;

/// What one operation changes, chosen by the generator: one document, a batch, or a load.
fn choose(random: &mut Random, version: u64) -> Changes {
    let size = [1, 1, 4, 20][random.below(4) as usize];
    let change = |random: &mut Random| {
        let id = random.below(IDS);
        (id, if random.below(4) == 0 { None } else { Some(version) })
    };
    (0..size).map(|_| change(random)).collect()
}

fn say(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .expect("the parent listens");
}

#[test]
#[ignore = "the writer that the other test starts and kills"]
fn writer() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let seed: u64 = std::env::var(SEED).expect("a seed").parse().expect("a number");
    let (_store, c) = open(Path::new(&directory));
    let mut random = Random(seed);
    for version in seed * 1_000_000.. {
        let changes = choose(&mut random, version);
        let load = random.below(8) == 0;
        let line: Vec<String> = changes
            .iter()
            .filter(|(_, v)| !load || v.is_some())
            .map(|(id, v)| format!("{id}={}", v.map_or_else(|| "-".to_owned(), |v| v.to_string())))
            .collect();
        say(&format!("BEGIN {}", line.join(" ")));
        if load {
            let records = changes
                .iter()
                .filter_map(|(id, v)| v.map(|v| record(*id, v)))
                .collect();
            c.bulk(records, &|_| ControlFlow::Continue(())).expect("a load");
        } else {
            let batch = changes.iter().map(|(id, v)| match v {
                Some(v) => Operation::Upsert(record(*id, *v)),
                None => Operation::Delete((*id).into()),
            });
            c.commit(batch.collect()).expect("a commit");
        }
        say("DONE");
        match random.below(40) {
            0 => c.flush().expect("a flush"),
            1 => drop(c.optimize(&OptimizeOptions::default()).expect("an optimize")),
            _ => {}
        }
    }
}

/// Runs a writer and kills it after a while. Applies what it acknowledged to the model; returns what it had begun.
fn run_and_kill(
    directory: &Path,
    seed: u64,
    after: Duration,
    model: &mut BTreeMap<u64, u64>,
) -> Option<Changes> {
    let binary = std::env::current_exe().expect("this binary");
    let mut child = Command::new(binary)
        .args([
            "--exact",
            "writer",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(DIRECTORY, directory)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a writer");
    let output = child.stdout.take().expect("its output");
    let killer = std::thread::spawn(move || {
        std::thread::sleep(after);
        child.kill().expect("the writer is killed");
        child.wait().expect("the writer has ended")
    });
    let mut begun = None;
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { break };
        // The test harness writes on the same line as the first message.
        if let Some((_, changes)) = line.split_once("BEGIN ") {
            begun = Some(parse(changes));
        } else if line == "DONE" {
            apply(model, begun.take().expect("it began before it was done"));
        }
    }
    let status = killer.join().expect("the killer");
    assert!(
        !status.success() && status.code().is_none(),
        "the writer failed by itself: {status}"
    );
    begun
}

fn parse(changes: &str) -> Changes {
    let one = |change: &str| {
        let (id, version) = change.split_once('=').expect("id=version");
        (id.parse().expect("an id"), version.parse().ok())
    };
    changes.split_whitespace().map(one).collect()
}

fn apply(model: &mut BTreeMap<u64, u64>, changes: Changes) {
    for (id, version) in changes {
        match version {
            Some(version) => drop(model.insert(id, version)),
            None => drop(model.remove(&id)),
        }
    }
}

fn contents(c: &CollectionStore) -> BTreeMap<u64, u64> {
    let snapshot = c.snapshot();
    let mut found = BTreeMap::new();
    for id in 0..IDS {
        let Some(read) = snapshot.get(&DocumentId::U64(id)).expect("a document is read") else {
            continue;
        };
        let text = read.text.as_deref().expect("a text");
        let version = text
            .split_once(' ')
            .expect("a version")
            .0
            .parse()
            .expect("a number");
        let expected = record(id, version);
        assert_eq!(
            (&read.text, &read.dense),
            (&expected.text, &expected.dense),
            "document {id} is of one piece"
        );
        found.insert(id, version);
    }
    assert_eq!(snapshot.len(), found.len() as u64);
    found
}

#[test]
fn a_killed_writer_loses_nothing_that_it_acknowledged() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut random = Random(7);
    let mut model = BTreeMap::new();
    for cycle in 1..=CYCLES {
        let after = Duration::from_millis(20 + random.below(180));
        let begun = run_and_kill(directory.path(), cycle, after, &mut model);
        let (store, c) = open(directory.path());
        let found = contents(&c);
        if found != model {
            apply(&mut model, begun.unwrap_or_default());
            assert_eq!(
                found, model,
                "cycle {cycle}: neither with nor without the last operation"
            );
        }
        assert!(c.check(true).expect("a check").is_empty(), "cycle {cycle}");
        c.commit(vec![Operation::Upsert(record(cycle % IDS, cycle))])
            .expect("it can be written to");
        model.insert(cycle % IDS, cycle);
        store.close().expect("it closes");
    }
    assert!(model.len() > 5, "the writers wrote something");
}
