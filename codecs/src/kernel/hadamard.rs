//! The Walsh-Hadamard transform; every instruction set gives the same bits, because no operation is reordered.

/// The orthonormal Walsh-Hadamard transform of a power of two of numbers, its own inverse: the oracle of the others.
#[inline(always)]
pub(super) fn hadamard(row: &mut [f32]) {
    stages(row, 1);
    scale(row);
}

/// The butterflies over this distance and all greater ones.
#[inline(always)]
fn stages(row: &mut [f32], first: usize) {
    let mut half = first;
    while half < row.len() {
        for block in row.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}

#[inline(always)]
fn scale(row: &mut [f32]) {
    #[expect(clippy::cast_precision_loss, reason = "at most 1,024")]
    let norm = (row.len() as f32).sqrt().recip();
    row.iter_mut().for_each(|v| *v *= norm);
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use super::{scale, stages};
    use std::arch::x86_64::*;

    /// As [`hadamard`](super::hadamard), in registers of 8.
    #[target_feature(enable = "avx2")]
    pub(in super::super) fn hadamard_avx2(row: &mut [f32]) {
        super::hadamard(row);
    }

    /// As [`hadamard`](super::hadamard), in registers of 16.
    #[target_feature(enable = "avx512f")]
    pub(in super::super) fn hadamard_avx512(row: &mut [f32]) {
        if row.len() < 16 {
            return super::hadamard(row);
        }
        for block in row.chunks_exact_mut(16) {
            // SAFETY: the block has 16 numbers.
            let v = unsafe { _mm512_loadu_ps(block.as_ptr()) };
            let v = butterfly(v, _mm512_permute_ps::<0b10_11_00_01>(v), 0b1010_1010_1010_1010);
            let v = butterfly(v, _mm512_permute_ps::<0b01_00_11_10>(v), 0b1100_1100_1100_1100);
            let v = butterfly(
                v,
                _mm512_shuffle_f32x4::<0b10_11_00_01>(v, v),
                0b1111_0000_1111_0000,
            );
            let v = butterfly(
                v,
                _mm512_shuffle_f32x4::<0b01_00_11_10>(v, v),
                0b1111_1111_0000_0000,
            );
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(block.as_mut_ptr(), v) };
        }
        stages(row, 16);
        scale(row);
    }

    /// Sums in the lower lanes of each pair, differences in the upper ones; `partners` has the other lane of each pair.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn butterfly(v: __m512, partners: __m512, upper: __mmask16) -> __m512 {
        _mm512_mask_sub_ps(_mm512_add_ps(partners, v), upper, partners, v)
    }
}

#[cfg(test)]
mod tests {
    use crate::kernel::{Isa, Kernel};

    #[test]
    fn it_is_the_matrix_of_signs_and_the_same_bits_on_every_instruction_set() {
        for size in [1usize, 2, 4, 8, 16, 32, 64, 128, 512, 1024] {
            let row: Vec<f32> = (0..size)
                .map(|at| f32::from(u16::try_from(at * 7919 % 1009).unwrap()) / 504.5 - 1.0)
                .collect();
            let mut expected = row.clone();
            super::hadamard(&mut expected);
            let root = f64::from(u16::try_from(size).unwrap()).sqrt();
            for (at, got) in expected.iter().enumerate() {
                let sign = |other: usize| {
                    if (at & other).count_ones().is_multiple_of(2) {
                        1.0
                    } else {
                        -1.0
                    }
                };
                let terms = row
                    .iter()
                    .enumerate()
                    .map(|(other, v)| sign(other) * f64::from(*v));
                let sum = terms.sum::<f64>() / root;
                assert!(
                    (f64::from(*got) - sum).abs() < 1e-4,
                    "{size}: {got} for {sum} at {at}"
                );
            }
            for isa in Isa::available() {
                let mut got = row.clone();
                Kernel::new(isa).unwrap().hadamard(&mut got);
                let bits = |row: &[f32]| row.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
                assert_eq!(bits(&got), bits(&expected), "{isa}, {size}");
            }
        }
    }
}
