//! Every file of a collection with every part damaged in turn: an error that says where, or the truth; found by a check;
//! and mended without the loss of a document that is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use latewood_codecs::{OriginalCodec, TokenCodec};

use super::support::{Fault, FaultyBackend, PATH, contents, delete, options, record, upsert};
use crate::backend::{MemoryBackend, StorageBackend, write_file};
use crate::collection::{Severity, survey};
use crate::{
    CollectionStore, OptimizeOptions, RepairReport, Result, Schema, StorageError, Store, TokensSpec,
};

/// What can be done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Flip(usize),
    Zero(usize),
    Cut(usize),
    Remove,
}

struct Whole {
    backend: MemoryBackend,
    expected: BTreeMap<u64, u32>,
}

fn damaged_schema() -> Schema {
    Schema {
        tokens: Some(TokensSpec {
            dim: 8,
            bits: 2,
            codec: TokenCodec::Trellis,
            original: Some(OriginalCodec::F16),
            pool_factor: 1,
        }),
        ..super::support::schema()
    }
}

/// Two coded segments, one of them bulk loaded, a raw one, tombstones in each, and a log; made once.
fn whole() -> &'static Whole {
    static WHOLE: OnceLock<Whole> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let backend = MemoryBackend::default();
        let store = Store::open(PATH, options(backend.clone())).unwrap();
        let c = store.create_collection("c", damaged_schema()).unwrap();
        c.commit((0..2200).map(|id| upsert(id, 1)).collect()).unwrap();
        c.optimize(&OptimizeOptions::default()).unwrap();
        assert_eq!(c.snapshot().codebooks().len(), 1, "there are codes");
        c.commit((0..2188).map(delete).collect()).unwrap();
        c.optimize(&OptimizeOptions::default()).unwrap();
        let load = (2190..2210).map(|id| record(id, 2)).collect();
        c.bulk(load, &|_| ControlFlow::Continue(())).unwrap();
        c.commit(vec![upsert(2188, 3), delete(2205), upsert(2400, 1)])
            .unwrap();
        c.flush().unwrap();
        let load = vec![record(2401, 1), record(2192, 4)];
        c.commit(vec![upsert(2192, 3)]).unwrap();
        c.bulk(load, &|_| ControlFlow::Continue(())).unwrap();
        c.commit(vec![upsert(2206, 5), delete(2207), upsert(2402, 1)])
            .unwrap();
        c.commit(vec![upsert(2403, 1), delete(2400)]).unwrap();
        let expected = contents(&c);
        store.close().unwrap();
        Whole { backend, expected }
    })
}

fn files(backend: &MemoryBackend, dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in backend.list(dir).unwrap() {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            found.extend(files(backend, &path));
        } else if entry.name != "LOCK" {
            found.push(path);
        }
    }
    found
}

impl Whole {
    fn with(&self, path: &Path, damage: Damage) -> MemoryBackend {
        let image = self.backend.image();
        let mut bytes = image.read(path).unwrap();
        image.remove_file(path).unwrap();
        match damage {
            Damage::Flip(at) => bytes[at] ^= 0x41,
            Damage::Zero(at) => bytes[at] = 0,
            Damage::Cut(at) => bytes.truncate(at),
            Damage::Remove => return image,
        }
        write_file(&image, path, &bytes).unwrap();
        image
    }
}

fn dir() -> PathBuf {
    Path::new(PATH).join("collections/c")
}

fn open(backend: &MemoryBackend) -> Result<(Store, Arc<CollectionStore>)> {
    let store = Store::open(PATH, options(backend.clone()))?;
    let collection = store.collection("c")?;
    Ok((store, collection))
}

fn repair(backend: &MemoryBackend) -> Result<RepairReport> {
    Store::repair(PATH, options(backend.clone()), Some("c"))?
        .pop()
        .unwrap()
        .1
}

/// Reads everything; what can be read must be what was written.
fn read(c: &CollectionStore, expected: &BTreeMap<u64, u32>) -> Vec<StorageError> {
    let snapshot = c.snapshot();
    let mut errors = Vec::new();
    for (id, version) in expected {
        match snapshot.get(&(*id).into()) {
            Ok(found) => {
                let found = found.unwrap_or_else(|| panic!("document {id} is gone without an error"));
                let wanted = record(*id, *version);
                assert_eq!(
                    (found.text, found.payload, found.dense),
                    (wanted.text, wanted.payload, wanted.dense)
                );
                assert_eq!(found.vectors, wanted.vectors);
                assert_eq!(found.tokens.unwrap().len(), wanted.tokens.unwrap().len());
            }
            Err(error) => errors.push(error),
        }
    }
    errors
}

fn is_typed(error: &StorageError, about: &Path) -> bool {
    match error {
        StorageError::Corruption { file, .. } | StorageError::VersionTooNew { file, .. } => {
            file == about || about.ends_with("CURRENT") || !file.starts_with(about)
        }
        StorageError::Io { path, .. } => path == about,
        _ => false,
    }
}

/// Bytes that a check finds damaged, or that mean nothing.
fn means_nothing(path: &Path, at: usize) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    if name.starts_with("tombstones") {
        let half = whole().backend.read(path).unwrap().len() / 2;
        return (28..32).contains(&(at % half));
    }
    path.parent().unwrap().ends_with("wal") && name != "closed" && (36..40).contains(&at)
}

fn try_one(path: &Path, damage: Damage) -> (bool, RepairReport) {
    let whole = whole();
    let image = whole.with(path, damage);
    let unchanged = matches!(damage, Damage::Zero(at) if whole.backend.read(path).unwrap()[at] == 0);
    let opened = open(&image.image());
    match &opened {
        Ok((_store, c)) => {
            for error in read(c, &whole.expected) {
                assert!(is_typed(&error, path), "{path:?} {damage:?}: {error}");
            }
            assert_eq!(
                c.snapshot().len(),
                whole.expected.len() as u64,
                "{path:?} {damage:?}"
            );
        }
        Err(error) => assert!(is_typed(error, path), "{path:?} {damage:?}: {error}"),
    }
    let findings = survey(&image, &dir()).unwrap();
    let found = findings
        .iter()
        .any(|finding| finding.severity > Severity::Unfinished);
    let nothing = match damage {
        Damage::Flip(at) | Damage::Zero(at) => unchanged || means_nothing(path, at),
        Damage::Remove => path.ends_with("closed"),
        Damage::Cut(_) => false,
    };
    let expected = !nothing;
    assert!(found || !expected, "{path:?} {damage:?} is not found");
    assert!(!found || expected, "{path:?} {damage:?}: {findings:?}");
    if found {
        assert!(
            findings
                .iter()
                .any(|finding| finding.path == path || path.starts_with(&finding.path)),
            "{path:?} {damage:?}: {findings:?}"
        );
    }
    drop(opened);
    let report = repair(&image).unwrap_or_else(|error| panic!("{path:?} {damage:?}: {error}"));
    let (_store, c) = open(&image).unwrap();
    let mended = contents(&c);
    let ids: BTreeSet<u64> = whole.expected.keys().copied().collect();
    for (id, version) in &mended {
        // Who was deleted may be back only where the report says so.
        let right = whole.expected.get(id) == Some(version);
        assert!(
            right || !report.uncertain.is_empty(),
            "{path:?} {damage:?}: document {id} {version}"
        );
    }
    let missing = ids.iter().filter(|id| !mended.contains_key(id)).count() as u64;
    let told = missing <= report.lost || report.uncertain.iter().any(|line| line.contains("log"));
    assert!(
        told,
        "{path:?} {damage:?}: {missing} documents are missing: {report:?}"
    );
    assert!(survey(&image, &dir()).unwrap().is_empty(), "{path:?} {damage:?}");
    drop((_store, c));
    assert!(
        !repair(&image).unwrap().changed(),
        "a second repair has nothing to do"
    );
    (missing == 0 && mended == whole.expected, report)
}

fn is_metadata(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    ["CURRENT", "manifest", "tombstones", "meta"]
        .iter()
        .any(|kind| name.starts_with(kind))
        || path.parent().unwrap().ends_with("wal")
}

/// Every byte of what is metadata, and of heads and trailers; of the rest one in `step`.
fn places(path: &Path, length: usize, step: usize) -> Vec<usize> {
    let near = |at: usize| at < 16 || at + 80 >= length;
    (0..length)
        .filter(|at| is_metadata(path) || near(*at) || at % step == 0)
        .collect()
}

#[test]
fn every_file_cut_or_removed_is_told_and_mended() {
    let whole = whole();
    let mut lossless = 0;
    let files = files(&whole.backend, &dir());
    for path in &files {
        let length = whole.backend.read(path).unwrap().len();
        for damage in [0, 1, length / 2, length - 1]
            .map(Damage::Cut)
            .into_iter()
            .chain([Damage::Remove])
        {
            lossless += usize::from(try_one(path, damage).0);
        }
    }
    assert!(
        files.len() > 20 && lossless > files.len(),
        "{lossless} of {} files",
        files.len()
    );
}

#[test]
fn every_byte_flipped_or_zeroed_is_told_and_mended() {
    let whole = whole();
    for path in files(&whole.backend, &dir()) {
        let length = whole.backend.read(&path).unwrap().len();
        for at in places(&path, length, 211) {
            let damage = if at % 2 == 0 {
                Damage::Flip(at)
            } else {
                Damage::Zero(at)
            };
            try_one(&path, damage);
        }
    }
}

#[test]
fn what_is_kept_twice_or_derived_is_mended_without_loss() {
    let whole = whole();
    let derived = [
        "CURRENT",
        "manifest",
        "graph",
        "ivf",
        "columns",
        "meta",
        "codebooks",
        "tokens",
        "original",
    ];
    for path in files(&whole.backend, &dir()) {
        let name = path.strip_prefix(dir()).unwrap().to_str().unwrap().to_owned();
        let length = whole.backend.read(&path).unwrap().len();
        let raw = path.with_file_name("original");
        let two_tiers = whole.backend.exists(&raw).unwrap();
        if derived.iter().any(|kind| name.contains(kind)) && (two_tiers || !name.contains("tokens")) {
            for damage in [
                Damage::Flip(length / 2),
                Damage::Flip(70.min(length - 1)),
                Damage::Remove,
            ] {
                let (lossless, report) = try_one(&path, damage);
                // With the tokens goes where each document's end.
                let no_ends = name.ends_with("tokens") && damage == Damage::Remove;
                assert!(lossless || no_ends, "{name} {damage:?}: {report:?}");
            }
        }
    }
}

#[test]
fn both_copies_of_the_manifest_lost_loses_no_document() {
    let whole = whole();
    let image = whole.backend.image();
    for path in files(&image, &dir()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.parent() == Some(&*dir()) && (name == "CURRENT" || name.starts_with("manifest")) {
            image.remove_file(&path).unwrap();
        }
    }
    assert!(open(&image.image()).is_err());
    let report = repair(&image).unwrap();
    assert!(report.lost == 0 && !report.uncertain.is_empty(), "{report:?}");
    let (_store, c) = open(&image).unwrap();
    assert_eq!(
        contents(&c),
        whole.expected,
        "versions, deletions and bulk loads in their order"
    );
    assert_eq!(**c.schema(), damaged_schema());
}

#[test]
fn a_merge_that_was_not_in_force_is_left_out_and_one_that_was_replaces_its_sources() {
    let backend = MemoryBackend::default();
    let store = Store::open(PATH, options(backend.clone())).unwrap();
    let c = store.create_collection("c", damaged_schema()).unwrap();
    for version in 1..4 {
        c.commit((0..10).map(|id| upsert(id, version)).collect()).unwrap();
        c.flush().unwrap();
    }
    c.commit(vec![delete(3)]).unwrap();
    c.flush().unwrap();
    // As if the merge had been published with its sources still there, and as if it had not been.
    let before = backend.image();
    c.optimize(&OptimizeOptions::default()).unwrap();
    let expected = contents(&c);
    for in_force in [false, true] {
        let image = backend.image();
        for path in files(&before, &dir().join("segments")) {
            if !image.exists(&path).unwrap() {
                image.create_dir_all(path.parent().unwrap()).unwrap();
                write_file(&image, &path, &before.read(&path).unwrap()).unwrap();
            }
        }
        let merged = c.snapshot().segments()[0].segment.dir().to_owned();
        if in_force {
            image.remove_file(&dir().join("segments/1/documents")).unwrap();
            crate::tombstones::write_tombstones(&image, &merged, 90, &[0].into_iter().collect()).unwrap();
        }
        for path in files(&image, &dir()) {
            if path.parent() == Some(&*dir()) {
                image.remove_file(&path).unwrap();
            }
        }
        repair(&image).unwrap();
        let (_store, c) = open(&image).unwrap();
        let mut wanted = expected.clone();
        if in_force {
            wanted.pop_first();
        }
        assert_eq!(contents(&c), wanted, "in force: {in_force}");
    }
}

#[test]
fn a_repair_that_is_cut_off_anywhere_can_be_done_again() {
    let whole = whole();
    let tokens = files(&whole.backend, &dir())
        .into_iter()
        .find(|path| path.ends_with("ids"))
        .unwrap();
    // Of the first the ids are left, of the second they are gone.
    for (cut, lost) in [(200, 0), (100, 1)] {
        let damaged = whole.with(&tokens, Damage::Cut(cut));
        let once = damaged.image();
        repair(&once).unwrap();
        let wanted = contents(&open(&once).unwrap().1);
        assert_eq!(wanted.len() + lost, whole.expected.len());
        for fault in [Fault::Other, Fault::Sync, Fault::Full] {
            let calls = (0..400).find(|fail_at| !cut_off(&damaged, &wanted, fault, *fail_at));
            assert!(calls.is_some_and(|calls| calls > 8), "{fault:?}: {calls:?} calls");
        }
    }
}

/// Repairs with a fault at a call, then without; whether the fault came to pass.
fn cut_off(damaged: &MemoryBackend, wanted: &BTreeMap<u64, u32>, fault: Fault, fail_at: i64) -> bool {
    let mut faulty = FaultyBackend::new();
    faulty.inner = damaged.image();
    faulty.arm(fault, fail_at);
    let result = Store::repair(PATH, options(faulty.clone()), None);
    let fired = faulty.fired();
    let image = faulty.inner.image();
    if matches!(&result, Ok(reports) if reports.iter().all(|(_, report)| report.is_ok())) {
        assert_eq!(
            &contents(&open(&image.image()).unwrap().1),
            wanted,
            "{fault:?} {fail_at} went by"
        );
    }
    repair(&image).unwrap();
    assert_eq!(&contents(&open(&image).unwrap().1), wanted, "{fault:?} {fail_at}");
    let kept = files(&image, Path::new(PATH))
        .into_iter()
        .filter(|path| path.ends_with("CURRENT"));
    assert!(kept.count() >= 2, "what was damaged is kept");
    fired
}

#[test]
fn one_wrong_byte_costs_nothing() {
    let whole = whole();
    for path in files(&whole.backend, &dir()) {
        if path.parent().unwrap().ends_with("wal") {
            continue;
        }
        let length = whole.backend.read(&path).unwrap().len();
        for at in [70, length / 2] {
            let (lossless, report) = try_one(&path, Damage::Flip(at.min(length - 1)));
            assert!(
                lossless && (report.lost, report.from_one_tier) == (0, 0),
                "{path:?} {at}: {report:?}"
            );
            assert!(report.uncertain.is_empty(), "{path:?} {at}: {report:?}");
        }
    }
}

#[test]
fn rows_whose_ids_are_lost_stand_for_no_other_document() {
    let backend = MemoryBackend::default();
    let store = Store::open(PATH, options(backend.clone())).unwrap();
    let c = store.create_collection("c", damaged_schema()).unwrap();
    // Lost integers are zeros, which read as the least id: that is the last.
    let load = (5_000..8_000).chain([1]).map(|id| record(id, 1)).collect();
    c.bulk(load, &|_| ControlFlow::Continue(())).unwrap();
    let expected = contents(&c);
    store.close().unwrap();
    let ids = files(&backend, &dir())
        .into_iter()
        .find(|path| path.ends_with("ids"));
    let whole = Whole { backend, expected };
    let once = whole.with(&ids.clone().unwrap(), Damage::Flip(5_000));
    let twice = Whole {
        backend: once,
        expected: whole.expected.clone(),
    };
    let image = twice.with(&ids.unwrap(), Damage::Flip(6_000));
    // Without a manifest only the newest row of an id stays.
    for path in files(&image, &dir()) {
        if path.parent() == Some(&*dir()) {
            image.remove_file(&path).unwrap();
        }
    }
    let report = repair(&image).unwrap();
    let left = contents(&open(&image).unwrap().1);
    // A block of 4,096 bytes, and no more.
    assert_eq!(
        (report.lost, left.len()),
        (1_024, whole.expected.len() - 1_024),
        "{report:?}"
    );
    assert!(left.contains_key(&1) && report.lost_ids.is_empty());
}

#[test]
fn a_bulk_load_is_newer_than_what_a_damaged_log_says_of_before() {
    let whole = whole();
    let log = files(&whole.backend, &dir())
        .into_iter()
        .rfind(|path| path.parent().unwrap().ends_with("wal"))
        .unwrap();
    let log = log.with_file_name("4");
    let bytes = whole.backend.read(&log).unwrap();
    // The frame of the load: its kind is 2.
    let load = (40..bytes.len() - 32)
        .find(|at| bytes[*at..].starts_with(b"LWfr") && bytes[at + 24] == 2)
        .unwrap();
    let image = whole.with(&log, Damage::Flip(load + 34));
    let report = repair(&image).unwrap();
    assert!(!report.uncertain.is_empty());
    let mended = contents(&open(&image).unwrap().1);
    assert_eq!(
        mended.get(&2192),
        Some(&4),
        "the load's version, not that of the change before it"
    );
    assert_eq!(mended, whole.expected);
}
