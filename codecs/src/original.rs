//! The optional tier of tokens kept beside their codes, for exact rescoring.

use crate::error::{CodecError, cast, length};
use crate::kernel::quantize;
use crate::tokens::check_dim;
use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How the tokens kept beside their codes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum OriginalCodec {
    /// Half precision: 2 bytes a dimension, as the tokens came.
    F16 = 0,
    /// One byte a dimension and one scale a token: off by at most half the scale.
    Int8 = 1,
}

impl OriginalCodec {
    /// Every codec, in the order of its number on disk.
    pub const ALL: [Self; 2] = [Self::F16, Self::Int8];

    /// The name in schemas and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }

    /// The codec of a name.
    ///
    /// # Errors
    /// [`CodecError::UnknownName`].
    pub fn from_name(name: &str) -> Result<Self, CodecError> {
        Self::ALL
            .into_iter()
            .find(|c| c.name() == name)
            .ok_or_else(|| CodecError::UnknownName {
                what: "original tier",
                got: name.to_owned(),
                known: "f16, int8",
            })
    }

    /// Bytes of codes a token.
    #[must_use]
    pub fn row_bytes(self, dim: usize) -> usize {
        match self {
            Self::F16 => 2 * dim,
            Self::Int8 => dim,
        }
    }

    /// Factors (f32) a token beside the codes: the scale of int8.
    #[must_use]
    pub fn row_factors(self) -> usize {
        match self {
            Self::F16 => 0,
            Self::Int8 => 1,
        }
    }

    /// Appends tokens, rows of `dim` numbers as a [`TokenMatrix`](crate::TokenMatrix) holds them.
    pub fn encode(self, tokens: &[f32], dim: usize, codes: &mut Vec<u8>, factors: &mut Vec<f32>) {
        debug_assert!(dim > 0 && tokens.len().is_multiple_of(dim));
        match self {
            Self::F16 => codes.extend(tokens.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes())),
            Self::Int8 => {
                let mut row = vec![0i8; dim];
                for token in tokens.chunks_exact(dim) {
                    factors.push(quantize(token, &mut row));
                    codes.extend(row.iter().map(|c| c.cast_unsigned()));
                }
            }
        }
    }
}

/// Tokens of the original tier, in place over the bytes of a file.
#[derive(Clone, Copy, Debug)]
pub struct OriginalRows<'a> {
    dim: usize,
    cells: Cells<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Cells<'a> {
    F16(&'a [f16]),
    Int8 { codes: &'a [i8], scales: &'a [f32] },
}

impl<'a> OriginalRows<'a> {
    /// A view over what [`OriginalCodec::encode`] wrote.
    ///
    /// # Errors
    /// Lengths that do not fit together; f16 codes at an odd address.
    pub fn new(
        codec: OriginalCodec,
        dim: usize,
        codes: &'a [u8],
        factors: &'a [f32],
    ) -> Result<Self, CodecError> {
        check_dim(dim)?;
        let rows = codes.len() / codec.row_bytes(dim);
        length("bytes of tokens", rows * codec.row_bytes(dim), codes.len())?;
        length("factors of tokens", rows * codec.row_factors(), factors.len())?;
        let cells = match codec {
            OriginalCodec::F16 => Cells::F16(cast(codes)?),
            OriginalCodec::Int8 => Cells::Int8 {
                codes: cast(codes)?,
                scales: factors,
            },
        };
        Ok(Self { dim, cells })
    }

    /// Number of tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.cells {
            Cells::F16(values) => values.len() / self.dim,
            Cells::Int8 { scales, .. } => scales.len(),
        }
    }

    /// Whether there is no token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Numbers a token.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The tokens of a range of rows, such as those of one document. A range past the end is cut.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        let cells = match self.cells {
            Cells::F16(values) => Cells::F16(&values[start * self.dim..end * self.dim]),
            Cells::Int8 { codes, scales } => Cells::Int8 {
                codes: &codes[start * self.dim..end * self.dim],
                scales: &scales[start..end],
            },
        };
        Self { dim: self.dim, cells }
    }

    /// What the tokens are stored as, scales left out.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        match self.cells {
            Cells::F16(values) => bytemuck::cast_slice(values),
            Cells::Int8 { codes, .. } => bytemuck::cast_slice(codes),
        }
    }

    /// Decodes rows from `first` until `out` is full; `out` holds whole rows that exist.
    pub fn decode(&self, first: usize, out: &mut [f32]) {
        let (dim, start) = (self.dim, first * self.dim);
        match self.cells {
            Cells::F16(values) => values[start..start + out.len()].convert_to_f32_slice(out),
            Cells::Int8 { codes, scales } => {
                let rows = codes[start..].chunks_exact(dim).zip(&scales[first..]);
                for (to, (row, scale)) in out.chunks_exact_mut(dim).zip(rows) {
                    for (v, code) in to.iter_mut().zip(row) {
                        *v = f32::from(*code) * scale;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decoded_tokens_are_within_the_stated_error(
            tokens in (1usize..6, 1usize..5).prop_flat_map(|(n, d)| prop::collection::vec(-1.0f32..1.0, n * d * 8)
                .prop_map(move |v| (d * 8, v)))
        ) {
            let (dim, tokens) = tokens;
            for codec in OriginalCodec::ALL {
                let (mut codes, mut factors) = (Vec::new(), Vec::new());
                codec.encode(&tokens, dim, &mut codes, &mut factors);
                // A vector of u64 is aligned for every codec.
                let mut aligned = vec![0u64; codes.len().div_ceil(8)];
                bytemuck::cast_slice_mut::<u64, u8>(&mut aligned)[..codes.len()].copy_from_slice(&codes);
                let rows = OriginalRows::new(codec, dim, &bytemuck::cast_slice(&aligned)[..codes.len()], &factors);
                let rows = rows.unwrap();
                let mut back = vec![0.0; tokens.len()];
                rows.decode(0, &mut back);
                for (i, (a, b)) in tokens.iter().zip(&back).enumerate() {
                    let bound = match codec {
                        OriginalCodec::F16 => a.abs() / 2048.0 + 1e-7,
                        OriginalCodec::Int8 => factors[i / dim] * 0.5001,
                    };
                    prop_assert!((a - b).abs() <= bound, "{a} became {b} under {codec:?}");
                }
                let last = rows.slice(rows.len() - 1..rows.len() + 7);
                prop_assert_eq!(last.len(), 1);
            }
        }
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        let refused = OriginalRows::new(OriginalCodec::Int8, 8, &[0; 16], &[1.0]);
        assert!(matches!(
            refused,
            Err(CodecError::Length {
                expected: 2,
                got: 1,
                ..
            })
        ));
        assert!(OriginalRows::new(OriginalCodec::Int8, 8, &[0; 12], &[1.0]).is_err());
    }
}
