//! Products of rows of four bits a number: the oracle, and what machines without AVX2 run.
//!
//! A row of `B` bytes holds `2 B` numbers of 0 to 15, number `j` in the low half of byte `j` and number `B + j` in its high
//! half, so that two masks unpack it.

/// The sum of products with a query of `2 B` bytes.
pub(super) fn dot_query(row: &[u8], query: &[i8]) -> i32 {
    let (low, high) = query.split_at(row.len());
    let products = row.iter().zip(low).zip(high);
    products
        .map(|((byte, low), high)| {
            i32::from(byte & 15) * i32::from(*low) + i32::from(byte >> 4) * i32::from(*high)
        })
        .sum()
}

/// Rows that are fetched ahead of the one that is scored: some 100 ns, which is what memory takes.
const AHEAD: usize = 24;

/// The sums of products of the first of some rows of `bytes` bytes, by their numbers, with a query: as many as `out` has places.
/// The rows after them are only fetched. `dot` is that of one.
#[inline]
pub(super) fn dot_some(
    (codes, bytes): (&[u8], usize),
    rows: &[u32],
    query: &[i8],
    out: &mut [i32],
    dot: impl Fn(&[u8], &[i8]) -> i32,
) {
    for (at, (row, out)) in rows.iter().zip(out).enumerate() {
        fetch(codes, bytes, rows.get(at + AHEAD));
        *out = dot(row_of(codes, bytes, *row), query);
    }
}

#[inline]
fn row_of(codes: &[u8], bytes: usize, row: u32) -> &[u8] {
    &codes[row as usize * bytes..][..bytes]
}

#[inline]
fn fetch(codes: &[u8], bytes: usize, row: Option<&u32>) {
    let row = row.and_then(|&row| codes.get(row as usize * bytes..)?.get(..bytes));
    super::prefetch(row.unwrap_or_default());
}

/// The sum of products of two rows, and the sum of all of their numbers.
pub(super) fn dot_rows(a: &[u8], b: &[u8]) -> [i32; 2] {
    a.iter().zip(b).fold([0, 0], |[products, sum], (a, b)| {
        let [low_a, high_a, low_b, high_b] = [a & 15, a >> 4, b & 15, b >> 4].map(i32::from);
        [
            products + low_a * low_b + high_a * high_b,
            sum + low_a + high_a + low_b + high_b,
        ]
    })
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    #![expect(
        unsafe_code,
        reason = "kernels read through pointers, within lengths that are checked on entry"
    )]
    use std::arch::x86_64::*;

    use super::{AHEAD, fetch, row_of};

    /// As [`dot_query`](super::dot_query); whole groups of 16 bytes.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(in crate::kernel) fn dot_query_avx512(row: &[u8], query: &[i8]) -> i32 {
        assert!(query.len() == 2 * row.len());
        let nibble = _mm512_set1_epi8(15);
        let mut sum = _mm512_setzero_si512();
        for (at, bytes) in (0..row.len()).step_by(64).zip(row.chunks(64)) {
            let mask = u64::MAX >> (64 - bytes.len());
            // SAFETY: the mask reads no more than is left of the row, and of the half of the query that begins with it.
            let (bytes, low, high) = unsafe {
                let query = query.as_ptr().add(at);
                (
                    _mm512_maskz_loadu_epi8(mask, bytes.as_ptr().cast()),
                    _mm512_maskz_loadu_epi8(mask, query),
                    _mm512_maskz_loadu_epi8(mask, query.add(row.len())),
                )
            };
            sum = _mm512_dpbusd_epi32(sum, _mm512_and_si512(bytes, nibble), low);
            let shifted = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), nibble);
            sum = _mm512_dpbusd_epi32(sum, shifted, high);
        }
        _mm512_reduce_add_epi32(sum)
    }

    /// As [`dot_some`](super::dot_some), four rows at a time, so that the query is read and sums are added up once for four.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(in crate::kernel) fn dot_some_avx512(
        (codes, bytes): (&[u8], usize),
        rows: &[u32],
        query: &[i8],
        out: &mut [i32],
    ) {
        let (fours, rest) = rows[..out.len()].as_chunks::<4>();
        let (sums, rest_sums) = out.as_chunks_mut::<4>();
        for (at, (four, sums)) in fours.iter().zip(sums).enumerate() {
            for ahead in 4 * at + AHEAD..4 * at + AHEAD + 4 {
                fetch(codes, bytes, rows.get(ahead));
            }
            let [a, b, c, d] = *four;
            let four = [
                row_of(codes, bytes, a),
                row_of(codes, bytes, b),
                row_of(codes, bytes, c),
                row_of(codes, bytes, d),
            ];
            *sums = dot_four_avx512(four, query);
        }
        for (row, sum) in rest.iter().zip(rest_sums) {
            *sum = dot_query_avx512(row_of(codes, bytes, *row), query);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn dot_four_avx512(rows: [&[u8]; 4], query: &[i8]) -> [i32; 4] {
        let bytes = query.len() / 2;
        assert!(query.len() == 2 * bytes && rows.iter().all(|row| row.len() == bytes));
        let nibble = _mm512_set1_epi8(15);
        let mut sums = [_mm512_setzero_si512(); 4];
        for at in (0..bytes).step_by(64) {
            let mask = u64::MAX >> (64 - (bytes - at).min(64));
            // SAFETY: the mask reads no more than is left of both halves of the query.
            let (low, high) = unsafe {
                let query = query.as_ptr().add(at);
                (
                    _mm512_maskz_loadu_epi8(mask, query),
                    _mm512_maskz_loadu_epi8(mask, query.add(bytes)),
                )
            };
            for (sum, row) in sums.iter_mut().zip(rows) {
                // SAFETY: the mask reads no more than is left of the row.
                let codes = unsafe { _mm512_maskz_loadu_epi8(mask, row.as_ptr().add(at).cast()) };
                *sum = _mm512_dpbusd_epi32(*sum, _mm512_and_si512(codes, nibble), low);
                let shifted = _mm512_and_si512(_mm512_srli_epi16::<4>(codes), nibble);
                *sum = _mm512_dpbusd_epi32(*sum, shifted, high);
            }
        }
        // Sums of two rows side by side, then those of four.
        let [a, b, c, d] = sums;
        let two = |a, b| _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (ab, cd) = (two(a, b), two(c, d));
        let abcd = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
        let half = _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti64x4_epi64::<1>(abcd));
        let total = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half));
        let mut out = [0; 4];
        // SAFETY: four numbers of 32 bits.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), total) };
        out
    }

    /// As [`dot_some`](super::dot_some).
    #[target_feature(enable = "avx2")]
    pub(in crate::kernel) fn dot_some_avx2(
        codes: (&[u8], usize),
        rows: &[u32],
        query: &[i8],
        out: &mut [i32],
    ) {
        super::dot_some(codes, rows, query, out, |row, query| dot_query_avx2(row, query));
    }

    /// As [`dot_rows`](super::dot_rows).
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(in crate::kernel) fn dot_rows_avx512(a: &[u8], b: &[u8]) -> [i32; 2] {
        assert!(a.len() == b.len());
        let (nibble, ones) = (_mm512_set1_epi8(15), _mm512_set1_epi8(1));
        let (mut products, mut sums) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        for (a, b) in a.chunks(64).zip(b.chunks(64)) {
            let mask = u64::MAX >> (64 - a.len());
            // SAFETY: the mask reads no more than is left of both rows.
            let (a, b) = unsafe {
                (
                    _mm512_maskz_loadu_epi8(mask, a.as_ptr().cast()),
                    _mm512_maskz_loadu_epi8(mask, b.as_ptr().cast()),
                )
            };
            let halves = |bytes| {
                (
                    _mm512_and_si512(bytes, nibble),
                    _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), nibble),
                )
            };
            let ((low_a, high_a), (low_b, high_b)) = (halves(a), halves(b));
            products = _mm512_dpbusd_epi32(products, low_a, low_b);
            products = _mm512_dpbusd_epi32(products, high_a, high_b);
            // Four numbers of at most 15 fit a byte.
            let both = _mm512_add_epi8(_mm512_add_epi8(low_a, high_a), _mm512_add_epi8(low_b, high_b));
            sums = _mm512_dpbusd_epi32(sums, both, ones);
        }
        [_mm512_reduce_add_epi32(products), _mm512_reduce_add_epi32(sums)]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn total(sum: __m256i) -> i32 {
        let half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
        let pair = _mm_add_epi32(half, _mm_shuffle_epi32::<0b00_00_11_10>(half));
        _mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32::<0b00_00_00_01>(pair)))
    }

    /// The numbers of 16 bytes: the low halves, then the high ones.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn halves(bytes: __m128i) -> __m256i {
        let nibble = _mm_set1_epi8(15);
        let high = _mm_and_si128(_mm_srli_epi16::<4>(bytes), nibble);
        _mm256_set_m128i(high, _mm_and_si128(bytes, nibble))
    }

    /// As [`dot_query`](super::dot_query); whole groups of 16 bytes.
    #[target_feature(enable = "avx2")]
    pub(in crate::kernel) fn dot_query_avx2(row: &[u8], query: &[i8]) -> i32 {
        assert!(query.len() == 2 * row.len());
        let ones = _mm256_set1_epi16(1);
        let mut sum = _mm256_setzero_si256();
        let (groups, rest) = row.as_chunks::<16>();
        for (at, group) in (0..row.len()).step_by(16).zip(groups) {
            // SAFETY: 16 bytes are left of the row, and of the half of the query that begins with it.
            let (bytes, query) = unsafe {
                let query = query.as_ptr().add(at);
                let high = _mm_loadu_si128(query.add(row.len()).cast());
                (
                    _mm_loadu_si128(group.as_ptr().cast()),
                    _mm256_set_m128i(high, _mm_loadu_si128(query.cast())),
                )
            };
            // Two products of at most 15 x 128 fit 16 bits.
            let products = _mm256_maddubs_epi16(halves(bytes), query);
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(products, ones));
        }
        let done = row.len() - rest.len();
        let (low, high) = query.split_at(row.len());
        let rest = rest.iter().zip(&low[done..]).zip(&high[done..]);
        let rest = rest.map(|((byte, low), high)| {
            i32::from(byte & 15) * i32::from(*low) + i32::from(byte >> 4) * i32::from(*high)
        });
        total(sum) + rest.sum::<i32>()
    }

    /// As [`dot_rows`](super::dot_rows).
    #[target_feature(enable = "avx2")]
    pub(in crate::kernel) fn dot_rows_avx2(a: &[u8], b: &[u8]) -> [i32; 2] {
        assert!(a.len() == b.len());
        let (ones, bytes_of_one) = (_mm256_set1_epi16(1), _mm256_set1_epi8(1));
        let (mut products, mut sums) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        let ((groups_a, rest_a), (groups_b, rest_b)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
        for (a, b) in groups_a.iter().zip(groups_b) {
            // SAFETY: both have 16 bytes.
            let (a, b) = unsafe {
                (
                    halves(_mm_loadu_si128(a.as_ptr().cast())),
                    halves(_mm_loadu_si128(b.as_ptr().cast())),
                )
            };
            let product = _mm256_maddubs_epi16(a, b);
            products = _mm256_add_epi32(products, _mm256_madd_epi16(product, ones));
            let both = _mm256_maddubs_epi16(_mm256_add_epi8(a, b), bytes_of_one);
            sums = _mm256_add_epi32(sums, _mm256_madd_epi16(both, ones));
        }
        let [more, sum] = super::dot_rows(rest_a, rest_b);
        [total(products) + more, total(sums) + sum]
    }
}

#[cfg(test)]
mod tests {
    use crate::kernel::{Isa, Kernel};

    #[test]
    fn every_instruction_set_gives_the_same_products() {
        for bytes in [16, 32, 48, 64, 80, 192, 208, 1024] {
            let mut state = 0x9e37_79b9_7f4a_7c15u64 ^ bytes as u64;
            let mut byte = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_le_bytes()[7]
            };
            // The extremes too.
            let a: Vec<u8> = (0..bytes).map(|at| if at < 8 { 0xff } else { byte() }).collect();
            let b: Vec<u8> = (0..bytes).map(|at| if at < 4 { 0xff } else { byte() }).collect();
            let query: Vec<i8> = (0..2 * bytes)
                .map(|at| {
                    if at % bytes < 8 {
                        -128
                    } else {
                        byte().cast_signed()
                    }
                })
                .collect();
            let (scalar, sums) = (super::dot_query(&a, &query), super::dot_rows(&a, &b));
            for isa in Isa::available() {
                let kernel = Kernel::new(isa).unwrap();
                assert_eq!(kernel.dot_int4(&a, &query), scalar, "{isa}, {bytes}");
                assert_eq!(kernel.dot_int4_rows(&a, &b), sums, "{isa}, {bytes}");
                let (both, other) = ([a.clone(), b.clone()].concat(), super::dot_query(&b, &query));
                let (rows, mut out) = ([0, 1, 1, 0, 1, 0, 0], [0; 7]);
                kernel.dot_int4_some((&both, bytes), &rows, &query, &mut out);
                let expected = rows.map(|row| if row == 0 { scalar } else { other });
                assert_eq!(out, expected, "{isa}, {bytes}");
            }
        }
    }
}
