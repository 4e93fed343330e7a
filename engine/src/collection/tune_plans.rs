//! Which plan ranks best: measured on judged queries, kept for queries with a budget.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use latewood_query::{PlanName, Quality, QualityTable};
use serde::{Deserialize, Serialize};

use super::Collection;
use super::read_once::ReadOnce;
use crate::error::Error;
use crate::evaluation::{Judgments, Measures, mean_measures};

/// Where the table is in the catalog.
const QUALITIES: &str = "qualities";
/// How deep reranks are tried.
const DEPTHS: [usize; 4] = [5, 10, 20, 50];
/// Hits that are judged.
const HITS: usize = 10;

impl Collection {
    /// Runs every plan that the collection can do on judged queries (ids and texts), reranks to 5, 10, 20 and 50 candidates,
    /// and keeps the nDCG@10 of each; a pair of query and document is read by the reranker once, however many plans ask for it. A
    /// query with a [budget](crate::Query::budget) and no named plan is then answered by the plan that ranks best of those that fit,
    /// or the fastest of those that rank as well as far as these queries can tell. Measure anew when the collection has doubled: older tables are not used.
    ///
    /// # Errors
    /// [`Error::Advise`] when no query has a relevant document, or none of the plans can search by text.
    pub fn tune_plans(
        &self,
        queries: &[(String, String)],
        judgments: &Judgments,
    ) -> Result<QualityTable, Error> {
        let judged: Vec<&(String, String)> = queries
            .iter()
            .filter(|(id, _)| judgments.has_relevant(id))
            .collect();
        if judged.is_empty() {
            return Err(refused(
                "none of the queries has a relevant document in the judgments",
            ));
        }
        let mut table = QualityTable {
            queries: judged.len(),
            documents: self.snapshot()?.len(),
            unsure: 0.0,
            plans: Vec::new(),
        };
        let mut rows: Vec<Vec<f64>> = Vec::new();
        let plans = self.plans_by_text();
        let reranks = plans.iter().any(PlanName::reranks);
        let once = reranks.then(|| self.reranker()).transpose()?;
        let once = once.map(|reranker| Arc::new(ReadOnce::new(reranker)));
        for plan in plans {
            let depths: Vec<Option<usize>> = if plan.reranks() {
                DEPTHS.into_iter().map(Some).collect()
            } else {
                vec![None]
            };
            for depth in depths {
                table.plans.push(self.judge_plan(
                    (&plan, depth),
                    once.as_ref(),
                    &judged,
                    judgments,
                    &mut rows,
                )?);
            }
        }
        table.unsure = unsure(&rows);
        if table.plans.is_empty() {
            return Err(refused(
                "the collection cannot be searched by text: it has neither an encoder nor a lexical index",
            ));
        }
        if !self.shared.read_only {
            self.catalog_put(QUALITIES, &Kept::from(&table))?;
        }
        self.shared
            .qualities
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(self.name().to_owned(), Some(Arc::new(table.clone())));
        Ok(table)
    }

    fn plans_by_text(&self) -> Vec<PlanName> {
        let schema = self.schema();
        let encodes = schema.encoder.is_some();
        PlanName::ALL
            .into_iter()
            .filter(|plan| !plan.uses_dense() || encodes && schema.dense.is_some())
            .filter(|plan| !plan.uses_tokens() || encodes && schema.tokens.is_some())
            .filter(|plan| !plan.uses_words() || schema.lexical.is_some())
            .filter(|plan| !plan.reranks() || schema.reranker.is_some())
            .collect()
    }

    fn judge_plan(
        &self,
        (plan, rerank_depth): (&PlanName, Option<usize>),
        once: Option<&Arc<ReadOnce>>,
        queries: &[&(String, String)],
        judgments: &Judgments,
        rows: &mut Vec<Vec<f64>>,
    ) -> Result<Quality, Error> {
        let (mut measured, mut milliseconds) = (Vec::new(), Vec::new());
        for (id, text) in queries.iter().copied() {
            let mut query = self
                .query()
                .text(text)
                .plan(plan.clone())
                .limit(HITS)
                .with_payload(false);
            if let Some(depth) = rerank_depth {
                query = query.rerank_depth(depth);
            }
            if let Some(once) = once.filter(|_| plan.reranks()) {
                query = query.read_by(once.clone());
            }
            let begun = Instant::now();
            let hits = query.run()?;
            let took = begun.elapsed() + once.map(|once| once.take_saved()).unwrap_or_default();
            milliseconds.push(took.as_secs_f64() * 1e3);
            let ranking: Vec<String> = hits.iter().map(|hit| hit.id.to_string()).collect();
            measured.extend(Measures::of(judgments, id, &ranking));
        }
        milliseconds.sort_by(f64::total_cmp);
        rows.push(measured.iter().map(|measures| measures.ndcg_at_10).collect());
        Ok(Quality {
            plan: plan.clone(),
            rerank_depth,
            ndcg_at_10: mean_measures(&measured).ndcg_at_10,
            milliseconds: milliseconds.get(milliseconds.len() / 2).copied(),
        })
    }

    /// How well the plans were measured to rank, if they were and the catalog still has it.
    pub(crate) fn quality_table(&self) -> Option<Arc<QualityTable>> {
        let mut known = self
            .shared
            .qualities
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = known.get(self.name()) {
            return table.clone();
        }
        let kept: Option<Kept> = self.catalog_get(QUALITIES).ok().flatten();
        let table = kept
            .map(QualityTable::from)
            .filter(QualityTable::is_sound)
            .map(Arc::new);
        known.insert(self.name().to_owned(), table.clone());
        table
    }
}

/// A table as the catalog has it: values there are small.
#[derive(Serialize, Deserialize)]
struct Kept {
    queries: usize,
    documents: u64,
    #[serde(default)]
    unsure: f64,
    /// Plan, depth of its rerank or 0, nDCG@10.
    plans: Vec<(PlanName, usize, f64)>,
}

impl From<&QualityTable> for Kept {
    fn from(table: &QualityTable) -> Self {
        let row = |quality: &Quality| {
            let depth = quality.rerank_depth.unwrap_or(0);
            (
                quality.plan.clone(),
                depth,
                (quality.ndcg_at_10 * 1e5).round() / 1e5,
            )
        };
        Self {
            queries: table.queries,
            documents: table.documents,
            unsure: table.unsure,
            plans: table.plans.iter().map(row).collect(),
        }
    }
}

impl From<Kept> for QualityTable {
    fn from(kept: Kept) -> Self {
        let quality = |(plan, depth, ndcg_at_10): (PlanName, usize, f64)| Quality {
            plan,
            rerank_depth: (depth > 0).then_some(depth),
            ndcg_at_10,
            milliseconds: None,
        };
        Self {
            queries: kept.queries,
            documents: kept.documents,
            unsure: kept.unsure,
            plans: kept.plans.into_iter().map(quality).collect(),
        }
    }
}

/// The median, over the plans, of the standard error of the paired difference to the best one.
fn unsure(rows: &[Vec<f64>]) -> f64 {
    let mean = |row: &[f64]| row.iter().sum::<f64>() / row.len().max(1) as f64;
    let Some(best) = rows.iter().max_by(|a, b| mean(a).total_cmp(&mean(b))) else {
        return 0.0;
    };
    let error = |row: &Vec<f64>| {
        let gains: Vec<f64> = best.iter().zip(row).map(|(a, b)| a - b).collect();
        let (count, centre) = (gains.len() as f64, mean(&gains));
        let squares: f64 = gains.iter().map(|gain| (gain - centre).powi(2)).sum();
        (squares / (count * (count - 1.0).max(1.0))).sqrt()
    };
    let mut errors: Vec<f64> = rows.iter().filter(|row| *row != best).map(error).collect();
    errors.sort_by(f64::total_cmp);
    errors.get(errors.len() / 2).copied().unwrap_or_default()
}

fn refused(reason: &str) -> Error {
    super::advise::refused(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::unsure;

    #[test]
    fn what_the_queries_can_tell_is_a_standard_error_of_paired_differences() {
        let best = vec![1.0, 1.0, 1.0, 1.0];
        let other = vec![1.0, 0.0, 1.0, 0.0];
        // Differences 0, 1, 0, 1: variance 1/3, over four queries.
        assert!((unsure(&[best.clone(), other]) - (1.0f64 / 12.0).sqrt()).abs() < 1e-12);
        assert_eq!(unsure(&[best.clone(), best.clone()]), 0.0);
        assert_eq!(unsure(&[]), 0.0);
    }
}
