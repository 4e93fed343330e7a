//! Lists of links in few bits: the ascending rows as differences, all of a list in the bits of its largest.

/// Zero bytes behind the last list, so that eight bytes may be read at any difference.
pub(super) const SLACK: usize = 8;
/// Bits of a difference at least: of a list of so many bytes it is known then how many differences it holds.
const LEAST_WIDTH: u32 = 8;

/// Appends a list in any order, each row once: a byte of width, and in so many bits each, from the lowest bit of the first byte
/// upwards, the first row and the differences of the others to the row before, less one. A list of none takes nothing.
pub(super) fn pack(rows: &[u32], out: &mut Vec<u8>) {
    let mut sorted = rows.to_vec();
    sorted.sort_unstable();
    let mut next = 0;
    for row in &mut sorted {
        let gap = row.wrapping_sub(next);
        next = row.wrapping_add(1);
        *row = gap;
    }
    let Some(largest) = sorted.iter().max() else {
        return;
    };
    let width = (32 - largest.leading_zeros()).max(LEAST_WIDTH);
    out.push(width.to_le_bytes()[0]);
    let (mut bits, mut held) = (0u64, 0u32);
    for gap in sorted {
        bits |= u64::from(gap) << held;
        held += width;
        while held >= 8 {
            out.push(bits.to_le_bytes()[0]);
            (bits, held) = (bits >> 8, held - 8);
        }
    }
    if held > 0 {
        out.push(bits.to_le_bytes()[0]);
    }
}

/// The rows that a row is linked to, ascending.
#[derive(Clone, Copy, Debug, Default)]
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
        let Some((&width, bytes)) = bytes.split_first() else {
            return Self::default();
        };
        Self {
            bytes,
            bit: 0,
            end: bytes.len().saturating_sub(SLACK) * 8,
            // Of another width it is damaged, which has been looked at before; here it has an end.
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
        let word = self.bytes.get(self.bit / 8..)?.first_chunk::<8>()?;
        let gap = (u64::from_le_bytes(*word) >> (self.bit % 8)) & self.mask;
        self.bit += self.width;
        #[expect(clippy::cast_possible_truncation, reason = "of 32 bits at most")]
        let row = self.next.wrapping_add(gap as u32);
        self.next = row.wrapping_add(1);
        Some(row)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self
            .end
            .saturating_sub(self.bit)
            .checked_div(self.width)
            .unwrap_or(0);
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
