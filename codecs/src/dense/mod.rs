//! Dense vectors: how a row is stored, and how a query scores it in place.

mod codec;
mod query;

pub use codec::{DenseCodec, DenseRows};
pub use query::DenseQuery;
