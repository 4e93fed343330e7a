//! What is left of one damaged file of a segment.

use std::ops::Range;
use std::path::Path;

use roaring::RoaringBitmap;

use super::guard::{GUARD_BYTES, Guard};
use super::header::{Header, PARAMS, Section};
use super::ids;
use super::patch::rows_touched;
use super::writer::{ComponentWriter, Written};
use crate::backend::StorageBackend;
use crate::error::Result;
use crate::mmap::MappedFile;
use crate::wire::FileKind;

/// Bytes that are copied at once.
const PART: usize = 1 << 20;
/// Blocks of a file that are searched for a single wrong byte at most.
const MOST_FIXED: usize = 256;

/// Bytes that one entry of a table of blocks of documents takes.
const BLOCK_ENTRY: usize = 24;

/// A file of which some ranges of bytes are lost.
pub(super) struct Remains {
    map: MappedFile,
    sections: Vec<Section>,
    pub(super) params: [u64; PARAMS],
    /// The lost bytes of the file, ascending, apart.
    bad: Vec<Range<usize>>,
    /// Bytes that are wrong and known: where, and what they should be.
    fixed: Vec<(usize, u8)>,
}

/// The ends of a segment's documents, in tokens, as far as they are known.
pub(super) struct EndsLeft {
    ends: Vec<u64>,
    /// Documents of which either end is lost.
    pub(super) lost: RoaringBitmap,
    /// The ends as they are stored; what is lost repeats the end before.
    pub(super) bytes: Vec<u8>,
}

impl Remains {
    pub(super) fn new(map: MappedFile, header: Header, guard: Option<&Guard>) -> Self {
        let mut remains = Self {
            bad: header
                .sections
                .iter()
                .filter_map(|s| damaged_section(&map, s))
                .collect(),
            map,
            sections: header.sections,
            params: header.params,
            fixed: Vec::new(),
        };
        if let Some(guard) = guard {
            remains.narrow(guard);
        }
        remains
    }

    /// Of damaged sections, keeps the blocks that are whole, and puts single wrong bytes right.
    fn narrow(&mut self, guard: &Guard) {
        let mut bad = Vec::new();
        for block in guard.damaged(&self.map).into_iter().flat_map(blocks) {
            let inside = |section: &Range<usize>| {
                let (start, end) = (block.start.max(section.start), block.end.min(section.end));
                (start < end).then_some(start..end)
            };
            let parts: Vec<Range<usize>> = self.bad.iter().filter_map(inside).collect();
            if parts.is_empty() {
                continue;
            }
            let wrong = (self.fixed.len() < MOST_FIXED).then(|| guard.wrong_byte(&self.map, block.start));
            match wrong.flatten() {
                Some(byte) => self.fixed.push(byte),
                None => bad.extend(parts),
            }
        }
        self.bad = bad;
    }

    /// How many bytes were put right.
    pub(super) fn fixed(&self) -> usize {
        self.fixed.len()
    }

    /// Whether every section is as it was written.
    pub(super) fn is_whole(&self) -> bool {
        self.sections
            .iter()
            .all(|section| self.bad_in(section.tag).is_empty())
    }

    fn section(&self, tag: u32) -> Option<Range<usize>> {
        let section = self.sections.iter().find(|s| s.tag == tag)?;
        let start = usize::try_from(section.offset).ok()?;
        Some(start..start.checked_add(usize::try_from(section.length).ok()?)?)
    }

    /// The lost bytes of a section, counted from its beginning.
    fn bad_in(&self, tag: u32) -> Vec<Range<usize>> {
        let Some(section) = self.section(tag) else {
            return std::iter::once(0..usize::MAX).collect();
        };
        let inside = |bad: &Range<usize>| {
            let (start, end) = (bad.start.max(section.start), bad.end.min(section.end));
            (start < end).then(|| start - section.start..end - section.start)
        };
        self.bad.iter().filter_map(inside).collect()
    }

    /// The bytes of a section; lost ones are whatever stands there, or missing.
    fn bytes(&self, tag: u32) -> Vec<u8> {
        let Some(section) = self.section(tag) else {
            return Vec::new();
        };
        let end = section.end.min(self.map.len());
        self.part(section.start.min(end)..end)
    }

    /// A part of the file, with what is lost as zeros and what is known put right.
    fn part(&self, range: Range<usize>) -> Vec<u8> {
        let end = range.end.min(self.map.len());
        let mut bytes = self
            .map
            .get(range.start.min(end)..end)
            .unwrap_or_default()
            .to_vec();
        bytes.resize(range.len(), 0);
        for bad in &self.bad {
            let (start, end) = (bad.start.max(range.start), bad.end.min(range.end));
            if start < end
                && let Some(lost) = bytes.get_mut(start - range.start..end - range.start)
            {
                lost.fill(0);
            }
        }
        for (at, byte) in self.fixed.iter().filter(|(at, _)| range.contains(at)) {
            if let Some(wrong) = bytes.get_mut(at - range.start) {
                *wrong = *byte;
            }
        }
        bytes
    }

    /// Rows of which a section with `width` bytes a row, or the section itself, lacks something.
    pub(super) fn lost_rows(&self, rows: u32, sections: &[(u32, usize)]) -> RoaringBitmap {
        let mut lost = RoaringBitmap::new();
        for (tag, width) in sections.iter().filter(|(_, width)| *width > 0) {
            for bad in self.bad_in(*tag) {
                insert(&mut lost, rows_touched(&bad, *width), rows);
            }
        }
        lost
    }

    /// Whether a file of ids has room for so many rows.
    pub(super) fn has_rows(&self, rows: u32) -> bool {
        let rows = rows as usize;
        let (tag, bytes) = match ids::Layout::of(&self.params) {
            Some(ids::Layout::Offsets) => (ids::OFFSETS, (rows + 1) * size_of::<u64>()),
            Some(ids::Layout::Keys) => (ids::ENDS, rows * ends_width(self.params[3])),
            Some(ids::Layout::Integers(width)) => (ids::INTEGERS, rows * width),
            None => return false,
        };
        // A section of nothing may be left out.
        self.section(tag).unwrap_or_default().len() == bytes
    }

    /// Rows whose id is lost, and what is to be written instead of a section.
    pub(super) fn lost_ids(&self, rows: u32) -> (RoaringBitmap, Vec<(u32, Vec<u8>)>) {
        match ids::Layout::of(&self.params) {
            Some(ids::Layout::Integers(width)) => {
                (self.lost_rows(rows, &[(ids::INTEGERS, width)]), Vec::new())
            }
            Some(ids::Layout::Keys) => {
                let ends = self.ends_in(ids::ENDS, rows, self.params[3]);
                let lost = ends.lost_rows(self, &[(ids::KEYS, 1)]) | &ends.lost;
                (lost, vec![(ids::ENDS, ends.bytes)])
            }
            Some(ids::Layout::Offsets) | None => (self.lost_by_offsets(rows), Vec::new()),
        }
    }

    /// Rows whose id is lost, in format version 1.
    fn lost_by_offsets(&self, rows: u32) -> RoaringBitmap {
        let mut lost = RoaringBitmap::new();
        for bad in self.bad_in(ids::OFFSETS) {
            let entries = rows_touched(&bad, size_of::<u64>());
            insert(&mut lost, entries.start.saturating_sub(1)..entries.end, rows);
        }
        let bad = self.bad_in(ids::KEYS);
        if bad.is_empty() {
            return lost;
        }
        let offsets = self.bytes(ids::OFFSETS);
        let offsets = bytemuck::allocation::pod_collect_to_vec::<u8, u64>(whole(&offsets, size_of::<u64>()));
        for row in (0..rows).filter(|row| !lost.contains(*row)).collect::<Vec<_>>() {
            let at = row as usize;
            let range = offsets.get(at).zip(offsets.get(at + 1));
            let hit = |(start, end): (&u64, &u64)| {
                bad.iter()
                    .any(|bad| (bad.start as u64) < *end && (bad.end as u64) > *start)
            };
            if range.is_none_or(hit) {
                lost.insert(row);
            }
        }
        lost
    }

    /// Rows whose block of documents is lost with its place in the table.
    pub(super) fn lost_blocks(&self, rows: u32) -> RoaringBitmap {
        let mut lost = RoaringBitmap::new();
        let table = self.bytes(2);
        let first = |entry: usize| {
            let row = table
                .get(entry.checked_mul(BLOCK_ENTRY)?.checked_add(20)?..)?
                .first_chunk::<4>()?;
            Some(u32::from_le_bytes(*row))
        };
        let bad = self.bad_in(2);
        for range in &bad {
            let entries = rows_touched(range, BLOCK_ENTRY);
            // The block before has lost its end, and the number of its rows with it.
            let start = entries.start.checked_sub(1).and_then(first).unwrap_or(0);
            let end = first(entries.end)
                .filter(|_| entries.end < usize::MAX)
                .unwrap_or(rows);
            insert(&mut lost, start as usize..end.max(start) as usize, rows);
        }
        lost
    }

    /// The ends of the documents of a file of tokens.
    pub(super) fn ends(&self, rows: u32, total: u64) -> EndsLeft {
        self.ends_in(2, rows, total)
    }

    /// The ends of rows that a section has.
    pub(super) fn ends_in(&self, tag: u32, rows: u32, total: u64) -> EndsLeft {
        let width = ends_width(total);
        let bytes = self.bytes(tag);
        let mut lost = RoaringBitmap::new();
        let bad = self.bad_in(tag);
        let mut bad_entries = RoaringBitmap::new();
        for range in &bad {
            let entries = rows_touched(range, width);
            insert(&mut bad_entries, entries.clone(), rows);
            insert(&mut lost, entries.start..entries.end.saturating_add(1), rows);
        }
        let mut ends = Vec::with_capacity(rows.min(1 << 24) as usize);
        let mut left = Vec::new();
        let mut last = 0;
        for row in 0..rows {
            let at = row as usize * width;
            let stored = bytes.get(at..at + width).map(|b| {
                b.iter()
                    .rev()
                    .fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
            });
            let is_last = row + 1 == rows;
            let end = match stored.filter(|end| !bad_entries.contains(row) && *end >= last && *end <= total) {
                Some(end) if !is_last || end == total => end,
                _ => {
                    lost.insert(row);
                    insert(&mut lost, row as usize..row as usize + 2, rows);
                    if is_last { total } else { last }
                }
            };
            last = end;
            ends.push(end);
            left.extend_from_slice(end.to_le_bytes().get(..width).unwrap_or_default());
        }
        EndsLeft {
            ends,
            lost,
            bytes: left,
        }
    }

    /// The ascending rows, below `rows`, that a section lists, and those of them that may be missing from it. What is lost is
    /// filled up with the rows after the one before.
    pub(super) fn documents(&self, tag: u32, count: u32, rows: u32) -> (Vec<u32>, RoaringBitmap) {
        let mut bad = RoaringBitmap::new();
        for range in self.bad_in(tag) {
            insert(&mut bad, rows_touched(&range, size_of::<u32>()), count);
        }
        let bytes = self.bytes(tag);
        let stored = |place: u32| {
            let number = bytes
                .get(place as usize * size_of::<u32>()..)?
                .first_chunk::<4>()?;
            Some(u32::from_le_bytes(*number)).filter(|_| !bad.contains(place))
        };
        let (mut documents, mut lost) = (Vec::new(), RoaringBitmap::new());
        let (mut next, mut unknown) = (0, false);
        for place in 0..count {
            // There must be room for those that come.
            let fits =
                |row: &u32| *row >= next && u64::from(*row) + u64::from(count - place) <= u64::from(rows);
            let known = stored(place).filter(fits);
            let row = known.unwrap_or(next);
            if unknown || known.is_none() {
                // It may have been any from the one known before to the one known next.
                lost.insert_range(next..row.max(next));
            }
            if known.is_none() {
                lost.insert(row);
            }
            unknown = known.is_none();
            documents.push(row);
            next = row.saturating_add(1);
        }
        if unknown {
            lost.insert_range(next.min(rows)..rows);
        }
        (documents, lost)
    }

    /// Writes a whole file with what is left, zeros for the rest, and other bytes for some sections.
    pub(super) fn write(
        &self,
        backend: &dyn StorageBackend,
        path: &Path,
        kind: FileKind,
        replaced: &[(u32, Vec<u8>)],
    ) -> Result<Written> {
        let tags: Vec<u32> = self.sections.iter().map(|section| section.tag).collect();
        let mut writer = ComponentWriter::create(backend, path, kind, &tags)?;
        for tag in tags {
            match replaced.iter().find(|(other, _)| *other == tag) {
                Some((_, bytes)) => writer.append(tag, bytes)?,
                None => self.write_section(&mut writer, kind, tag)?,
            }
        }
        Ok(writer.finish(self.params)?.written)
    }

    fn write_section(&self, writer: &mut ComponentWriter<'_>, kind: FileKind, tag: u32) -> Result<()> {
        let bad = self.bad_in(tag);
        if kind.0 == *b"TOKS" && tag == 5 && !bad.is_empty() {
            // How far tokens are from their centroids is measured again.
            return Ok(());
        }
        let section = self.section(tag).unwrap_or_default();
        for start in section.clone().step_by(PART) {
            writer.append(tag, &self.part(start..(start + PART).min(section.end)))?;
        }
        Ok(())
    }
}

impl EndsLeft {
    /// Documents of which a section with `width` bytes a token lacks something.
    pub(super) fn lost_rows(&self, remains: &Remains, sections: &[(u32, usize)]) -> RoaringBitmap {
        let mut lost = RoaringBitmap::new();
        for (tag, width) in sections.iter().filter(|(_, width)| *width > 0) {
            for bad in remains.bad_in(*tag) {
                let tokens = rows_touched(&bad, *width);
                let first = self.ends.partition_point(|end| *end <= tokens.start as u64);
                let past = self.ends.partition_point(|end| *end < tokens.end as u64) + 1;
                insert(
                    &mut lost,
                    first..past,
                    u32::try_from(self.ends.len()).unwrap_or(u32::MAX),
                );
            }
        }
        lost
    }
}

/// The blocks of a range that begins with one.
fn blocks(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range
        .step_by(GUARD_BYTES)
        .map(move |start| start..(start + GUARD_BYTES).min(end))
}

fn damaged_section(map: &MappedFile, section: &Section) -> Option<Range<usize>> {
    let start = usize::try_from(section.offset).ok()?;
    let range = start..start.checked_add(usize::try_from(section.length).ok()?)?;
    let whole = map
        .get(range.clone())
        .is_some_and(|bytes| crc32fast::hash(bytes) == section.crc);
    (!whole).then_some(range)
}

fn insert(rows: &mut RoaringBitmap, range: Range<usize>, below: u32) {
    let clamp = |row: usize| u32::try_from(row).unwrap_or(below).min(below);
    rows.insert_range(clamp(range.start)..clamp(range.end));
}

/// Bytes of an end of ranges that come to `total`.
fn ends_width(total: u64) -> usize {
    if total > u64::from(u32::MAX) { 8 } else { 4 }
}

/// As many whole numbers of `width` bytes as there are.
fn whole(bytes: &[u8], width: usize) -> &[u8] {
    bytes.get(..bytes.len() / width * width).unwrap_or_default()
}
