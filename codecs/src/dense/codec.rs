//! Rows of dense vectors as bytes.

use crate::error::{CodecError, all_finite, cast, length, whole_rows};
use crate::kernel::{Kernel, prefetch, quantize};
use crate::metric::{Metric, squared_norm};
use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::{Deserialize, Serialize};

/// How a dense vector is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum DenseCodec {
    /// Single precision: 4 bytes a dimension, nothing lost.
    F32 = 0,
    /// Half precision: 2 bytes a dimension, off by at most 2^-11 of each number; numbers beyond 65,504 are refused.
    F16 = 1,
    /// One byte a dimension and one scale a row: off by at most half the scale.
    Int8 = 2,
}

impl DenseCodec {
    /// Every codec, in the order of its number on disk.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Int8];

    /// The name in schemas and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
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
                what: "dense codec",
                got: name.to_owned(),
                known: "f32, f16, int8",
            })
    }

    /// Bytes of codes a row.
    #[must_use]
    pub fn row_bytes(self, dim: usize) -> usize {
        match self {
            Self::F32 => 4 * dim,
            Self::F16 => 2 * dim,
            Self::Int8 => dim,
        }
    }

    /// Factors (f32) a row beside the codes: of int8 the scale and the squared norm of the decoded row.
    #[must_use]
    pub fn row_factors(self) -> usize {
        match self {
            Self::F32 | Self::F16 => 0,
            Self::Int8 => 2,
        }
    }

    /// Appends rows of `dim` numbers that [`Metric::prepare`] has seen.
    ///
    /// # Errors
    /// Numbers that fill no whole rows, are not finite, or do not fit the codec; nothing is appended then.
    pub fn encode(
        self,
        rows: &[f32],
        dim: usize,
        codes: &mut Vec<u8>,
        factors: &mut Vec<f32>,
    ) -> Result<(), CodecError> {
        whole_rows(rows.len(), dim)?;
        all_finite(rows, dim)?;
        match self {
            Self::F32 => codes.extend(rows.iter().flat_map(|v| v.to_le_bytes())),
            Self::F16 => {
                let narrow: Vec<f16> = rows.iter().map(|v| f16::from_f32(*v)).collect();
                if let Some(at) = narrow.iter().position(|v| !v.is_finite()) {
                    return Err(CodecError::NotFinite {
                        row: at / dim,
                        dim: at % dim,
                        value: rows[at].to_string(),
                    });
                }
                codes.extend(narrow.iter().flat_map(|v| v.to_le_bytes()));
            }
            Self::Int8 => {
                let mut row_codes = vec![0i8; dim];
                let mut decoded = vec![0.0f32; dim];
                for row in rows.chunks_exact(dim) {
                    let scale = quantize(row, &mut row_codes);
                    for (v, code) in decoded.iter_mut().zip(&row_codes) {
                        *v = f32::from(*code) * scale;
                    }
                    codes.extend(row_codes.iter().map(|c| c.cast_unsigned()));
                    factors.extend([scale, squared_norm(&decoded)]);
                }
            }
        }
        Ok(())
    }
}

/// Rows of dense vectors, in place over the bytes of a file.
#[derive(Clone, Copy, Debug)]
pub struct DenseRows<'a> {
    pub(super) metric: Metric,
    pub(super) dim: usize,
    pub(super) cells: Cells<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Cells<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    /// `factors`: scale and squared norm of each row.
    Int8 {
        codes: &'a [i8],
        factors: &'a [f32],
    },
}

impl<'a> DenseRows<'a> {
    /// A view over what [`DenseCodec::encode`] wrote.
    ///
    /// # Errors
    /// Lengths that do not fit together; bytes at an address that does not suit the codec.
    pub fn new(
        codec: DenseCodec,
        metric: Metric,
        dim: usize,
        codes: &'a [u8],
        factors: &'a [f32],
    ) -> Result<Self, CodecError> {
        if dim == 0 {
            return Err(CodecError::Ragged {
                dim,
                got: codes.len(),
            });
        }
        let rows = codes.len() / codec.row_bytes(dim);
        length("bytes of dense codes", rows * codec.row_bytes(dim), codes.len())?;
        length("factors of dense rows", rows * codec.row_factors(), factors.len())?;
        let cells = match codec {
            DenseCodec::F32 => Cells::F32(cast(codes)?),
            DenseCodec::F16 => Cells::F16(cast(codes)?),
            DenseCodec::Int8 => Cells::Int8 {
                codes: cast(codes)?,
                factors,
            },
        };
        Ok(Self { metric, dim, cells })
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.cells {
            Cells::F32(values) => values.len() / self.dim,
            Cells::F16(values) => values.len() / self.dim,
            Cells::Int8 { factors, .. } => factors.len() / 2,
        }
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Numbers a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// How rows are compared.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Decodes a row into `out`, which has the rows' dimension.
    pub fn decode(&self, row: usize, out: &mut [f32]) {
        debug_assert_eq!(out.len(), self.dim);
        let range = row * self.dim..(row + 1) * self.dim;
        match self.cells {
            Cells::F32(values) => out.copy_from_slice(&values[range]),
            Cells::F16(values) => values[range].convert_to_f32_slice(out),
            Cells::Int8 { codes, factors } => {
                for (v, code) in out.iter_mut().zip(&codes[range]) {
                    *v = f32::from(*code) * factors[2 * row];
                }
            }
        }
    }

    /// Begins to fetch a row.
    pub fn prefetch(&self, row: usize) {
        let range = row * self.dim..(row + 1) * self.dim;
        match self.cells {
            Cells::F32(values) => prefetch(values.get(range).unwrap_or_default()),
            Cells::F16(values) => prefetch(values.get(range).unwrap_or_default()),
            Cells::Int8 { codes, factors } => {
                prefetch(codes.get(range).unwrap_or_default());
                prefetch(factors.get(2 * row..2 * row + 1).unwrap_or_default());
            }
        }
    }

    /// The score of two rows.
    #[must_use]
    pub fn pair_score(&self, a: usize, b: usize) -> f32 {
        let kernel = Kernel::best();
        let (left, right) = (a * self.dim..(a + 1) * self.dim, b * self.dim..(b + 1) * self.dim);
        let l2 = self.metric == Metric::L2;
        match self.cells {
            Cells::F32(values) if l2 => -kernel.l2sq_f32(&values[left], &values[right]),
            Cells::F32(values) => kernel.dot_f32(&values[left], &values[right]),
            Cells::F16(values) if l2 => -kernel.l2sq_f16(&values[left], &values[right]),
            Cells::F16(values) => kernel.dot_f16(&values[left], &values[right]),
            Cells::Int8 { codes, factors } => {
                let dot =
                    integer(kernel.dot_i8(&codes[left], &codes[right])) * factors[2 * a] * factors[2 * b];
                if l2 {
                    (2.0 * dot - factors[2 * a + 1] - factors[2 * b + 1]).min(0.0)
                } else {
                    dot
                }
            }
        }
    }
}

/// An integer dot product as f32.
#[expect(
    clippy::cast_precision_loss,
    reason = "a dot product's last bits are below the codec's error"
)]
pub(super) fn integer(dot: i32) -> f32 {
    dot as f32
}
