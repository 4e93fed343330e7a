//! Dense vectors: how a row is stored, and how a query scores it in place.

mod codec;
mod int4;
mod query;
mod rabitq;

pub use codec::{DenseCodec, DenseCodes, DenseParts, DenseRows};
pub use int4::{Int4Codec, Int4Factors, Int4Query, Int4Rows};
pub use query::DenseQuery;
