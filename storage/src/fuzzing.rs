//! Every decoder of a file, for tests that feed them what no writer wrote.

use std::path::Path;

use crate::backend::{MemoryBackend, StorageBackend, write_file};
use crate::error::Result;
use crate::manifest::{Current, Manifest};
use crate::segment::{Codebook, decode_component, unpack_postings};
use crate::tombstones::{damaged_tombstones, read_tombstones, tombstones_path};
use crate::wal::{Closed, closed_path, decode_batch, decode_ids, read_log, whole_frames};
use crate::wire::Reader;

/// Decodes a file of the kind that its header names, as far as that can be done without the others. Whether all of it
/// was right; the point is that nothing panics.
///
/// # Errors
/// What is wrong with it.
pub fn decode_file(bytes: &[u8]) -> Result<()> {
    let path = Path::new("/f/file");
    match bytes.get(4..8).unwrap_or_default() {
        b"MANI" => Manifest::decode(path, bytes)?.schema(path).map(drop),
        b"CURR" => Current::decode(path, bytes).map(drop),
        b"WAL " => decode_log(path, bytes),
        b"TOMB" => {
            let backend = memory(&tombstones_path(Path::new("/f"), 1), bytes)?;
            let first = read_tombstones(&backend, Path::new("/f"), 1, 1000).map(drop);
            first.and(damaged_tombstones(&backend, Path::new("/f"), 1, 1000))
        }
        b"CLOS" => {
            let folder = Path::new("/f");
            Closed::read(&memory(&closed_path(folder), bytes)?, folder).map(drop)
        }
        b"CODB" => {
            let [first, others @ ..] = Codebook::paths(path);
            let backend = memory(&first, bytes)?;
            for other in &others {
                write_file(&backend, other, bytes)?;
            }
            Codebook::decode_alone(&backend, path).map(drop)
        }
        _ => decode_component(&memory(path, bytes)?, path),
    }
}

/// Decodes a log's payload: a batch, and ids.
///
/// # Errors
/// What is wrong with it.
pub fn decode_payload(bytes: &[u8]) -> Result<()> {
    let path = Path::new("wal");
    let batch = decode_batch(&mut Reader::new(path, bytes)).map(drop);
    batch.and(decode_ids(&mut Reader::new(path, bytes)).map(drop))
}

/// Decodes a collection's values in the catalog as read-only handles do; whether they are whole.
#[must_use]
pub fn decode_readers_copy(text: &str) -> bool {
    crate::catalog::parse_readers_copy(text).is_some()
}

/// Unpacks a posting list of so many rows below a limit; whether it is one.
#[must_use]
pub fn unpack(bytes: &[u8], count: usize, limit: u32) -> bool {
    let mut rows = Vec::new();
    unpack_postings(bytes, count, limit, &mut rows).is_some()
}

fn decode_log(path: &Path, bytes: &[u8]) -> Result<()> {
    for frame in whole_frames(bytes) {
        decode_payload(frame.payload).ok();
    }
    let number = bytes.get(16..).and_then(<[u8]>::first_chunk::<8>);
    read_log(
        path,
        number.map_or(0, |number| u64::from_le_bytes(*number)),
        bytes,
    )
    .map(drop)
}

fn memory(path: &Path, bytes: &[u8]) -> Result<MemoryBackend> {
    let backend = MemoryBackend::default();
    if let Some(folder) = path.parent() {
        backend
            .create_dir_all(folder)
            .map_err(|error| crate::StorageError::io("create", folder, error))?;
    }
    write_file(&backend, path, bytes)?;
    Ok(backend)
}
