//! How well each plan ranks, as it was measured on judged queries.

use serde::{Deserialize, Serialize};

use crate::plan::{Plan, PlanName, Stage};

/// Plans that differ by less nDCG rank alike,
const ALIKE: f64 = 0.001;
/// or by less than the queries can tell: so many standard errors can be told from none with a certainty of 95%.
const SURE: f64 = 1.96;
/// What is not given up for speed, however few the queries are.
const MOST_ALIKE: f64 = 0.02;

/// What one plan came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// The plan.
    pub plan: PlanName,
    /// How deep its rerank went, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerank_depth: Option<usize>,
    /// The mean over the queries, 0 to 1.
    pub ndcg_at_10: f64,
    /// The median time of a query, as it was when this was measured; pairs that the reranker had read for another plan count with
    /// the mean of those that it read. Plans are chosen by estimates, not by this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<f64>,
}

/// What the plans of a collection came to, on the same queries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QualityTable {
    /// Judged queries.
    pub queries: usize,
    /// Live documents at that time.
    pub documents: u64,
    /// Standard error of a difference between two plans on these queries: what is less than twice that tells nothing.
    #[serde(default)]
    pub unsure: f64,
    /// The plans, in any order.
    pub plans: Vec<Quality>,
}

impl QualityTable {
    /// Whether every number can be one; a table read from a catalog may have been damaged.
    pub fn is_sound(&self) -> bool {
        let sound = |quality: &Quality| {
            (0.0..=1.0).contains(&quality.ndcg_at_10)
                && quality.rerank_depth.is_some() == quality.plan.reranks()
        };
        self.queries > 0 && self.unsure >= 0.0 && self.plans.iter().all(sound)
    }

    /// Plans whose nDCG@10 differs by no more than this rank alike as far as these queries can tell.
    pub fn alike(&self) -> f64 {
        (SURE * self.unsure).clamp(ALIKE, MOST_ALIKE)
    }

    /// What a plan came to, a rerank of another depth than was judged counting as the deepest that is no deeper.
    pub fn ndcg_of(&self, plan: &Plan) -> Option<f64> {
        let depth = plan.stages.iter().find_map(|stage| match stage.stage {
            Stage::Rerank { depth, .. } => Some(depth),
            _ => None,
        });
        let judged = self.plans.iter().filter(|quality| {
            quality.plan == plan.name && quality.rerank_depth.unwrap_or_default() <= depth.unwrap_or_default()
        });
        judged
            .max_by_key(|quality| quality.rerank_depth)
            .map(|quality| quality.ndcg_at_10)
    }

    /// Why it says nothing of a collection of so many documents any more, if it does not.
    pub fn outdated(&self, documents: u64) -> Option<String> {
        let (few, many) = (self.documents.min(documents), self.documents.max(documents));
        (many > few.saturating_mul(2)).then(|| {
            format!(
                "the plans were judged when there were {} documents, now there are {documents}",
                self.documents
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Estimate, PlannedStage};

    fn table(ndcg_at_10: f64, rerank_depth: Option<usize>) -> QualityTable {
        QualityTable {
            queries: 10,
            documents: 100,
            unsure: 0.0,
            plans: vec![Quality {
                plan: PlanName::DENSE_RERANK,
                rerank_depth,
                ndcg_at_10,
                milliseconds: None,
            }],
        }
    }

    #[test]
    fn a_damaged_table_is_not_sound() {
        assert!(table(0.5, Some(10)).is_sound());
        assert!(!table(f64::NAN, Some(10)).is_sound());
        assert!(!table(1.5, Some(10)).is_sound());
        assert!(!table(0.5, None).is_sound());
        assert!(!QualityTable::default().is_sound());
    }

    #[test]
    fn a_rerank_counts_as_the_deepest_judged_that_is_no_deeper() {
        let quality = |depth: Option<usize>, ndcg_at_10: f64| Quality {
            plan: PlanName::DENSE_RERANK,
            rerank_depth: depth,
            ndcg_at_10,
            milliseconds: None,
        };
        let table = QualityTable {
            plans: vec![quality(Some(10), 0.5), quality(Some(30), 0.6)],
            ..table(0.5, Some(10))
        };
        let judged = |name: PlanName, depth: usize| {
            let deadline_ms = None;
            table.ndcg_of(&Plan {
                name,
                automatic: false,
                reason: String::new(),
                documents: 0,
                matching: 0,
                filter_note: None,
                stages: vec![PlannedStage {
                    stage: Stage::Rerank { depth, deadline_ms },
                    candidates_in: 0,
                    candidates_out: 0,
                    estimate: Estimate::default(),
                    reason: String::new(),
                }],
                beside: Estimate::default(),
                spent_microseconds: 0.0,
                budget: None,
                cut: Vec::new(),
                rejected: Vec::new(),
            })
        };
        let rerank = |depth| judged(PlanName::DENSE_RERANK, depth);
        assert_eq!(
            [rerank(9), rerank(10), rerank(29), rerank(50)],
            [None, Some(0.5), Some(0.5), Some(0.6)]
        );
        assert_eq!(judged(PlanName::MAXSIM_RERANK, 50), None);
    }

    #[test]
    fn twice_the_documents_want_a_new_measurement() {
        let table = table(0.5, Some(10));
        assert_eq!([table.outdated(50), table.outdated(200)], [None, None]);
        assert!(table.outdated(201).is_some() && table.outdated(49).is_some());
    }
}
