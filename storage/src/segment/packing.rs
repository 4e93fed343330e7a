//! Sorted unique ordinals in few bits: differences, in blocks of 128, each block packed at the width of its largest.
//!
//! A list is a sequence of blocks. A block is one byte of width (0 to 32) and then `ceil(values * width / 8)` bytes,
//! values from the lowest bit of the first byte upwards. All blocks but the last hold [`BLOCK`] values; the number of
//! values of the whole list is kept elsewhere. The values are the gaps between neighbours less one, and the first
//! ordinal itself: runs of consecutive ordinals cost one byte a block. The idea is that of Lemire and Boytsov,
//! "Decoding billions of integers per second through vectorization" (2015), without its SIMD.

/// Values in a block.
pub(crate) const BLOCK: usize = 128;

/// Zero bytes that must follow the last list, so that a reader may load eight bytes at any packed value.
pub(crate) const SLACK: usize = 8;

/// Appends the packed form of strictly ascending `ordinals` to `out`.
pub(crate) fn pack(ordinals: &[u32], out: &mut Vec<u8>) {
    let mut next = 0;
    let mut gaps = [0u32; BLOCK];
    for block in ordinals.chunks(BLOCK) {
        gaps.iter_mut()
            .zip(gaps_of(block, &mut next))
            .for_each(|(gap, of)| *gap = of);
        pack_block(gaps.get(..block.len()).unwrap_or(&gaps), out);
    }
}

/// The gaps of strictly ascending ordinals, of which the first may be `next`, which goes on.
pub(crate) fn gaps_of<'o>(ordinals: &'o [u32], next: &'o mut u32) -> impl Iterator<Item = u32> + 'o {
    ordinals.iter().map(|ordinal| {
        let gap = ordinal.wrapping_sub(*next);
        *next = ordinal.wrapping_add(1);
        gap
    })
}

/// Appends one block of at most [`BLOCK`] values: its width, then the values.
pub(crate) fn pack_block(gaps: &[u32], out: &mut Vec<u8>) {
    pack_at_least(gaps, 0, out);
}

/// The same with values of so many bits at least.
pub(crate) fn pack_at_least(gaps: &[u32], width: u32, out: &mut Vec<u8>) {
    let widths = gaps.iter().map(|gap| 32 - gap.leading_zeros());
    let width = widths.fold(width, u32::max);
    #[expect(clippy::cast_possible_truncation, reason = "at most 32")]
    out.push(width as u8);
    let (mut bits, mut held) = (0u64, 0u32);
    for &gap in gaps {
        bits |= u64::from(gap) << held;
        held += width;
        while held >= 8 {
            out.push((bits & 0xff) as u8);
            bits >>= 8;
            held -= 8;
        }
    }
    if held > 0 {
        out.push((bits & 0xff) as u8);
    }
}

/// Appends the `count` ordinals packed at the beginning of `bytes` to `out`; `None` when the bytes end too early, a
/// width is above 32, or an ordinal reaches `limit`.
pub(crate) fn unpack(bytes: &[u8], count: usize, limit: u32, out: &mut Vec<u32>) -> Option<()> {
    unpack_below(bytes, count, u64::from(limit), out)
}

/// The same for numbers that may be as large as there are.
pub(crate) fn unpack_below(mut bytes: &[u8], count: usize, limit: u64, out: &mut Vec<u32>) -> Option<()> {
    // One byte of width holds at most a block, so a hostile count cannot make the reservation large.
    if count.div_ceil(BLOCK) > bytes.len() {
        return None;
    }
    out.reserve(count);
    let mut next = 0u64;
    let mut left = count;
    while left > 0 {
        let values = left.min(BLOCK);
        (next, bytes) = unpack_ordinals(bytes, values, next, out)?;
        left -= values;
    }
    (next <= limit).then_some(())
}

/// Appends one block of ascending ordinals to `out`, of which none is below `next`; returns one more than the last, and the
/// bytes behind the block. `None` when the bytes end too early or a width is above 32.
pub(crate) fn unpack_ordinals<'b>(
    bytes: &'b [u8],
    values: usize,
    next: u64,
    out: &mut Vec<u32>,
) -> Option<(u64, &'b [u8])> {
    let (width, window, rest) = block(bytes, values)?;
    Some((unpack_block(window, width, values, next, out), rest))
}

/// Appends the values of one block to `out`; returns the bytes behind it.
pub(crate) fn unpack_values<'b>(bytes: &'b [u8], values: usize, out: &mut Vec<u32>) -> Option<&'b [u8]> {
    let (width, window, rest) = block(bytes, values)?;
    let mask = (1u64 << width) - 1;
    let first = out.len();
    out.resize(first + values, 0);
    if width > 0 {
        for (at, to) in out.iter_mut().skip(first).enumerate() {
            *to = value_at(window, at * width, mask);
        }
    }
    Some(rest)
}

/// The value that begins with a bit; its mask has 32 bits at most. Beyond the bytes it is 0.
#[inline]
pub(crate) fn value_at(bytes: &[u8], bit: usize, mask: u64) -> u32 {
    let word = bytes.get(bit / 8..).and_then(<[u8]>::first_chunk::<8>);
    let word = word.map_or(0, |word| u64::from_le_bytes(*word));
    #[expect(clippy::cast_possible_truncation, reason = "of 32 bits at most")]
    let value = ((word >> (bit % 8)) & mask) as u32;
    value
}

/// The width of the block at the beginning of `bytes`, its values with [`SLACK`] bytes more, and what is behind it.
fn block(bytes: &[u8], values: usize) -> Option<(usize, &[u8], &[u8])> {
    let (&width, packed) = bytes.split_first()?;
    if width > 32 {
        return None;
    }
    let length = (values * usize::from(width)).div_ceil(8);
    Some((
        usize::from(width),
        packed.get(..length + SLACK)?,
        packed.get(length..)?,
    ))
}

/// Appends one block; `next` is the least ordinal that may come, and the one after the block is returned.
fn unpack_block(window: &[u8], width: usize, values: usize, mut next: u64, out: &mut Vec<u32>) -> u64 {
    let mask = (1u64 << width) - 1;
    let mut bit = 0;
    let first = out.len();
    out.resize(first + values, 0);
    for to in out.iter_mut().skip(first) {
        let ordinal = next + u64::from(value_at(window, bit, mask));
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the caller refuses a list whose last ordinal is too large"
        )]
        {
            *to = ordinal as u32;
        }
        next = ordinal + 1;
        bit += width;
    }
    next
}

#[cfg(test)]
mod tests {
    use super::{SLACK, pack, unpack};
    use proptest::prelude::*;

    fn packed(ordinals: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        pack(ordinals, &mut bytes);
        bytes.resize(bytes.len() + SLACK, 0);
        bytes
    }

    #[test]
    fn a_run_costs_one_byte_a_block() {
        let run: Vec<u32> = (0..128).collect();
        assert_eq!(packed(&run).len(), 1 + SLACK);
    }

    #[test]
    fn the_largest_ordinal_survives() {
        let ordinals = [0, 1, u32::MAX - 1];
        let mut out = Vec::new();
        assert_eq!(unpack(&packed(&ordinals), 3, u32::MAX, &mut out), Some(()));
        assert_eq!(out, ordinals);
        assert_eq!(unpack(&packed(&ordinals), 3, u32::MAX - 1, &mut Vec::new()), None);
    }

    proptest! {
        #[test]
        fn unpack_undoes_pack(set in proptest::collection::btree_set(0u32..5_000_000, 0..700)) {
            let ordinals: Vec<u32> = set.into_iter().collect();
            let mut out = vec![42];
            prop_assert_eq!(unpack(&packed(&ordinals), ordinals.len(), 5_000_000, &mut out), Some(()));
            prop_assert_eq!(&out[1..], &ordinals[..]);
        }

        #[test]
        fn any_bytes_give_an_answer_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..400), count in 0usize..2000) {
            let mut out = Vec::new();
            if unpack(&bytes, count, 1000, &mut out).is_some() {
                prop_assert!(out.windows(2).all(|w| w[0] < w[1]) && out.iter().all(|&o| o < 1000));
            }
        }
    }
}
