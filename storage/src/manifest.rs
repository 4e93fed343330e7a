//! The manifest: which files make up a collection. Replacing it is the only way in which files become visible.
//!
//! `manifest-N` is a file header, the length and the CRC-32 of an rkyv archive, and the archive, validated before it is
//! read. `CURRENT` names the manifest in force by its number and its checksum.

use std::path::{Path, PathBuf};

use rkyv::rancor::Error as ArchiveError;
use rkyv::util::AlignedVec;

use crate::backend::StorageBackend;
use crate::checksum::crc32;
use crate::error::{IoContext, Result, StorageError};
use crate::schema::Schema;
use crate::wire::{FileKind, HEADER_BYTES, NUMBERS_END, Put, Reader, number_in_name};

/// Bytes before the archive: file header, length (u64), CRC-32, four reserved. A multiple of 16.
const PREFIX_BYTES: usize = HEADER_BYTES + 16;
/// Bytes of `CURRENT` before the copy of the manifest.
const CURRENT_BYTES: usize = HEADER_BYTES + 16;
const MANIFEST: &str = "manifest-";

/// Which files make up a collection.
#[derive(Clone, Debug, Default, PartialEq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(crate) struct Manifest {
    /// Its own number; one more than the one that it replaces, or higher.
    pub(crate) number: u64,
    /// A number drawn when the collection was created, by which it differs from an earlier one of its name.
    pub(crate) uid: u64,
    /// The last change that the segments hold whole. Later ones are in the logs.
    pub(crate) sequence: u64,
    /// The schema as JSON.
    pub(crate) schema: String,
    /// The segments, in order of position.
    pub(crate) segments: Vec<SegmentEntry>,
    /// The codebooks in use; the last is the one that new segments are coded with.
    pub(crate) codebooks: Vec<u64>,
    /// The first log to replay.
    pub(crate) first_log: u64,
    /// Bulk loads in force whose frames are in those logs, by sequence number.
    pub(crate) loads: Vec<u64>,
    /// Segment numbers from here on were never used.
    pub(crate) next_segment: u64,
    /// Codebook numbers from here on were never used.
    pub(crate) next_codebook: u64,
}

/// A segment in force.
#[derive(Clone, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(crate) struct SegmentEntry {
    /// Its folder under `segments/`.
    pub(crate) id: u64,
    /// Its documents, deleted ones included.
    pub(crate) rows: u32,
    /// The number of its `tombstones-MMM` file; 0 when nothing is deleted.
    pub(crate) tombstones: u64,
}

impl Manifest {
    /// The schema, decoded.
    pub(crate) fn schema(&self, collection: &Path) -> Result<Schema> {
        let path = manifest_path(collection, self.number);
        serde_json::from_str(&self.schema).map_err(|error| {
            StorageError::corruption(&path, PREFIX_BYTES as u64, "a schema", error.to_string())
        })
    }

    /// The file's bytes.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let archive = rkyv::to_bytes::<ArchiveError>(self).map_err(|error| StorageError::InvalidSchema {
            reason: format!("it cannot be archived: {error}"),
        })?;
        let mut bytes = FileKind::MANIFEST.header().to_vec();
        bytes.put_u64(archive.len() as u64);
        bytes.put_u32(crc32(&archive));
        bytes.put_u32(0);
        bytes.extend_from_slice(&archive);
        Ok(bytes)
    }

    /// What [`Self::encode`] wrote to `file`.
    pub(crate) fn decode(file: &Path, bytes: &[u8]) -> Result<Self> {
        let rest = FileKind::MANIFEST.check(file, bytes)?;
        let mut reader = Reader::with_base(file, rest, HEADER_BYTES as u64);
        let (len, crc, _reserved) = (reader.u64()?, reader.u32()?, reader.u32()?);
        if len != reader.remaining() as u64 {
            return Err(reader.corruption(
                format!("an archive of {len} bytes"),
                reader.remaining().to_string(),
            ));
        }
        let offset = reader.offset();
        let archive = reader.bytes(reader.remaining())?;
        let damaged = |expected: &str, found: String| StorageError::corruption(file, offset, expected, found);
        let found = crc32(archive);
        if found != crc {
            return Err(damaged(
                "the archive's checksum",
                format!("{found:08x} instead of {crc:08x}"),
            ));
        }
        let mut aligned = AlignedVec::<16>::with_capacity(archive.len());
        aligned.extend_from_slice(archive);
        let manifest = rkyv::from_bytes::<Self, ArchiveError>(&aligned)
            .map_err(|error| damaged("a manifest", error.to_string()))?;
        let too_high = manifest.numbers().find(|number| *number >= NUMBERS_END);
        match too_high {
            None => Ok(manifest),
            Some(number) => {
                let expected = format!("numbers below {NUMBERS_END}");
                Err(damaged(&expected, number.to_string()))
            }
        }
    }

    /// Every number that is counted on from.
    fn numbers(&self) -> impl Iterator<Item = u64> {
        let segments = self
            .segments
            .iter()
            .flat_map(|entry| [entry.id, entry.tombstones]);
        let lists = self.codebooks.iter().chain(&self.loads).copied();
        let single = [
            self.number,
            self.sequence,
            self.first_log,
            self.next_segment,
            self.next_codebook,
        ];
        single.into_iter().chain(segments).chain(lists)
    }
}

/// Which manifest is in force, and a copy of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Current {
    pub(crate) number: u64,
    /// The CRC-32 of the whole manifest file.
    pub(crate) crc: u32,
    /// The bytes of the manifest's file, should it be damaged; empty where the copy is damaged itself.
    pub(crate) copy: Vec<u8>,
}

impl Current {
    /// The pointer to a manifest whose file has these bytes.
    pub(crate) fn to(number: u64, manifest: Vec<u8>) -> Self {
        Self {
            number,
            crc: crc32(&manifest),
            copy: manifest,
        }
    }

    /// The file's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = FileKind::CURRENT.header().to_vec();
        bytes.put_u64(self.number);
        bytes.put_u32(self.crc);
        let crc = crc32(bytes.get(HEADER_BYTES..).unwrap_or_default());
        bytes.put_u32(crc);
        bytes.extend_from_slice(&self.copy);
        bytes
    }

    /// What [`Self::encode`] wrote to `file`. Damage to the copy is no error: it is left out.
    pub(crate) fn decode(file: &Path, bytes: &[u8]) -> Result<Self> {
        let rest = FileKind::CURRENT.check(file, bytes)?;
        let mut reader = Reader::with_base(file, rest, HEADER_BYTES as u64);
        let (number, whole, crc) = (reader.u64()?, reader.u32()?, reader.u32()?);
        if crc != crc32(rest.get(..12).unwrap_or_default()) {
            return Err(reader.corruption("the checksum of CURRENT", format!("{crc:08x}")));
        }
        let copy = reader.bytes(reader.remaining())?;
        let copy = if crc32(copy) == whole { copy } else { &[] };
        Ok(Self {
            number,
            crc: whole,
            copy: copy.to_vec(),
        })
    }
}

/// The file of manifest `number`.
pub(crate) fn manifest_path(collection: &Path, number: u64) -> PathBuf {
    collection.join(format!("{MANIFEST}{number}"))
}

/// The number of a manifest file, from its name.
pub(crate) fn manifest_number(name: &str) -> Option<u64> {
    number_in_name(name.strip_prefix(MANIFEST)?)
}

/// The pointer to the manifest in force.
pub(crate) fn current_path(collection: &Path) -> PathBuf {
    collection.join("CURRENT")
}

/// Reads the manifest in force, and whether something stands in for it and is to be written anew.
///
/// A damaged or missing `CURRENT` is stood in for by the highest manifest: it is the one in force, or one whose files
/// were all durable when the process ended. A damaged or missing manifest is stood in for by its copy in `CURRENT`. With
/// neither it is an error: an older one would take back what was acknowledged since.
pub(crate) fn read_manifest(backend: &dyn StorageBackend, collection: &Path) -> Result<(Manifest, bool)> {
    let path = current_path(collection);
    let current = match backend.read(&path).at("read", &path) {
        Ok(bytes) => Current::decode(&path, &bytes),
        Err(error) => Err(error),
    };
    match current {
        Ok(current) => match read_numbered(backend, collection, current.number, Some(current.crc)) {
            Ok(manifest) => Ok((manifest, false)),
            Err(error @ StorageError::VersionTooNew { .. }) => Err(error),
            Err(error) if current.copy.is_empty() => Err(error),
            Err(error) => {
                tracing::warn!(%error, "the manifest cannot be read; its copy in CURRENT stands in for it");
                Ok((decode_numbered(&path, current.number, &current.copy)?, true))
            }
        },
        Err(error @ StorageError::VersionTooNew { .. }) => Err(error),
        Err(error) => {
            let names = backend.list(collection).at("list", collection)?;
            let Some(highest) = names
                .iter()
                .filter_map(|entry| manifest_number(&entry.name))
                .max()
            else {
                return Err(error);
            };
            tracing::warn!(%error, highest, "CURRENT cannot be read; the highest manifest stands in for it");
            Ok((read_numbered(backend, collection, highest, None)?, true))
        }
    }
}

/// What is wrong with `CURRENT` and with the manifest that it names, each by itself.
pub(crate) fn damaged_pointers(backend: &dyn StorageBackend, collection: &Path) -> Vec<StorageError> {
    let path = current_path(collection);
    let current = match backend.read(&path).at("read", &path) {
        Ok(bytes) => Current::decode(&path, &bytes).map(|current| (bytes.len() > CURRENT_BYTES, current)),
        Err(error) => Err(error),
    };
    match current {
        Err(error) => vec![error],
        Ok((copied, current)) => {
            let manifest = read_numbered(backend, collection, current.number, Some(current.crc)).err();
            let damaged = copied && current.copy.is_empty();
            let copy = damaged.then(|| {
                let expected = "a copy of the manifest with its checksum";
                StorageError::corruption(&path, CURRENT_BYTES as u64, expected, "another")
            });
            manifest.into_iter().chain(copy).collect()
        }
    }
}

fn read_numbered(
    backend: &dyn StorageBackend,
    collection: &Path,
    number: u64,
    crc: Option<u32>,
) -> Result<Manifest> {
    let path = manifest_path(collection, number);
    let bytes = backend.read(&path).at("read", &path)?;
    let manifest = decode_numbered(&path, number, &bytes)?;
    match crc {
        Some(crc) if crc != crc32(&bytes) => {
            let found = format!("{:08x}", crc32(&bytes));
            Err(StorageError::corruption(
                &path,
                0,
                format!("the checksum in CURRENT, {crc:08x}"),
                found,
            ))
        }
        _ => Ok(manifest),
    }
}

fn decode_numbered(file: &Path, number: u64, bytes: &[u8]) -> Result<Manifest> {
    let manifest = Manifest::decode(file, bytes)?;
    if manifest.number == number {
        return Ok(manifest);
    }
    let (expected, found) = (
        format!("manifest {number}"),
        format!("manifest {}", manifest.number),
    );
    Err(StorageError::corruption(
        file,
        PREFIX_BYTES as u64,
        expected,
        found,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{MemoryBackend, write_file};

    fn sample() -> Manifest {
        Manifest {
            number: 3,
            uid: 11,
            sequence: 77,
            schema: serde_json::to_string(&Schema::default()).unwrap(),
            segments: vec![
                SegmentEntry {
                    id: 1,
                    rows: 10,
                    tombstones: 0,
                },
                SegmentEntry {
                    id: 4,
                    rows: 2000,
                    tombstones: 3,
                },
            ],
            codebooks: vec![2],
            first_log: 5,
            loads: vec![79],
            next_segment: 6,
            next_codebook: 3,
        }
    }

    #[test]
    fn numbers_that_no_writer_reaches_are_damage() {
        type Change = fn(&mut Manifest);
        let changes: [Change; 5] = [
            |m| m.sequence = u64::MAX,
            |m| m.first_log = NUMBERS_END,
            |m| m.next_segment = u64::MAX,
            |m| m.segments[0].tombstones = u64::MAX,
            |m| m.codebooks.push(u64::MAX),
        ];
        for change in changes {
            let mut manifest = sample();
            change(&mut manifest);
            let error = Manifest::decode(Path::new("manifest-3"), &manifest.encode().unwrap()).unwrap_err();
            assert!(matches!(error, StorageError::Corruption { .. }), "{error}");
        }
        assert_eq!(manifest_number(&format!("manifest-{}", u64::MAX)), None);
    }

    #[test]
    fn a_manifest_comes_back_and_no_flipped_bit_passes() {
        let bytes = sample().encode().unwrap();
        let file = Path::new("manifest-3");
        assert_eq!(Manifest::decode(file, &bytes).unwrap(), sample());
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let reserved = (28..32).contains(&(bit / 8));
            assert_eq!(Manifest::decode(file, &bad).is_ok(), reserved, "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(Manifest::decode(file, &bytes[..cut]).is_err(), "cut {cut}");
        }
    }

    #[test]
    fn current_comes_back_and_no_flipped_bit_passes() {
        let current = Current::to(9, vec![7; 20]);
        let bytes = current.encode();
        assert_eq!(Current::decode(Path::new("CURRENT"), &bytes).unwrap(), current);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            match Current::decode(Path::new("CURRENT"), &bad) {
                Ok(read) => assert!(
                    bit >= 32 * 8 && read.number == 9 && read.copy.is_empty(),
                    "bit {bit}"
                ),
                Err(_) => assert!(bit < 32 * 8, "bit {bit}"),
            }
        }
    }

    #[test]
    fn a_damaged_pointer_is_stood_in_for_but_no_damaged_manifest() {
        let backend = MemoryBackend::default();
        let dir = Path::new("/c");
        backend.create_dir_all(dir).unwrap();
        let bytes = sample().encode().unwrap();
        write_file(&backend, &manifest_path(dir, 3), &bytes).unwrap();
        assert_eq!(
            read_manifest(&backend, dir).unwrap(),
            (sample(), true),
            "no CURRENT"
        );
        write_file(&backend, &current_path(dir), b"garbage").unwrap();
        assert_eq!(
            read_manifest(&backend, dir).unwrap(),
            (sample(), true),
            "garbage in CURRENT"
        );
        write_file(&backend, &manifest_path(dir, 4), &bytes[..40]).unwrap();
        assert!(matches!(
            read_manifest(&backend, dir).unwrap_err(),
            StorageError::Corruption { .. }
        ));
        backend.remove_file(&current_path(dir)).unwrap();
        let current = Current::to(3, bytes);
        write_file(&backend, &current_path(dir), &current.encode()).unwrap();
        assert_eq!(
            read_manifest(&backend, dir).unwrap(),
            (sample(), false),
            "an unfinished successor is ignored"
        );
        backend.remove_file(&manifest_path(dir, 3)).unwrap();
        assert_eq!(
            read_manifest(&backend, dir).unwrap(),
            (sample(), true),
            "the copy in CURRENT stands in"
        );
        backend.remove_file(&current_path(dir)).unwrap();
        let current = Current {
            copy: Vec::new(),
            ..current
        };
        write_file(&backend, &current_path(dir), &current.encode()).unwrap();
        assert!(
            read_manifest(&backend, dir).unwrap_err().is_not_found(),
            "neither is there"
        );
    }
}
