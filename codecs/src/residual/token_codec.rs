//! The names of the residual quantizers.

use crate::error::CodecError;
use serde::{Deserialize, Serialize};

/// How the residuals of tokens are coded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum TokenCodec {
    /// The quantile buckets of ColBERTv2, byte for byte: what its indexes and those of its descendants hold.
    Buckets = 0,
    /// Trellis-coded quantisation: as many bytes, less than half the error.
    #[default]
    Trellis = 1,
}

impl TokenCodec {
    /// Every codec, in the order of its number on disk.
    pub const ALL: [Self; 2] = [Self::Buckets, Self::Trellis];

    /// That of collections from before there was a choice.
    #[must_use]
    pub fn first() -> Self {
        Self::Buckets
    }

    /// The name in schemas and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Buckets => "buckets",
            Self::Trellis => "trellis",
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
                what: "token codec",
                got: name.to_owned(),
                known: "buckets, trellis",
            })
    }
}
