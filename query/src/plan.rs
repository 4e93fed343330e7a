//! A plan as plain data: its stages with estimates and reasons, and the alternatives that were rejected.

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
}

impl PlanName {
    /// All plans.
    pub const ALL: [Self; 6] = [
        Self::Dense,
        Self::MaxSim,
        Self::DenseMaxSim,
        Self::DenseRerank,
        Self::MaxSimRerank,
        Self::DenseMaxSimRerank,
    ];

    /// The plan's name, its stages joined by `+`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::MaxSim => "maxsim",
            Self::DenseMaxSim => "dense+maxsim",
            Self::DenseRerank => "dense+rerank",
            Self::MaxSimRerank => "maxsim+rerank",
            Self::DenseMaxSimRerank => "dense+maxsim+rerank",
        }
    }

    /// Whether the plan searches by the dense vector.
    pub fn uses_dense(self) -> bool {
        !matches!(self, Self::MaxSim | Self::MaxSimRerank)
    }

    /// Whether the plan scores by the token matrix.
    pub fn uses_tokens(self) -> bool {
        !matches!(self, Self::Dense | Self::DenseRerank)
    }

    /// Whether the plan ends in a rerank.
    pub fn reranks(self) -> bool {
        matches!(
            self,
            Self::DenseRerank | Self::MaxSimRerank | Self::DenseMaxSimRerank
        )
    }

    /// The same plan with a rerank at its end.
    #[must_use]
    pub fn with_rerank(self) -> Self {
        match self {
            Self::Dense | Self::DenseRerank => Self::DenseRerank,
            Self::MaxSim | Self::MaxSimRerank => Self::MaxSimRerank,
            Self::DenseMaxSim | Self::DenseMaxSimRerank => Self::DenseMaxSimRerank,
        }
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
        let wanted = name.trim();
        Self::ALL
            .into_iter()
            .find(|plan| plan.name().eq_ignore_ascii_case(wanted))
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

/// What a stage does, without its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StageName {
    /// Every matching dense row is scored.
    DenseScan,
    /// The graphs are searched; rows without one are scored.
    DenseGraph,
    /// Every matching token matrix is scored.
    MaxsimScan,
    /// The posting lists are searched; matrices without them are scored.
    MaxsimIndex,
    /// Candidates are scored anew by their token matrices.
    Rescore,
    /// Candidates are scored anew by a cross-encoder.
    Rerank,
}

impl fmt::Display for StageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DenseScan => "dense scan",
            Self::DenseGraph => "dense graph",
            Self::MaxsimScan => "maxsim scan",
            Self::MaxsimIndex => "maxsim index",
            Self::Rescore => "maxsim rescore",
            Self::Rerank => "rerank",
        })
    }
}

/// A stage with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "stage")]
#[non_exhaustive]
pub enum Stage {
    /// Scores every matching dense row.
    DenseScan,
    /// Searches the graphs.
    DenseGraph {
        /// Beam width.
        ef_search: usize,
    },
    /// Scores every matching token matrix.
    MaxsimScan,
    /// Searches the posting lists of the centroids.
    MaxsimIndex(ProbeSettings),
    /// Scores candidates anew by MaxSim.
    Rescore,
    /// Scores the best candidates anew with a cross-encoder.
    Rerank {
        /// How many.
        depth: usize,
        /// How long it may take.
        deadline_ms: Option<u64>,
    },
}

/// How wide each step of the token index opens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeSettings {
    /// Posting lists visited for each group of query tokens that point the same way.
    pub n_probe: usize,
    /// Documents with the best accumulated scores, which get the full centroid interaction.
    pub candidates: usize,
    /// Of them, the most that are scored from their residual codes.
    pub refine: usize,
    /// They are scored from the best interaction down, until the next would have to gain so many standard deviations more
    /// than those before it did to come among the results.
    pub margin: f32,
}

impl Stage {
    /// The stage without its settings.
    pub fn name(&self) -> StageName {
        match self {
            Self::DenseScan => StageName::DenseScan,
            Self::DenseGraph { .. } => StageName::DenseGraph,
            Self::MaxsimScan => StageName::MaxsimScan,
            Self::MaxsimIndex(_) => StageName::MaxsimIndex,
            Self::Rescore => StageName::Rescore,
            Self::Rerank { .. } => StageName::Rerank,
        }
    }
}

/// What a stage is expected to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Wall time on one thread.
    pub microseconds: f64,
    /// Bytes of stored data read.
    pub bytes: u64,
    /// Operations of the scores: two for each multiply-add.
    pub flops: u64,
}

impl std::ops::Add for Estimate {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            microseconds: self.microseconds + other.microseconds,
            bytes: self.bytes.saturating_add(other.bytes),
            flops: self.flops.saturating_add(other.flops),
        }
    }
}

/// One stage of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedStage {
    /// What runs.
    #[serde(flatten)]
    pub stage: Stage,
    /// Documents that can be candidates when it begins.
    pub candidates_in: u64,
    /// Candidates that it hands on.
    pub candidates_out: usize,
    /// What it should take.
    pub estimate: Estimate,
    /// Why it runs, and runs like this.
    pub reason: String,
}

/// An alternative that was not taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// A plan's name, or a stage's.
    pub name: String,
    /// What it would take, where it could run at all.
    pub estimate: Option<Estimate>,
    /// Why not.
    pub reason: String,
}

/// A plan. Its Display is the text of an explain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The stages' names.
    pub name: PlanName,
    /// Whether the planner chose it.
    pub automatic: bool,
    /// Why this plan.
    pub reason: String,
    /// Live documents in the snapshot.
    pub documents: u64,
    /// Those of them that the filter lets through.
    pub matching: u64,
    /// The stages, in order.
    pub stages: Vec<PlannedStage>,
    /// What was considered and not taken.
    pub rejected: Vec<Rejected>,
}

impl Plan {
    /// The sum of the stages' estimates.
    pub fn estimate(&self) -> Estimate {
        self.stages
            .iter()
            .fold(Estimate::default(), |sum, stage| sum + stage.estimate)
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
