//! Rows of dense vectors as bytes.

use super::int4::Int4Factors;
use super::rabitq::{self, Fine, RabitqRows};
use crate::error::{CodecError, all_finite, cast, length, whole_rows};
use crate::kernel::{Kernel, prefetch, quantize};
use crate::metric::{Metric, squared_norm};
use bytemuck::NoUninit;
use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::{Deserialize, Serialize};
use std::ops::Range;

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
    /// One byte a dimension and a factor a row, of rotated rows (extended RaBitQ). Four bits of each are what a graph is walked by:
    /// with a graph, two thirds of the bytes of [`Int8`](Self::Int8), at a higher recall.
    Rabitq8 = 3,
    /// The same in one and a half bytes a dimension: with a graph three fifths of the bytes of [`F16`](Self::F16), and all but its
    /// recall.
    Rabitq12 = 4,
}

/// Rows as [`DenseCodec::encode`] codes them, by what lies together: of `codes` and `fine` each row has
/// [`plane_bytes`](DenseCodec::plane_bytes), of `factors` [`row_factors`](DenseCodec::row_factors).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DenseCodes {
    /// The codes, row after row; of RaBitQ their highest four bits.
    pub codes: Vec<u8>,
    /// Of RaBitQ the other bits.
    pub fine: Vec<u8>,
    /// The factors, row after row.
    pub factors: Vec<f32>,
}

impl DenseCodes {
    /// The same in place; `codes` have to be at an address that suits the codec.
    #[must_use]
    pub fn parts(&self) -> DenseParts<'_> {
        DenseParts {
            codes: &self.codes,
            fine: &self.fine,
            factors: &self.factors,
        }
    }
}

/// Coded rows in place: see [`DenseCodes`].
#[derive(Clone, Copy, Debug, Default)]
pub struct DenseParts<'a> {
    /// The codes.
    pub codes: &'a [u8],
    /// Of RaBitQ the lower bits.
    pub fine: &'a [u8],
    /// The factors.
    pub factors: &'a [f32],
}

impl DenseCodec {
    /// Every codec, in the order of its number on disk.
    pub const ALL: [Self; 5] = [Self::F32, Self::F16, Self::Int8, Self::Rabitq8, Self::Rabitq12];

    /// The name in schemas and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Rabitq8 => "rabitq8",
            Self::Rabitq12 => "rabitq12",
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
                known: "f32, f16, int8, rabitq8, rabitq12",
            })
    }

    /// Bytes of codes a row.
    #[must_use]
    pub fn row_bytes(self, dim: usize) -> usize {
        self.plane_bytes(dim).iter().sum()
    }

    /// Bytes a row of [`DenseCodes::codes`] and of [`DenseCodes::fine`].
    #[must_use]
    pub fn plane_bytes(self, dim: usize) -> [usize; 2] {
        match self {
            Self::F32 => [4 * dim, 0],
            Self::F16 => [2 * dim, 0],
            Self::Int8 => [dim, 0],
            Self::Rabitq8 => Fine::Four.plane_bytes(dim),
            Self::Rabitq12 => Fine::Eight.plane_bytes(dim),
        }
    }

    /// Factors (f32) a row beside the codes: of int8 the scale and the squared norm of the decoded row; of RaBitQ the step, and
    /// for distances the squared norm.
    #[must_use]
    pub fn row_factors(self, metric: Metric) -> usize {
        match self {
            Self::F32 | Self::F16 => 0,
            Self::Int8 => 2,
            Self::Rabitq8 | Self::Rabitq12 => rabitq::factors(metric),
        }
    }

    /// Whether rows have their highest four bits by themselves: [`DenseRows::coarse`].
    #[must_use]
    pub fn has_coarse(self) -> bool {
        matches!(self, Self::Rabitq8 | Self::Rabitq12)
    }

    /// Appends rows of `dim` numbers, one after another, that [`Metric::prepare`] of this metric has seen.
    ///
    /// # Errors
    /// Numbers that fill no whole rows, are not finite, or do not fit the codec; nothing is appended then.
    pub fn encode(
        self,
        metric: Metric,
        rows: &[f32],
        dim: usize,
        out: &mut DenseCodes,
    ) -> Result<(), CodecError> {
        whole_rows(rows.len(), dim)?;
        all_finite(rows, dim)?;
        match self {
            Self::F32 => out.codes.extend(rows.iter().flat_map(|v| v.to_le_bytes())),
            Self::F16 => {
                let mut narrow = vec![f16::ZERO; rows.len()];
                narrow.convert_from_f32_slice(rows);
                if let Some(at) = narrow.iter().position(|v| !v.is_finite()) {
                    return Err(CodecError::NotFinite {
                        row: at / dim,
                        dim: at % dim,
                        value: rows[at].to_string(),
                    });
                }
                out.codes.extend(narrow.iter().flat_map(|v| v.to_le_bytes()));
            }
            Self::Int8 => {
                let mut row_codes = vec![0i8; dim];
                let mut decoded = vec![0.0f32; dim];
                for row in rows.chunks_exact(dim) {
                    let scale = quantize(row, &mut row_codes);
                    for (v, code) in decoded.iter_mut().zip(&row_codes) {
                        *v = f32::from(*code) * scale;
                    }
                    out.codes.extend(row_codes.iter().map(|c| c.cast_unsigned()));
                    out.factors.extend([scale, squared_norm(&decoded)]);
                }
            }
            Self::Rabitq8 => rows
                .chunks_exact(dim)
                .for_each(|row| rabitq::encode(Fine::Four, metric, row, out)),
            Self::Rabitq12 => rows
                .chunks_exact(dim)
                .for_each(|row| rabitq::encode(Fine::Eight, metric, row, out)),
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
    Rabitq(RabitqRows<'a>),
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
        parts: DenseParts<'a>,
    ) -> Result<Self, CodecError> {
        let DenseParts { codes, factors, .. } = parts;
        if dim == 0 {
            return Err(CodecError::Ragged {
                dim,
                got: codes.len(),
            });
        }
        let [bytes, _] = codec.plane_bytes(dim);
        let rows = codes.len() / bytes;
        length("bytes of dense codes", rows * bytes, codes.len())?;
        length(
            "factors of dense rows",
            rows * codec.row_factors(metric),
            factors.len(),
        )?;
        let cells = match codec {
            DenseCodec::F32 => Cells::F32(cast(codes)?),
            DenseCodec::F16 => Cells::F16(cast(codes)?),
            DenseCodec::Int8 => Cells::Int8 {
                codes: cast(codes)?,
                factors,
            },
            DenseCodec::Rabitq8 => Cells::Rabitq(RabitqRows::new(Fine::Four, metric, dim, parts)?),
            DenseCodec::Rabitq12 => Cells::Rabitq(RabitqRows::new(Fine::Eight, metric, dim, parts)?),
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
            Cells::Rabitq(rows) => rows.len(),
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
            Cells::Rabitq(rows) => rows.decode(row, out),
        }
    }

    /// What a range of rows is stored as, factors left out: one plane, or two of RaBitQ.
    #[must_use]
    pub fn planes(&self, rows: Range<usize>) -> [&[u8]; 2] {
        fn of<'v, T: NoUninit>(values: &'v [T], rows: &Range<usize>, width: usize) -> &'v [u8] {
            let some = values.get(rows.start * width..rows.end * width);
            bytemuck::cast_slice(some.unwrap_or_default())
        }
        match &self.cells {
            Cells::F32(values) => [of(values, &rows, self.dim), &[]],
            Cells::F16(values) => [of(values, &rows, self.dim), &[]],
            Cells::Int8 { codes, .. } => [of(codes, &rows, self.dim), &[]],
            Cells::Rabitq(coded) => coded.planes_of(rows),
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
            Cells::Rabitq(rows) => rows.prefetch(row),
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
            Cells::Rabitq(rows) => rows.pair_score(a, b),
        }
    }

    /// The highest four bits of every row, which a graph is walked by: rows for [`Int4Rows`](crate::Int4Rows). `None` where the
    /// codec has them not by themselves.
    #[must_use]
    pub fn coarse(&self) -> Option<&'a [u8]> {
        match self.cells {
            Cells::Rabitq(rows) => Some(rows.coarse()),
            Cells::F32(_) | Cells::F16(_) | Cells::Int8 { .. } => None,
        }
    }

    /// What a row that exists has beside its [`coarse`](Self::coarse) codes, where there are such.
    #[must_use]
    pub fn coarse_factors(&self, row: usize) -> Option<Int4Factors> {
        match self.cells {
            Cells::Rabitq(rows) => Some(rows.coarse_factors(row)),
            Cells::F32(_) | Cells::F16(_) | Cells::Int8 { .. } => None,
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
