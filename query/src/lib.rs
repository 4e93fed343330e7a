//! Queries of Latewood: what happens at read time, over one immutable snapshot.
//!
//! A query passes five steps, in this order:
//! 1. the request is checked ([`QueryRequest::validate`]);
//! 2. the filter becomes the set of documents that can be hits ([`Matches`]);
//! 3. statistics and cost model become a plan, with estimates, reasons and what was rejected ([`plan`]);
//! 4. the plan's stages run: candidates from a scan or an index, rescored by MaxSim, reranked by a cross-encoder;
//! 5. the best become [`Hit`]s, beside a [`Profile`] of what each stage did.
//!
//! [`search`] does all five. Nothing here writes, and nothing here runs a model but the caller's [`Reranker`].
#![forbid(unsafe_code)]

mod actuals;
mod alignment;
mod breadth;
mod budget;
#[cfg(test)]
mod budget_tests;
mod candidates;
mod correction;
mod cost;
mod error;
mod estimate;
mod execute;
mod explain;
mod field;
mod filter;
mod fusion;
mod hits;
mod leg;
mod lexical;
mod maxscore;
mod opening;
mod pairs;
mod plan;
mod plan_name;
mod planner;
#[cfg(test)]
mod planner_tests;
mod profile;
mod quality;
mod request;
mod rerank;
mod reranker;
mod shape;
mod sparse;
mod statistics;
mod telemetry;
#[cfg(test)]
mod tests;
mod token_scorer;
mod top_k;
mod tuning;

pub use actuals::Actuals;
pub use alignment::{Alignment, TokenMatch};
pub use budget::keeps_budget;
pub use correction::{Correction, Corrections};
pub use cost::CostModel;
pub use error::QueryError;
pub use execute::{HitPath, Resources, StageRank, execute, explain, explain_hit, search};
pub use field::{Facet, FacetCounts, OrderBy, facets, ordered};
pub use filter::{Bounds, Filter, Limit, MAX_FILTER_DEPTH, Matches, SegmentMatches, Value};
pub use fusion::{Fusion, FusionMethod, FusionWeights};
pub use hits::{Hit, Outcome, Position};
pub use lexical::{BM25_B, BM25_K1, LexicalQuery, MAX_LEXICAL_DEPTH, MAX_QUERY_TERMS};
pub use pairs::{PositionPair, pairs};
pub use plan::{
    Estimate, Leg, Plan, PlanChoice, PlanName, PlannedStage, ProbeSettings, Rejected, Stage, StageName,
};
pub use planner::plan;
pub use profile::{Profile, StageProfile};
pub use quality::{Quality, QualityTable};
pub use request::{
    DEFAULT_RECALL, DEFAULT_RERANK_DEPTH, MAX_EFFORT, MAX_QUERY_TOKENS, MAX_RERANK_DEPTH, MAX_WINDOW,
    QueryRequest,
};
pub use reranker::{RerankError, Reranker};
pub use shape::GroupBy;
pub use statistics::{
    DenseStatistics, LexicalStatistics, SparseStatistics, Statistics, TokenStatistics, statistics,
};
pub use telemetry::StageSpan;
pub use tuning::{
    BreadthEntry, BreadthTable, Found, MeasuredRecall, QuerySource, TUNED_TARGETS, TuneOptions, Tuned,
    TunedBreadth, TunedEntry, TunedTable, tune, tune_breadth,
};
