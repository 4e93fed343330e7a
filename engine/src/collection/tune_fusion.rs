//! How rankings are best fused: every method and weight tried on judged queries, by cross-validation.

use std::collections::HashMap;

use latewood_query::{Fusion, FusionMethod, FusionWeights, Leg, PlanName, QueryError};
use serde::Serialize;

use super::Collection;
use crate::error::Error;
use crate::evaluation::{Judgments, Measures};

/// Candidates of each search.
pub(super) const DEPTH: usize = 100;
/// The share of the weight that the second search gets.
const SHARES: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// What was found of fusing two searches.
#[derive(Clone, Debug, Serialize)]
pub struct TunedFusion {
    /// The plan whose searches were fused.
    pub plan: PlanName,
    /// Judged queries.
    pub queries: usize,
    /// Parts that the queries were cut into.
    pub folds: usize,
    /// nDCG@10 of each search alone.
    pub alone: Vec<(Leg, f64)>,
    /// nDCG@10 of reciprocal ranks with equal weights, which is what runs without tuning.
    pub untuned: f64,
    /// nDCG@10 of each part under what was best on the others: what to expect of queries not seen.
    pub held_out: f64,
    /// nDCG@10 of `fusion` on all queries, which is too high, as it was chosen by them.
    pub fitted: f64,
    /// What is best on all queries.
    pub fusion: Fusion,
}

/// The rankings of one query, documents by number.
type Rankings = Vec<(Leg, Vec<(u32, f32)>)>;

impl Collection {
    /// Finds the fusion under which a plan that fuses two searches ranks best by nDCG@10: reciprocal ranks, scores or
    /// distributions, and nine weights each. The queries (id and text) are cut into `folds` parts; each part is judged under
    /// what was best on the others. Nothing is kept: give [`TunedFusion::fusion`] to
    /// [`Query::fusion`](crate::Query::fusion).
    ///
    /// # Errors
    /// A plan that fuses nothing, fewer judged queries than folds or fewer than two folds, and what a query refuses.
    pub fn tune_fusion(
        &self,
        plan: PlanName,
        queries: &[(String, String)],
        judgments: &Judgments,
        folds: usize,
    ) -> Result<TunedFusion, Error> {
        let legs = &plan.legs().to_vec();
        if legs.len() < 2 {
            return Err(QueryError::PlanNeeds {
                plan: plan.to_string(),
                needs: "two searches to fuse",
                cure: "tune bm25/dense or bm25/maxsim",
            }
            .into());
        }
        let judged: Vec<&(String, String)> = queries
            .iter()
            .filter(|(id, _)| judgments.has_relevant(id))
            .collect();
        if folds < 2 || judged.len() < folds {
            return Err(QueryError::Tunable {
                name: "folds",
                got: folds,
                least: 2,
                most: judged.len(),
            }
            .into());
        }
        let candidates = candidates(legs);
        let mut alone = vec![0.0; legs.len()];
        // For each query, what each candidate gives.
        let mut table = Vec::with_capacity(judged.len());
        for (id, text) in judged.iter().copied() {
            let (rankings, names) = self.rankings(legs, text)?;
            for ((_, ranking), sum) in rankings.iter().zip(&mut alone) {
                *sum += ndcg(judgments, id, ranking, &names);
            }
            let each = candidates.iter().map(|fusion| {
                let fused = fusion.fuse(&rankings, DEPTH);
                ndcg(judgments, id, &fused, &names)
            });
            table.push(each.collect::<Vec<f64>>());
        }
        let count = table.len() as f64;
        let chosen = best(&table, |_| true);
        let mean = |candidate: usize| table.iter().map(|row| row[candidate]).sum::<f64>() / count;
        Ok(TunedFusion {
            plan,
            queries: table.len(),
            folds,
            alone: legs
                .iter()
                .cloned()
                .zip(alone.into_iter().map(|sum| sum / count))
                .collect(),
            untuned: mean(0),
            held_out: held_out(&table, folds) / count,
            fitted: mean(chosen),
            fusion: candidates.get(chosen).cloned().unwrap_or_default(),
        })
    }

    /// What each search finds for a text, and the documents' ids.
    fn rankings(&self, legs: &[Leg], text: &str) -> Result<(Rankings, Vec<String>), Error> {
        let (mut names, mut numbers) = (Vec::new(), HashMap::new());
        let mut rankings = Vec::with_capacity(legs.len());
        for leg in legs {
            let plan = PlanName::new(vec![leg.clone()], false, false).unwrap_or(PlanName::BM25);
            let query = self
                .query()
                .text(text)
                .plan(plan)
                .limit(DEPTH)
                .with_payload(false);
            let mut ranking = Vec::with_capacity(DEPTH);
            for hit in query.run()? {
                let name = hit.id.to_string();
                let number = *numbers.entry(name.clone()).or_insert_with(|| {
                    names.push(name);
                    u32::try_from(names.len() - 1).unwrap_or(u32::MAX)
                });
                ranking.push((number, hit.score));
            }
            rankings.push((leg.clone(), ranking));
        }
        Ok((rankings, names))
    }
}

/// Every fusion that is tried; the first is what runs without tuning.
pub(super) fn candidates(legs: &[Leg]) -> Vec<Fusion> {
    let methods = [
        FusionMethod::RRF,
        FusionMethod::ReciprocalRank { k: 10.0 },
        FusionMethod::Score,
        FusionMethod::Distribution,
    ];
    let mut all = vec![Fusion::default()];
    for method in methods {
        for share in SHARES {
            let mut weights = FusionWeights {
                bm25: 0.0,
                dense: 0.0,
                maxsim: 0.0,
                ..FusionWeights::default()
            };
            for (leg, weight) in legs.iter().zip([1.0 - share, share]) {
                let rounded = (weight * 10.0).round() / 10.0;
                weights.set(leg, rounded);
            }
            all.push(Fusion { method, weights });
        }
    }
    all
}

/// The candidate with the largest sum over the queries that are `taken`; of equal ones the first.
fn best(table: &[Vec<f64>], taken: impl Fn(usize) -> bool) -> usize {
    let candidates = table.first().map_or(0, Vec::len);
    let sum = |candidate: usize| -> f64 {
        let rows = table.iter().enumerate().filter(|(at, _)| taken(*at));
        rows.map(|(_, row)| row[candidate]).sum()
    };
    let mut best = (0, f64::NEG_INFINITY);
    for candidate in 0..candidates {
        let sum = sum(candidate);
        if sum > best.1 {
            best = (candidate, sum);
        }
    }
    best.0
}

/// The sum over all queries, each under what was best on the other parts.
fn held_out(table: &[Vec<f64>], folds: usize) -> f64 {
    let mut sum = 0.0;
    for fold in 0..folds {
        let chosen = best(table, |at| at % folds != fold);
        let own = table.iter().enumerate().filter(|(at, _)| at % folds == fold);
        sum += own.map(|(_, row)| row[chosen]).sum::<f64>();
    }
    sum
}

fn ndcg(judgments: &Judgments, query: &str, ranking: &[(u32, f32)], names: &[String]) -> f64 {
    let ids: Vec<&str> = ranking
        .iter()
        .map(|(number, _)| names[*number as usize].as_str())
        .collect();
    Measures::of(judgments, query, &ids).map_or(0.0, |measures| measures.ndcg_at_10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_judged_by_what_the_others_chose() {
        // The first candidate is best for even queries, the second for odd ones.
        let table: Vec<Vec<f64>> = (0..8)
            .map(|at| {
                if at % 2 == 0 {
                    vec![1.0, 0.0]
                } else {
                    vec![0.0, 1.0]
                }
            })
            .collect();
        assert_eq!(
            held_out(&table, 2),
            0.0,
            "with two parts, each chooses the wrong one"
        );
        assert_eq!(best(&table, |at| at % 2 == 1), 1);
        let same: Vec<Vec<f64>> = (0..8).map(|_| vec![0.25, 0.5]).collect();
        assert_eq!(held_out(&same, 4), 4.0);
    }

    #[test]
    fn what_runs_untuned_is_tried_first() {
        let all = candidates(&[Leg::Bm25, Leg::MaxSim]);
        assert_eq!(all[0], Fusion::default());
        assert!(all.iter().all(Fusion::is_sound));
        assert_eq!(all.len(), 1 + 4 * SHARES.len());
    }
}
