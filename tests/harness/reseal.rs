//! Makes the checksums of changed database files right again, as docs/format.md says: what is left is what a hostile file is.

use std::fs;
use std::path::{Path, PathBuf};

use latewood_storage::checksum::crc32;

/// Bytes of a segment file's trailer.
const TRAILER: usize = 80;

fn u64_at(bytes: &[u8], at: usize) -> Option<usize> {
    let number = bytes.get(at..)?.first_chunk::<8>()?;
    usize::try_from(u64::from_le_bytes(*number)).ok()
}

fn put_u32(bytes: &mut [u8], at: usize, number: u32) -> Option<()> {
    bytes.get_mut(at..at + 4)?.copy_from_slice(&number.to_le_bytes());
    Some(())
}

/// Puts the CRC-32 of a range at a place.
fn seal(bytes: &mut [u8], range: std::ops::Range<usize>, at: usize) -> Option<()> {
    let crc = crc32(bytes.get(range)?);
    put_u32(bytes, at, crc)
}

/// Makes the checksums in a file's bytes right; `None` where the file is too short for them, or lengths lead out of it.
pub fn reseal(bytes: &mut [u8]) -> Option<()> {
    seal(bytes, 0..12, 12)?;
    let kind: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
    let length = bytes.len();
    match &kind {
        b"MANI" => seal(bytes, 32..length, 24),
        b"CURR" => seal(bytes, 16..28, 28),
        b"CLOS" => seal(bytes, 16..32, 32),
        b"TOMB" => {
            let half = length / 2;
            seal(bytes, 32..half, 24)?;
            seal(bytes, half..half + 12, half + 12)?;
            seal(bytes, half + 32..length, half + 24)
        }
        b"WAL " => {
            seal(bytes, 16..32, 32)?;
            frames(bytes)
        }
        _ => sections(bytes),
    }
}

fn frames(log: &mut [u8]) -> Option<()> {
    let mut at = 40;
    while at + 32 <= log.len() {
        let len = u32::from_le_bytes(*log.get(at + 4..)?.first_chunk::<4>()?) as usize;
        let end = at
            .checked_add(32)?
            .checked_add(len)
            .filter(|end| *end <= log.len())?;
        let mut sealed = log.get(at..at + 28)?.to_vec();
        sealed.extend_from_slice(log.get(at + 32..end)?);
        put_u32(log, at + 28, crc32(&sealed))?;
        at = end;
    }
    Some(())
}

fn sections(file: &mut [u8]) -> Option<()> {
    let trailer = file.len().checked_sub(TRAILER)?;
    let (table, count) = (u64_at(file, trailer + 8)?, u64_at(file, trailer + 16)?);
    for entry in 0..count.min(1000) {
        let entry = table.checked_add(entry * 32)?;
        let (offset, length) = (
            u64_at(file, entry.checked_add(8)?)?,
            u64_at(file, entry.checked_add(16)?)?,
        );
        seal(file, offset..offset.checked_add(length)?, entry + 4)?;
    }
    let mut sealed = file.get(..64)?.to_vec();
    sealed.extend_from_slice(file.get(table..trailer.checked_add(72)?)?);
    put_u32(file, trailer + 72, crc32(&sealed))
}

/// What a segment's meta file knows another file by.
fn identity(file: &[u8]) -> Option<Vec<u8>> {
    let crc = file.get(file.len().checked_sub(8)?..)?.first_chunk::<4>()?;
    let mut identity = (file.len() as u64).to_le_bytes().to_vec();
    identity.extend_from_slice(crc);
    Some(identity)
}

/// Writes other bytes of a file with checksums that are right, there and in the files that name it.
pub fn write_resealed(path: &Path, bytes: Vec<u8>) {
    for (path, bytes) in resealed(path, bytes, |path| fs::read(path).ok()) {
        fs::write(path, bytes).unwrap();
    }
}

/// What to write so that a file of a database has other bytes and all checksums are right, there and in the files that
/// name it. `read` gives what files hold before.
pub fn resealed(
    path: &Path,
    mut bytes: Vec<u8>,
    read: impl Fn(&Path) -> Option<Vec<u8>>,
) -> Vec<(PathBuf, Vec<u8>)> {
    let whole = reseal(&mut bytes).is_some();
    let mut changed = vec![(path.to_owned(), bytes.clone())];
    if !whole {
        return changed;
    }
    let beside = |name: &str| path.parent().map(|folder| folder.join(name)).unwrap_or_default();
    let meta = beside("meta");
    if bytes.get(4..8) == Some(b"MANI") {
        let current = beside("CURRENT");
        changed.extend(read(&current).map(|before| (current, pointing_to(before, &bytes))));
    } else if meta != path
        && let (Some(mut whole), Some(before)) = (read(&meta), read(path))
        && let (Some(old), Some(new)) = (identity(&before), identity(&bytes))
    {
        let places: Vec<usize> = (0..whole.len().saturating_sub(12))
            .filter(|at| whole[*at..*at + 12] == old)
            .collect();
        places
            .into_iter()
            .for_each(|at| whole[at..at + 12].copy_from_slice(&new));
        let _ = reseal(&mut whole);
        changed.push((meta, whole));
    }
    changed
}

/// CURRENT, made to name a manifest of these bytes.
fn pointing_to(mut current: Vec<u8>, manifest: &[u8]) -> Vec<u8> {
    current.truncate(32);
    if put_u32(&mut current, 24, crc32(manifest))
        .and_then(|()| reseal(&mut current))
        .is_some()
    {
        current.extend_from_slice(manifest);
    }
    current
}
