//! Which stages run where the caller names none: the first rule that has an answer, with its reason.

use super::Planner;
use crate::explain::Duration;
use crate::plan::PlanName;

/// A rule about which stages run: its answer with the reason, or nothing to say.
type StageRule = fn(&Planner<'_>) -> Option<(PlanName, String)>;

/// In order. Late interaction ranks better than dense vectors, so it comes first where it can be paid for.
pub(super) const STAGE_RULES: &[StageRule] =
    &[only_one_kind, exact_both, affordable_maxsim, dense_then_maxsim];

fn only_one_kind(planner: &Planner<'_>) -> Option<(PlanName, String)> {
    match (planner.dense_usable(), planner.tokens_usable()) {
        (true, false) => Some((
            PlanName::DENSE,
            format!("{}, so dense vectors decide", planner.why_no_tokens()),
        )),
        (false, true) => Some((
            PlanName::MAXSIM,
            format!("{}, so late interaction decides", planner.why_no_dense()),
        )),
        _ => None,
    }
}

fn exact_both(planner: &Planner<'_>) -> Option<(PlanName, String)> {
    let reason =
        "an exact answer is asked for, and late interaction over every document is the best that is stored";
    planner
        .case
        .request
        .exact
        .then(|| (PlanName::MAXSIM, reason.to_owned()))
}

fn affordable_maxsim(planner: &Planner<'_>) -> Option<(PlanName, String)> {
    let maxsim = planner.stages_estimate(&PlanName::MAXSIM).microseconds;
    let staged = planner.stages_estimate(&PlanName::DENSE_MAXSIM).microseconds;
    let affordable = planner.case.cost.affordable_microseconds;
    let reason = if maxsim <= staged {
        format!(
            "late interaction is about as fast ({}) as dense candidates rescored by it",
            Duration(maxsim)
        )
    } else {
        format!(
            "late interaction over the whole collection is affordable: about {}, of {} allowed",
            Duration(maxsim),
            Duration(affordable)
        )
    };
    (maxsim <= affordable || maxsim <= staged).then_some((PlanName::MAXSIM, reason))
}

fn dense_then_maxsim(planner: &Planner<'_>) -> Option<(PlanName, String)> {
    let maxsim = planner.stages_estimate(&PlanName::MAXSIM).microseconds;
    let reason = format!(
        "late interaction over the whole collection would take about {}, more than the {} allowed; dense candidates \
         rescored by it come close",
        Duration(maxsim),
        Duration(planner.case.cost.affordable_microseconds)
    );
    Some((PlanName::DENSE_MAXSIM, reason))
}
