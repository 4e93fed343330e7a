//! The breadth of the graph walk for a recall that is asked: found by measuring, kept in the catalog.

use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use latewood_query::{BreadthTable, QueryError, QuerySource, TuneOptions, TunedBreadth, tune_breadth};
use latewood_storage::StorageError;

use super::Collection;
use super::maintain::OptimizeProgress;
use super::pseudo_queries::pseudo_vectors;
use super::tune::{BUDGET, K, QUERIES, SEED};
use crate::error::Error;
use crate::telemetry;

/// Where the table is in the catalog.
const TUNED: &str = "tuned_dense";

impl Collection {
    /// Measures the graph over the dense vectors and keeps, for each of seven recalls from 0.80 to 0.999, the narrowest
    /// `ef_search` that is sure to give it: whose measured recall@10, against a scan, has a 95% interval that begins there or
    /// above. [`Query::recall`](crate::Query::recall) then chooses among them.
    ///
    /// Give vectors of queries like those that will come; all of them are measured. With none, queries are made of documents of
    /// the collection, as many as five seconds allow. `optimize` ends with that; a table from queries of one's own is kept until
    /// the collection has twice the rows, or half of them.
    ///
    /// `None`: there is no graph.
    ///
    /// # Errors
    /// A query of another dimension or not finite; [`StorageError::Cancelled`] when `progress` breaks it off.
    pub fn tune_dense(
        &self,
        queries: Option<&[Vec<f32>]>,
        progress: impl Fn(&OptimizeProgress) -> ControlFlow<()>,
    ) -> Result<Option<BreadthTable>, Error> {
        match queries {
            Some([]) => Err(QueryError::NothingToSearch.into()),
            Some(queries) => self.tune_breadth(queries, QuerySource::Caller, Duration::MAX, &progress),
            None => self.tune_breadth_on_documents(BUDGET, &progress),
        }
    }

    /// Tunes after an optimize that took so long, unless what is kept still holds.
    pub(super) fn tune_dense_after(
        &self,
        optimize: Duration,
        progress: &dyn Fn(&OptimizeProgress) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        if !self.holds_breadths()? {
            self.tune_breadth_on_documents(BUDGET.max(optimize / 8), progress)?;
        }
        Ok(())
    }

    fn holds_breadths(&self) -> Result<bool, Error> {
        let Some(table) = self.breadth_table() else {
            return Ok(false);
        };
        let snapshot = self.snapshot()?;
        let matches = latewood_query::Matches::evaluate(&snapshot, None)?;
        let now = latewood_query::statistics(&snapshot, &matches)?.dense;
        Ok(now.is_some_and(|now| {
            let as_measured = table.rows == now.graph_rows || table.source == QuerySource::Caller;
            as_measured && table.outdated(&now).is_none()
        }))
    }

    fn tune_breadth_on_documents(
        &self,
        budget: Duration,
        progress: &dyn Fn(&OptimizeProgress) -> ControlFlow<()>,
    ) -> Result<Option<BreadthTable>, Error> {
        let queries = pseudo_vectors(&*self.snapshot()?, QUERIES, SEED)?;
        self.tune_breadth(&queries, QuerySource::Documents, budget, progress)
    }

    fn tune_breadth(
        &self,
        queries: &[Vec<f32>],
        source: QuerySource,
        budget: Duration,
        progress: &dyn Fn(&OptimizeProgress) -> ControlFlow<()>,
    ) -> Result<Option<BreadthTable>, Error> {
        let _span = telemetry::Around::begin(telemetry::Work::TuneDense, self.name());
        let report = |done, total| {
            progress(&OptimizeProgress {
                step: "recall of the graph",
                done,
                total,
            })
        };
        let options = TuneOptions {
            k: K,
            source,
            budget,
            pool: self.shared.threads.pool()?,
            progress: &report,
        };
        match tune_breadth(&*self.snapshot()?, queries, &options)? {
            TunedBreadth::Table(table) => {
                self.keep_breadths(&table)?;
                Ok(Some(table))
            }
            TunedBreadth::NotNeeded => Ok(None),
            TunedBreadth::Cancelled => Err(StorageError::Cancelled.into()),
        }
    }

    fn keep_breadths(&self, table: &BreadthTable) -> Result<(), Error> {
        if !self.shared.read_only {
            self.catalog_put(TUNED, table)?;
        }
        self.shared
            .breadths
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(self.name().to_owned(), Some(Arc::new(table.clone())));
        Ok(())
    }

    /// What the graph walk was tuned to, if it was and the catalog still has it.
    pub(crate) fn breadth_table(&self) -> Option<Arc<BreadthTable>> {
        let mut tuned = self
            .shared
            .breadths
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tuned.get(self.name()) {
            return table.clone();
        }
        let kept: Option<BreadthTable> = self.catalog_get(TUNED).ok().flatten();
        let table = kept.filter(BreadthTable::is_sound).map(Arc::new);
        tuned.insert(self.name().to_owned(), table.clone());
        table
    }
}
