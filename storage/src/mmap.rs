//! Read-only mappings of files: the only unsafe code of this crate.
#![expect(
    unsafe_code,
    reason = "mapping a file is unsafe: another process could change it under us"
)]

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

use rkyv::util::AlignedVec;

/// The bytes of a file, mapped, or in memory where the backend has no disk. They begin at a multiple of 16.
#[derive(Clone)]
pub struct MappedFile(Bytes);

#[derive(Clone)]
enum Bytes {
    Mapped(Arc<memmap2::Mmap>),
    Owned(Arc<AlignedVec<64>>),
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
        Ok(Self(Bytes::Mapped(Arc::new(map))))
    }

    /// Bytes that are in memory already.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut aligned = AlignedVec::<64>::with_capacity(bytes.len());
        aligned.extend_from_slice(bytes);
        Self(Bytes::Owned(Arc::new(aligned)))
    }

    /// Tells the operating system that the whole file will be read soon, in order. A hint: errors are ignored.
    pub fn will_read(&self) {
        #[cfg(unix)]
        if let Bytes::Mapped(map) = &self.0 {
            let _ = map.advise(memmap2::Advice::WillNeed);
        }
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

impl fmt::Debug for MappedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Bytes::Mapped(_) => "mapped",
            Bytes::Owned(_) => "owned",
        };
        write!(f, "MappedFile({kind}, {} bytes)", self.len())
    }
}
