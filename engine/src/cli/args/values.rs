//! Arguments that are one of several names.

use clap::ValueEnum;

use latewood_codecs::{DenseCodec, Metric, OriginalCodec, TokenCodec};
use latewood_storage::Tokenizer;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum MetricArg {
    /// Dot product of unit vectors
    Cosine,
    /// Inner product
    Ip,
    /// Minus the squared Euclidean distance
    L2,
}

impl From<MetricArg> for Metric {
    fn from(metric: MetricArg) -> Self {
        match metric {
            MetricArg::Cosine => Self::Cosine,
            MetricArg::Ip => Self::InnerProduct,
            MetricArg::L2 => Self::L2,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum DenseCodecArg {
    /// 4 bytes a number
    F32,
    /// 2 bytes a number
    F16,
    /// 1 byte a number
    Int8,
    /// 1 byte a number, which a graph is walked by too: two thirds of int8 and more recall
    Rabitq8,
    /// 1.5 bytes a number, which a graph is walked by too: three fifths of f16 at its recall
    Rabitq12,
}

impl From<DenseCodecArg> for DenseCodec {
    fn from(codec: DenseCodecArg) -> Self {
        match codec {
            DenseCodecArg::F32 => Self::F32,
            DenseCodecArg::F16 => Self::F16,
            DenseCodecArg::Int8 => Self::Int8,
            DenseCodecArg::Rabitq8 => Self::Rabitq8,
            DenseCodecArg::Rabitq12 => Self::Rabitq12,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum OriginalArg {
    /// 2 bytes a number
    F16,
    /// 1 byte a number
    Int8,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum TokenCodecArg {
    /// As ColBERTv2 does
    Buckets,
    /// Less loss in as many bytes
    Trellis,
}

impl From<TokenCodecArg> for TokenCodec {
    fn from(codec: TokenCodecArg) -> Self {
        match codec {
            TokenCodecArg::Buckets => Self::Buckets,
            TokenCodecArg::Trellis => Self::Trellis,
        }
    }
}

impl From<OriginalArg> for OriginalCodec {
    fn from(codec: OriginalArg) -> Self {
        match codec {
            OriginalArg::F16 => Self::F16,
            OriginalArg::Int8 => Self::Int8,
        }
    }
}

/// How rankings are fused.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum FusionArg {
    /// Reciprocal ranks
    Rrf,
    /// Scores between the worst and the best
    Score,
    /// Scores by their distance from the mean
    Distribution,
}

/// What a word is.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum TokenizerArg {
    Words,
    Unicode,
    Whitespace,
}

impl From<TokenizerArg> for Tokenizer {
    fn from(tokenizer: TokenizerArg) -> Self {
        match tokenizer {
            TokenizerArg::Words => Self::Words,
            TokenizerArg::Unicode => Self::Unicode,
            TokenizerArg::Whitespace => Self::Whitespace,
        }
    }
}
