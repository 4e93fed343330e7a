//! Queries whose ranking is shaped when it is there: enough of it is searched, then gathered and reordered.

use std::time::Instant;

use latewood_storage::Snapshot;

use super::{Resources, ranked};
use crate::cost::CostModel;
use crate::error::QueryError;
use crate::hits::Outcome;
use crate::plan::Plan;
use crate::profile::{Begun, StageProfile};
use crate::request::{MAX_WINDOW, QueryRequest};
use crate::shape::{diversify, group};

/// Hits that are looked at for each one that is wanted.
const DEPTH: usize = 10;
/// The least that are looked at.
const LEAST: usize = 50;

/// Searches deep enough for the groups that are asked for to be full, where there are as many.
pub(super) fn shaped(
    snapshot: &Snapshot,
    request: &QueryRequest,
    cost: &CostModel,
    resources: Resources<'_>,
) -> Result<(Plan, Outcome), QueryError> {
    request.validate(snapshot.schema())?;
    let window = request.window();
    let first = window.saturating_mul(DEPTH).clamp(LEAST, MAX_WINDOW);
    let mut depth = first;
    let asked = Instant::now();
    loop {
        let shallower = asked.elapsed();
        let inner = QueryRequest {
            limit: depth,
            offset: 0,
            diversity: None,
            group_by: None,
            ..request.clone()
        };
        let (mut plan, mut outcome) = ranked(snapshot, &inner, cost, resources)?;
        let (found, begun) = (outcome.hits.len(), Begun::now());
        let mut hits = std::mem::take(&mut outcome.hits);
        let mut notes = Vec::new();
        if let Some(by) = &request.group_by {
            hits = group(snapshot, hits, by)?;
            if hits.len() < window && found == depth && depth < MAX_WINDOW {
                depth = depth.saturating_mul(4).min(MAX_WINDOW);
                begun.end(shape(found, hits.len()));
                continue;
            }
            notes.push(format!("at most {} of each value of `{}`", by.size, by.field));
        }
        if let Some(lambda) = request.diversity {
            hits.truncate(first);
            hits = diversify(snapshot, hits, lambda, window)?;
            notes.push(format!("by maximal marginal relevance, lambda {lambda}"));
        }
        outcome.hits = hits
            .into_iter()
            .skip(request.offset)
            .take(request.limit)
            .collect();
        let note = notes.join(", ");
        plan.reason = format!("{}; of the first {depth}, {note}", plan.reason);
        if depth > first {
            let microseconds = shallower.as_secs_f64() * 1e6;
            outcome.profile.total_microseconds += microseconds;
            let stage = StageProfile {
                name: "shallower searches".to_owned(),
                microseconds,
                note: Some(format!("the first {first} had too few groups")),
                ..StageProfile::default()
            };
            outcome.profile.stages.insert(0, stage);
        }
        let stage = StageProfile {
            note: Some(note),
            ..shape(found, outcome.hits.len())
        };
        outcome.profile.add(begun, stage);
        return Ok((plan, outcome));
    }
}

fn shape(found: usize, left: usize) -> StageProfile {
    StageProfile {
        name: "shape".to_owned(),
        candidates_in: found as u64,
        candidates_out: left as u64,
        ..StageProfile::default()
    }
}
