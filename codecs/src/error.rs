//! What can be wrong with the numbers that a caller hands in.

use crate::kernel::Isa;
use crate::kernel::Kernel;

/// A refusal of the codecs: what was expected, what came, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A vector of another dimension than the field has.
    #[error("expected a vector of dimension {expected}, got {got}; encode it with the model of this field")]
    Dimension {
        /// Dimension of the field.
        expected: usize,
        /// Dimension of the vector.
        got: usize,
    },
    /// A token matrix whose dimension no codec can hold.
    #[error(
        "expected a token dimension that is a multiple of 8 from 8 to {max}, got {got}; pad or truncate the vectors"
    )]
    TokenDimension {
        /// Greatest dimension.
        max: usize,
        /// What came.
        got: usize,
    },
    /// A length that is not what the other arguments make it.
    #[error("expected {expected} {what}, got {got}; check that all parts come from the same rows")]
    Length {
        /// What was counted.
        what: &'static str,
        /// How many it had to be.
        expected: usize,
        /// How many came.
        got: usize,
    },
    /// Numbers that do not fill whole rows.
    #[error("expected whole rows of {dim} numbers, got {got} numbers; check the dimension")]
    Ragged {
        /// Numbers a row.
        dim: usize,
        /// Numbers that came.
        got: usize,
    },
    /// No token, or too many.
    #[error("expected 1 to {max} {what} tokens, got {got}; shorten or split the text")]
    TokenCount {
        /// `query` or `document`.
        what: &'static str,
        /// The most that is taken.
        max: usize,
        /// What came.
        got: usize,
    },
    /// A NaN or an infinity.
    #[error(
        "expected finite numbers, got {value} in row {row}, dimension {dim}; remove or repair that vector"
    )]
    NotFinite {
        /// Row of the number.
        row: usize,
        /// Its place in the row.
        dim: usize,
        /// The number as text: NaN, inf or -inf.
        value: String,
    },
    /// A vector without direction where one is needed.
    #[error("expected a vector with a direction, got only zeros in row {row}; leave that vector out")]
    ZeroVector {
        /// The row.
        row: usize,
    },
    /// Bits of residual that no codec has.
    #[error("expected 1, 2 or 4 bits of residual a dimension, got {got}")]
    Bits {
        /// What came.
        got: u8,
    },
    /// A codebook's table that does not ascend.
    #[error(
        "expected ascending {what}, got number {index} below the one before it; train the codebook again"
    )]
    NotAscending {
        /// Which table: bucket cutoffs, trellis scales or trellis norms.
        what: &'static str,
        /// The first that is out of order.
        index: usize,
    },
    /// A pool factor out of range.
    #[error("expected a pool factor of 1 (no pooling) to {max}, got {got}")]
    PoolFactor {
        /// The greatest factor.
        max: usize,
        /// What came.
        got: usize,
    },
    /// Codes of buckets for a codec of another kind.
    #[error(
        "expected a codec of buckets, as other programs code with, got a trellis codec; choose the codec buckets"
    )]
    NotBuckets,
    /// A code that names no centroid.
    #[error("expected centroid codes below {centroids}, got {got}; the codes belong to another codebook")]
    Code {
        /// Number of centroids.
        centroids: usize,
        /// What came.
        got: u32,
    },
    /// Bytes whose address does not suit their numbers.
    #[error(
        "expected bytes aligned to {align}, got an address that is off by {off}; copy them to an aligned buffer"
    )]
    Misaligned {
        /// The alignment that the numbers need.
        align: usize,
        /// Bytes past the last aligned address.
        off: usize,
    },
    /// A name that stands for nothing.
    #[error("expected one of {known} for the {what}, got {got:?}")]
    UnknownName {
        /// What was named.
        what: &'static str,
        /// What came.
        got: String,
        /// All names.
        known: &'static str,
    },
    /// A sparse vector of too many dimensions.
    #[error(
        "expected a sparse vector of at most {max} dimensions, got {got}; keep those of the greatest weights"
    )]
    SparseEntries {
        /// The most that is taken.
        max: usize,
        /// What came.
        got: usize,
    },
    /// A weight of a sparse vector that is no weight.
    #[error(
        "expected weights that are finite and above 0, got {value} for dimension {index}; leave that dimension out"
    )]
    SparseWeight {
        /// The dimension.
        index: u32,
        /// The weight as text.
        value: String,
    },
    /// A dimension that a sparse vector names twice.
    #[error("expected each dimension of a sparse vector once, got {index} twice; add its weights up")]
    SparseRepeated {
        /// The dimension.
        index: u32,
    },
    /// An instruction set that this machine has not.
    #[error("expected an instruction set of this machine, got {isa}; take one of Isa::available()")]
    IsaUnavailable {
        /// What was asked for.
        isa: Isa,
    },
}

/// That `values` fills whole rows of `dim`; the number of rows.
pub(crate) fn whole_rows(values: usize, dim: usize) -> Result<usize, CodecError> {
    if dim == 0 || !values.is_multiple_of(dim) {
        return Err(CodecError::Ragged { dim, got: values });
    }
    Ok(values / dim)
}

/// That all numbers of rows of `dim` are finite.
pub(crate) fn all_finite(values: &[f32], dim: usize) -> Result<(), CodecError> {
    if Kernel::best().all_finite(values) {
        return Ok(());
    }
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => Err(CodecError::NotFinite {
            row: at / dim.max(1),
            dim: at % dim.max(1),
            value: values[at].to_string(),
        }),
    }
}

/// That a length is what it has to be.
pub(crate) fn length(what: &'static str, expected: usize, got: usize) -> Result<(), CodecError> {
    if expected == got {
        Ok(())
    } else {
        Err(CodecError::Length { what, expected, got })
    }
}

/// Numbers of type `T` in place over bytes.
pub(crate) fn cast<T: bytemuck::Pod>(bytes: &[u8]) -> Result<&[T], CodecError> {
    let size = size_of::<T>();
    if !bytes.len().is_multiple_of(size) {
        return Err(CodecError::Ragged {
            dim: size,
            got: bytes.len(),
        });
    }
    bytemuck::try_cast_slice(bytes).map_err(|_| {
        let align = align_of::<T>();
        CodecError::Misaligned {
            align,
            off: bytes.as_ptr().addr() % align,
        }
    })
}
