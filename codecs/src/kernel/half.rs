//! Pairs of vectors of which one or both are of half precision: AVX2 with F16C, multiplied and summed in single precision.
//! (simsimd adds up in half precision where the machine can, which is off by up to 0.1%.)
#![expect(
    unsafe_code,
    reason = "kernels read through pointers, within lengths that are checked on entry"
)]

use ::half::f16;
use std::arch::x86_64::*;

/// Eight numbers, widened.
trait Eight: Copy {
    /// # Safety
    /// `at` points to eight numbers.
    unsafe fn load(at: *const Self) -> __m256;
    fn wide(self) -> f32;
}

impl Eight for f32 {
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn load(at: *const Self) -> __m256 {
        // SAFETY: by precondition.
        unsafe { _mm256_loadu_ps(at) }
    }

    fn wide(self) -> f32 {
        self
    }
}

impl Eight for f16 {
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn load(at: *const Self) -> __m256 {
        // SAFETY: by precondition; f16 is 16 bits of IEEE 754.
        _mm256_cvtph_ps(unsafe { _mm_loadu_si128(at.cast()) })
    }

    fn wide(self) -> f32 {
        self.to_f32()
    }
}

/// The sum over dimensions of the product, or of the squared difference.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn sum<A: Eight, B: Eight, const DIFFERENCE: bool>(a: &[A], b: &[B]) -> f32 {
    let len = a.len().min(b.len());
    let mut sums = [_mm256_setzero_ps(); 4];
    let whole = len / 32 * 32;
    for at in (0..whole).step_by(32) {
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: at + 32 <= len, and i is below 4.
            let (x, y) = unsafe {
                (
                    A::load(a.as_ptr().add(at + 8 * i)),
                    B::load(b.as_ptr().add(at + 8 * i)),
                )
            };
            *sum = if DIFFERENCE {
                let difference = _mm256_sub_ps(x, y);
                _mm256_fmadd_ps(difference, difference, *sum)
            } else {
                _mm256_fmadd_ps(x, y, *sum)
            };
        }
    }
    let pairs = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
    let mut lanes = [0.0f32; 8];
    // SAFETY: eight numbers are there to be written.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), pairs) };
    let rest = a[whole..len].iter().zip(&b[whole..len]).map(|(x, y)| {
        let (x, y) = (x.wide(), y.wide());
        if DIFFERENCE { (x - y) * (x - y) } else { x * y }
    });
    lanes.iter().sum::<f32>() + rest.sum::<f32>()
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn dot_f16(a: &[f16], b: &[f16]) -> f32 {
    sum::<f16, f16, false>(a, b)
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn l2sq_f16(a: &[f16], b: &[f16]) -> f32 {
    sum::<f16, f16, true>(a, b)
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn dot_mixed(a: &[f32], b: &[f16]) -> f32 {
    sum::<f32, f16, false>(a, b)
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn l2sq_mixed(a: &[f32], b: &[f16]) -> f32 {
    sum::<f32, f16, true>(a, b)
}
