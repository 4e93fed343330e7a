//! The best plan that a budget allows: by measured quality where plans were judged on this collection, else by giving up one
//! thing after the other.

use std::time::Duration;

use crate::cost::CostModel;
use crate::error::QueryError;
use crate::estimate::Estimator;
use crate::explain;
use crate::plan::{Plan, PlanChoice, PlanName, Rejected, Stage, StageName};
use crate::planner::unbounded;
use crate::quality::Quality;
use crate::request::{DEFAULT_RECALL, QueryRequest};
use crate::statistics::Statistics;

/// A rerank of fewer is none.
const SHALLOWEST: usize = 3;
/// Candidates scored anew, where the usual number is too many.
const FEWER_CANDIDATES: [usize; 2] = [100, 50];
/// Recalls that are given up to.
const LOWER_RECALLS: [f64; 2] = [0.95, 0.9];
/// Plans a request that says how long it may take.
pub(crate) fn plan_within(
    request: &QueryRequest,
    statistics: &Statistics,
    cost: &CostModel,
    budget: Duration,
) -> Result<Plan, QueryError> {
    let mut cost = cost.clone();
    cost.affordable_microseconds = micros(budget);
    let case = Case {
        request: QueryRequest {
            budget: None,
            ..request.clone()
        },
        statistics,
        cost: &cost,
        budget,
    };
    let plan = match case.best_measured()? {
        Some(plan) => plan,
        None => case.ladder()?,
    };
    Ok(Plan {
        budget: Some(budget),
        ..plan
    })
}

/// Whether all but one query of twenty end within the budget that a plan was made for; every one does where there is none.
pub fn keeps_budget(plan: &Plan, cost: &CostModel) -> bool {
    plan.budget
        .is_none_or(|budget| upper_microseconds(plan, cost) <= micros(budget))
}

/// What a plan takes in all but one query of twenty, in microseconds. A rerank ends when the budget does, so it counts with
/// its mean.
pub(crate) fn upper_microseconds(plan: &Plan, cost: &CostModel) -> f64 {
    let beside = plan.beside.microseconds - plan.spent_microseconds;
    let stages = plan.stages.iter().map(|stage| {
        let name = stage.stage.name();
        let headroom = match name {
            StageName::Rerank => 1.0,
            name => cost.corrections.headroom(&name.to_string()),
        };
        stage.estimate.microseconds * headroom
    });
    plan.spent_microseconds + beside * cost.corrections.headroom(CostModel::BESIDE) + stages.sum::<f64>()
}

fn micros(budget: Duration) -> f64 {
    budget.as_secs_f64() * 1e6
}

struct Case<'a> {
    request: QueryRequest,
    statistics: &'a Statistics,
    cost: &'a CostModel,
    budget: Duration,
}

impl Case<'_> {
    fn plan(&self, request: &QueryRequest) -> Result<Plan, QueryError> {
        unbounded(request, self.statistics, self.cost)
    }

    fn fits(&self, plan: &Plan) -> bool {
        upper_microseconds(plan, self.cost) <= micros(self.budget)
    }

    /// The plan that was measured to rank best of those that fit.
    fn best_measured(&self) -> Result<Option<Plan>, QueryError> {
        let automatic = self.request.plan == PlanChoice::Auto && !self.request.exact;
        let Some(table) = self.statistics.qualities.as_ref().filter(|_| automatic) else {
            return Ok(None);
        };
        if table.outdated(self.statistics.documents).is_some() {
            return Ok(None);
        }
        let mut known: Vec<(&Quality, Plan)> = Vec::new();
        let mut beyond: Vec<(&Quality, Rejected)> = Vec::new();
        for quality in &table.plans {
            if let Some(rejected) = self.rerank_alone(quality) {
                beyond.push((quality, rejected));
                continue;
            }
            match self.plan(&self.named(&quality.plan, quality.rerank_depth)) {
                Ok(plan) => known.push((quality, plan)),
                // A plan that this query cannot have.
                Err(QueryError::PlanNeeds { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        known.sort_by(|(a, _), (b, _)| b.ndcg_at_10.total_cmp(&a.ndcg_at_10));
        let Some(first) = known.iter().position(|(_, plan)| self.fits(plan)) else {
            return Ok(None);
        };
        let alike = table.alike();
        let least = known[first].0.ndcg_at_10 - alike;
        let chosen = (first..known.len())
            .filter(|&at| known[at].0.ndcg_at_10 >= least && self.fits(&known[at].1))
            .min_by(|&a, &b| took(&known[a].1).total_cmp(&took(&known[b].1)))
            .unwrap_or(first);
        let (quality, mut plan) = known.swap_remove(chosen);
        plan.automatic = true;
        plan.reason = format!(
            "of the plans judged on {} queries it ranks best within {}: nDCG@10 {:.4}",
            table.queries,
            explain::Duration(micros(self.budget)),
            quality.ndcg_at_10
        );
        let others = known
            .iter()
            .map(|(other, _)| *other)
            .chain(beyond.iter().map(|(other, _)| *other));
        if others
            .into_iter()
            .any(|other| other.ndcg_at_10 > quality.ndcg_at_10 + alike)
        {
            plan.cut
                .push("plans that rank better take longer than the budget".to_owned());
        }
        let rejected = known
            .iter()
            .map(|(other, plan)| self.rejected(other, plan, quality, alike));
        plan.rejected = rejected
            .chain(beyond.into_iter().map(|(_, rejected)| rejected))
            .collect();
        Ok(Some(plan))
    }

    /// A plan whose rerank alone would take longer than the budget, which is told without planning the rest.
    fn rerank_alone(&self, quality: &Quality) -> Option<Rejected> {
        let depth = quality.rerank_depth?;
        let case = Estimator {
            request: &self.request,
            statistics: self.statistics,
            cost: self.cost,
        };
        let estimate = case.rerank(depth);
        (self.statistics.reranker && estimate.microseconds > micros(self.budget)).then(|| Rejected {
            name: format!("{} {depth} deep", quality.plan),
            estimate: Some(estimate),
            reason: format!("nDCG@10 {:.4}; its rerank alone takes longer", quality.ndcg_at_10),
        })
    }

    fn rejected(&self, other: &Quality, plan: &Plan, chosen: &Quality, alike: f64) -> Rejected {
        let depth = other
            .rerank_depth
            .map_or_else(String::new, |depth| format!(" {depth} deep"));
        let reason = if !self.fits(plan) {
            format!(
                "nDCG@10 {:.4}; one query of twenty would take {} or more",
                other.ndcg_at_10,
                explain::Duration(upper_microseconds(plan, self.cost))
            )
        } else if other.ndcg_at_10 >= chosen.ndcg_at_10 - alike {
            format!(
                "nDCG@10 {:.4}, which is as good as these queries can tell, and slower",
                other.ndcg_at_10
            )
        } else {
            format!("nDCG@10 {:.4}, which is less", other.ndcg_at_10)
        };
        Rejected {
            name: format!("{}{depth}", other.plan),
            estimate: Some(plan.estimate()),
            reason,
        }
    }

    fn named(&self, plan: &PlanName, depth: Option<usize>) -> QueryRequest {
        QueryRequest {
            plan: PlanChoice::Named(plan.clone()),
            rerank_depth: depth.or(self.request.rerank_depth),
            ..self.request.clone()
        }
    }

    /// Gives up one thing after the other until the rest fits.
    fn ladder(&self) -> Result<Plan, QueryError> {
        let best = self.plan(&self.request)?;
        if self.fits(&best) {
            return Ok(best);
        }
        let (automatic, mut reason) = (best.automatic, best.reason.clone());
        let mut cut = Vec::new();
        let mut plan = self.shallower(best, &mut cut)?;
        for step in self.steps(&plan) {
            if self.fits(&plan) {
                break;
            }
            let cheaper = match self.plan(&step.request) {
                Ok(cheaper) => cheaper,
                Err(QueryError::PlanNeeds { .. }) => continue,
                Err(error) => return Err(error),
            };
            // What saves nothing is not given up.
            if took(&cheaper) < took(&plan) {
                plan = cheaper;
                cut.push(step.cut);
                if step.renames {
                    reason = format!(
                        "it is the best that {} allows",
                        explain::Duration(micros(self.budget))
                    );
                }
            }
        }
        if !self.fits(&plan) {
            cut.push(format!(
                "even so one query of twenty is expected to take {} or more",
                explain::Duration(upper_microseconds(&plan, self.cost))
            ));
        }
        Ok(Plan {
            automatic,
            reason,
            cut,
            ..plan
        })
    }

    /// As deep a rerank as fits, or none.
    fn shallower(&self, best: Plan, cut: &mut Vec<String>) -> Result<Plan, QueryError> {
        let rerank = best.stages.iter().find_map(|stage| match stage.stage {
            Stage::Rerank { depth, .. } => Some((depth, stage.estimate.microseconds)),
            _ => None,
        });
        let Some((depth, microseconds)) = rerank else {
            return Ok(best);
        };
        let over = upper_microseconds(&best, self.cost) - micros(self.budget);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate"
        )]
        let affordable = ((microseconds - over) / (microseconds / depth.max(1) as f64)).max(0.0) as usize;
        if affordable >= SHALLOWEST {
            let plan = self.plan(&self.named(&best.name, Some(affordable.min(depth))))?;
            cut.push(format!(
                "the rerank reads {affordable} candidates instead of {depth}"
            ));
            return Ok(plan);
        }
        let Some(name) = PlanName::new(best.name.legs().to_vec(), best.name.rescores(), false) else {
            return Ok(best);
        };
        cut.push(format!("no rerank, of {depth} candidates otherwise"));
        self.plan(&self.named(&name, None))
    }

    /// What else can be given up, in order; each step has those before it within.
    fn steps(&self, plan: &Plan) -> Vec<Step> {
        let mut request = self.named(
            &plan.name,
            plan.stages.iter().find_map(|stage| match stage.stage {
                Stage::Rerank { depth, .. } => Some(depth),
                _ => None,
            }),
        );
        let mut steps = Vec::new();
        let mut step = |request: &QueryRequest, cut: String, renames| {
            steps.push(Step {
                request: request.clone(),
                cut,
                renames,
            });
        };
        if plan.name.rescores() {
            for fewer in FEWER_CANDIDATES {
                if fewer < request.candidates.unwrap_or(usize::MAX) && fewer >= request.window() {
                    request.candidates = Some(fewer);
                    step(
                        &request,
                        format!("{fewer} candidates are scored anew by late interaction"),
                        false,
                    );
                }
            }
        }
        let asked = request.recall.unwrap_or(DEFAULT_RECALL);
        for lower in LOWER_RECALLS {
            if lower < asked {
                request.recall = Some(lower);
                step(&request, format!("recall {lower} instead of {asked}"), false);
            }
        }
        if self.request.plan == PlanChoice::Auto {
            for name in [PlanName::DENSE_MAXSIM, PlanName::DENSE, PlanName::BM25] {
                if name != plan.name {
                    request.plan = PlanChoice::Named(name.clone());
                    step(&request, format!("{name} instead of {}", plan.name), true);
                }
            }
        }
        steps
    }
}

struct Step {
    request: QueryRequest,
    cut: String,
    /// Whether other searches run than before.
    renames: bool,
}

fn took(plan: &Plan) -> f64 {
    plan.estimate().microseconds
}
