//! Residual codes: three parallel columns, owned while they are made and in place once they are stored.

use std::ops::Range;

/// The codes of some tokens, as [`ResidualCodec::encode`](crate::ResidualCodec::encode) makes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResidualCodes {
    /// The centroid of each token.
    pub codes: Vec<u32>,
    /// The packed residuals: `dim * bits / 8` bytes a token.
    pub residuals: Vec<u8>,
    /// 16 bits a token beside its residual: the reciprocal norm of its reconstruction, or what [`Trellis`](crate::Trellis)
    /// keeps there.
    pub factors: Vec<u16>,
}

impl ResidualCodes {
    /// Number of tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether there is no token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// A view, to be scored.
    #[must_use]
    pub fn rows(&self) -> ResidualRows<'_> {
        ResidualRows {
            codes: Codes::U32(&self.codes),
            residuals: &self.residuals,
            factors: &self.factors,
        }
    }
}

/// The centroids of tokens, in the width in which they are stored: 16 bits do up to 65,536 centroids.
#[derive(Clone, Copy, Debug)]
pub enum Codes<'a> {
    /// Two bytes a token.
    U16(&'a [u16]),
    /// Four bytes a token.
    U32(&'a [u32]),
}

impl Codes<'_> {
    /// Number of tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::U16(codes) => codes.len(),
            Self::U32(codes) => codes.len(),
        }
    }

    /// Whether there is no token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The centroid of a token that exists.
    #[must_use]
    #[inline]
    pub fn get(&self, token: usize) -> u32 {
        match self {
            Self::U16(codes) => u32::from(codes[token]),
            Self::U32(codes) => codes[token],
        }
    }

    /// The tokens of a range that exists.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        match self {
            Self::U16(codes) => Self::U16(&codes[range]),
            Self::U32(codes) => Self::U32(&codes[range]),
        }
    }
}

/// Residual codes of tokens, in place: three parallel columns of one length.
#[derive(Clone, Copy, Debug)]
pub struct ResidualRows<'a> {
    /// The centroid of each token.
    pub codes: Codes<'a>,
    /// The packed residuals: `dim * bits / 8` bytes a token.
    pub residuals: &'a [u8],
    /// 16 bits a token beside its residual: the reciprocal norm of its reconstruction, or what [`Trellis`](crate::Trellis)
    /// keeps there.
    pub factors: &'a [u16],
}

impl ResidualRows<'_> {
    /// Number of tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether there is no token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// The tokens of a range, such as those of one document. A range past the end is cut.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        let bytes = self.residuals.len() / self.len().max(1);
        Self {
            codes: self.codes.slice(start..end),
            residuals: &self.residuals[start * bytes..end * bytes],
            factors: &self.factors[start..end],
        }
    }
}
