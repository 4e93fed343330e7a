//! The write-ahead log: a change is acknowledged when its frame is here.
//!
//! A log is one file, `wal/N`: a file header, its own number and the sequence number of its first frame, then frames
//! back to back. Logs are read in order of their numbers; sequence numbers go on without a gap from one to the next.

mod closed;
mod frame;
mod reader;
mod record;
mod writer;

pub(crate) use closed::{Closed, closed_path};
pub(crate) use frame::{Draft, Frame, FrameKind};
pub(crate) use reader::{read_log, whole_frames};
pub(crate) use record::{batch_frame, decode_batch, decode_ids, replaced_frame};
pub(crate) use writer::{AppendError, WalWriter};

use std::path::{Path, PathBuf};

use crate::checksum::crc32;
use crate::error::Result;
use crate::wire::{FileKind, HEADER_BYTES, Put, Reader};

/// Bytes before the first frame: file header, number, first sequence, CRC-32 of those two, four reserved.
pub(crate) const LOG_HEADER_BYTES: usize = HEADER_BYTES + 24;

/// The file of log `number` in a collection's directory.
pub(crate) fn log_path(collection: &Path, number: u64) -> PathBuf {
    collection.join("wal").join(number.to_string())
}

fn log_header(number: u64, first_sequence: u64) -> Vec<u8> {
    let mut bytes = FileKind::WAL.header().to_vec();
    bytes.put_u64(number);
    bytes.put_u64(first_sequence);
    let crc = crc32(bytes.get(HEADER_BYTES..).unwrap_or_default());
    bytes.put_u32(crc);
    bytes.put_u32(0);
    bytes
}

/// The first sequence of a log whose header is whole.
fn check_log_header(file: &Path, number: u64, bytes: &[u8]) -> Result<u64> {
    let rest = FileKind::WAL.check(file, bytes)?;
    let mut reader = Reader::with_base(file, rest, HEADER_BYTES as u64);
    let (found, first_sequence, crc) = (reader.u64()?, reader.number()?, reader.u32()?);
    if crc != crc32(rest.get(..16).unwrap_or_default()) {
        return Err(reader.corruption("the checksum of the log's number", format!("{crc:08x}")));
    }
    if found != number {
        return Err(reader.corruption(format!("log {number}"), format!("log {found}")));
    }
    Ok(first_sequence)
}
