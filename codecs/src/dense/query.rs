//! A dense query, prepared once and scored against rows in place.

use std::sync::OnceLock;

use super::codec::{Cells, DenseRows, integer};
use super::int4::{Int4Codec, Int4Query};
use super::rabitq::RabitqQuery;
use crate::error::CodecError;
use crate::kernel::{Isa, Kernel, quantize};
use crate::metric::{Metric, squared_norm};
use crate::rotation::Rotation;

/// A query vector, ready for rows of every codec.
#[derive(Clone, Debug)]
pub struct DenseQuery {
    metric: Metric,
    values: Vec<f32>,
    codes: Vec<i8>,
    scale: f32,
    squared_norm: f32,
    kernel: Kernel,
    /// Rotated, for rows of four bits a number and of RaBitQ: made when it is first asked for.
    turned: OnceLock<Turned>,
}

#[derive(Clone, Debug)]
struct Turned {
    sketch: Int4Query,
    fine: RabitqQuery,
}

impl DenseQuery {
    /// A query of dimension `dim`; under cosine it is brought to unit length.
    ///
    /// # Errors
    /// A wrong dimension, a number that is not finite, under cosine a vector of zeros.
    pub fn new(metric: Metric, dim: usize, vector: &[f32]) -> Result<Self, CodecError> {
        Self::with_kernel(metric, dim, vector, Kernel::best())
    }

    /// As [`new`](Self::new), scored by the kernels of one instruction set: for tests and benches.
    ///
    /// # Errors
    /// As [`new`](Self::new), and an instruction set that this machine has not.
    pub fn with_isa(metric: Metric, dim: usize, vector: &[f32], isa: Isa) -> Result<Self, CodecError> {
        Self::with_kernel(metric, dim, vector, Kernel::new(isa)?)
    }

    fn with_kernel(metric: Metric, dim: usize, vector: &[f32], kernel: Kernel) -> Result<Self, CodecError> {
        if vector.len() != dim || dim == 0 {
            return Err(CodecError::Dimension {
                expected: dim,
                got: vector.len(),
            });
        }
        let mut values = vector.to_vec();
        metric.prepare(&mut values)?;
        let mut codes = vec![0; dim];
        let scale = quantize(&values, &mut codes);
        let squared_norm = squared_norm(&values);
        Ok(Self {
            metric,
            values,
            codes,
            scale,
            squared_norm,
            kernel,
            turned: OnceLock::new(),
        })
    }

    /// The query as it is compared.
    #[must_use]
    pub fn vector(&self) -> &[f32] {
        &self.values
    }

    fn turned(&self) -> &Turned {
        self.turned.get_or_init(|| {
            let dim = self.values.len();
            let turned = Rotation::of(dim.next_multiple_of(8)).turned(&self.values);
            let sketch = Int4Codec::new(self.metric, dim).query_of(&turned, self.kernel);
            let fine = RabitqQuery::new(&turned, &sketch);
            Turned { sketch, fine }
        })
    }

    /// The same query for rows of four bits a number.
    #[must_use]
    pub fn sketch(&self) -> &Int4Query {
        &self.turned().sketch
    }

    /// The score of a row.
    #[must_use]
    pub fn score(&self, rows: &DenseRows<'_>, row: usize) -> f32 {
        debug_assert_eq!((rows.dim, rows.metric), (self.values.len(), self.metric));
        let range = row * rows.dim..(row + 1) * rows.dim;
        let l2 = self.metric == Metric::L2;
        match rows.cells {
            Cells::F32(values) => self.score_f32(&values[range]),
            Cells::F16(values) if l2 => -self.kernel.l2sq_mixed(&self.values, &values[range]),
            Cells::F16(values) => self.kernel.dot_mixed(&self.values, &values[range]),
            Cells::Int8 { codes, factors } => {
                let dot =
                    integer(self.kernel.dot_i8(&self.codes, &codes[range])) * self.scale * factors[2 * row];
                if l2 {
                    (2.0 * dot - self.squared_norm - factors[2 * row + 1]).min(0.0)
                } else {
                    dot
                }
            }
            Cells::Rabitq(rows) => {
                let Turned { sketch, fine } = self.turned();
                fine.score(sketch, &rows, row, self.kernel)
            }
        }
    }

    /// The scores of consecutive rows from `first`, as many as `out` holds.
    pub fn score_range(&self, rows: &DenseRows<'_>, first: usize, out: &mut [f32]) {
        for (row, score) in (first..).zip(out) {
            *score = self.score(rows, row);
        }
    }

    /// The score of a vector in memory that [`Metric::prepare`] has seen.
    #[must_use]
    pub fn score_f32(&self, vector: &[f32]) -> f32 {
        debug_assert_eq!(vector.len(), self.values.len());
        match self.metric {
            Metric::Cosine | Metric::InnerProduct => self.kernel.dot_f32(&self.values, vector),
            Metric::L2 => -self.kernel.l2sq_f32(&self.values, vector),
        }
    }
}
