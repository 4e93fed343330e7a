//! The residual codec of ColBERTv2: a token is its nearest centroid and a few bits a dimension of what is left.

mod assign;
mod codec;
mod codes;
mod pack;
mod query;

pub(crate) use assign::Assigner;
pub use codec::ResidualCodec;
pub use codes::{Codes, ResidualCodes, ResidualRows};
pub use query::ResidualQuery;
