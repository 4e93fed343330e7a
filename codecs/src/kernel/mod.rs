//! The one place of SIMD: a scalar oracle, a file for each instruction set, and the choice among them at run time.
#![expect(
    unsafe_code,
    reason = "calls functions of an instruction set whose presence a Kernel proves"
)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod finite;
mod hadamard;
#[cfg(target_arch = "x86_64")]
mod half;
mod int4;
mod interaction;
#[cfg(target_arch = "x86_64")]
mod interaction_avx2;
#[cfg(target_arch = "aarch64")]
mod neon;
mod panels;
mod scalar;
mod tile;
mod trellis;
#[cfg(target_arch = "x86_64")]
mod trellis_avx512;

use crate::error::CodecError;
use ::half::f16;
pub(crate) use panels::{BytePanels, ByteRows, LANES, Panels, quantize};
pub(crate) use scalar::exact_dot;
use scalar::levels_of;
use simsimd::SpatialSimilarity;
use std::fmt;
use std::ops::Range;
pub(crate) use tile::{ResidualTile, Unpack};
pub(crate) use trellis::{WINDOWS, back_at, back_len, lay_out, low_byte};

/// Document rows that a caller widens and scores at once: enough to fill every register tile, few enough for the L1
/// cache at 128 dimensions.
pub(crate) const ROW_TILE: usize = 24;

/// Asks the processor to bring a slice into its cache, without waiting for it. It changes nothing that a program can see.
#[inline]
pub fn prefetch<T>(slice: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let first = slice.as_ptr().cast::<i8>();
        for line in (0..size_of_val(slice)).step_by(64) {
            // SAFETY: SSE is part of x86-64; a prefetch of any address is no access.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(line)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = slice;
}

/// An instruction set that has kernels of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// x86-64 with AVX-512 F, BW, VL and VNNI.
    Avx512Vnni,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// AArch64 with NEON.
    Neon,
    /// Any machine; the oracle of the others.
    Scalar,
}

impl Isa {
    /// Every instruction set, best first.
    pub const ALL: [Self; 4] = [Self::Avx512Vnni, Self::Avx2, Self::Neon, Self::Scalar];

    /// Those that this machine has, best first; the last is always [`Isa::Scalar`].
    #[must_use]
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// The best that this machine has.
    #[must_use]
    pub fn best() -> Self {
        Self::ALL
            .into_iter()
            .find(|isa| isa.is_available())
            .unwrap_or(Self::Scalar)
    }

    /// Whether this machine has it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
                    && Self::Avx2.is_available()
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            Self::Scalar => true,
            _ => false,
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avx512Vnni => "avx512-vnni",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Scalar => "scalar",
        })
    }
}

/// The kernels of an instruction set that this machine has: whoever holds one may call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel(Isa);

/// Calls the kernel of a name of the held instruction set.
macro_rules! by_isa {
    ($kernel:expr, $name:ident($($arg:expr),*)) => {
        match $kernel.0 {
            // SAFETY: a kernel of an instruction set exists only where the machine has it.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => unsafe { avx512::$name($($arg),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { avx2::$name($($arg),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => unsafe { neon::$name($($arg),*) },
            _ => scalar::$name($($arg),*),
        }
    };
}

/// Calls the half-precision kernel of a name.
macro_rules! by_half {
    ($kernel:expr, $name:ident($($arg:expr),*)) => {
        match $kernel.0 {
            // SAFETY: a kernel of an instruction set exists only where the machine has it.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni | Isa::Avx2 => unsafe { half::$name($($arg),*) },
            _ => scalar::$name($($arg),*),
        }
    };
}

impl Kernel {
    /// The kernels of an instruction set.
    pub(crate) fn new(isa: Isa) -> Result<Self, CodecError> {
        if isa.is_available() {
            Ok(Self(isa))
        } else {
            Err(CodecError::IsaUnavailable { isa })
        }
    }

    /// The best kernels of this machine.
    pub(crate) fn best() -> Self {
        Self(Isa::best())
    }

    /// Dot product of two vectors of one length.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "simsimd widens its single-precision sum"
    )]
    pub(crate) fn dot_f32(self, a: &[f32], b: &[f32]) -> f32 {
        match self.0 {
            Isa::Scalar => scalar::exact_dot(a, b),
            _ => f32::dot(a, b).map_or_else(|| scalar::exact_dot(a, b), |v| v as f32),
        }
    }

    /// Squared Euclidean distance of two vectors of one length.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "simsimd widens its single-precision sum"
    )]
    pub(crate) fn l2sq_f32(self, a: &[f32], b: &[f32]) -> f32 {
        match self.0 {
            Isa::Scalar => scalar::l2sq_f32(a, b),
            _ => f32::l2sq(a, b).map_or_else(|| scalar::l2sq_f32(a, b), |v| v as f32),
        }
    }

    /// Dot product of two vectors of one length in int8.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "65,536 products of bytes are below 2^31"
    )]
    pub(crate) fn dot_i8(self, a: &[i8], b: &[i8]) -> i32 {
        match self.0 {
            Isa::Scalar => scalar::dot_i8(a, b),
            _ => i8::dot(a, b).map_or_else(|| scalar::dot_i8(a, b), |v| v as i32),
        }
    }

    /// The sum of products of a row of four bits a number with a query: see [`int4::dot_query`].
    pub(crate) fn dot_int4(self, row: &[u8], query: &[i8]) -> i32 {
        match self.0 {
            // SAFETY: a kernel of an instruction set exists only where the machine has it.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => unsafe { int4::x86::dot_query_avx512(row, query) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { int4::x86::dot_query_avx2(row, query) },
            _ => int4::dot_query(row, query),
        }
    }

    /// The sums of products of the first of some rows of four bits a number, each of so many bytes, with a query: see
    /// [`int4::dot_some`].
    pub(crate) fn dot_int4_some(self, codes: (&[u8], usize), rows: &[u32], query: &[i8], out: &mut [i32]) {
        match self.0 {
            // SAFETY: a kernel of an instruction set exists only where the machine has it.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => unsafe { int4::x86::dot_some_avx512(codes, rows, query, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { int4::x86::dot_some_avx2(codes, rows, query, out) },
            _ => int4::dot_some(codes, rows, query, out, int4::dot_query),
        }
    }

    /// The sum of products of two rows of four bits a number, and that of their numbers: see [`int4::dot_rows`].
    pub(crate) fn dot_int4_rows(self, a: &[u8], b: &[u8]) -> [i32; 2] {
        match self.0 {
            // SAFETY: a kernel of an instruction set exists only where the machine has it.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => unsafe { int4::x86::dot_rows_avx512(a, b) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { int4::x86::dot_rows_avx2(a, b) },
            _ => int4::dot_rows(a, b),
        }
    }

    /// Dot product of two vectors of one length in half precision.
    pub(crate) fn dot_f16(self, a: &[f16], b: &[f16]) -> f32 {
        by_half!(self, dot_f16(a, b))
    }

    /// Squared Euclidean distance of two vectors of one length in half precision.
    pub(crate) fn l2sq_f16(self, a: &[f16], b: &[f16]) -> f32 {
        by_half!(self, l2sq_f16(a, b))
    }

    /// Dot product of two vectors of one length, the second in half precision.
    pub(crate) fn dot_mixed(self, a: &[f32], b: &[f16]) -> f32 {
        by_half!(self, dot_mixed(a, b))
    }

    /// Squared Euclidean distance of two vectors of one length, the second in half precision.
    pub(crate) fn l2sq_mixed(self, a: &[f32], b: &[f16]) -> f32 {
        by_half!(self, l2sq_mixed(a, b))
    }

    /// Raises `maxima` (one a query token, padded to whole panels) to the dot products with each row.
    pub(crate) fn maxsim_f32(self, query: &Panels, rows: &[f32], maxima: &mut [f32]) {
        by_isa!(self, maxsim_f32(query, rows, maxima));
    }

    /// Dot products of each row with each query token: `out[row * tokens + token]`.
    pub(crate) fn scores_f32(self, query: &Panels, rows: &[f32], out: &mut [f32]) {
        by_isa!(self, scores_f32(query, rows, out));
    }

    /// Dot products of each row of bytes with the first `tokens` rows of the panels: `out[row * tokens + token]`.
    pub(crate) fn scores_i8(self, query: &BytePanels, tokens: usize, rows: &ByteRows, out: &mut [f32]) {
        by_isa!(self, scores_i8(query, tokens, rows, out));
    }

    /// The same as levels, whole panels a row: times the lane's `steps`, rounded, from 0 to 255.
    pub(crate) fn levels_i8(self, query: &BytePanels, rows: &ByteRows, steps: &[f32], levels: &mut [u8]) {
        let width = query.panels() * LANES;
        assert!(steps.len() == width && levels.len() == rows.scales.len() * width);
        by_isa!(self, levels_i8(query, rows, steps, levels));
    }

    /// The centroid interaction of a document's codes: see [`interaction::interaction`].
    pub(crate) fn interaction_u16(self, levels: &[u8], units: &[f32], codes: &[u16]) -> f32 {
        match self.0 {
            // SAFETY: a kernel of an instruction set exists only where the machine has it.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni | Isa::Avx2 => unsafe { interaction_avx2::interaction_u16(levels, units, codes) },
            _ => interaction::interaction(levels, units, codes, usize::from),
        }
    }

    /// As [`interaction_u16`](Self::interaction_u16), for more centroids.
    pub(crate) fn interaction_u32(self, levels: &[u8], units: &[f32], codes: &[u32]) -> f32 {
        match self.0 {
            // SAFETY: a kernel of an instruction set exists only where the machine has it.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni | Isa::Avx2 => unsafe { interaction_avx2::interaction_u32(levels, units, codes) },
            _ => interaction::interaction(levels, units, codes, |code| code as usize),
        }
    }

    /// Whether all numbers are finite.
    pub(crate) fn all_finite(self, values: &[f32]) -> bool {
        match self.0 {
            // SAFETY: a kernel of an instruction set exists only where the machine has it.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => unsafe { finite::x86::all_finite_avx512(values) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { finite::x86::all_finite_avx2(values) },
            _ => finite::all_finite(values),
        }
    }

    /// What the levels of some rows are worth: see [`interaction::scores`].
    pub(crate) fn level_scores(self, levels: &[u8], units: &[f32], starts: &[usize], out: &mut [f32]) {
        match self.0 {
            // SAFETY: a kernel of an instruction set exists only where the machine has it.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => unsafe { interaction::x86::scores_avx512(levels, units, starts, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { interaction::x86::scores_avx2(levels, units, starts, out) },
            _ => interaction::scores(levels, units, starts, out),
        }
    }

    /// The orthonormal Walsh-Hadamard transform of a power of two of numbers, its own inverse.
    pub(crate) fn hadamard(self, row: &mut [f32]) {
        assert!(row.len().is_power_of_two());
        match self.0 {
            // SAFETY: a kernel of an instruction set exists only where the machine has it.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => unsafe { hadamard::x86::hadamard_avx512(row) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { hadamard::x86::hadamard_avx2(row) },
            _ => hadamard::hadamard(row),
        }
    }

    /// The tokens of a document that may hold a maximum: see [`interaction::contenders`].
    pub(crate) fn contenders_u16(
        self,
        levels: &[u8],
        units: &[f32],
        codes: &[u16],
        within: &[u8],
        out: &mut Vec<u32>,
    ) {
        match self.0 {
            // SAFETY: a kernel of an instruction set exists only where the machine has it.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni | Isa::Avx2 => unsafe {
                interaction_avx2::contenders_u16(levels, units, codes, within, out);
            },
            _ => interaction::contenders(levels, units, codes, usize::from, within, out),
        }
    }

    /// As [`contenders_u16`](Self::contenders_u16), for more centroids.
    pub(crate) fn contenders_u32(
        self,
        levels: &[u8],
        units: &[f32],
        codes: &[u32],
        within: &[u8],
        out: &mut Vec<u32>,
    ) {
        match self.0 {
            // SAFETY: a kernel of an instruction set exists only where the machine has it.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni | Isa::Avx2 => unsafe {
                interaction_avx2::contenders_u32(levels, units, codes, within, out);
            },
            _ => interaction::contenders(levels, units, codes, |code| code as usize, within, out),
        }
    }

    /// The Viterbi search of a row through the trellis of 1, 2 or 4 bits; the table is laid out by [`lay_out`].
    pub(crate) fn trellis_search(
        self,
        bits: u8,
        row: &[f32],
        laid_out: &[f32; WINDOWS],
        back: &mut [u8],
    ) -> usize {
        assert_eq!(back.len(), back_len(bits, row.len()));
        match self.0 {
            // SAFETY: a kernel of an instruction set exists only where the machine has it.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => unsafe { trellis_avx512::trellis_search(bits, row, laid_out, back) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { avx2::trellis_search(bits, row, laid_out, back) },
            _ => trellis::search_any(bits, row, laid_out, back),
        }
    }

    /// Unpacks the rows of trellis codes at some places to biased bytes, one after another, `8 / bits` of them a packed byte;
    /// the low bits of `before` precede the first byte of each row.
    pub(crate) fn trellis_unpack(
        self,
        bits: u8,
        table: &[u8; WINDOWS],
        (places, before): (&[u32], &[u8]),
        packed: &[u8],
        out: &mut [u8],
    ) {
        assert_eq!(places.len(), before.len());
        let to = out.len() / places.len().max(1);
        let from = to * usize::from(bits) / 8;
        assert_eq!(out.len(), places.len() * to);
        #[cfg(target_arch = "x86_64")]
        if self.0 == Isa::Avx512Vnni && to.is_multiple_of(64) && is_x86_feature_detected!("avx512vbmi") {
            // SAFETY: a kernel of an instruction set exists only where the machine has it, and the rest was asked for.
            unsafe { trellis_avx512::trellis_unpack(bits, table, (places, before), packed, out) };
            return;
        }
        let rows = places.iter().zip(before).zip(out.chunks_exact_mut(to.max(1)));
        for ((place, before), out) in rows {
            let packed = &packed[*place as usize * from..][..from];
            trellis::unpack(bits, table, *before, packed, out);
        }
    }

    /// Raises `maxima` to the scores of a tile of residual codes.
    pub(crate) fn maxsim_residual(self, query: &BytePanels, tile: &ResidualTile<'_>, maxima: &mut [f32]) {
        by_isa!(self, maxsim_residual(query, tile, maxima));
    }

    /// Unpacks residual bits to biased bytes: `8 / bits` of them a packed byte.
    pub(crate) fn unpack(self, fields: &Unpack, packed: &[u8], out: &mut [u8]) {
        debug_assert_eq!(packed.len() * 8, out.len() * usize::from(fields.bits));
        let done = match self.0 {
            // SAFETY: a kernel of an instruction set exists only where the machine has it.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => unsafe { avx512::unpack(fields, packed, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { avx2::unpack(fields, packed, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => unsafe { neon::unpack(fields, packed, out) },
            _ => 0,
        };
        scalar::unpack(
            fields,
            &packed[done..],
            &mut out[done * 8 / usize::from(fields.bits)..],
        );
    }

    /// Calls `found(row, centroid, score)` for each centroid of the range of panels whose score with a row of biased bytes
    /// (in units of the row's scale) reaches the row's floor; `found` returns the row's new floor.
    pub(crate) fn nearest(
        self,
        centroids: &BytePanels,
        panels: Range<usize>,
        rows: &[u8],
        floors: &mut [f32],
        found: &mut dyn FnMut(usize, usize, f32) -> f32,
    ) {
        by_isa!(self, nearest(centroids, panels, rows, floors, found));
    }
}
