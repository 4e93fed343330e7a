//! Little-endian numbers to and from bytes, bounds-checked, and the header that every file begins with.
//!
//! A file begins with 16 bytes: magic `LTWD`, a kind of four characters, the format version (u32) and the CRC-32 of the
//! twelve bytes before it. What follows starts at a multiple of 16, as mapped archives want it.

use std::path::Path;

use crate::checksum::crc32;
use crate::error::{Result, StorageError};

/// The first four bytes of every file.
pub const MAGIC: [u8; 4] = *b"LTWD";
/// The version that this build writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 3;
/// Numbers of files and of changes are below this, so that counting on from one never overflows.
pub(crate) const NUMBERS_END: u64 = 1 << 62;
/// Bytes of the header that every file begins with.
pub const HEADER_BYTES: usize = 16;

/// What a file holds: four characters that stand after its magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileKind(pub [u8; 4]);

impl FileKind {
    /// A write-ahead log.
    pub const WAL: Self = Self(*b"WAL ");
    /// A manifest.
    pub const MANIFEST: Self = Self(*b"MANI");
    /// The pointer to the manifest in force.
    pub const CURRENT: Self = Self(*b"CURR");
    /// The deleted rows of a segment.
    pub const TOMBSTONES: Self = Self(*b"TOMB");

    /// The header of a file of this kind.
    #[must_use]
    pub fn header(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.0);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        let crc = crc32(&bytes[..12]);
        bytes[12..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Checks the header of `file` and returns what follows it.
    ///
    /// # Errors
    /// [`StorageError::Corruption`] for a short file, another magic, kind or checksum; [`StorageError::VersionTooNew`].
    pub fn check<'a>(self, file: &Path, bytes: &'a [u8]) -> Result<&'a [u8]> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            let found = format!("{} bytes", bytes.len());
            return Err(StorageError::corruption(file, 0, "a header of 16 bytes", found));
        };
        let mut reader = Reader::new(file, header);
        let (magic, kind) = (reader.array::<4>()?, reader.array::<4>()?);
        let (version, crc) = (reader.u32()?, reader.u32()?);
        if magic != MAGIC {
            return Err(StorageError::corruption(
                file,
                0,
                "the magic LTWD",
                magic.escape_ascii().to_string(),
            ));
        }
        if crc != crc32(&header[..12]) {
            return Err(StorageError::corruption(
                file,
                12,
                "the header's checksum",
                format!("{crc:08x}"),
            ));
        }
        if kind != self.0 {
            let expected = format!("a file of kind {}", self.0.escape_ascii());
            return Err(StorageError::corruption(
                file,
                4,
                expected,
                kind.escape_ascii().to_string(),
            ));
        }
        if version > FORMAT_VERSION || version == 0 {
            return Err(StorageError::VersionTooNew {
                file: file.to_owned(),
                found: version,
                supported: FORMAT_VERSION,
            });
        }
        Ok(rest)
    }
}

/// The number that a file is named by; none where no writer counts that far.
pub(crate) fn number_in_name(name: &str) -> Option<u64> {
    name.parse().ok().filter(|number| *number < NUMBERS_END)
}

/// A cursor over the bytes of a file that returns errors and never panics.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    file: &'a Path,
    bytes: &'a [u8],
    at: usize,
    base: u64,
}

impl<'a> Reader<'a> {
    /// A cursor at the first of `bytes`; errors name `file`.
    #[must_use]
    pub fn new(file: &'a Path, bytes: &'a [u8]) -> Self {
        Self {
            file,
            bytes,
            at: 0,
            base: 0,
        }
    }

    /// The same, where `bytes` begin at `base` of the file, for the offsets in errors.
    #[must_use]
    pub fn with_base(file: &'a Path, bytes: &'a [u8], base: u64) -> Self {
        Self {
            file,
            bytes,
            at: 0,
            base,
        }
    }

    /// Bytes not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Where the cursor stands in the file.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// An error at the cursor.
    pub fn corruption(&self, expected: impl Into<String>, found: impl Into<String>) -> StorageError {
        StorageError::corruption(self.file, self.offset(), expected, found)
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`StorageError::Corruption`] when there are fewer.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(taken) = rest.get(..len) else {
            return Err(self.corruption(format!("{len} more bytes"), format!("{}", rest.len())));
        };
        self.at += len;
        Ok(taken)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`StorageError::Corruption`] when there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N)?);
        Ok(out)
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`StorageError::Corruption`] at the end.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// The next two bytes as a number.
    ///
    /// # Errors
    /// [`StorageError::Corruption`] when there are fewer.
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// The next four bytes as a number.
    ///
    /// # Errors
    /// [`StorageError::Corruption`] when there are fewer.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// The next eight bytes as a number.
    ///
    /// # Errors
    /// [`StorageError::Corruption`] when there are fewer.
    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// The number of a file or a change.
    ///
    /// # Errors
    /// [`StorageError::Corruption`] when there are fewer bytes, or no writer counts that far.
    pub(crate) fn number(&mut self) -> Result<u64> {
        let number = self.u64()?;
        if number < NUMBERS_END {
            return Ok(number);
        }
        Err(self.corruption(format!("a number below {NUMBERS_END}"), number.to_string()))
    }

    /// A u32 count that the caller multiplies: refused when even one byte each would not fit in what remains.
    ///
    /// # Errors
    /// [`StorageError::Corruption`] when it cannot be true.
    pub fn count(&mut self) -> Result<usize> {
        let count = self.u32()? as usize;
        if count > self.remaining() {
            return Err(self.corruption(format!("at most {} items", self.remaining()), format!("{count}")));
        }
        Ok(count)
    }

    /// A u32 length and that many bytes of UTF-8.
    ///
    /// # Errors
    /// [`StorageError::Corruption`] when there are fewer, or they are no UTF-8.
    pub fn str(&mut self) -> Result<&'a str> {
        let len = self.u32()? as usize;
        let bytes = self.bytes(len)?;
        std::str::from_utf8(bytes).map_err(|error| self.corruption("UTF-8", error.to_string()))
    }
}

/// Appends numbers and strings to bytes.
pub trait Put {
    /// Appends a byte.
    fn put_u8(&mut self, n: u8);
    /// Appends two bytes.
    fn put_u16(&mut self, n: u16);
    /// Appends four bytes.
    fn put_u32(&mut self, n: u32);
    /// Appends eight bytes.
    fn put_u64(&mut self, n: u64);
    /// Appends a length (u32) and the bytes, as [`Reader::str`] reads them.
    ///
    /// # Errors
    /// [`StorageError::InvalidOption`] for 4 GiB or more.
    fn put_bytes(&mut self, bytes: &[u8]) -> Result<()>;
}

impl Put for Vec<u8> {
    fn put_u8(&mut self, n: u8) {
        self.push(n);
    }
    fn put_u16(&mut self, n: u16) {
        self.extend_from_slice(&n.to_le_bytes());
    }
    fn put_u32(&mut self, n: u32) {
        self.extend_from_slice(&n.to_le_bytes());
    }
    fn put_u64(&mut self, n: u64) {
        self.extend_from_slice(&n.to_le_bytes());
    }
    fn put_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.put_u32(to_u32(bytes.len())?);
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// A length as the u32 that files hold.
///
/// # Errors
/// [`StorageError::InvalidOption`] for 2^32 or more.
pub fn to_u32(len: usize) -> Result<u32> {
    u32::try_from(len).map_err(|_| StorageError::InvalidOption {
        name: "length",
        expected: "less than 4,294,967,296".to_owned(),
        got: len.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_passes_its_own_check() {
        let mut bytes = FileKind::WAL.header().to_vec();
        bytes.extend_from_slice(b"rest");
        assert_eq!(FileKind::WAL.check(Path::new("f"), &bytes).unwrap(), b"rest");
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let good = FileKind::MANIFEST.header();
        for bit in 0..HEADER_BYTES * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(
                FileKind::MANIFEST.check(Path::new("f"), &bad).is_err(),
                "bit {bit}"
            );
        }
        assert!(FileKind::WAL.check(Path::new("f"), &good).is_err());
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        let mut bytes = FileKind::WAL.header();
        bytes[8..12].copy_from_slice(&7_u32.to_le_bytes());
        let crc = crc32(&bytes[..12]);
        bytes[12..].copy_from_slice(&crc.to_le_bytes());
        let error = FileKind::WAL.check(Path::new("f"), &bytes).unwrap_err();
        assert!(
            matches!(error, StorageError::VersionTooNew { found: 7, .. }),
            "{error}"
        );
    }

    #[test]
    fn reading_past_the_end_names_the_offset() {
        let mut reader = Reader::with_base(Path::new("f"), &[1, 0, 0, 0, 9], 100);
        assert_eq!(reader.u32().unwrap(), 1);
        let error = reader.u32().unwrap_err();
        assert!(
            matches!(error, StorageError::Corruption { offset: 104, .. }),
            "{error}"
        );
    }
}
