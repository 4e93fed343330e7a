//! Reads a log: the whole frames, and what may follow them.

use std::path::Path;

use super::frame::{FRAME_HEADER_BYTES, FRAME_MAGIC, Frame};
use super::{LOG_HEADER_BYTES, check_log_header};
use crate::error::{Result, StorageError};

/// A log that was read.
#[derive(Debug)]
pub(crate) struct Log<'a> {
    /// The sequence number that its first frame has, or will have.
    pub(crate) first_sequence: u64,
    /// Its whole frames, in order.
    pub(crate) frames: Vec<Frame<'a>>,
    /// Bytes up to the end of the last whole frame. What follows was never acknowledged.
    pub(crate) len: u64,
    /// Bytes that follow.
    pub(crate) rest: u64,
}

impl Log<'_> {
    /// The sequence number after its last frame.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.frames
            .last()
            .map_or(self.first_sequence, |frame| frame.sequence + 1)
    }
}

/// Reads log `number` from its bytes. `None`: the log was being created, and nothing was ever written to it.
///
/// A frame that is not whole ends the log if it may have been torn: no whole frame behind it was written after its
/// bytes had been synced. Otherwise it was once whole, perhaps acknowledged, and is damaged.
///
/// # Errors
/// [`StorageError::Corruption`] for damage to what was once durable.
pub(crate) fn read_log<'a>(file: &Path, number: u64, bytes: &'a [u8]) -> Result<Option<Log<'a>>> {
    let first_sequence = match check_log_header(file, number, bytes) {
        Ok(sequence) => sequence,
        Err(error @ StorageError::Corruption { .. }) if frames_behind(bytes, 0).next().is_none() => {
            tracing::warn!(file = %file.display(), %error, "a log without frames was never finished");
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut frames: Vec<Frame<'a>> = Vec::new();
    let mut at = LOG_HEADER_BYTES;
    let mut expected = first_sequence;
    while at < bytes.len() {
        let Some(frame) = Frame::parse(bytes, at).filter(|frame| frame.sequence == expected) else {
            check_torn(file, bytes, at)?;
            break;
        };
        at += frame.len();
        expected += 1;
        frames.push(frame);
    }
    Ok(Some(Log {
        first_sequence,
        frames,
        len: at as u64,
        rest: bytes.len().saturating_sub(at) as u64,
    }))
}

/// An error unless the bytes from `at` on can be what a crash left of writes that were never acknowledged.
fn check_torn(file: &Path, bytes: &[u8], at: usize) -> Result<()> {
    let found = bytes.len() - at;
    match frames_behind(bytes, at).find(|frame| frame.durable > at as u64) {
        Some(later) => Err(StorageError::corruption(
            file,
            at as u64,
            "a whole frame",
            format!(
                "damage, with frame {} whole behind it at byte {}",
                later.sequence, later.offset
            ),
        )),
        None => {
            tracing::info!(file = %file.display(), at, bytes = found, "cut the unfinished end of a log");
            Ok(())
        }
    }
}

/// Every whole frame of a log in order, whatever is damaged between them. What stands inside a whole frame is none, even if
/// a document's text is a log itself.
pub(crate) fn whole_frames(bytes: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    let mut at = LOG_HEADER_BYTES.saturating_sub(1);
    std::iter::from_fn(move || {
        let frame = frames_behind(bytes, at).next()?;
        at = usize::try_from(frame.offset).ok()? + frame.len() - 1;
        Some(frame)
    })
}

/// The whole frames that begin after `at`, found by their magic.
fn frames_behind(bytes: &[u8], at: usize) -> impl Iterator<Item = Frame<'_>> {
    let last = bytes.len().saturating_sub(FRAME_HEADER_BYTES);
    (at + 1..=last).filter_map(move |offset| {
        let candidate = bytes.get(offset..)?.starts_with(&FRAME_MAGIC);
        candidate.then(|| Frame::parse(bytes, offset)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::super::frame::{FrameKind, frame};
    use super::super::log_header;
    use super::*;

    /// Three frames, each synced before the next was written.
    fn log() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = log_header(4, 10);
        let mut ends = Vec::new();
        for (sequence, payload) in [(10, &b"first"[..]), (11, b"second, longer"), (12, b"third")] {
            let durable = bytes.len() as u64;
            bytes.extend(frame(FrameKind::Batch, sequence, durable, payload));
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn read(bytes: &[u8]) -> Result<Option<Log<'_>>> {
        read_log(Path::new("wal/4"), 4, bytes)
    }

    #[test]
    fn a_log_cut_anywhere_keeps_exactly_the_frames_before_the_cut() {
        let (bytes, ends) = log();
        for cut in 0..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            match read(&bytes[..cut]).unwrap() {
                None => assert!(cut < LOG_HEADER_BYTES, "cut {cut}"),
                Some(log) => {
                    assert_eq!(log.frames.len(), whole, "cut {cut}");
                    let end = if whole == 0 {
                        LOG_HEADER_BYTES
                    } else {
                        ends[whole - 1]
                    };
                    assert_eq!(log.len, end as u64);
                    assert_eq!(log.next_sequence(), 10 + whole as u64);
                }
            }
        }
    }

    #[test]
    fn damage_before_a_synced_frame_is_told_from_a_torn_end() {
        let (bytes, ends) = log();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x40;
            let result = read(&bad);
            if at >= ends[1] {
                assert_eq!(
                    result.unwrap().unwrap().frames.len(),
                    2,
                    "byte {at}: the last frame may be torn"
                );
            } else {
                // Bytes 36..40 are reserved.
                let harmless = (LOG_HEADER_BYTES - 4..LOG_HEADER_BYTES).contains(&at);
                assert_eq!(result.is_err(), !harmless, "byte {at}");
            }
        }
    }

    #[test]
    fn frames_of_one_write_may_survive_in_any_order() {
        let mut bytes = log_header(4, 10);
        let durable = bytes.len() as u64;
        bytes.extend(frame(FrameKind::Batch, 10, durable, b"lost sector"));
        bytes.extend(frame(FrameKind::Batch, 11, durable, b"kept sector"));
        bytes[LOG_HEADER_BYTES + FRAME_HEADER_BYTES] ^= 1;
        let log = read(&bytes).unwrap().unwrap();
        assert_eq!((log.frames.len(), log.len), (0, LOG_HEADER_BYTES as u64));
    }

    #[test]
    fn numbers_that_no_writer_reaches_are_damage() {
        // With a frame behind it: without, it is a log that was never finished.
        let mut bytes = log_header(4, u64::MAX);
        bytes.extend(frame(FrameKind::Batch, 10, 0, b"first"));
        let error = read_log(Path::new("wal/4"), 4, &bytes).unwrap_err();
        assert!(matches!(error, StorageError::Corruption { .. }), "{error}");
        let mut bytes = log_header(4, 10);
        bytes.extend(frame(FrameKind::Batch, u64::MAX, 0, b"last"));
        assert_eq!(whole_frames(&bytes).count(), 0);
    }

    #[test]
    fn zeros_after_the_frames_are_cut() {
        let (mut bytes, ends) = log();
        bytes.resize(bytes.len() + 4096, 0);
        assert_eq!(read(&bytes).unwrap().unwrap().len, ends[2] as u64);
    }
}
