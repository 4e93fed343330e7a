//! A document as the matrix of its tokens' vectors.

use std::sync::OnceLock;

use crate::error::{CodecError, all_finite, whole_rows};
use crate::kernel::ByteRows;
use crate::metric::{normalize, squared_norm};
use half::f16;
use half::slice::HalfFloatSliceExt;

/// The greatest dimension of a token's vector.
pub const MAX_TOKEN_DIM: usize = 1024;
/// The most tokens that a document has.
pub const MAX_DOCUMENT_TOKENS: usize = 8192;

/// The token vectors of one document, row-major, in half precision: 1 to 8,192 rows of 8 to 1,024 numbers.
///
/// Every row is finite and has a direction. A row whose norm is off 1 by more than 1% is brought to unit length when the
/// matrix is made; the others stay as they came, so that a matrix that is read back is the one that was written.
#[derive(Clone, Debug)]
pub struct TokenMatrix {
    dim: usize,
    values: Vec<f16>,
    /// In int8, once someone has asked.
    rounded: OnceLock<ByteRows>,
}

impl PartialEq for TokenMatrix {
    fn eq(&self, other: &Self) -> bool {
        self.dim == other.dim && self.values == other.values
    }
}

impl TokenMatrix {
    /// A matrix of rows of `dim` numbers.
    ///
    /// # Errors
    /// A dimension that is no multiple of 8 in 8..=1024, no or too many rows, a number that is not finite, a row of
    /// zeros.
    pub fn new(dim: usize, values: Vec<f16>) -> Result<Self, CodecError> {
        let rows = check_shape(dim, values.len())?;
        let rounded = OnceLock::new();
        let mut matrix = Self { dim, values, rounded };
        let mut wide = vec![0.0; dim];
        for row in 0..rows {
            let narrow = &mut matrix.values[row * dim..(row + 1) * dim];
            narrow.convert_to_f32_slice(&mut wide);
            if prepare_row(&mut wide, row)? {
                narrow.convert_from_f32_slice(&wide);
            }
        }
        Ok(matrix)
    }

    /// A matrix of rows of `dim` numbers, rounded to half precision.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_f32(dim: usize, values: &[f32]) -> Result<Self, CodecError> {
        check_shape(dim, values.len())?;
        let mut narrow = vec![f16::ZERO; values.len()];
        let mut wide = vec![0.0; dim];
        for (row, (from, to)) in values
            .chunks_exact(dim)
            .zip(narrow.chunks_exact_mut(dim))
            .enumerate()
        {
            wide.copy_from_slice(from);
            prepare_row(&mut wide, row)?;
            to.convert_from_f32_slice(&wide);
        }
        Ok(Self {
            dim,
            values: narrow,
            rounded: OnceLock::new(),
        })
    }

    /// Number of tokens, never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no matrix is empty")]
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Numbers a token.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All numbers, row after row.
    #[must_use]
    pub fn as_f16(&self) -> &[f16] {
        &self.values
    }

    /// All numbers, row after row, in single precision.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        self.values.to_f32_vec()
    }

    /// The rows in int8, which are kept.
    pub(crate) fn rounded(&self) -> &ByteRows {
        self.rounded
            .get_or_init(|| ByteRows::new(&self.to_f32(), self.dim))
    }
}

/// That a dimension suits token codes.
pub(crate) fn check_dim(dim: usize) -> Result<(), CodecError> {
    if dim.is_multiple_of(8) && (8..=MAX_TOKEN_DIM).contains(&dim) {
        Ok(())
    } else {
        Err(CodecError::TokenDimension {
            max: MAX_TOKEN_DIM,
            got: dim,
        })
    }
}

fn check_shape(dim: usize, values: usize) -> Result<usize, CodecError> {
    check_dim(dim)?;
    let rows = whole_rows(values, dim)?;
    if rows == 0 || rows > MAX_DOCUMENT_TOKENS {
        return Err(CodecError::TokenCount {
            what: "document",
            max: MAX_DOCUMENT_TOKENS,
            got: rows,
        });
    }
    Ok(rows)
}

/// Checks a row and, where its norm is off 1, normalises it; whether it did.
fn prepare_row(row: &mut [f32], number: usize) -> Result<bool, CodecError> {
    all_finite(row, row.len()).map_err(|e| match e {
        CodecError::NotFinite { dim, value, .. } => CodecError::NotFinite {
            row: number,
            dim,
            value,
        },
        other => other,
    })?;
    if (0.99..=1.01).contains(&squared_norm(row).sqrt()) {
        return Ok(false);
    }
    if normalize(row) {
        Ok(true)
    } else {
        Err(CodecError::ZeroVector { row: number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_near_unit_length_stay_and_others_are_normalised() {
        let mut values = vec![0.0f32; 16];
        values[0] = 1.004;
        values[8] = 3.0;
        let matrix = TokenMatrix::from_f32(8, &values).unwrap();
        assert_eq!(matrix.len(), 2);
        assert_eq!(matrix.as_f16()[0], f16::from_f32(1.004));
        assert_eq!(matrix.as_f16()[8], f16::ONE);
        assert_eq!(TokenMatrix::new(8, matrix.as_f16().to_vec()).unwrap(), matrix);
    }

    #[test]
    fn bad_shapes_and_numbers_are_refused() {
        let row = |n: usize| vec![1.0f32; n];
        assert!(matches!(
            TokenMatrix::from_f32(12, &row(12)),
            Err(CodecError::TokenDimension { got: 12, .. })
        ));
        assert!(matches!(
            TokenMatrix::from_f32(0, &[]),
            Err(CodecError::TokenDimension { .. })
        ));
        assert!(matches!(
            TokenMatrix::from_f32(1032, &row(1032)),
            Err(CodecError::TokenDimension { .. })
        ));
        assert!(matches!(
            TokenMatrix::from_f32(8, &row(12)),
            Err(CodecError::Ragged { dim: 8, got: 12 })
        ));
        assert!(matches!(
            TokenMatrix::from_f32(8, &[]),
            Err(CodecError::TokenCount { got: 0, .. })
        ));
        assert!(matches!(
            TokenMatrix::from_f32(8, &row(8 * 8193)),
            Err(CodecError::TokenCount { got: 8193, .. })
        ));
        let mut bad = row(16);
        bad[9] = f32::INFINITY;
        assert!(matches!(
            TokenMatrix::from_f32(8, &bad),
            Err(CodecError::NotFinite { row: 1, dim: 1, .. })
        ));
        bad[8..].fill(0.0);
        assert_eq!(
            TokenMatrix::from_f32(8, &bad),
            Err(CodecError::ZeroVector { row: 1 })
        );
    }

    #[test]
    fn numbers_beyond_half_precision_do_not_become_infinite() {
        let matrix = TokenMatrix::from_f32(8, &[1e9; 8]).unwrap();
        assert!(
            matrix
                .to_f32()
                .iter()
                .all(|v| (v - 8f32.sqrt().recip()).abs() < 1e-3)
        );
    }
}
