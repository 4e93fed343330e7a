//! MaxSim of a query against token matrices in single or half precision.

use std::cell::RefCell;

use crate::error::{CodecError, all_finite, whole_rows};
use crate::kernel::{Isa, Kernel, Panels, ROW_TILE};
use crate::original::OriginalRows;
use crate::tokens::check_dim;
use half::f16;
use half::slice::HalfFloatSliceExt;

/// The most tokens that a query has.
pub const MAX_QUERY_TOKENS: usize = 512;

/// The token matrix of a query, laid out for the kernels: 1 to 512 tokens of one dimension, not normalised.
///
/// The score of a document is the sum over query tokens of the greatest dot product with any of its tokens; of a document
/// without tokens it is minus infinity.
#[derive(Clone, Debug)]
pub struct MaxSimQuery {
    dim: usize,
    tokens: Vec<f32>,
    panels: Panels,
    kernel: Kernel,
}

impl MaxSimQuery {
    /// A query of tokens of `dim` numbers each, row after row.
    ///
    /// # Errors
    /// A dimension that no codec has, no or too many tokens, a number that is not finite, nothing but zeros.
    pub fn new(dim: usize, tokens: &[f32]) -> Result<Self, CodecError> {
        Self::with_kernel(dim, tokens, Kernel::best())
    }

    /// As [`new`](Self::new), scored by the kernels of one instruction set: for tests and benches.
    ///
    /// # Errors
    /// As [`new`](Self::new), and an instruction set that this machine has not.
    pub fn with_isa(dim: usize, tokens: &[f32], isa: Isa) -> Result<Self, CodecError> {
        Self::with_kernel(dim, tokens, Kernel::new(isa)?)
    }

    fn with_kernel(dim: usize, tokens: &[f32], kernel: Kernel) -> Result<Self, CodecError> {
        check_dim(dim)?;
        let rows = whole_rows(tokens.len(), dim)?;
        if rows == 0 || rows > MAX_QUERY_TOKENS {
            return Err(CodecError::TokenCount {
                what: "query",
                max: MAX_QUERY_TOKENS,
                got: rows,
            });
        }
        all_finite(tokens, dim)?;
        if tokens.iter().all(|v| *v == 0.0) {
            return Err(CodecError::ZeroVector { row: 0 });
        }
        Ok(Self {
            dim,
            tokens: tokens.to_vec(),
            panels: Panels::new(tokens, dim),
            kernel,
        })
    }

    /// Number of tokens.
    #[must_use]
    pub fn num_tokens(&self) -> usize {
        self.tokens.len() / self.dim
    }

    /// Numbers a token.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The tokens, row after row.
    #[must_use]
    pub fn tokens(&self) -> &[f32] {
        &self.tokens
    }

    /// MaxSim with a document in single precision.
    #[must_use]
    pub fn score_f32(&self, document: &[f32]) -> f32 {
        debug_assert!(document.len().is_multiple_of(self.dim));
        let mut maxima = self.panels.maxima();
        self.kernel.maxsim_f32(&self.panels, document, &mut maxima);
        self.panels.total(&maxima)
    }

    /// MaxSim with a document in half precision.
    #[must_use]
    pub fn score_f16(&self, document: &[f16]) -> f32 {
        debug_assert!(document.len().is_multiple_of(self.dim));
        let tile = ROW_TILE * self.dim;
        let mut wide = vec![0.0; tile.min(document.len())];
        let mut maxima = self.panels.maxima();
        for block in document.chunks(tile) {
            let wide = &mut wide[..block.len()];
            block.convert_to_f32_slice(wide);
            self.kernel.maxsim_f32(&self.panels, wide, &mut maxima);
        }
        self.panels.total(&maxima)
    }

    /// MaxSim with a document of the original tier.
    #[must_use]
    pub fn score_original(&self, rows: OriginalRows<'_>) -> f32 {
        debug_assert_eq!(rows.dim(), self.dim);
        let mut wide = vec![0.0; ROW_TILE.min(rows.len()) * self.dim];
        let mut maxima = self.panels.maxima();
        for first in (0..rows.len()).step_by(ROW_TILE) {
            let count = ROW_TILE.min(rows.len() - first);
            let wide = &mut wide[..count * self.dim];
            rows.decode(first, wide);
            self.kernel.maxsim_f32(&self.panels, wide, &mut maxima);
        }
        self.panels.total(&maxima)
    }

    /// Whether it was made of these tokens, bit for bit.
    fn is_of(&self, tokens: &[f32], dim: usize) -> bool {
        self.dim == dim
            && bytemuck::cast_slice::<f32, u8>(&self.tokens) == bytemuck::cast_slice::<f32, u8>(tokens)
    }

    pub(crate) fn panels(&self) -> &Panels {
        &self.panels
    }

    pub(crate) fn kernel(&self) -> Kernel {
        self.kernel
    }
}

thread_local! {
    // The query of the last call: whoever scores many documents gives the same one each time.
    static LAST: RefCell<Option<MaxSimQuery>> = const { RefCell::new(None) };
}

/// Queries of more numbers are not kept for the next call.
const MOST_KEPT: usize = 1 << 16;

/// MaxSim of two token matrices with rows of `dim` numbers: for callers with vectors of their own. A query that the thread's
/// last call had is checked and laid out already.
///
/// # Errors
/// As [`MaxSimQuery::new`], and a document of no whole rows or of numbers that are not finite.
pub fn maxsim(query: &[f32], document: &[f32], dim: usize) -> Result<f32, CodecError> {
    LAST.with_borrow_mut(|last| {
        let known = last.take().filter(|last| last.is_of(query, dim));
        let query = match known {
            Some(known) => known,
            None => MaxSimQuery::new(dim, query)?,
        };
        let score = checked(&query, document);
        *last = Some(query).filter(|query| query.tokens.len() <= MOST_KEPT);
        score
    })
}

fn checked(query: &MaxSimQuery, document: &[f32]) -> Result<f32, CodecError> {
    if whole_rows(document.len(), query.dim)? == 0 {
        return Err(CodecError::TokenCount {
            what: "document",
            max: crate::MAX_DOCUMENT_TOKENS,
            got: 0,
        });
    }
    let mut maxima = query.panels.maxima();
    // Each block is checked when the kernel has fetched it while it scored the one before.
    for block in document.chunks(ROW_TILE / 2 * query.dim) {
        if !query.kernel.all_finite(block) {
            all_finite(document, query.dim)?;
        }
        query.kernel.maxsim_f32(&query.panels, block, &mut maxima);
    }
    Ok(query.panels.total(&maxima))
}
