//! One document followed through the stages of a query.

use latewood_storage::Snapshot;
use serde::{Deserialize, Serialize};

use super::{Resources, Run, counted, filter_stage, micros, until};
use crate::alignment::{Alignment, alignment};
use crate::cost::CostModel;
use crate::error::QueryError;
use crate::hits::Position;
use crate::plan::{Plan, Stage};
use crate::planner::plan;
use crate::profile::Stopwatch;
use crate::request::QueryRequest;
use crate::top_k::Scored;

/// Where a document stood when a stage of the plan ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageRank {
    /// The stage.
    #[serde(flatten)]
    pub stage: Stage,
    /// The document's rank, from 1; `None` where it was not among the candidates.
    pub rank: Option<usize>,
    /// Candidates that the stage left.
    pub candidates: usize,
    /// The document's score, on the scale of the stage.
    pub score: Option<f32>,
}

/// How a query came to think of one document as it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HitPath {
    /// The plan that ran.
    pub plan: Plan,
    /// Whether the filter lets the document through.
    pub matches_filter: bool,
    /// One for each stage of the plan, in order.
    pub stages: Vec<StageRank>,
    /// What its tokens match; `None` where query or document have none.
    pub alignment: Option<Alignment>,
}

/// Runs a query and says where the document at a position stood in each stage. Groups, diversity and the order by a field
/// come after the stages, and are left out.
///
/// # Errors
/// As [`search`](super::search).
pub fn explain_hit(
    snapshot: &Snapshot,
    request: &QueryRequest,
    cost: &CostModel,
    resources: Resources<'_>,
    position: Position,
) -> Result<HitPath, QueryError> {
    let mut watch = Stopwatch::start();
    request.validate(snapshot.schema())?;
    let matches = filter_stage(snapshot, request, &mut watch)?;
    let spent = micros(resources.spent) + watch.elapsed();
    let plan = plan(
        request,
        &counted(snapshot, request, &matches, resources, spent)?,
        cost,
    )?;
    let mut stages = Vec::with_capacity(plan.stages.len());
    let run = Run {
        snapshot,
        request,
        matches: &matches,
        resources,
        until: until(&plan, resources.spent, watch.begun()),
        watch,
    };
    run.run(&plan, |stage, found| {
        stages.push(standing(stage, found, position))
    })?;
    let alignment = match &request.tokens {
        Some((tokens, dim)) => alignment(snapshot, (tokens, *dim), position)?,
        None => None,
    };
    Ok(HitPath {
        plan,
        matches_filter: match matches.segments().get(position.segment as usize) {
            Some(segment) => segment.contains(position.ordinal),
            None => matches.memtable().contains(&position.ordinal),
        },
        stages,
        alignment,
    })
}

fn standing(stage: &Stage, found: &[Scored], position: Position) -> StageRank {
    let at = found.iter().position(|one| one.position == position);
    StageRank {
        stage: stage.clone(),
        rank: at.map(|at| at + 1),
        candidates: found.len(),
        score: at.and_then(|at| found.get(at)).map(|one| one.score),
    }
}
