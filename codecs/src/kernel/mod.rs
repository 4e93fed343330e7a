//! The one place of SIMD: a scalar oracle, a file for each instruction set, and the choice among them at run time.

mod panels;
mod scalar;

use crate::error::CodecError;
use half::f16;
pub(crate) use panels::{LANES, Panels, quantize};
use std::fmt;

/// Document rows that a caller widens and scores at once: enough to fill every register tile, few enough for the L1
/// cache at 128 dimensions.
pub(crate) const ROW_TILE: usize = 24;

/// An instruction set that has kernels of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// x86-64 with AVX-512 F, BW, VL and VNNI.
    Avx512Vnni,
    /// x86-64 with AVX2 and FMA.
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
        matches!(self, Self::Scalar)
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
    pub(crate) fn dot_f32(self, a: &[f32], b: &[f32]) -> f32 {
        scalar::dot_f32(a, b)
    }

    /// Squared Euclidean distance of two vectors of one length.
    pub(crate) fn l2sq_f32(self, a: &[f32], b: &[f32]) -> f32 {
        scalar::l2sq_f32(a, b)
    }

    /// Dot product of two vectors of one length in half precision.
    pub(crate) fn dot_f16(self, a: &[f16], b: &[f16]) -> f32 {
        scalar::dot_f16(a, b)
    }

    /// Squared Euclidean distance of two vectors of one length in half precision.
    pub(crate) fn l2sq_f16(self, a: &[f16], b: &[f16]) -> f32 {
        scalar::l2sq_f16(a, b)
    }

    /// Dot product of two vectors of one length in int8.
    pub(crate) fn dot_i8(self, a: &[i8], b: &[i8]) -> i32 {
        scalar::dot_i8(a, b)
    }

    /// Raises `maxima` (one a query token, padded to whole panels) to the dot products with each row.
    pub(crate) fn maxsim_f32(self, query: &Panels, rows: &[f32], maxima: &mut [f32]) {
        scalar::maxsim_f32(query, rows, maxima);
    }

    /// Dot products of each row with each query token: `out[row * tokens + token]`.
    pub(crate) fn scores_f32(self, query: &Panels, rows: &[f32], out: &mut [f32]) {
        scalar::scores_f32(query, rows, out);
    }
}
