//! A small schema, documents made from a number, and a disk that fails when told to.

use std::any::Any;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};

use latewood_codecs::{DenseCodec, Metric, SparseVector, TokenCodec, TokenMatrix};
use serde_json::json;

use crate::backend::{DirectoryEntry, WritableFile};
use crate::mmap::MappedFile;
use crate::{
    CollectionStore, DenseSpec, DocumentId, Durability, FieldSpec, FieldType, Maintenance, MemoryBackend,
    Operation, Payload, Record, Schema, StorageBackend, Store, StoreOptions, TokensSpec, VectorKind,
    VectorSpec, VectorValue, Vectors,
};

pub(super) fn schema() -> Schema {
    Schema {
        dense: Some(DenseSpec {
            dim: 4,
            metric: Metric::InnerProduct,
            codec: DenseCodec::F32,
        }),
        tokens: Some(TokensSpec {
            dim: 8,
            bits: 4,
            codec: TokenCodec::default(),
            original: None,
            pool_factor: 1,
        }),
        fields: vec![FieldSpec {
            name: "version".to_owned(),
            kind: FieldType::Int,
        }],
        vectors: vec![
            VectorSpec {
                name: "splade".to_owned(),
                kind: VectorKind::Sparse,
            },
            VectorSpec {
                name: "title".to_owned(),
                kind: VectorKind::Dense(DenseSpec {
                    dim: 2,
                    metric: Metric::L2,
                    codec: DenseCodec::F32,
                }),
            },
        ],
        ..Schema::default()
    }
}

/// The named vectors of a version; some have none, or one of the two.
fn vectors(id: u64, version: u32) -> Vectors {
    if (id + u64::from(version)).is_multiple_of(5) {
        return Vectors::new();
    }
    let low = u32::try_from(id % 7).unwrap();
    let indices = vec![low, 10 + version, 1_000_000 + u32::try_from(id).unwrap()];
    let values = vec![0.5, 1.25, f32::from(u16::try_from(id % 300).unwrap()) + 0.1];
    let vector = SparseVector::new(indices, values).unwrap();
    let mut vectors = Vectors::from([("splade".to_owned(), VectorValue::Sparse(vector))]);
    if !id.is_multiple_of(4) {
        let title = vec![f32::from(u16::try_from(id % 500).unwrap()), -1.5];
        vectors.insert("title".to_owned(), VectorValue::Dense(title));
    }
    vectors
}

/// A document whose every part tells its id and version.
pub(super) fn record(id: u64, version: u32) -> Record {
    let mut payload = Payload::new();
    payload.insert("version".to_owned(), json!(version));
    let tokens = 1 + id % 3;
    let row = |token: u64| (0..8).map(move |i| if i == (id + token) % 8 { 1.0 } else { 0.0 });
    let numbers: Vec<f32> = (0..tokens).flat_map(row).collect();
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let dense = vec![id as f32, version as f32, 1.0, -0.5];
    Record {
        id: id.into(),
        text: Some(format!("document {id} in version {version}")),
        payload,
        dense: Some(dense),
        tokens: Some(TokenMatrix::from_f32(8, &numbers).unwrap()),
        vectors: vectors(id, version),
    }
}

pub(super) fn upsert(id: u64, version: u32) -> Operation {
    Operation::Upsert(record(id, version))
}

pub(super) fn delete(id: u64) -> Operation {
    Operation::Delete(id.into())
}

pub(super) fn options(backend: impl StorageBackend) -> StoreOptions {
    StoreOptions {
        backend: Arc::new(backend),
        threads: 1,
        maintenance: Maintenance::Manual,
        durability: Durability::Sync,
        ..StoreOptions::default()
    }
}

pub(super) const PATH: &str = "/db";

/// A new database with the collection `c` on a disk in memory.
pub(super) fn create(backend: &MemoryBackend) -> (Store, Arc<CollectionStore>) {
    let store = Store::open(PATH, options(backend.clone())).unwrap();
    let collection = store.create_collection("c", schema()).unwrap();
    (store, collection)
}

/// Opens the database as it would be found if the process had ended now.
pub(super) fn reopen(backend: &MemoryBackend) -> (Store, Arc<CollectionStore>) {
    let store = Store::open(PATH, options(backend.image())).unwrap();
    let collection = store.collection("c").unwrap();
    (store, collection)
}

/// Every live document by id with its version, read whole; panics on one that is there twice or not of one piece.
pub(super) fn contents(collection: &CollectionStore) -> BTreeMap<u64, u32> {
    let snapshot = collection.snapshot();
    let mut found = BTreeMap::new();
    let mut add = |read: Record| {
        let DocumentId::U64(id) = read.id else {
            panic!("ids are numbers here")
        };
        let version = u32::try_from(read.payload["version"].as_i64().unwrap()).unwrap();
        let expected = record(id, version);
        assert_eq!((&read.text, &read.dense), (&expected.text, &expected.dense));
        assert_eq!(read.vectors, expected.vectors);
        assert_eq!(read.tokens.unwrap().len(), expected.tokens.unwrap().len());
        assert!(
            found.insert(id, version).is_none(),
            "document {id} is there twice"
        );
    };
    for view in snapshot.segments() {
        (0..view.segment.len())
            .filter(|ordinal| view.is_live(*ordinal))
            .for_each(|ordinal| add(view.segment.record(ordinal).unwrap()));
    }
    snapshot
        .memtable()
        .iter()
        .for_each(|(_, record)| add(Record::clone(record)));
    assert_eq!(snapshot.len(), found.len() as u64);
    for id in found.keys() {
        assert!(snapshot.find(&(*id).into()).unwrap().is_some());
    }
    found
}

/// What a failing disk does at the chosen moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A write takes half of the bytes; the next and all others find the disk full.
    Full,
    /// One sync fails, and what was written is not on the disk.
    Sync,
    /// One call of any other kind fails.
    Other,
}

/// A disk in memory that fails at the n-th call of a kind.
#[derive(Clone, Debug)]
pub(super) struct FaultyBackend {
    pub(super) inner: MemoryBackend,
    state: Arc<FaultState>,
}

#[derive(Debug)]
struct FaultState {
    countdown: AtomicI64,
    fault: AtomicU8,
    most: AtomicU64,
}

impl FaultyBackend {
    pub(super) fn new() -> Self {
        let state = FaultState {
            countdown: AtomicI64::new(i64::MAX),
            fault: AtomicU8::new(0),
            most: AtomicU64::new(0),
        };
        Self {
            inner: MemoryBackend::default(),
            state: Arc::new(state),
        }
    }

    /// Fails at the `n`-th call of this kind from now on, counted from 0.
    pub(super) fn arm(&self, fault: Fault, n: i64) {
        self.state.fault.store(fault as u8, Ordering::SeqCst);
        self.state.countdown.store(n, Ordering::SeqCst);
    }

    pub(super) fn disarm(&self) {
        self.state.countdown.store(i64::MAX, Ordering::SeqCst);
    }

    /// Whether the moment has come.
    pub(super) fn fired(&self) -> bool {
        self.state.countdown.load(Ordering::SeqCst) < 0
    }

    /// The most bytes that all files had together when a folder was synced, since the last call.
    pub(super) fn take_most(&self) -> u64 {
        self.state.most.swap(0, Ordering::SeqCst)
    }

    fn step(&self, fault: Fault) -> io::Result<()> {
        self.state.step(fault)
    }
}

impl FaultState {
    fn step(&self, fault: Fault) -> io::Result<()> {
        if self.fault.load(Ordering::SeqCst) != fault as u8 {
            return Ok(());
        }
        let left = self.countdown.fetch_sub(1, Ordering::SeqCst);
        let fails = if fault == Fault::Full {
            left <= 0
        } else {
            left == 0
        };
        let kind = if fault == Fault::Full {
            io::ErrorKind::StorageFull
        } else {
            io::ErrorKind::Other
        };
        if fails {
            Err(io::Error::new(kind, "injected"))
        } else {
            Ok(())
        }
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Box<dyn WritableFile>,
    state: Arc<FaultState>,
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let before = self.state.countdown.load(Ordering::SeqCst);
        match self.state.step(Fault::Full) {
            Ok(()) => self.inner.write(bytes),
            // The disk takes what still fits.
            Err(_) if before == 0 && bytes.len() > 1 => self.inner.write(&bytes[..bytes.len() / 2]),
            Err(error) => Err(error),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl WritableFile for FaultyFile {
    fn sync_data(&mut self) -> io::Result<()> {
        self.state.step(Fault::Sync)?;
        self.inner.sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.inner.truncate(len)
    }
}

impl StorageBackend for FaultyBackend {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.inner.list(dir)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn WritableFile>> {
        self.step(Fault::Other)?;
        Ok(Box::new(FaultyFile {
            inner: self.inner.create(path)?,
            state: Arc::clone(&self.state),
        }))
    }
    fn append(&self, path: &Path) -> io::Result<Box<dyn WritableFile>> {
        self.step(Fault::Other)?;
        Ok(Box::new(FaultyFile {
            inner: self.inner.append(path)?,
            state: Arc::clone(&self.state),
        }))
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.inner.read(path)
    }
    fn map(&self, path: &Path) -> io::Result<MappedFile> {
        self.step(Fault::Other)?;
        self.inner.map(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Fault::Other)?;
        self.inner.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.remove_dir_all(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step(Fault::Sync)?;
        self.state.most.fetch_max(self.inner.bytes(), Ordering::SeqCst);
        self.inner.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.inner.lock(path)
    }
    fn native_path(&self, _path: &Path) -> Option<PathBuf> {
        None
    }
}
