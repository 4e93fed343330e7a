//! Texts and payloads, in blocks of about 16 KiB, each compressed with zstd and with a checksum of its own.
//!
//! A block is the end of each of its rows (u32), then the rows. A row is the length of its text plus one (u32; 0: no
//! text), the text, and the payload as JSON. docs/format.md has the byte map.

use std::cell::RefCell;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytemuck::{Pod, Zeroable};
use rayon::ThreadPool;
use rayon::prelude::*;

use super::component::Component;
use super::reader::ComponentFile;
use super::writer::{ComponentWriter, Finished};
use crate::backend::StorageBackend;
use crate::document::Payload;
use crate::error::{IoContext, Result, StorageError};
use crate::wire::to_u32;

const DATA: u32 = 1;
const BLOCKS: u32 = 2;

const BLOCK_BYTES: usize = 16 << 10;
const LEVEL: i32 = 3;
/// Blocks that are compressed together, in parallel.
const BATCH: usize = 64;
/// A length up to which a block's stated size is allocated without waiting to see that many bytes.
const TRUSTED_BYTES: usize = 16 << 20;

/// Where a block lies in the data, and which rows it holds.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Block {
    offset: u64,
    compressed: u32,
    pub(crate) raw: u32,
    crc: u32,
    pub(crate) first_row: u32,
}

/// A text and a payload as they are stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredDocument<'a> {
    pub(crate) text: Option<&'a str>,
    /// The payload as JSON.
    pub(crate) payload: &'a [u8],
}

/// Rows on their way to a block.
#[derive(Debug, Default)]
struct Pending {
    first_row: u32,
    ends: Vec<u32>,
    body: Vec<u8>,
}

impl Pending {
    /// The length of the block and its compressed form.
    fn compress(&self, path: &Path) -> Result<(usize, Vec<u8>)> {
        let mut raw = Vec::with_capacity(self.ends.len() * 4 + self.body.len());
        self.ends
            .iter()
            .for_each(|end| raw.extend_from_slice(&end.to_le_bytes()));
        raw.extend_from_slice(&self.body);
        Ok((raw.len(), zstd::bulk::compress(&raw, LEVEL).at("compress", path)?))
    }
}

/// Writes the texts and payloads of a segment.
#[derive(Debug)]
pub(crate) struct DocumentsWriter<'a> {
    writer: ComponentWriter<'a>,
    path: PathBuf,
    pool: &'a ThreadPool,
    end: u64,
    rows: u32,
    blocks: Vec<Block>,
    pending: Pending,
    full: Vec<Pending>,
}

impl<'a> DocumentsWriter<'a> {
    pub(crate) fn create(backend: &'a dyn StorageBackend, dir: &Path, pool: &'a ThreadPool) -> Result<Self> {
        let path = dir.join(Component::Documents.name());
        let writer = ComponentWriter::create(backend, &path, Component::Documents.kind(), &[DATA, BLOCKS])?;
        let (pending, full) = (Pending::default(), Vec::new());
        Ok(Self {
            writer,
            path,
            pool,
            end: 0,
            rows: 0,
            blocks: Vec::new(),
            pending,
            full,
        })
    }

    /// Appends the next row.
    pub(crate) fn push(&mut self, document: StoredDocument<'_>) -> Result<()> {
        let body = &mut self.pending.body;
        let text = document.text.map_or(Ok(0), |t| to_u32(t.len() + 1))?;
        body.extend_from_slice(&text.to_le_bytes());
        body.extend_from_slice(document.text.unwrap_or_default().as_bytes());
        body.extend_from_slice(document.payload);
        let end = to_u32(body.len())?;
        let full = body.len() >= BLOCK_BYTES;
        self.pending.ends.push(end);
        self.rows += 1;
        if full {
            self.close_block();
        }
        if self.full.len() >= BATCH {
            self.compress()
        } else {
            Ok(())
        }
    }

    /// Appends a whole block of another segment as it is.
    pub(crate) fn push_block(&mut self, block: Block, rows: u32, compressed: &[u8]) -> Result<()> {
        self.close_block();
        self.compress()?;
        self.blocks.push(Block {
            offset: self.end,
            first_row: self.rows,
            ..block
        });
        self.end += compressed.len() as u64;
        self.rows += rows;
        self.pending.first_row = self.rows;
        self.writer.append(DATA, compressed)
    }

    fn close_block(&mut self) {
        let next = Pending {
            first_row: self.rows,
            ..Pending::default()
        };
        let block = std::mem::replace(&mut self.pending, next);
        if !block.ends.is_empty() {
            self.full.push(block);
        }
    }

    fn compress(&mut self) -> Result<()> {
        let full = std::mem::take(&mut self.full);
        let path = self.path.as_path();
        let compressed: Vec<Result<(usize, Vec<u8>)>> = self
            .pool
            .install(|| full.par_iter().map(|block| block.compress(path)).collect());
        for (pending, result) in full.iter().zip(compressed) {
            let (raw, bytes) = result?;
            self.blocks.push(Block {
                offset: self.end,
                compressed: to_u32(bytes.len())?,
                raw: to_u32(raw)?,
                crc: crc32fast::hash(&bytes),
                first_row: pending.first_row,
            });
            self.end += bytes.len() as u64;
            self.writer.append(DATA, &bytes)?;
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<Finished> {
        self.close_block();
        self.compress()?;
        self.writer.append(BLOCKS, bytemuck::cast_slice(&self.blocks))?;
        self.writer
            .finish([u64::from(self.rows), self.blocks.len() as u64, 0, 0, 0, 0])
    }
}

/// A decompressed block.
#[derive(Debug)]
pub(crate) struct Rows {
    first_row: u32,
    count: usize,
    raw: Vec<u8>,
}

impl Rows {
    /// The document of an ordinal that lies in this block.
    pub(crate) fn get(&self, ordinal: u32) -> Option<StoredDocument<'_>> {
        let index = ordinal.checked_sub(self.first_row)? as usize;
        let end = |i: usize| {
            self.raw
                .get(i * 4..)?
                .first_chunk()
                .map(|b| u32::from_le_bytes(*b) as usize)
        };
        let start = if index == 0 { 0 } else { end(index - 1)? };
        let stop = end(index).filter(|_| index < self.count)?;
        let row = self.raw.get(self.count * 4..)?.get(start..stop)?;
        let (length, rest) = row.split_first_chunk::<4>()?;
        match (u32::from_le_bytes(*length) as usize).checked_sub(1) {
            None => Some(StoredDocument {
                text: None,
                payload: rest,
            }),
            Some(length) => {
                let (text, payload) = rest.split_at_checked(length)?;
                Some(StoredDocument {
                    text: Some(std::str::from_utf8(text).ok()?),
                    payload,
                })
            }
        }
    }
}

/// The texts and payloads of an open segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Documents<'a> {
    file: &'a ComponentFile,
    rows: u32,
}

thread_local! {
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

impl<'a> Documents<'a> {
    pub(crate) fn new(file: &'a ComponentFile, rows: u32) -> Self {
        Self { file, rows }
    }

    /// The blocks in order of rows.
    pub(crate) fn blocks(self) -> Result<&'a [Block]> {
        self.file.numbers(BLOCKS)
    }

    /// The ordinals of a block.
    pub(crate) fn rows_of(self, index: usize) -> Result<std::ops::Range<u32>> {
        let blocks = self.blocks()?;
        let start = blocks.get(index).map_or(self.rows, |b| b.first_row);
        let end = blocks.get(index + 1).map_or(self.rows, |b| b.first_row);
        if start <= end && end <= self.rows {
            return Ok(start..end);
        }
        let expected = format!("ascending rows up to {}", self.rows);
        Err(self
            .file
            .corruption_in(BLOCKS, index as u64 * 24, expected, format!("{start} to {end}")))
    }

    /// The number of the block that holds an ordinal.
    fn block_of(self, ordinal: u32) -> Result<usize> {
        let after = self.blocks()?.partition_point(|b| b.first_row <= ordinal);
        after.checked_sub(1).ok_or_else(|| {
            self.file
                .corruption_in(BLOCKS, 0, format!("a block with row {ordinal}"), "none")
        })
    }

    /// A block as it is stored, its checksum compared.
    pub(crate) fn compressed(self, index: usize) -> Result<(Block, &'a [u8])> {
        let missing = || {
            self.file
                .corruption_in(BLOCKS, index as u64 * 24, "a block inside the data", "none")
        };
        let block = *self.blocks()?.get(index).ok_or_else(missing)?;
        let start = usize::try_from(block.offset).map_err(|_| missing())?;
        let rest = self.file.unchecked(DATA)?.get(start..).ok_or_else(missing)?;
        let bytes = rest.get(..block.compressed as usize).ok_or_else(missing)?;
        self.file.read_ahead().of(bytes);
        let crc = crc32fast::hash(bytes);
        if crc != block.crc {
            let expected = format!("a block with checksum {:08x}", block.crc);
            return Err(self
                .file
                .corruption_in(DATA, block.offset, expected, format!("{crc:08x}")));
        }
        Ok((block, bytes))
    }

    /// Decompresses a block.
    pub(crate) fn block(self, index: usize) -> Result<Rows> {
        let (block, bytes) = self.compressed(index)?;
        let raw = decompress(bytes, block.raw as usize).filter(|raw| raw.len() == block.raw as usize);
        let raw = raw.ok_or_else(|| {
            let expected = format!("a zstd frame of {} bytes", block.raw);
            self.file.corruption_in(DATA, block.offset, expected, "another")
        })?;
        let rows = self.rows_of(index)?;
        Ok(Rows {
            first_row: rows.start,
            count: rows.len(),
            raw,
        })
    }

    /// Reads one document.
    pub(crate) fn read<T>(
        self,
        ordinal: u32,
        take: impl FnOnce(StoredDocument<'_>) -> Result<T>,
    ) -> Result<T> {
        let index = self.block_of(ordinal)?;
        let rows = self.block(index)?;
        take(rows.get(ordinal).ok_or_else(|| self.bad_row(index, ordinal))?)
    }

    /// Damage inside a block whose checksum is right.
    pub(crate) fn bad_row(self, block: usize, ordinal: u32) -> StorageError {
        let offset = self
            .blocks()
            .ok()
            .and_then(|b| b.get(block))
            .map_or(0, |b| b.offset);
        self.file.corruption_in(
            DATA,
            offset,
            format!("a text and a payload for row {ordinal}"),
            "other bytes",
        )
    }

    /// The payload of one document.
    pub(crate) fn payload(self, ordinal: u32) -> Result<Payload> {
        let index = self.block_of(ordinal)?;
        self.read(ordinal, |d| {
            parse_payload(d.payload).ok_or_else(|| self.bad_row(index, ordinal))
        })
    }

    /// Reads the payloads of ascending rows, each block once.
    pub(crate) fn payloads(
        self,
        ordinals: impl Iterator<Item = u32>,
        mut visit: impl FnMut(u32, Payload) -> bool,
    ) -> Result<()> {
        let mut open: Option<(usize, std::ops::Range<u32>, Rows)> = None;
        for ordinal in ordinals {
            if !open
                .as_ref()
                .is_some_and(|(_, range, _)| range.contains(&ordinal))
            {
                let index = self.block_of(ordinal)?;
                open = Some((index, self.rows_of(index)?, self.block(index)?));
            }
            let Some((index, _, rows)) = &open else { continue };
            let payload = rows
                .get(ordinal)
                .and_then(|document| parse_payload(document.payload));
            if !visit(ordinal, payload.ok_or_else(|| self.bad_row(*index, ordinal))?) {
                break;
            }
        }
        Ok(())
    }

    /// Checks every block.
    pub(crate) fn verify(self) -> Result<()> {
        for index in 0..self.blocks()?.len() {
            let rows = self.block(index)?;
            for ordinal in self.rows_of(index)? {
                let document = rows.get(ordinal).ok_or_else(|| self.bad_row(index, ordinal))?;
                parse_payload(document.payload).ok_or_else(|| self.bad_row(index, ordinal))?;
            }
        }
        Ok(())
    }
}

/// A payload from its JSON.
pub(crate) fn parse_payload(json: &[u8]) -> Option<Payload> {
    serde_json::from_slice(json).ok()
}

fn decompress(bytes: &[u8], length: usize) -> Option<Vec<u8>> {
    if length > TRUSTED_BYTES {
        let decoder = zstd::stream::read::Decoder::with_buffer(bytes).ok()?;
        let mut raw = Vec::new();
        decoder.take(length as u64 + 1).read_to_end(&mut raw).ok()?;
        return Some(raw);
    }
    DECOMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = zstd::bulk::Decompressor::new().ok();
        }
        slot.as_mut()?.decompress(bytes, length).ok()
    })
}
