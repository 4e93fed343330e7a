//! What candidates are searched by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::QueryError;

const BM25: &str = "bm25";
const DENSE: &str = "dense";
const MAXSIM: &str = "maxsim";
const SPARSE: &str = "sparse";

/// What candidates are searched by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Leg {
    /// Words.
    Bm25,
    /// Dense vectors.
    Dense,
    /// Late interaction.
    MaxSim,
    /// The dense vectors of the field of this name.
    Vector(String),
    /// The sparse vectors of the field of this name.
    Sparse(String),
}

impl Leg {
    /// The named field that is searched.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Vector(name) | Self::Sparse(name) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bm25 => f.write_str(BM25),
            Self::Dense => f.write_str(DENSE),
            Self::MaxSim => f.write_str(MAXSIM),
            Self::Vector(name) => write!(f, "{DENSE}:{name}"),
            Self::Sparse(name) => write!(f, "{SPARSE}:{name}"),
        }
    }
}

impl FromStr for Leg {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        let is = |text: &str, known: &str| text.trim().eq_ignore_ascii_case(known);
        match text.split_once(':') {
            None if is(text, BM25) => Ok(Self::Bm25),
            None if is(text, DENSE) => Ok(Self::Dense),
            None if is(text, MAXSIM) => Ok(Self::MaxSim),
            Some((kind, name)) if is(kind, DENSE) && !name.trim().is_empty() => {
                Ok(Self::Vector(name.trim().to_owned()))
            }
            Some((kind, name)) if is(kind, SPARSE) && !name.trim().is_empty() => {
                Ok(Self::Sparse(name.trim().to_owned()))
            }
            _ => Err(QueryError::UnknownLeg {
                name: text.trim().to_owned(),
            }),
        }
    }
}

impl From<Leg> for String {
    fn from(leg: Leg) -> Self {
        leg.to_string()
    }
}

impl TryFrom<String> for Leg {
    type Error = QueryError;

    fn try_from(text: String) -> Result<Self, QueryError> {
        text.parse()
    }
}
