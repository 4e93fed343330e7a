//! Read-only mappings of files: the only unsafe code of this crate.
#![expect(
    unsafe_code,
    reason = "mapping a file is unsafe: another process could change it under us"
)]

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::sync::Arc;

use rkyv::util::AlignedVec;

use crate::read_ahead::ReadAhead;
use crate::resident::ResidentPages;

/// The bytes of a file, mapped, or in memory where the backend has no disk. They begin at a multiple of 16.
#[derive(Clone)]
pub struct MappedFile {
    bytes: Bytes,
    pages: Option<Arc<ResidentPages>>,
}

#[derive(Clone)]
enum Bytes {
    Mapped(Arc<Mapping>),
    Owned(Arc<AlignedVec<64>>),
}

/// A mapping of a whole file.
pub(crate) struct Mapping {
    map: memmap2::Mmap,
    /// The file, where parts of it may be copied.
    file: Option<File>,
}

impl Mapping {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Reads bytes of the mapping without bringing their pages into this process's memory; nothing where that cannot be done.
    #[cfg(unix)]
    fn copy<'b>(&self, bytes: &[u8], buffer: &'b mut Vec<u8>) -> Option<&'b [u8]> {
        use std::os::unix::fs::FileExt;
        let before = bytes.as_ptr().addr().checked_sub(self.map.as_ptr().addr())?;
        if before + bytes.len() > self.map.len() {
            return None;
        }
        buffer.resize(bytes.len(), 0);
        let file = self.file.as_ref()?;
        file.read_exact_at(buffer, before as u64).ok()?;
        Some(buffer)
    }

    #[cfg(not(unix))]
    fn copy<'b>(&self, _: &[u8], _: &'b mut Vec<u8>) -> Option<&'b [u8]> {
        None
    }

    /// Takes the pages out of this process's memory. They stay with the operating system, and come back, unchanged, when
    /// they are read again. A hint: errors are ignored, and systems without it keep them.
    pub(crate) fn release(&self) {
        // SAFETY: the mapping is of a file and read-only, so no page holds anything that the file does not: each comes back
        // as it was, whoever holds a reference into it.
        #[cfg(unix)]
        let _ = unsafe { self.map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
    }
}

impl MappedFile {
    /// Maps a whole file read-only.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn map(file: &File) -> io::Result<Self> {
        // SAFETY: a file that may be mapped is never rewritten or shortened by Latewood: each is written once under a
        // new name, and removed only by unlinking, which keeps the mapped pages. Another program that rewrites files
        // inside the database directory breaks this, as it breaks every database that maps its files.
        let map = unsafe { memmap2::Mmap::map(file) }?;
        Ok(Self {
            bytes: Bytes::Mapped(Arc::new(Mapping { map, file: None })),
            pages: None,
        })
    }

    /// As [`map`](Self::map), and keeps the file, so that parts can be copied, unless the process has half of the files open that it
    /// may have.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn map_and_keep(file: File) -> io::Result<Self> {
        let mut mapped = Self::map(&file)?;
        if !spares_one(&file) {
            return Ok(mapped);
        }
        // No more is read than what is copied. A hint: errors are ignored.
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random);
        if let Bytes::Mapped(mapping) = &mut mapped.bytes
            && let Some(mapping) = Arc::get_mut(mapping)
        {
            mapping.file = Some(file);
        }
        Ok(mapped)
    }

    /// See [`ResidentPages::are_tight`].
    pub(crate) fn is_tight(&self) -> bool {
        self.pages.as_ref().is_some_and(|pages| pages.are_tight())
    }

    /// Reads bytes of this mapping into `buffer`, and leaves its pages where they are; the bytes themselves where it cannot.
    pub(crate) fn copy<'b>(&self, bytes: &'b [u8], buffer: &'b mut Vec<u8>) -> &'b [u8] {
        match &self.bytes {
            Bytes::Mapped(mapping) => mapping.copy(bytes, buffer).unwrap_or(bytes),
            Bytes::Owned(_) => bytes,
        }
    }

    /// Bytes that are in memory already.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut aligned = AlignedVec::<64>::with_capacity(bytes.len());
        aligned.extend_from_slice(bytes);
        Self {
            bytes: Bytes::Owned(Arc::new(aligned)),
            pages: None,
        }
    }

    /// Counts its pages among those that `pages` keeps few.
    pub(crate) fn watched(mut self, pages: &Arc<ResidentPages>) -> Self {
        if let Bytes::Mapped(mapping) = &self.bytes {
            pages.watch(mapping);
            self.pages = Some(Arc::clone(pages));
        }
        self
    }

    /// Has a read bring in the page that it needs and none around it, unless the disk is never asked ahead. A hint: errors are
    /// ignored.
    pub(crate) fn read_by_pages(&self) {
        #[cfg(unix)]
        if let Bytes::Mapped(mapping) = &self.bytes
            && self.pages.as_ref().is_none_or(|pages| pages.knows_reads())
        {
            let _ = mapping.map.advise(memmap2::Advice::Random);
        }
    }

    /// Whether pages of this file are worth asking for before they are read: always where nobody counts what is read.
    pub(crate) fn read_ahead(&self) -> ReadAhead {
        match (&self.bytes, &self.pages) {
            (Bytes::Owned(_), _) => ReadAhead::default(),
            (Bytes::Mapped(_), None) => ReadAhead::always(),
            (Bytes::Mapped(_), Some(pages)) => pages.read_ahead(),
        }
    }

    /// See [`ResidentPages::relieve`].
    #[inline]
    pub(crate) fn relieve(&self) {
        if let Some(pages) = &self.pages {
            pages.relieve();
        }
    }
}

/// Whether this process may well keep an open file: its number, the lowest that was free, is in the lower half of those there are.
fn spares_one(file: &File) -> bool {
    #[cfg(unix)]
    {
        use std::os::fd::AsRawFd;
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        is_low(file.as_raw_fd(), most)
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        false
    }
}

#[cfg(unix)]
fn is_low(number: i32, most: Option<u64>) -> bool {
    most.is_none_or(|most| u64::try_from(number).is_ok_and(|number| number < most / 2))
}

/// The pages that bytes lie on, by number.
pub(crate) fn pages_of(bytes: &[u8]) -> Range<usize> {
    let (page, first) = (page_size(), bytes.as_ptr().addr());
    if bytes.is_empty() {
        0..0
    } else {
        first / page..(first + bytes.len()).div_ceil(page)
    }
}

/// Asks the operating system to bring pages into memory, and does not wait for it. A hint: errors are ignored.
pub(crate) fn begin_to_read(pages: Range<usize>) {
    #[cfg(unix)]
    if !pages.is_empty() {
        let first = std::ptr::without_provenance_mut(pages.start * page_size());
        // SAFETY: no memory is written, mapped or unmapped by it, whatever the address is, and the call fails where there is none.
        let _ =
            unsafe { rustix::mm::madvise(first, pages.len() * page_size(), rustix::mm::Advice::WillNeed) };
    }
    #[cfg(not(unix))]
    let _ = pages;
}

fn page_size() -> usize {
    #[cfg(unix)]
    return rustix::param::page_size();
    #[cfg(not(unix))]
    4096
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(mapping) => &mapping.map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

impl fmt::Debug for MappedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.bytes {
            Bytes::Mapped(_) => "mapped",
            Bytes::Owned(_) => "owned",
        };
        write!(f, "MappedFile({kind}, {} bytes)", self.len())
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn files_are_kept_while_there_are_many_more() {
        assert!(is_low(511, Some(1024)) && is_low(99, None));
        assert!(!is_low(512, Some(1024)) && !is_low(-1, Some(1024)));
    }

    #[test]
    fn the_pages_of_bytes_are_all_that_they_touch() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(4 << 20).unwrap();
        let (map, page) = (MappedFile::map(file.as_file()).unwrap(), page_size());
        let first = pages_of(&map).start;
        let of = |range: Range<usize>| {
            let pages = pages_of(&map[range]);
            pages.start - first..pages.end - first
        };
        assert_eq!(of(0..1), 0..1);
        assert_eq!(of(0..page), 0..1);
        assert_eq!(of(page - 1..page + 1), 0..2);
        assert_eq!(of(3 * page + 7..5 * page), 3..5);
        assert!(pages_of(&map[..0]).is_empty());
    }
}
