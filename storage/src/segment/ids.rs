//! The ids of a segment's documents in order of ordinals, and the way back from an id to its ordinal.
//!
//! An id is a byte of kind (0 integer, 1 string) and its bytes. The way back is an array of the upper halves of the
//! ids' XXH3 hashes, sorted, and the ordinals in the same order: eight bytes a document, searched by bisection in
//! place. docs/format.md has the byte map.

use std::path::Path;

use latewood_codecs::kernel::prefetch;
use xxhash_rust::xxh3::xxh3_64;

use super::component::Component;
use super::reader::ComponentFile;
use super::writer::{ComponentWriter, Finished};
use crate::backend::StorageBackend;
use crate::document::DocumentId;
use crate::error::Result;

const BYTES: u32 = 1;
const OFFSETS: u32 = 2;
const HASHES: u32 = 3;
const ORDINALS: u32 = 4;

const INTEGER: u8 = 0;
const STRING: u8 = 1;

fn key(id: &DocumentId, out: &mut Vec<u8>) {
    match id {
        DocumentId::U64(n) => {
            out.push(INTEGER);
            out.extend_from_slice(&n.to_le_bytes());
        }
        DocumentId::Str(s) => {
            out.push(STRING);
            out.extend_from_slice(s.as_bytes());
        }
    }
}

fn hash(key: &[u8]) -> u32 {
    u32::try_from(xxh3_64(key) >> 32).unwrap_or(u32::MAX)
}

/// Writes the ids of a segment.
#[derive(Debug)]
pub(crate) struct IdsWriter<'a> {
    writer: ComponentWriter<'a>,
    end: u64,
    index: Vec<(u32, u32)>,
    key: Vec<u8>,
}

impl<'a> IdsWriter<'a> {
    pub(crate) fn create(backend: &'a dyn StorageBackend, dir: &Path) -> Result<Self> {
        let path = dir.join(Component::Ids.name());
        let tags = [BYTES, OFFSETS, HASHES, ORDINALS];
        let mut writer = ComponentWriter::create(backend, &path, Component::Ids.kind(), &tags)?;
        writer.append(OFFSETS, &0u64.to_le_bytes())?;
        Ok(Self {
            writer,
            end: 0,
            index: Vec::new(),
            key: Vec::new(),
        })
    }

    /// Appends the id of the next ordinal.
    pub(crate) fn push(&mut self, id: &DocumentId) -> Result<()> {
        self.key.clear();
        key(id, &mut self.key);
        self.writer.append(BYTES, &self.key)?;
        self.end += self.key.len() as u64;
        self.writer.append(OFFSETS, &self.end.to_le_bytes())?;
        let ordinal = crate::wire::to_u32(self.index.len())?;
        self.index.push((hash(&self.key), ordinal));
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<Finished> {
        self.index.sort_unstable();
        for (hash, ordinal) in &self.index {
            self.writer.append(HASHES, &hash.to_le_bytes())?;
            self.writer.append(ORDINALS, &ordinal.to_le_bytes())?;
        }
        self.writer.finish([self.index.len() as u64, 0, 0, 0, 0, 0])
    }
}

/// The ids of an open segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ids<'a> {
    file: &'a ComponentFile,
    rows: u32,
}

impl<'a> Ids<'a> {
    pub(crate) fn new(file: &'a ComponentFile, rows: u32) -> Self {
        Self { file, rows }
    }

    /// Begins to fetch some ids: first all the places where they stand, then all of them.
    pub(crate) fn fetch(self, ordinals: impl Iterator<Item = u32> + Clone) {
        let Ok(offsets) = self.file.numbers::<u64>(OFFSETS) else {
            return;
        };
        for at in ordinals.clone() {
            prefetch(
                offsets
                    .get(at as usize..)
                    .and_then(|rest| rest.get(..1))
                    .unwrap_or_default(),
            );
        }
        for ordinal in ordinals {
            prefetch(self.key(ordinal).unwrap_or_default());
        }
    }

    /// The stored form of an id.
    fn key(self, ordinal: u32) -> Result<&'a [u8]> {
        let offsets: &[u64] = self.file.exactly(OFFSETS, self.rows as usize + 1)?;
        let bytes = self.file.section(BYTES)?;
        let at = ordinal as usize;
        let range = offsets.get(at).zip(offsets.get(at + 1));
        let range = range.and_then(|(&a, &b)| Some(usize::try_from(a).ok()?..usize::try_from(b).ok()?));
        range.and_then(|r| bytes.get(r)).ok_or_else(|| {
            let found = format!("row {ordinal} of {}", self.rows);
            self.file.corruption_in(
                OFFSETS,
                u64::from(ordinal) * 8,
                "ascending offsets inside the ids",
                found,
            )
        })
    }

    /// The id of an ordinal below the number of rows.
    pub(crate) fn get(self, ordinal: u32) -> Result<DocumentId> {
        let key = self.key(ordinal)?;
        let id = match key.split_first() {
            Some((&INTEGER, bytes)) => bytes
                .try_into()
                .ok()
                .map(|b| DocumentId::U64(u64::from_le_bytes(b))),
            Some((&STRING, bytes)) => std::str::from_utf8(bytes).ok().map(DocumentId::from),
            _ => None,
        };
        id.ok_or_else(|| {
            let found = format!("{} other bytes for row {ordinal}", key.len());
            self.file
                .corruption_in(BYTES, 0, "an integer or a string of UTF-8", found)
        })
    }

    /// The ordinal of an id.
    pub(crate) fn find(self, id: &DocumentId) -> Result<Option<u32>> {
        let mut wanted = Vec::with_capacity(32);
        key(id, &mut wanted);
        let hash = hash(&wanted);
        let hashes: &[u32] = self.file.exactly(HASHES, self.rows as usize)?;
        let ordinals: &[u32] = self.file.exactly(ORDINALS, self.rows as usize)?;
        let first = hashes.partition_point(|&h| h < hash);
        for (_, &ordinal) in hashes
            .iter()
            .zip(ordinals)
            .skip(first)
            .take_while(|(h, _)| **h == hash)
        {
            if self.key(ordinal)? == wanted {
                return Ok(Some(ordinal));
            }
        }
        Ok(None)
    }
}
