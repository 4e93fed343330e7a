//! Names of plans, and of what they begin with.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::QueryError;

/// Which plan to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum PlanChoice {
    /// The planner decides.
    #[default]
    Auto,
    /// The caller decides which stages run; the planner still decides how.
    Named(PlanName),
}

/// What candidates are searched by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Leg {
    /// Words.
    Bm25,
    /// Dense vectors.
    Dense,
    /// Late interaction.
    MaxSim,
}

/// The stages of a plan, in order, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[non_exhaustive]
pub enum PlanName {
    /// Nearest dense vectors.
    Dense,
    /// Late interaction over the whole collection.
    MaxSim,
    /// Dense candidates, rescored by late interaction.
    DenseMaxSim,
    /// Dense candidates, the first of them reranked by a cross-encoder.
    DenseRerank,
    /// Late interaction, its first candidates reranked by a cross-encoder.
    MaxSimRerank,
    /// Dense candidates, rescored by late interaction, the first of them reranked by a cross-encoder.
    DenseMaxSimRerank,
    /// The words of the query.
    Bm25,
    /// BM25 candidates, rescored by late interaction.
    Bm25MaxSim,
    /// BM25 candidates, the first of them reranked by a cross-encoder.
    Bm25Rerank,
    /// BM25 candidates, rescored by late interaction, the first of them reranked by a cross-encoder.
    Bm25MaxSimRerank,
    /// BM25 beside dense vectors, fused.
    Bm25BesideDense,
    /// BM25 beside late interaction over the whole collection, fused.
    Bm25BesideMaxSim,
    /// BM25 beside dense vectors, fused, the first candidates rescored by late interaction.
    Bm25BesideDenseMaxSim,
    /// BM25 beside dense vectors, fused, the first reranked by a cross-encoder.
    Bm25BesideDenseRerank,
    /// BM25 beside late interaction, fused, the first reranked by a cross-encoder.
    Bm25BesideMaxSimRerank,
    /// BM25 beside dense vectors, fused, rescored by late interaction, the first reranked by a cross-encoder.
    Bm25BesideDenseMaxSimRerank,
}

/// A plan's name, what it begins with, and whether it rescores and reranks.
type Facts = (&'static str, &'static [Leg], bool, bool);

impl PlanName {
    /// All plans.
    pub const ALL: [Self; 16] = [
        Self::Dense,
        Self::MaxSim,
        Self::DenseMaxSim,
        Self::DenseRerank,
        Self::MaxSimRerank,
        Self::DenseMaxSimRerank,
        Self::Bm25,
        Self::Bm25MaxSim,
        Self::Bm25Rerank,
        Self::Bm25MaxSimRerank,
        Self::Bm25BesideDense,
        Self::Bm25BesideMaxSim,
        Self::Bm25BesideDenseMaxSim,
        Self::Bm25BesideDenseRerank,
        Self::Bm25BesideMaxSimRerank,
        Self::Bm25BesideDenseMaxSimRerank,
    ];

    fn facts(self) -> Facts {
        use Leg::{Bm25, Dense, MaxSim};
        match self {
            Self::Dense => ("dense", &[Dense], false, false),
            Self::MaxSim => ("maxsim", &[MaxSim], false, false),
            Self::DenseMaxSim => ("dense+maxsim", &[Dense], true, false),
            Self::DenseRerank => ("dense+rerank", &[Dense], false, true),
            Self::MaxSimRerank => ("maxsim+rerank", &[MaxSim], false, true),
            Self::DenseMaxSimRerank => ("dense+maxsim+rerank", &[Dense], true, true),
            Self::Bm25 => ("bm25", &[Bm25], false, false),
            Self::Bm25MaxSim => ("bm25+maxsim", &[Bm25], true, false),
            Self::Bm25Rerank => ("bm25+rerank", &[Bm25], false, true),
            Self::Bm25MaxSimRerank => ("bm25+maxsim+rerank", &[Bm25], true, true),
            Self::Bm25BesideDense => ("bm25/dense", &[Bm25, Dense], false, false),
            Self::Bm25BesideMaxSim => ("bm25/maxsim", &[Bm25, MaxSim], false, false),
            Self::Bm25BesideDenseMaxSim => ("bm25/dense+maxsim", &[Bm25, Dense], true, false),
            Self::Bm25BesideDenseRerank => ("bm25/dense+rerank", &[Bm25, Dense], false, true),
            Self::Bm25BesideMaxSimRerank => ("bm25/maxsim+rerank", &[Bm25, MaxSim], false, true),
            Self::Bm25BesideDenseMaxSimRerank => ("bm25/dense+maxsim+rerank", &[Bm25, Dense], true, true),
        }
    }

    /// The plan's name: what runs side by side joined by `/`, what follows by `+`.
    pub fn name(self) -> &'static str {
        self.facts().0
    }

    /// What the plan begins with; the candidates of several are fused.
    pub fn legs(self) -> &'static [Leg] {
        self.facts().1
    }

    /// Whether candidates are scored anew by late interaction.
    pub fn rescores(self) -> bool {
        self.facts().2
    }

    /// Whether the plan ends in a rerank.
    pub fn reranks(self) -> bool {
        self.facts().3
    }

    /// Whether the plan searches by words.
    pub fn uses_words(self) -> bool {
        self.legs().contains(&Leg::Bm25)
    }

    /// Whether the plan searches by the dense vector.
    pub fn uses_dense(self) -> bool {
        self.legs().contains(&Leg::Dense)
    }

    /// Whether the plan scores by the token matrix.
    pub fn uses_tokens(self) -> bool {
        self.rescores() || self.legs().contains(&Leg::MaxSim)
    }

    /// The same plan with a rerank at its end.
    #[must_use]
    pub fn with_rerank(self) -> Self {
        let (_, legs, rescores, _) = self.facts();
        let mut all = Self::ALL.into_iter();
        all.find(|other| {
            let facts = other.facts();
            (facts.1, facts.2, facts.3) == (legs, rescores, true)
        })
        .unwrap_or(self)
    }
}

impl fmt::Display for PlanName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PlanName {
    type Err = QueryError;

    fn from_str(name: &str) -> Result<Self, QueryError> {
        let wanted = name.trim().to_ascii_lowercase();
        // Nothing scores dense vectors of candidates, so this can mean but one thing.
        let wanted = match wanted.strip_prefix("bm25+dense") {
            Some(rest) => format!("bm25/dense{rest}"),
            None => wanted,
        };
        Self::ALL
            .into_iter()
            .find(|plan| plan.name() == wanted)
            .ok_or_else(|| {
                let known = Self::ALL.map(Self::name).join(", ");
                QueryError::UnknownPlan {
                    name: name.to_owned(),
                    known,
                }
            })
    }
}

impl fmt::Display for PlanChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Named(name) => f.write_str(name.name()),
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
        name.name().to_owned()
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
                PlanChoice::Named(plan)
            );
            assert!(plan.with_rerank().reranks());
            let json = serde_json::to_string(&plan).unwrap();
            assert_eq!(serde_json::from_str::<PlanName>(&json).unwrap(), plan);
        }
        assert_eq!(
            "bm25+dense+maxsim".parse::<PlanName>().unwrap(),
            PlanName::Bm25BesideDenseMaxSim
        );
        assert_eq!("auto".parse::<PlanChoice>().unwrap(), PlanChoice::Auto);
        assert_eq!(PlanChoice::Auto.to_string(), "auto");
    }

    #[test]
    fn another_name_is_refused_with_those_that_are_known() {
        for name in ["maxsim+dense", "", "rerank", "dense+dense"] {
            let error = name.parse::<PlanChoice>().unwrap_err().to_string();
            assert!(
                error.contains("dense+maxsim+rerank") && error.contains("auto"),
                "{error}"
            );
        }
    }
}
