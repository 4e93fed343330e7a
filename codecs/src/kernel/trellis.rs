//! The Viterbi search of the trellis codes, written so that each instruction set's build of it is vectorised; all of them
//! give the same path, because no operation is reordered.

/// Entries of a table: one for each window of 8 bits.
pub(crate) const WINDOWS: usize = 256;

/// The low 8 bits.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "what is cut off is not wanted")]
pub(crate) fn low_byte(value: usize) -> u8 {
    value as u8
}

/// Bytes of back pointers that a search of a row of `dim` numbers writes.
pub(crate) fn back_len(bits: u8, dim: usize) -> usize {
    dim * (WINDOWS >> bits)
}

/// Finds the path of least squared error through the trellis of `1 << BITS` branches a state. Returns the last state;
/// `back` has, for each number of the row, the high bits of the window that led to each state, as [`back_at`] orders them.
///
/// A state is the last `8 - BITS` bits of the code; a window is a state and the `BITS` bits after it; `laid_out` is the
/// table as [`lay_out`] orders it. Of a new state the low bits are the branch and
/// the high bits, its tail, are the low ones of the state before; the states before that lead there differ in their high
/// bits, the head, of which the best is kept.
#[inline(always)]
fn search<const BITS: usize>(row: &[f32], laid_out: &[f32; WINDOWS], back: &mut [u8]) -> usize {
    let (states, branches) = (WINDOWS >> BITS, 1usize << BITS);
    let tails = states / branches;
    let mut cost = [0.0f32; WINDOWS];
    let mut next = [0.0f32; WINDOWS];
    for (x, back) in row.iter().zip(back.chunks_exact_mut(states)) {
        for group in (0..tails).step_by(GROUP) {
            let mut least = [[0.0f32; GROUP]; 4];
            for (branch, least) in least.iter_mut().enumerate().take(branches) {
                let table = &laid_out[branch * states..][..states];
                let mut heads = [0u32; GROUP];
                *least = sums(*x, &cost[group..], &table[group..]);
                for head in 1..branches {
                    let first = head * tails + group;
                    let sums = sums(*x, &cost[first..], &table[first..]);
                    for lane in 0..GROUP {
                        let better = sums[lane] < least[lane];
                        heads[lane] = if better { first_u32(head) } else { heads[lane] };
                        least[lane] = if better { sums[lane] } else { least[lane] };
                    }
                }
                let back = &mut back[branch * tails + group..][..GROUP];
                for (back, head) in back.iter_mut().zip(heads) {
                    [*back, ..] = head.to_le_bytes();
                }
            }
            let next = &mut next[group * branches..][..GROUP * branches];
            for lane in 0..GROUP {
                for branch in 0..branches {
                    next[lane * branches + branch] = least[branch][lane];
                }
            }
        }
        cost[..states].copy_from_slice(&next[..states]);
    }
    best_of(&cost[..states])
}

/// Tails that are looked at together.
const GROUP: usize = 16;

/// The costs of the windows from some states on, with their squared errors.
#[inline(always)]
fn sums(x: f32, cost: &[f32], table: &[f32]) -> [f32; GROUP] {
    let (cost, table) = (&cost[..GROUP], &table[..GROUP]);
    std::array::from_fn(|lane| {
        let error = x - table[lane];
        cost[lane] + error * error
    })
}

#[inline(always)]
fn first_u32(head: usize) -> u32 {
    u32::from(low_byte(head))
}

fn best_of(cost: &[f32]) -> usize {
    let best = |best: usize, state: usize| if cost[state] < cost[best] { state } else { best };
    (0..cost.len()).fold(0, best)
}

/// The search where there are as many states as branches, and every state leads to every other: the lanes are branches.
#[inline(always)]
fn search_4(row: &[f32], laid_out: &[f32; WINDOWS], back: &mut [u8]) -> usize {
    let mut cost = [0.0f32; GROUP];
    for (x, back) in row.iter().zip(back.chunks_exact_mut(GROUP)) {
        let mut least = [f32::INFINITY; GROUP];
        let mut heads = [0u32; GROUP];
        for (state, table) in laid_out.chunks_exact(GROUP).enumerate() {
            let sums = sums(*x, &[cost[state]; GROUP], table);
            for lane in 0..GROUP {
                let better = sums[lane] < least[lane];
                heads[lane] = if better { first_u32(state) } else { heads[lane] };
                least[lane] = if better { sums[lane] } else { least[lane] };
            }
        }
        cost = least;
        for (back, head) in back.iter_mut().zip(heads) {
            [*back, ..] = head.to_le_bytes();
        }
    }
    best_of(&cost)
}

/// The table in the order in which the search reads it: `[branch][state]` for 1 and 2 bits, `[state][branch]`, which is
/// the order of the windows, for 4.
pub(crate) fn lay_out(bits: u8, table: impl Fn(usize) -> f32) -> [f32; WINDOWS] {
    let states = WINDOWS >> bits;
    std::array::from_fn(|at| {
        if bits == 4 {
            table(at)
        } else {
            table(((at % states) << bits) | (at / states))
        }
    })
}

/// Where the back pointer of a state is among those of a number.
pub(crate) fn back_at(bits: u8, state: usize) -> usize {
    let tails = WINDOWS >> (2 * bits);
    (state & ((1 << bits) - 1)) * tails + (state >> bits)
}

/// The search for any number of bits, in the instructions that the caller is built with.
#[inline(always)]
pub(super) fn search_any(bits: u8, row: &[f32], laid_out: &[f32; WINDOWS], back: &mut [u8]) -> usize {
    match bits {
        1 => search::<1>(row, laid_out, back),
        2 => search::<2>(row, laid_out, back),
        _ => search_4(row, laid_out, back),
    }
}

/// Looks up the window of each number: the `bits` of the number after the `8 - bits` before them. `before` holds, in its
/// low bits, those that precede the first packed byte.
pub(super) fn unpack(bits: u8, table: &[u8; WINDOWS], before: u8, packed: &[u8], out: &mut [u8]) {
    let mut stream = u16::from(before);
    for (byte, out) in packed.iter().zip(out.chunks_exact_mut(8 / usize::from(bits))) {
        stream = stream << 8 | u16::from(*byte);
        let mut shift = 8;
        for out in out {
            shift -= bits;
            let [window, _] = (stream >> shift).to_le_bytes();
            *out = table[usize::from(window)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Isa, Kernel};

    /// Numbers of about unit variance, and a table of them (splitmix64, the sum of four uniform numbers).
    fn numbers(count: usize, mut state: u64) -> Vec<f32> {
        let mut next = move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            f32::from_bits(0x3f80_0000 | u32::try_from(z >> 41).unwrap_or(0)) - 1.5
        };
        (0..count)
            .map(|_| (0..4).map(|_| next()).sum::<f32>() * 1.7)
            .collect()
    }

    /// The windows of a path and its squared error.
    fn follow(bits: u8, row: &[f32], table: &[f32], back: &[u8], mut state: usize) -> (Vec<usize>, f32) {
        let states = WINDOWS >> bits;
        let mut windows = Vec::new();
        for back in back.chunks_exact(states).rev() {
            let window = usize::from(back[back_at(bits, state)]) << (8 - bits) | state;
            windows.push(window);
            state = window >> bits;
        }
        windows.reverse();
        let error = row
            .iter()
            .zip(&windows)
            .map(|(x, w)| (x - table[*w]).powi(2))
            .sum();
        (windows, error)
    }

    #[test]
    fn the_path_found_is_the_best_and_the_same_on_every_instruction_set() {
        let table = numbers(WINDOWS, 1);
        for (bits, length) in [(1, 7), (2, 4), (4, 2)] {
            let row = numbers(length, u64::from(bits));
            let mut paths = Vec::new();
            for isa in Isa::available() {
                let mut back = vec![0; back_len(bits, length)];
                let kernel = Kernel::new(isa).unwrap();
                let last =
                    kernel.trellis_search(bits, &row, &lay_out(bits, |window| table[window]), &mut back);
                paths.push(follow(bits, &row, &table, &back, last));
            }
            assert!(
                paths.iter().all(|path| *path == paths[0]),
                "{bits} bits: {paths:?}"
            );
            // Every stream of 8 - bits + bits * length bits, which is 15, 14 or 12.
            let total = usize::from(8 - bits) + usize::from(bits) * length;
            let error = |stream: usize| -> f32 {
                let window = |at: usize| stream >> (usize::from(bits) * (length - 1 - at)) & 0xff;
                row.iter()
                    .enumerate()
                    .map(|(at, x)| (x - table[window(at)]).powi(2))
                    .sum()
            };
            let best = (0..1 << total).map(error).fold(f32::INFINITY, f32::min);
            assert!(
                (paths[0].1 - best).abs() < 1e-5,
                "{bits} bits: {} for {best}",
                paths[0].1
            );
        }
    }

    #[test]
    fn windows_are_unpacked_alike_on_every_instruction_set() {
        let table: [u8; WINDOWS] = std::array::from_fn(|at| low_byte(at * 37 + 11));
        let packed: Vec<u8> = (0..=255u8).map(|b| b.wrapping_mul(167) ^ 0x5a).collect();
        for bits in [1u8, 2, 4] {
            for dim in [8, 24, 64, 72, 128, 136, 384] {
                let packed = &packed[..dim * usize::from(bits) / 8];
                let mut stream = vec![0b0101_1010 & (u8::MAX >> bits)];
                stream.extend(packed);
                let window = |at: usize| {
                    let end = 8 + (at + 1) * usize::from(bits);
                    (end - 8..end).fold(0usize, |w, bit| {
                        w << 1 | usize::from(stream[bit / 8] >> (7 - bit % 8) & 1)
                    })
                };
                let expected: Vec<u8> = (0..dim).map(|at| table[window(at)]).collect();
                for isa in Isa::available() {
                    let mut out = vec![0; dim];
                    Kernel::new(isa).unwrap().trellis_unpack(
                        bits,
                        &table,
                        (&[0], &stream[..1]),
                        packed,
                        &mut out,
                    );
                    assert_eq!(out, expected, "{isa}, {bits} bits, {dim}");
                }
            }
        }
    }
}
