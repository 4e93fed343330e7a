//! One table: a depth, every filter, every recall.

use latewood::{Collection, Filter, Query, QueryTokens};
use latewood_benches::Failure;
use latewood_benches::ask::{self, Ask};
use latewood_benches::recall::Recall;

use crate::columns::{Columns, Kind};

/// What is measured on what.
pub(crate) struct Case<'a> {
    pub(crate) collection: &'a Collection,
    pub(crate) queries: &'a [QueryTokens],
    pub(crate) columns: &'a Columns,
    /// Hits of a query.
    pub(crate) k: usize,
}

impl Case<'_> {
    pub(crate) fn print(&self, recalls: &[f64], shares: &[f64]) -> Result<(), Failure> {
        println!("k = {}\n", self.k);
        println!(
            "| filter | matching | asked | recall@{} | hits short | p50 ms | p95 ms | of unfiltered, p50 | p95 | first stage |",
            self.k
        );
        println!("|---|---|---|---|---|---|---|---|---|---|");
        let asked: Vec<Option<f64>> = std::iter::once(None)
            .chain(recalls.iter().copied().map(Some))
            .collect();
        let unfiltered = self.rows("none", &[], self.columns.matching(1.0), &asked, None)?;
        for kind in Kind::ALL {
            for &share in shares {
                let filters: Vec<Filter> = (0..self.queries.len())
                    .map(|query| self.columns.filter(kind, share, query))
                    .collect();
                let name = format!("{:.1}%, {}", share * 100.0, kind.name());
                self.rows(
                    &name,
                    &filters,
                    self.columns.matching(share),
                    &asked,
                    Some(&unfiltered),
                )?;
            }
        }
        println!();
        Ok(())
    }

    /// Prints a row for each recall; p50 and p95 of each.
    fn rows(
        &self,
        name: &str,
        filters: &[Filter],
        matching: usize,
        asked: &[Option<f64>],
        unfiltered: Option<&[(f64, f64)]>,
    ) -> Result<Vec<(f64, f64)>, Failure> {
        let run = |recall| -> Result<ask::Answers, Failure> {
            let all = ask::all(
                &[self.collection],
                self.queries,
                Ask { k: self.k, recall },
                filters,
            )?;
            all.into_iter().next().ok_or_else(|| "no answers".into())
        };
        let truth = run(Some(1.0))?;
        let mut times = Vec::new();
        for (at, &recall) in asked.iter().enumerate() {
            let answers = run(recall)?;
            let (p50, p95) = (answers.times.p50(), answers.times.p95());
            let found = Recall::at(self.k, &answers.found, &truth.found);
            let wanted = self.k.min(matching);
            let short: usize = answers
                .found
                .iter()
                .map(|hits| wanted.saturating_sub(hits.len()))
                .sum();
            let ratio = unfiltered.and_then(|rows| rows.get(at)).map_or_else(
                || " | ".to_owned(),
                |(base50, base95)| format!("{:.2} | {:.2}", p50 / base50, p95 / base95),
            );
            let asked = recall.map_or_else(|| "default".to_owned(), |recall| recall.to_string());
            println!(
                "| {name} | {matching} | {asked} | {:.4} ± {:.3} | {short} | {p50:.2} | {p95:.2} | {ratio} | {} |",
                found.mean,
                found.margin,
                self.first_stage(recall, filters.first())?,
            );
            times.push((p50, p95));
        }
        Ok(times)
    }

    fn first_stage(&self, recall: Option<f64>, filter: Option<&Filter>) -> Result<String, Failure> {
        let mut query: Query<'_> = self
            .collection
            .query()
            .tokens(self.queries[0].clone())
            .plan("maxsim")
            .limit(self.k);
        if let Some(recall) = recall {
            query = query.recall(recall);
        }
        if let Some(filter) = filter {
            query = query.filter(filter.clone());
        }
        let plan = query.explain()?;
        let first = plan.stages.first().ok_or("a plan without stages")?;
        Ok(first.stage.to_string())
    }
}
