//! Names of plans, and of what they begin with.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::QueryError;
use crate::leg::Leg;

/// Which plan to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum PlanChoice {
    /// The planner decides.
    #[default]
    Auto,
    /// The caller decides which stages run; the planner still decides how.
    Named(PlanName),
}

const MAXSIM: &str = "maxsim";
const RERANK: &str = "rerank";

/// The stages of a plan, in order, by name: what searches, side by side; then whether late interaction scores their
/// candidates anew; then whether a cross-encoder does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PlanName {
    legs: Cow<'static, [Leg]>,
    rescores: bool,
    reranks: bool,
}

impl PlanName {
    /// Nearest dense vectors.
    pub const DENSE: Self = Self::constant(&[Leg::Dense], false, false);
    /// Late interaction over the whole collection.
    pub const MAXSIM: Self = Self::constant(&[Leg::MaxSim], false, false);
    /// Dense candidates, rescored by late interaction.
    pub const DENSE_MAXSIM: Self = Self::constant(&[Leg::Dense], true, false);
    /// Dense candidates, the first of them reranked by a cross-encoder.
    pub const DENSE_RERANK: Self = Self::constant(&[Leg::Dense], false, true);
    /// Late interaction, its first candidates reranked by a cross-encoder.
    pub const MAXSIM_RERANK: Self = Self::constant(&[Leg::MaxSim], false, true);
    /// Dense candidates, rescored by late interaction, the first of them reranked by a cross-encoder.
    pub const DENSE_MAXSIM_RERANK: Self = Self::constant(&[Leg::Dense], true, true);
    /// The words of the query.
    pub const BM25: Self = Self::constant(&[Leg::Bm25], false, false);
    /// BM25 candidates, rescored by late interaction.
    pub const BM25_MAXSIM: Self = Self::constant(&[Leg::Bm25], true, false);
    /// BM25 candidates, the first of them reranked by a cross-encoder.
    pub const BM25_RERANK: Self = Self::constant(&[Leg::Bm25], false, true);
    /// BM25 candidates, rescored by late interaction, the first of them reranked by a cross-encoder.
    pub const BM25_MAXSIM_RERANK: Self = Self::constant(&[Leg::Bm25], true, true);
    /// BM25 beside dense vectors, fused.
    pub const BM25_BESIDE_DENSE: Self = Self::constant(&[Leg::Bm25, Leg::Dense], false, false);
    /// BM25 beside late interaction over the whole collection, fused.
    pub const BM25_BESIDE_MAXSIM: Self = Self::constant(&[Leg::Bm25, Leg::MaxSim], false, false);
    /// BM25 beside dense vectors, fused, the first candidates rescored by late interaction.
    pub const BM25_BESIDE_DENSE_MAXSIM: Self = Self::constant(&[Leg::Bm25, Leg::Dense], true, false);
    /// BM25 beside dense vectors, fused, the first reranked by a cross-encoder.
    pub const BM25_BESIDE_DENSE_RERANK: Self = Self::constant(&[Leg::Bm25, Leg::Dense], false, true);
    /// BM25 beside late interaction, fused, the first reranked by a cross-encoder.
    pub const BM25_BESIDE_MAXSIM_RERANK: Self = Self::constant(&[Leg::Bm25, Leg::MaxSim], false, true);
    /// BM25 beside dense vectors, fused, rescored by late interaction, the first reranked by a cross-encoder.
    pub const BM25_BESIDE_DENSE_MAXSIM_RERANK: Self = Self::constant(&[Leg::Bm25, Leg::Dense], true, true);

    /// All plans but those that search named fields.
    pub const ALL: [Self; 16] = [
        Self::DENSE,
        Self::MAXSIM,
        Self::DENSE_MAXSIM,
        Self::DENSE_RERANK,
        Self::MAXSIM_RERANK,
        Self::DENSE_MAXSIM_RERANK,
        Self::BM25,
        Self::BM25_MAXSIM,
        Self::BM25_RERANK,
        Self::BM25_MAXSIM_RERANK,
        Self::BM25_BESIDE_DENSE,
        Self::BM25_BESIDE_MAXSIM,
        Self::BM25_BESIDE_DENSE_MAXSIM,
        Self::BM25_BESIDE_DENSE_RERANK,
        Self::BM25_BESIDE_MAXSIM_RERANK,
        Self::BM25_BESIDE_DENSE_MAXSIM_RERANK,
    ];

    const fn constant(legs: &'static [Leg], rescores: bool, reranks: bool) -> Self {
        Self {
            legs: Cow::Borrowed(legs),
            rescores,
            reranks,
        }
    }

    /// A plan of these searches, fused where there are several; `None` without any, where one stands twice, or where late
    /// interaction would score its own candidates anew.
    #[must_use]
    pub fn new(legs: Vec<Leg>, rescores: bool, reranks: bool) -> Option<Self> {
        let repeated = legs.iter().enumerate().any(|(at, leg)| legs[..at].contains(leg));
        if legs.is_empty() || repeated || (rescores && legs.contains(&Leg::MaxSim)) {
            return None;
        }
        Some(Self {
            legs: Cow::Owned(legs),
            rescores,
            reranks,
        })
    }

    /// The plan's name: what runs side by side joined by `/`, what follows by `+`.
    pub fn name(&self) -> String {
        let legs: Vec<String> = self.legs.iter().map(ToString::to_string).collect();
        let mut name = legs.join("/");
        for (there, stage) in [(self.rescores, MAXSIM), (self.reranks, RERANK)] {
            if there {
                name.push('+');
                name.push_str(stage);
            }
        }
        name
    }

    /// What the plan begins with; the candidates of several are fused.
    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// Whether candidates are scored anew by late interaction.
    pub fn rescores(&self) -> bool {
        self.rescores
    }

    /// Whether the plan ends in a rerank.
    pub fn reranks(&self) -> bool {
        self.reranks
    }

    /// Whether the plan searches by words.
    pub fn uses_words(&self) -> bool {
        self.legs.contains(&Leg::Bm25)
    }

    /// Whether the plan searches by the dense vector.
    pub fn uses_dense(&self) -> bool {
        self.legs.contains(&Leg::Dense)
    }

    /// Whether the plan scores by the token matrix.
    pub fn uses_tokens(&self) -> bool {
        self.rescores || self.legs.contains(&Leg::MaxSim)
    }

    /// The same plan with a rerank at its end.
    #[must_use]
    pub fn with_rerank(&self) -> Self {
        Self {
            reranks: true,
            ..self.clone()
        }
    }

    /// The same plan with these searches beside its own.
    #[must_use]
    pub fn beside(&self, legs: &[Leg]) -> Self {
        let all = legs.iter().filter(|leg| !self.legs.contains(leg));
        Self {
            legs: self.legs.iter().chain(all).cloned().collect(),
            ..self.clone()
        }
    }
}

impl fmt::Display for PlanName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl FromStr for PlanName {
    type Err = QueryError;

    fn from_str(name: &str) -> Result<Self, QueryError> {
        let unknown = || {
            let known: Vec<String> = Self::ALL.iter().map(Self::name).collect();
            QueryError::UnknownPlan {
                name: name.to_owned(),
                known: format!(
                    "{}; fields by their names, as in dense:NAME and sparse:NAME",
                    known.join(", ")
                ),
            }
        };
        // Nothing scores dense vectors of candidates, so this can mean but one thing.
        let trimmed = name.trim();
        let beside = match trimmed.split_at_checked("bm25+dense".len()) {
            Some((start, rest)) if start.eq_ignore_ascii_case("bm25+dense") => format!("bm25/dense{rest}"),
            _ => trimmed.to_owned(),
        };
        let mut parts = beside.split('+');
        let legs = parts.next().unwrap_or_default().split('/').map(str::parse);
        let legs: Option<Vec<Leg>> = legs.map(Result::ok).collect();
        let mut next = parts.next();
        let mut takes = |stage: &str| {
            let taken = next.is_some_and(|part| part.trim().eq_ignore_ascii_case(stage));
            if taken {
                next = parts.next();
            }
            taken
        };
        let (rescores, reranks) = (takes(MAXSIM), takes(RERANK));
        legs.filter(|_| next.is_none())
            .and_then(|legs| Self::new(legs, rescores, reranks))
            .ok_or_else(unknown)
    }
}

impl fmt::Display for PlanChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Named(name) => write!(f, "{name}"),
        }
    }
}

impl FromStr for PlanChoice {
    type Err = QueryError;

    fn from_str(name: &str) -> Result<Self, QueryError> {
        if name.trim().eq_ignore_ascii_case("auto") {
            Ok(Self::Auto)
        } else {
            name.parse().map(Self::Named)
        }
    }
}

impl From<PlanName> for PlanChoice {
    fn from(name: PlanName) -> Self {
        Self::Named(name)
    }
}

impl From<PlanName> for String {
    fn from(name: PlanName) -> Self {
        name.name()
    }
}

impl TryFrom<String> for PlanName {
    type Error = QueryError;

    fn try_from(name: String) -> Result<Self, QueryError> {
        name.parse()
    }
}

impl From<PlanChoice> for String {
    fn from(choice: PlanChoice) -> Self {
        choice.to_string()
    }
}

impl TryFrom<String> for PlanChoice {
    type Error = QueryError;

    fn try_from(name: String) -> Result<Self, QueryError> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for plan in PlanName::ALL {
            assert_eq!(plan.to_string().parse::<PlanName>().unwrap(), plan);
            assert_eq!(
                plan.to_string().parse::<PlanChoice>().unwrap(),
                PlanChoice::Named(plan.clone())
            );
            assert!(plan.with_rerank().reranks());
            let json = serde_json::to_string(&plan).unwrap();
            assert_eq!(serde_json::from_str::<PlanName>(&json).unwrap(), plan);
        }
        assert_eq!(
            "bm25+dense+maxsim".parse::<PlanName>().unwrap(),
            PlanName::BM25_BESIDE_DENSE_MAXSIM
        );
        let fused: PlanName = "BM25/sparse:Splade/dense:title+MaxSim+rerank".parse().unwrap();
        assert_eq!(
            fused.legs(),
            [
                Leg::Bm25,
                Leg::Sparse("Splade".to_owned()),
                Leg::Vector("title".to_owned())
            ]
        );
        assert!(fused.rescores() && fused.reranks());
        assert_eq!(fused.to_string(), "bm25/sparse:Splade/dense:title+maxsim+rerank");
        assert_eq!("auto".parse::<PlanChoice>().unwrap(), PlanChoice::Auto);
        assert_eq!(PlanChoice::Auto.to_string(), "auto");
    }

    #[test]
    fn another_name_is_refused_with_those_that_are_known() {
        for name in [
            "maxsim+dense",
            "",
            "rerank",
            "dense+dense",
            "dense/dense",
            "sparse:a/sparse:a",
            "sparse:",
            "maxsim+maxsim",
            "dense+rerank+maxsim",
            "dense/",
            "words:a",
        ] {
            let error = name.parse::<PlanChoice>().unwrap_err().to_string();
            assert!(
                error.contains("dense+maxsim+rerank") && error.contains("auto"),
                "{error}"
            );
        }
    }
}
