//! What a database that was closed says of its last log: without it, a log whose end was cut off later looks like one whose
//! last write did not finish.

use std::path::{Path, PathBuf};

use crate::backend::StorageBackend;
use crate::checksum::crc32;
use crate::error::{IoContext, Result, StorageError};
use crate::wire::{FileKind, HEADER_BYTES, Put, Reader};

const KIND: FileKind = FileKind(*b"CLOS");

/// How long the last log was, of what had been synced. It may be longer: who goes on writing appends to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    /// The log.
    pub(crate) number: u64,
    /// Bytes of whole frames, with the header.
    pub(crate) len: u64,
}

/// The file, in a collection's directory.
pub(crate) fn closed_path(collection: &Path) -> PathBuf {
    collection.join("wal").join("closed")
}

impl Closed {
    /// Writes the file. It is not synced, and what fails is left: nothing depends on it.
    pub(crate) fn write(self, backend: &dyn StorageBackend, collection: &Path) {
        let path = closed_path(collection);
        let mut bytes = KIND.header().to_vec();
        bytes.put_u64(self.number);
        bytes.put_u64(self.len);
        let crc = crc32(bytes.get(HEADER_BYTES..).unwrap_or_default());
        bytes.put_u32(crc);
        let _ = backend.remove_file(&path);
        let written = backend.create(&path).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.flush()
        });
        if let Err(error) = written {
            tracing::debug!(path = %path.display(), %error, "not noted how long the log was when it was closed");
        }
    }

    /// What the file says; `None` when there is none.
    ///
    /// # Errors
    /// [`StorageError::Corruption`], which is no reason not to open the collection.
    pub(crate) fn read(backend: &dyn StorageBackend, collection: &Path) -> Result<Option<Self>> {
        let path = closed_path(collection);
        let bytes = match backend.read(&path).at("read", &path) {
            Err(error) if error.is_not_found() => return Ok(None),
            bytes => bytes?,
        };
        let rest = KIND.check(&path, &bytes)?;
        let mut reader = Reader::with_base(&path, rest, HEADER_BYTES as u64);
        let (number, len, crc) = (reader.u64()?, reader.u64()?, reader.u32()?);
        if crc != crc32(rest.get(..16).unwrap_or_default()) || reader.remaining() != 0 {
            return Err(reader.corruption("the checksum of a log's length", format!("{crc:08x}")));
        }
        Ok(Some(Self { number, len }))
    }

    /// An error when the log is shorter than it was.
    pub(crate) fn check(self, log: &Path, number: u64, len: u64) -> Result<()> {
        if self.number == number && len < self.len {
            let expected = format!("whole changes up to byte {}, as when it was closed", self.len);
            return Err(StorageError::corruption(log, len, expected, "none"));
        }
        Ok(())
    }
}
