//! What tells the whole parts of a damaged file from the others: a copy of its section table and trailer, and two checksums
//! of each block before them. It is kept in the segment's meta file, so that one damaged file is never judged by itself.
//!
//! A CRC-32 is linear: what a single wrong byte changes in it depends on its place and on the bits that are wrong alone, not
//! on the other bytes. So the place is found by trying all of them, and a second checksum of 64 bits says whether it is right.

use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::error::Result;
use crate::read_ahead::{RUN, ReadAhead, in_order};
use crate::wire::{Put, Reader};

/// Bytes that one checksum of a guard covers.
pub(crate) const GUARD_BYTES: usize = 4 << 10;

/// The guard of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Guard {
    /// The section table and the trailer.
    pub(crate) tail: Vec<u8>,
    /// The CRC-32 of each block of [`GUARD_BYTES`] before the tail, the last one shorter.
    pub(crate) blocks: Vec<u32>,
    /// The XXH3-64 of each.
    pub(crate) hashes: Vec<u64>,
}

/// The checksums of the blocks of a file while it is written.
#[derive(Debug, Default)]
pub(crate) struct BlockSums {
    block: Vec<u8>,
    sums: Vec<u32>,
    hashes: Vec<u64>,
}

impl BlockSums {
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.block.is_empty() && bytes.len() >= GUARD_BYTES {
                let (block, rest) = bytes.split_at(GUARD_BYTES);
                self.add(block);
                bytes = rest;
                continue;
            }
            let (block, rest) = bytes.split_at(bytes.len().min(GUARD_BYTES - self.block.len()));
            self.block.extend_from_slice(block);
            if self.block.len() == GUARD_BYTES {
                self.close();
            }
            bytes = rest;
        }
    }

    fn add(&mut self, block: &[u8]) {
        self.sums.push(crc32fast::hash(block));
        self.hashes.push(xxh3_64(block));
    }

    fn close(&mut self) {
        let mut block = std::mem::take(&mut self.block);
        self.add(&block);
        block.clear();
        self.block = block;
    }

    /// The guard of a file that ends with this tail.
    pub(crate) fn finish(mut self, tail: Vec<u8>) -> Guard {
        if !self.block.is_empty() {
            self.close();
        }
        Guard {
            tail,
            blocks: self.sums,
            hashes: self.hashes,
        }
    }
}

impl Guard {
    /// Bytes before the tail, if the tail is one that [`super::header::Header`] wrote.
    pub(crate) fn body(&self) -> Option<usize> {
        let at = self.tail.len().checked_sub(super::header::TRAILER_BYTES)?;
        let table_at = self.tail.get(at + 8..)?.first_chunk::<8>()?;
        usize::try_from(u64::from_le_bytes(*table_at)).ok()
    }

    /// The ranges of a file's bytes that are not as they were written, ascending, apart: damaged blocks, and what is
    /// missing or wrong at the end.
    pub(crate) fn damaged(&self, file: &[u8]) -> Vec<std::ops::Range<usize>> {
        self.damaged_asking(file, ReadAhead::default)
    }

    /// The same of a file that is mapped to be read page by page.
    pub(crate) fn damaged_asking(
        &self,
        file: &[u8],
        ahead: impl Fn() -> ReadAhead,
    ) -> Vec<std::ops::Range<usize>> {
        let mut runs = in_order(file, ahead);
        let Some(body) = self.body() else {
            return std::iter::once(0..file.len().max(1)).collect();
        };
        let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
        let mut add = |range: std::ops::Range<usize>| match ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => ranges.push(range),
        };
        for (index, crc) in self.blocks.iter().enumerate() {
            let start = index * GUARD_BYTES;
            if start.is_multiple_of(RUN) {
                runs.next();
            }
            let end = (start + GUARD_BYTES).min(body);
            if file
                .get(start..end)
                .is_none_or(|block| crc32fast::hash(block) != *crc)
            {
                add(start..end);
            }
        }
        let end = body.saturating_add(self.tail.len());
        if file.get(body..) != Some(&self.tail) {
            add(body..end.max(file.len()));
        }
        ranges
    }

    /// The byte that is wrong in a damaged block, and what it should be, if it is one alone.
    pub(crate) fn wrong_byte(&self, file: &[u8], start: usize) -> Option<(usize, u8)> {
        let index = start / GUARD_BYTES;
        let (crc, hash) = (*self.blocks.get(index)?, *self.hashes.get(index)?);
        let end = (start + GUARD_BYTES).min(self.body()?);
        let mut block = file.get(start..end)?.to_vec();
        let difference = crc32fast::hash(&block) ^ crc;
        // What each bit of a byte changes, the byte being the last one at first.
        let mut bits: [u32; 8] = std::array::from_fn(|bit| step(1 << bit));
        for at in (0..block.len()).rev() {
            for mask in 1..=u8::MAX {
                let set = bits.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1);
                if set.fold(0, |sum, (_, change)| sum ^ change) == difference {
                    *block.get_mut(at)? ^= mask;
                    if xxh3_64(&block) == hash {
                        return Some((start + at, *block.get(at)?));
                    }
                    *block.get_mut(at)? ^= mask;
                }
            }
            bits = bits.map(step);
        }
        None
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) -> Result<()> {
        out.put_bytes(&self.tail)?;
        out.put_bytes(bytemuck::cast_slice(&self.blocks))?;
        out.put_bytes(bytemuck::cast_slice(&self.hashes))
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let length = reader.count()?;
        let tail = reader.bytes(length)?.to_vec();
        Ok(Self {
            tail,
            blocks: numbers(reader)?,
            hashes: numbers(reader)?,
        })
    }
}

fn numbers<T: bytemuck::Pod>(reader: &mut Reader<'_>) -> Result<Vec<T>> {
    let length = reader.count()?;
    let bytes = reader.bytes(length)?;
    if length % size_of::<T>() != 0 {
        return Err(reader.corruption("whole checksums", format!("{length} bytes")));
    }
    Ok(bytemuck::allocation::pod_collect_to_vec(bytes))
}

/// A CRC-32 without its start and end after one more byte of zeros.
fn step(crc: u32) -> u32 {
    (0..8).fold(crc, |crc, _| {
        if crc & 1 == 1 {
            crc >> 1 ^ 0xEDB8_8320
        } else {
            crc >> 1
        }
    })
}

/// All guards of a segment: the name of each file, and its guard.
pub(super) fn put_guards(guards: &[(String, Guard)]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for (name, guard) in guards {
        out.put_bytes(name.as_bytes())?;
        guard.put(&mut out)?;
    }
    Ok(out)
}

/// What [`put_guards`] wrote.
pub(super) fn read_guards(file: &Path, bytes: &[u8], offset: u64) -> Result<Vec<(String, Guard)>> {
    let mut reader = Reader::with_base(file, bytes, offset);
    let mut guards = Vec::new();
    while reader.remaining() > 0 {
        let name = reader.str()?.to_owned();
        guards.push((name, Guard::read(&mut reader)?));
    }
    Ok(guards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_depend_on_how_bytes_arrive() {
        let bytes: Vec<u8> = (0..200_000_u32)
            .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
            .collect();
        let sums = |step: usize| {
            let mut sums = BlockSums::default();
            bytes.chunks(step).for_each(|chunk| sums.update(chunk));
            sums.finish(Vec::new())
        };
        assert_eq!(sums(7), sums(200_000));
        let blocks: Vec<u32> = bytes.chunks(GUARD_BYTES).map(crc32fast::hash).collect();
        assert_eq!(sums(1 << 16).blocks, blocks);
    }

    #[test]
    fn one_wrong_byte_is_found_and_two_are_not() {
        let mut file: Vec<u8> = (0..10_000_u32)
            .map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3])
            .collect();
        let mut sums = BlockSums::default();
        sums.update(&file);
        let mut tail = vec![0; super::super::header::TRAILER_BYTES];
        tail[8..16].copy_from_slice(&10_000_u64.to_le_bytes());
        let guard = sums.finish(tail.clone());
        file.extend_from_slice(&tail);
        assert!(guard.damaged(&file).is_empty());
        for at in [0, 1, 4095, 4096, 8191, 8192, 9_999] {
            for mask in [1, 0x80, 0xFF, 0x41] {
                let good = file[at];
                file[at] ^= mask;
                let start = at / GUARD_BYTES * GUARD_BYTES;
                let block = start..(start + GUARD_BYTES).min(10_000);
                assert_eq!(guard.damaged(&file), std::slice::from_ref(&block));
                assert_eq!(guard.wrong_byte(&file, start), Some((at, good)), "byte {at}");
                file[start + 17] ^= 3;
                assert!(at == start + 17 || guard.wrong_byte(&file, start).is_none());
                file[start + 17] ^= 3;
                file[at] = good;
            }
        }
    }
}
