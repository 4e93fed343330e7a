//! The residual codec of ColBERTv2: a token is its nearest centroid and a few bits a dimension of what is left.

mod assign;
mod buckets;
mod codec;
mod codes;
mod contest;
pub(crate) mod directions;
mod exact;
mod foreign;
mod groups;
mod pack;
mod query;
mod tables;
mod tile;
mod token_codec;
mod trellis;
mod trellis_tables;

pub use buckets::Buckets;
pub use codec::{CentroidBytes, Quantizer, ResidualCodec};
pub use codes::{Codes, ResidualCodes, ResidualRows};
pub(crate) use groups::CentroidSearch;
pub use query::{ResidualQuery, Within};
pub use tables::CentroidTables;
pub use token_codec::TokenCodec;
pub use trellis::Trellis;
