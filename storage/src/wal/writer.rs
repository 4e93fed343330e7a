//! Appends frames to a log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Closed, Draft, LOG_HEADER_BYTES, log_header, log_path};
use crate::backend::{StorageBackend, WritableFile};
use crate::error::{IoContext, Result, StorageError};

/// The log that is written to.
#[derive(Debug)]
pub(crate) struct WalWriter {
    file: Box<dyn WritableFile>,
    path: PathBuf,
    number: u64,
    /// Bytes that the file holds.
    len: u64,
    /// Bytes of those that were synced.
    durable: u64,
    /// Frames not handed to the operating system yet.
    buffer: Vec<u8>,
    next_sequence: u64,
}

impl From<AppendError> for StorageError {
    fn from(failure: AppendError) -> Self {
        failure.error
    }
}

/// Why an append failed, and whether the log is as it was before.
#[derive(Debug)]
pub(crate) struct AppendError {
    pub(crate) error: StorageError,
    /// What is in the log is unknown.
    pub(crate) uncertain: bool,
}

impl WalWriter {
    /// Creates log `number`, durable on return: its first frame will have `first_sequence`. A log that fails is removed
    /// again, durably: found later, it would say that nothing follows in the log before.
    pub(crate) fn create(
        backend: &Arc<dyn StorageBackend>,
        collection: &Path,
        number: u64,
        first_sequence: u64,
    ) -> Result<Self, AppendError> {
        let path = log_path(collection, number);
        let mut file = backend
            .create(&path)
            .at("create", &path)
            .map_err(|error| AppendError {
                error,
                uncertain: false,
            })?;
        let written = file
            .write_all(&log_header(number, first_sequence))
            .at("write", &path);
        let dir = collection.join("wal");
        let durable = written
            .and_then(|()| file.sync_data().at("sync", &path))
            .and_then(|()| backend.sync_dir(&dir).at("sync", &dir));
        if let Err(error) = durable {
            let removed = backend.remove_file(&path).and_then(|()| backend.sync_dir(&dir));
            return Err(AppendError {
                uncertain: removed.is_err() || error.is_failed_sync(),
                error,
            });
        }
        let len = LOG_HEADER_BYTES as u64;
        Ok(Self {
            file,
            path,
            number,
            len,
            durable: len,
            buffer: Vec::new(),
            next_sequence: first_sequence,
        })
    }

    /// Goes on writing a log that was read: cuts it to its whole frames and syncs it.
    pub(crate) fn resume(
        backend: &Arc<dyn StorageBackend>,
        collection: &Path,
        number: u64,
        len: u64,
        next_sequence: u64,
    ) -> Result<Self> {
        let path = log_path(collection, number);
        let mut file = backend.append(&path).at("open", &path)?;
        file.truncate(len).at("cut", &path)?;
        // What was read may have been in the page cache only; from here on it is promised.
        file.sync_data().at("sync", &path)?;
        Ok(Self {
            file,
            path,
            number,
            len,
            durable: len,
            buffer: Vec::new(),
            next_sequence,
        })
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The sequence number of the next frame.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Bytes of the log, those that are not written yet included.
    pub(crate) fn len(&self) -> u64 {
        self.len + self.buffer.len() as u64
    }

    /// Whether the log has no frame.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == LOG_HEADER_BYTES as u64
    }

    /// Puts a frame into the buffer and returns its sequence number.
    pub(crate) fn stage(&mut self, frame: Draft) -> Result<u64> {
        let sequence = self.next_sequence;
        let frame = frame.place(sequence, self.durable)?;
        if self.buffer.is_empty() {
            self.buffer = frame;
        } else {
            self.buffer.extend_from_slice(&frame);
        }
        self.next_sequence += 1;
        Ok(sequence)
    }

    /// Bytes staged and not written.
    pub(crate) fn staged(&self) -> usize {
        self.buffer.len()
    }

    /// Takes back what was staged since `mark`, a value of [`Self::staged`], and its sequence numbers.
    pub(crate) fn unstage(&mut self, mark: usize, next_sequence: u64) {
        self.buffer.truncate(mark);
        self.next_sequence = next_sequence;
    }

    /// Hands the buffer to the operating system. A write that fails is cut off again; its frames stay staged.
    pub(crate) fn write(&mut self) -> Result<(), AppendError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write_all(&self.buffer) {
            let uncertain = self.file.truncate(self.len).is_err();
            return Err(AppendError {
                error: StorageError::io("write", &self.path, error),
                uncertain,
            });
        }
        self.len += self.buffer.len() as u64;
        self.buffer = Vec::new();
        Ok(())
    }

    /// How much of the log is certain to be there from now on.
    pub(crate) fn closed(&self) -> Closed {
        Closed {
            number: self.number,
            len: self.durable,
        }
    }

    /// Writes the buffer and makes the log durable.
    pub(crate) fn sync(&mut self) -> Result<(), AppendError> {
        self.write()?;
        if self.durable < self.len {
            self.file.sync_data().map_err(|error| AppendError {
                error: StorageError::io("sync", &self.path, error),
                uncertain: true,
            })?;
            self.durable = self.len;
        }
        Ok(())
    }
}
