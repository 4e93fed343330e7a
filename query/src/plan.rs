//! A plan as plain data: its stages with estimates and reasons, and the alternatives that were rejected.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::breadth::Effort;
use crate::fusion::Fusion;
pub use crate::leg::Leg;
pub use crate::plan_name::{PlanChoice, PlanName};

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
    /// The words of the query are looked up.
    Bm25,
    /// The dimensions of a sparse vector are looked up.
    Sparse,
    /// The candidates of several stages become one ranking.
    Fuse,
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
            Self::Bm25 => "bm25",
            Self::Sparse => "sparse",
            Self::Fuse => "fuse",
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
        /// Matching rows of the cells near the query that are scored in place of a walk, where a tenth of the rows matches and that
        /// takes less; `None`: in proportion to the beam.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cell_rows: Option<usize>,
    },
    /// Scores every matching dense vector of a named field.
    VectorScan {
        /// The field.
        field: String,
    },
    /// Searches the graphs of a named field.
    VectorGraph {
        /// The field.
        field: String,
        /// Beam width.
        ef_search: usize,
        /// Matching rows of the cells near the query that are scored in place of a walk, where a tenth of the rows matches and that
        /// takes less; `None`: in proportion to the beam.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cell_rows: Option<usize>,
    },
    /// Scores every matching token matrix.
    MaxsimScan,
    /// Searches the posting lists of the centroids.
    MaxsimIndex(ProbeSettings),
    /// Finds the documents with the query's words.
    Bm25,
    /// Finds the documents with dimensions of the query's sparse vector.
    Sparse {
        /// The field.
        field: String,
    },
    /// Makes one ranking of those of the stages before.
    Fuse(Fusion),
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
    /// How much of the graphs it looks at, if it searches graphs.
    pub(crate) fn effort(&self) -> Option<Effort> {
        match self {
            Self::DenseGraph { ef_search, cell_rows }
            | Self::VectorGraph {
                ef_search, cell_rows, ..
            } => Some(Effort {
                ef_search: *ef_search,
                cell_rows: *cell_rows,
            }),
            _ => None,
        }
    }

    /// The stage without its settings.
    pub fn name(&self) -> StageName {
        match self {
            Self::DenseScan | Self::VectorScan { .. } => StageName::DenseScan,
            Self::DenseGraph { .. } | Self::VectorGraph { .. } => StageName::DenseGraph,
            Self::MaxsimScan => StageName::MaxsimScan,
            Self::MaxsimIndex(_) => StageName::MaxsimIndex,
            Self::Bm25 => StageName::Bm25,
            Self::Sparse { .. } => StageName::Sparse,
            Self::Fuse(_) => StageName::Fuse,
            Self::Rescore => StageName::Rescore,
            Self::Rerank { .. } => StageName::Rerank,
        }
    }
}

/// The most parts that an estimate has.
pub(crate) const PARTS: usize = 6;

/// What a stage is expected to take.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Estimate {
    /// Wall time on one thread.
    pub microseconds: f64,
    /// Bytes of stored data read.
    pub bytes: u64,
    /// Operations of the scores: two for each multiply-add.
    pub flops: u64,
    /// The parts that the time is made of, before they were corrected: work times the constants of the cost model.
    #[serde(skip)]
    pub(crate) parts: [f64; PARTS],
}

/// What they say is compared, not how they came to it.
impl PartialEq for Estimate {
    fn eq(&self, other: &Self) -> bool {
        self.microseconds == other.microseconds && self.bytes == other.bytes && self.flops == other.flops
    }
}

impl std::ops::Add for Estimate {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            microseconds: self.microseconds + other.microseconds,
            bytes: self.bytes.saturating_add(other.bytes),
            flops: self.flops.saturating_add(other.flops),
            parts: std::array::from_fn(|at| self.parts[at] + other.parts[at]),
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
    /// What is worth knowing of how the filter was evaluated: fields that are not indexed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter_note: Option<String>,
    /// The stages, in order.
    pub stages: Vec<PlannedStage>,
    /// What the query takes beside its stages: encoding, the filter, planning, reading the hits.
    #[serde(default)]
    pub beside: Estimate,
    /// Of that, what was already over when the plan was made, in microseconds.
    #[serde(default)]
    pub spent_microseconds: f64,
    /// How long the whole query may take, if the caller said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Duration>,
    /// What was given up for the budget, in the order in which it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<String>,
    /// What was considered and not taken.
    pub rejected: Vec<Rejected>,
}

impl Plan {
    /// What the query takes from end to end: its stages, and all beside them.
    pub fn estimate(&self) -> Estimate {
        self.stages
            .iter()
            .fold(self.beside, |sum, stage| sum + stage.estimate)
    }
}
