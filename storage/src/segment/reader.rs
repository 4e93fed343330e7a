//! Reading one file of a segment: its frame at once, each section's checksum when the section is first used.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bytemuck::AnyBitPattern;

use super::component::Component;
use super::header::{ALIGNMENT, HEAD_BYTES, Header, PARAMS};
use super::writer::Written;
use crate::backend::StorageBackend;
use crate::error::{IoContext, Result, StorageError};
use crate::mmap::MappedFile;
use crate::read_ahead::{ReadAhead, in_order};
use crate::wire::FileKind;

/// An open file of a segment.
#[derive(Debug)]
pub(crate) struct ComponentFile {
    path: PathBuf,
    map: MappedFile,
    header: Header,
    /// Beside each section, the checksum that its bytes gave when they were first used.
    checked: Vec<OnceLock<u32>>,
}

impl ComponentFile {
    /// Maps a file and checks its frame.
    pub(crate) fn open(backend: &dyn StorageBackend, path: &Path, kind: FileKind) -> Result<Self> {
        // Of tokens a query reads a document here and there.
        let map = if kind == Component::Tokens.kind() {
            backend.map_and_keep(path)
        } else {
            backend.map(path)
        };
        let map = map.at("map", path)?;
        // Columns are read from one end to the other.
        if kind != Component::Columns.kind() {
            map.read_by_pages();
        }
        let header = Header::parse(path, &map, kind)?;
        let checked = header.sections.iter().map(|_| OnceLock::new()).collect();
        Ok(Self {
            path: path.to_owned(),
            map,
            header,
            checked,
        })
    }

    /// Refuses a whole file that is not the one which was written with this segment.
    pub(crate) fn expect(&self, written: Written) -> Result<()> {
        let found = self.written();
        if found == written {
            return Ok(());
        }
        let show = |w: Written| format!("{} bytes with frame checksum {:08x}", w.bytes, w.crc);
        Err(self.corruption(0, show(written), show(found)))
    }

    pub(crate) fn written(&self) -> Written {
        Written {
            bytes: self.map.len() as u64,
            crc: self.header.crc,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of the whole file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Where a section begins; 0 when there is none.
    pub(crate) fn offset_of(&self, tag: u32) -> u64 {
        let section = self.header.sections.iter().find(|s| s.tag == tag);
        section.map_or(0, |s| s.offset)
    }

    pub(crate) fn params(&self) -> [u64; PARAMS] {
        self.header.params
    }

    /// Damage at an offset of this file.
    pub(crate) fn corruption(
        &self,
        offset: u64,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> StorageError {
        StorageError::corruption(&self.path, offset, expected, found)
    }

    /// Damage noticed in a section, at an offset from its beginning.
    pub(crate) fn corruption_in(
        &self,
        tag: u32,
        offset: u64,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> StorageError {
        self.corruption(self.offset_of(tag).saturating_add(offset), expected, found)
    }

    /// The bytes of a section as they are: for sections whose parts carry checksums of their own.
    pub(crate) fn unchecked(&self, tag: u32) -> Result<&[u8]> {
        self.find(tag).map(|(_, bytes)| bytes)
    }

    /// The bytes of a section, once their checksum has been found right.
    pub(crate) fn section(&self, tag: u32) -> Result<&[u8]> {
        let (index, bytes) = self.find(tag)?;
        self.check(index, bytes)?;
        Ok(bytes)
    }

    /// A section as numbers, in place.
    pub(crate) fn numbers<T: AnyBitPattern>(&self, tag: u32) -> Result<&[T]> {
        let bytes = self.section(tag)?;
        bytemuck::try_cast_slice(bytes)
            .map_err(|error| self.corruption_in(tag, 0, "a section of whole numbers", error.to_string()))
    }

    /// A section as exactly `count` numbers.
    pub(crate) fn exactly<T: AnyBitPattern>(&self, tag: u32, count: usize) -> Result<&[T]> {
        let numbers = self.numbers(tag)?;
        if numbers.len() == count {
            return Ok(numbers);
        }
        Err(self.corruption_in(tag, 0, format!("{count} numbers"), numbers.len().to_string()))
    }

    /// Whether there is something in such a section: some came with later versions.
    pub(crate) fn has(&self, tag: u32) -> bool {
        self.header
            .sections
            .iter()
            .any(|section| section.tag == tag && section.length > 0)
    }

    /// Checks every section's checksum, and that what is between the sections is zero.
    pub(crate) fn verify(&self) -> Result<()> {
        let mut end = HEAD_BYTES as u64;
        for section in &self.header.sections {
            self.section(section.tag)?;
            self.check_gap(end, section.offset)?;
            end = section.offset + section.length;
        }
        self.check_gap(end, end.next_multiple_of(ALIGNMENT))
    }

    fn check_gap(&self, start: u64, end: u64) -> Result<()> {
        let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let gap = range
            .and_then(|(start, end)| self.map.get(start..end))
            .unwrap_or_default();
        match gap.iter().zip(start..).find(|(byte, _)| **byte != 0) {
            Some((byte, at)) => Err(self.corruption(at, "a zero between two sections", byte.to_string())),
            None => Ok(()),
        }
    }

    fn find(&self, tag: u32) -> Result<(usize, &[u8])> {
        let index = self.header.sections.iter().position(|s| s.tag == tag);
        let section = index.and_then(|i| self.header.sections.get(i));
        // The frame's parser has found every section inside the file.
        let range = section.and_then(|s| {
            let start = usize::try_from(s.offset).ok()?;
            Some(start..start.checked_add(usize::try_from(s.length).ok()?)?)
        });
        match (index, range.and_then(|r| self.map.get(r))) {
            (Some(index), Some(bytes)) => Ok((index, bytes)),
            _ => Err(self.corruption(0, format!("a section {tag}"), "none")),
        }
    }

    fn hash(&self, bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        for run in in_order(bytes, || self.read_ahead()) {
            hasher.update(run);
            self.relieve();
        }
        hasher.finalize()
    }

    /// Whether pages of this file are worth asking for before they are read.
    pub(crate) fn read_ahead(&self) -> ReadAhead {
        self.map.read_ahead()
    }

    /// See [`MappedFile::is_tight`].
    pub(crate) fn is_tight(&self) -> bool {
        self.map.is_tight()
    }

    /// See [`MappedFile::copy`].
    pub(crate) fn copy<'b>(&self, bytes: &'b [u8], buffer: &'b mut Vec<u8>) -> &'b [u8] {
        self.map.copy(bytes, buffer)
    }

    /// Keeps the pages of mapped files in this process within their share of the memory budget.
    #[inline]
    pub(crate) fn relieve(&self) {
        self.map.relieve();
    }

    fn check(&self, index: usize, bytes: &[u8]) -> Result<()> {
        let (Some(section), Some(checked)) = (self.header.sections.get(index), self.checked.get(index))
        else {
            return Ok(());
        };
        let found = *checked.get_or_init(|| self.hash(bytes));
        if found == section.crc {
            return Ok(());
        }
        Err(self.corruption(
            section.offset,
            format!("checksum {:08x}", section.crc),
            format!("{found:08x}"),
        ))
    }
}
