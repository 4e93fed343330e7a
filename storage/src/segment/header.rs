//! The frame around every file of a segment: a head, sections at multiples of 64 bytes, a section table, a trailer.
//!
//! The table stands behind the sections, because a file is appended to and never rewritten: its writer learns the
//! lengths last. Nothing here is trusted before the checksum over head, table and trailer has been compared, and no
//! length takes part in arithmetic before it has been compared with the file's. docs/format.md has the byte map.

use std::path::Path;

use crate::error::{Result, StorageError};
use crate::wire::{FileKind, HEADER_BYTES, MAGIC, Put, Reader};

/// Sections begin at multiples of this, so that any row of numbers can be read in place.
pub(crate) const ALIGNMENT: u64 = 64;
/// Numbers in the trailer that describe the component.
pub(crate) const PARAMS: usize = 6;

pub(super) const HEAD_BYTES: usize = 64;
const ENTRY_BYTES: usize = 32;
/// File length, table offset, number of sections, params, checksum, magic.
pub(super) const TRAILER_BYTES: usize = 3 * 8 + PARAMS * 8 + 4 + MAGIC.len();

/// One section: `length` bytes at `offset`, which have this CRC-32.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) tag: u32,
    pub(crate) crc: u32,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// What the table and the trailer say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) params: [u64; PARAMS],
    pub(crate) sections: Vec<Section>,
    /// The CRC-32 over head, table and trailer: with it, the segment's meta file names exactly this file.
    pub(crate) crc: u32,
}

/// The first bytes of a file of this kind.
pub(crate) fn head(kind: FileKind) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..HEADER_BYTES].copy_from_slice(&kind.header());
    head
}

impl Header {
    /// The table and the trailer of a file whose sections end at `end`, a multiple of 64; fills in the checksum.
    pub(crate) fn seal(&mut self, kind: FileKind, end: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.sections.len() * ENTRY_BYTES + TRAILER_BYTES);
        for section in &self.sections {
            bytes.put_u32(section.tag);
            bytes.put_u32(section.crc);
            bytes.put_u64(section.offset);
            bytes.put_u64(section.length);
            bytes.put_u64(0);
        }
        let file_length = end + (bytes.len() + TRAILER_BYTES) as u64;
        bytes.put_u64(file_length);
        bytes.put_u64(end);
        bytes.put_u64(self.sections.len() as u64);
        for param in self.params {
            bytes.put_u64(param);
        }
        self.crc = checksum(&head(kind), &bytes);
        bytes.put_u32(self.crc);
        bytes.extend_from_slice(&MAGIC);
        bytes
    }

    /// Reads the frame of a whole file; errors name `path`. Touches the file's first and last pages only.
    pub(crate) fn parse(path: &Path, file: &[u8], kind: FileKind) -> Result<Self> {
        kind.check(path, file)?;
        let trailer_at = file
            .len()
            .checked_sub(TRAILER_BYTES)
            .filter(|&at| at >= HEAD_BYTES);
        let (Some(trailer_at), Some(head)) = (trailer_at, file.get(..HEAD_BYTES)) else {
            let expected = format!("at least {} bytes", HEAD_BYTES + TRAILER_BYTES);
            return Err(StorageError::corruption(
                path,
                file.len() as u64,
                expected,
                file.len().to_string(),
            ));
        };
        let table_at = table_start(path, file, trailer_at)?;
        let tail = file.get(table_at..).unwrap_or_default();
        Self::parse_tail(path, head, tail, table_at)
    }

    /// What a table and a trailer say that are kept apart from their file of this kind, whose table is at `table_at`.
    pub(crate) fn of_tail(path: &Path, kind: FileKind, tail: &[u8], table_at: usize) -> Result<Self> {
        Self::parse_tail(path, &head(kind), tail, table_at)
    }

    fn parse_tail(path: &Path, head: &[u8], tail: &[u8], table_at: usize) -> Result<Self> {
        let mut reader = Reader::with_base(path, tail, table_at as u64);
        let count = tail.len().saturating_sub(TRAILER_BYTES) / ENTRY_BYTES;
        let mut sections = Vec::with_capacity(count);
        for _ in 0..count {
            let (tag, crc) = (reader.u32()?, reader.u32()?);
            let (offset, length, _reserved) = (reader.u64()?, reader.u64()?, reader.u64()?);
            sections.push(Section {
                tag,
                crc,
                offset,
                length,
            });
        }
        reader.bytes(3 * 8)?;
        let mut params = [0; PARAMS];
        for param in &mut params {
            *param = reader.u64()?;
        }
        let computed = checksum(
            head,
            tail.get(..tail.len() - reader.remaining()).unwrap_or_default(),
        );
        let at = reader.clone();
        let (crc, magic) = (reader.u32()?, reader.array::<4>()?);
        if crc != computed || magic != MAGIC {
            let found = format!("{crc:08x}{}", magic.escape_ascii());
            return Err(at.corruption(format!("the frame's checksum {computed:08x} and LTWD"), found));
        }
        check_sections(path, &sections, table_at)?;
        Ok(Self {
            params,
            sections,
            crc,
        })
    }
}

/// The section table's place, once the trailer's lengths agree with the file's.
fn table_start(path: &Path, file: &[u8], trailer_at: usize) -> Result<usize> {
    let trailer = file.get(trailer_at..).unwrap_or_default();
    let mut reader = Reader::with_base(path, trailer, trailer_at as u64);
    let length = reader.u64()?;
    if length != file.len() as u64 {
        return Err(StorageError::corruption(
            path,
            trailer_at as u64,
            format!("the file's length, {}", file.len()),
            length.to_string(),
        ));
    }
    let (table_at, sections) = (reader.u64()?, reader.u64()?);
    let room = usize::try_from(table_at)
        .ok()
        .filter(|&at| at >= HEAD_BYTES)
        .and_then(|at| trailer_at.checked_sub(at));
    let bytes = usize::try_from(sections)
        .ok()
        .and_then(|n| n.checked_mul(ENTRY_BYTES));
    match (room, bytes) {
        (Some(room), Some(bytes)) if room == bytes => Ok(trailer_at - bytes),
        _ => {
            let found = format!("{sections} sections at {table_at}");
            Err(reader.corruption(format!("a section table that ends at {trailer_at}"), found))
        }
    }
}

/// Sections lie between the head and the table, in order, apart, and at multiples of 64.
fn check_sections(path: &Path, sections: &[Section], table_at: usize) -> Result<()> {
    let mut end = HEAD_BYTES as u64;
    for (i, section) in sections.iter().enumerate() {
        let next = section
            .offset
            .checked_add(section.length)
            .filter(|&next| next <= table_at as u64);
        match next {
            Some(next) if section.offset >= end && section.offset % ALIGNMENT == 0 => end = next,
            _ => {
                return Err(StorageError::corruption(
                    path,
                    (table_at + i * ENTRY_BYTES) as u64,
                    format!("a section between {end} and {table_at} at a multiple of {ALIGNMENT}"),
                    format!("{} bytes at {}", section.length, section.offset),
                ));
            }
        }
    }
    Ok(())
}

fn checksum(head: &[u8], tail: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(tail);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::{ALIGNMENT, Header, Section, head};
    use crate::wire::FileKind;
    use proptest::prelude::*;
    use std::path::Path;

    const KIND: FileKind = FileKind(*b"TEST");

    fn parse(bytes: &[u8]) -> crate::error::Result<Header> {
        Header::parse(Path::new("f"), bytes, KIND)
    }

    fn file() -> Vec<u8> {
        let mut bytes = head(KIND).to_vec();
        bytes.extend_from_slice(&[7; 100]);
        bytes.resize(192, 0);
        let section = |tag, offset, length| Section {
            tag,
            crc: 0,
            offset,
            length,
        };
        let sections = vec![section(1, 64, 100), section(2, 192, 0)];
        let mut header = Header {
            params: [1, 2, 3, 4, 5, 6],
            sections,
            crc: 0,
        };
        let tail = header.seal(KIND, 192);
        bytes.extend_from_slice(&tail);
        assert_eq!(parse(&bytes).unwrap(), header);
        bytes
    }

    #[test]
    fn sealed_nonsense_is_refused() {
        for (offset, length) in [(65, 1), (0, 64), (64, u64::MAX), (1 << 40, 1), (128, 65)] {
            let sections = vec![Section {
                tag: 1,
                crc: 0,
                offset,
                length,
            }];
            let mut header = Header {
                params: [0; 6],
                sections,
                crc: 0,
            };
            let mut bytes = head(KIND).to_vec();
            bytes.resize(3 * 64, 0);
            bytes.extend_from_slice(&header.seal(KIND, 3 * ALIGNMENT));
            assert!(parse(&bytes).is_err(), "{length} bytes at {offset}");
        }
    }

    #[test]
    fn every_flip_and_every_cut_of_the_frame_is_noticed() {
        let good = file();
        for at in (0..64).chain(192..good.len()) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(parse(&bad).is_err(), "flip at {at}");
        }
        for length in 0..good.len() {
            assert!(parse(&good[..length]).is_err(), "cut to {length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(parse(&bytes).is_err());
            let mut framed = head(KIND).to_vec();
            framed.extend_from_slice(&bytes);
            prop_assert!(parse(&framed).is_err());
        }
    }
}
