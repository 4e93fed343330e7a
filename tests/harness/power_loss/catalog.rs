//! The catalog, whose files sled writes past the recorder: they are taken before and after what writes them, and mixed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use latewood::{Database, DatabaseOptions, Maintenance};

use crate::ledger::Collections;
use crate::operation::{Operation, read_all};
use crate::random::Random;

const SECTOR: usize = 512;
/// Images of a round.
const IMAGES: usize = 40;
/// sled is known to wait for itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Files below a folder, by their path in it.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A round; the states of the catalog that were mixed, and the images.
pub(super) fn one(seed: u64) -> Result<(u64, u64), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = folder.path().join("db");
    let mut random = Random::new(seed);
    let (states, contents) = states(&path, &mut random)?;
    for image in 0..IMAGES {
        let at = random.index(states.len() - 1);
        let damaged = mix(&states[at], &states[at + 1], &mut random);
        let (path, contents, round) = (path.clone(), contents.clone(), random.bits());
        let (done, finished) = mpsc::channel();
        // What hangs cannot be ended, so it is left behind.
        std::thread::spawn(move || done.send(examine(&path, &damaged, &contents, round)));
        finished
            .recv_timeout(PATIENCE)
            .map_err(|_| "it hangs or panics".to_owned())
            .and_then(|examined| examined)
            .map_err(|what| format!("image {image}, between states {at} and {}: {what}", at + 1))?;
    }
    Ok((states.len() as u64, IMAGES as u64))
}

fn options() -> DatabaseOptions {
    Database::options().maintenance(Maintenance::Manual).threads(1)
}

/// The catalog's files at several moments, and what the database holds at the last.
fn states(path: &Path, random: &mut Random) -> Result<(Vec<Files>, Collections), String> {
    let text = |error: latewood::Error| error.to_string();
    let catalog = path.join("catalog");
    let mut states = vec![Files::new()];
    let database = options().open(path).map_err(text)?;
    let operations = [
        ("a", Operation::Create),
        ("a", Operation::Ingest((0..20).collect())),
        ("a", Operation::Optimize),
        ("b", Operation::Create),
        ("b", Operation::Upsert(random.below(9))),
        ("b", Operation::Optimize),
        ("a", Operation::Optimize),
        ("b", Operation::Drop),
        ("a", Operation::Upsert(random.below(20))),
    ];
    for (version, (collection, operation)) in (1..).zip(operations) {
        operation.run(&database, collection, version).map_err(text)?;
        states.push(read_files(&catalog).map_err(|error| error.to_string())?);
    }
    let contents = read_all(&database)?;
    database.close().map_err(text)?;
    states.push(read_files(&catalog).map_err(|error| error.to_string())?);
    Ok((states, contents))
}

/// Each file as before, as after, in sectors of both and of zeros, cut short, or gone.
fn mix(before: &Files, after: &Files, random: &mut Random) -> Files {
    let names: std::collections::BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
    let empty = Vec::new();
    let mut image = Files::new();
    for name in names {
        let of = |files: &Files| files.get(name).cloned();
        let (old, new) = (
            before.get(name).unwrap_or(&empty),
            after.get(name).unwrap_or(&empty),
        );
        let bytes = match random.below(8) {
            0 => of(before),
            1 | 2 => of(after),
            3 => None,
            4 => {
                let longest = [old, new][random.index(2)];
                let cuts = [0, 1, longest.len() / 2, longest.len().saturating_sub(1)];
                let cut = match random.index(5) {
                    4 => random.index(longest.len() + 1),
                    n => cuts[n].min(longest.len()),
                };
                Some(longest[..cut].to_vec())
            }
            _ => Some(sectors(old, new, random)),
        };
        image.extend(bytes.map(|bytes| (name.clone(), bytes)));
    }
    image
}

fn sectors(old: &[u8], new: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; [old, new][random.index(2)].len()];
    let zeros = random.one_in(2);
    for (number, sector) in bytes.chunks_mut(SECTOR).enumerate() {
        let start = number * SECTOR;
        let part = |from: &'_ [u8]| -> Vec<u8> {
            let from = from.get(start..).unwrap_or_default();
            from[..from.len().min(sector.len())].to_vec()
        };
        let (was, is) = (part(old), part(new));
        // What has not changed was not written.
        let chosen = match random.below(3) {
            _ if was == is => is,
            0 => was,
            1 if zeros => Vec::new(),
            _ => is,
        };
        sector[..chosen.len()].copy_from_slice(&chosen);
    }
    bytes
}

/// Opens the database with these files for its catalog: nothing is refused, and nothing but measured values is missing.
fn examine(path: &Path, image: &Files, contents: &Collections, seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    put_files(&path.join("catalog"), image).map_err(|error| error.to_string())?;
    for read_only in [true, false] {
        let database = options()
            .read_only(read_only)
            .open(path)
            .map_err(|error| format!("it does not open: {error}"))?;
        let found = read_all(&database)?;
        if &found != contents {
            return Err(format!("found {found:?} instead of {contents:?}"));
        }
        let collection = database.collection("a").map_err(|error| error.to_string())?;
        collection.stats().map_err(|error| error.to_string())?;
        if !read_only && random.one_in(4) {
            Operation::Optimize
                .run(&database, "a", 0)
                .map_err(|error| format!("it cannot be optimized: {error}"))?;
        }
        if random.one_in(2) {
            database.close().map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

fn read_files(dir: &Path) -> io::Result<Files> {
    let mut found = Files::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(folder) = waiting.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
            } else if let Ok(name) = path.strip_prefix(dir) {
                found.insert(name.to_owned(), fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

fn put_files(dir: &Path, files: &Files) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for (name, bytes) in files {
        let path = dir.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, bytes)?;
    }
    Ok(())
}
