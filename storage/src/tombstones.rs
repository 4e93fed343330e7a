//! The deleted rows of a segment, in memory and on disk. On disk they are a file header, the length and CRC-32 of a Roaring
//! bitmap in its portable format, and the bitmap.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use roaring::RoaringBitmap;

use crate::backend::{StorageBackend, write_file};
use crate::checksum::crc32;
use crate::error::{IoContext, Result, StorageError};
use crate::wire::{FileKind, HEADER_BYTES, Put, Reader, number_in_name};

const TOMBSTONES: &str = "tombstones-";

/// The deleted rows of a segment. The rows that live are kept beside them once they have been asked for: every query asks.
#[derive(Clone, Debug, Default)]
pub struct Tombstones {
    rows: RoaringBitmap,
    live: OnceLock<Arc<[u64]>>,
}

impl Tombstones {
    /// The rows below `rows` that are not deleted, a bit each, from the lowest of the first word upwards. `rows` is always the
    /// segment's number of rows.
    pub(crate) fn live(&self, rows: u32) -> &Arc<[u64]> {
        self.live.get_or_init(|| {
            let mut words = vec![u64::MAX; rows.div_ceil(64) as usize];
            if let (Some(last), true) = (words.last_mut(), !rows.is_multiple_of(64)) {
                *last = (1 << (rows % 64)) - 1;
            }
            self.rows.iter().for_each(|row| clear(&mut words, row));
            words.into()
        })
    }

    /// Adds a row.
    pub(crate) fn insert(&mut self, row: u32) {
        self.rows.insert(row);
        let Some(mut live) = self.live.take() else {
            return;
        };
        // Snapshots share it until the first row of a batch.
        clear(Arc::make_mut(&mut live), row);
        self.live = live.into();
    }
}

fn clear(words: &mut [u64], row: u32) {
    if let Some(word) = words.get_mut((row / 64) as usize) {
        *word &= !(1 << (row % 64));
    }
}

impl Deref for Tombstones {
    type Target = RoaringBitmap;

    fn deref(&self) -> &RoaringBitmap {
        &self.rows
    }
}

impl From<RoaringBitmap> for Tombstones {
    fn from(rows: RoaringBitmap) -> Self {
        Self {
            rows,
            live: OnceLock::new(),
        }
    }
}

impl FromIterator<u32> for Tombstones {
    fn from_iter<I: IntoIterator<Item = u32>>(rows: I) -> Self {
        rows.into_iter().collect::<RoaringBitmap>().into()
    }
}

/// The file of tombstones `number` in a segment's folder.
pub(crate) fn tombstones_path(segment: &Path, number: u64) -> PathBuf {
    segment.join(format!("{TOMBSTONES}{number}"))
}

/// The number of a tombstones file, from its name.
pub(crate) fn tombstones_number(name: &str) -> Option<u64> {
    number_in_name(name.strip_prefix(TOMBSTONES)?)
}

/// Writes a new file, durable on return with its name.
pub(crate) fn write_tombstones(
    backend: &dyn StorageBackend,
    segment: &Path,
    number: u64,
    rows: &RoaringBitmap,
) -> Result<()> {
    let path = tombstones_path(segment, number);
    let mut bitmap = Vec::with_capacity(rows.serialized_size());
    rows.serialize_into(&mut bitmap).at("encode", &path)?;
    let mut bytes = FileKind::TOMBSTONES.header().to_vec();
    bytes.put_u64(bitmap.len() as u64);
    bytes.put_u32(crc32(&bitmap));
    bytes.put_u32(0);
    bytes.extend_from_slice(&bitmap);
    // Nothing else says what was deleted: should a part of the file be damaged, the other is whole.
    bytes.extend_from_within(..);
    write_file(backend, &path, &bytes)?;
    backend.sync_dir(segment).at("sync", segment)
}

/// Reads a file of a segment of so many rows: either of the two copies in it that is whole.
pub(crate) fn read_tombstones(
    backend: &dyn StorageBackend,
    segment: &Path,
    number: u64,
    rows: u32,
) -> Result<RoaringBitmap> {
    let path = tombstones_path(segment, number);
    let bytes = backend.read(&path).at("read", &path)?;
    let error = match decode(&path, &bytes, 0, rows) {
        Ok((bitmap, _)) => return Ok(bitmap),
        Err(error @ StorageError::VersionTooNew { .. }) => return Err(error),
        Err(error) => error,
    };
    let (second, _) = decode(&path, &bytes, bytes.len() / 2, rows).map_err(|_| error.clone())?;
    tracing::warn!(%error, "a list of deleted rows is damaged; its second copy stands in for it");
    Ok(second)
}

/// What is wrong with either of the copies.
pub(crate) fn damaged_tombstones(
    backend: &dyn StorageBackend,
    segment: &Path,
    number: u64,
    rows: u32,
) -> Result<()> {
    let path = tombstones_path(segment, number);
    let bytes = backend.read(&path).at("read", &path)?;
    let (first, end) = decode(&path, &bytes, 0, rows)?;
    let (second, _) = decode(&path, &bytes, end, rows)?;
    if first == second && end * 2 == bytes.len() {
        return Ok(());
    }
    Err(StorageError::corruption(
        &path,
        end as u64,
        "a second copy",
        "other rows",
    ))
}

/// The copy that begins at `start`, and where it ends.
fn decode(path: &Path, bytes: &[u8], start: usize, rows: u32) -> Result<(RoaringBitmap, usize)> {
    let rest = FileKind::TOMBSTONES.check(path, bytes.get(start..).unwrap_or_default())?;
    let mut reader = Reader::with_base(path, rest, (start + HEADER_BYTES) as u64);
    let (len, crc, _reserved) = (reader.u64()?, reader.u32()?, reader.u32()?);
    let offset = reader.offset();
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let bitmap = reader.bytes(len)?;
    let damaged = |expected: String, found: String| StorageError::corruption(path, offset, expected, found);
    if crc32(bitmap) != crc {
        return Err(damaged(
            "the bitmap's checksum".to_owned(),
            format!("{:08x}", crc32(bitmap)),
        ));
    }
    let bitmap = RoaringBitmap::deserialize_from(bitmap)
        .map_err(|error| damaged("a Roaring bitmap".to_owned(), error.to_string()))?;
    match bitmap.max() {
        Some(max) if max >= rows => Err(damaged(format!("rows below {rows}"), max.to_string())),
        _ => Ok((bitmap, bytes.len() - reader.remaining())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::MemoryBackend;

    #[test]
    fn live_rows_follow_what_is_deleted_and_those_of_a_clone_stay() {
        let of = |words: &[u64]| -> Vec<u32> {
            let bits = (0..).take(64 * words.len()).zip(
                words
                    .iter()
                    .flat_map(|word| (0..64).map(move |bit| word >> bit & 1)),
            );
            bits.filter(|(_, bit)| *bit == 1).map(|(row, _)| row).collect()
        };
        let mut tombstones: Tombstones = [1, 64, 69, 900].into_iter().collect();
        let expected = |dead: &[u32]| (0..70).filter(|row| !dead.contains(row)).collect::<Vec<u32>>();
        assert_eq!(of(tombstones.live(70)), expected(&[1, 64, 69]));
        let before = tombstones.clone();
        tombstones.insert(3);
        tombstones.insert(65);
        assert_eq!(of(tombstones.live(70)), expected(&[1, 3, 64, 65, 69]));
        assert_eq!(of(before.live(70)), expected(&[1, 64, 69]));
        assert_eq!((tombstones.len(), before.len()), (6, 4));
        assert_eq!(of(Tombstones::default().live(64)).len(), 64);
    }

    #[test]
    fn tombstones_come_back_and_no_flipped_bit_passes() {
        let backend = MemoryBackend::default();
        let dir = Path::new("/s");
        backend.create_dir_all(dir).unwrap();
        let rows: RoaringBitmap = [1, 5, 900].into_iter().collect();
        write_tombstones(&backend, dir, 7, &rows).unwrap();
        assert_eq!(read_tombstones(&backend, dir, 7, 901).unwrap(), rows);
        assert!(
            read_tombstones(&backend, dir, 7, 900).is_err(),
            "a row that the segment does not have"
        );
        let path = tombstones_path(dir, 7);
        assert_eq!(tombstones_number("tombstones-7"), Some(7));
        let good = backend.read(&path).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            backend.remove_file(&path).unwrap();
            write_file(&backend, &path, &bad).unwrap();
            assert_eq!(read_tombstones(&backend, dir, 7, 901).unwrap(), rows, "bit {bit}");
            let reserved = (28..32).contains(&(bit / 8 % (good.len() / 2)));
            assert_eq!(
                damaged_tombstones(&backend, dir, 7, 901).is_ok(),
                reserved,
                "bit {bit}"
            );
            for at in [20, good.len() / 2 + 20] {
                bad[at] ^= 0x55;
            }
            backend.remove_file(&path).unwrap();
            write_file(&backend, &path, &bad).unwrap();
            assert!(read_tombstones(&backend, dir, 7, 901).is_err(), "both, bit {bit}");
        }
    }
}
