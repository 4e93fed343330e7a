//! A frame: the unit that is in the log whole or not at all.

use crc32fast::Hasher;

use crate::checksum::crc32;
use crate::error::{RecordFault, Result, StorageError};
use crate::wire::{NUMBERS_END, Put};

/// The first four bytes of a frame, by which frames behind a damaged one are found.
pub(crate) const FRAME_MAGIC: [u8; 4] = *b"LWfr";
/// Bytes before the payload: magic, length, sequence, durable, kind, CRC-32.
pub(crate) const FRAME_HEADER_BYTES: usize = 32;
/// The largest payload.
pub(crate) const MAX_PAYLOAD: usize = 1 << 30;
const CRC_AT: usize = 28;

/// What a frame's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// A batch of operations.
    Batch,
    /// A bulk load, with the ids that it replaced; in force if the manifest lists its sequence number.
    Replaced,
}

/// A frame that was read, whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: FrameKind,
    /// One more than that of the frame before.
    pub(crate) sequence: u64,
    /// Every byte of this log before this offset had been synced when the frame was written.
    pub(crate) durable: u64,
    /// Where the frame begins in its file.
    pub(crate) offset: u64,
    pub(crate) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Bytes of the frame with its header.
    pub(crate) fn len(&self) -> usize {
        FRAME_HEADER_BYTES + self.payload.len()
    }

    /// The frame at `offset` of `log`, if a whole one is there.
    pub(crate) fn parse(log: &'a [u8], offset: usize) -> Option<Self> {
        let (header, rest) = log.get(offset..)?.split_first_chunk::<FRAME_HEADER_BYTES>()?;
        if header[..4] != FRAME_MAGIC {
            return None;
        }
        let u32_at = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
        let u64_at = |at: usize| Some(u64::from_le_bytes(header.get(at..at + 8)?.try_into().ok()?));
        let payload = rest.get(..u32_at(4)? as usize)?;
        if checksum(&header[..CRC_AT], payload) != u32_at(CRC_AT)? {
            return None;
        }
        let kind = match u32_at(24)? {
            1 => FrameKind::Batch,
            2 => FrameKind::Replaced,
            _ => return None,
        };
        Some(Self {
            kind,
            sequence: u64_at(8).filter(|sequence| *sequence < NUMBERS_END)?,
            durable: u64_at(16)?,
            offset: offset as u64,
            payload,
        })
    }
}

/// A frame that has all but its place in a log. What takes time, writing the payload and its checksum, is done before the
/// writer's turn comes.
#[derive(Debug)]
pub(crate) struct Draft {
    kind: FrameKind,
    /// Room for the header, then the payload.
    bytes: Vec<u8>,
    payload_checksum: Hasher,
}

impl Draft {
    /// A frame whose payload `write` appends; it takes about `size` bytes.
    pub(crate) fn new(
        kind: FrameKind,
        size: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<Self> {
        let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES + size);
        bytes.resize(FRAME_HEADER_BYTES, 0);
        write(&mut bytes)?;
        let mut payload_checksum = Hasher::new();
        let payload = bytes.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        payload_len(payload)?;
        payload_checksum.update(payload);
        Ok(Self {
            kind,
            bytes,
            payload_checksum,
        })
    }

    /// The bytes of the frame as the log's number `sequence`, of which everything before `durable` was synced.
    pub(crate) fn place(mut self, sequence: u64, durable: u64) -> Result<Vec<u8>> {
        let payload = self.bytes.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        let mut header = Vec::with_capacity(FRAME_HEADER_BYTES);
        header.extend_from_slice(&FRAME_MAGIC);
        header.put_u32(payload_len(payload)?);
        header.put_u64(sequence);
        header.put_u64(durable);
        header.put_u32(match self.kind {
            FrameKind::Batch => 1,
            FrameKind::Replaced => 2,
        });
        let mut checksum = Hasher::new();
        checksum.update(&header);
        checksum.combine(&self.payload_checksum);
        header.put_u32(checksum.finalize());
        if let Some(room) = self.bytes.get_mut(..FRAME_HEADER_BYTES) {
            room.copy_from_slice(&header);
        }
        Ok(self.bytes)
    }
}

fn payload_len(payload: &[u8]) -> Result<u32> {
    let got = payload.len();
    u32::try_from(got)
        .ok()
        .filter(|_| got <= MAX_PAYLOAD)
        .ok_or_else(|| StorageError::InvalidOption {
            name: "batch",
            expected: RecordFault::TooLong {
                what: "a batch",
                max: MAX_PAYLOAD,
                got,
            }
            .to_string(),
            got: format!("{got} bytes; split it, or load it in bulk"),
        })
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(crc32(header));
    hasher.update(payload);
    hasher.finalize()
}

/// The bytes of a frame.
#[cfg(test)]
pub(super) fn frame(kind: FrameKind, sequence: u64, durable: u64, payload: &[u8]) -> Vec<u8> {
    let write = |out: &mut Vec<u8>| {
        out.extend_from_slice(payload);
        Ok(())
    };
    let draft = Draft::new(kind, payload.len(), write).unwrap();
    draft.place(sequence, durable).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_and_no_flipped_bit_passes() {
        let mut log = vec![0; 5];
        log.extend(super::frame(FrameKind::Replaced, 7, 3, b"payload"));
        let frame = Frame::parse(&log, 5).unwrap();
        assert_eq!(
            (frame.kind, frame.sequence, frame.durable),
            (FrameKind::Replaced, 7, 3)
        );
        assert_eq!((frame.payload, frame.len()), (&b"payload"[..], log.len() - 5));
        for bit in 5 * 8..log.len() * 8 {
            let mut bad = log.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Frame::parse(&bad, 5).is_none(), "bit {bit}");
        }
        for cut in 5..log.len() {
            assert!(Frame::parse(&log[..cut], 5).is_none(), "cut {cut}");
        }
    }
}
