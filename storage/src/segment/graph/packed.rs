//! Lists of links in few bits: the ascending rows as differences, all of a list in the bits of its largest.

use crate::error::Result;
use crate::segment::ends::{Ends, write_ends};
use crate::segment::packing::{SLACK, gaps_of, pack_at_least, value_at};
use crate::segment::reader::ComponentFile;
use crate::segment::writer::ComponentWriter;

/// Bits of a difference at least: of a list of so many bytes it is known then how many differences it holds.
const LEAST_WIDTH: u32 = 8;

/// Appends a list in any order, each row once: a byte of width, and in so many bits each, from the lowest bit of the first byte
/// upwards, the first row and the differences of the others to the row before, less one. A list of none takes nothing.
fn pack(rows: &[u32], out: &mut Vec<u8>) {
    if rows.is_empty() {
        return;
    }
    let mut sorted = rows.to_vec();
    sorted.sort_unstable();
    let gaps: Vec<u32> = gaps_of(&sorted, &mut 0).collect();
    pack_at_least(&gaps, LEAST_WIDTH, out);
}

/// Lists of links, one after another, while they are written.
pub(super) struct Lists {
    links: u32,
    /// Bytes of each list.
    lengths: Vec<u16>,
    packed: Vec<u8>,
}

impl Lists {
    pub(super) fn new(links: u32) -> Self {
        Self {
            links,
            lengths: Vec::new(),
            packed: Vec::new(),
        }
    }

    pub(super) fn append(&mut self, writer: &mut ComponentWriter<'_>, rows: &[u32]) -> Result<()> {
        self.packed.clear();
        pack(rows, &mut self.packed);
        self.lengths
            .push(u16::try_from(self.packed.len()).unwrap_or(u16::MAX));
        writer.append(self.links, &self.packed)
    }

    /// Ends the lists and writes their ends; how many bytes they have.
    pub(super) fn finish(self, writer: &mut ComponentWriter<'_>, ends: u32) -> Result<u64> {
        writer.append(self.links, &[0; SLACK])?;
        let lengths = || self.lengths.iter().map(|length| usize::from(*length));
        let bytes = lengths().sum::<usize>() as u64;
        write_ends(writer, ends, lengths(), bytes)?;
        Ok(bytes)
    }
}

/// Lists of links, in place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed<'a> {
    lists: &'a [u8],
    ends: Ends<'a>,
}

impl<'a> Packed<'a> {
    /// So many lists of so many bytes. The first time, `check` asks for the ends to be looked at.
    pub(super) fn open(
        file: &'a ComponentFile,
        (links, ends): (u32, u32),
        lists: usize,
        bytes: u64,
        check: bool,
    ) -> Result<Self> {
        let open = if check { Ends::open } else { Ends::trusted };
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Ok(Self {
            lists: file.exactly(links, bytes.saturating_add(SLACK))?,
            ends: open(file, ends, lists, bytes)?,
        })
    }

    /// The bytes of a list, and those behind it that are read with it; none of a list of none.
    #[inline]
    pub(super) fn bytes(self, list: usize) -> &'a [u8] {
        let range = self.ends.range(list);
        if range.is_empty() {
            return &[];
        }
        self.lists.get(range.start..range.end + SLACK).unwrap_or_default()
    }

    /// Begins to fetch where a list stands.
    #[inline]
    pub(super) fn prefetch_place(self, list: usize) {
        self.ends.prefetch(list);
    }

    pub(super) fn are_sound(self, lists: usize, rows: u32) -> bool {
        (0..lists).all(|list| Links::new(self.bytes(list)).is_sound(rows))
    }
}

/// The rows that a row is linked to, ascending.
#[derive(Clone, Copy, Debug)]
pub struct Links<'a> {
    /// From the list's first difference on, beyond its end.
    bytes: &'a [u8],
    bit: usize,
    /// Bits of the list.
    end: usize,
    width: usize,
    mask: u64,
    next: u32,
}

impl<'a> Links<'a> {
    /// The list of these bytes, of which the last [`SLACK`] are behind it.
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let (width, bytes) = match bytes.split_first() {
            Some((&width, bytes)) => (width, bytes),
            None => (0, bytes),
        };
        Self {
            bytes,
            bit: 0,
            end: bytes.len().saturating_sub(SLACK) * 8,
            // A list of none has no width; of another than pack's it is damaged, which has been looked at before. All have an end.
            width: usize::from(width).max(LEAST_WIDTH as usize),
            mask: 1u64
                .checked_shl(u32::from(width))
                .unwrap_or_default()
                .wrapping_sub(1),
            next: 0,
        }
    }

    /// Whether all rows are below so many, ascend, and are packed as [`pack`] packs them.
    pub(super) fn is_sound(mut self, rows: u32) -> bool {
        let packed = self.end == 0 || (LEAST_WIDTH as usize..=32).contains(&self.width);
        let mut least = 0;
        packed
            && self.all(|row| {
                let sound = row >= least && row < rows;
                least = row.saturating_add(1);
                sound
            })
    }
}

impl Iterator for Links<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        if self.bit + self.width > self.end {
            return None;
        }
        let gap = value_at(self.bytes, self.bit, self.mask);
        self.bit += self.width;
        let row = self.next.wrapping_add(gap);
        self.next = row.wrapping_add(1);
        Some(row)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.saturating_sub(self.bit) / self.width;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Links<'_> {}

#[cfg(test)]
mod tests {
    use super::{Links, SLACK, pack};
    use proptest::prelude::*;

    fn packed(rows: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        pack(rows, &mut bytes);
        bytes.resize(bytes.len() + SLACK, 0);
        bytes
    }

    /// A list of none has no bytes of its own, and is read from an empty slice.
    fn read(bytes: &[u8]) -> Links<'_> {
        Links::new(if bytes.len() > SLACK { bytes } else { &[] })
    }

    #[test]
    fn a_list_in_any_order_comes_back_ascending() {
        assert_eq!(read(&packed(&[])).count(), 0);
        let bytes = packed(&[u32::MAX - 1, 7, 0, 8]);
        assert_eq!(read(&bytes).collect::<Vec<_>>(), [0, 7, 8, u32::MAX - 1]);
        assert!(read(&bytes).is_sound(u32::MAX) && !read(&bytes).is_sound(u32::MAX - 1));
        // Neighbours in a row take eight bits all the same, so that their number is known.
        assert_eq!(packed(&[3, 4, 5]).len(), 1 + 3 + SLACK);
    }

    proptest! {
        #[test]
        fn links_undo_pack(rows in proptest::collection::btree_set(0u32..3_000_000, 0..257)) {
            let rows: Vec<u32> = rows.into_iter().collect();
            let mut shuffled = rows.clone();
            shuffled.reverse();
            let bytes = packed(&shuffled);
            let links = read(&bytes);
            prop_assert_eq!(links.len(), rows.len());
            prop_assert!(links.is_sound(3_000_000));
            prop_assert_eq!(links.collect::<Vec<_>>(), rows);
        }

        #[test]
        fn any_bytes_come_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let links = Links::new(&bytes);
            let sound = links.is_sound(1000);
            let rows: Vec<u32> = links.collect();
            prop_assert!(rows.len() <= bytes.len());
            if sound {
                prop_assert!(rows.is_sorted() && rows.iter().all(|row| *row < 1000));
            }
        }
    }
}
