//! Whether numbers are finite, without a branch at each of them.

/// Whether all numbers are finite: the oracle of the others, and what they are compiled from.
#[inline(always)]
pub(super) fn all_finite(values: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    let not_finite = |v: &f32| u32::from(v.to_bits() & EXPONENT == EXPONENT);
    let chunks = values.chunks_exact(64);
    let rest: u32 = chunks.remainder().iter().map(not_finite).sum();
    let mut found = [0u32; 64];
    for chunk in chunks {
        for (found, v) in found.iter_mut().zip(chunk) {
            *found |= not_finite(v);
        }
    }
    rest == 0 && found == [0; 64]
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(in crate::kernel) fn all_finite_avx512(values: &[f32]) -> bool {
        super::all_finite(values)
    }

    #[target_feature(enable = "avx2")]
    pub(in crate::kernel) fn all_finite_avx2(values: &[f32]) -> bool {
        super::all_finite(values)
    }
}
