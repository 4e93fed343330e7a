//! Codecs and kernels of Latewood: dense vectors, ColBERTv2 residual codes, MaxSim.
//!
//! Numbers go in, bytes come out, and scores are computed straight from the bytes. The crate opens no file, spawns no
//! thread and reads neither a clock nor the environment; a seed is an argument.
//!
//! * [`DenseCodec`], [`DenseRows`], [`DenseQuery`]: one vector a document, under a [`Metric`].
//! * [`TokenMatrix`], [`MaxSimQuery`]: a document as a matrix of token vectors, scored by MaxSim: the sum over query
//!   tokens of the greatest dot product with any document token (Khattab and Zaharia, ColBERT, SIGIR 2020).
//! * [`ResidualCodec`], [`ResidualQuery`]: the residual compression of ColBERTv2 (Santhanam et al., NAACL 2022), byte for
//!   byte, and MaxSim computed from its codes without decompressing them.
//! * [`Trellis`]: another quantizer of those residuals, with less loss from the same bytes.
//! * [`OriginalCodec`], [`OriginalRows`]: the tokens kept beside the codes, for exact rescoring.
//! * [`TokenMatrix::pooled`]: tokens that say nearly the same become one vector (arXiv 2409.14683).
//! * [`SparseVector`]: a few weighted dimensions of very many, scored by the inner product.
//! * [`kmeans`]: the spherical k-means that trains the centroids.
//!
//! Decisions against abstraction: the codecs are closed sets, so they are enums matched once per block, and there is no
//! trait over them. Every kernel exists once per instruction set behind one run-time choice, [`kernel::Isa`], and each is
//! tested against the scalar one.
//!
//! ```
//! use latewood_codecs::{MaxSimQuery, maxsim};
//! # fn main() -> Result<(), latewood_codecs::CodecError> {
//! let query = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
//! let document = [0.6, 0.8, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.8, 0.6, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
//! assert!((maxsim(&query, &document, 8)? - 0.8).abs() < 1e-6);
//! assert!((MaxSimQuery::new(8, &query)?.score_f32(&document) - 0.8).abs() < 1e-6);
//! # Ok(())
//! # }
//! ```

mod dense;
mod error;
pub mod kernel;
pub mod kmeans;
mod maxsim;
mod metric;
mod original;
mod pooling;
mod residual;
mod rotation;
mod rough;
mod sparse;
mod tokens;

pub use dense::{
    DenseCodec, DenseCodes, DenseParts, DenseQuery, DenseRows, Int4Codec, Int4Factors, Int4Query, Int4Rows,
};
pub use error::CodecError;
pub use maxsim::{MAX_QUERY_TOKENS, MaxSimQuery, maxsim};
pub use metric::Metric;
pub use original::{OriginalCodec, OriginalRows};
pub use pooling::MAX_POOL_FACTOR;
pub use residual::{
    Buckets, CentroidBytes, CentroidTables, Codes, Quantizer, ResidualCodec, ResidualCodes, ResidualQuery,
    ResidualRows, TokenCodec, Trellis, Within,
};
pub use rough::RoughQuery;
pub use sparse::{MAX_SPARSE_ENTRIES, SparseVector};
pub use tokens::{MAX_DOCUMENT_TOKENS, MAX_TOKEN_DIM, TokenMatrix};
