//! How two dense vectors are compared, and the one conversion from a distance to a score.

use serde::{Deserialize, Serialize};

/// How two dense vectors are compared. A score is higher-better under every metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Metric {
    /// Dot product of vectors that are brought to unit length when they are written.
    Cosine = 0,
    /// Dot product of the vectors as they came.
    #[serde(rename = "ip")]
    InnerProduct = 1,
    /// Minus the squared Euclidean distance.
    L2 = 2,
}
