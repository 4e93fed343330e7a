//! Whole database folders that an enemy has written: everything is tried on them, and nothing may panic.

use std::fs;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use latewood::{Database, DenseCodec, Metric, OriginalCodec, SparseVector, TokenCodec, TokenMatrix};
use latewood_storage::{
    CollectionStore, DenseSpec, FieldSpec, FieldType, LexicalSpec, Maintenance, Operation, OptimizeOptions,
    Payload, Record, Schema, Store, StoreOptions, TokensSpec, VectorKind, VectorSpec, VectorValue, Vectors,
};
use serde_json::json;

use crate::reseal::write_resealed;

/// Documents of the large segment: enough for a graph, and with five tokens each for a codebook.
const LARGE: u64 = 1_100;

/// Numbers that follow from a seed (Vigna's SplitMix64).
#[derive(Clone, Copy, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.draw() % n as u64).unwrap_or(0)
    }
}

/// Changes some bytes the way that breaks decoders: lengths, counts and offsets among them.
pub fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len());
        // Headers and trailers are a small part of a file and most of its structure.
        let at = match random.below(4) {
            0 => at % 128,
            1 => bytes.len() - 1 - at % 256.min(bytes.len()),
            _ => at,
        }
        .min(bytes.len() - 1);
        let number = match random.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => u64::from(u32::MAX),
            3 => 1 << 31,
            4 => 1 << random.below(64),
            5 => bytes.len() as u64,
            _ => random.draw(),
        };
        match random.below(8) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = number.to_le_bytes()[0],
            2 | 3 => put(bytes, at & !3, &number.to_le_bytes()[..4]),
            4 | 5 => put(bytes, at & !7, &number.to_le_bytes()),
            6 => {
                let from = random.below(bytes.len());
                let part: Vec<u8> = bytes[from..].iter().take(random.below(64)).copied().collect();
                put(bytes, at, &part);
            }
            _ if random.below(4) == 0 => bytes.truncate(at),
            _ => bytes[at] = bytes[at].wrapping_add(1),
        }
        if bytes.is_empty() {
            return;
        }
    }
}

fn put(bytes: &mut [u8], at: usize, part: &[u8]) {
    let to = bytes.get_mut(at..).unwrap_or_default();
    to.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
}

fn record(id: u64, version: u64) -> Record {
    let row = |token: u64| (0..8).map(move |i| ((id * 7 + token * 3 + i * i) % 11) as f32 / 11.0 + 0.01);
    let tokens: Vec<f32> = (0..5).flat_map(row).collect();
    let mut payload = Payload::new();
    payload.insert("year".to_owned(), json!(id % 50));
    payload.insert(
        "lang".to_owned(),
        json!(["de", "en", "fr"][usize::try_from(id % 3).unwrap_or(0)]),
    );
    payload.insert("when".to_owned(), json!(format!("{:04}-05-01", 1900 + id % 200)));
    payload.insert(
        "at".to_owned(),
        json!({ "lat": (id % 90) as f64, "lon": (id % 180) as f64 }),
    );
    Record {
        id: id.into(),
        text: Some(format!("document {id} in version {version}")),
        payload,
        dense: Some((0..8).map(|i| ((id + i) % 13) as f32 + 0.5).collect()),
        tokens: TokenMatrix::from_f32(8, &tokens).ok(),
        vectors: vectors(id),
    }
}

/// Every twelfth document has none; dimension 1 is in all others, so that its list has several blocks.
fn vectors(id: u64) -> Vectors {
    if id.is_multiple_of(12) {
        return Vectors::new();
    }
    let own = 100 + u32::try_from(id % 40).unwrap_or(0);
    let weight = (id % 19) as f32 / 8.0 + 0.25;
    let sparse = SparseVector::new(vec![1, own, u32::MAX], vec![weight, 2.0, 0.125]);
    let sparse = sparse.map(|vector| ("splade".to_owned(), VectorValue::Sparse(vector)));
    let title = (0..4).map(|i| ((id * 3 + i * i) % 7) as f32 + 0.5).collect();
    let title = ("title".to_owned(), VectorValue::Dense(title));
    sparse.into_iter().chain([title]).collect()
}

fn schema() -> Schema {
    let field = |name: &str, kind| FieldSpec {
        name: name.to_owned(),
        kind,
    };
    Schema {
        dense: Some(DenseSpec {
            dim: 8,
            metric: Metric::Cosine,
            codec: DenseCodec::Rabitq8,
        }),
        tokens: Some(TokensSpec {
            dim: 8,
            bits: 2,
            codec: TokenCodec::Trellis,
            original: Some(OriginalCodec::Int8),
            pool_factor: 1,
        }),
        fields: vec![
            field("year", FieldType::Int),
            field("lang", FieldType::Keyword),
            field("when", FieldType::Datetime),
            field("at", FieldType::Geo),
        ],
        lexical: Some(LexicalSpec::default()),
        vectors: vec![
            VectorSpec {
                name: "splade".to_owned(),
                kind: VectorKind::Sparse,
            },
            VectorSpec {
                name: "title".to_owned(),
                kind: VectorKind::Dense(DenseSpec {
                    dim: 4,
                    metric: Metric::Cosine,
                    codec: DenseCodec::Int8,
                }),
            },
        ],
        ..Schema::default()
    }
}

fn options() -> StoreOptions {
    StoreOptions {
        maintenance: Maintenance::Manual,
        threads: 1,
        memory_budget_bytes: 64 << 20,
        create: false,
        ..StoreOptions::default()
    }
}

/// A database with a coded segment with graph and posting lists, a raw one, tombstones, a codebook and a log.
pub fn create(path: &Path) {
    let store = Store::open(
        path,
        StoreOptions {
            create: true,
            ..options()
        },
    )
    .unwrap();
    let c = store.create_collection("c", schema()).unwrap();
    c.commit((0..LARGE).map(|id| Operation::Upsert(record(id, 1))).collect())
        .unwrap();
    c.optimize(&OptimizeOptions::default()).unwrap();
    let load = (LARGE - 5..LARGE + 15).map(|id| record(id, 2)).collect();
    c.bulk(load, &|_| ControlFlow::Continue(())).unwrap();
    c.commit(vec![Operation::Delete(3.into()), Operation::Upsert(record(4, 3))])
        .unwrap();
    c.flush().unwrap();
    c.commit(vec![Operation::Delete(5.into()), Operation::Upsert(record(6, 3))])
        .unwrap();
    store.close().unwrap();
}

/// A database with one segment, whose tokens are raw.
pub fn create_raw(path: &Path) {
    let create = StoreOptions {
        create: true,
        ..options()
    };
    let store = Store::open(path, create).unwrap();
    let c = store.create_collection("c", schema()).unwrap();
    c.commit((0..20).map(|id| Operation::Upsert(record(id, 1))).collect())
        .unwrap();
    c.flush().unwrap();
    store.close().unwrap();
}

/// Every file of a database but its lock and sled's.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().is_some_and(|name| name != "LOCK") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, &target).unwrap();
    }
}

/// Changes a copy of the database at `whole` as the seed says, and tries everything on it. What panicked, if something did.
pub fn attack(whole: &Path, seed: u64) -> Result<(), String> {
    let mut random = Random(seed);
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("db");
    copy(whole, &folder);
    let all = files(&folder.join("collections"));
    let mut told = String::new();
    for _ in 0..=random.below(3) {
        let path = &all[random.below(all.len())];
        let mut bytes = fs::read(path).unwrap();
        mutate(&mut bytes, &mut random);
        told += &format!("{} ", path.strip_prefix(&folder).unwrap().display());
        if random.below(5) == 0 {
            fs::write(path, bytes).unwrap();
        } else {
            write_resealed(path, bytes);
        }
    }
    let other = place.path().join("other");
    copy(&folder, &other);
    let steps: [(&str, &dyn Fn()); 4] = [
        ("read", &|| drop(read(&folder))),
        ("write", &|| drop(write(&folder))),
        ("repair", &|| drop(Store::repair(&other, options(), None))),
        ("read what was repaired", &|| drop(read(&other))),
    ];
    for (step, run) in steps {
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            return Err(format!("seed {seed}: {step} panicked after changes to {told}"));
        }
    }
    Ok(())
}

fn read(folder: &Path) -> Result<(), latewood::Error> {
    let db = Database::options().read_only(true).threads(1).open(folder)?;
    look(&db)
}

/// Checks, gets, lists and searches.
///
/// # Errors
/// When the collection does not open.
pub fn look(db: &Database) -> Result<(), latewood::Error> {
    let _ = db.check("c", true);
    let collection = db.collection("c")?;
    for id in (0..LARGE + 15).step_by(97) {
        let _ = collection.get(id);
    }
    collection.documents()?.take(40).for_each(drop);
    let rows: Vec<Vec<f32>> = (0..4)
        .map(|i| (0..8).map(|j| ((i * j) % 5) as f32 + 0.1).collect())
        .collect();
    for plan in [
        "auto",
        "dense",
        "maxsim",
        "dense+maxsim",
        "bm25",
        "bm25/dense+maxsim",
        "sparse:splade",
        "dense:title",
        "bm25/sparse:splade/dense+maxsim",
    ] {
        for filter in [None, Some("year >= 10 and lang = \"de\"")] {
            let query = collection
                .query()
                .dense(vec![0.5; 8])
                .tokens(&rows)
                .vector("title", [0.5, 1.0, -0.5, 2.0])
                .sparse("splade", [1, 107, 120, u32::MAX, 5], [1.0, 0.5, 2.0, 1.5, 9.0])
                .lexical("document (3 OR version) \"in version\" -7")
                .plan(plan)
                .limit(20);
            let query = match filter {
                Some(filter) => query.filter(filter),
                None => query,
            };
            let _ = query.run();
        }
    }
    Ok(())
}

fn write(folder: &Path) -> Result<(), latewood_storage::StorageError> {
    let store = Store::open(folder, options())?;
    let collection = store.collection("c")?;
    let _ = change(&collection);
    let _ = collection.optimize(&OptimizeOptions::default());
    let _ = collection.get(&7.into());
    store.close()
}

fn change(collection: &CollectionStore) -> Result<(), latewood_storage::StorageError> {
    collection.commit(vec![Operation::Delete(8.into()), Operation::Upsert(record(9, 9))])?;
    collection.flush()
}

/// Whether a database can be read and written, and how many hits a search of it has.
pub fn attempt(whole: &Path) -> (bool, usize) {
    let place = tempfile::tempdir().unwrap();
    copy(whole, place.path());
    let well = read(place.path()).is_ok() && write(place.path()).is_ok();
    let db = Database::options().read_only(true).open(place.path()).unwrap();
    let query = vec![vec![0.5; 8]];
    let hits = db
        .collection("c")
        .unwrap()
        .query()
        .tokens(query)
        .plan("maxsim")
        .limit(20)
        .run();
    (well, hits.unwrap().len())
}
