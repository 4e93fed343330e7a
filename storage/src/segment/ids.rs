//! The ids of a segment's documents in order of ordinals, and the way back from an id to its ordinal.
//!
//! Ids that are all integers stand in four bytes each, counted from the least, or in eight where that does not suffice; others
//! as a byte of kind (0 integer, 1 string) and their bytes. The way back is a bisection of integers that ascend, and of others an
//! array of the upper halves of the ids' XXH3 hashes, sorted, with the ordinals in the same order: eight bytes a document.
//! docs/format.md has the byte map.

use std::path::Path;

use latewood_codecs::kernel::prefetch;
use xxhash_rust::xxh3::xxh3_64;

use super::component::Component;
use super::ends::{Ends, write_ends};
use super::reader::ComponentFile;
use super::writer::{ComponentWriter, Finished};
use crate::backend::StorageBackend;
use crate::document::DocumentId;
use crate::error::Result;

pub(super) const KEYS: u32 = 1;
/// Where keys end in format version 1: rows + 1 offsets of eight bytes.
pub(super) const OFFSETS: u32 = 2;
const HASHES: u32 = 3;
const ORDINALS: u32 = 4;
pub(super) const ENDS: u32 = 5;
pub(super) const INTEGERS: u32 = 6;

const INTEGER: u8 = 0;
const STRING: u8 = 1;

/// How ids are laid out: the second param.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Keys, with offsets.
    Offsets,
    /// Keys, with their ends.
    Keys,
    /// Integers less the least of them, the third param, in so many bytes each.
    Integers(usize),
}

impl Layout {
    /// That of the params of a file.
    pub(super) fn of(params: &[u64]) -> Option<Self> {
        match params.get(1)? {
            0 => Some(Self::Offsets),
            1 => Some(Self::Keys),
            2 => Some(Self::Integers(4)),
            3 => Some(Self::Integers(8)),
            _ => None,
        }
    }
}

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
    /// The ids while all are integers.
    integers: Option<Vec<u64>>,
    /// Bytes of each key, once one is not.
    lengths: Vec<u16>,
    index: HashIndex,
}

impl<'a> IdsWriter<'a> {
    pub(crate) fn create(backend: &'a dyn StorageBackend, dir: &Path) -> Result<Self> {
        let path = dir.join(Component::Ids.name());
        let tags = [KEYS, ENDS, INTEGERS, HASHES, ORDINALS];
        Ok(Self {
            writer: ComponentWriter::create(backend, &path, Component::Ids.kind(), &tags)?,
            integers: Some(Vec::new()),
            lengths: Vec::new(),
            index: HashIndex::default(),
        })
    }

    /// Appends the id of the next ordinal.
    pub(crate) fn push(&mut self, id: &DocumentId) -> Result<()> {
        if let (Some(integers), DocumentId::U64(id)) = (&mut self.integers, id) {
            integers.push(*id);
            return Ok(());
        }
        for integer in self.integers.take().into_iter().flatten() {
            self.append(&DocumentId::U64(integer))?;
        }
        self.append(id)
    }

    fn append(&mut self, id: &DocumentId) -> Result<()> {
        let key = self.index.push(id)?;
        self.writer.append(KEYS, key)?;
        // Ids have at most 1,024 bytes.
        self.lengths.push(u16::try_from(key.len()).unwrap_or(u16::MAX));
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<Finished> {
        if let Some(integers) = self.integers.take() {
            return self.finish_integers(&integers);
        }
        self.index.write(&mut self.writer)?;
        let lengths = || self.lengths.iter().map(|length| usize::from(*length));
        let bytes = lengths().sum::<usize>() as u64;
        write_ends(&mut self.writer, ENDS, lengths(), bytes)?;
        let rows = self.lengths.len() as u64;
        self.writer.finish([rows, 1, 0, bytes, 0, 0])
    }

    fn finish_integers(mut self, ids: &[u64]) -> Result<Finished> {
        let ascend = ids.is_sorted_by(|a, b| a < b);
        if !ascend {
            for id in ids {
                self.index.push(&DocumentId::U64(*id))?;
            }
            self.index.write(&mut self.writer)?;
        }
        let least = ids.iter().min().copied().unwrap_or(0);
        let narrow: Option<Vec<u32>> = ids.iter().map(|id| u32::try_from(id - least).ok()).collect();
        let layout = if let Some(narrow) = narrow {
            self.writer.append(INTEGERS, bytemuck::cast_slice(&narrow))?;
            2
        } else {
            for id in ids {
                self.writer.append(INTEGERS, &(id - least).to_le_bytes())?;
            }
            3
        };
        self.writer
            .finish([ids.len() as u64, layout, least, 0, u64::from(ascend), 0])
    }
}

/// The hashes of ids and their ordinals, while they are collected.
#[derive(Debug, Default)]
struct HashIndex {
    entries: Vec<(u32, u32)>,
    key: Vec<u8>,
}

impl HashIndex {
    /// Adds the id of the next ordinal; returns its key.
    fn push(&mut self, id: &DocumentId) -> Result<&[u8]> {
        self.key.clear();
        key(id, &mut self.key);
        let ordinal = crate::wire::to_u32(self.entries.len())?;
        self.entries.push((hash(&self.key), ordinal));
        Ok(&self.key)
    }

    fn write(&mut self, writer: &mut ComponentWriter<'_>) -> Result<()> {
        self.entries.sort_unstable();
        for (hash, ordinal) in &self.entries {
            writer.append(HASHES, &hash.to_le_bytes())?;
            writer.append(ORDINALS, &ordinal.to_le_bytes())?;
        }
        Ok(())
    }
}

/// The ids of an open segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ids<'a> {
    file: &'a ComponentFile,
    rows: u32,
}

/// Ids as they are stored.
#[derive(Clone, Copy, Debug)]
enum Stored<'a> {
    Offsets(&'a [u8], &'a [u64]),
    Keys(&'a [u8], Ends<'a>),
    Narrow(u64, &'a [u32]),
    Wide(u64, &'a [u64]),
}

impl<'a> Stored<'a> {
    /// The stored form of a key.
    fn key(self, row: usize) -> Option<&'a [u8]> {
        match self {
            Self::Offsets(bytes, offsets) => {
                let start = usize::try_from(*offsets.get(row)?).ok()?;
                let end = usize::try_from(*offsets.get(row + 1)?).ok()?;
                bytes.get(start..end)
            }
            Self::Keys(bytes, ends) => bytes.get(ends.range(row)).filter(|key| !key.is_empty()),
            Self::Narrow(..) | Self::Wide(..) => None,
        }
    }

    /// An id that is kept as a number.
    fn integer(self, row: usize) -> Option<u64> {
        match self {
            Self::Narrow(least, ids) => least.checked_add(u64::from(*ids.get(row)?)),
            Self::Wide(least, ids) => least.checked_add(*ids.get(row)?),
            Self::Offsets(..) | Self::Keys(..) => None,
        }
    }

    /// Begins to fetch where an id stands.
    fn fetch_place(self, row: usize) {
        match self {
            Self::Offsets(_, offsets) => prefetch(offsets.get(row..=row).unwrap_or_default()),
            Self::Keys(_, ends) => ends.prefetch(row),
            Self::Narrow(_, ids) => prefetch(ids.get(row..=row).unwrap_or_default()),
            Self::Wide(_, ids) => prefetch(ids.get(row..=row).unwrap_or_default()),
        }
    }
}

impl<'a> Ids<'a> {
    pub(crate) fn new(file: &'a ComponentFile, rows: u32) -> Self {
        Self { file, rows }
    }

    fn stored(self) -> Result<Stored<'a>> {
        let (file, rows) = (self.file, self.rows as usize);
        let [_, _, least, bytes, ..] = file.params();
        Ok(match Layout::of(&file.params()) {
            Some(Layout::Offsets) => Stored::Offsets(file.section(KEYS)?, file.exactly(OFFSETS, rows + 1)?),
            Some(Layout::Keys) => {
                let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                Stored::Keys(file.section(KEYS)?, Ends::trusted(file, ENDS, rows, bytes)?)
            }
            Some(Layout::Integers(4)) => Stored::Narrow(least, file.exactly(INTEGERS, rows)?),
            Some(Layout::Integers(_)) => Stored::Wide(least, file.exactly(INTEGERS, rows)?),
            None => return Err(file.corruption(0, "a known layout of ids", "another")),
        })
    }

    /// Begins to fetch some ids: first all the places where they stand, then all of them.
    pub(crate) fn fetch(self, ordinals: impl Iterator<Item = u32> + Clone) {
        let Ok(stored) = self.stored() else {
            return;
        };
        ordinals.clone().for_each(|row| stored.fetch_place(row as usize));
        for row in ordinals {
            prefetch(stored.key(row as usize).unwrap_or_default());
        }
    }

    /// The id of an ordinal below the number of rows.
    pub(crate) fn get(self, ordinal: u32) -> Result<DocumentId> {
        let (stored, row) = (self.stored()?, ordinal as usize);
        if let Some(id) = stored.integer(row) {
            return Ok(DocumentId::U64(id));
        }
        let id = match stored.key(row).and_then(<[u8]>::split_first) {
            Some((&INTEGER, bytes)) => bytes
                .try_into()
                .ok()
                .map(|b| DocumentId::U64(u64::from_le_bytes(b))),
            Some((&STRING, bytes)) => std::str::from_utf8(bytes).ok().map(DocumentId::from),
            _ => None,
        };
        id.ok_or_else(|| {
            let found = format!("other bytes for row {ordinal} of {}", self.rows);
            self.file.corruption(0, "an integer or a string of UTF-8", found)
        })
    }

    /// The ordinal of an id.
    pub(crate) fn find(self, id: &DocumentId) -> Result<Option<u32>> {
        self.finder()?.find(id)
    }

    /// Finds the ordinals of many ids.
    pub(crate) fn finder(self) -> Result<Finder<'a>> {
        let stored = self.stored()?;
        let [_, _, _, _, ascend, _] = self.file.params();
        let index = if ascend == 1 {
            None
        } else {
            let rows = self.rows as usize;
            Some((
                self.file.exactly(HASHES, rows)?,
                self.file.exactly(ORDINALS, rows)?,
            ))
        };
        Ok(Finder {
            ids: self,
            stored,
            index,
            key: Vec::with_capacity(32),
        })
    }
}

/// The way back from ids to ordinals.
#[derive(Debug)]
pub(crate) struct Finder<'a> {
    ids: Ids<'a>,
    stored: Stored<'a>,
    /// Hashes and ordinals; none where the ids are integers that ascend.
    index: Option<(&'a [u32], &'a [u32])>,
    key: Vec<u8>,
}

impl Finder<'_> {
    /// The ordinal of an id.
    pub(crate) fn find(&mut self, id: &DocumentId) -> Result<Option<u32>> {
        let Some((hashes, ordinals)) = self.index else {
            return self.bisect(id).map(crate::wire::to_u32).transpose();
        };
        self.key.clear();
        key(id, &mut self.key);
        let hash = hash(&self.key);
        let first = hashes.partition_point(|&h| h < hash);
        let candidates = hashes.iter().zip(ordinals).skip(first);
        for (_, &ordinal) in candidates.take_while(|(h, _)| **h == hash) {
            if self.ids.get(ordinal)? == *id {
                return Ok(Some(ordinal));
            }
        }
        Ok(None)
    }

    fn bisect(&self, id: &DocumentId) -> Option<usize> {
        let DocumentId::U64(id) = id else { return None };
        match self.stored {
            Stored::Narrow(least, ids) => place_of(ids, &u32::try_from(id.checked_sub(least)?).ok()?),
            Stored::Wide(least, ids) => place_of(ids, &id.checked_sub(least)?),
            Stored::Offsets(..) | Stored::Keys(..) => None,
        }
    }
}

/// Where a number is among ascending ones. New ids are mostly beyond the last.
fn place_of<T: Ord>(ids: &[T], wanted: &T) -> Option<usize> {
    let within = ids.last().is_some_and(|last| wanted <= last);
    within.then(|| ids.binary_search(wanted).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use proptest::prelude::*;

    use super::{Ids, IdsWriter, Layout};
    use crate::backend::{MemoryBackend, StorageBackend};
    use crate::document::DocumentId;
    use crate::segment::component::Component;
    use crate::segment::reader::ComponentFile;

    /// Writes ids, sees that each is found where it is and others nowhere; their layout and the bytes of their file.
    fn round_trip(ids: &[DocumentId], others: &[DocumentId]) -> (Layout, usize) {
        let (backend, dir) = (MemoryBackend::default(), Path::new("/s"));
        backend.create_dir_all(dir).unwrap();
        let mut writer = IdsWriter::create(&backend, dir).unwrap();
        ids.iter().for_each(|id| writer.push(id).unwrap());
        writer.finish().unwrap();
        let path = dir.join(Component::Ids.name());
        let file = ComponentFile::open(&backend, &path, Component::Ids.kind()).unwrap();
        let stored = Ids::new(&file, u32::try_from(ids.len()).unwrap());
        stored.fetch(0..u32::try_from(ids.len()).unwrap() + 1);
        for (row, id) in (0..).zip(ids) {
            assert_eq!(stored.get(row).unwrap(), *id);
            assert_eq!(stored.find(id).unwrap(), Some(row));
        }
        assert!(stored.get(u32::try_from(ids.len()).unwrap()).is_err());
        let known: HashSet<&DocumentId> = ids.iter().collect();
        for other in others.iter().filter(|other| !known.contains(other)) {
            assert_eq!(stored.find(other).unwrap(), None);
        }
        let bytes = backend.read(&path).unwrap().len();
        (Layout::of(&file.params()).unwrap(), bytes)
    }

    #[test]
    fn integers_take_four_bytes_where_they_ascend() {
        let others = [0, 6, 10_000_000_999, u64::MAX].map(DocumentId::U64);
        let ascending: Vec<DocumentId> = (0..1_000)
            .map(|id| DocumentId::U64(10_000_000_000 + id))
            .collect();
        let (layout, bytes) = round_trip(&ascending, &others);
        assert!(
            layout == Layout::Integers(4) && bytes < 4 * 1_000 + 500,
            "{bytes}"
        );
        let mut shuffled = ascending.clone();
        shuffled.swap(3, 700);
        let (layout, bytes) = round_trip(&shuffled, &others);
        assert!(
            layout == Layout::Integers(4) && bytes > 12 * 1_000,
            "{layout:?} {bytes}"
        );
        let far = [5, 7, u64::MAX].map(DocumentId::U64);
        assert_eq!(round_trip(&far, &others).0, Layout::Integers(8));
        let mixed = [DocumentId::U64(5), DocumentId::from("5"), DocumentId::U64(4)];
        assert_eq!(round_trip(&mixed, &others).0, Layout::Keys);
        assert_eq!(round_trip(&[], &others).0, Layout::Integers(4));
    }

    proptest! {
        #[test]
        fn every_id_is_found_where_it_is(
            ids in proptest::collection::hash_set(prop_oneof![
                (0u64..400).prop_map(DocumentId::U64),
                any::<u64>().prop_map(DocumentId::U64),
                "[a-z]{1,3}".prop_map(|id: String| DocumentId::from(id.as_str())),
            ], 0..60),
            sorted: bool,
            strings: bool,
        ) {
            let all: Vec<DocumentId> = ids.into_iter().collect();
            let mut ids: Vec<DocumentId> = all.iter().filter(|id| strings || matches!(id, DocumentId::U64(_))).cloned().collect();
            if sorted {
                ids.sort();
            }
            round_trip(&ids, &all);
        }
    }
}
